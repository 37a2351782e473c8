//! What the spool knows in memory: which batches wait, which files hold them, and how it is made again from
//! the files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heliograph_model::cipher::SecretKey;
use heliograph_model::tenant::TenantId;

use super::checkpoint::Checkpoint;
use super::entry::{Content, Entry, Settled};
use super::fresh::Fresh;
use super::positions::Positions;
use super::queue::{Item, Queue};
use super::segment::{Place, Segment, is_begun};
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// All that is known.
pub(super) struct State {
    /// The number of the latest entry.
    pub(super) number: u64,
    /// The epoch of this life: higher than any before, so that whatever the files lack, no number is used twice.
    pub(super) epoch: u64,
    pub(super) positions: Positions,
    pub(super) tenants: BTreeMap<TenantId, Queue>,
    pub(super) segments: BTreeMap<u64, Held>,
    /// Bodies in memory; none before this life begins.
    fresh: Option<Fresh>,
    pub(super) closing: bool,
    /// Waiting for room was in vain: batches are dropped until there is plenty again.
    pub(super) overrun: bool,
}

/// What came of reading all files.
pub(super) struct Replayed {
    /// The serial of the next file.
    pub(super) next_serial: u64,
    /// Whether something in the middle did not read back.
    pub(super) damaged: bool,
}

/// A file of the spool.
pub(super) struct Held {
    pub(super) segment: Arc<Segment>,
    pub(super) bytes: u64,
    /// Batches in it that are not settled …
    pub(super) waiting: u64,
    /// … and their bytes.
    pub(super) live: u64,
}

impl Held {
    /// A new file.
    pub(super) fn new(segment: &Arc<Segment>, bytes: u64) -> Self {
        Self { segment: Arc::clone(segment), bytes, waiting: 0, live: 0 }
    }
}

impl State {
    pub(super) fn from_checkpoint(checkpoint: Checkpoint) -> Self {
        let Checkpoint { number, epoch, positions, tenants } = checkpoint;
        let queue = |(settled, next_ordinal)| Queue::new(settled, next_ordinal);
        let tenants = tenants.into_iter().map(|(tenant, saved)| (tenant, queue(saved))).collect();
        Self {
            number,
            epoch,
            positions,
            tenants,
            segments: BTreeMap::new(),
            fresh: None,
            closing: false,
            overrun: false,
        }
    }

    pub(super) fn checkpoint(&self) -> Checkpoint {
        let tenants = self.tenants.iter();
        Checkpoint {
            number: self.number,
            epoch: self.epoch,
            positions: self.positions.clone(),
            tenants: tenants.map(|(t, q)| (t.clone(), (q.settled, q.next_ordinal))).collect(),
        }
    }

    /// Reads all files in order.
    pub(super) fn replay(&mut self, dir: &Path, key: &SecretKey, metrics: &Metrics) -> Result<Replayed> {
        let mut replayed = Replayed { next_serial: 0, damaged: false };
        let through = self.number;
        let mut torn = false;
        for (serial, path) in segment_files(dir)? {
            replayed.next_serial = serial + 1;
            // Only the newest file may have a torn end.
            replayed.damaged |= std::mem::take(&mut torn);
            let bytes = std::fs::metadata(&path).map_err(Error::disk(&path))?.len();
            let Some(segment) = Segment::open(&path, key)? else {
                if is_begun(bytes) {
                    tracing::warn!(path = %path.display(), "spool file that was only begun removed");
                } else {
                    replayed.damaged = true;
                    metrics.spool_corrupt.inc();
                    tracing::error!(path = %path.display(), bytes, "spool file without a whole header removed, all in it is lost");
                }
                std::fs::remove_file(&path).map_err(Error::disk(&path))?;
                continue;
            };
            let segment = Arc::new(segment);
            self.segments.insert(serial, Held::new(&segment, bytes));
            let mut malformed = 0;
            let damage = segment.replay(|place, body| match Entry::from_bytes(body) {
                Ok(entry) => {
                    let number = entry.number;
                    self.take_replayed(entry, through, serial, &segment, place);
                    self.number = self.number.max(number);
                }
                Err(_) => malformed += 1,
            })?;
            if damage.torn_bytes > 0 {
                torn = true;
                tracing::warn!(path = %path.display(), bytes = damage.torn_bytes, "torn end of a spool file cut off");
                if let Some(held) = self.segments.get_mut(&serial) {
                    held.bytes = held.bytes.saturating_sub(damage.torn_bytes);
                }
            }
            if damage.spoilt + malformed > 0 {
                replayed.damaged = true;
                metrics.spool_corrupt.inc_by(damage.spoilt + malformed);
                tracing::error!(path = %path.display(), places = damage.spoilt + malformed, "spool entries do not read back and are passed over");
            }
        }
        Ok(replayed)
    }

    /// The latest epoch that anything has.
    pub(super) fn latest_epoch(&self) -> u64 {
        let queues = self.tenants.values();
        let epochs = queues.flat_map(|q| q.items().map(|i| i.head.epoch).chain([q.settled.epoch]));
        epochs.fold(self.epoch, u64::max)
    }

    /// Begins a life: whatever was spooled before may have been sent before.
    pub(super) fn begin_life(&mut self, now_millis: u64) {
        self.epoch = now_millis.max(self.latest_epoch() + 1);
        self.tenants.values_mut().for_each(Queue::is_recovered);
        self.fresh = Some(Fresh::default());
    }

    /// An entry read back: what the checkpoint has already is not applied again.
    fn take_replayed(
        &mut self,
        entry: Entry,
        through: u64,
        serial: u64,
        segment: &Arc<Segment>,
        place: Place,
    ) {
        let content = match entry.content {
            Content::Batch { head, payload, .. } if entry.number <= through => {
                Content::Batch { head, moves: vec![], payload }
            }
            Content::State(_) if entry.number <= through => return,
            content => content,
        };
        self.take(Entry { content, ..entry }, serial, segment, place);
    }

    /// An entry that is on disk holds from now on.
    pub(super) fn take(&mut self, entry: Entry, serial: u64, segment: &Arc<Segment>, place: Place) {
        match entry.content {
            Content::Batch { head, moves, payload } => {
                moves.iter().for_each(|change| self.positions.apply(change));
                let body = self.fresh.as_ref().and_then(|fresh| fresh.keep(payload));
                let item = Item { head, serial, segment: Arc::clone(segment), place, body };
                if let Some(held) = self.segments.get_mut(&serial) {
                    held.waiting += 1;
                    held.live += item.bytes();
                }
                let unneeded = self.queue(&entry.tenant, head.epoch).put(item);
                self.let_go(unneeded);
            }
            Content::State(settled) => {
                let queue = self.queue(&entry.tenant, settled.epoch);
                let newer = |s: &Settled| (s.epoch, s.ordinal);
                if newer(&settled) > newer(&queue.settled) {
                    let done = queue.settle_as(settled);
                    self.let_go(done);
                }
                // What is on disk may be older than what is settled by now.
                if let Some(queue) = self.tenants.get_mut(&entry.tenant) {
                    queue.noted = queue.settled == settled;
                }
            }
        }
    }

    /// Items that nobody needs any more; says whether a file but the newest holds nothing else now.
    pub(super) fn let_go(&mut self, items: Vec<Item>) -> bool {
        let newest = self.segments.last_key_value().map(|(serial, _)| *serial);
        let mut free = false;
        for item in items {
            if let Some(held) = self.segments.get_mut(&item.serial) {
                held.waiting = held.waiting.saturating_sub(1);
                held.live = held.live.saturating_sub(item.bytes());
                free |= held.waiting == 0 && Some(item.serial) != newest;
            }
        }
        free
    }

    /// A tenant's queue; one not seen before begins with `epoch`.
    fn queue(&mut self, tenant: &TenantId, epoch: u64) -> &mut Queue {
        let settled = Settled { ordinal: 0, epoch, sequence: 1 };
        self.tenants.entry(tenant.clone()).or_insert_with(|| Queue::new(settled, 1))
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.values().map(|held| held.bytes).sum()
    }
}

pub(super) fn segment_path(dir: &Path, serial: u64) -> PathBuf {
    dir.join(format!("{serial:016x}.spool"))
}

/// The spool's files by serial.
pub(super) fn segment_files(dir: &Path) -> Result<BTreeMap<u64, PathBuf>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(Error::disk(dir))? {
        let path = entry.map_err(Error::disk(dir))?.path();
        let serial = path
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.strip_suffix(".spool"))
            .and_then(|n| u64::from_str_radix(n, 16).ok());
        if let Some(serial) = serial {
            files.insert(serial, path);
        }
    }
    Ok(files)
}
