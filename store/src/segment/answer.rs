//! What the index part answers by itself, so that blocks need not be looked into.

use heliograph_model::filter::Field;
use heliograph_model::level::Level;
use heliograph_model::scan::{Collector, Histogram, ValueCounts, Want};
use heliograph_model::time::Timestamp;

use super::bitset::BitSet;
use super::directory::{Entry, Group};
use super::fields;
use super::reader::Index;
use super::sources::Sources;
use super::verdict::Known;
use crate::error::Result;

/// What is known of a scan's blocks.
pub(super) struct Blocks<'a> {
    /// May hold a record that is meant.
    pub(super) possible: &'a BitSet,
    /// Hold nothing else.
    pub(super) certain: &'a BitSet,
    /// Hold nothing that is not meant for its time or its commit.
    pub(super) inside: &'a BitSet,
}

/// Gives the collector what the index knows of the possible blocks; the blocks that must be looked into are left.
/// `single` is the filter, where it is one condition.
pub(super) fn answer(
    index: &Index,
    want: &Want,
    blocks: &Blocks<'_>,
    single: Option<&Known>,
    collector: &mut Collector,
) -> Result<BitSet> {
    let Blocks { possible, certain, .. } = *blocks;
    let whole = certain.is_all();
    Ok(match want {
        Want::Records { .. } | Want::Around { .. } => possible.clone(),
        Want::Histogram { interval_nanos, by_level } => {
            if whole && let Some(histogram) = index.summary()?.histogram(*interval_nanos, *by_level) {
                collector.add_histogram(&histogram);
                return Ok(BitSet::none(index.blocks()));
            }
            histogram(index, (*interval_nanos, *by_level), blocks, single, collector)
        }
        Want::Values { field: Field::Level } => {
            let mut counts = ValueCounts::default();
            let open = of_entries_in(index, possible, |b, e| {
                let is_known = certain.contains(b);
                if is_known {
                    add_levels(e, |level, n| level.into_iter().for_each(|l| counts.add(l.as_str(), n)));
                }
                !is_known
            });
            collector.add_counts(counts);
            open
        }
        Want::Values { field } => values(index, field, possible, certain, collector)?,
        Want::Fields => {
            let names = index.names()?;
            if whole && names.is_complete {
                collector.add_counts(names.counts());
                return Ok(BitSet::none(index.blocks()));
            }
            of_entries_in(index, possible, |_, e| !e.page(Group::Attributes).is_none())
        }
    })
}

/// Blocks that lie in one bucket, and of which it is known how many records are meant.
fn histogram(
    index: &Index,
    (interval_nanos, by_level): (i64, bool),
    blocks: &Blocks<'_>,
    single: Option<&Known>,
    collector: &mut Collector,
) -> BitSet {
    let mut histogram = Histogram::default();
    let bucket = |t: Timestamp| t.as_nanos().div_euclid(interval_nanos.max(1));
    let open = of_entries_in(index, blocks.possible, |b, e| {
        if bucket(e.first) != bucket(e.last) {
            return true;
        }
        let mut add = |level, count| histogram.add(interval_nanos, e.first, level, count);
        let passing = single.filter(|_| !by_level && blocks.inside.contains(b)).and_then(|s| s.passing(b));
        match passing {
            _ if blocks.certain.contains(b) && by_level => add_levels(e, add),
            _ if blocks.certain.contains(b) => add(None, e.rows.into()),
            Some(rows) => add(None, rows.into()),
            None => return true,
        }
        false
    });
    collector.add_histogram(&histogram);
    open
}

fn of_entries_in(index: &Index, blocks: &BitSet, mut holds: impl FnMut(u32, &Entry) -> bool) -> BitSet {
    BitSet::of(index.blocks(), |b| blocks.contains(b) && index.entry(b).is_some_and(|e| holds(b, e)))
}

fn add_levels(entry: &Entry, mut add: impl FnMut(Option<Level>, u64)) {
    let levels = Level::ALL.into_iter().map(Some).chain([None]);
    for level in levels {
        let count = entry.levels[Histogram::slot(level)];
        if count > 0 {
            add(level, count.into());
        }
    }
}

/// Values that all records of a block share are counted without reading it.
fn values(
    index: &Index,
    field: &Field,
    possible: &BitSet,
    certain: &BitSet,
    collector: &mut Collector,
) -> Result<BitSet> {
    let mut counts = ValueCounts::default();
    let open = if Sources::has(field) {
        let sources = index.sources()?;
        of_entries_in(index, possible, |b, e| {
            let value = |n| sources.text(n, field);
            let first = value(e.sources.start);
            if !certain.contains(b) || e.sources.clone().any(|n| value(n) != first) {
                return true;
            }
            first.into_iter().for_each(|v| counts.add(v, e.rows.into()));
            false
        })
    } else if let Some(slot) = fields::slot(field) {
        let fields = index.fields()?;
        fields.count_values(slot, &possible.clone().and(certain), |value, n| counts.add(value, n));
        // Without a value there is nothing to count, whichever records are meant.
        let open = possible.clone().and(&certain.clone().not());
        if open.is_empty() { open } else { open.and(&fields.blocks_with_any(slot, index.blocks())) }
    } else if let Field::Attribute(path) = field {
        let may_have = index.names()?.may_have(path);
        of_entries_in(index, possible, |_, e| may_have && !e.page(Group::Attributes).is_none())
    } else {
        possible.clone()
    };
    collector.add_counts(counts);
    Ok(open)
}
