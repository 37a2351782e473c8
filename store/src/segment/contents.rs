//! A segment read back: all its records with their commits, to be written into another one.

use std::sync::Arc;

use heliograph_model::filter::{Filter, Matcher};
use heliograph_model::record::RecordRef;
use heliograph_model::rows::{Rows, RowsBuilder};
use heliograph_model::scan::{Collector, CommitId, Order, Scan, Want};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::TimeRange;
use object_store::ObjectStore;
use object_store::path::Path;

use super::block::Line;
use super::columns::Malformed;
use super::directory::Group;
use super::plan::Plan;
use super::row_lists::RowLists;
use super::scan::{Fetched, Task, blocking, fetch};
use super::{Opened, ScanStats};
use crate::error::Result;

/// Blocks that are read at once: some MiB of text.
const BLOCKS_AT_ONCE: usize = 16;

/// Some records of a segment, in its order.
#[derive(Debug)]
pub struct Contents {
    rows: Rows,
    /// Of each row.
    commits: Vec<CommitId>,
}

impl Contents {
    /// The records with their commits.
    pub(super) fn records(&self) -> impl Iterator<Item = (CommitId, RecordRef<'_>)> {
        self.commits.iter().copied().zip(self.rows.iter())
    }

    /// Leaves out the records that are meant; how many.
    pub(crate) fn remove(&mut self, is_meant: impl Fn(&RecordRef<'_>) -> bool) -> Result<u64> {
        let (mut rows, mut commits) = (RowsBuilder::default(), Vec::new());
        for (commit, record) in self.records().filter(|(_, record)| !is_meant(record)) {
            rows.push(record)?;
            commits.push(commit);
        }
        let removed = (self.commits.len() - commits.len()) as u64;
        *self = Self { rows: rows.finish(), commits };
        Ok(removed)
    }

    /// Whether there are no records.
    pub(crate) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// How many records are meant.
    pub(crate) fn count(&self, is_meant: impl Fn(&RecordRef<'_>) -> bool) -> u64 {
        self.records().filter(|(_, record)| is_meant(record)).count() as u64
    }

    /// About how many bytes of memory they hold.
    pub fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes() + self.commits.len() * size_of::<CommitId>()
    }
}

/// Reads all `records` of a segment, some blocks at a time.
pub(super) async fn read(
    objects: &Arc<dyn ObjectStore>,
    path: &Path,
    of: &Opened,
    records: u64,
) -> Result<Vec<Contents>> {
    let scan = everything()?;
    let matcher = Arc::new(Matcher::new(&scan.filter)?);
    let task = Arc::new(Task { of: of.clone(), scan, matcher });
    let planning = Arc::clone(&task);
    let plan = blocking(move || {
        let mut nobody = Collector::new(&planning.scan);
        Plan::new(&planning.of.index, &planning.scan, &RowLists::default(), &mut nobody)
    });
    let plan = Arc::new(plan.await??);
    let (mut out, mut stats) = (Vec::new(), ScanStats::default());
    // In the order of the file, not in the plan's.
    let blocks: Vec<u32> = (0..of.index.blocks()).collect();
    for batch in blocks.chunks(BLOCKS_AT_ONCE) {
        let fetched = fetch(objects, path, &task, &plan, batch.to_vec(), &mut stats).await?;
        let (task, plan) = (Arc::clone(&task), Arc::clone(&plan));
        out.push(blocking(move || open(&task, &plan, &fetched)).await??);
    }
    // What is left out here would be lost with the segment.
    if out.iter().map(|part| part.commits.len() as u64).sum::<u64>() == records {
        Ok(out)
    } else {
        Err(of.index.malformed("directory")(Malformed("it has other counts than the catalog")))
    }
}

fn everything() -> Result<Scan> {
    Ok(Scan {
        // A scan names its tenant for who sends it on; a segment knows its own.
        tenant: TenantId::parse("all")?,
        range: TimeRange::ALL,
        filter: Filter::All,
        committed_after: None,
        committed_through: None,
        want: Want::Records { order: Order::Asc, limit: usize::MAX, after: None },
    })
}

fn open(task: &Task, plan: &Plan, fetched: &[Fetched]) -> Result<Contents> {
    let (mut rows, mut commits) = (RowsBuilder::default(), Vec::new());
    for fetched in fetched {
        let Some(entry) = task.of.index.entry(fetched.block) else { continue };
        let block = fetched.block(task, plan, entry)?;
        fetched.open(task, &block, Group::Order)?;
        fetched.open_all(task, &block)?;
        let Some(order) = block.order.get() else { continue };
        let mut line = Line::new(&block);
        for row in 0..entry.rows as usize {
            line.go_to(row);
            rows.push(line.record().as_ref())?;
            commits.push(order.commit(row));
        }
    }
    Ok(Contents { rows: rows.finish(), commits })
}
