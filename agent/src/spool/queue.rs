//! One tenant's batches that are not settled, in order, and the numbers under which they are sent. Pure.
//!
//! Ordinals are dense: every ordinal between the settled and the next belongs to one item. So the sequence of an
//! ordinal follows from how far it is from the settled one, and never changes within an epoch: whatever an
//! indexer may have of an earlier attempt, it is recognised. What is given up keeps its ordinals: a gap stands
//! for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entry::{Head, Settled};
use super::fresh::Body;
use super::gap::SOURCES_MAX;
use super::segment::{ENTRY_OVERHEAD, Place, Segment};

/// A tenant's batches.
pub(super) struct Queue {
    pub(super) settled: Settled,
    /// Whether `settled` has not changed since it was last noted on disk.
    pub(super) noted: bool,
    pub(super) next_ordinal: u64,
    /// Up to here, batches were handed out to be sent in this life; never dropped, so that what is dropped and
    /// what is stored are never the same.
    tried: u64,
    /// Up to here, an indexer may have batches: of an earlier life it is not known what was sent.
    sent: u64,
    /// From here on, batches are being dropped and are not handed out.
    held_from: Option<u64>,
    /// By their last ordinal.
    items: BTreeMap<u64, Item>,
    bytes: u64,
}

/// A batch or gap, and where it lies.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) head: Head,
    pub(super) serial: u64,
    pub(super) segment: Arc<Segment>,
    pub(super) place: Place,
    /// Its body, where that is in memory too.
    pub(super) body: Option<Arc<Body>>,
}

/// What is to be done to send on.
#[derive(Clone)]
pub(super) enum Next {
    /// Send this ordinal under this number; without an item its batch is empty.
    Send { ordinal: u64, epoch: u64, sequence: u64, item: Option<Item> },
    /// Begin this epoch at sequence 1, once what is settled is noted.
    Begin { epoch: u64 },
    /// Settle up to this ordinal and begin a new epoch: no indexer has what lies between, nor what follows.
    Skip { through: u64 },
}

impl Item {
    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.place.body_bytes() + ENTRY_OVERHEAD
    }
}

impl Queue {
    /// A tenant of which so much is settled.
    pub(super) fn new(settled: Settled, next_ordinal: u64) -> Self {
        Self {
            settled,
            noted: true,
            next_ordinal: next_ordinal.max(settled.ordinal + 1),
            tried: 0,
            sent: 0,
            held_from: None,
            items: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many batches and gaps wait.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Bytes on disk of what waits.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All that waits, oldest first.
    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }

    /// The oldest that waits.
    pub(super) fn front(&self) -> Option<&Item> {
        self.items.values().next()
    }

    /// What stands at an ordinal.
    pub(super) fn at(&self, ordinal: u64) -> Option<&Item> {
        let (_, item) = self.items.range(ordinal..).next()?;
        (item.head.first <= ordinal).then_some(item)
    }

    /// Takes an item in, in whatever order they come: gaps stand in the place of batches, wider gaps in that of
    /// narrower ones, later copies in that of earlier ones. Gives what nobody needs any more, perhaps itself.
    pub(super) fn put(&mut self, item: Item) -> Vec<Item> {
        let Head { first, last, gap, .. } = item.head;
        self.next_ordinal = self.next_ordinal.max(last + 1);
        let covers = |other: &Item| {
            let wider = other.head.first < first || other.head.last > last;
            other.head.first <= first && (wider || (other.head.gap && !gap))
        };
        let there = self.items.range(last..).next();
        if last <= self.settled.ordinal || there.is_some_and(|(_, other)| covers(other)) {
            return vec![item];
        }
        let over: Vec<u64> = self.items.range(first..=last).map(|(last, _)| *last).collect();
        let mut out = vec![];
        for last in over {
            out.extend(self.remove(last));
        }
        self.bytes += item.bytes();
        self.items.insert(last, item);
        out
    }

    fn remove(&mut self, last: u64) -> Option<Item> {
        let item = self.items.remove(&last)?;
        self.bytes = self.bytes.saturating_sub(item.bytes());
        Some(item)
    }

    /// Everything up to `through` is durable at an indexer, under its numbers. Gives what is done with.
    pub(super) fn settle(&mut self, through: u64) -> Vec<Item> {
        let through = through.min(self.next_ordinal - 1);
        let Some(count) = through.checked_sub(self.settled.ordinal).filter(|n| *n > 0) else { return vec![] };
        let Settled { epoch, sequence, .. } = self.settled;
        self.settle_as(Settled { ordinal: through, epoch, sequence: sequence + count })
    }

    /// Everything up to `settled` is done with, and the next one is sent as it says. In a new epoch no indexer
    /// has what follows.
    pub(super) fn settle_as(&mut self, settled: Settled) -> Vec<Item> {
        if settled.epoch > self.settled.epoch {
            self.sent = settled.ordinal;
        }
        self.settled = settled;
        self.noted = false;
        self.next_ordinal = self.next_ordinal.max(settled.ordinal + 1);
        let mut out = vec![];
        while let Some((&last, _)) = self.items.first_key_value()
            && last <= settled.ordinal
        {
            out.extend(self.remove(last));
        }
        out
    }

    /// Begins the epoch of the batch at the front.
    pub(super) fn begin(&mut self, epoch: u64) {
        self.settled.epoch = epoch;
        self.settled.sequence = 1;
        self.noted = false;
    }

    /// What an earlier life spooled may have been sent by it.
    pub(super) fn is_recovered(&mut self) {
        self.sent = self.next_ordinal - 1;
    }

    /// What comes after ordinal `after`, or after what is settled. Batches of two epochs are never under way at
    /// once: an indexer that saw the later one first would refuse the earlier one for ever.
    pub(super) fn next(&mut self, after: u64) -> Option<Next> {
        let Settled { ordinal: settled, epoch, sequence } = self.settled;
        let ordinal = after.max(settled) + 1;
        let (_, item) = self.items.range(ordinal..).next()?;
        if self.held_from.is_some_and(|from| from <= ordinal) {
            return None;
        }
        let is_front = ordinal == settled + 1;
        let Head { first, last, epoch: item_epoch, .. } = item.head;
        if first > ordinal {
            return is_front.then_some(Next::Skip { through: first - 1 });
        }
        if item_epoch > epoch {
            return is_front.then_some(Next::Begin { epoch: item_epoch });
        }
        if ordinal < last && (item.head.unsent || ordinal > self.sent) {
            return is_front.then_some(Next::Skip { through: last - 1 });
        }
        let item = (ordinal == last).then(|| item.clone());
        self.tried = self.tried.max(ordinal);
        self.sent = self.sent.max(ordinal);
        Some(Next::Send { ordinal, epoch, sequence: sequence + (ordinal - settled - 1), item })
    }

    /// An indexer expects `expected` next, in the epoch of now: all before it is settled. `None` if it never was
    /// sent that far.
    pub(super) fn settle_below(&mut self, expected: u64) -> Option<Vec<Item>> {
        let Some(ahead) = expected.checked_sub(self.settled.sequence) else { return Some(vec![]) };
        let through = self.settled.ordinal + ahead;
        (through <= self.tried.max(self.sent)).then(|| self.settle(through))
    }

    /// The oldest batches that were not handed out, one after the other and of one epoch, with the gap before
    /// them; about `bytes` of them, at least one. They are not handed out until [`Self::release`].
    pub(super) fn hold_oldest(&mut self, bytes: u64) -> Vec<Item> {
        let from = self.tried.max(self.settled.ordinal);
        let mut run: Vec<Item> = vec![];
        let mut found = 0;
        for item in self.items.range(from + 1..).map(|(_, item)| item) {
            let Head { gap, first, epoch, records, .. } = item.head;
            if first <= from {
                continue;
            }
            // A wide gap is left as it is: a record for each source, and the bound is on these.
            let is_wide = gap && records as usize >= SOURCES_MAX;
            if is_wide || run.first().is_some_and(|i| i.head.epoch != epoch) {
                if found > 0 {
                    break;
                }
                run.clear();
            }
            if found >= bytes && found > 0 {
                break;
            }
            if !is_wide {
                found += if gap { 0 } else { item.bytes() };
                run.push(item.clone());
            }
        }
        if found == 0 {
            return vec![];
        }
        self.held_from = run.first().map(|item| item.head.first);
        run
    }

    /// Whether no indexer can have anything from this item on. Before the last ordinal of an unsent gap is sent,
    /// those before it are settled on disk: while they are not, nothing behind them was ever sent.
    pub(super) fn is_unsent(&self, item: &Item) -> bool {
        let Head { first, last, unsent, .. } = item.head;
        first > self.sent || (unsent && first < last && first > self.settled.ordinal)
    }

    /// Whether some are being dropped.
    pub(super) fn is_held(&self) -> bool {
        self.held_from.is_some()
    }

    /// Batches are handed out again.
    pub(super) fn release(&mut self) {
        self.held_from = None;
    }

    /// Gaps for the ordinals that no item stands for. The epoch is that of what follows: if it were an earlier
    /// one, what follows would be sent under the numbers of the batches that are missing.
    pub(super) fn holes(&self) -> Vec<Head> {
        let mut expected = self.settled.ordinal + 1;
        let mut holes = vec![];
        let hole =
            |first, last, epoch, at| Head { gap: true, unsent: false, first, last, epoch, at, records: 0 };
        let (mut epoch, mut at) = (self.settled.epoch, 0);
        for Item { head, .. } in self.items.values() {
            (epoch, at) = (epoch.max(head.epoch), head.at);
            if head.first > expected {
                holes.push(hole(expected, head.first - 1, head.epoch, at));
            }
            expected = head.last + 1;
        }
        if self.next_ordinal > expected {
            holes.push(hole(expected, self.next_ordinal - 1, epoch, at));
        }
        holes
    }
}
