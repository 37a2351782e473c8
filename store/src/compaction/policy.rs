//! Which segments are merged. Pure: a function of what there is and of the time of day.
//!
//! Only segments of one tenant and indexer, whose newest records are of the same day, and in the order of their
//! commits. A segment that has half the target is left as it is. Of the others are merged
//!
//! - as many as together reach the target, as soon as there are so many;
//! - or [`COUNT`] that were rewritten equally often, so that a quiet tenant's are few at any time of the day;
//! - or all of the day, once it is over and its last ones have [settled](SETTLED_NANOS).
//!
//! **Bound on rewriting**: no record is rewritten more than [`MERGES_MAX`] times, whatever comes in which order; one
//! of a busy tenant once, or never. So merges write at most that many times what sealing writes.
//!
//! **Bound on segments**, of a day: those that have half the target, fewer than [`COUNT`] for each of the
//! [`MERGES_MAX`] numbers of merges that may still be merged, and after its end one more for what is left over.

use std::collections::BTreeMap;

use heliograph_model::time::Timestamp;

use crate::catalog::{Candidate, SegmentMeta};

/// How often a record is rewritten at most.
pub const MERGES_MAX: u32 = 2;
/// Segments that are merged for their number.
const COUNT: usize = 16;
/// What a record counts for beside its texts, so that short lines are bounded in memory, too.
const RECORD_BYTES: u64 = 128;
const DAY_NANOS: i64 = 86_400_000_000_000;
/// How long after its end, and after its newest segment was made, a day is taken for over.
const SETTLED_NANOS: i64 = 3_600_000_000_000;

/// How large segments are to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Bytes of texts, and 128 a record, of a merged segment; one has at most half as much more. With 0
    /// nothing is merged.
    pub target_bytes: u64,
}

/// Segments that may be merged with one another: by the day of their newest record; those of more than a day apart,
/// lest they make all others as wide.
type Window = (i64, bool);

impl Policy {
    /// The segments of one tenant and indexer to merge next, of all of these, which come in the order of their commits;
    /// none where all is well.
    pub fn choose(&self, candidates: &[Candidate], now: Timestamp) -> Option<Vec<SegmentMeta>> {
        let mut windows: BTreeMap<Window, Vec<&Candidate>> = BTreeMap::new();
        for candidate in candidates.iter().filter(|candidate| self.is_open(candidate)) {
            windows.entry(window(&candidate.meta)).or_default().push(candidate);
        }
        let chosen = windows.into_iter().find_map(|((day, _), open)| self.choose_of(day, &open, now))?;
        Some(chosen.into_iter().map(|candidate| candidate.meta.clone()).collect())
    }

    /// The day that a moment is in: the same segments may be merged on the next.
    pub fn day(now: Timestamp) -> i64 {
        now.saturating_add_nanos(-SETTLED_NANOS).as_nanos().div_euclid(DAY_NANOS)
    }

    fn is_open(&self, candidate: &Candidate) -> bool {
        candidate.merges < MERGES_MAX && weight(&candidate.meta) < self.target_bytes / 2
    }

    fn choose_of<'a>(&self, day: i64, open: &[&'a Candidate], now: Timestamp) -> Option<Vec<&'a Candidate>> {
        let mut sum = 0_u64;
        let enough = open.iter().position(|candidate| {
            sum = sum.saturating_add(weight(&candidate.meta));
            sum >= self.target_bytes
        });
        if let Some(last) = enough {
            return Some(open.iter().copied().take(last + 1).collect());
        }
        for merges in 0..MERGES_MAX {
            let alike: Vec<_> = open.iter().copied().filter(|c| c.merges == merges).take(COUNT).collect();
            if alike.len() == COUNT {
                return Some(alike);
            }
        }
        let is_settled = |c: &&Candidate| now.nanos_since(c.meta.created) >= SETTLED_NANOS;
        let is_over = day < Self::day(now) && open.iter().all(is_settled);
        (is_over && open.len() > 1).then(|| open.to_vec())
    }
}

fn window(meta: &SegmentMeta) -> Window {
    (meta.last.as_nanos().div_euclid(DAY_NANOS), meta.last.nanos_since(meta.first) > DAY_NANOS)
}

fn weight(meta: &SegmentMeta) -> u64 {
    meta.raw_bytes.saturating_add(meta.records.saturating_mul(RECORD_BYTES))
}

#[cfg(test)]
mod tests;
