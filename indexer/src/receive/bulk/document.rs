//! A document → a row.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use heliograph_model::airflow::{self, Identity};
use heliograph_model::level::Level;
use heliograph_model::record::{
    ATTRIBUTES_BYTES_MAX, Attributes, FIELD_BYTES_MAX, MESSAGE_BYTES_MAX, RecordKey, cut,
};
use heliograph_model::rows::{NewRow, Rows, RowsBuilder};
use heliograph_model::source::{Component, Position, Source, SourceId, Stream};
use heliograph_model::time::Timestamp;
use serde_json::Value;

use super::json::{Fault, LONE_SURROGATE, Raw, members};
use super::names::{EXCEPTIONS, IDENTITY, Known, LEVELS, MESSAGES, Name, SOURCE, TIMES};
use crate::error::Result;

/// Memory of a row beside its texts, about.
const ROW_BYTES: usize = 48;
/// Memory of a source or an identity with its places in tables, about, beside its texts.
const SHARED_BYTES: usize = 500;
/// Longest value that is read for what it says of a source or an identity. Pods with all their labels take 1 or 2 KB.
const SHARED_TEXT_BYTES_MAX: usize = 16 << 10;

/// Documents of one request.
pub(super) struct Documents<'r> {
    producer: &'r str,
    received: Timestamp,
    rows: RowsBuilder,
    /// Memory of what is more than the documents' own bytes, but for shared parts.
    extra_bytes: usize,
    sources: Made<MadeSource>,
    identities: Made<MadeIdentity>,
    /// Of the document that is being read: kept for its memory.
    attributes: String,
}

/// A source in the rows.
#[derive(Clone, Copy)]
struct MadeSource {
    number: u32,
    id: SourceId,
    /// Which of [`SOURCE`] it did not take, by bit.
    left: u16,
}

/// An identity in the rows.
#[derive(Clone, Copy)]
struct MadeIdentity {
    number: u32,
    /// Which of [`IDENTITY`] it did not take, by bit.
    left: u16,
}

impl<'r> Documents<'r> {
    /// No documents yet, of a body of so many bytes.
    pub(super) fn new(producer: &'r str, received: Timestamp, bytes: usize) -> Self {
        Self {
            producer,
            received,
            rows: RowsBuilder::with_capacity(bytes / 2),
            extra_bytes: 0,
            sources: Made::default(),
            identities: Made::default(),
            attributes: String::new(),
        }
    }

    /// Memory that the documents take beside their own bytes.
    pub(super) fn extra_bytes(&self) -> usize {
        self.extra_bytes + self.sources.extra_bytes + self.identities.extra_bytes
    }

    /// All rows.
    pub(super) fn finish(self) -> Rows {
        self.rows.finish()
    }

    /// Adds a document as the row at `position`, or says why it is none. Fails where the rows are full.
    pub(super) fn add(&mut self, line: &[u8], position: Position) -> Result<Result<RecordKey, Fault>> {
        let text = match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(e) => return Ok(Err(Fault { what: "not UTF-8", at: e.valid_up_to() })),
        };
        match self.read(text) {
            Ok(known) => self.row(known, position, line.len()),
            Err(fault) if fault.what == LONE_SURROGATE => {
                let Some(text) = airflow::without_lone_surrogates(text) else { return Ok(Err(fault)) };
                match self.read(&text) {
                    Ok(known) => self.row(known, position, line.len()),
                    Err(fault) => Ok(Err(fault)),
                }
            }
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// The values under known names; all else is in the attributes then.
    fn read<'a>(&mut self, text: &'a str) -> Result<Known<'a>, Fault> {
        let mut known = Known::new();
        let attributes = &mut self.attributes;
        attributes.clear();
        members(text, |key, value| {
            if known.keep(key, value) {
                return;
            }
            // As the query API gives records: what is in there are the attributes themselves.
            let inner = value.inner().filter(|_| key.0 == "\"attributes\"");
            match inner {
                Some("") => {}
                Some(inner) => put(attributes, &[inner]),
                None => put(attributes, &[key.0, ":", value.0]),
            }
        })?;
        Ok(known)
    }

    /// `bytes` is the length of the document.
    fn row(
        &mut self,
        mut known: Known<'_>,
        position: Position,
        bytes: usize,
    ) -> Result<Result<RecordKey, Fault>> {
        let time = known.take(&TIMES, moment).map_or(self.received, |(_, time)| time);
        let level = known.take(&LEVELS, |v| Level::parse(v.text()?.trim())).map(|(_, level)| level);
        let stream = known.take(&[Name::Stream], |v| Stream::parse(&v.text()?)).map(|(_, stream)| stream);
        let source = self.source(&mut known);
        let message = known.take(&MESSAGES, Raw::text);
        // `name` is the logger in Python's own formatters; beside an `event` it is the event's own.
        let is_named = message.as_ref().is_some_and(|(name, _)| *name != Name::Event);
        let identity = self.identity(&mut known, is_named);
        let mut message = match message {
            // Docker's own files have the line's end in them.
            Some((Name::Log, text)) => without_end(text),
            Some((_, text)) => text,
            None => Cow::Borrowed(""),
        };
        add_traces(&mut message, &known);
        for (name, value) in known.left() {
            put(&mut self.attributes, &["\"", name.as_str(), "\":", value.0]);
        }
        if !self.attributes.is_empty() {
            self.attributes.push('}');
        }
        let Ok(attributes) = Attributes::bound_json(&self.attributes) else {
            return Ok(Err(Fault { what: "not a JSON object", at: 0 }));
        };
        let message = cut(&message, MESSAGE_BYTES_MAX);
        // An exception's text can be many times what it is made of.
        self.extra_bytes += ROW_BYTES + (message.len() + attributes.len()).saturating_sub(bytes);
        self.rows.row(NewRow {
            time,
            observed: self.received,
            position,
            source: source.number,
            identity: identity.number,
            level,
            stream,
            message: &message,
            attributes: &attributes,
        })?;
        Ok(Ok(RecordKey { time, source: source.id, position }))
    }

    fn source(&mut self, known: &mut Known<'_>) -> MadeSource {
        let values = SOURCE.map(|name| known.get(name).filter(is_short));
        let (rows, producer) = (&mut self.rows, self.producer);
        let made = self.sources.get_or_make(values, || {
            let (source, left) = source(values, producer);
            MadeSource { id: source.id, number: rows.source(&Arc::new(source)), left }
        });
        drop_all(known, SOURCE.into_iter().zip(values), made.left);
        made
    }

    fn identity(&mut self, known: &mut Known<'_>, is_named: bool) -> MadeIdentity {
        let values = IDENTITY.map(|name| {
            known.get(name).filter(|value| is_short(value) && (name != Name::PythonLogger || is_named))
        });
        let rows = &mut self.rows;
        let made = self.identities.get_or_make(values, || {
            let (identity, left) = identity(values);
            MadeIdentity { number: rows.identity(&identity), left }
        });
        drop_all(known, IDENTITY.into_iter().zip(values), made.left);
        made
    }
}

/// Takes the values away that were read, but for those that were left, by bit.
fn drop_all<'a>(known: &mut Known<'_>, values: impl Iterator<Item = (Name, Option<Raw<'a>>)>, left: u16) {
    for (i, (name, value)) in (0..).zip(values) {
        if value.is_some() && left & 1 << i == 0 {
            known.drop(name);
        }
    }
}

/// Adds to an object that still lacks its end.
fn put(object: &mut String, parts: &[&str]) {
    object.push(if object.is_empty() { '{' } else { ',' });
    parts.iter().for_each(|part| object.push_str(part));
}

fn is_short(value: &Raw<'_>) -> bool {
    value.0.len() <= SHARED_TEXT_BYTES_MAX
}

fn moment(value: Raw<'_>) -> Option<Timestamp> {
    match value.text() {
        Some(text) => airflow::time_of_text(&text),
        None => airflow::time_of_number(&serde_json::from_str(value.0).ok()?),
    }
}

fn without_end(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_end_matches(['\n', '\r'])),
        Cow::Owned(mut text) => {
            text.truncate(text.trim_end_matches(['\n', '\r']).len());
            Cow::Owned(text)
        }
    }
}

/// Puts the texts of exceptions below the message, where a search for words finds them.
fn add_traces(message: &mut Cow<'_, str>, known: &Known<'_>) {
    for value in EXCEPTIONS.into_iter().filter_map(|name| known.get(name)) {
        if value.0.len() <= ATTRIBUTES_BYTES_MAX
            && let Ok(value) = serde_json::from_str::<Value>(value.0)
            && let Some(trace) = airflow::trace(&value)
        {
            airflow::add_trace(message.to_mut(), &trace);
        }
    }
}

/// Where the object of Kubernetes has the fields of a source, in the order of [`SOURCE`]: as Fluent Bit, Vector and
/// Elastic's own shippers write it. The label is what Airflow's charts call their parts.
const WITHIN_KUBERNETES: [&[&str]; 5] = [
    &["/labels/component", "/pod_labels/component"],
    &["/namespace_name", "/pod_namespace", "/namespace"],
    &["/pod_name", "/pod/name"],
    &["/container_name", "/container/name"],
    &["/host", "/pod_node_name", "/node/name"],
];

/// The source, and which of the values it did not take.
fn source(values: [Option<Raw<'_>>; SOURCE.len()], producer: &str) -> (Source, u16) {
    let [own @ .., kubernetes] = values;
    let kubernetes = kubernetes.and_then(|value| serde_json::from_str::<Value>(value.0).ok());
    // It says more than we take.
    let mut left = 1 << own.len();
    let mut i = 0;
    let texts = own.map(|value| {
        let is_component = i == 0;
        let own = value.and_then(|value| name_of(&value.text()?, is_component));
        left |= u16::from(own.is_none()) << i;
        let within = WITHIN_KUBERNETES.get(i).copied().unwrap_or_default();
        i += 1;
        own.or_else(|| {
            within.iter().find_map(|path| {
                let found = kubernetes.as_ref()?.pointer(path)?;
                name_of(found.as_str()?, is_component)
            })
        })
    });
    let id = SourceId::of(producer, &format!("{texts:?}"));
    let [component, namespace, pod, container, node] = texts;
    let component = component.and_then(|text| Component::parse(&text).ok());
    (Source { id, component, namespace, pod, container, node, path: None }, left)
}

/// A text that can name a component, a pod, a node, ….
fn name_of(text: &str, is_component: bool) -> Option<Box<str>> {
    if is_component {
        return Some(Component::parse(&text.to_ascii_lowercase()).ok()?.as_str().into());
    }
    (!text.is_empty() && text.len() <= FIELD_BYTES_MAX).then(|| text.into())
}

/// The identity, and which of the values it did not take.
fn identity(values: [Option<Raw<'_>>; IDENTITY.len()]) -> (Identity, u16) {
    let names = IDENTITY.map(|name| match name {
        Name::PythonLogger | Name::LogLogger => Name::Logger.as_str(),
        name => name.as_str(),
    });
    let said = names.into_iter().zip(values);
    let read = said.filter_map(|(name, value)| Some((name, serde_json::from_str(value?.0).ok()?)));
    let (identity, rest) = airflow::identify(read);
    let left = (0..).zip(names).filter(|(_, name)| rest.contains_key(*name));
    (identity, left.fold(0, |bits, (i, _)| bits | 1 << i))
}

/// What was made of values, by how they are written: most documents say the same as the one before, and the others
/// as one of those.
struct Made<T> {
    known: HashMap<Box<str>, T>,
    last: Option<T>,
    last_key: String,
    /// Of the document that is being read: kept for its memory.
    key: String,
    extra_bytes: usize,
}

impl<T> Default for Made<T> {
    fn default() -> Self {
        let (last_key, key) = (String::new(), String::new());
        Self { known: HashMap::new(), last: None, last_key, key, extra_bytes: 0 }
    }
}

impl<T: Copy> Made<T> {
    fn get_or_make<const N: usize>(&mut self, values: [Option<Raw<'_>>; N], make: impl FnOnce() -> T) -> T {
        self.key.clear();
        for value in values {
            self.key.push_str(value.map_or("", |value| value.0));
            // No value has a line's end in it.
            self.key.push('\n');
        }
        if let Some(made) = self.last.filter(|_| self.key == self.last_key) {
            return made;
        }
        let made = self.known.get(self.key.as_str()).copied().unwrap_or_else(|| {
            let made = make();
            self.extra_bytes += SHARED_BYTES + 2 * self.key.len();
            self.known.insert(self.key.as_str().into(), made);
            made
        });
        self.last = Some(made);
        std::mem::swap(&mut self.key, &mut self.last_key);
        made
    }
}

#[cfg(test)]
mod tests;
