//! Searches hot records by looking at each of them, in parallel, off the async threads.

use std::sync::Arc;

use heliograph_model::filter::Matcher;
use heliograph_model::scan::{Answer, Collector, HotHead, Scan};
use heliograph_model::time::TimeRange;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Chunk, Hot, Snapshot};
use crate::error::{Error, Result};

/// Records per thread below which sharing out costs more than it gains.
const PART_RECORDS_MIN: usize = 20_000;
/// Records between two looks at whether the asker is still there.
const LOOK_EVERY: usize = 1024;

/// What a search found, and what it stands on.
#[derive(Debug)]
pub(crate) struct Found {
    /// What the answer stands on.
    pub(crate) head: HotHead,
    /// The answer.
    pub(crate) answer: Answer,
}

/// Runs searches on a bounded number of threads.
#[derive(Debug)]
pub(crate) struct Searcher {
    hot: Arc<Hot>,
    threads: Arc<Semaphore>,
    threads_max: usize,
}

impl Searcher {
    /// A searcher that keeps at most `threads_max` threads busy.
    pub(crate) fn new(hot: Arc<Hot>, threads_max: usize) -> Self {
        Self { hot, threads: Arc::new(Semaphore::new(threads_max)), threads_max }
    }

    /// Answers a scan from the records that are hot at this moment. Safe to drop half-way: the threads stop.
    pub(crate) async fn search(&self, scan: Scan) -> Result<Found> {
        let matcher = Arc::new(Matcher::new(&scan.filter)?);
        let Snapshot { head, chunks } = self.hot.snapshot(&scan.tenant, scan.committed_after);
        let range = scan.range.intersect(&scan.filter.time_bounds());
        let scan = Arc::new(scan);
        let gone = CancellationToken::new();
        let _gone_when_dropped = gone.clone().drop_guard();
        let mut parts = JoinSet::new();
        for part in share_out(chunks, self.threads_max) {
            let closed = |_| Error::Unavailable { reason: "the indexer is stopping" };
            let permit = Arc::clone(&self.threads).acquire_owned().await.map_err(closed)?;
            let (scan, matcher, gone) = (Arc::clone(&scan), Arc::clone(&matcher), gone.clone());
            parts.spawn_blocking(move || {
                let answer = look_at(&part, &scan, &range, &matcher, &gone);
                drop(permit);
                answer
            });
        }
        let mut all = Collector::new(&scan);
        while let Some(part) = parts.join_next().await {
            all.merge(part?);
        }
        Ok(Found { head, answer: all.finish() })
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

fn look_at(
    chunks: &[Arc<Chunk>],
    scan: &Scan,
    range: &TimeRange,
    matcher: &Matcher,
    gone: &CancellationToken,
) -> Answer {
    let mut collector = Collector::new(scan);
    for (n, record) in chunks.iter().flat_map(|chunk| chunk.records()).enumerate() {
        if n.is_multiple_of(LOOK_EVERY) && gone.is_cancelled() {
            break;
        }
        let key = record.key();
        if range.contains(record.time) && collector.could_take(&key) && matcher.matches(&record) {
            collector.offer(key, &record, || record.to_record());
        }
    }
    collector.finish()
}
