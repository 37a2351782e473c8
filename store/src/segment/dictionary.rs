//! The distinct values of one column of a segment: sorted, numbered from 0, in memory as one text.

use std::collections::HashMap;
use std::ops::Range;

use heliograph_model::filter::{Field, Filter, Matcher, Test, View};
use heliograph_model::level::Level;
use heliograph_model::time::Timestamp;
use std::borrow::Cow;

use super::columns::{Cursor, Malformed, Parsed, put_varint};
use super::hashing::Seeded;
use crate::error::Result;

/// Gathers values and numbers them in the order of their first appearance.
#[derive(Default)]
pub(super) struct Interner {
    numbers: HashMap<Box<str>, u32, Seeded>,
}

impl Interner {
    /// The number of a value, given on first sight.
    pub(super) fn number(&mut self, value: &str) -> u32 {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        self.numbers.insert(value.into(), next);
        next
    }

    /// The values in order, and for each number given so far its place in that order.
    pub(super) fn sorted(self) -> (Vec<Box<str>>, Vec<u32>) {
        let mut pairs: Vec<_> = self.numbers.into_iter().collect();
        pairs.sort_unstable();
        let mut places = vec![0; pairs.len()];
        for (place, (_, number)) in (0_u32..).zip(&pairs) {
            if let Some(slot) = places.get_mut(*number as usize) {
                *slot = place;
            }
        }
        (pairs.into_iter().map(|(value, _)| value).collect(), places)
    }
}

/// Writes sorted values, each as what it shares with the one before and the rest.
pub(super) fn put_values(out: &mut Vec<u8>, values: &[Box<str>]) {
    put_varint(out, values.len() as u64);
    let mut previous = "";
    for value in values {
        let shared = value.bytes().zip(previous.bytes()).take_while(|(a, b)| a == b).count();
        put_varint(out, shared as u64);
        put_varint(out, (value.len() - shared) as u64);
        out.extend_from_slice(value.as_bytes().get(shared..).unwrap_or_default());
        previous = value;
    }
}

/// Sorted distinct values.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dictionary {
    text: String,
    ends: Vec<u32>,
}

impl Dictionary {
    /// Reads [`put_values`]; all values together take at most `limit` bytes.
    pub(super) fn read(from: &mut Cursor<'_>, limit: usize) -> Parsed<Self> {
        // A value takes two bytes at least.
        let count = from.count(from.remaining() / 2)?;
        let (mut text, mut ends) = (Vec::new(), Vec::with_capacity(count));
        let mut previous = 0..0;
        for _ in 0..count {
            let shared = from.count(previous.len())?;
            let rest = from.count(from.remaining())?;
            let start = text.len();
            if start + shared + rest > limit {
                return Err(Malformed("its values are longer than the bound"));
            }
            text.extend_from_within(previous.start..previous.start + shared);
            text.extend_from_slice(from.bytes(rest)?);
            ends.push(u32::try_from(text.len()).map_err(|_| Malformed("its values are too long"))?);
            previous = start..text.len();
        }
        let text = String::from_utf8(text).map_err(|_| Malformed("a value is not UTF-8"))?;
        if ends.iter().all(|end| text.is_char_boundary(*end as usize)) {
            Ok(Self { text, ends })
        } else {
            Err(Malformed("a value is not UTF-8"))
        }
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    /// The value of a number.
    pub(super) fn get(&self, number: u32) -> Option<&str> {
        let end = *self.ends.get(number as usize)? as usize;
        let start = match number.checked_sub(1) {
            Some(before) => *self.ends.get(before as usize)? as usize,
            None => 0,
        };
        self.text.get(start..end)
    }

    /// The numbers of the values that pass a test on the field: exactly those.
    pub(super) fn matching(&self, field: &Field, test: &Test) -> Result<Vec<u32>> {
        Ok(match test {
            // Texts that are no number match byte for byte.
            Test::Text(text) if text.parse::<f64>().is_err() => {
                let at = self.partition(|value| value < text.as_str());
                if self.get(at) == Some(text) { vec![at] } else { Vec::new() }
            }
            Test::Prefix(text) => self.prefix_range(text).collect(),
            Test::Exists => (0..self.len()).collect(),
            test => {
                let matcher = Matcher::new(&Filter::Is(field.clone(), test.clone()))?;
                (0..self.len())
                    .filter(|n| self.get(*n).is_some_and(|value| matcher.matches(&Probe::Value(value))))
                    .collect()
            }
        })
    }

    fn prefix_range(&self, prefix: &str) -> Range<u32> {
        let start = self.partition(|value| value < prefix);
        let end = self.partition(|value| value < prefix || value.starts_with(prefix));
        start..end
    }

    /// How many values, from the first, hold; `holds` must be true up to some value and false after it.
    fn partition(&self, holds: impl Fn(&str) -> bool) -> u32 {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle).is_some_and(&holds) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// A value looked at by itself, so that a matcher decides what a value's own test means.
pub(super) enum Probe<'a> {
    /// Of the one field that the matcher asks for.
    Value(&'a str),
    /// The message.
    Message(&'a str),
    /// The level, or that there is none.
    Level(Option<Level>),
}

impl View for Probe<'_> {
    fn message(&self) -> &str {
        match self {
            Self::Message(text) => text,
            Self::Value(_) | Self::Level(_) => "",
        }
    }

    fn level(&self) -> Option<Level> {
        match self {
            Self::Level(level) => *level,
            Self::Value(_) | Self::Message(_) => None,
        }
    }

    fn time(&self) -> Timestamp {
        Timestamp::default()
    }

    fn text(&self, _field: &Field) -> Option<Cow<'_, str>> {
        match self {
            Self::Value(value) => Some(Cow::Borrowed(value)),
            Self::Level(_) | Self::Message(_) => None,
        }
    }

    fn attributes(&self) -> &str {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dictionary(values: &[&str]) -> Dictionary {
        let mut interner = Interner::default();
        let given: Vec<u32> = values.iter().map(|v| interner.number(v)).collect();
        let (sorted, places) = interner.sorted();
        let mut out = Vec::new();
        put_values(&mut out, &sorted);
        let read = Dictionary::read(&mut Cursor::new(&out), 1000).unwrap();
        for (value, number) in values.iter().zip(given) {
            assert_eq!(read.get(places[number as usize]), Some(*value));
        }
        read
    }

    #[test]
    fn values_come_back_and_are_found() {
        let read = dictionary(&["etl", "größe", "grün", "", "2", "etl.daily", "etl", "02", "grö"]);
        assert_eq!(read.len(), 8);
        let find = |test: Test| -> Vec<&str> {
            read.matching(&Field::DagId, &test).unwrap().into_iter().filter_map(|n| read.get(n)).collect()
        };
        assert_eq!(find(Test::Text("etl".into())), ["etl"]);
        assert_eq!(find(Test::Text("nix".into())), Vec::<&str>::new());
        assert_eq!(find(Test::Text("2.0".into())), ["02", "2"]);
        assert_eq!(find(Test::Prefix("etl".into())), ["etl", "etl.daily"]);
        assert_eq!(find(Test::Prefix("grö".into())), ["grö", "größe"]);
        assert_eq!(find(Test::Contains("DAILY".into())), ["etl.daily"]);
        assert_eq!(find(Test::Exists).len(), 8);
    }

    #[test]
    fn a_dictionary_that_claims_too_much_is_refused() {
        let mut out = Vec::new();
        put_varint(&mut out, 1 << 40);
        assert!(Dictionary::read(&mut Cursor::new(&out), 1000).is_err());
    }
}
