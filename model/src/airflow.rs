//! Airflow's identity of a record: which DAG, task, run, map index and try, and what its lines look like.
//!
//! Nothing here knows tenants, components or pods: whatever a line says about those are attributes like any
//! other, and never change whose the record is.

mod console;
pub mod continuation;
mod exception;
mod fields;
mod json;
mod literal;
mod log_id;
mod path;
mod stamp;
mod text;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::level::Level;
use crate::time::Timestamp;

pub use fields::identify;
pub use json::{EXCEPTIONS, add_trace, trace, without_lone_surrogates};
pub use log_id::{agrees as log_id_agrees, log_ids, parse as parse_log_id};
pub use path::{DagFile, TaskFile, dag_file_from_path, task_from_path};
pub use stamp::{of_number as time_of_number, of_text as time_of_text};

/// How Python begins a traceback.
const TRACEBACK: &str = "Traceback (most recent call last):";
/// How far colour codes are looked for at the start of a line: the length of a head.
const HEAD_BYTES: usize = 160;

/// Which task try a record belongs to, as far as its line or its path says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// DAG.
    pub dag_id: Option<Arc<str>>,
    /// Task.
    pub task_id: Option<Arc<str>>,
    /// DAG run; for Airflow before 2.3 the execution date.
    pub run_id: Option<Arc<str>>,
    /// Index of a mapped task; -1 where not mapped.
    pub map_index: Option<i32>,
    /// Which try, from 1.
    pub try_number: Option<u32>,
    /// Airflow's own key of this try's log, exactly as written; opaque.
    pub log_id: Option<Arc<str>>,
    /// The logger's name.
    pub logger: Option<Arc<str>>,
}

impl Identity {
    /// Bytes of all texts.
    pub fn text_bytes(&self) -> usize {
        [&self.dag_id, &self.task_id, &self.run_id, &self.log_id, &self.logger]
            .into_iter()
            .flatten()
            .map(|s| s.len())
            .sum()
    }

    /// This identity, with what it lacks taken from `other`.
    pub fn or(mut self, other: &Self) -> Self {
        self.dag_id = self.dag_id.or_else(|| other.dag_id.clone());
        self.task_id = self.task_id.or_else(|| other.task_id.clone());
        self.run_id = self.run_id.or_else(|| other.run_id.clone());
        self.map_index = self.map_index.or(other.map_index);
        self.try_number = self.try_number.or(other.try_number);
        self.log_id = self.log_id.or_else(|| other.log_id.clone());
        self.logger = self.logger.or_else(|| other.logger.clone());
        self
    }
}

/// What a line says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParsedLine {
    /// When it happened, where the line says.
    pub time: Option<Timestamp>,
    /// How grave.
    pub level: Option<Level>,
    /// The text for people, where it is not the line itself.
    pub message: Option<String>,
    /// Which task.
    pub identity: Identity,
    /// All else that the line said, each under its own name, whatever that name is.
    pub attributes: Map<String, Value>,
}

/// Reads one event: a line, or a first line with the lines that continue it.
///
/// Without a `message` the text itself is the message. No text is lost: what is not in the message is in a
/// field or an attribute, but for the head's own marks.
pub fn parse_line(text: &str) -> ParsedLine {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    let text = &*without_colours(text);
    if text.trim_start().starts_with('{')
        && let Some(line) = json::parse(text)
    {
        return line;
    }
    if let Some(head) = console::head(text) {
        return console::parse(&head);
    }
    if let Some(head) = text::head(text) {
        return text::parse(&head);
    }
    if let Some(access) = text::access(text) {
        return text::parse_access(&access);
    }
    ParsedLine { level: text::guess_level(text), ..ParsedLine::default() }
}

/// The text without colour codes, where they are in its head: then Airflow coloured the line. Codes further on
/// are the task's own, and stay.
fn without_colours(text: &str) -> Cow<'_, str> {
    let near = text.as_bytes().get(..text.len().min(HEAD_BYTES)).unwrap_or_default();
    let is_head = matches!(near, [b'\x1b' | b'[' | b'0'..=b'9', ..]);
    if !is_head || memchr::memchr(b'\x1b', near).is_none() || heads_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, code)) = rest.split_once("\x1b[") {
        out.push_str(plain);
        let parameters = code.bytes().take_while(|b| b.is_ascii_digit() || *b == b';').count();
        rest = match code.get(parameters..).and_then(|c| c.strip_prefix('m')) {
            Some(rest) => rest,
            None => {
                out.push_str("\x1b[");
                code
            }
        };
    }
    out.push_str(rest);
    if heads_plain(&out) { Cow::Owned(out) } else { Cow::Borrowed(text) }
}

fn heads_plain(text: &str) -> bool {
    console::head(text).is_some() || text::head(text).is_some()
}

/// Where a traceback begins on a line of its own.
fn trace_start(text: &str) -> Option<usize> {
    ["\nTraceback (most recent call last):", "\n  + Exception Group Traceback"]
        .iter()
        .filter_map(|mark| memchr::memmem::find(text.as_bytes(), mark.as_bytes()))
        .min()
}

#[cfg(test)]
mod tests;
