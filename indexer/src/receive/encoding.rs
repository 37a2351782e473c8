//! How bodies are compressed, and how far they may expand.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use heliograph_model::codec;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use crate::error::{Error, Result};

/// Bounds of a request, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// As it comes.
    pub(super) body: usize,
    /// Expanded.
    pub(super) expanded: usize,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As it is.
    Identity,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Encoding {
    /// How a request says that its body is compressed. Nested encodings are refused.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let value = values.next().map_or(&b""[..], http::HeaderValue::as_bytes).trim_ascii();
        let is_only = values.next().is_none();
        let is = |name: &str| value.eq_ignore_ascii_case(name.as_bytes()) && is_only;
        if value.is_empty() || is("identity") {
            Ok(Self::Identity)
        } else if is("gzip") || is("x-gzip") {
            Ok(Self::Gzip)
        } else if is("zstd") {
            Ok(Self::Zstd)
        } else {
            Err(Error::Unsupported {
                what: "content encoding",
                value: String::from_utf8_lossy(value).chars().take(100).collect(),
                supported: "send zstd, gzip or identity",
            })
        }
    }

    /// The body as it was before it was compressed.
    pub(super) fn expand(self, body: &Bytes, limits: Limits) -> Result<Bytes> {
        match self {
            Self::Identity if body.len() > limits.expanded => {
                Err(Error::TooLarge { what: "the body, in bytes,", limit: limits.expanded })
            }
            Self::Identity => Ok(body.clone()),
            Self::Gzip => gunzip(body, limits.expanded).map(Bytes::from),
            Self::Zstd => Ok(codec::decompress(body, limits.expanded)?.into()),
        }
    }
}

fn gunzip(bytes: &[u8], limit: usize) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(limit.min(bytes.len().saturating_mul(4)));
    MultiGzDecoder::new(bytes)
        .take(limit as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|e| Error::invalid(format!("cannot decode gzip: {e}")))?;
    if out.len() > limit {
        Err(Error::TooLarge { what: "the expanded body, in bytes,", limit })
    } else {
        Ok(out)
    }
}
