//! The OTLP/HTTP form of a batch: content types, and the way to records. CPU work only.

use bytes::Bytes;
use heliograph_model::codec::{self, foreign};
use heliograph_model::rows::Rows;
use heliograph_model::source::Position;
use heliograph_model::time::Timestamp;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::encoding::{Encoding, Limits};
use super::redaction::Redaction;
use super::{Decoded, weight};
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

/// Takes a body apart.
pub(super) fn decode(
    origin: Origin,
    format: Format,
    encoding: Encoding,
    body: &Bytes,
    limits: Limits,
    redaction: &Redaction,
) -> Result<Decoded> {
    let plain = encoding.expand(body, limits)?;
    let expanded_bytes = plain.len();
    match origin {
        // Rows take a few times their bytes at most: only what is decoded otherwise must be weighed before.
        Origin::Agent => {
            let (rows, taken) = redaction.apply(codec::decode(&plain)?)?;
            let payload = match (&taken, encoding) {
                (Some(_), _) => payload(&rows)?,
                (None, Encoding::Zstd) => body.clone(),
                (None, _) => codec::compress(&plain, LEVEL)?.into(),
            };
            Ok(Decoded { expanded_bytes, rows, taken, payload })
        }
        Origin::Foreign { producer, received, next_position } => {
            weight::check(format, &plain, limits.expanded)?;
            let request = match format {
                Format::Protobuf => foreign::from_protobuf(&plain)?,
                Format::Json => foreign::from_json(&plain)?,
            };
            let records = foreign::records(request, &producer, received, next_position);
            let (rows, taken) = redaction.apply(Rows::try_from(records.as_slice())?)?;
            Ok(Decoded { expanded_bytes, payload: payload(&rows)?, rows, taken })
        }
    }
}

fn payload(rows: &Rows) -> Result<Bytes> {
    Ok(codec::compress(&codec::encode_rows(rows), LEVEL)?.into())
}

#[cfg(test)]
mod tests;
