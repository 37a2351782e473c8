//! The sender's side of the spool: what to send next, and what became of it.

use bytes::Bytes;
use heliograph_model::tenant::TenantId;

use super::entry::Settled;
use super::overrun::empty_payload;
use super::queue::{Item, Next};
use super::{Spool, queue::Queue};
use crate::error::Result;

/// So many batches of a tenant that wait are more than its sender has under way, by far.
const BEHIND_BATCHES: usize = 16;

/// A batch to send.
#[derive(Clone)]
pub(crate) struct Pending {
    /// Its place among the tenant's.
    pub ordinal: u64,
    /// The epoch to send it in.
    pub epoch: u64,
    /// The sequence to send it as.
    pub sequence: u64,
    /// The sequence of the oldest batch that was not settled when this was handed out.
    pub front: u64,
    /// About how many bytes its body has.
    pub bytes: u64,
    /// How many records; 0 for an ordinal within a gap.
    pub records: u32,
    item: Option<Item>,
}

/// What is next of a tenant.
enum Look {
    /// This batch, or none.
    AtHand(Option<Pending>),
    /// A note on disk of what is settled.
    Note,
    /// To settle up to here, on disk.
    Skip(Settled),
}

impl Pending {
    /// Its body, where that is still in memory.
    pub(crate) fn body(&self) -> Option<Bytes> {
        Some(self.item.as_ref()?.body.as_ref()?.bytes())
    }
}

impl Spool {
    /// Tenants with batches to send.
    pub(crate) fn tenants(&self) -> Vec<TenantId> {
        let state = self.state.lock();
        let waiting = state.tenants.iter().filter(|(_, q)| !q.is_empty());
        waiting.map(|(tenant, _)| tenant.clone()).collect()
    }

    /// Whether a tenant's batches pile up.
    pub(crate) fn is_behind(&self, tenant: &TenantId) -> bool {
        self.state.lock().tenants.get(tenant).is_some_and(|queue| queue.len() >= BEHIND_BATCHES)
    }

    /// Up to where a tenant with waiting batches is settled.
    pub(crate) fn front(&self, tenant: &TenantId) -> Option<Settled> {
        let state = self.state.lock();
        state.tenants.get(tenant).filter(|queue| !queue.is_empty()).map(|queue| queue.settled)
    }

    /// Whether the tenant's batches are being dropped just now, so that none is handed out.
    pub(crate) fn is_held(&self, tenant: &TenantId) -> bool {
        self.state.lock().tenants.get(tenant).is_some_and(Queue::is_held)
    }

    /// The tenant's batch after ordinal `after`, or after what is settled: 0 for its oldest. One task at a time
    /// sends a tenant's batches. None where there is none, or none that may be sent before those under way are
    /// settled. May write to the disk.
    pub(crate) fn next(&self, tenant: &TenantId, after: u64) -> Result<Option<Pending>> {
        loop {
            match self.look(tenant, after) {
                Look::AtHand(pending) => return Ok(pending),
                Look::Note => self.write(&mut self.disk.lock(), |_| vec![])?,
                Look::Skip(settled) => self.settle_as(&mut self.disk.lock(), tenant, settled)?,
            }
        }
    }

    /// The same where that takes no work on the disk, as nearly always.
    pub(crate) fn next_at_hand(&self, tenant: &TenantId, after: u64) -> Option<Option<Pending>> {
        match self.look(tenant, after) {
            Look::AtHand(pending) => Some(pending),
            Look::Note | Look::Skip(_) => None,
        }
    }

    fn look(&self, tenant: &TenantId, after: u64) -> Look {
        let mut state = self.state.lock();
        let Some(queue) = state.tenants.get_mut(tenant) else { return Look::AtHand(None) };
        loop {
            match queue.next(after) {
                None => return Look::AtHand(None),
                Some(Next::Send { ordinal, epoch, sequence, item }) => {
                    return Look::AtHand(Some(Pending {
                        ordinal,
                        epoch,
                        sequence,
                        front: queue.settled.sequence,
                        bytes: item.as_ref().map_or(0, Item::bytes),
                        records: item.as_ref().map_or(0, |item| item.head.records),
                        item,
                    }));
                }
                // What was settled under the numbers of an epoch must be known to a later life before an
                // indexer sees a higher one: then it refuses the lower.
                Some(Next::Begin { .. }) if !queue.noted => return Look::Note,
                Some(Next::Begin { epoch }) => queue.begin(epoch),
                Some(Next::Skip { through }) => {
                    let epoch = self.now_millis().max(queue.settled.epoch + 1);
                    return Look::Skip(Settled { ordinal: through, epoch, sequence: 1 });
                }
            }
        }
    }

    /// A batch's body, to send, read from the disk.
    pub(crate) fn load(&self, pending: &Pending) -> Result<Vec<u8>> {
        pending.item.as_ref().map_or_else(empty_payload, |item| self.read(item))
    }

    /// An indexer has the tenant's batches up to an ordinal, under the numbers that they were handed out with.
    /// Says whether there are files to be freed by [`Self::free`].
    pub(crate) fn acknowledge(&self, tenant: &TenantId, through: u64) -> bool {
        self.settle(tenant, |queue| Some(queue.settle(through))).is_some_and(|freed| freed)
    }

    /// An indexer expects this sequence of the tenant's present epoch: it has all before. False if that was
    /// never sent.
    pub(crate) fn acknowledge_below(&self, tenant: &TenantId, expected: u64) -> Result<bool> {
        match self.settle(tenant, |queue| queue.settle_below(expected)) {
            Some(true) => self.free().map(|()| true),
            settled => Ok(settled.is_some()),
        }
    }

    /// What is settled is let go; says whether files can be freed. None where nothing was settled.
    fn settle(
        &self,
        tenant: &TenantId,
        settle: impl FnOnce(&mut Queue) -> Option<Vec<Item>>,
    ) -> Option<bool> {
        let free = {
            let mut state = self.state.lock();
            let done = settle(state.tenants.get_mut(tenant)?)?;
            let free = state.let_go(done);
            self.show_totals(&state);
            free
        };
        self.room.notify_all();
        Some(free)
    }

    /// Frees the files in which all is settled.
    pub(crate) fn free(&self) -> Result<()> {
        // While the thread that appends has the disk, it frees what is to be freed itself.
        self.disk.try_lock().map_or(Ok(()), |mut disk| self.reclaim(&mut disk))
    }

    /// The indexer does not know what came before: the tenant's batches are sent in a new epoch, `epoch_min` at
    /// least, from 1. Nothing of the tenant may be under way.
    pub(crate) fn renew(&self, tenant: &TenantId, epoch_min: u64) -> Result<()> {
        let mut disk = self.disk.lock();
        let settled = self.state.lock().tenants.get(tenant).map(|queue| queue.settled);
        let Some(Settled { ordinal, epoch, .. }) = settled else { return Ok(()) };
        let epoch = self.now_millis().max(epoch + 1).max(epoch_min);
        self.settle_as(&mut disk, tenant, Settled { ordinal, epoch, sequence: 1 })
    }
}
