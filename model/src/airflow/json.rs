//! Log lines that are one JSON object: Airflow 2's and 3's, and other programs' with the usual names.
//!
//! The object is read once. Nesting, values and keys are bounded; what is beyond is left out, and the rest
//! is kept.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::fields::Fields;
use super::{ParsedLine, exception, stamp};
use crate::level::Level;

/// How deep values are kept; a deeper one becomes `null`.
const DEPTH_MAX: usize = 20;
/// Values kept of one line, at all depths.
const VALUES_MAX: usize = 20_000;

/// Names of the time, the likeliest to be the event's first.
const TIMES: [&str; 5] = ["timestamp", "asctime", "@timestamp", "time", "ts"];
const LEVELS: [&str; 4] = ["level", "levelname", "severity", "log.level"];
const MESSAGES: [&str; 4] = ["event", "message", "msg", "log"];
/// Names of a text that belongs to the message: where the exception is.
pub const EXCEPTIONS: [&str; 5] = ["error_detail", "exception", "exc_info", "stack_trace", "traceback"];

/// The members of a line's object, in its order; taken ones leave a hole.
type Line<'a> = Vec<Option<(Cow<'a, str>, Value)>>;

/// Reads a JSON object; none where the text is not one, whole.
pub(super) fn parse(text: &str) -> Option<ParsedLine> {
    match read(text) {
        Some(members) => Some(line(members)),
        None => without_lone_surrogates(text).and_then(|text| read(&text).map(line)),
    }
}

fn line(members: Line<'_>) -> ParsedLine {
    let mut line = ParsedLine::default();
    let mut taken = Taken { members };
    line.time = taken.first(&TIMES, stamp::of_json).map(|(_, time)| time);
    line.level = taken.first(&LEVELS, |v| Level::parse(v.as_str()?.trim())).map(|(_, level)| level);
    let message = taken.first(&MESSAGES, |v| v.as_str().map(str::to_owned));
    // `name` is the logger in Python's own formatters; beside an `event` it is the event's own.
    let named = message.as_ref().is_some_and(|(name, _)| *name != "event") && !taken.has("logger");
    line.message = message.map(|(_, text)| text);
    for trace in EXCEPTIONS.iter().filter_map(|name| trace(taken.get(name)?)) {
        add_trace(line.message.get_or_insert_default(), &trace);
    }
    let mut fields = Fields::default();
    for (key, value) in taken.members.into_iter().flatten() {
        match key.as_ref() {
            "name" if named && value.is_string() => fields.take("logger", value),
            "log.logger" => fields.take("logger", value),
            "dag_id" | "task_id" | "run_id" | "log_id" | "logger" | "map_index" | "try_number" => {
                fields.take(&key, value);
            }
            _ => fields.attribute(key.into_owned(), value),
        }
    }
    (line.identity, line.attributes) = fields.finish();
    line
}

/// The text of an exception: structured, or as Python printed it.
pub fn trace(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.contains('\n') => Some(text.trim_end().to_owned()),
        value => exception::render(value),
    }
}

/// Puts an exception's text below a message that does not hold it yet.
pub fn add_trace(message: &mut String, trace: &str) {
    if !message.contains(trace) {
        if !message.is_empty() {
            message.push('\n');
        }
        message.push_str(trace);
    }
}

/// The members that no field has taken yet, in the line's order.
struct Taken<'a> {
    members: Line<'a>,
}

impl Taken<'_> {
    /// Takes the first of `names` that `read` understands.
    fn first<T>(
        &mut self,
        names: &[&'static str],
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<(&'static str, T)> {
        names.iter().find_map(|name| {
            // Of equal keys the last counts, as for every JSON reader.
            let slot = self.members.iter_mut().rev().find(|m| m.as_ref().is_some_and(|m| m.0 == *name))?;
            let found = read(&slot.as_ref()?.1)?;
            *slot = None;
            Some((*name, found))
        })
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.members.iter().flatten().rev().find(|m| m.0 == name).map(|m| &m.1)
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

fn read(text: &str) -> Option<Line<'_>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let left = Cell::new(VALUES_MAX);
    let members = deserializer.deserialize_map(Members { left: &left }).ok()?;
    deserializer.end().ok()?;
    Some(members)
}

/// Python may write halves of surrogate pairs, which no JSON reader here accepts: each becomes U+FFFD. None where
/// there is surely nothing to change.
pub fn without_lone_surrogates(text: &str) -> Option<String> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return None;
    }
    let unit = |text: &str| u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at_checked(at)?;
        out.push_str(plain);
        let len = match unit(escape) {
            Some(0xD800..=0xDBFF)
                if escape.get(6..).and_then(unit).is_some_and(|u| (0xDC00..0xE000).contains(&u)) =>
            {
                12
            }
            Some(0xD800..=0xDFFF) => {
                out.push_str("\\ufffd");
                rest = escape.get(6..)?;
                continue;
            }
            Some(_) => 6,
            None => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
        };
        out.push_str(escape.get(..len)?);
        rest = escape.get(len..)?;
    }
    out.push_str(rest);
    Some(out)
}

struct Members<'b> {
    left: &'b Cell<usize>,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Line<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(24);
        while let Some(key) = map.next_key_seed(Key)? {
            match Any::take(self.left, 1) {
                Some(seed) => members.push(Some((key, map.next_value_seed(seed)?))),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(members)
    }
}

/// A key, borrowed where it holds no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// Any value, with bounds on depth and on the count of values.
#[derive(Clone, Copy)]
struct Any<'b> {
    left: &'b Cell<usize>,
    depth: usize,
}

impl<'b> Any<'b> {
    /// Room for one more value at this depth.
    fn take(left: &'b Cell<usize>, depth: usize) -> Option<Self> {
        left.set(left.get().checked_sub(1)?);
        Some(Self { left, depth })
    }
}

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth > DEPTH_MAX {
            // Skipping does not recurse, so that no depth of input can exhaust the stack.
            return deserializer.deserialize_ignored_any(IgnoredAny).map(|_| Value::Null);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(seed) = Any::take(self.left, self.depth + 1) {
            match seq.next_element_seed(seed)? {
                Some(item) => items.push(item),
                None => return Ok(items.into()),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key_seed(Key)? {
            match Any::take(self.left, self.depth + 1) {
                Some(seed) => drop(members.insert(key.into_owned(), map.next_value_seed(seed)?)),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(members.into())
    }
}
