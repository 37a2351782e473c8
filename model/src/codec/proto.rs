//! Protobuf's wire format, as far as OTLP logs need it (protobuf.dev, "Encoding").

use crate::error::{Error, Result};

/// Numbers of the fields of OTLP logs (opentelemetry/proto: collector/logs, logs, resource and common, v1).
pub(super) mod field {
    pub(crate) const REQUEST_RESOURCE_LOGS: u64 = 1;
    pub(crate) const RESOURCE_LOGS_RESOURCE: u64 = 1;
    pub(crate) const RESOURCE_LOGS_SCOPE_LOGS: u64 = 2;
    pub(crate) const RESOURCE_ATTRIBUTES: u64 = 1;
    pub(crate) const SCOPE_LOGS_LOG_RECORDS: u64 = 2;
    pub(crate) const LOG_TIME: u64 = 1;
    pub(crate) const LOG_SEVERITY_NUMBER: u64 = 2;
    pub(crate) const LOG_BODY: u64 = 5;
    pub(crate) const LOG_ATTRIBUTES: u64 = 6;
    pub(crate) const LOG_OBSERVED_TIME: u64 = 11;
    pub(crate) const PAIR_KEY: u64 = 1;
    pub(crate) const PAIR_VALUE: u64 = 2;
    pub(crate) const VALUE_STRING: u64 = 1;
    pub(crate) const VALUE_INT: u64 = 3;
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

impl<'a> Content<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(bad("a field has another type than it should")),
        }
    }

    pub(super) fn fixed64(self) -> Result<u64> {
        match self {
            Self::Fixed64(n) => Ok(n),
            _ => Err(bad("a field has another type than it should")),
        }
    }

    pub(super) fn varint(self) -> Result<u64> {
        match self {
            Self::Varint(n) => Ok(n),
            _ => Err(bad("a field has another type than it should")),
        }
    }
}

pub(super) fn bad(reason: &str) -> Error {
    Error::Decode { what: "batch", reason: reason.to_owned() }
}

/// The fields of a message, in the order in which they were written.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next field's number and content; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Content<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        if tag < 8 {
            return Err(bad("a field has no number"));
        }
        let content = match tag & 7 {
            0 => Content::Varint(self.varint()?),
            1 => Content::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| bad("it ends too early"))?;
                let (bytes, rest) =
                    self.0.split_at_checked(length).ok_or_else(|| bad("it ends too early"))?;
                self.0 = rest;
                Content::Bytes(bytes)
            }
            5 => {
                self.array::<4>()?;
                Content::Fixed32
            }
            _ => return Err(bad("a field has a type that is not known")),
        };
        Ok(Some((tag >> 3, content)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk().ok_or_else(|| bad("it ends too early"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn varint(&mut self) -> Result<u64> {
        // Tags and most lengths are one byte.
        if let Some((byte, rest)) = self.0.split_first()
            && *byte < 0x80
        {
            self.0 = rest;
            return Ok(u64::from(*byte));
        }
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(bad("a number is too long"))
    }
}

/// Appends a number in 7 bits a byte, lowest first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        out.push(low | 0x80);
        value >>= 7;
    }
    let [low, ..] = value.to_le_bytes();
    out.push(low);
}

/// How many bytes [`put_varint`] takes.
pub(super) fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

pub(super) fn put_bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_varint(out, number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn put_fixed64(out: &mut Vec<u8>, number: u64, value: u64) {
    put_varint(out, number << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put_number(out: &mut Vec<u8>, number: u64, value: u64) {
    put_varint(out, number << 3);
    put_varint(out, value);
}
