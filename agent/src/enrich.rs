//! Event and owner to Record: the only place where the agent makes one, and none without a tenant.
//!
//! What a line says fills level, identity and attributes; never whose it is or where it comes from. What is known
//! of its pod fills what path and line leave open, from when it is known on; the source's id never changes.

mod end;

use std::sync::Arc;

use heliograph_model::airflow::{Identity, ParsedLine, log_id_agrees, parse_line};
use heliograph_model::record::{Attributes, CUT_MARK, MESSAGE_BYTES_MAX, Record, cut};
use heliograph_model::source::{Source, SourceId};
use heliograph_model::time::Timestamp;
use serde_json::{Map, Value};

use crate::discover::scope::Owner;
use crate::frame::Event;
use crate::pods::Pods;
use crate::pods::facts::Pod;

/// How far ahead of its reading a line's own time is believed.
const AHEAD_NANOS_MAX: i64 = 5 * 60 * 1_000_000_000;
/// Attribute with the time that the line itself names, where the record has another.
const EVENT_TIME: &str = "event_time";

/// The owner of the source with this id. One description serves both: there are many quiet files.
fn with_id(mut owner: Arc<Owner>, id: SourceId) -> Arc<Owner> {
    Arc::make_mut(&mut Arc::make_mut(&mut owner).source).id = id;
    owner
}

/// Makes the records of one source.
#[derive(Debug)]
pub(crate) struct Enricher {
    owner: Arc<Owner>,
    source: Arc<Source>,
    pod: Option<Arc<Pod>>,
    /// The task try that the pod runs.
    pod_task: Option<Identity>,
    last: Timestamp,
}

impl Enricher {
    /// For the source `id`, whose latest record had the time `last`.
    pub(crate) fn new(owner: Arc<Owner>, id: SourceId, last: Timestamp) -> Self {
        let owner = with_id(owner, id);
        Self { source: Arc::clone(&owner.source), owner, pod: None, pod_task: None, last }
    }

    /// Takes over what is known of the pod by now.
    pub(crate) fn describe(&mut self, pods: &Pods) {
        let Some(pod) = self.owner.pod_uid.as_deref().and_then(|uid| pods.by_uid(uid)) else { return };
        if !self.pod.as_ref().is_some_and(|known| Arc::ptr_eq(known, &pod)) {
            self.pod = Some(pod);
            self.apply_pod();
        }
    }

    /// Whose the records are has changed.
    pub(crate) fn set_owner(&mut self, owner: Arc<Owner>) {
        self.owner = with_id(owner, self.source.id);
        self.apply_pod();
    }

    fn apply_pod(&mut self) {
        let mut source = Arc::clone(&self.owner.source);
        if let Some(pod) = &self.pod {
            let named = source.container.as_deref().and_then(|container| pod.component_of(container));
            if let Some(named) = named.filter(|named| source.component.as_ref() != Some(*named)).cloned() {
                Arc::make_mut(&mut source).component = Some(named);
            }
            self.pod_task = Some(pod.task.identity()).filter(|task| *task != Identity::default());
        }
        if self.source != source {
            self.source = source;
        }
    }

    /// Whose the records are.
    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The source.
    pub(crate) fn id(&self) -> SourceId {
        self.source.id
    }

    /// Time of the latest record.
    pub(crate) fn last(&self) -> Timestamp {
        self.last
    }

    /// The record of an event. Its time is never before that of the record before it.
    pub(crate) fn record(&mut self, event: Event, now: Timestamp) -> Record {
        let ParsedLine { time, level, message, identity, mut attributes } = parse_line(&event.text);
        let read = event.at.unwrap_or(now);
        let believed = time.filter(|t| t.nanos_since(read) <= AHEAD_NANOS_MAX).unwrap_or(read);
        let record_time = believed.max(self.last);
        self.last = record_time;
        if let Some(claim) = time.or(event.at)
            && claim != record_time
            && !attributes.contains_key(EVENT_TIME)
        {
            attributes.insert(EVENT_TIME.to_owned(), claim.to_string().into());
        }
        for (name, value) in &self.owner.attributes {
            attributes.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let identity = if self.owner.path_wins {
            of_path(&self.owner.identity, identity, &mut attributes)
        } else {
            identity.or(&self.owner.identity)
        };
        let identity = match &self.pod_task {
            Some(task) if agree(&identity, task) => identity.or(task),
            _ => identity,
        };
        let message = message.unwrap_or(event.text);
        let message = match event.cut {
            true => format!("{message}{CUT_MARK}").into(),
            false if message.len() > MESSAGE_BYTES_MAX => cut(&message, MESSAGE_BYTES_MAX).into(),
            false => message.into_boxed_str(),
        };
        Record {
            time: record_time,
            observed: now,
            position: event.start,
            source: Arc::clone(&self.source),
            level,
            stream: event.stream,
            identity,
            message,
            attributes: Attributes::from_map(&attributes),
        }
    }
}

/// The identity of a line in a file whose path names the task try. What a line claims otherwise becomes attributes, so
/// that no task writes a line into another one's log.
fn of_path(path: &Identity, mut line: Identity, attributes: &mut Map<String, Value>) -> Identity {
    let mut refuse = |name: &str, claim: Value| {
        attributes.entry(name.to_owned()).or_insert(claim);
    };
    match line.log_id.take() {
        // What it says of the run may be the run's date.
        Some(own) if log_id_agrees(&own, path) => line = Identity { run_id: None, log_id: Some(own), ..line },
        Some(claim) => refuse("log_id", (&*claim).into()),
        None => {}
    }
    let texts = [
        ("dag_id", &path.dag_id, &mut line.dag_id),
        ("task_id", &path.task_id, &mut line.task_id),
        ("run_id", &path.run_id, &mut line.run_id),
    ];
    for (name, is, claimed) in texts {
        if let Some(claim) = claimed.take_if(|claim| is.as_ref().is_some_and(|is| is != claim)) {
            refuse(name, (&*claim).into());
        }
    }
    if let Some(claim) = line.map_index.take_if(|claim| *claim != path.map_index.unwrap_or(-1)) {
        refuse("map_index", claim.into());
    }
    if let Some(claim) = line.try_number.take_if(|claim| path.try_number.is_some_and(|is| is != *claim)) {
        refuse("try_number", claim.into());
    }
    path.clone().or(&line)
}

/// Whether two may name the same task try: a line of a task's pod can be about another task.
fn agree(line: &Identity, pod: &Identity) -> bool {
    fn same<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
        a.is_none() || b.is_none() || a == b
    }
    same(&line.dag_id, &pod.dag_id)
        && same(&line.task_id, &pod.task_id)
        && same(&line.run_id, &pod.run_id)
        && same(&line.map_index, &pod.map_index)
        && same(&line.try_number, &pod.try_number)
}

#[cfg(test)]
mod tests;
