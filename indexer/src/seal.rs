//! Hot records become segments: per tenant, by bytes or by age.
//!
//! The order makes every moment safe to stop at: object, then catalog (segment, the tenant's `sealed_through`,
//! released write-ahead objects, in one transaction), then hot. Before the transaction the write-ahead objects
//! are replayed; after it they are skipped, whether or not they are deleted yet.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use heliograph_model::rows::Rows;
use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Clock;
use heliograph_store::Store;
use heliograph_store::catalog::SegmentMeta;
use heliograph_store::layout::{self, ObjectId};
use heliograph_store::{Error as StoreError, crash, objects, segment};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::hot::{Hot, Load};
use crate::lease::Held;
use crate::ledger::Ledger;
use crate::metrics::Metrics;

/// How often the sealer looks for something to do.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Segments that are built at the same time: each takes a core and twice its records' memory.
const SEALS_MAX: usize = 2;
/// Longest time of deleting a segment that came to nothing.
const DELETE_MAX: Duration = Duration::from_secs(5);
/// Longest pause after failures.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Deletions at the same time.
const DELETES_MAX: usize = 8;

/// Seals tenants of one indexer.
pub(crate) struct Sealer {
    /// Where segments go.
    pub(crate) store: Store,
    /// Whose records, and by which right.
    pub(crate) held: Arc<Held>,
    /// When.
    pub(crate) clock: Arc<dyn Clock>,
    /// What is sealed.
    pub(crate) hot: Arc<Hot>,
    /// What is let go then.
    pub(crate) ledger: Arc<Ledger>,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// A tenant is sealed when it holds so much …
    pub(crate) bytes: usize,
    /// … or when its oldest record has waited so long.
    pub(crate) age: Duration,
}

/// Tenants whose last seal failed: how often, and until when they are left alone.
#[derive(Default)]
struct Pauses(Mutex<HashMap<TenantId, (u32, Instant)>>);

impl Pauses {
    fn is_over(&self, tenant: &TenantId) -> bool {
        self.0.lock().get(tenant).is_none_or(|(_, until)| *until <= Instant::now())
    }

    fn has(&self, tenant: &TenantId) -> bool {
        self.0.lock().contains_key(tenant)
    }

    fn begin(&self, tenant: &TenantId) {
        let mut all = self.0.lock();
        let (failures, until) = all.entry(tenant.clone()).or_insert((0, Instant::now()));
        let pause = Duration::from_millis(500).saturating_mul(1 << (*failures).min(10));
        *failures = failures.saturating_add(1);
        *until = Instant::now() + pause.min(PAUSE_MAX);
    }

    fn end(&self, tenant: &TenantId) {
        self.0.lock().remove(tenant);
    }
}

impl Sealer {
    /// Seals what is due until stopped. What is being built then is left: it is replayed at the next start.
    pub(crate) async fn run(self, stop: CancellationToken) {
        self.seal_until(&stop).await;
    }

    async fn seal_until(&self, stop: &CancellationToken) {
        let pauses = Pauses::default();
        // Publishing is done by one at a time: two that finish at once would each take the other for missing,
        // and leave the write-ahead objects they share.
        let publishing = tokio::sync::Mutex::new(());
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let due = self.hot.due(self.bytes, self.age);
            let due = due.into_iter().filter(|tenant| pauses.is_over(tenant));
            let work = stream::iter(due).for_each_concurrent(SEALS_MAX, |tenant| {
                let (pauses, publishing) = (&pauses, &publishing);
                async move {
                    if stop.is_cancelled() {
                        return;
                    }
                    match Box::pin(self.seal(&tenant, pauses.has(&tenant), publishing, stop)).await {
                        Ok(()) => pauses.end(&tenant),
                        Err(error) => {
                            let error = &error as &dyn std::error::Error;
                            tracing::error!(%tenant, error, "cannot seal, will try again");
                            self.metrics.seal_failures.inc();
                            pauses.begin(&tenant);
                        }
                    }
                }
            });
            work.await;
            if let Err(error) = self.release_rest(&publishing).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot release write-ahead objects"
                );
            }
        }
    }

    async fn seal(
        &self,
        tenant: &TenantId,
        after_failure: bool,
        publishing: &tokio::sync::Mutex<()>,
        stop: &CancellationToken,
    ) -> Result<()> {
        if after_failure && self.is_sealed_after_all(tenant).await? {
            return Ok(());
        }
        let Some(load) = self.hot.load(tenant, self.bytes) else { return Ok(()) };
        let timer = self.metrics.seal_seconds.start_timer();
        let (after, through) = (load.after, load.through);
        let Some(open) = self.store.tenants.find(tenant).await? else {
            timer.stop_and_discard();
            self.let_go(tenant, through);
            return Ok(());
        };
        let (id, uid) = (layout::new_object_id(), open.uid);
        let building = tokio::task::spawn_blocking(move || segment::build(&open, id, &parts(&load)));
        let built = tokio::select! {
            built = building => built??,
            () = stop.cancelled() => {
                timer.stop_and_discard();
                return Ok(());
            }
        };
        let path = layout::segment(uid, id);
        let meta = built.meta(tenant, id, self.held.indexer(), (after, through), self.clock.now());
        crash::point("seal.put.before");
        if let Err(error) = objects::create(&*self.store.objects, &path, built.bytes).await {
            self.take_back(id, &path).await;
            return Err(error.into());
        }
        crash::point("seal.put.after");
        match self.publish(&meta, publishing).await {
            Err(Error::Store(StoreError::Erased { .. })) => {
                timer.stop_and_discard();
                self.take_back(id, &path).await;
                self.let_go(tenant, through);
                return Ok(());
            }
            published => published?,
        }
        timer.observe_duration();
        self.metrics.segments.inc();
        self.metrics.upkeep.sealed_bytes.inc_by(meta.bytes);
        tracing::debug!(%tenant, records = meta.records, bytes = meta.bytes, commit = through.0, "sealed");
        Ok(())
    }

    /// Deletes a segment that nobody names, and nobody will: the next attempt has another name.
    async fn take_back(&self, segment: ObjectId, path: &Path) {
        if !matches!(timeout(DELETE_MAX, self.store.objects.delete(path)).await, Ok(Ok(()))) {
            tracing::warn!(%segment, "a segment that was not published may be left behind");
        }
    }

    /// What an erased tenant had is not sealed any more, but goes.
    fn let_go(&self, tenant: &TenantId, through: CommitId) {
        self.ledger.sealed(tenant, through);
        self.hot.sealed(tenant, through);
        tracing::info!(%tenant, commit = through.0, "dropped what an erased tenant had hot");
    }

    async fn publish(&self, meta: &SegmentMeta, publishing: &tokio::sync::Mutex<()>) -> Result<()> {
        let one_at_a_time = publishing.lock().await;
        let released = self.ledger.free_after(&meta.tenant, meta.commits_through);
        crash::point("seal.publish.before");
        if let Err(error) = self.store.catalog.publish(&self.held.lease(), meta, &released).await {
            // What has become of it is the business of who holds the lease now, and so are its objects.
            if matches!(error, StoreError::Fenced { .. }) {
                self.held.lose();
                return Err(error.into());
            }
            // An error need not mean that it was not done.
            if self.sealed_through(&meta.tenant).await? < meta.commits_through {
                return Err(error.into());
            }
        }
        crash::point("seal.publish.after");
        self.ledger.sealed(&meta.tenant, meta.commits_through);
        self.ledger.released(&released);
        self.hot.sealed(&meta.tenant, meta.commits_through);
        drop(one_at_a_time);
        self.delete(&released).await;
        Ok(())
    }

    /// Up to where the catalog says that a tenant is sealed.
    async fn sealed_through(&self, tenant: &TenantId) -> Result<CommitId> {
        let all = self.store.catalog.sealed_through(self.held.indexer()).await?;
        Ok(all.into_iter().find(|(of, _)| of == tenant).map(|(_, commit)| commit).unwrap_or_default())
    }

    /// Whether the last seal, which failed, is in the catalog nevertheless: then hot follows it.
    async fn is_sealed_after_all(&self, tenant: &TenantId) -> Result<bool> {
        let through = self.sealed_through(tenant).await?;
        if through <= self.hot.sealed_through(tenant) {
            return Ok(false);
        }
        self.ledger.sealed(tenant, through);
        self.hot.sealed(tenant, through);
        Ok(true)
    }

    /// Lets objects go that nobody waits for: commits without records, and what a failure left.
    async fn release_rest(&self, publishing: &tokio::sync::Mutex<()>) -> Result<()> {
        let _one_at_a_time = publishing.lock().await;
        let free = self.ledger.free();
        if !free.is_empty() {
            crash::point("seal.release.before");
            if let Err(error) = self.store.catalog.release(&self.held.lease(), &free).await {
                if matches!(error, StoreError::Fenced { .. }) {
                    self.held.lose();
                }
                return Err(error.into());
            }
            crash::point("seal.release.after");
            self.ledger.released(&free);
            self.delete(&free).await;
        }
        Ok(())
    }

    /// Deletes released objects. What stays behind is deleted at the next start: the catalog does not name it.
    async fn delete(&self, objects: &[ObjectId]) {
        crash::point("seal.delete.before");
        let failures = delete_wal(&self.store, self.held.indexer(), objects).await;
        crash::point("seal.delete.after");
        if failures > 0 {
            tracing::warn!(failures, "left released write-ahead objects behind");
        }
    }
}

/// Deletes write-ahead objects; how many could not be.
pub(crate) async fn delete_wal(store: &Store, indexer: Uuid, objects: &[ObjectId]) -> usize {
    let deleted = stream::iter(objects.to_vec()).map(|object| async move {
        let path = layout::wal(indexer, object);
        matches!(store.objects.delete(&path).await, Ok(()) | Err(object_store::Error::NotFound { .. }))
    });
    deleted.buffer_unordered(DELETES_MAX).filter(|done| std::future::ready(!done)).count().await
}

fn parts(load: &Load) -> Vec<(CommitId, &Rows)> {
    load.chunks.iter().flat_map(|chunk| chunk.rows.iter().map(|rows| (chunk.commit, rows))).collect()
}
