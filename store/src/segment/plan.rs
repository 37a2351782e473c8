//! What the index says of a filter: which blocks may hold a match, and which hold nothing else.
//!
//! Two sets for every node of the filter: *possible* blocks (outside of them no record passes) and *certain*
//! ones (inside of them every record passes). With both, `Not` is as exact as the rest.

use heliograph_model::filter::{Field, Filter, Matcher, Test};
use heliograph_model::level::Level;
use heliograph_model::record::RecordKey;
use heliograph_model::scan::{Collector, CommitId, Histogram, Order, Scan, ValueCounts, Want};
use heliograph_model::source::{Position, SourceId};
use heliograph_model::time::{TimeRange, Timestamp};
use heliograph_model::token;

use super::blocks::Blocks;
use super::dictionary::Probe;
use super::directory::{Entry, Group};
use super::fields;
use super::reader::Index;
use super::sources::Sources;
use super::tokens;
use crate::error::Result;

struct Known {
    possible: Blocks,
    certain: Blocks,
}

impl Known {
    fn and(self, other: &Self) -> Self {
        Self { possible: self.possible.and(&other.possible), certain: self.certain.and(&other.certain) }
    }

    fn or(self, other: &Self) -> Self {
        Self { possible: self.possible.or(&other.possible), certain: self.certain.or(&other.certain) }
    }

    fn not(self) -> Self {
        Self { possible: self.certain.not(), certain: self.possible.not() }
    }
}

/// What of a block a scan must read.
#[derive(Clone, Copy, Debug, Default)]
struct Reads {
    order: bool,
    messages: bool,
    attributes: bool,
}

impl Reads {
    fn of_filter(filter: &Filter, reads: &mut Self) {
        match filter {
            Filter::All | Filter::None => {}
            Filter::And(parts) | Filter::Or(parts) => parts.iter().for_each(|p| Self::of_filter(p, reads)),
            Filter::Not(inner) => Self::of_filter(inner, reads),
            Filter::Is(field, _) => Self::of_field(field, reads),
        }
    }

    fn of_field(field: &Field, reads: &mut Self) {
        match field {
            Field::Message => reads.messages = true,
            Field::Attribute(_) => reads.attributes = true,
            _ => {}
        }
    }

    fn of_want(want: &Want) -> Self {
        let mut reads = Self::default();
        match want {
            Want::Records { .. } | Want::Around { .. } => {
                reads = Self { order: true, messages: true, attributes: true };
            }
            Want::Values { field } => Self::of_field(field, &mut reads),
            Want::Fields => reads.attributes = true,
            Want::Histogram { .. } => {}
        }
        reads
    }
}

/// How a scan goes through a segment.
pub(super) struct Plan {
    /// Blocks to look into, the most promising first.
    pub(super) blocks: Vec<u32>,
    certain: Blocks,
    want: Reads,
    filter: Reads,
    committed_after: Option<CommitId>,
}

impl Plan {
    /// Plans a scan, and gives the collector what the directory knows by itself.
    pub(super) fn new(index: &Index, scan: &Scan, collector: &mut Collector) -> Result<Self> {
        let count = index.blocks();
        let after = scan.committed_after;
        let entries = index.entries();
        let outer = Known {
            possible: of_entries(entries, |e| {
                scan.range.touches(e.first, e.last) && after.is_none_or(|a| e.commit_last > a.0)
            }),
            certain: of_entries(entries, |e| {
                scan.range.contains(e.first)
                    && scan.range.contains(e.last)
                    && after.is_none_or(|a| e.commit_first > a.0)
            }),
        };
        // What the range rules out already needs no look into the index.
        let known = if outer.possible.is_empty() { outer } else { node(index, &scan.filter)?.and(&outer) };
        let mut possible = known.possible;
        if let Want::Around { key, .. } = &scan.want {
            let of_id = index.sources()?.of_id(key.source);
            possible = possible
                .and(&of_entries(entries, |e| e.sources.start < of_id.end && of_id.start < e.sources.end));
        }
        let whole = known.certain.is_all();
        let open = answer(index, &scan.want, &possible, &known.certain, whole, collector)?;
        let mut filter = Reads::default();
        Reads::of_filter(&scan.filter, &mut filter);
        let mut blocks: Vec<u32> = open.iter().filter(|b| *b < count).collect();
        order(&mut blocks, index, &scan.want);
        Ok(Self {
            blocks,
            certain: known.certain,
            want: Reads::of_want(&scan.want),
            filter,
            committed_after: after,
        })
    }

    /// Whether every record of the block is meant.
    pub(super) fn is_certain(&self, block: u32) -> bool {
        self.certain.contains(block)
    }

    /// Whether the commit of each record of the block must be looked at.
    pub(super) fn checks_commits(&self, entry: &Entry) -> Option<CommitId> {
        self.committed_after.filter(|after| entry.commit_first <= after.0)
    }

    /// Whether the filter must see a group of the block's columns.
    pub(super) fn filters_by(&self, block: u32, group: Group) -> bool {
        !self.is_certain(block)
            && match group {
                Group::Columns => true,
                Group::Order => false,
                Group::Messages => self.filter.messages,
                Group::Attributes => self.filter.attributes,
            }
    }

    /// Whether a group of the block's columns is needed.
    pub(super) fn reads(&self, block: u32, entry: &Entry, group: Group) -> bool {
        let wanted = match group {
            Group::Columns => true,
            Group::Order => self.want.order || self.checks_commits(entry).is_some(),
            Group::Messages => self.want.messages,
            Group::Attributes => self.want.attributes,
        };
        (wanted || self.filters_by(block, group)) && !entry.page(group).is_none()
    }
}

fn of_entries(entries: &[Entry], mut holds: impl FnMut(&Entry) -> bool) -> Blocks {
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    Blocks::of(count, |b| entries.get(b as usize).is_some_and(&mut holds))
}

/// Whether a block may hold a record that the collector still takes.
pub(super) fn may_take(entry: &Entry, want: &Want, collector: &Collector) -> bool {
    let low = RecordKey::first_at(entry.first);
    let high = RecordKey { time: entry.last, source: SourceId(u128::MAX), position: Position(u64::MAX) };
    match want {
        Want::Records { limit: 0, .. } => false,
        Want::Records { order, after, .. } => {
            let (best, worst) = match order {
                Order::Desc => (high, low),
                Order::Asc => (low, high),
            };
            after.is_none_or(|after| order.is_before(&after, &worst))
                && collector.full_at().is_none_or(|full| order.is_before(&best, &full))
        }
        Want::Around { key, .. } => {
            let at = |time, position| RecordKey { time, source: key.source, position: Position(position) };
            let (low, high) = (at(entry.first, 0), at(entry.last, u64::MAX));
            if high <= *key {
                collector.could_take(&high)
            } else if low > *key {
                collector.could_take(&low)
            } else {
                // The block has both sides of the place: neither end tells for the other.
                true
            }
        }
        Want::Histogram { .. } | Want::Values { .. } | Want::Fields => true,
    }
}

/// Puts the blocks first that fill the collector soonest with what stays.
fn order(blocks: &mut [u32], index: &Index, want: &Want) {
    let entry = |b: &u32| index.entry(*b);
    match want {
        Want::Records { order: Order::Desc, .. } => {
            blocks.sort_by_key(|b| std::cmp::Reverse(entry(b).map(|e| (e.last, e.first))));
        }
        Want::Records { order: Order::Asc, .. } => {
            blocks.sort_by_key(|b| entry(b).map(|e| (e.first, e.last)));
        }
        Want::Around { key, .. } => blocks.sort_by_key(|b| {
            entry(b).map(|e| e.first.nanos_since(key.time).max(key.time.nanos_since(e.last)).max(0))
        }),
        Want::Histogram { .. } | Want::Values { .. } | Want::Fields => {}
    }
}

/// Answers of the possible blocks what the directory knows; gives the blocks that must be looked into.
fn answer(
    index: &Index,
    want: &Want,
    possible: &Blocks,
    certain: &Blocks,
    whole: bool,
    collector: &mut Collector,
) -> Result<Blocks> {
    let mut open = possible.clone();
    let known = |b: &u32| certain.contains(*b);
    match want {
        Want::Records { .. } | Want::Around { .. } => {}
        Want::Histogram { interval_nanos } => {
            let mut histogram = Histogram::default();
            let bucket = |t: Timestamp| t.as_nanos().div_euclid((*interval_nanos).max(1));
            open = of_entries_in(index, possible, |b, e| {
                let is_one = known(&b) && bucket(e.first) == bucket(e.last);
                if is_one {
                    add_levels(e, |level, count| histogram.add(*interval_nanos, e.first, level, count));
                }
                !is_one
            });
            collector.add_histogram(&histogram);
        }
        Want::Values { field: Field::Level } => {
            let mut counts = ValueCounts::default();
            open = of_entries_in(index, possible, |b, e| {
                if known(&b) {
                    add_levels(e, |level, n| level.into_iter().for_each(|l| counts.add(l.as_str(), n)));
                }
                !known(&b)
            });
            collector.add_counts(&counts);
        }
        Want::Values { field } => open = answer_values(index, field, possible, certain, collector)?,
        Want::Fields => {
            let names = index.names()?;
            if whole && names.is_complete {
                collector.add_counts(&names.counts());
                return Ok(Blocks::none(index.blocks()));
            }
            open = of_entries_in(index, possible, |_, e| !e.page(Group::Attributes).is_none());
        }
    }
    Ok(open)
}

fn of_entries_in(index: &Index, blocks: &Blocks, mut holds: impl FnMut(u32, &Entry) -> bool) -> Blocks {
    Blocks::of(index.blocks(), |b| blocks.contains(b) && index.entry(b).is_some_and(|e| holds(b, e)))
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
fn answer_values(
    index: &Index,
    field: &Field,
    possible: &Blocks,
    certain: &Blocks,
    collector: &mut Collector,
) -> Result<Blocks> {
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
        let whole = fields.whole_values(slot, index.blocks());
        of_entries_in(index, possible, |b, e| match whole.get(b as usize).copied().flatten() {
            Some(number) if certain.contains(b) => {
                fields.text(slot, number).into_iter().for_each(|v| counts.add(v, e.rows.into()));
                false
            }
            // Without a value there is nothing to count, whichever records are meant.
            Some(0) => false,
            _ => true,
        })
    } else if let Field::Attribute(path) = field {
        let may_have = index.names()?.may_have(path);
        of_entries_in(index, possible, |_, e| may_have && !e.page(Group::Attributes).is_none())
    } else {
        possible.clone()
    };
    collector.add_counts(&counts);
    Ok(open)
}

fn node(index: &Index, filter: &Filter) -> Result<Known> {
    let count = index.blocks();
    Ok(match filter {
        Filter::All => Known { possible: Blocks::all(count), certain: Blocks::all(count) },
        Filter::None => Known { possible: Blocks::none(count), certain: Blocks::none(count) },
        Filter::And(parts) => {
            let mut known = Known { possible: Blocks::all(count), certain: Blocks::all(count) };
            for part in parts {
                known = known.and(&node(index, part)?);
            }
            known
        }
        Filter::Or(parts) => {
            let mut known = Known { possible: Blocks::none(count), certain: Blocks::none(count) };
            for part in parts {
                known = known.or(&node(index, part)?);
            }
            known
        }
        Filter::Not(inner) => node(index, inner)?.not(),
        Filter::Is(Field::Message, test) => message(index, test)?,
        Filter::Is(Field::Level, test) => level(index, test)?,
        Filter::Is(Field::Timestamp, test) => time(index, test),
        Filter::Is(Field::Attribute(path), _) => {
            let may_have = index.names()?.may_have(path);
            Known {
                possible: of_entries(index.entries(), |e| may_have && !e.page(Group::Attributes).is_none()),
                certain: Blocks::none(count),
            }
        }
        Filter::Is(field, test) if Sources::has(field) => source(index, field, test)?,
        Filter::Is(field, test) => match fields::slot(field) {
            Some(slot) => {
                let (possible, certain) = index.fields()?.matching(slot, field, test, count)?;
                Known { possible, certain }
            }
            None => Known { possible: Blocks::all(count), certain: Blocks::none(count) },
        },
    })
}

fn message(index: &Index, test: &Test) -> Result<Known> {
    let count = index.blocks();
    let mut possible = Blocks::all(count);
    let open = match test {
        Test::Exists => return Ok(Known { possible, certain: Blocks::all(count) }),
        Test::Prefix(text) if text.chars().next_back().is_some_and(token::is_word_char) => {
            token::tokens(text).pop()
        }
        _ => None,
    };
    let certain = Blocks::none(count);
    let whole = Filter::message_tokens(test);
    if whole.is_empty() && open.is_none() {
        return Ok(Known { possible, certain });
    }
    let (words, filters) = (index.words()?, index.filters()?);
    for token in whole {
        if possible.is_empty() {
            break;
        }
        let with = tokens::blocks_with(words, filters, &token).map_err(index.bad_terms())?;
        possible = possible.and(&with);
    }
    if let Some(open) = open.filter(|_| !possible.is_empty()) {
        let with = tokens::blocks_with_prefix(words, filters, &open).map_err(index.bad_terms())?;
        possible = possible.and(&with);
    }
    Ok(Known { possible, certain })
}

fn level(index: &Index, test: &Test) -> Result<Known> {
    let matcher = Matcher::new(&Filter::Is(Field::Level, test.clone()))?;
    let passes: Vec<bool> = Level::ALL
        .into_iter()
        .map(Some)
        .chain([None])
        .map(|level| matcher.matches(&Probe::Level(level)))
        .collect();
    let has = |e: &Entry, pass: bool| e.levels.iter().zip(&passes).any(|(n, p)| *n > 0 && *p == pass);
    Ok(Known {
        possible: of_entries(index.entries(), |e| has(e, true)),
        certain: of_entries(index.entries(), |e| !has(e, false)),
    })
}

fn time(index: &Index, test: &Test) -> Known {
    let count = index.blocks();
    let entries = index.entries();
    let parse = |text: &String| Timestamp::parse(text).ok();
    // A bound as the first or last moment that passes it; a bound that cannot be read was refused before.
    let (lower, upper) = match test {
        Test::Exists => return Known { possible: Blocks::all(count), certain: Blocks::all(count) },
        Test::Text(text) => (parse(text).map(|t| (t, true)), parse(text).map(|t| (t, true))),
        Test::Range { lower, upper } => {
            let bound =
                |b: &Option<(String, bool)>| b.as_ref().and_then(|(t, inside)| Some((parse(t)?, *inside)));
            (bound(lower), bound(upper))
        }
        _ => return Known { possible: Blocks::all(count), certain: Blocks::none(count) },
    };
    let above = |t: Timestamp| lower.is_none_or(|(l, inside)| t > l || (inside && t == l));
    let below = |t: Timestamp| upper.is_none_or(|(u, inside)| t < u || (inside && t == u));
    Known {
        possible: of_entries(entries, |e| above(e.last) && below(e.first)),
        certain: of_entries(entries, |e| above(e.first) && below(e.last)),
    }
}

fn source(index: &Index, field: &Field, test: &Test) -> Result<Known> {
    let passes = index.sources()?.matching(field, test)?;
    let of = |e: &Entry| passes.get(e.sources.start as usize..e.sources.end as usize).unwrap_or_default();
    Ok(Known {
        possible: of_entries(index.entries(), |e| of(e).contains(&true)),
        certain: of_entries(index.entries(), |e| !of(e).contains(&false)),
    })
}

/// The part of a scan's range in which a segment's records can match at all.
pub(super) fn bounds(scan: &Scan) -> TimeRange {
    scan.range.intersect(&scan.filter.time_bounds())
}
