//! What the spool knows in memory: which batches wait, which files hold them, and how it is made again from
//! the files.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heliograph_model::cipher::SecretKey;
use heliograph_model::tenant::TenantId;

use super::checkpoint::Checkpoint;
use super::entry::{Content, Entry, Settled};
use super::positions::Positions;
use super::segment::{Place, Segment};
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// All that is known.
pub(super) struct State {
    pub(super) number: u64,
    pub(super) positions: Positions,
    pub(super) tenants: BTreeMap<TenantId, Queue>,
    pub(super) segments: BTreeMap<u64, Held>,
    pub(super) created: u64,
    pub(super) closing: bool,
}

/// A file of the spool.
pub(super) struct Held {
    pub(super) segment: Arc<Segment>,
    pub(super) bytes: u64,
    pub(super) unsettled: u64,
}

/// A tenant's batches.
pub(super) struct Queue {
    pub(super) settled: Settled,
    /// Whether `settled` has changed since it was last noted on disk.
    pub(super) noted: bool,
    pub(super) next_ordinal: u64,
    pub(super) waiting: VecDeque<Waiting>,
}

#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) ordinal: u64,
    pub(super) serial: u64,
    pub(super) segment: Arc<Segment>,
    pub(super) place: Place,
}

impl State {
    pub(super) fn from_checkpoint(checkpoint: Checkpoint) -> Self {
        let Checkpoint { number, created, positions, tenants } = checkpoint;
        let queue =
            |(settled, next_ordinal)| Queue { settled, noted: true, next_ordinal, waiting: VecDeque::new() };
        let tenants = tenants.into_iter().map(|(tenant, saved)| (tenant, queue(saved))).collect();
        Self { number, positions, tenants, segments: BTreeMap::new(), created, closing: false }
    }

    pub(super) fn checkpoint(&self) -> Checkpoint {
        let tenants = self.tenants.iter();
        Checkpoint {
            number: self.number,
            created: self.created,
            positions: self.positions.clone(),
            tenants: tenants.map(|(t, q)| (t.clone(), (q.settled, q.next_ordinal))).collect(),
        }
    }

    /// Reads all files in order. Gives the serial of the next one.
    pub(super) fn replay(&mut self, dir: &Path, key: &SecretKey, metrics: &Metrics) -> Result<u64> {
        let mut next_serial = 0;
        let through = self.number;
        for (serial, path) in segment_files(dir)? {
            next_serial = serial + 1;
            let Some(segment) = Segment::open(&path, key)? else {
                tracing::warn!(path = %path.display(), "spool file without a whole header removed");
                std::fs::remove_file(&path).map_err(Error::disk(&path))?;
                continue;
            };
            let segment = Arc::new(segment);
            let bytes = std::fs::metadata(&path).map_err(Error::disk(&path))?.len();
            self.segments.insert(serial, Held { segment: Arc::clone(&segment), bytes, unsettled: 0 });
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
                tracing::warn!(path = %path.display(), bytes = damage.torn_bytes, "torn end of a spool file cut off");
            }
            if damage.spoilt + malformed > 0 {
                metrics.spool_corrupt.inc_by(damage.spoilt + malformed);
                tracing::error!(path = %path.display(), places = damage.spoilt + malformed, "spool entries do not read back and are passed over");
            }
        }
        Ok(next_serial)
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
        if entry.number > through {
            return self.take(entry, serial, segment, place);
        }
        let Content::Batch { ordinal, .. } = entry.content else { return };
        self.wait(entry.tenant, ordinal, serial, segment, place);
    }

    pub(super) fn take(&mut self, entry: Entry, serial: u64, segment: &Arc<Segment>, place: Place) {
        match entry.content {
            Content::Batch { ordinal, moves, .. } => {
                moves.iter().for_each(|change| self.positions.apply(change));
                self.wait(entry.tenant, ordinal, serial, segment, place);
            }
            Content::State(settled) => {
                let queue = self.queue(entry.tenant);
                let newer = |s: &Settled| (s.epoch, s.ordinal);
                if newer(&settled) > newer(&queue.settled) {
                    queue.settled = settled;
                    let mut done = vec![];
                    while let Some(first) = queue.waiting.front()
                        && first.ordinal <= settled.ordinal
                    {
                        done.extend(queue.waiting.pop_front());
                    }
                    for waiting in done {
                        if let Some(held) = self.segments.get_mut(&waiting.serial) {
                            held.unsettled = held.unsettled.saturating_sub(1);
                        }
                    }
                }
            }
        }
    }

    /// Puts a batch behind those that wait, unless it is settled or waits already.
    fn wait(&mut self, tenant: TenantId, ordinal: u64, serial: u64, segment: &Arc<Segment>, place: Place) {
        let queue = self.queue(tenant);
        queue.next_ordinal = queue.next_ordinal.max(ordinal + 1);
        let last = queue.waiting.back().map_or(queue.settled.ordinal, |w| w.ordinal);
        if ordinal > last {
            queue.waiting.push_back(Waiting { ordinal, serial, segment: Arc::clone(segment), place });
            if let Some(held) = self.segments.get_mut(&serial) {
                held.unsettled += 1;
            }
        }
    }

    fn queue(&mut self, tenant: TenantId) -> &mut Queue {
        let created = self.created;
        self.tenants.entry(tenant).or_insert_with(|| Queue {
            settled: Settled { ordinal: 0, epoch: created, sequence: 1 },
            noted: true,
            next_ordinal: 1,
            waiting: VecDeque::new(),
        })
    }

    /// Where batches are missing, those behind would be taken for them: they are sent in a new epoch.
    pub(super) fn close_gaps(&mut self, now: u64, metrics: &Metrics) {
        for (tenant, queue) in &mut self.tenants {
            let expected = queue.settled.ordinal + 1;
            let ordinals = queue.waiting.iter().map(|w| w.ordinal);
            let whole = ordinals.zip(expected..).all(|(found, expected)| found == expected);
            if !whole {
                let lost = queue.waiting.back().map_or(0, |last| last.ordinal - queue.settled.ordinal);
                let lost = lost.saturating_sub(queue.waiting.len() as u64);
                metrics.dropped.with_label_values(&["corrupt"]).inc_by(lost);
                tracing::error!(%tenant, batches = lost, "spooled batches are lost, the others go on in a new epoch");
                queue.settled.epoch = now.max(queue.settled.epoch + 1);
                queue.settled.sequence = 1;
                queue.noted = false;
            }
        }
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
