//! Giving batches up: the oldest of the tenant that has the most, refused ones, and those that are gone.
//!
//! A gap takes their place under their numbers. It is on disk before anything of them is freed, so a crash in
//! between leaves both, and the gap holds. Nothing is dropped that was handed out to be sent: what is dropped
//! and what is stored are never the same. Only of batches that an earlier life may have sent is that not known:
//! if an indexer has them, it recognises the gap's number too, and takes no gap.

use heliograph_model::codec;
use heliograph_model::record::Record;
use heliograph_model::source::Position;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;

use super::entry::{Content, Entry, Head, Settled};
use super::gap::{Figures, Gaps, Reason};
use super::queue::Item;
use super::{Disk, Spool, ZSTD_LEVEL};
use crate::error::{Error, Result};

/// Most bytes of a batch's records, decompressed: far more than any batch has.
const PLAIN_BYTES_MAX: usize = 256 << 20;

/// How many lines and batches a gap was made of.
#[derive(Clone, Copy, Default)]
pub(super) struct GivenUp {
    lines: u64,
    batches: u64,
}

impl Spool {
    /// Drops some of the oldest batches of the tenant that has the most; says whether there were any. A tenant
    /// with less than an even share loses nothing.
    pub(super) fn drop_oldest(&self, disk: &mut Disk) -> Result<bool> {
        let Some((tenant, run, unsent)) = self.hold_noisiest() else { return Ok(false) };
        let dropped = self.gap(&run, Reason::SpoolFull, unsent).and_then(|(content, given_up)| {
            let entry = Entry { number: 0, tenant: tenant.clone(), content };
            self.write(disk, |_| vec![entry]).map(|()| given_up)
        });
        if let Some(queue) = self.state.lock().tenants.get_mut(&tenant) {
            queue.release();
        }
        // Its sender may have found nothing to send meanwhile.
        self.appended.notify_one();
        let given_up = dropped?;
        self.count(Reason::SpoolFull, given_up);
        tracing::warn!(%tenant, lines = given_up.lines, batches = given_up.batches, "spool is full, batches dropped");
        Ok(true)
    }

    /// The tenant, its batches, and whether these were never sent.
    fn hold_noisiest(&self) -> Option<(TenantId, Vec<Item>, bool)> {
        let mut state = self.state.lock();
        let mut by_bytes: Vec<(u64, TenantId)> = state
            .tenants
            .iter()
            .filter(|(_, queue)| !queue.is_empty())
            .map(|(tenant, queue)| (queue.bytes(), tenant.clone()))
            .collect();
        by_bytes.sort_unstable_by(|a, b| b.cmp(a));
        let even = by_bytes.iter().map(|(bytes, _)| bytes).sum::<u64>() / (by_bytes.len() as u64).max(1);
        for (bytes, tenant) in by_bytes.into_iter().filter(|(bytes, _)| *bytes >= even) {
            // Little at a time, for a moment later another may have the most.
            let wanted = (bytes / 4).min(self.segment_bytes_max() / 2);
            let Some(queue) = state.tenants.get_mut(&tenant) else { continue };
            let run = queue.hold_oldest(wanted);
            if let Some(first) = run.first() {
                let unsent = queue.is_unsent(first);
                return Some((tenant, run, unsent));
            }
        }
        None
    }

    /// What stands in the place of batches and gaps that follow one another.
    pub(super) fn gap(&self, run: &[Item], reason: Reason, unsent: bool) -> Result<(Content, GivenUp)> {
        let now = self.clock.now();
        let (mut gaps, mut given_up) = (Gaps::default(), GivenUp::default());
        for item in run {
            given_up.batches += u64::from(!item.head.gap);
            match self.read(item).and_then(|payload| self.records(item, &payload)) {
                Ok(records) if item.head.gap => gaps.add_gap(&records),
                Ok(records) => {
                    given_up.lines += records.len() as u64;
                    gaps.add_records(&records, reason);
                }
                Err(error @ Error::Corrupt { .. }) => {
                    tracing::error!(%error, "spooled batch does not read back");
                    self.metrics.spool_corrupt.inc();
                    let lines = if item.head.gap { 0 } else { u64::from(item.head.records) };
                    given_up.lines += lines;
                    self.add_unreadable(&mut gaps, item.head, lines, now);
                }
                Err(error) => return Err(error),
            }
        }
        let records = gaps.records(now);
        let head = |item: &Item| item.head;
        let Some((Head { first, epoch, at, .. }, Head { last, .. })) =
            run.first().map(head).zip(run.last().map(head))
        else {
            return Err(Error::Unavailable { what: "note a gap", reason: "it has no batches".to_owned() });
        };
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let head = Head { gap: true, unsent, first, last, epoch, at, records: count };
        Ok((Content::Batch { head, moves: vec![], payload: payload_of(&records)? }, given_up))
    }

    /// What cannot be read is said in a source of our own.
    fn add_unreadable(&self, gaps: &mut Gaps, head: Head, lines: u64, now: Timestamp) {
        let at = i64::try_from(head.at).unwrap_or_default().saturating_mul(1_000_000);
        let from = if head.at == 0 { now } else { Timestamp::from_nanos(at).min(now) };
        let figures = Figures { lines, from, to: now, reasons: vec![Reason::Corrupt] };
        gaps.add(&self.own, Position(head.last), figures);
    }

    /// An item's body as it is sent.
    pub(super) fn read(&self, item: &Item) -> Result<Vec<u8>> {
        let body = item.segment.load(item.place)?;
        match Entry::from_bytes(&body).map(|entry| entry.content) {
            Ok(Content::Batch { payload, .. }) => Ok(payload),
            _ => Err(malformed(item)),
        }
    }

    fn records(&self, item: &Item, payload: &[u8]) -> Result<Vec<Record>> {
        let rows = codec::decompress(payload, PLAIN_BYTES_MAX).and_then(|plain| codec::decode(&plain));
        rows.map(|rows| rows.to_records()).map_err(|_| malformed(item))
    }

    /// Gives up the batch at an ordinal, which is not under way. A gap is not replaced by another, and that of an erased
    /// tenant by none: it is passed over, and what follows is sent in a new epoch.
    pub(crate) fn give_up(&self, tenant: &TenantId, ordinal: u64, reason: Reason) -> Result<()> {
        let mut disk = self.disk.lock();
        let (item, settled) = {
            let state = self.state.lock();
            let Some(queue) = state.tenants.get(tenant) else { return Ok(()) };
            let Some(item) = queue.at(ordinal).filter(|_| ordinal > queue.settled.ordinal) else {
                return Ok(());
            };
            (item.clone(), queue.settled)
        };
        if item.head.gap || reason == Reason::Erased {
            let lines = if item.head.gap { 0 } else { u64::from(item.head.records) };
            let epoch = self.now_millis().max(settled.epoch + 1);
            // What was refused may be one of its empty ordinals: then it is still to be sent itself.
            let through = if ordinal < item.head.last { item.head.last - 1 } else { ordinal };
            self.count(reason, GivenUp { lines, batches: u64::from(through == item.head.last) });
            let next = Settled { ordinal: through, epoch, sequence: 1 };
            return self.settle_as(&mut disk, tenant, next);
        }
        let (content, given_up) = self.gap(std::slice::from_ref(&item), reason, false)?;
        self.write(&mut disk, |_| vec![Entry { number: 0, tenant: tenant.clone(), content }])?;
        self.count(reason, given_up);
        self.reclaim(&mut disk)
    }

    /// Writes how a tenant goes on; it holds when it is on disk, before anything is sent under new numbers.
    pub(super) fn settle_as(&self, disk: &mut Disk, tenant: &TenantId, settled: Settled) -> Result<()> {
        let content = Content::State(settled);
        self.write(disk, |_| vec![Entry { number: 0, tenant: tenant.clone(), content }])
    }

    /// Batches that no file holds any more, though their neighbours are there, become gaps: without them the
    /// neighbours would be sent under wrong numbers.
    pub(super) fn fill_holes(&self, disk: &mut Disk) -> Result<()> {
        let now = self.clock.now();
        let mut entries = vec![];
        for (tenant, queue) in &self.state.lock().tenants {
            for mut head in queue.holes() {
                let batches = head.last - head.first + 1;
                tracing::error!(%tenant, batches, "spooled batches are lost, a gap says so");
                self.count(Reason::Corrupt, GivenUp { lines: 0, batches });
                let mut gaps = Gaps::default();
                self.add_unreadable(&mut gaps, head, 0, now);
                head.records = 1;
                let payload = payload_of(&gaps.records(now))?;
                let content = Content::Batch { head, moves: vec![], payload };
                entries.push(Entry { number: 0, tenant: tenant.clone(), content });
            }
        }
        if entries.is_empty() { Ok(()) } else { self.write(disk, |_| entries) }
    }

    fn count(&self, reason: Reason, GivenUp { lines, batches }: GivenUp) {
        self.metrics.dropped.with_label_values(&[reason.label()]).inc_by(lines);
        self.metrics.dropped_batches.with_label_values(&[reason.label()]).inc_by(batches);
    }
}

fn payload_of(records: &[Record]) -> Result<Vec<u8>> {
    codec::compress(&codec::encode(records), ZSTD_LEVEL)
        .map_err(|e| Error::Unavailable { what: "compress a batch", reason: e.to_string() })
}

fn malformed(item: &Item) -> Error {
    Error::Corrupt { path: item.segment.path().to_owned(), reason: "an entry is malformed".to_owned() }
}

/// The body of an ordinal in the middle of a gap.
pub(super) fn empty_payload() -> Result<Vec<u8>> {
    payload_of(&[])
}
