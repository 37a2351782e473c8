//! Makes plain what a server has compressed, piece by piece.

use std::borrow::Cow;
use std::io::Write;

use flate2::write::GzDecoder;
use zstd::stream::write::Decoder as ZstdDecoder;

/// How a body is written. What does not decode is taken as it stands.
pub(super) enum Coding {
    Plain,
    Gzip(Box<GzDecoder<Vec<u8>>>),
    Zstd(Box<ZstdDecoder<'static, Vec<u8>>>),
}

impl Coding {
    /// As this head of an answer says; the name of one that is not known here.
    pub(super) fn of(head: &str) -> Result<Self, &str> {
        let fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
        let mut named = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
        Ok(match named.next().map(|(_, coding)| coding.trim()) {
            None | Some("identity") => Self::Plain,
            Some("gzip") => Self::Gzip(Box::new(GzDecoder::new(Vec::new()))),
            Some("zstd") => Self::Zstd(Box::new(ZstdDecoder::new(Vec::new()).unwrap())),
            Some(other) => return Err(other),
        })
    }

    /// The plain bytes that come with a piece.
    pub(super) fn plain<'a>(&mut self, piece: &'a [u8]) -> Cow<'a, [u8]> {
        let written = match self {
            Self::Plain => return piece.into(),
            Self::Gzip(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
            Self::Zstd(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
        };
        let plain = match self {
            Self::Plain => return piece.into(),
            Self::Gzip(decoder) => std::mem::take(decoder.get_mut()),
            Self::Zstd(decoder) => std::mem::take(decoder.get_mut()),
        };
        match written {
            Ok(()) => plain.into(),
            Err(_) => piece.into(),
        }
    }
}
