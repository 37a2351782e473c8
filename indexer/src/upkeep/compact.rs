//! Merges small segments, one merge at a time; `heliograph_store::compaction` tells how.
//!
//! Those of this indexer, and those of indexers that are no more: each of these is left to one of the living by its
//! tenant. Two that do not know of each other yet may do the same merge; the catalog takes one of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use heliograph_model::tenant::TenantId;
use heliograph_model::time::Clock;
use heliograph_store::catalog::{Candidate, SegmentMeta, TenantUsage};
use heliograph_store::compaction::{self, Policy};
use heliograph_store::layout::{self, ObjectId};
use heliograph_store::{Error as StoreError, Store};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::erase::{Asked, is_of};
use super::responsible;
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
    /// The indexers that answer for themselves or are about to be sealed by another, by id. None in embedded mode.
    living: Vec<Uuid>,
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
        let indexers = self.store.catalog.indexers().await?;
        let mut living: Vec<Uuid> = indexers.into_iter().map(|indexer| indexer.lease.indexer).collect();
        living.sort_unstable();
        if living != known.living {
            known.living = living;
            known.settled.clear();
        }
        for usage in self.store.catalog.usage().await? {
            if self.hot.budget().is_half_full() {
                break;
            }
            let is_settled = known.settled.get(&usage.tenant).is_some_and(|of| *of == (usage.clone(), day));
            if is_settled || usage.segments < 2 || is_of(&self.asked.borrow(), &usage.tenant) {
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
        let chosen =
            of_indexers.find_map(|of| self.merges(of, &known.living).then(|| self.policy.choose(of, now))?);
        let Some(inputs) = chosen else { return Ok(false) };
        let timer = self.metrics.merge_seconds.start_timer();
        let mut asked = self.asked.clone();
        // The sender lives as long as this.
        let erasing = asked.wait_for(|asked| is_of(asked, tenant));
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

    /// Whether it is up to this indexer to merge a tenant's segments of one indexer.
    fn merges(&self, of: &[Candidate], living: &[Uuid]) -> bool {
        let Some(Candidate { meta, .. }) = of.first() else { return false };
        if meta.indexer == self.indexer {
            return true;
        }
        if living.contains(&meta.indexer) {
            return false;
        }
        responsible(&meta.tenant, living).is_none_or(|indexer| indexer == self.indexer)
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
