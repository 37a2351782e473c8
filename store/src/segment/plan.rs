//! How a scan goes through a segment: which blocks it looks into, in which order, and what of each it reads.
//! What the directory knows by itself is answered here, and those blocks are not read.

use heliograph_model::filter::{Field, Filter};
use heliograph_model::record::RecordKey;
use heliograph_model::scan::{Collector, CommitId, Order, Scan, Want};
use heliograph_model::source::{Position, SourceId};
use heliograph_model::time::TimeRange;

use super::answer;
use super::bitset::BitSet;
use super::block::Needs;
use super::directory::{Entry, Group};
use super::fields;
use super::prune::{self, of_entries};
use super::reader::{Index, Kind};
use super::row_lists::RowLists;
use super::verdict::Known;
use crate::error::Result;

/// What of a block a scan must read.
#[derive(Clone, Copy, Debug, Default)]
struct Reads {
    columns: Needs,
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
        let needs = match field {
            Field::Message => {
                reads.messages = true;
                Needs::MESSAGES
            }
            Field::Attribute(_) => {
                reads.attributes = true;
                Needs::ATTRIBUTES
            }
            Field::Level => Needs::LEVELS,
            Field::Timestamp => Needs::TIMES,
            field => fields::slot(field).map_or(Needs::SOURCES, Needs::field),
        };
        reads.columns = reads.columns.and(needs);
    }

    fn of_want(want: &Want) -> Self {
        let mut reads = Self::default();
        match want {
            Want::Records { .. } | Want::Around { .. } => {
                let columns = Needs::TIMES.and(Needs::SOURCES);
                reads = Self { columns, order: true, messages: true, attributes: true };
            }
            Want::Values { field } => Self::of_field(field, &mut reads),
            Want::Fields => Self::of_field(&Field::Attribute("".into()), &mut reads),
            Want::Histogram { by_level, .. } => {
                reads.columns = Needs::TIMES;
                if *by_level {
                    reads.columns = reads.columns.and(Needs::LEVELS);
                }
            }
        }
        reads
    }
}

/// How a scan goes through a segment.
pub(super) struct Plan {
    /// Blocks to look into, the most promising first.
    pub(super) blocks: Vec<u32>,
    /// What is known of the filter's conditions.
    pub(super) conditions: Vec<Known>,
    /// Blocks in which the filter must see messages, and those in which it must see attributes.
    undecided: [BitSet; 2],
    certain: BitSet,
    want: Reads,
    filter: Reads,
    commits: Commits,
}

/// The commits that a scan means: those after the first and up to the second, where given.
#[derive(Clone, Copy, Debug)]
struct Commits {
    after: Option<CommitId>,
    through: Option<CommitId>,
}

impl Commits {
    const fn of(scan: &Scan) -> Self {
        Self { after: scan.committed_after, through: scan.committed_through }
    }

    const fn are_all(self) -> bool {
        self.after.is_none() && self.through.is_none()
    }

    /// Whether a block may have a record of them.
    fn touch(self, entry: &Entry) -> bool {
        self.after.is_none_or(|after| entry.commit_last > after.0)
            && self.through.is_none_or(|through| entry.commit_first <= through.0)
    }

    /// Whether a block has no records but theirs.
    fn hold_all(self, entry: &Entry) -> bool {
        self.after.is_none_or(|after| entry.commit_first > after.0)
            && self.through.is_none_or(|through| entry.commit_last <= through.0)
    }
}

impl Plan {
    /// Plans a scan, and gives the collector what the directory and the lists at hand know by themselves.
    pub(super) fn new(
        index: &Index,
        scan: &Scan,
        lists: &RowLists,
        collector: &mut Collector,
    ) -> Result<Self> {
        let count = index.blocks();
        let commits = Commits::of(scan);
        let entries = index.entries();
        let outer = prune::Known {
            possible: of_entries(entries, |e| scan.range.touches(e.first, e.last) && commits.touch(e)),
            certain: of_entries(entries, |e| {
                scan.range.contains(e.first) && scan.range.contains(e.last) && commits.hold_all(e)
            }),
        };
        let inside = outer.certain.clone();
        let mut conditions = Vec::new();
        // What the range rules out already needs no look into the index.
        let known = if outer.possible.is_empty() {
            outer
        } else {
            prune::known((index, lists), &scan.filter, &mut conditions)?.and(&outer)
        };
        let undecided = |of: Kind| {
            conditions.iter().fold(BitSet::none(count), |all, condition| match condition {
                Known::Text { kind, undecided, .. } if *kind == of => all.or(undecided),
                _ => all,
            })
        };
        let undecided = [undecided(Kind::Messages), undecided(Kind::Attributes)];
        let mut possible = known.possible;
        if let Want::Around { key, .. } = &scan.want {
            let of_id = index.sources()?.of_id(key.source);
            possible = possible
                .and(&of_entries(entries, |e| e.sources.start < of_id.end && of_id.start < e.sources.end));
        }
        let single = match (&scan.filter, conditions.as_slice()) {
            (Filter::Is(..), [condition]) => Some(condition),
            _ => None,
        };
        let known_blocks = answer::Blocks { possible: &possible, certain: &known.certain, inside: &inside };
        let open = answer::answer(index, &scan.want, &known_blocks, single, collector)?;
        let mut filter = Reads::default();
        Reads::of_filter(&scan.filter, &mut filter);
        let mut blocks: Vec<u32> = open.iter().filter(|b| *b < count).collect();
        order(&mut blocks, index, &scan.want);
        Ok(Self {
            blocks,
            conditions,
            undecided,
            certain: known.certain,
            want: Reads::of_want(&scan.want),
            filter,
            commits,
        })
    }

    /// Whether every record of the block is meant.
    pub(super) fn is_certain(&self, block: u32) -> bool {
        self.certain.contains(block)
    }

    /// Whether the commit of each record of the block must be looked at.
    pub(super) fn checks_commits(&self, entry: &Entry) -> bool {
        !self.commits.hold_all(entry)
    }

    /// Whether the filter must see a group of the block's columns.
    pub(super) fn filters_by(&self, block: u32, group: Group) -> bool {
        !self.is_certain(block)
            && match group {
                Group::Columns => true,
                Group::Order => false,
                Group::Messages => self.filter.messages && self.undecided[0].contains(block),
                Group::Attributes => self.filter.attributes && self.undecided[1].contains(block),
            }
    }

    /// Which columns are needed to choose a block's records, and to count them.
    pub(super) fn columns(&self, block: u32) -> Needs {
        let range =
            if self.is_certain(block) { Needs::default() } else { Needs::TIMES.and(self.filter.columns) };
        // The order page stands on the times.
        let order = if self.commits.are_all() { Needs::default() } else { Needs::TIMES };
        self.want.columns.and(range).and(order)
    }

    /// Whether a group of the block's columns is needed.
    pub(super) fn reads(&self, block: u32, entry: &Entry, group: Group) -> bool {
        let wanted = match group {
            Group::Columns => true,
            Group::Order => self.want.order || self.checks_commits(entry),
            Group::Messages => self.want.messages,
            Group::Attributes => self.want.attributes,
        };
        (wanted || self.filters_by(block, group)) && !entry.page(group).is_none()
    }
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

/// The part of a scan's range in which a segment's records can match at all.
pub(super) fn bounds(scan: &Scan) -> TimeRange {
    scan.range.intersect(&scan.filter.time_bounds())
}
