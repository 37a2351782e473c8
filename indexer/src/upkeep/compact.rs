//! Merges small segments, one merge at a time; `heliograph_store::compaction` tells how.
//!
//! Those of this indexer and of those that its process has taken over. Those of indexers that are no more are left to
//! one of the living by their tenant. Two that do not know of each other yet may do the same merge; the catalog takes
//! one of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use heliograph_model::tenant::TenantId;
use heliograph_model::time::Clock;
use heliograph_store::catalog::{Candidate, Indexer, SegmentMeta, TenantUsage};
use heliograph_store::compaction::{self, Policy};
use heliograph_store::layout::{self, ObjectId};
use heliograph_store::{Error as StoreError, Store};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::erase::Asked;
use super::is_ours;
use crate::error::{Error, Result};
use crate::hot::Hot;
use crate::metrics::UpkeepMetrics;

/// Longest time of one merge: after that something hangs.
const MERGE_MAX: Duration = Duration::from_secs(600);

/// Merges segments of one indexer, and of some that are no more.
pub(super) struct Compactor {
    /// Where they lie.
    pub(super) store: Store,
    /// Whose segments.
    pub(super) indexer: Uuid,
    /// What time of day it is.
    pub(super) clock: Arc<dyn Clock>,
    /// Where memory is short, sealing needs the cores.
    pub(super) hot: Arc<Hot>,
    /// What is counted.
    pub(super) metrics: UpkeepMetrics,
    /// Which segments.
    pub(super) policy: Policy,
    /// How often it looks.
    pub(super) look_every: Duration,
    /// Tenants some of whose records are to be erased: their segments are left alone meanwhile.
    pub(super) asked: watch::Receiver<Asked>,
}

/// What was found at earlier looks.
#[derive(Default)]
struct Known {
    /// Tenants that needed nothing, as long as they and the day are the same.
    settled: HashMap<TenantId, (TenantUsage, i64)>,
    /// The indexers that are not at their end, by id. None in embedded mode.
    indexers: Vec<Indexer>,
    /// Segments that could not be read back: they stay as they are.
    damaged: HashSet<ObjectId>,
}

impl Compactor {
    /// Merges what is to be merged until stopped; a merge under way is dropped then.
    pub(super) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.merge_on()).await;
    }

    async fn merge_on(&self) {
        let mut known = Known::default();
        loop {
            match self.look(&mut known).await {
                // There may be more of the same tenant.
                Ok(merges) if merges > 0 => {}
                Ok(_) => sleep(self.look_every).await,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot see what to merge");
                    sleep(self.look_every).await;
                }
            }
        }
    }

    /// Looks at every tenant that has changed, and merges once for each that needs it; how many merges that were.
    async fn look(&self, known: &mut Known) -> Result<usize> {
        let day = Policy::day(self.clock.now());
        let mut merges = 0;
        let mut indexers = self.store.catalog.indexers().await?;
        indexers.sort_unstable_by_key(|indexer| indexer.lease.indexer);
        if !are_alike(&indexers, &known.indexers) {
            known.settled.clear();
        }
        known.indexers = indexers;
        for usage in self.store.catalog.usage().await? {
            if self.hot.budget().is_half_full() {
                break;
            }
            let is_settled = known.settled.get(&usage.tenant).is_some_and(|of| *of == (usage.clone(), day));
            if is_settled || usage.segments < 2 || self.asked.borrow().is_of(&usage.tenant) {
                continue;
            }
            let tenant = usage.tenant.clone();
            let begun = Instant::now();
            match self.merge_once(&tenant, known).await {
                Ok(true) => {
                    merges += 1;
                    // Half of the time belongs to others.
                    sleep(begun.elapsed()).await;
                }
                Ok(false) => drop(known.settled.insert(tenant, (usage, day))),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%tenant, error, "cannot merge segments, will try again");
                    self.metrics.merge_failures.inc();
                }
            }
        }
        Ok(merges)
    }

    /// Does the next merge of a tenant; whether there was one.
    async fn merge_once(&self, tenant: &TenantId, known: &mut Known) -> Result<bool> {
        let mut candidates = self.store.catalog.merge_candidates(tenant).await?;
        candidates.retain(|candidate| !known.damaged.contains(&candidate.meta.id));
        let now = self.clock.now();
        let mut of_indexers = candidates.chunk_by(|one, next| one.meta.indexer == next.meta.indexer);
        let chosen = of_indexers
            .find_map(|of| merges(self.indexer, of, &known.indexers).then(|| self.policy.choose(of, now))?);
        let Some(inputs) = chosen else { return Ok(false) };
        let timer = self.metrics.merge_seconds.start_timer();
        let mut asked = self.asked.clone();
        // The sender lives as long as this.
        let erasing = asked.wait_for(|asked| asked.is_of(tenant));
        let merging = timeout(MERGE_MAX, Box::pin(self.merge(&inputs, known)));
        let merged = tokio::select! {
            merged = merging => merged.map_err(|_| Error::Unavailable { reason: "a merge takes too long" }),
            Ok(_) = erasing => {
                timer.stop_and_discard();
                return Ok(false);
            }
        };
        match merged.and_then(|merged| merged) {
            Ok(output) => {
                timer.observe_duration();
                let read: u64 = inputs.iter().map(|input| input.bytes).sum();
                self.metrics.merged_segments.inc_by(inputs.len() as u64);
                self.metrics.merge_read_bytes.inc_by(read);
                self.metrics.merge_written_bytes.inc_by(output.bytes);
                let (from, bytes) = (inputs.len(), output.bytes);
                tracing::debug!(%tenant, from, read, bytes, records = output.records, "merged");
                Ok(true)
            }
            Err(error) => {
                timer.stop_and_discard();
                Err(error)
            }
        }
    }

    async fn merge(&self, inputs: &[SegmentMeta], known: &mut Known) -> Result<SegmentMeta> {
        let mut contents = Vec::new();
        for input in inputs {
            match compaction::read(&self.store, input).await {
                Ok(more) => contents.extend(more),
                Err(error @ (StoreError::Corrupt { .. } | StoreError::Key { .. })) => {
                    known.damaged.insert(input.id);
                    tracing::error!(segment = %input.id, "a segment is damaged and is not merged with others");
                    return Err(error.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        let (id, now) = (layout::new_object_id(), self.clock.now());
        Ok(compaction::write(&self.store, inputs, contents, id, now).await?)
    }
}

/// Whether it is up to an indexer's process to merge a tenant's segments of one indexer.
fn merges(own: Uuid, of: &[Candidate], indexers: &[Indexer]) -> bool {
    let Some(Candidate { meta, .. }) = of.first() else { return false };
    let address = |id: Uuid| indexers.iter().find(|of| of.lease.indexer == id).map(|of| of.address.as_str());
    match address(meta.indexer) {
        // One that was taken over has its heir's address.
        Some(there) => address(own) == Some(there),
        None => meta.indexer == own || is_ours(own, &meta.tenant, indexers),
    }
}

/// Whether the same merges fall to the same processes.
fn are_alike(some: &[Indexer], others: &[Indexer]) -> bool {
    let of =
        |indexer: &Indexer| (indexer.lease.indexer, indexer.address.clone(), indexer.remaining.is_zero());
    some.iter().map(of).eq(others.iter().map(of))
}

#[cfg(test)]
mod tests {
    use heliograph_model::scan::CommitId;
    use heliograph_model::time::Timestamp;
    use heliograph_store::catalog::Lease;

    use super::*;

    fn segment(indexer: u128) -> Candidate {
        let meta = SegmentMeta {
            id: Uuid::from_u128(1),
            tenant: TenantId::parse("t").unwrap(),
            bytes: 1,
            index_offset: 0,
            records: 1,
            raw_bytes: 1,
            first: Timestamp::from_nanos(0),
            last: Timestamp::from_nanos(0),
            indexer: Uuid::from_u128(indexer),
            commits_after: CommitId(0),
            commits_through: CommitId(1),
            created: Timestamp::from_nanos(0),
        };
        Candidate { meta, merges: 0 }
    }

    #[test]
    fn every_indexers_segments_fall_to_one_process() {
        let indexer = |id: u128, address: &str, seconds| Indexer {
            lease: Lease { indexer: Uuid::from_u128(id), epoch: 1 },
            address: address.to_owned(),
            remaining: Duration::from_secs(seconds),
        };
        // The third was taken over by the first and is kept; the fourth is dead, and nobody has it yet.
        let all = [indexer(1, "one", 5), indexer(2, "two", 5), indexer(3, "one", 5), indexer(4, "four", 0)];
        let mergers = |of: u128| -> Vec<u128> {
            (1..=2).filter(|own| merges(Uuid::from_u128(*own), &[segment(of)], &all)).collect()
        };
        assert_eq!(mergers(1), [1]);
        assert_eq!(mergers(2), [2]);
        assert_eq!(mergers(3), [1]);
        assert_eq!(mergers(4), [0; 0]);
        for gone in 5..50 {
            assert_eq!(mergers(gone).len(), 1, "{gone}");
        }
        assert!(merges(Uuid::from_u128(9), &[segment(7)], &[]), "embedded mode: all are its own");
    }
}
