//! How the tagged answers of an indexer are read: as one flat object, whose tag then says which fields count.
//!
//! serde reads an internally tagged enum through a buffer, and neither raw JSON (a record's attributes) nor
//! numbers as keys (a histogram's buckets) survive that.

use serde::Deserialize;

use super::{CommitId, FeedFrame, Histogram, HotAnswer, ValueCounts};
use crate::error::Error;
use crate::record::ApiRecord;
use crate::time::Timestamp;

fn missing(kind: &str) -> Error {
    Error::Decode { what: "an indexer's answer", reason: format!("{kind:?} is not known or lacks a field") }
}

/// All fields of all kinds of [`HotAnswer`].
#[derive(Deserialize)]
pub(super) struct AnswerFields {
    kind: String,
    histogram: Option<Histogram>,
    values: Option<ValueCounts>,
    fields: Option<ValueCounts>,
}

impl TryFrom<AnswerFields> for HotAnswer {
    type Error = Error;
    fn try_from(all: AnswerFields) -> Result<Self, Error> {
        match all.kind.as_str() {
            "histogram" => all.histogram.map(|histogram| Self::Histogram { histogram }),
            "values" => all.values.map(|values| Self::Values { values }),
            "fields" => all.fields.map(|fields| Self::Fields { fields }),
            _ => None,
        }
        .ok_or_else(|| missing(&all.kind))
    }
}

/// All fields of all kinds of [`FeedFrame`].
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct FrameFields<'a> {
    #[serde(rename = "type")]
    kind: String,
    indexer: Option<String>,
    committed: Option<CommitId>,
    sealed_through: Option<CommitId>,
    commit: Option<CommitId>,
    records: Option<Vec<ApiRecord<'a>>>,
    count: Option<u64>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl<'a> TryFrom<FrameFields<'a>> for FeedFrame<'a> {
    type Error = Error;
    fn try_from(all: FrameFields<'a>) -> Result<Self, Error> {
        let kind = all.kind;
        match (kind.as_str(), all.commit) {
            ("open", _) => match (all.indexer, all.committed, all.sealed_through) {
                (Some(indexer), Some(committed), Some(sealed_through)) => {
                    Some(Self::Open { indexer, committed, sealed_through })
                }
                _ => None,
            },
            ("records", Some(commit)) => all.records.map(|records| Self::Records { commit, records }),
            ("skipped", Some(commit)) => match (all.count, all.from, all.to) {
                (Some(count), Some(from), Some(to)) => Some(Self::Skipped { count, from, to, commit }),
                _ => None,
            },
            ("heartbeat", Some(commit)) => Some(Self::Heartbeat { commit }),
            _ => None,
        }
        .ok_or_else(|| missing(&kind))
    }
}
