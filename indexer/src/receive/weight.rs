//! Weighs a message before it is decoded: two bytes of protobuf or JSON can stand for hundreds of bytes of
//! memory, so the bound on bytes alone bounds nothing.

use super::Format;
use crate::error::{Error, Result};

/// Memory of a decoded log record with what we make of it, about, beyond its texts.
const RECORD_BYTES: usize = 600;
/// Likewise of a resource or a scope.
const GROUP_BYTES: usize = 250;
/// Likewise of an attribute with its value.
const ATTRIBUTE_BYTES: usize = 100;
/// Likewise of an element of a list.
const ELEMENT_BYTES: usize = 50;
/// Memory may be so many times the bound on bytes: ordinary logs take 2 to 4 times theirs.
const TIMES_MAX: usize = 8;

/// Refuses what would take too much memory to decode. Says nothing of whether it is well formed.
pub(super) fn check(format: Format, bytes: &[u8], expanded_max: usize) -> Result<()> {
    let limit = expanded_max.saturating_mul(TIMES_MAX);
    let weight = match format {
        Format::Protobuf => protobuf(bytes, limit),
        Format::Json => json(bytes),
    };
    if weight > limit {
        return Err(Error::TooLarge { what: "the memory that the records take, in bytes,", limit });
    }
    Ok(())
}

/// By depth: request, its list of resources, a resource, its list of scopes, a scope, its list of records, a
/// record (the seventh), and all within it.
fn json(bytes: &[u8]) -> usize {
    let (mut weight, mut depth, mut in_string, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                weight += match depth {
                    ..7 => GROUP_BYTES,
                    7 => RECORD_BYTES,
                    _ => ELEMENT_BYTES,
                };
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    weight
}

/// The messages of OTLP logs that hold others.
#[derive(Clone, Copy)]
enum Kind {
    Request,
    ResourceLogs,
    Resource,
    EntityRef,
    ScopeLogs,
    Scope,
    LogRecord,
    KeyValue,
    AnyValue,
    Array,
    Pairs,
    /// Holds nothing more.
    Leaf,
}

impl Kind {
    /// What a field of a message is, and how heavy (numbers from opentelemetry/proto: logs, common and
    /// resource v1).
    fn field(self, number: u64) -> Option<(Self, usize)> {
        Some(match (self, number) {
            (Self::Request, 1) => (Self::ResourceLogs, GROUP_BYTES),
            (Self::ResourceLogs, 1) => (Self::Resource, 0),
            (Self::ResourceLogs, 2) => (Self::ScopeLogs, GROUP_BYTES),
            (Self::Resource, 1) | (Self::Scope, 3) | (Self::LogRecord, 6) | (Self::Pairs, 1) => {
                (Self::KeyValue, ATTRIBUTE_BYTES)
            }
            (Self::Resource, 3) => (Self::EntityRef, ATTRIBUTE_BYTES),
            (Self::EntityRef, 3 | 4) => (Self::Leaf, ELEMENT_BYTES),
            (Self::ScopeLogs, 1) => (Self::Scope, 0),
            (Self::ScopeLogs, 2) => (Self::LogRecord, RECORD_BYTES),
            (Self::LogRecord, 5) | (Self::KeyValue, 2) => (Self::AnyValue, 0),
            (Self::AnyValue, 5) => (Self::Array, 0),
            (Self::AnyValue, 6) => (Self::Pairs, 0),
            (Self::Array, 1) => (Self::AnyValue, ELEMENT_BYTES),
            _ => return None,
        })
    }
}

/// Weighs up to a little over `limit`; stops where the bytes are no protobuf. Looks at every byte once, and
/// without recursion, for nesting is the sender's choice.
fn protobuf(bytes: &[u8], limit: usize) -> usize {
    let mut weight = 0;
    let mut open = vec![(bytes, Kind::Request)];
    while let Some((mut rest, kind)) = open.pop() {
        while let Some((number, content, after)) = next_field(rest) {
            rest = after;
            let Some((inner, bytes)) = kind.field(number) else { continue };
            let Some(content) = content else { continue };
            weight += bytes;
            if weight > limit {
                return weight;
            }
            if !content.is_empty() && !matches!(inner, Kind::Leaf) {
                open.push((content, inner));
            }
        }
    }
    weight
}

/// A field's number, its bytes if it has a length, and what follows it.
type Field<'a> = (u64, Option<&'a [u8]>, &'a [u8]);

fn next_field(bytes: &[u8]) -> Option<Field<'_>> {
    let (tag, rest) = varint(bytes)?;
    let number = tag >> 3;
    match tag & 7 {
        0 => varint(rest).map(|(_, after)| (number, None, after)),
        1 => rest.get(8..).map(|after| (number, None, after)),
        5 => rest.get(4..).map(|after| (number, None, after)),
        2 => {
            let (length, rest) = varint(rest)?;
            let (content, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some((number, Some(content), after))
        }
        // The begin and end of a group: skipped by looking at what is between, as the decoder does.
        3 | 4 => Some((number, None, rest)),
        _ => None,
    }
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field with a length around `content`.
    fn nest(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        out.push(u8::try_from(length).unwrap());
        out.extend_from_slice(content);
        out
    }

    #[track_caller]
    fn check_refused(format: Format, bytes: &[u8]) {
        assert!(matches!(check(format, bytes, 1 << 20), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn a_megabyte_of_empty_records_is_refused() {
        let records = nest(2, b"").repeat(500_000);
        check_refused(Format::Protobuf, &nest(1, &nest(2, &records)));
        let json = format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{}{{}}]}}]}}]}}"#,
            "{},".repeat(300_000)
        );
        check_refused(Format::Json, json.as_bytes());
    }

    #[test]
    fn a_megabyte_of_empty_attributes_or_elements_is_refused() {
        let attributes = nest(6, b"").repeat(500_000);
        check_refused(Format::Protobuf, &nest(1, &nest(2, &nest(2, &attributes))));
        let elements = nest(5, &nest(1, b"").repeat(500_000));
        check_refused(Format::Protobuf, &nest(1, &nest(2, &nest(2, &nest(5, &elements)))));
        check_refused(Format::Json, "[".repeat(1 << 20).as_bytes());
    }

    #[test]
    fn deep_nesting_and_rubbish_end() {
        let mut value = Vec::new();
        for _ in 0..2_000 {
            value = nest(5, &nest(1, &value));
        }
        assert!(check(Format::Protobuf, &nest(1, &nest(2, &nest(2, &nest(5, &value)))), 1 << 20).is_ok());
        assert!(check(Format::Protobuf, &[0xff; 1000], 1 << 20).is_ok());
        assert!(check(Format::Json, b"\"{{{{{{{{\\\"[[[", 16).is_ok());
    }
}
