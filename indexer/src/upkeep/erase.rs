//! Removes records that a query finds, as the catalog is asked to; `heliograph_store::erasure` tells how.
//!
//! Two halves run side by side. One looks what is asked for and has everything sealed that was acknowledged before;
//! each indexer does that for itself, and when no write-ahead object from before the request is left, all have. The
//! other rewrites and deletes: one indexer for each tenant. Two that do not know of each other yet do no harm.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use heliograph_model::tenant::TenantId;
use heliograph_model::time::Clock;
use heliograph_store::catalog::{ErasedAs, ErasedObject, ErasedTenant, LISTED_WITHIN, PendingErasure};
use heliograph_store::layout::{self, ObjectId};
use heliograph_store::{Error as StoreError, Store, erasure};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::collect::{delete_objects, unsearched_objects};
use super::is_ours;
use crate::error::Result;
use crate::hot::Hot;
use crate::metrics::UpkeepMetrics;

/// How often it is looked at most whether something is asked for; merges hear of it by then.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often while something is being sealed.
const WAITING_LOOK_EVERY: Duration = Duration::from_millis(100);
/// After that no reader has a list of segments from before, and no merge of the tenant is under way.
pub(super) const LINGER: Duration = LISTED_WITHIN.saturating_add(Duration::from_millis(500));
/// Pause after a failure.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Names of objects in one transaction.
pub(super) const NOTED_AT_ONCE: usize = 1_000;

/// What is asked for and not done, as it was seen last.
pub(super) type Asked = Arc<Pending>;

/// What there is to erase.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Records.
    records: Vec<PendingErasure>,
    /// Tenants whose keys are gone already.
    pub(super) tenants: Vec<ErasedTenant>,
}

/// Looks what is asked for.
pub(super) struct Watcher {
    /// Where it is asked.
    pub(super) store: Store,
    /// What is sealed for it.
    pub(super) hot: Arc<Hot>,
    /// What is counted.
    pub(super) metrics: UpkeepMetrics,
    /// How often it looks.
    pub(super) look_every: Duration,
    /// Who is told.
    pub(super) asked: watch::Sender<Asked>,
}

impl Watcher {
    /// Looks until stopped.
    pub(super) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.look_on()).await;
    }

    async fn look_on(&self) {
        loop {
            let pause = match self.look().await {
                Ok(pending) => self.heed(pending),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "cannot see what is to be erased");
                    LOOK_EVERY
                }
            };
            sleep(pause.min(self.look_every)).await;
        }
    }

    async fn look(&self) -> heliograph_store::Result<Pending> {
        let records = self.store.catalog.pending_erasures().await?;
        let mut tenants = self.store.catalog.erased_tenants().await?;
        self.store.tenants.forget(&tenants.iter().map(|tenant| tenant.uid).collect());
        tenants.retain(|tenant| tenant.done.is_none());
        Ok(Pending { records, tenants })
    }

    fn heed(&self, pending: Pending) -> Duration {
        let count = pending.records.len() + pending.tenants.len();
        self.metrics.erasures.pending.set(i64::try_from(count).unwrap_or(i64::MAX));
        let records = pending.records.iter().map(|erasure| (erasure.waiting, erasure.through));
        let all = records.chain(pending.tenants.iter().map(|tenant| (tenant.waiting, tenant.through)));
        let waiting = all.filter(|(waiting, _)| *waiting > 0).map(|(_, through)| through).max();
        if let Some(through) = waiting {
            self.hot.press_through(through);
        }
        if count > 0 || !self.asked.borrow().is_empty() {
            self.asked.send_replace(pending.into());
        }
        if waiting.is_some() { WAITING_LOOK_EVERY } else { LOOK_EVERY }
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.tenants.is_empty()
    }

    /// Whether some of a tenant's records are to be erased.
    pub(super) fn is_of(&self, tenant: &TenantId) -> bool {
        self.records.iter().any(|erasure| erasure.tenant == *tenant)
    }
}

/// Does what is asked for.
pub(super) struct Eraser {
    /// Where records lie.
    pub(super) store: Store,
    /// Who does it.
    pub(super) indexer: Uuid,
    /// When.
    pub(super) clock: Arc<dyn Clock>,
    /// What is counted.
    pub(super) metrics: UpkeepMetrics,
    /// What is asked for.
    pub(super) asked: watch::Receiver<Asked>,
}

impl Eraser {
    /// Erases until stopped; what is under way then is begun again by whoever comes next.
    pub(super) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.erase_on()).await;
    }

    async fn erase_on(mut self) {
        let mut not_before: HashMap<Uuid, Instant> = HashMap::new();
        while self.asked.changed().await.is_ok() {
            let asked = Arc::clone(&self.asked.borrow_and_update());
            not_before.retain(|id, _| asked.records.iter().any(|erasure| erasure.id == *id));
            let is_due = |erasure: &&PendingErasure| {
                let paused = not_before.get(&erasure.id).is_some_and(|until| *until > Instant::now());
                erasure.waiting == 0 && !paused
            };
            let due: Vec<_> = asked.records.iter().filter(is_due).cloned().collect();
            for erasure in due {
                if let Err(error) = Box::pin(self.erase_if_ours(&erasure)).await {
                    self.metrics.erasures.failures.inc();
                    not_before.insert(erasure.id, Instant::now() + AGAIN_AFTER);
                    let trouble = error.to_string();
                    tell(&erasure, &error);
                    note(&self.store, erasure.id, erasure.trouble.as_deref(), &trouble).await;
                }
            }
        }
    }

    async fn erase_if_ours(&self, erasure: &PendingErasure) -> Result<()> {
        if !is_ours(self.indexer, &erasure.tenant, &self.store.catalog.indexers().await?) {
            return Ok(());
        }
        // What was asked for when it was looked last may be done by now.
        let pending = self.store.catalog.pending_erasures().await?;
        if pending.iter().any(|of| of.id == erasure.id) { self.erase(erasure).await } else { Ok(()) }
    }

    async fn erase(&self, erasure: &PendingErasure) -> Result<()> {
        let catalog = &self.store.catalog;
        let Some(tenant) = catalog.tenant(&erasure.tenant).await? else { return Ok(()) };
        let mut removed = 0;
        // Another may be faster to merge or expire a segment: then its records lie elsewhere now.
        while !self.rewrite_all(erasure, &mut removed).await? {}
        sleep(LINGER).await;
        let unpublished = unsearched_objects(&self.store, &tenant).await?;
        let mut retired = catalog.retired(u32::MAX).await?;
        retired.retain(|segment| segment.tenant == erasure.tenant);
        let known: HashSet<ObjectId> = retired.iter().map(|segment| segment.id).collect();
        self.take_away(
            erasure,
            retired.iter().map(|of| (of.id, of.bytes)).collect(),
            ErasedAs::Retired,
            tenant.uid,
        )
        .await?;
        catalog.forget(&known.iter().copied().collect::<Vec<_>>()).await?;
        // Who is about to publish one has done so by then, or will hear that it was given up.
        sleep(LINGER).await;
        let doubtful: Vec<ObjectId> = unpublished.keys().filter(|id| !known.contains(id)).copied().collect();
        let given_up = catalog.discard(&doubtful, self.clock.now()).await?;
        let sized = given_up.iter().filter_map(|id| Some((*id, unpublished.get(id)?.size))).collect();
        self.take_away(erasure, sized, ErasedAs::Unpublished, tenant.uid).await?;
        for segment in erasure::segments(&self.store, erasure).await? {
            if erasure::count(&self.store, &segment, &erasure.filter, &erasure.range).await? > 0 {
                // It was put there meanwhile, by who had not heard of this yet.
                return Box::pin(self.erase(erasure)).await;
            }
        }
        catalog.finish_erasure(erasure.id, self.clock.now()).await?;
        tracing::info!(id = %erasure.id, tenant = %erasure.tenant, records = removed, "erased");
        Ok(())
    }

    /// Rewrites what has matches; whether nothing came between.
    async fn rewrite_all(&self, erasure: &PendingErasure, removed: &mut u64) -> Result<bool> {
        let mut is_whole = true;
        for segment in erasure::segments(&self.store, erasure).await? {
            let id = layout::new_object_id();
            match Box::pin(erasure::rewrite(&self.store, erasure, &segment, id, self.clock.now())).await {
                Ok(Some(rewritten)) => {
                    *removed += rewritten.removed;
                    self.metrics.erasures.records.inc_by(rewritten.removed);
                    let left = rewritten.by.map_or(0, |by| by.records);
                    tracing::info!(old = %segment.id, removed = rewritten.removed, left, "rewrote a segment");
                }
                Ok(None) => {}
                Err(StoreError::Replaced { .. } | StoreError::Discarded { .. }) => is_whole = false,
                Err(error) if error.is_gone() => is_whole = false,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(is_whole)
    }

    /// Notes objects, then deletes them all, or fails.
    async fn take_away(
        &self,
        erasure: &PendingErasure,
        objects: Vec<(ObjectId, u64)>,
        what: ErasedAs,
        uid: Uuid,
    ) -> Result<()> {
        for some in objects.chunks(NOTED_AT_ONCE) {
            let of = |(object, bytes): &(ObjectId, u64)| ErasedObject {
                object: *object,
                what,
                bytes: *bytes,
                removed: 0,
                successor: None,
            };
            let noted: Vec<ErasedObject> = some.iter().map(of).collect();
            self.store.catalog.note_erased(erasure.id, &noted).await?;
        }
        let count = objects.len();
        let paths = objects.into_iter().map(|(id, _)| (id, layout::segment(uid, id))).collect();
        if delete_objects(&self.store, paths).await.len() == count {
            Ok(())
        } else {
            Err(crate::Error::Unavailable { reason: "some objects cannot be deleted" })
        }
    }
}

/// Notes what keeps an erasure from being done, unless that is what is noted.
pub(super) async fn note(store: &Store, erasure: Uuid, noted: Option<&str>, trouble: &str) {
    if noted == Some(trouble) {
        return;
    }
    if let Err(error) = store.catalog.set_erasure_trouble(erasure, Some(trouble)).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "cannot note what keeps an erasure from being done");
    }
}

fn tell(erasure: &PendingErasure, error: &crate::Error) {
    let error = error as &dyn std::error::Error;
    let (id, tenant) = (erasure.id, &erasure.tenant);
    tracing::error!(error, %id, %tenant, "cannot erase, will try again");
}

#[cfg(test)]
mod tests {
    use heliograph_store::catalog::{Indexer, Lease};

    use super::*;

    #[test]
    fn of_several_processes_one_erases_a_tenants_records() {
        let tenants = ["a", "b", "c", "d", "e", "f"].map(|name| TenantId::parse(name).unwrap());
        let indexer = |id: u128, address: &str, seconds| Indexer {
            lease: Lease { indexer: Uuid::from_u128(id), epoch: 1 },
            address: address.to_owned(),
            remaining: Duration::from_secs(seconds),
        };
        // The third was taken over by the process of the second; the fourth by nobody yet.
        let all = [indexer(1, "one", 8), indexer(2, "two", 8), indexer(3, "two", 8), indexer(4, "four", 0)];
        let ours = |id: u128, tenant: &TenantId| is_ours(Uuid::from_u128(id), tenant, &all);
        for tenant in &tenants {
            assert!(ours(1, tenant) != ours(2, tenant), "{tenant}");
            assert!(!ours(9, tenant), "who has not joined yet leaves it to others");
            assert!(
                is_ours(Uuid::from_u128(9), tenant, &all[3..]) && is_ours(Uuid::from_u128(9), tenant, &[])
            );
        }
        assert!(tenants.iter().any(|tenant| ours(1, tenant)) && tenants.iter().any(|tenant| ours(2, tenant)));
    }
}
