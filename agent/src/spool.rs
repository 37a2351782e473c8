//! A bounded queue on disk between reading and sending, which survives a crash; holds the read positions.
//!
//! A batch and the positions that it moves are one entry, synced before anything is sent: whatever is read
//! again after a crash is what no entry holds. One thread appends; others load and settle. Files are freed
//! when all in them is settled and a checkpoint holds their positions.
//!
//! **Numbers.** A tenant's batches have dense ordinals; the sequence of each within its epoch follows from its
//! ordinal and never changes, so that a batch sent again is recognised, whatever happened in between. Each life
//! of the agent spools in an epoch of its own: should the disk lose files, lines that are read again do not
//! take the numbers of others.
//!
//! **Over the budget** reading waits first, for the log files are a buffer too; when waiting was in vain, the
//! oldest batches of the tenant that has the most go ([`overrun`]). Tenants share files, because one sync is to
//! do for all of them; what still waits in a file of which much is given up moves to the newest ([`room`]).

pub(crate) mod bytes;
pub(crate) mod checkpoint;
pub(crate) mod entry;
pub(crate) mod gap;
pub(crate) mod outgoing;
pub(crate) mod positions;
pub(crate) mod segment;

mod fresh;
mod overrun;
mod queue;
mod recovery;
mod room;
mod state;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use heliograph_model::cipher::SecretKey;
use heliograph_model::codec;
use heliograph_model::source::Source;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Clock;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::config::WhenFull;
use crate::error::{Error, Result};
use crate::gather::Gathered;
use crate::metrics::Metrics;
use checkpoint::{Checkpoint, Found};
use entry::{Content, Entry, Head};
use positions::Positions;
use segment::{ENTRY_OVERHEAD, End, Segment};
use state::{Held, Replayed, State, segment_path};

/// Largest file: how much settled data may wait for the rest of its file.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;
/// Compression of what is sent: the wire is not our bottleneck, the core is.
const ZSTD_LEVEL: i32 = 1;
/// How long a disk that refuses is left alone.
const DISK_WAIT: Duration = Duration::from_secs(1);
/// About what a path and its position take in an entry.
const MOVE_BYTES: u64 = 256;

/// How much the spool may hold, and what happens then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most bytes on disk.
    pub bytes_max: u64,
    /// What happens when they are used up.
    pub when_full: WhenFull,
}

/// The queue on disk.
pub(crate) struct Spool {
    dir: PathBuf,
    key: SecretKey,
    limits: Limits,
    /// Where the agent's own words come from, about batches of which not even the sources can be read.
    own: Arc<Source>,
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

impl Spool {
    /// Opens or makes the spool; what was appended and not settled is there again.
    pub(crate) fn open(
        dir: &Path,
        key: SecretKey,
        limits: Limits,
        own: Source,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(Error::disk(dir))?;
        let path = dir.join("checkpoint");
        let (checkpoint, damage) = match Checkpoint::read(&path, &key)? {
            Found::Nothing => (Checkpoint::default(), None),
            Found::Whole(checkpoint) => (checkpoint, None),
            Found::Damaged(reason) => (Checkpoint::default(), Some(reason)),
        };
        if damage.is_some() {
            recovery::check_key(dir, &key, &path)?;
            recovery::set_aside(&path)?;
        }
        let mut state = State::from_checkpoint(checkpoint);
        let Replayed { next_serial, damaged } = state.replay(dir, &key, &metrics)?;
        let spool = Self {
            dir: dir.to_owned(),
            key,
            limits,
            own: Arc::new(own),
            disk: Mutex::new(Disk { active: None, next_serial }),
            state: Mutex::new(state),
            room: Condvar::new(),
            appended: Notify::new(),
            clock,
            metrics,
        };
        let now = spool.now_millis();
        if damage.is_some() && !damaged {
            spool.state.lock().settle_freed(now);
        }
        spool.state.lock().begin_life(now);
        let mut disk = spool.disk.lock();
        if let Some(reason) = damage {
            spool.metrics.checkpoints_damaged.inc();
            let (path, aside) = (path.display(), recovery::aside(&path));
            tracing::error!(%path, reason, aside = %aside.display(), "read positions do not read back: files are read anew as far as the spool does not tell, and lines may come twice");
            let checkpoint = spool.state.lock().checkpoint();
            spool.save_checkpoint(&checkpoint)?;
        }
        spool.fill_holes(&mut disk)?;
        spool.reclaim(&mut disk)?;
        drop(disk);
        spool.show();
        Ok(spool)
    }

    /// The present, by the clock that batches are dated with.
    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.now_millis())
    }

    fn now_millis(&self) -> u64 {
        u64::try_from(self.clock.now().as_millis()).unwrap_or_default()
    }

    /// The read positions.
    pub(crate) fn positions(&self) -> Positions {
        self.state.lock().positions.clone()
    }

    /// Appends batches in order; they are on disk when this returns. Waits for room and for a disk that
    /// refuses, until [`Self::close`]: false, and the last of them may not have been appended.
    pub(crate) fn append(&self, batches: Vec<Gathered>) -> Result<bool> {
        let mut sealed = Vec::with_capacity(batches.len());
        for batch in batches {
            let payload = codec::compress(&codec::encode(&batch.records), ZSTD_LEVEL)
                .map_err(|e| Error::Unavailable { what: "compress a batch", reason: e.to_string() })?;
            let moved = MOVE_BYTES * (batch.moves.len() as u64 + 1);
            sealed.push((batch, payload.len() as u64 + ENTRY_OVERHEAD + moved, payload));
        }
        // Room is made for a part of the budget at a time, however many wait.
        let bytes_max = self.segment_bytes_max() / 2;
        let mut rest = sealed.into_iter().peekable();
        while rest.peek().is_some() {
            let (mut group, mut needed) = (vec![], 0);
            while let Some((batch, bytes, payload)) =
                rest.next_if(|(_, bytes, _)| needed == 0 || needed + bytes <= bytes_max)
            {
                needed += bytes;
                group.push((batch, payload));
            }
            if !self.append_group(&group, needed)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn append_group(&self, group: &[(Gathered, Vec<u8>)], needed: u64) -> Result<bool> {
        let mut refused = false;
        loop {
            let written = match self.wait_for_room(needed) {
                Ok(Some(mut disk)) => self.write(&mut disk, |state| self.batches(state, group)),
                Ok(None) => return Ok(false),
                Err(error) => Err(error),
            };
            match written {
                Ok(()) => return Ok(true),
                Err(error @ Error::Disk { .. }) => {
                    if !std::mem::replace(&mut refused, true) {
                        tracing::error!(error = %error, cause = ?std::error::Error::source(&error), "spool cannot be written, reading waits");
                    }
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

    /// The entries of batches.
    fn batches(&self, state: &State, group: &[(Gathered, Vec<u8>)]) -> Vec<Entry> {
        let at = self.now_millis();
        let mut ordinals: BTreeMap<&TenantId, u64> = BTreeMap::new();
        let entries = group.iter().map(|(batch, payload)| {
            let next = ordinals
                .entry(&batch.tenant)
                .or_insert_with(|| state.tenants.get(&batch.tenant).map_or(1, |q| q.next_ordinal));
            let (first, last, epoch) = (*next, *next, state.epoch);
            *next += 1;
            let records = u32::try_from(batch.records.len()).unwrap_or(u32::MAX);
            let head = Head { gap: false, unsent: false, first, last, epoch, at, records };
            let content = Content::Batch { head, moves: batch.moves.clone(), payload: payload.clone() };
            Entry { number: 0, tenant: batch.tenant.clone(), content }
        });
        entries.collect()
    }

    /// Appends entries, behind notes of what was settled meanwhile; all or none. They hold when this returns.
    fn write(&self, disk: &mut Disk, make: impl FnOnce(&State) -> Vec<Entry>) -> Result<()> {
        let (entries, number) = {
            let state = self.state.lock();
            let unnoted = state.tenants.iter().filter(|(_, queue)| !queue.noted);
            let note = |(tenant, queue): (&TenantId, &queue::Queue)| Entry {
                number: 0,
                tenant: tenant.clone(),
                content: Content::State(queue.settled),
            };
            let mut entries: Vec<Entry> = unnoted.map(note).collect();
            entries.extend(make(&state));
            let mut number = state.number;
            for entry in &mut entries {
                number += 1;
                entry.number = number;
            }
            (entries, number)
        };
        if entries.is_empty() {
            return Ok(());
        }
        let (segment, end) = self.active(disk)?;
        let serial = disk.next_serial - 1;
        let bodies = entries.iter().map(Entry::to_bytes).collect();
        let written = segment.append(end, bodies);
        if written.is_err() {
            disk.active = None;
        }
        let (places, end) = written?;
        tracing::debug!(entries = entries.len(), serial, "spooled");
        disk.active = Some((Arc::clone(&segment), end));
        let mut state = self.state.lock();
        let state = &mut *state;
        state.number = number;
        if let Some(held) = state.segments.get_mut(&serial) {
            held.bytes = end.len;
        }
        for (entry, place) in entries.into_iter().zip(places) {
            state.take(entry, serial, &segment, place);
        }
        self.show_totals(state);
        self.appended.notify_one();
        Ok(())
    }

    /// Largest file; as much stays free to make room with.
    fn segment_bytes_max(&self) -> u64 {
        (self.limits.bytes_max / 8).clamp(16 << 10, SEGMENT_BYTES_MAX)
    }

    /// The file to append to.
    fn active(&self, disk: &mut Disk) -> Result<(Arc<Segment>, End)> {
        if let Some((segment, end)) = &disk.active
            && end.len < self.segment_bytes_max()
        {
            return Ok((Arc::clone(segment), *end));
        }
        disk.active = None;
        self.reclaim(disk)?;
        let serial = disk.next_serial;
        disk.next_serial += 1;
        let (segment, end) = Segment::create(&segment_path(&self.dir, serial), serial, &self.key)?;
        let segment = Arc::new(segment);
        self.state.lock().segments.insert(serial, Held::new(&segment, end.len));
        disk.active = Some((Arc::clone(&segment), end));
        Ok((segment, end))
    }

    fn save_checkpoint(&self, checkpoint: &Checkpoint) -> Result<()> {
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
        self.save_checkpoint(&checkpoint)
    }

    fn show_totals(&self, state: &State) {
        let batches: usize = state.tenants.values().map(queue::Queue::len).sum();
        self.metrics.spool_bytes.set(i64::try_from(state.bytes()).unwrap_or(i64::MAX));
        self.metrics.spool_batches.set(i64::try_from(batches).unwrap_or(i64::MAX));
    }

    /// Sets the figures of all tenants; to be called now and then, for ages rise by themselves.
    pub(crate) fn show(&self) {
        let now = self.now_millis();
        let state = self.state.lock();
        self.show_totals(&state);
        let age =
            |queue: &queue::Queue| queue.front().map_or(0, |item| now.saturating_sub(item.head.at) / 1000);
        for (tenant, queue) in &state.tenants {
            self.metrics.show_tenant(tenant, queue.bytes(), queue.len(), age(queue));
        }
        let oldest = state.tenants.values().map(age).max().unwrap_or(0);
        self.metrics.spool_oldest_seconds.set(i64::try_from(oldest).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests;
