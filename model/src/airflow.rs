//! Airflow's identity of a record: which DAG, task, run, map index and try, and what its lines look like.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::level::Level;
use crate::time::Timestamp;

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
    /// All else, never holding one of the reserved names.
    pub attributes: Map<String, Value>,
}
