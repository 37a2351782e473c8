//! Searches hot records by looking at each of them, in parallel, off the async threads.

use std::collections::HashMap;
use std::sync::Arc;

use heliograph_model::filter::Matcher;
use heliograph_model::record::Record;
use heliograph_model::scan::{Answer, Collector, Foremost, HotHeads, Pursuit, Scan, Scans, Want};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::TimeRange;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Chunk;
use crate::error::{Error, Result};
use crate::holdings::Holding;

/// Records per thread below which sharing out costs more than it gains.
const PART_RECORDS_MIN: usize = 20_000;
/// Records between two looks at whether the asker is still there.
const LOOK_EVERY: usize = 1024;

/// What a search found, and what it stands on.
#[derive(Debug)]
pub(crate) struct Found {
    /// What the answer stands on: one for each indexer that was looked at.
    pub(crate) heads: Vec<HotHeads>,
    /// The answer.
    pub(crate) answer: Answers,
}

/// What all tenants' records answer together.
#[derive(Debug)]
pub(crate) enum Answers {
    /// For [`Want::Records`] the first of all tenants, in order; for [`Want::Around`] one tenant's after another's.
    Records(Vec<(TenantId, Record)>),
    /// Counts of all tenants.
    Counts(Answer),
}

/// Runs searches on a bounded number of threads.
#[derive(Debug)]
pub(crate) struct Searcher {
    threads: Arc<Semaphore>,
    threads_max: usize,
}

/// What the threads of one search share.
struct Task {
    scans: HashMap<TenantId, Scan>,
    range: TimeRange,
    matcher: Matcher,
    pursuit: Arc<Pursuit>,
}

impl Searcher {
    /// A searcher that keeps at most `threads_max` threads busy.
    pub(crate) fn new(threads_max: usize) -> Self {
        Self { threads: Arc::new(Semaphore::new(threads_max)), threads_max }
    }

    /// Answers from the records of these indexers that are hot at this moment. Safe to drop half-way: the threads stop.
    ///
    /// Tenants without hot records cost a look into a map: most questions find nothing hot to read at all.
    pub(crate) async fn search(&self, holdings: &[Arc<Holding>], scans: &Scans) -> Result<Found> {
        let snapshot = |of: &Arc<Holding>| of.hot.snapshots(&scans.tenants, scans.committed_after);
        let (heads, chunks): (Vec<_>, Vec<_>) = holdings.iter().map(snapshot).unzip();
        let chunks: Vec<_> = chunks.into_iter().flatten().collect();
        let mut parts = Merged::new(scans);
        if !chunks.is_empty() {
            let task = Arc::new(Task {
                scans: scans.tenants.iter().map(|tenant| (tenant.clone(), scans.of(tenant))).collect(),
                range: scans.range.intersect(&scans.filter.time_bounds()),
                matcher: Matcher::new(&scans.filter)?,
                pursuit: Pursuit::new(&scans.want),
            });
            self.look(task, chunks, &mut parts).await?;
        }
        Ok(Found { heads, answer: parts.finish() })
    }

    async fn look(&self, task: Arc<Task>, chunks: Vec<Arc<Chunk>>, merged: &mut Merged) -> Result<()> {
        let _ends_when_dropped = task.pursuit.ends_when_dropped();
        let mut parts = JoinSet::new();
        for part in share_out(chunks, self.threads_max) {
            let closed = |_| Error::Unavailable { reason: "the indexer is stopping" };
            let permit = Arc::clone(&self.threads).acquire_owned().await.map_err(closed)?;
            let task = Arc::clone(&task);
            parts.spawn_blocking(move || {
                let answers = look_at(&part, &task);
                drop(permit);
                answers
            });
        }
        while let Some(answers) = parts.join_next().await {
            for (tenant, answer) in answers? {
                merged.add(&task, tenant, answer);
            }
        }
        Ok(())
    }
}

/// Cuts chunks into about equal parts, at most `parts_max` of them.
fn share_out(chunks: Vec<Arc<Chunk>>, parts_max: usize) -> Vec<Vec<Arc<Chunk>>> {
    let records: usize = chunks.iter().map(|c| c.len()).sum();
    let share = records.div_ceil(parts_max.max(1)).max(PART_RECORDS_MIN);
    let mut parts = Vec::new();
    let (mut part, mut held) = (Vec::new(), 0);
    for chunk in chunks {
        held += chunk.len();
        part.push(chunk);
        if held >= share {
            parts.push(std::mem::take(&mut part));
            held = 0;
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

fn look_at(chunks: &[Arc<Chunk>], task: &Task) -> Vec<(TenantId, Answer)> {
    let mut answers = Vec::new();
    for of_one in chunks.chunk_by(|a, b| a.tenant == b.tenant) {
        let Some(scan) = of_one.first().and_then(|chunk| task.scans.get(&chunk.tenant)) else { continue };
        let mut collector = Collector::within(scan, &task.pursuit);
        for (n, record) in of_one.iter().flat_map(|chunk| chunk.records()).enumerate() {
            if n.is_multiple_of(LOOK_EVERY) && collector.is_cancelled() {
                return answers;
            }
            let key = record.key();
            if task.range.contains(record.time) && collector.could_take(&key) && task.matcher.matches(&record)
            {
                collector.offer(key, &record, || record.to_record());
            }
        }
        answers.push((scan.tenant.clone(), collector.finish()));
    }
    answers
}

/// The parts' answers as they come in.
enum Merged {
    First(Foremost),
    ByTenant(HashMap<TenantId, Collector>),
    Counts(Box<Collector>),
}

impl Merged {
    fn new(scans: &Scans) -> Self {
        match &scans.want {
            Want::Records { order, limit, .. } => Self::First(Foremost::new(*order, *limit)),
            Want::Around { .. } => Self::ByTenant(HashMap::new()),
            Want::Histogram { .. } | Want::Values { .. } | Want::Fields => {
                Self::Counts(Box::new(Collector::of(&scans.want)))
            }
        }
    }

    fn add(&mut self, task: &Task, tenant: TenantId, answer: Answer) {
        match (self, answer) {
            (Self::First(first), Answer::Records(records)) => first.extend(&tenant, records),
            (Self::ByTenant(all), answer) => {
                if let Some(scan) = task.scans.get(&tenant) {
                    all.entry(tenant).or_insert_with(|| Collector::new(scan)).merge(answer);
                }
            }
            (Self::Counts(all), answer) => all.merge(answer),
            (Self::First(_), _) => {}
        }
    }

    fn finish(self) -> Answers {
        match self {
            Self::First(first) => Answers::Records(first.into_records()),
            Self::Counts(counts) => Answers::Counts(counts.finish()),
            Self::ByTenant(all) => {
                let of = |(tenant, collector): (TenantId, Collector)| match collector.finish() {
                    Answer::Records(records) => records.into_iter().map(|r| (tenant.clone(), r)).collect(),
                    _ => Vec::new(),
                };
                Answers::Records(all.into_iter().flat_map(of).collect())
            }
        }
    }
}
