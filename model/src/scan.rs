//! What a query asks of one part of the data (hot or sealed), and answers that can be merged.
//!
//! The same words go over the wire between query and indexer and through the segment reader, so that a record
//! counts once and in one order wherever it lies.

mod collect;
mod foremost;
mod order;
mod pursuit;
mod several;
mod tally;
mod wire;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::filter::{Field, Filter};
use crate::level::Level;
use crate::record::RecordKey;
use crate::tenant::TenantId;
use crate::time::{TimeRange, Timestamp};

pub use collect::{Answer, Collector};
pub use foremost::Foremost;
pub use order::Order;
pub use pursuit::{EndsWhenDropped, Pursuit};
pub use several::{HotHeads, Scans};

/// The ordinal of a commit: rises with every write-ahead object that the catalog records, over all indexers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitId(pub i64);

/// What is asked of one tenant's records.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scan {
    /// Whose records.
    pub tenant: TenantId,
    /// Event times.
    pub range: TimeRange,
    /// Which of them.
    pub filter: Filter,
    /// Only records committed after this, for a tail that resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_after: Option<CommitId>,
    /// Only records committed up to this: of a merged segment whose later records the hot answer has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_through: Option<CommitId>,
    /// What to make of them.
    pub want: Want,
}

impl Scan {
    /// Whether a record of this commit is meant.
    pub fn has_commit(&self, commit: CommitId) -> bool {
        self.committed_after.is_none_or(|after| commit > after)
            && self.committed_through.is_none_or(|through| commit <= through)
    }
}

/// What to make of the matching records.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Want {
    /// The first `limit` in `order`, after `after` where given.
    Records {
        /// Which end first.
        order: Order,
        /// At most so many.
        limit: usize,
        /// Strictly after this place in `order`.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "key_hex")]
        after: Option<RecordKey>,
    },
    /// Records of one source around a place: `before` ones up to and with it, `after` ones behind it.
    Around {
        /// The place.
        #[serde(with = "key_hex_required")]
        key: RecordKey,
        /// How many before it.
        before: usize,
        /// How many after it.
        after: usize,
    },
    /// Counts per bucket of time and level.
    Histogram {
        /// Width of a bucket, in nanoseconds; buckets begin at multiples of it since the epoch.
        interval_nanos: i64,
        /// Whether levels are told apart; without, all records may count as if they had none.
        by_level: bool,
    },
    /// Counts per value of a field.
    Values {
        /// The field.
        field: Field,
    },
    /// Which attributes there are.
    Fields,
}

/// Counts per bucket, by level.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// Bucket's number (time in nanoseconds, divided by the interval, rounded down) → counts, by level code;
    /// the last of the seven is of records without a level.
    pub buckets: BTreeMap<i64, [u64; 7]>,
}

impl Histogram {
    /// Index of the count of a level.
    pub fn slot(level: Option<Level>) -> usize {
        level.map_or(Level::ALL.len(), |l| usize::from(l.code()))
    }

    /// Adds `count` records at a moment.
    pub fn add(&mut self, interval_nanos: i64, time: Timestamp, level: Option<Level>, count: u64) {
        let bucket = time.as_nanos().div_euclid(interval_nanos.max(1));
        self.buckets.entry(bucket).or_default()[Self::slot(level)] += count;
    }

    /// Adds another part's counts.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, counts) in &other.buckets {
            let mine = self.buckets.entry(*bucket).or_default();
            for (m, o) in mine.iter_mut().zip(counts) {
                *m += o;
            }
        }
    }
}

/// Counts per value of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueCounts {
    /// Value → records that have it.
    pub counts: HashMap<String, u64>,
    /// Whether values beyond the bound were left out.
    pub truncated: bool,
}

impl ValueCounts {
    /// Distinct values kept of one part; a field with more is an identifier, and its top values say little.
    pub const DISTINCT_MAX: usize = 100_000;

    /// Adds `count` records with a value.
    pub fn add(&mut self, value: &str, count: u64) {
        if let Some(have) = self.counts.get_mut(value) {
            *have += count;
        } else if self.counts.len() < Self::DISTINCT_MAX {
            self.counts.insert(value.to_owned(), count);
        } else {
            self.truncated = true;
        }
    }

    /// Adds another part's counts.
    pub fn merge(&mut self, other: Self) {
        self.truncated |= other.truncated;
        if self.counts.is_empty() {
            self.counts = other.counts;
            return;
        }
        for (value, count) in other.counts {
            if let Some(have) = self.counts.get_mut(&value) {
                *have += count;
            } else if self.counts.len() < Self::DISTINCT_MAX {
                self.counts.insert(value, count);
            } else {
                self.truncated = true;
            }
        }
    }

    /// The `limit` most frequent values, the most frequent first, equals by value.
    pub fn top(&self, limit: usize) -> Vec<(&str, u64)> {
        let mut all: Vec<_> = self.counts.iter().map(|(v, c)| (v.as_str(), *c)).collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        all.truncate(limit);
        all
    }
}

/// What an indexer's answer stands on, for one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotHead {
    /// Which indexer.
    pub indexer: String,
    /// This tenant's records of this indexer with commits up to here are sealed and not in the answer; sealed
    /// segments of this indexer with later commits must be left out by the asker, as the answer holds them.
    pub sealed_through: CommitId,
    /// The newest commit of this indexer.
    pub committed: CommitId,
}

/// The body of an indexer's answer to a scan, by what was wanted. Records come as lines of their own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", try_from = "wire::AnswerFields")]
pub enum HotAnswer {
    /// For [`Want::Histogram`].
    Histogram {
        /// The counts.
        histogram: Histogram,
    },
    /// For [`Want::Values`].
    Values {
        /// The counts.
        values: ValueCounts,
    },
    /// For [`Want::Fields`].
    Fields {
        /// Attribute names with how many records have them.
        fields: ValueCounts,
    },
}

/// A line of an indexer's feed of fresh records, in the order of commits.
#[derive(Debug, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    try_from = "wire::FrameFields<'a>",
    bound(deserialize = "'de: 'a")
)]
pub enum FeedFrame<'a> {
    /// The feed begins: what was asked for and is not sealed follows, then everything committed after
    /// `committed`.
    Open {
        /// Which indexer.
        indexer: String,
        /// The newest commit before the feed.
        committed: CommitId,
        /// The tenant's records of this indexer up to here are sealed: one who resumes from before it reads
        /// them from segments, the feed does not bring them.
        sealed_through: CommitId,
    },
    /// Fresh records that match, of one commit.
    Records {
        /// Their commit.
        commit: CommitId,
        /// The records.
        records: Vec<crate::record::ApiRecord<'a>>,
    },
    /// Records left out because the reader was slow.
    Skipped {
        /// How many.
        count: u64,
        /// Event time of the first.
        from: Timestamp,
        /// Event time of the last.
        to: Timestamp,
        /// The newest commit that the gap touches.
        commit: CommitId,
    },
    /// Nothing new; everything up to `commit` was sent.
    Heartbeat {
        /// The newest commit.
        commit: CommitId,
    },
}

mod key_hex_required {
    use super::{RecordKey, key_hex};
    use serde::{Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(key: &RecordKey, s: S) -> Result<S::Ok, S::Error> {
        key_hex::serialize(&Some(*key), s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<RecordKey, D::Error> {
        key_hex::deserialize(d)?.ok_or_else(|| de::Error::custom("missing record key"))
    }
}

mod key_hex {
    use super::RecordKey;
    use data_encoding::HEXLOWER;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(key: &Option<RecordKey>, s: S) -> Result<S::Ok, S::Error> {
        match key {
            Some(key) => s.serialize_str(&HEXLOWER.encode(&key.to_bytes())),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<RecordKey>, D::Error> {
        let Some(text) = Option::<String>::deserialize(d)? else { return Ok(None) };
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(de::Error::custom)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| de::Error::custom("a record key has 32 bytes"))?;
        Ok(Some(RecordKey::from_bytes(&bytes)))
    }
}
