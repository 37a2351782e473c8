//! A bounded queue on disk between reading and sending, which survives a crash; holds the read positions.
//!
//! A batch and the positions that it moves are one entry, synced before anything is sent: whatever is read
//! again after a crash is what no entry holds. One thread appends; others load and settle. Files are freed
//! when all in them is settled and a checkpoint holds their positions.

pub(crate) mod bytes;
pub(crate) mod checkpoint;
pub(crate) mod entry;
pub(crate) mod positions;
pub(crate) mod segment;
mod state;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use heliograph_model::cipher::SecretKey;
use heliograph_model::codec;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Clock;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::gather::Gathered;
use crate::metrics::Metrics;
use checkpoint::Checkpoint;
use entry::{Content, Entry, Settled};
use positions::Positions;
use segment::{ENTRY_OVERHEAD, End, Place, Segment};
use state::{Held, State, Waiting, segment_path};

/// Largest file: how much settled data may wait for the rest of its file.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;
/// Compression of what is sent: the wire is not our bottleneck, the core is.
const ZSTD_LEVEL: i32 = 1;
/// How often a full spool looks again whether it may go on.
const ROOM_WAIT: Duration = Duration::from_millis(200);
/// How long a disk that refuses is left alone.
const DISK_WAIT: Duration = Duration::from_secs(1);

/// The queue on disk.
pub(crate) struct Spool {
    dir: PathBuf,
    key: SecretKey,
    bytes_max: u64,
    /// Whoever changes files holds this; always taken before `state`.
    disk: Mutex<Disk>,
    state: Mutex<State>,
    /// Something was settled, or reading stops.
    room: Condvar,
    /// Something was appended.
    pub(crate) appended: Notify,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

struct Disk {
    active: Option<(Arc<Segment>, End)>,
    next_serial: u64,
}

/// A batch to send.
#[derive(Clone)]
pub(crate) struct Pending {
    /// The epoch to send it in.
    pub epoch: u64,
    /// The sequence to send it as.
    pub sequence: u64,
    segment: Arc<Segment>,
    place: Place,
}

impl Spool {
    /// Opens or makes the spool; what was appended and not settled is there again.
    pub(crate) fn open(
        dir: &Path,
        key: SecretKey,
        bytes_max: u64,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(Error::disk(dir))?;
        let now = u64::try_from(clock.now().as_millis()).unwrap_or_default().max(1);
        let checkpoint = match Checkpoint::read(&dir.join("checkpoint"), &key)? {
            Some(checkpoint) => checkpoint,
            None => {
                let checkpoint = Checkpoint { created: now, ..Checkpoint::default() };
                checkpoint.write(&dir.join("checkpoint"), &key)?;
                checkpoint
            }
        };
        let mut state = State::from_checkpoint(checkpoint);
        let next_serial = state.replay(dir, &key, &metrics)?;
        state.close_gaps(now, &metrics);
        let spool = Self {
            dir: dir.to_owned(),
            key,
            bytes_max,
            disk: Mutex::new(Disk { active: None, next_serial }),
            state: Mutex::new(state),
            room: Condvar::new(),
            appended: Notify::new(),
            clock,
            metrics,
        };
        spool.reclaim(&mut spool.disk.lock())?;
        Ok(spool)
    }

    /// The read positions.
    pub(crate) fn positions(&self) -> Positions {
        self.state.lock().positions.clone()
    }

    /// Appends batches, all or none; they are on disk when this returns. Waits for room and for a disk that
    /// refuses, until [`Self::close`]; says whether they were appended.
    pub(crate) fn append(&self, batches: Vec<Gathered>) -> Result<bool> {
        let sealed: Vec<_> = batches
            .into_iter()
            .map(|batch| {
                let payload = codec::compress(&codec::encode(&batch.records), ZSTD_LEVEL)
                    .map_err(|e| Error::Unavailable { what: "compress a batch", reason: e.to_string() })?;
                Ok((batch, payload))
            })
            .collect::<Result<_>>()?;
        let path_bytes = 256;
        let needed = sealed.iter().map(|(batch, payload)| {
            payload.len() as u64 + ENTRY_OVERHEAD + path_bytes * (batch.moves.len() as u64 + 1)
        });
        let needed = needed.sum();
        let mut refused = false;
        loop {
            let Some(mut disk) = self.wait_for_room(needed)? else { return Ok(false) };
            match self.write(&mut disk, &sealed) {
                Ok(()) => return Ok(true),
                Err(error @ Error::Disk { .. }) => {
                    if !std::mem::replace(&mut refused, true) {
                        tracing::error!(error = %error, cause = ?std::error::Error::source(&error), "spool cannot be written, reading waits");
                    }
                    disk.active = None;
                    drop(disk);
                    let mut state = self.state.lock();
                    if !state.closing {
                        self.room.wait_for(&mut state, DISK_WAIT);
                    }
                    if state.closing {
                        return Ok(false);
                    }
                }
                Err(other) => return Err(other),
            }
        }
    }

    fn write(&self, disk: &mut Disk, sealed: &[(Gathered, Vec<u8>)]) -> Result<()> {
        let (segment, end) = self.active(disk)?;
        let (entries, mut number) = self.entries(sealed);
        let bodies = entries.iter().map(Entry::to_bytes).collect();
        let (places, end) = segment.append(end, bodies)?;
        let serial = disk.next_serial - 1;
        disk.active = Some((Arc::clone(&segment), end));
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut batches = 0;
        for (entry, place) in entries.into_iter().zip(places) {
            number = number.max(entry.number);
            state.take(entry, serial, &segment, place);
            batches += 1;
        }
        tracing::debug!(entries = batches, serial, "spooled");
        state.number = number;
        if let Some(held) = state.segments.get_mut(&serial) {
            held.bytes = end.len;
        }
        self.show(state);
        self.appended.notify_one();
        Ok(())
    }

    /// The entries of batches, after notes of what was settled meanwhile.
    fn entries(&self, sealed: &[(Gathered, Vec<u8>)]) -> (Vec<Entry>, u64) {
        let mut state = self.state.lock();
        let mut number = state.number;
        let mut entries = vec![];
        for (tenant, queue) in &mut state.tenants {
            if !std::mem::replace(&mut queue.noted, true) {
                number += 1;
                let content = Content::State(queue.settled);
                entries.push(Entry { number, tenant: tenant.clone(), content });
            }
        }
        let mut ordinals: BTreeMap<&TenantId, u64> = BTreeMap::new();
        for (batch, payload) in sealed {
            number += 1;
            let next = ordinals
                .entry(&batch.tenant)
                .or_insert_with(|| state.tenants.get(&batch.tenant).map_or(1, |q| q.next_ordinal));
            let content = Content::Batch {
                ordinal: *next,
                records: u32::try_from(batch.records.len()).unwrap_or(u32::MAX),
                moves: batch.moves.clone(),
                payload: payload.clone(),
            };
            *next += 1;
            entries.push(Entry { number, tenant: batch.tenant.clone(), content });
        }
        (entries, number)
    }

    /// The file to append to.
    fn active(&self, disk: &mut Disk) -> Result<(Arc<Segment>, End)> {
        let limit = (self.bytes_max / 8).clamp(16 << 10, SEGMENT_BYTES_MAX);
        if let Some((segment, end)) = &disk.active
            && end.len < limit
        {
            return Ok((Arc::clone(segment), *end));
        }
        disk.active = None;
        self.reclaim(disk)?;
        let serial = disk.next_serial;
        disk.next_serial += 1;
        let (segment, end) = Segment::create(&segment_path(&self.dir, serial), serial, &self.key)?;
        let segment = Arc::new(segment);
        let held = Held { segment: Arc::clone(&segment), bytes: end.len, unsettled: 0 };
        self.state.lock().segments.insert(serial, held);
        disk.active = Some((Arc::clone(&segment), end));
        Ok((segment, end))
    }

    /// Waits until `needed` bytes fit; an empty spool takes anything. None once the spool closes.
    fn wait_for_room(&self, needed: u64) -> Result<Option<MutexGuard<'_, Disk>>> {
        let mut counted = false;
        loop {
            let mut disk = self.disk.lock();
            if self.has_room(needed) {
                return Ok(Some(disk));
            }
            // Settled batches of the file being written take room too.
            disk.active = None;
            self.reclaim(&mut disk)?;
            if self.has_room(needed) {
                return Ok(Some(disk));
            }
            drop(disk);
            if !std::mem::replace(&mut counted, true) {
                self.metrics.spool_full.inc();
                tracing::warn!(bytes_max = self.bytes_max, "spool is full, reading waits");
            }
            let mut state = self.state.lock();
            if state.closing {
                return Ok(None);
            }
            self.room.wait_for(&mut state, ROOM_WAIT);
        }
    }

    fn has_room(&self, needed: u64) -> bool {
        let state = self.state.lock();
        let bytes: u64 = state.segments.values().map(|h| h.bytes).sum();
        let waiting = state.segments.values().any(|h| h.unsettled > 0);
        !waiting || bytes + needed <= self.bytes_max
    }

    /// Frees the files in which all is settled, after saving what only they hold.
    fn reclaim(&self, disk: &mut Disk) -> Result<()> {
        let active = disk.active.as_ref().map(|_| disk.next_serial - 1);
        let (checkpoint, freed) = {
            let state = self.state.lock();
            let free = |(serial, held): &(&u64, &Held)| held.unsettled == 0 && Some(**serial) != active;
            let freed: Vec<u64> = state.segments.iter().filter(free).map(|(s, _)| *s).collect();
            if freed.is_empty() {
                return Ok(());
            }
            (state.checkpoint(), freed)
        };
        checkpoint.write(&self.dir.join("checkpoint"), &self.key)?;
        for serial in freed {
            let held = self.state.lock().segments.remove(&serial);
            if let Some(held) = held {
                let path = held.segment.path();
                std::fs::remove_file(path).map_err(Error::disk(path))?;
            }
        }
        self.show(&self.state.lock());
        Ok(())
    }

    /// Tenants with batches to send.
    pub(crate) fn tenants(&self) -> Vec<TenantId> {
        let state = self.state.lock();
        let waiting = state.tenants.iter().filter(|(_, q)| !q.waiting.is_empty());
        waiting.map(|(tenant, _)| tenant.clone()).collect()
    }

    /// The tenant's oldest batch that is not settled.
    pub(crate) fn first(&self, tenant: &TenantId) -> Option<Pending> {
        let state = self.state.lock();
        let queue = state.tenants.get(tenant)?;
        let waiting = queue.waiting.front()?.clone();
        let Settled { epoch, sequence, .. } = queue.settled;
        let Waiting { segment, place, .. } = waiting;
        Some(Pending { epoch, sequence, segment, place })
    }

    /// The last sequence that the tenant's waiting batches will get.
    pub(crate) fn last_sequence(&self, tenant: &TenantId) -> u64 {
        let state = self.state.lock();
        let queue = state.tenants.get(tenant);
        queue.map_or(0, |q| q.settled.sequence + q.waiting.len() as u64).saturating_sub(1)
    }

    /// A batch's body, to send, and how many records it has.
    pub(crate) fn load(&self, pending: &Pending) -> Result<(Vec<u8>, u32)> {
        let body = pending.segment.load(pending.place)?;
        match Entry::from_bytes(&body).map(|e| e.content) {
            Ok(Content::Batch { payload, records, .. }) => Ok((payload, records)),
            _ => Err(Error::Corrupt {
                path: pending.segment.path().to_owned(),
                reason: "an entry is malformed".to_owned(),
            }),
        }
    }

    /// The tenant's oldest `count` batches are acknowledged: they take `count` sequences.
    pub(crate) fn acknowledge(&self, tenant: &TenantId, count: u64) -> Result<()> {
        self.settle(tenant, count, count)
    }

    /// The tenant's oldest batch will never be sent: the next one takes its sequence.
    pub(crate) fn set_aside(&self, tenant: &TenantId) -> Result<()> {
        self.settle(tenant, 1, 0)
    }

    fn settle(&self, tenant: &TenantId, count: u64, sequences: u64) -> Result<()> {
        let free = {
            let mut state = self.state.lock();
            let state = &mut *state;
            let Some(queue) = state.tenants.get_mut(tenant) else { return Ok(()) };
            queue.settled.sequence += sequences;
            let mut free = false;
            for _ in 0..count {
                let Some(done) = queue.waiting.pop_front() else { break };
                queue.settled.ordinal = done.ordinal;
                queue.noted = false;
                if let Some(held) = state.segments.get_mut(&done.serial) {
                    held.unsettled = held.unsettled.saturating_sub(1);
                    free |= held.unsettled == 0;
                }
            }
            self.show(state);
            free
        };
        self.room.notify_all();
        // While the thread that appends has the disk, it frees what is to be freed itself.
        if free && let Some(mut disk) = self.disk.try_lock() {
            self.reclaim(&mut disk)?;
        }
        Ok(())
    }

    /// The indexer does not know what came before: the tenant's batches are sent in a new epoch, `epoch_min` at
    /// least, from 1.
    pub(crate) fn renew(&self, tenant: &TenantId, epoch_min: u64) -> Result<()> {
        let _disk = self.disk.lock();
        let now = u64::try_from(self.clock.now().as_millis()).unwrap_or_default();
        let checkpoint = {
            let mut state = self.state.lock();
            if let Some(queue) = state.tenants.get_mut(tenant) {
                queue.settled.epoch = now.max(queue.settled.epoch + 1).max(epoch_min);
                queue.settled.sequence = 1;
                queue.noted = false;
            }
            state.checkpoint()
        };
        checkpoint.write(&self.dir.join("checkpoint"), &self.key)
    }

    /// Lets waiting appends give up.
    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.room.notify_all();
    }

    /// Saves what is settled, so that nothing is sent again after an orderly stop.
    pub(crate) fn save(&self) -> Result<()> {
        let mut disk = self.disk.lock();
        disk.active = None;
        self.reclaim(&mut disk)?;
        let checkpoint = self.state.lock().checkpoint();
        checkpoint.write(&self.dir.join("checkpoint"), &self.key)
    }

    fn show(&self, state: &State) {
        let bytes: u64 = state.segments.values().map(|h| h.bytes).sum();
        let batches: usize = state.tenants.values().map(|q| q.waiting.len()).sum();
        self.metrics.spool_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.metrics.spool_batches.set(i64::try_from(batches).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests;
