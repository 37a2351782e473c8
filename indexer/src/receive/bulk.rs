//! The Elasticsearch form of a batch: lines in pairs, what to do and the document. CPU work only.
//!
//! A document is read where it lies: named fields become a row's, all else is copied into its attributes as it
//! is written, and no value is built. Measured in MB of lines per second of one core (EPYC, 2.6 GHz): Airflow's own
//! lines, half of them with random words and numbers, to rows and answer 590, rows to bytes 1140, zstd 870, all
//! together 270; lines as Fluent Bit sends them, with their pod, 330.

mod action;
mod document;
mod json;
mod names;

use bytes::Bytes;
use heliograph_model::codec;
use heliograph_model::record::{RecordId, RecordKey};
use heliograph_model::source::Position;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;

use super::encoding::{Encoding, Limits};
use super::redaction::Redaction;
use super::{Decoded, Positions};
use crate::error::{Error, Result};
use action::{Action, Actions};
use document::Documents;
use json::Fault;

/// zstd level of the payload, which lies in the write-ahead object for minutes. On the first lines above -1 saves 5 % of
/// all CPU time for 42 % more bytes to write and sync, -5 10 % for 62 %; 3 costs 27 % more for 3 % fewer.
const LEVEL: i32 = 1;
/// Memory beside the documents' own bytes (rows, shared parts, the answer) may be so many times the bound on
/// bytes: ordinary documents take a third of theirs, empty ones ten times.
const TIMES_MAX: usize = 2;
/// What stands for an index that nobody named.
const INDEX: &str = "heliograph";
/// The types of Elasticsearch's errors that items have here.
const ILLEGAL: &str = "illegal_argument_exception";
const UNREADABLE: &str = "document_parsing_exception";
/// Longest name of an index, in bytes: Elasticsearch's own bound.
const INDEX_BYTES_MAX: usize = 255;

/// Whose a body is, and where it was sent.
pub(super) struct Batch {
    pub(super) tenant: TenantId,
    /// Names the sender.
    pub(super) producer: String,
    pub(super) received: Timestamp,
    /// From [`index`].
    pub(super) index: Box<str>,
}

/// What became of each document, in their order.
#[derive(Debug, Default)]
pub(crate) struct Items {
    /// The elements of the answer's list, parted by commas.
    pub(crate) bytes: Bytes,
    /// Whether one was refused.
    pub(crate) has_errors: bool,
}

/// The index that a path names, as JSON: said again in the answer, and no more.
pub(super) fn index(named: Option<&str>) -> Result<Box<str>> {
    let name = named.unwrap_or(INDEX);
    if name.len() > INDEX_BYTES_MAX {
        return Err(Error::TooLarge { what: "the name of the index, in bytes,", limit: INDEX_BYTES_MAX });
    }
    Ok(serde_json::Value::from(name).to_string().into())
}

/// Takes a body apart. An error stores nothing: it is for what leaves unclear which line is what.
pub(super) fn decode(
    batch: &Batch,
    positions: &Positions,
    encoding: Encoding,
    body: &Bytes,
    limits: Limits,
    redaction: &Redaction,
) -> Result<(Decoded, Items)> {
    let plain = encoding.expand(body, limits)?;
    let memory_max = limits.expanded.saturating_mul(TIMES_MAX);
    let mut lines = Lines { rest: &plain, number: 0 };
    let mut actions = Actions::new(&batch.index);
    let mut documents = Documents::new(&batch.producer, batch.received, plain.len());
    let mut answer = Answer { items: Vec::with_capacity(plain.len() / 8), has_errors: false };
    // More than there will be documents: a gap in the places does no harm.
    let places = memchr::memchr_iter(b'\n', &plain).count() as u64 + 1;
    let mut next = positions.take(batch.received, places);
    while let Some(line) = lines.next() {
        if documents.extra_bytes() + answer.items.len() > memory_max {
            return Err(Error::TooLarge {
                what: "the memory that the documents take, in bytes,",
                limit: memory_max,
            });
        }
        let action = actions.read(line).map_err(|what| lines.refusal(&what))?;
        if !action.verb.has_document() {
            answer.refuse(&action, ILLEGAL, "a delete: logs are never changed");
            continue;
        }
        let Some(document) = lines.next() else {
            return Err(lines.refusal("the action lacks its document on the next line"));
        };
        if !action.verb.is_taken() {
            answer.refuse(&action, ILLEGAL, "an update: logs are never changed; send create");
            continue;
        }
        match documents.add(document, next)? {
            Ok(key) => answer.accept(&action, &batch.tenant, key),
            Err(Fault { what, at }) => {
                let reason = format!("line {}, byte {}: {what}", lines.number, at + 1);
                answer.refuse(&action, UNREADABLE, &reason);
            }
        }
        next = Position(next.0.saturating_add(1));
    }
    if answer.items.is_empty() {
        return Err(
            lines.refusal("there is no action: send {\"create\":{}}, and the document on the next line")
        );
    }
    let (rows, taken) = redaction.apply(documents.finish())?;
    let payload = codec::compress(&codec::encode_rows(&rows), LEVEL)?.into();
    Ok((
        Decoded { expanded_bytes: plain.len(), rows, taken, payload },
        Items { bytes: answer.items.into(), has_errors: answer.has_errors },
    ))
}

/// The lines that are not blank.
struct Lines<'a> {
    rest: &'a [u8],
    /// Of the last line, from 1.
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
            let (line, rest) = self.rest.split_at_checked(end)?;
            self.rest = rest.get(1..).unwrap_or_default();
            self.number += 1;
            let line = line.trim_ascii();
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    }

    /// Of the whole body, at the last line.
    fn refusal(&self, what: &str) -> Error {
        Error::invalid(format!("line {}: {what}", self.number.max(1)))
    }
}

/// The answer's list while it is written.
struct Answer {
    items: Vec<u8>,
    has_errors: bool,
}

impl Answer {
    /// A document that is stored if the request is. One without an id is told its record's.
    fn accept(&mut self, action: &Action<'_>, tenant: &TenantId, key: RecordKey) {
        match action.id {
            Some(id) => self.open(action, id.0),
            None => self.open(action, &RecordId::new(tenant, key).to_string()),
        }
        self.put(&[",\"status\":201}}"]);
    }

    fn refuse(&mut self, action: &Action<'_>, kind: &str, reason: &str) {
        self.has_errors = true;
        self.open(action, action.id.map_or("", |id| id.0));
        let [kind, reason] = [kind, reason].map(|text| serde_json::Value::from(text).to_string());
        self.put(&[",\"status\":400,\"error\":{\"type\":", &kind, ",\"reason\":", &reason, "}}}"]);
    }

    /// Begins an item. Clients give ids as texts, some as numbers; what is told is always a text.
    fn open(&mut self, action: &Action<'_>, id: &str) {
        let comma = if self.items.is_empty() { "" } else { "," };
        let quote = if id.starts_with('"') { "" } else { "\"" };
        let verb = action.verb.as_str();
        self.put(&[comma, "{\"", verb, "\":{\"_index\":", action.index, ",\"_id\":", quote, id, quote]);
    }

    fn put(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.items.extend_from_slice(part.as_bytes()));
    }
}

#[cfg(test)]
mod tests;
