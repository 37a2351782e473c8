//! Which attributes a segment's records have, by their first key, with counts.

use std::collections::HashMap;

use heliograph_model::scan::ValueCounts;
use serde::de::IgnoredAny;

use super::columns::{Cursor, Parsed, put_text, put_varint};
use super::template::Splitter;
use super::templates::WHOLE;

/// Most names kept of a segment, and the longest of them: beyond that the list is not complete, and readers
/// look at the records.
const NAMES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 1024;

/// Attribute names with how many records have each.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Names {
    counts: HashMap<Box<str>, u64>,
    /// Whether every name is here.
    pub(super) is_complete: bool,
}

impl Default for Names {
    fn default() -> Self {
        Self { counts: HashMap::new(), is_complete: true }
    }
}

/// What a template says of the names of its records' attributes.
#[derive(Default)]
enum OfTemplate {
    /// Not looked at yet.
    #[default]
    New,
    /// A variable may stand in a name.
    Vary,
    /// So many records have these.
    Same(Box<[Box<str>]>, u64),
}

/// Counts names while a segment is written: once a template, where its texts all have the same.
#[derive(Default)]
pub(super) struct NamesBuilder {
    names: Names,
    /// By number.
    templates: Vec<OfTemplate>,
    splitter: Splitter,
}

impl NamesBuilder {
    /// Counts the names of one record's attributes, whose template has this number.
    pub(super) fn add(&mut self, json: &str, template: u32) {
        if json.is_empty() || !self.names.is_complete {
            return;
        }
        if template == WHOLE {
            return self.names.add(json);
        }
        let place = template as usize;
        if self.templates.len() <= place {
            self.templates.resize_with(place + 1, OfTemplate::default);
        }
        match self.templates.get_mut(place) {
            Some(OfTemplate::Same(_, records)) => *records += 1,
            Some(new @ OfTemplate::New) => {
                *new = names_of(json, &mut self.splitter);
                if matches!(new, OfTemplate::Vary) {
                    self.names.add(json);
                }
            }
            _ => self.names.add(json),
        }
    }

    pub(super) fn finish(mut self) -> Names {
        for template in self.templates {
            if let OfTemplate::Same(names, records) = template {
                names.iter().for_each(|name| self.names.count(name, records));
            }
        }
        self.names
    }
}

/// The names of the first record of a template.
fn names_of(json: &str, splitter: &mut Splitter) -> OfTemplate {
    let mut read = Names::default();
    read.add(json);
    let mut has_variable = false;
    for name in read.counts.keys() {
        let is_split = splitter.split(name, |_| has_variable = true);
        has_variable |= !is_split;
    }
    match read.is_complete && !has_variable {
        true => OfTemplate::Same(read.counts.into_keys().collect(), 1),
        false => OfTemplate::Vary,
    }
}

impl Names {
    /// Counts the names of one record's attributes.
    fn add(&mut self, json: &str) {
        if json.is_empty() || !self.is_complete {
            return;
        }
        // A name that an object has twice counts once, here as where records are looked at.
        match serde_json::from_str::<HashMap<String, IgnoredAny>>(json) {
            Ok(object) => object.keys().for_each(|name| self.count(name, 1)),
            Err(_) => self.is_complete = false,
        }
    }

    fn count(&mut self, name: &str, records: u64) {
        if let Some(count) = self.counts.get_mut(name) {
            *count += records;
        } else if self.counts.len() < NAMES_MAX && name.len() <= NAME_BYTES_MAX {
            self.counts.insert(name.into(), records);
        } else {
            self.is_complete = false;
        }
    }

    /// The section's bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.is_complete)];
        let mut sorted: Vec<_> = self.counts.iter().collect();
        sorted.sort_unstable();
        put_varint(&mut out, sorted.len() as u64);
        for (name, count) in sorted {
            put_text(&mut out, name);
            put_varint(&mut out, *count);
        }
        out
    }

    /// Reads [`Self::to_bytes`].
    pub(super) fn read(bytes: &[u8]) -> Parsed<Self> {
        let mut from = Cursor::new(bytes);
        let [is_complete] = from.array()?;
        let count = from.count(NAMES_MAX)?;
        let counts = (0..count).map(|_| Ok((from.text()?.into(), from.varint()?))).collect::<Parsed<_>>()?;
        from.finish()?;
        Ok(Self { counts, is_complete: is_complete != 0 })
    }

    /// The counts as an answer.
    pub(super) fn counts(&self) -> ValueCounts {
        let mut out = ValueCounts::default();
        self.counts.iter().for_each(|(name, count)| out.add(name, *count));
        out
    }

    /// Whether a record may have a value at a path of keys.
    pub(super) fn may_have(&self, path: &str) -> bool {
        !self.is_complete
            || self.counts.contains_key(path)
            || path
                .match_indices('.')
                .any(|(dot, _)| path.get(..dot).is_some_and(|head| self.counts.contains_key(head)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_and_come_back() {
        let mut names = Names::default();
        for json in [r#"{"a":{"b":1},"x.y":[1,{"z":2}]}"#, r#"{"a":"\"b","ü\n":null}"#, ""] {
            names.add(json);
        }
        let read = Names::read(&names.to_bytes()).unwrap();
        assert_eq!(read, names);
        assert_eq!(read.counts().top(5), [("a", 2), ("x.y", 1), ("ü\n", 1)]);
        for (path, expected) in
            [("a", true), ("a.b", true), ("x.y", true), ("x", false), ("b", false), ("x.y.z", true)]
        {
            assert_eq!(read.may_have(path), expected, "{path}");
        }
    }

    #[test]
    fn names_of_a_template_are_read_once() {
        let (mut builder, mut each) = (NamesBuilder::default(), Names::default());
        for n in 0..5 {
            for (template, json) in [
                (WHOLE, r#"{"w":1}"#.to_owned()),
                (1, format!(r#"{{"a":{n},"b c":"x{n}"}}"#)),
                (2, format!(r#"{{"a{n}":1}}"#)),
                (3, format!(r#"{{"d":1,"d":{n}}}"#)),
            ] {
                builder.add(&json, template);
                each.add(&json);
            }
        }
        assert_eq!(builder.finish(), each);
    }

    #[test]
    fn too_many_names_are_said_to_be_incomplete() {
        let mut names = Names::default();
        (0..=NAMES_MAX).for_each(|n| names.add(&format!("{{\"n{n}\":0}}")));
        assert!(!names.is_complete && names.may_have("other"));
    }
}
