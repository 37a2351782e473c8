//! Gathers what a structured line says into identity and attributes, within bounds.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Identity, log_id};
use crate::record::FIELD_BYTES_MAX;

/// Attributes kept of one line.
const ATTRIBUTES_MAX: usize = 1_000;

/// The fields of one line while they are read.
#[derive(Default)]
pub(super) struct Fields {
    identity: Identity,
    attributes: Map<String, Value>,
}

impl Fields {
    /// Takes a value: into the identity where the name and the value fit, else among the attributes.
    pub(super) fn take(&mut self, key: &str, value: Value) {
        if let Some(value) = self.identify(key, value) {
            self.attribute(key.to_owned(), value);
        }
    }

    /// Keeps a value under its own name. A `tenant` or `pod` here is what the line says, and no more.
    pub(super) fn attribute(&mut self, key: String, value: Value) {
        if self.attributes.len() < ATTRIBUTES_MAX || self.attributes.contains_key(&key) {
            self.attributes.insert(key, value);
        }
    }

    /// Takes a pair of a console line, where numbers and texts look alike and `loc` is file and line.
    pub(super) fn console_pair(&mut self, key: &str, value: Value) {
        let id = matches!(key, "dag_id" | "task_id" | "run_id" | "log_id");
        match value {
            Value::Number(n) if id => self.take(key, n.to_string().into()),
            Value::Bool(b) if id => self.take(key, if b { "True" } else { "False" }.into()),
            Value::Null if id => self.take(key, "None".into()),
            Value::String(loc) if key == "loc" && !self.attributes.contains_key("filename") => {
                self.location(loc);
            }
            value => self.take(key, value),
        }
    }

    fn location(&mut self, loc: String) {
        let split = loc.rsplit_once(':').map(|(file, line)| (file.to_owned(), line.parse::<u32>()));
        if let Some((file, Ok(line))) = split {
            self.attribute("filename".to_owned(), file.into());
            self.attribute("lineno".to_owned(), line.into());
        } else {
            self.attribute("loc".to_owned(), loc.into());
        }
    }

    /// Gives the value back where it is none of the identity.
    fn identify(&mut self, key: &str, value: Value) -> Option<Value> {
        let slot = match key {
            "dag_id" => &mut self.identity.dag_id,
            "task_id" => &mut self.identity.task_id,
            "run_id" => &mut self.identity.run_id,
            "log_id" => &mut self.identity.log_id,
            "logger" => &mut self.identity.logger,
            "map_index" => {
                let number = integer(&value).and_then(|n| i32::try_from(n).ok());
                self.identity.map_index = number.or(self.identity.map_index);
                return number.is_none().then_some(value);
            }
            "try_number" => {
                let number = integer(&value).and_then(|n| u32::try_from(n).ok());
                self.identity.try_number = number.or(self.identity.try_number);
                return number.is_none().then_some(value);
            }
            _ => return Some(value),
        };
        match value {
            Value::String(text) if !text.is_empty() && text.len() <= FIELD_BYTES_MAX => {
                *slot = Some(Arc::from(text));
                None
            }
            value => Some(value),
        }
    }

    /// The identity, completed from the `log_id`, and the attributes.
    pub(super) fn finish(self) -> (Identity, Map<String, Value>) {
        let Self { mut identity, attributes } = self;
        if let Some(id) = identity.log_id.clone() {
            let said = log_id::parse(&id, identity.dag_id.as_deref(), identity.task_id.as_deref());
            identity = identity.or(&said);
        }
        // Before Airflow 2.3 a run was named by its date alone.
        if identity.run_id.is_none()
            && identity.dag_id.is_some()
            && let Some(date) = attributes.get("execution_date").and_then(Value::as_str)
            && date.len() <= FIELD_BYTES_MAX
        {
            identity.run_id = Some(date.into());
        }
        (identity, attributes)
    }
}

/// What named values say about the identity, and those that say nothing about it.
pub fn identify(values: impl IntoIterator<Item = (&'static str, Value)>) -> (Identity, Map<String, Value>) {
    let mut fields = Fields::default();
    values.into_iter().for_each(|(name, value)| fields.take(name, value));
    fields.finish()
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(n) => n.as_i64(),
        Value::String(s) => s.parse().ok(),
        _ => None,
    }
}
