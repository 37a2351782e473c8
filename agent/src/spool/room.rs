//! Room in the spool: waiting for it, freeing files, and moving what still waits out of files that hold little
//! else.

use std::time::{Duration, Instant};

use heliograph_model::tenant::TenantId;
use parking_lot::MutexGuard;

use super::entry::{Content, Entry};
use super::gap::Reason;
use super::queue::Item;
use super::state::Held;
use super::{Disk, Spool};
use crate::config::WhenFull;
use crate::error::{Error, Result};
use crate::fault;

/// How often a full spool looks again whether it may go on.
const ROOM_WAIT: Duration = Duration::from_millis(200);
/// Bytes that are moved with one sync.
const MOVED_BYTES_MAX: u64 = 1 << 20;

impl Spool {
    /// Waits until `needed` bytes fit; an empty spool takes anything. None once the spool closes.
    ///
    /// Waiting comes first: most of what fills a spool ends within seconds (an indexer that starts anew, a rate
    /// limit), and until files are rotated away nothing is lost by not reading them. But whoever waits does not
    /// see new files, for no tenant; how near a file is to being rotated away cannot be seen from here, and
    /// dropped lines are counted while rotated ones may not be. So the wait is bounded by time, and once it was
    /// in vain there is none until there is plenty of room again.
    pub(super) fn wait_for_room(&self, needed: u64) -> Result<Option<MutexGuard<'_, Disk>>> {
        let mut since = None;
        loop {
            let mut disk = self.disk.lock();
            if self.make_room(&mut disk, needed, since)? {
                return Ok(Some(disk));
            }
            drop(disk);
            if since.is_none() {
                self.metrics.spool_full.inc();
                tracing::warn!(bytes_max = self.limits.bytes_max, "spool is full, reading waits");
            }
            since.get_or_insert_with(Instant::now);
            let mut state = self.state.lock();
            if state.closing {
                return Ok(None);
            }
            self.room.wait_for(&mut state, ROOM_WAIT);
        }
    }

    fn make_room(&self, disk: &mut Disk, needed: u64, waiting_since: Option<Instant>) -> Result<bool> {
        if self.has_room(needed) {
            return Ok(true);
        }
        // Settled batches of the file being written take room too.
        disk.active = None;
        self.reclaim(disk)?;
        while !self.has_room(needed) {
            // A file of which half is of no use is worth moving the rest. If many have a little of that, the
            // best of them is: else more would be dropped than must be.
            if self.compact(disk, 2)? || (self.is_littered() && self.compact(disk, 16)?) {
                continue;
            }
            if !self.may_drop(waiting_since) {
                return Ok(false);
            }
            if !self.drop_oldest(disk)? && !self.compact(disk, 16)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn may_drop(&self, waiting_since: Option<Instant>) -> bool {
        let WhenFull::DropOldest { patience } = self.limits.when_full else { return false };
        let mut state = self.state.lock();
        let in_vain = patience.is_zero() || waiting_since.is_some_and(|since| since.elapsed() >= patience);
        if in_vain && !std::mem::replace(&mut state.overrun, true) {
            tracing::error!("spool stays full, the oldest batches of the largest tenants are dropped");
        }
        state.overrun
    }

    fn has_room(&self, needed: u64) -> bool {
        let state = self.state.lock();
        let waiting = state.segments.values().any(|h| h.waiting > 0);
        !waiting || state.bytes() + needed + self.segment_bytes_max() <= self.limits.bytes_max
    }

    fn is_littered(&self) -> bool {
        let state = self.state.lock();
        let live: u64 = state.segments.values().map(|h| h.live).sum();
        (state.bytes() - live.min(state.bytes())) * 8 > self.limits.bytes_max
    }

    /// Frees the files in which all is settled, after saving what only they hold.
    pub(super) fn reclaim(&self, disk: &mut Disk) -> Result<()> {
        let active = disk.active.as_ref().map(|_| disk.next_serial - 1);
        let (checkpoint, freed) = {
            let state = self.state.lock();
            let free = |(serial, held): &(&u64, &Held)| held.waiting == 0 && Some(**serial) != active;
            let freed: Vec<u64> = state.segments.iter().filter(free).map(|(s, _)| *s).collect();
            if freed.is_empty() {
                return Ok(());
            }
            (state.checkpoint(), freed)
        };
        self.save_checkpoint(&checkpoint)?;
        for serial in freed {
            let held = self.state.lock().segments.remove(&serial);
            if let Some(held) = held {
                let path = held.segment.path();
                fault::step().and_then(|()| std::fs::remove_file(path)).map_err(Error::disk(path))?;
            }
        }
        let mut state = self.state.lock();
        if state.overrun && state.bytes() <= self.limits.bytes_max / 4 * 3 {
            state.overrun = false;
            tracing::info!("spool has room again, reading waits for it from now on");
        }
        self.show_totals(&state);
        Ok(())
    }

    /// Moves what waits in the file that holds the most else to the newest file, and frees it; says whether
    /// there was a file of which at least one part in `parts` is of no use.
    fn compact(&self, disk: &mut Disk, parts: u64) -> Result<bool> {
        let Some(serial) = self.most_littered(disk, parts) else { return Ok(false) };
        let moved: Vec<(TenantId, Item)> = {
            let state = self.state.lock();
            let of_tenants = state.tenants.iter();
            let of_tenants =
                of_tenants.flat_map(|(tenant, queue)| queue.items().map(move |item| (tenant, item)));
            let in_file = of_tenants.filter(|(_, item)| item.serial == serial);
            in_file.map(|(tenant, item)| (tenant.clone(), item.clone())).collect()
        };
        let mut rest = moved.iter().peekable();
        while rest.peek().is_some() {
            let (mut copies, mut bytes) = (vec![], 0);
            while let Some((tenant, item)) = rest.next_if(|_| bytes < MOVED_BYTES_MAX) {
                bytes += item.bytes();
                let content = match self.read(item) {
                    // Its positions are saved before its file is freed, and must not be taken for new ones.
                    Ok(payload) => Content::Batch { head: item.head, moves: vec![], payload },
                    Err(Error::Corrupt { .. }) => {
                        self.gap(std::slice::from_ref(item), Reason::Corrupt, item.head.unsent)?.0
                    }
                    Err(error) => return Err(error),
                };
                copies.push(Entry { number: 0, tenant: tenant.clone(), content });
            }
            self.write(disk, |_| copies)?;
        }
        tracing::debug!(serial, batches = moved.len(), "spool file moved");
        self.reclaim(disk)?;
        Ok(true)
    }

    fn most_littered(&self, disk: &Disk, parts: u64) -> Option<u64> {
        let state = self.state.lock();
        let active = disk.active.as_ref().map(|_| disk.next_serial - 1);
        let bytes = state.bytes();
        let fits = |held: &Held| bytes + held.live <= self.limits.bytes_max;
        let candidates = state.segments.iter().filter(|(serial, held)| {
            let litter = held.bytes.saturating_sub(held.live);
            Some(**serial) != active && held.waiting > 0 && litter * parts >= held.bytes && fits(held)
        });
        // The least that is to be moved for each byte, in thousandths.
        let best = candidates.min_by_key(|(_, held)| held.live * 1000 / held.bytes.max(1));
        best.map(|(serial, _)| *serial)
    }
}
