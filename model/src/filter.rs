//! Which records are meant: the tree that the query language becomes, and its exact evaluation.
//!
//! The same tree serves the search API, the Elasticsearch API and the live tail, over hot and sealed records;
//! an index only ever narrows where [`Matcher`] looks.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::airflow::Identity;
use crate::error::{Error, Result};
use crate::level::Level;
use crate::record::{Record, RecordRef};
use crate::source::{Source, Stream};
use crate::time::Timestamp;
use crate::token::{self, Run};

/// Compiled size of a regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// A field of a record, by the name that the API gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Field {
    /// `message`.
    Message,
    /// `level`.
    Level,
    /// `@timestamp`.
    Timestamp,
    /// `component`.
    Component,
    /// `namespace`.
    Namespace,
    /// `pod`.
    Pod,
    /// `container`.
    Container,
    /// `node`.
    Node,
    /// `stream`.
    Stream,
    /// `dag_id`.
    DagId,
    /// `task_id`.
    TaskId,
    /// `run_id`.
    RunId,
    /// `map_index`.
    MapIndex,
    /// `try_number`.
    TryNumber,
    /// `log_id`.
    LogId,
    /// `logger`.
    Logger,
    /// Any other name: a path of keys into the attributes, parted by dots (`a.b` finds `{"a":{"b":…}}` and
    /// `{"a.b":…}`).
    Attribute(Box<str>),
}

impl Field {
    /// The named fields, without attributes.
    pub const NAMED: [Self; 16] = [
        Self::Timestamp,
        Self::Level,
        Self::Message,
        Self::Component,
        Self::Namespace,
        Self::Pod,
        Self::Container,
        Self::Node,
        Self::Stream,
        Self::DagId,
        Self::TaskId,
        Self::RunId,
        Self::MapIndex,
        Self::TryNumber,
        Self::LogId,
        Self::Logger,
    ];

    /// The field of this name; `attributes.x` and `x` are the same attribute.
    pub fn named(name: &str) -> Self {
        Self::NAMED
            .into_iter()
            .find(|f| f.name() == name)
            .unwrap_or_else(|| Self::Attribute(name.strip_prefix("attributes.").unwrap_or(name).into()))
    }

    /// The field's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Message => "message",
            Self::Level => "level",
            Self::Timestamp => "@timestamp",
            Self::Component => "component",
            Self::Namespace => "namespace",
            Self::Pod => "pod",
            Self::Container => "container",
            Self::Node => "node",
            Self::Stream => "stream",
            Self::DagId => "dag_id",
            Self::TaskId => "task_id",
            Self::RunId => "run_id",
            Self::MapIndex => "map_index",
            Self::TryNumber => "try_number",
            Self::LogId => "log_id",
            Self::Logger => "logger",
            Self::Attribute(name) => name,
        }
    }
}

impl Field {
    /// What [`Self::named`] reads as this field: the name, and `attributes.` before it where that means another.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Attribute(name) if Self::named(name) != *self => format!("attributes.{name}").into(),
            other => other.name().into(),
        }
    }
}

impl From<String> for Field {
    fn from(name: String) -> Self {
        Self::named(&name)
    }
}

impl From<Field> for String {
    fn from(field: Field) -> Self {
        field.text().into_owned()
    }
}

/// A tree of conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Every record.
    All,
    /// No record.
    None,
    /// All of these; every record where empty.
    And(Vec<Self>),
    /// Any of these; no record where empty.
    Or(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
    /// A condition on one field.
    Is(Field, Test),
}

/// A condition on one field's value. On `message`, texts match as words do; on other fields, the whole value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// `message`: the text stands in it as a run (see [`Run::whole`]). Other fields: the value is the text,
    /// byte for byte; `level` in any case and spelling that a logger uses; numbers by value.
    Text(String),
    /// `message`: a run open at its end. Other fields: the value begins with the text, byte for byte.
    Prefix(String),
    /// The value has this text somewhere, in any case, without regard to words.
    Contains(String),
    /// Parts that follow one another with anything between, in any case; `message`: anywhere; other fields:
    /// the whole value. First and last part may be empty.
    Wildcard(Vec<String>),
    /// A regular expression that matches somewhere in the value.
    Regex(String),
    /// A bound on each side, in the order of the field: numbers by value, levels by gravity, times by moment.
    Range {
        /// The lower bound, and whether it is itself inside.
        lower: Option<(String, bool)>,
        /// The upper bound, and whether it is itself inside.
        upper: Option<(String, bool)>,
    },
    /// The record has this field.
    Exists,
}

/// What a matcher looks at; so that a sealed block is searched without making records of its columns.
pub trait View {
    /// The text.
    fn message(&self) -> &str;
    /// Severity.
    fn level(&self) -> Option<Level>;
    /// Event time.
    fn time(&self) -> Timestamp;
    /// A named field other than the three above, as text.
    fn text(&self, field: &Field) -> Option<Cow<'_, str>>;
    /// The attributes as the text of a JSON object, or empty.
    fn attributes(&self) -> &str;
    /// Whether the record passes a condition of the filter, where that is known without looking at its texts.
    /// Conditions are numbered from 0 in the order in which the filter names them, from left to right.
    fn verdict(&self, _condition: usize) -> Option<bool> {
        None
    }
}

impl View for Record {
    fn message(&self) -> &str {
        &self.message
    }

    fn level(&self) -> Option<Level> {
        self.level
    }

    fn time(&self) -> Timestamp {
        self.time
    }

    fn text(&self, field: &Field) -> Option<Cow<'_, str>> {
        named_text(&self.source, &self.identity, self.stream, field)
    }

    fn attributes(&self) -> &str {
        self.attributes.as_json()
    }
}

impl View for RecordRef<'_> {
    fn message(&self) -> &str {
        self.message
    }

    fn level(&self) -> Option<Level> {
        self.level
    }

    fn time(&self) -> Timestamp {
        self.time
    }

    fn text(&self, field: &Field) -> Option<Cow<'_, str>> {
        named_text(self.source, self.identity, self.stream, field)
    }

    fn attributes(&self) -> &str {
        self.attributes
    }
}

fn named_text<'a>(
    source: &'a Source,
    identity: &'a Identity,
    stream: Option<Stream>,
    field: &Field,
) -> Option<Cow<'a, str>> {
    match field {
        Field::Component => source.component.as_ref().map(|c| c.as_str().into()),
        Field::Namespace => source.namespace.as_deref().map(Cow::Borrowed),
        Field::Pod => source.pod.as_deref().map(Cow::Borrowed),
        Field::Container => source.container.as_deref().map(Cow::Borrowed),
        Field::Node => source.node.as_deref().map(Cow::Borrowed),
        Field::Stream => stream.map(|s| s.as_str().into()),
        Field::DagId => identity.dag_id.as_deref().map(Cow::Borrowed),
        Field::TaskId => identity.task_id.as_deref().map(Cow::Borrowed),
        Field::RunId => identity.run_id.as_deref().map(Cow::Borrowed),
        Field::LogId => identity.log_id.as_deref().map(Cow::Borrowed),
        Field::Logger => identity.logger.as_deref().map(Cow::Borrowed),
        Field::MapIndex => identity.map_index.map(|n| n.to_string().into()),
        Field::TryNumber => identity.try_number.map(|n| n.to_string().into()),
        Field::Message | Field::Level | Field::Timestamp | Field::Attribute(_) => None,
    }
}

/// The values of a field of a record, as text: none, one, or for an attribute that is a list, each element.
pub fn values(view: &(impl View + ?Sized), field: &Field, mut each: impl FnMut(&str)) {
    match field {
        Field::Message => each(view.message()),
        Field::Level => view.level().into_iter().for_each(|l| each(l.as_str())),
        Field::Timestamp => each(&view.time().to_string()),
        Field::Attribute(path) => {
            // A cheap look for the last key saves parsing most records that lack it.
            let json = view.attributes();
            let key = path.rsplit('.').next().unwrap_or(path);
            if !json.is_empty()
                && may_have_key(json, key)
                && let Ok(value) = serde_json::from_str::<Value>(json)
            {
                at_path(&value, path, &mut |v| scalar(v, &mut each));
            }
        }
        named => view.text(named).into_iter().for_each(|v| each(&v)),
    }
}

/// Whether a key may stand in a JSON text: as it is, or with escapes.
fn may_have_key(json: &str, key: &str) -> bool {
    // Few write escapes where they need not; where one must, the key is never there as it is.
    let needs_escape = |c: char| c.is_control() || matches!(c, '"' | '\\');
    json.contains(key)
        || json.contains("\\u")
        || (key.contains('/') && json.contains("\\/"))
        || (key.contains(needs_escape) && json.contains('\\'))
}

fn at_path(value: &Value, path: &str, each: &mut impl FnMut(&Value)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| at_path(item, path, each)),
        Value::Object(map) => {
            if let Some(v) = map.get(path) {
                each(v);
            }
            for (dot, _) in path.match_indices('.') {
                let (Some(head), Some(tail)) = (path.get(..dot), path.get(dot + 1..)) else { continue };
                if let Some(inner) = map.get(head) {
                    at_path(inner, tail, each);
                }
            }
        }
        _ => {}
    }
}

fn scalar(value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::Null => {}
        Value::String(s) => each(s),
        Value::Array(items) => items.iter().for_each(|item| scalar(item, each)),
        other => each(&other.to_string()),
    }
}

/// A filter made ready to look at many records.
#[derive(Debug)]
pub struct Matcher(Node);

#[derive(Debug)]
enum Node {
    All,
    None,
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
    Message(usize, Condition),
    Level(Vec<Level>),
    Time { lower: Option<(Timestamp, bool)>, upper: Option<(Timestamp, bool)> },
    Field(usize, Field, Condition),
}

#[derive(Debug)]
enum Condition {
    Run(Run),
    Equals { text: String, number: Option<f64> },
    StartsWith(String),
    Regex(Regex),
    Range { lower: Option<(Bound, bool)>, upper: Option<(Bound, bool)> },
    Exists,
}

#[derive(Debug)]
enum Bound {
    Number(f64),
    Text(String),
}

impl Matcher {
    /// Compiles a filter; refuses a regular expression that is wrong or compiles to over 1 MiB.
    pub fn new(filter: &Filter) -> Result<Self> {
        node(filter, &mut 0).map(Self)
    }

    /// Whether a record is meant.
    pub fn matches(&self, view: &(impl View + ?Sized)) -> bool {
        self.0.matches(view)
    }

    /// Whether every record is meant.
    pub fn is_all(&self) -> bool {
        matches!(self.0, Node::All)
    }
}

/// `next` is the number of the next condition.
fn node(filter: &Filter, next: &mut usize) -> Result<Node> {
    let mut many = |parts: &[Filter]| parts.iter().map(|p| node(p, next)).collect::<Result<Vec<_>>>();
    Ok(match filter {
        Filter::All => Node::All,
        Filter::None => Node::None,
        Filter::And(parts) if parts.is_empty() => Node::All,
        Filter::And(parts) => Node::And(many(parts)?),
        Filter::Or(parts) if parts.is_empty() => Node::None,
        Filter::Or(parts) => Node::Or(many(parts)?),
        Filter::Not(inner) => Node::Not(Box::new(node(inner, next)?)),
        Filter::Is(field, test) => {
            let number = *next;
            *next += 1;
            match field {
                Field::Level => level_node(test)?,
                Field::Timestamp => time_node(number, test)?,
                Field::Message => Node::Message(number, condition(test, true)?),
                field => Node::Field(number, field.clone(), condition(test, false)?),
            }
        }
    })
}

fn level_node(test: &Test) -> Result<Node> {
    let level = |text: &str| {
        Level::parse(text).ok_or_else(|| Error::Pattern {
            pattern: text.to_owned(),
            reason: "not a level: trace, debug, info, warning, error, critical".to_owned(),
        })
    };
    let levels: Vec<Level> = match test {
        Test::Text(text) => vec![level(text)?],
        Test::Exists => Level::ALL.to_vec(),
        Test::Range { lower, upper } => {
            let lower = lower.as_ref().map(|(l, inside)| Ok::<_, Error>((level(l)?, *inside))).transpose()?;
            let upper = upper.as_ref().map(|(l, inside)| Ok::<_, Error>((level(l)?, *inside))).transpose()?;
            Level::ALL.into_iter().filter(|l| is_within(l, lower.as_ref(), upper.as_ref())).collect()
        }
        other => {
            let condition = condition(other, false)?;
            Level::ALL.into_iter().filter(|l| condition.holds(l.as_str())).collect()
        }
    };
    Ok(Node::Level(levels))
}

fn time_node(number: usize, test: &Test) -> Result<Node> {
    let bound = |b: &Option<(String, bool)>| {
        b.as_ref().map(|(text, inside)| Ok((Timestamp::parse(text)?, *inside))).transpose()
    };
    match test {
        Test::Exists => Ok(Node::All),
        Test::Text(text) => {
            let at = Timestamp::parse(text)?;
            Ok(Node::Time { lower: Some((at, true)), upper: Some((at, true)) })
        }
        Test::Range { lower, upper } => Ok(Node::Time { lower: bound(lower)?, upper: bound(upper)? }),
        other => Ok(Node::Field(number, Field::Timestamp, condition(other, false)?)),
    }
}

fn is_within<T: PartialOrd>(value: &T, lower: Option<&(T, bool)>, upper: Option<&(T, bool)>) -> bool {
    lower.is_none_or(|(l, inside)| value > l || (*inside && value == l))
        && upper.is_none_or(|(u, inside)| value < u || (*inside && value == u))
}

fn regex(pattern: &str) -> Result<Regex> {
    RegexBuilder::new(pattern)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|e| Error::Pattern { pattern: crate::error::excerpt(pattern), reason: e.to_string() })
}

fn condition(test: &Test, is_message: bool) -> Result<Condition> {
    let bound = |b: &Option<(String, bool)>| {
        b.as_ref().map(|(text, inside)| {
            let bound = text.parse().map_or_else(|_| Bound::Text(text.clone()), Bound::Number);
            (bound, *inside)
        })
    };
    Ok(match test {
        Test::Text(text) if is_message => Condition::Run(Run::whole(text)),
        Test::Text(text) => Condition::Equals { text: text.clone(), number: text.parse().ok() },
        Test::Prefix(text) if is_message => Condition::Run(Run::prefix(text)),
        Test::Prefix(text) => Condition::StartsWith(text.clone()),
        Test::Contains(text) => Condition::Regex(regex(&token::pattern_in_any_case(text))?),
        Test::Wildcard(parts) => {
            let body = parts.iter().map(|p| token::pattern_in_any_case(p)).collect::<Vec<_>>().join(".*");
            Condition::Regex(regex(&if is_message {
                format!("(?s){body}")
            } else {
                format!("(?s)^{body}$")
            })?)
        }
        Test::Regex(pattern) => Condition::Regex(regex(pattern)?),
        Test::Range { lower, upper } => Condition::Range { lower: bound(lower), upper: bound(upper) },
        Test::Exists => Condition::Exists,
    })
}

impl Node {
    fn matches(&self, view: &(impl View + ?Sized)) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::And(parts) => parts.iter().all(|p| p.matches(view)),
            Self::Or(parts) => parts.iter().any(|p| p.matches(view)),
            Self::Not(inner) => !inner.matches(view),
            Self::Message(number, condition) => {
                view.verdict(*number).unwrap_or_else(|| condition.holds(view.message()))
            }
            Self::Level(levels) => view.level().is_some_and(|l| levels.contains(&l)),
            Self::Time { lower, upper } => is_within(&view.time(), lower.as_ref(), upper.as_ref()),
            Self::Field(number, field, condition) => view.verdict(*number).unwrap_or_else(|| {
                let mut found = false;
                values(view, field, |v| found = found || condition.holds(v));
                found
            }),
        }
    }
}

impl Condition {
    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Run(run) => run.is_in(value),
            Self::Equals { text, number } => {
                value == text || number.is_some_and(|n| value.parse::<f64>().is_ok_and(|v| v == n))
            }
            Self::StartsWith(text) => value.starts_with(text.as_str()),
            Self::Regex(regex) => regex.is_match(value),
            Self::Range { lower, upper } => {
                lower.as_ref().is_none_or(|(b, inside)| b.is_below(value, *inside))
                    && upper.as_ref().is_none_or(|(b, inside)| b.is_above(value, *inside))
            }
            Self::Exists => true,
        }
    }
}

impl Bound {
    fn compare(&self, value: &str) -> Option<std::cmp::Ordering> {
        match self {
            Self::Number(n) => value.parse::<f64>().ok()?.partial_cmp(n),
            Self::Text(text) => Some(value.cmp(text.as_str())),
        }
    }

    fn is_below(&self, value: &str, inside: bool) -> bool {
        self.compare(value).is_some_and(|o| o.is_gt() || (inside && o.is_eq()))
    }

    fn is_above(&self, value: &str, inside: bool) -> bool {
        self.compare(value).is_some_and(|o| o.is_lt() || (inside && o.is_eq()))
    }
}

impl Filter {
    /// The time bounds that every matching record keeps, to prune by.
    pub fn time_bounds(&self) -> crate::time::TimeRange {
        use crate::time::TimeRange;
        match self {
            Self::And(parts) => parts.iter().fold(TimeRange::ALL, |all, p| all.intersect(&p.time_bounds())),
            Self::Is(Field::Timestamp, Test::Range { lower, upper }) => {
                let at = |b: &Option<(String, bool)>| b.as_ref().and_then(|(t, _)| Timestamp::parse(t).ok());
                TimeRange {
                    start: at(lower).unwrap_or(Timestamp::MIN),
                    end: at(upper).map_or(Timestamp::MAX, |t| t.saturating_add_nanos(1)),
                }
            }
            _ => TimeRange::ALL,
        }
    }

    /// The tokens that a message holds for certain where it passes the test; empty where none is certain.
    pub fn message_tokens(test: &Test) -> Vec<String> {
        match test {
            Test::Text(text) => token::tokens(text),
            Test::Prefix(text) => {
                // The last token may go on.
                let mut tokens = token::tokens(text);
                if text.chars().next_back().is_some_and(token::is_word_char) {
                    tokens.pop();
                }
                tokens
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
