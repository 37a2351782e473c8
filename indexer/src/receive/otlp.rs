//! The OTLP/HTTP form of a batch: content types, encodings, and the way to records. CPU work only.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use heliograph_model::codec::{self, foreign};
use heliograph_model::rows::Rows;
use heliograph_model::source::Position;
use heliograph_model::time::Timestamp;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::weight;
use crate::error::{Error, Result};

/// zstd level for what came otherwise: it goes into the write-ahead object and lives for minutes.
const LEVEL: i32 = 1;

/// The two forms of an OTLP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

impl Format {
    /// The form that a request says it has.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self> {
        let value = headers.get(CONTENT_TYPE).map_or(&b""[..], http::HeaderValue::as_bytes);
        let essence = value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        if essence.eq_ignore_ascii_case(b"application/x-protobuf") {
            Ok(Self::Protobuf)
        } else if essence.eq_ignore_ascii_case(b"application/json") {
            Ok(Self::Json)
        } else {
            Err(Error::Unsupported {
                what: "content type",
                value: String::from_utf8_lossy(value).chars().take(100).collect(),
                supported: "send application/x-protobuf or application/json",
            })
        }
    }

    /// Its content type.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is.
    Identity,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Encoding {
    /// How a request says that its body is compressed. Nested encodings are refused.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self> {
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
}

/// Bounds of a request, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// As it comes.
    pub(crate) body: usize,
    /// Expanded.
    pub(crate) expanded: usize,
}

/// Who says where records come from.
pub(crate) enum Origin {
    /// The sender itself: one of our agents.
    Agent,
    /// We.
    Foreign {
        /// Names the sender.
        producer: String,
        /// When it came.
        received: Timestamp,
        /// Gives places.
        next_position: Box<dyn FnMut() -> Position + Send>,
    },
}

/// A batch taken apart.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// Its records.
    pub(crate) rows: Rows,
    /// Zstd of what [`codec::decode`] reads as the same records.
    pub(crate) payload: Bytes,
}

/// Takes a body apart.
pub(crate) fn decode(
    origin: Origin,
    format: Format,
    encoding: Encoding,
    body: &Bytes,
    limits: Limits,
) -> Result<Decoded> {
    let expanded = match encoding {
        Encoding::Identity if body.len() > limits.expanded => {
            return Err(Error::TooLarge { what: "the body, in bytes,", limit: limits.expanded });
        }
        Encoding::Identity => None,
        Encoding::Gzip => Some(gunzip(body, limits.expanded)?),
        Encoding::Zstd => Some(codec::decompress(body, limits.expanded)?),
    };
    let plain = expanded.as_deref().unwrap_or(body);
    match origin {
        // Rows take a few times their bytes at most: only what is decoded otherwise must be weighed before.
        Origin::Agent => Ok(Decoded {
            rows: codec::decode(plain)?,
            payload: match encoding {
                Encoding::Zstd => body.clone(),
                _ => codec::compress(plain, LEVEL)?.into(),
            },
        }),
        Origin::Foreign { producer, received, next_position } => {
            weight::check(format, plain, limits.expanded)?;
            let request = match format {
                Format::Protobuf => foreign::from_protobuf(plain)?,
                Format::Json => foreign::from_json(plain)?,
            };
            let records = foreign::records(request, &producer, received, next_position);
            let rows = Rows::try_from(records.as_slice())?;
            let payload = codec::compress(&codec::encode_rows(&rows), LEVEL)?.into();
            Ok(Decoded { rows, payload })
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
