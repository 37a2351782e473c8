//! The records that stand where lines were given up: per source how many, from when to when, and why. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use heliograph_model::airflow::Identity;
use heliograph_model::level::Level;
use heliograph_model::record::{Attributes, Record};
use heliograph_model::source::{Position, Source, SourceId};
use heliograph_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Most sources of one gap, about: bounds what is read again when it grows.
pub(crate) const SOURCES_MAX: usize = 1_000;
/// The attribute that holds the figures.
pub(crate) const ATTRIBUTE: &str = "heliograph.gap";

/// Why lines were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// The spool was full, and its tenant had the most in it.
    SpoolFull,
    /// The indexer refused the batch for good.
    Rejected,
    /// The batch did not read back from the disk.
    Corrupt,
    /// The tenant was erased. No gap tells of it: there is nobody to tell.
    Erased,
}

impl Reason {
    /// The metric's label.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::SpoolFull => "spool_full",
            Self::Rejected => "rejected",
            Self::Corrupt => "corrupt",
            Self::Erased => "erased",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::SpoolFull => "the agent's spool was full",
            Self::Rejected => "the indexer refused them for good",
            Self::Corrupt => "they did not read back from the agent's disk",
            Self::Erased => "the tenant was erased",
        }
    }
}

/// The figures of one gap record. Lines that were joined to one record count as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// How many; of batches that cannot be read at all it may be none, which means that it is not known.
    pub lines: u64,
    /// Event time of the first.
    pub from: Timestamp,
    /// Event time of the last.
    pub to: Timestamp,
    /// Why, each once.
    pub reasons: Vec<Reason>,
}

/// What is given up, by source.
#[derive(Debug, Default)]
pub(crate) struct Gaps(BTreeMap<SourceId, (Arc<Source>, Position, Figures)>);

impl Gaps {
    /// Records that will not be sent.
    pub(crate) fn add_records(&mut self, records: &[Record], reason: Reason) {
        for Record { source, position, time, .. } in records {
            let figures = Figures { lines: 1, from: *time, to: *time, reasons: vec![reason] };
            self.add(source, *position, figures);
        }
    }

    /// What an earlier gap says; its records are sent as part of this one.
    pub(crate) fn add_gap(&mut self, records: &[Record]) {
        for record in records {
            let attributes: Option<Map<String, Value>> =
                serde_json::from_str(record.attributes.as_json()).ok();
            let figures = attributes.and_then(|mut all| all.remove(ATTRIBUTE));
            if let Some(figures) = figures.and_then(|figures| serde_json::from_value(figures).ok()) {
                self.add(&record.source, record.position, figures);
            }
        }
    }

    /// Lines of one source.
    pub(crate) fn add(&mut self, source: &Arc<Source>, position: Position, more: Figures) {
        match self.0.get_mut(&source.id) {
            None => drop(self.0.insert(source.id, (Arc::clone(source), position, more))),
            Some((_, last, figures)) => {
                *last = position.max(*last);
                figures.lines += more.lines;
                figures.from = figures.from.min(more.from);
                figures.to = figures.to.max(more.to);
                figures.reasons.extend(more.reasons);
                figures.reasons.sort_unstable();
                figures.reasons.dedup();
            }
        }
    }

    /// The records: each has the place and time of the last line that it stands for, so that it sorts between
    /// the last line before the gap and the first one behind it.
    pub(crate) fn records(&self, now: Timestamp) -> Vec<Record> {
        let record = |(source, position, figures): &(Arc<Source>, Position, Figures)| Record {
            time: figures.to,
            observed: now,
            position: *position,
            source: Arc::clone(source),
            level: Some(Level::Warning),
            stream: None,
            identity: Identity::default(),
            message: figures.message(),
            attributes: figures.attributes(),
        };
        self.0.values().map(record).collect()
    }
}

impl Figures {
    fn message(&self) -> Box<str> {
        let Self { lines, from, to, reasons } = self;
        let reasons: Vec<_> = reasons.iter().map(|reason| reason.text()).collect();
        let lines = if *lines == 0 { "an unknown number of".to_owned() } else { lines.to_string() };
        format!("{lines} lines dropped, from {from} to {to}: {}", reasons.join(", ")).into()
    }

    fn attributes(&self) -> Attributes {
        let figures = serde_json::to_value(self).unwrap_or_default();
        Attributes::from_map(&Map::from_iter([(ATTRIBUTE.to_owned(), figures)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_add_up_by_source_and_are_read_again() {
        let source = |id| Arc::new(Source { id: SourceId(id), ..Source::default() });
        let at = Timestamp::from_nanos;
        let record = |id, position, time| Record {
            time: at(time),
            observed: at(9),
            position: Position(position),
            source: source(id),
            level: None,
            stream: None,
            identity: Identity::default(),
            message: "x".into(),
            attributes: Attributes::default(),
        };
        let mut gaps = Gaps::default();
        gaps.add_records(&[record(1, 0, 1_000_000_000), record(1, 2, 3_000_000_000)], Reason::SpoolFull);
        gaps.add_records(&[record(2, 5, 2)], Reason::Rejected);
        let first = gaps.records(at(9));
        let mut more = Gaps::default();
        more.add_gap(&first);
        assert_eq!(more.records(at(9)), first);
        more.add_records(&[record(1, 7, 5_000_000_000)], Reason::Corrupt);
        let records = more.records(at(9));
        let found: Vec<_> = records.iter().map(|r| (r.time.as_nanos(), r.position.0, &*r.message)).collect();
        let long = "3 lines dropped, from 1970-01-01T00:00:01.000000000Z to 1970-01-01T00:00:05.000000000Z: the agent's spool was full, \
                    they did not read back from the agent's disk";
        let short = "1 lines dropped, from 1970-01-01T00:00:00.000000002Z to 1970-01-01T00:00:00.000000002Z: the \
                     indexer refused them for good";
        assert_eq!(found, [(5_000_000_000, 7, long), (2, 5, short)]);
    }
}
