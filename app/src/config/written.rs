//! Configuration as it was written: the TOML file with the environment laid over it, each value with the place
//! it comes from. Does not know which settings there are.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use crate::config::{Mistake, PREFIX};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A line of the configuration file.
    File { path: Arc<str>, line: usize },
    /// An environment variable.
    Environment { variable: Arc<str> },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Environment { variable } => f.write_str(variable),
        }
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) value: Written,
    pub(crate) origin: Origin,
}

/// A value as written. Texts of the environment stay texts: the setting that takes one says how it is read.
#[derive(Clone, Debug)]
pub(crate) enum Written {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Entry>),
    Table(Table),
    /// A kind of value that no setting takes.
    Other(&'static str),
}

/// Entries by key.
pub(crate) type Table = BTreeMap<String, Entry>;

impl Written {
    /// The kind of value, for an error text.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a section",
            Self::Other(kind) => kind,
        }
    }
}

/// Reads the text of a file.
pub(crate) fn parse_file(path: &Path, text: &str) -> Result<Table, Mistake> {
    let path: Arc<str> = path.display().to_string().into();
    let origin_of = |at: usize| Origin::File { path: Arc::clone(&path), line: line_at(text, at) };
    match DeTable::parse(text) {
        Ok(table) => Ok(convert_table(table.get_ref(), &origin_of)),
        Err(e) => {
            let origin = origin_of(e.span().map_or(0, |span| span.start));
            Err(Mistake::at(&origin, format!("not TOML: {}", one_line(e.message()))))
        }
    }
}

/// Reads a list or table that a setting found in an environment variable.
pub(crate) fn parse_inline(text: &str, origin: &Origin) -> Result<Written, String> {
    let value = DeValue::parse(text).map_err(|e| format!("not a TOML value: {}", one_line(e.message())))?;
    Ok(convert(value.get_ref(), &|_| origin.clone()))
}

/// Lays the variables `HELIOGRAPH_<SECTION>__<KEY>` over a table.
///
/// Variables without `__` (`HELIOGRAPH_URL`, `HELIOGRAPH_TOKEN`) are the client's.
pub(crate) fn overlay(table: &mut Table, variables: impl IntoIterator<Item = (String, String)>) {
    for (variable, text) in variables {
        let Some(path) = variable.strip_prefix(PREFIX).filter(|p| p.contains("__")) else { continue };
        let keys: Vec<String> = path.split("__").map(str::to_lowercase).collect();
        let origin = Origin::Environment { variable: variable.as_str().into() };
        insert(table, &keys, Entry { value: Written::Text(text), origin });
    }
}

fn insert(table: &mut Table, keys: &[String], entry: Entry) {
    match keys {
        [] => {}
        [key] => {
            table.insert(key.clone(), entry);
        }
        [key, rest @ ..] => {
            let section = table.entry(key.clone()).or_insert_with(|| Entry {
                value: Written::Table(Table::new()),
                origin: entry.origin.clone(),
            });
            if !matches!(section.value, Written::Table(_)) {
                *section = Entry { value: Written::Table(Table::new()), origin: entry.origin.clone() };
            }
            if let Written::Table(inner) = &mut section.value {
                insert(inner, rest, entry);
            }
        }
    }
}

fn convert_table(table: &DeTable<'_>, origin_of: &dyn Fn(usize) -> Origin) -> Table {
    table
        .iter()
        .map(|(key, value)| {
            let origin = origin_of(key.span().start);
            (key.get_ref().to_string(), Entry { value: convert(value.get_ref(), origin_of), origin })
        })
        .collect()
}

fn convert(value: &DeValue<'_>, origin_of: &dyn Fn(usize) -> Origin) -> Written {
    match value {
        DeValue::String(text) => Written::Text(text.to_string()),
        DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix())
            .map_or(Written::Other("a number beyond 64 bits"), Written::Integer),
        DeValue::Boolean(yes) => Written::Boolean(*yes),
        DeValue::Array(items) => Written::List(
            items
                .iter()
                .map(|item| Entry {
                    value: convert(item.get_ref(), origin_of),
                    origin: origin_of(item.span().start),
                })
                .collect(),
        ),
        DeValue::Table(table) => Written::Table(convert_table(table, origin_of)),
        DeValue::Float(_) => Written::Other("a number with a fraction"),
        DeValue::Datetime(_) => Written::Other("a date"),
    }
}

fn line_at(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|b| *b == b'\n').count()
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
