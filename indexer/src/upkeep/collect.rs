//! Deletes objects that nobody needs any more: of retired segments, and of segments that were never published.
//!
//! Both wait, and no wall clock says for how long: this process must have seen for the whole time, by its monotonic
//! clock, that the segment is retired, or the object not published. After a restart the time begins anew.
//!
//! - **Retired**: who began a search before may have the segment in its list. The time is longer than a search
//!   may take. A search that meets a missing object nevertheless begins again with a new list, once.
//! - **Abandoned**: an object is put first and published then, and its writer may be slow, or be stopped between
//!   the two and go on after any time. So the catalog is told first that the object is given up: from then on it
//!   refuses to publish it, and the writer writes its records anew under another name. Only then it is deleted.
//!   That is exact without the time, which only spares slow writers the work.
//!
//! The object goes first, then what the catalog knows of it: stopped between them, it is deleted once more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use heliograph_model::time::{Clock, TimeRange};
use heliograph_store::Store;
use heliograph_store::catalog::{Indexer, Tenant};
use heliograph_store::layout::{self, ObjectId};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::is_ours;
use crate::error::{Error, Result};
use crate::metrics::UpkeepMetrics;

/// Retired segments that are looked at together; with more, the later ones wait for the first to go.
const RETIRED_MAX: u32 = 10_000;
/// Looks between two listings of all objects, which is dear in a distant store.
const LOOKS_A_SWEEP: u32 = 120;
/// Deletions at the same time.
const DELETES_MAX: usize = 8;

/// Deletes what nobody needs.
pub(super) struct Collector {
    /// Where it lies.
    pub(super) store: Store,
    /// Who does it: of several indexers one for each tenant.
    pub(super) indexer: Uuid,
    /// When the catalog is told so.
    pub(super) clock: Arc<dyn Clock>,
    /// What is counted.
    pub(super) metrics: UpkeepMetrics,
    /// How long a retired segment stays.
    pub(super) delete_after: Duration,
    /// How long an object may be there without being published.
    pub(super) abandoned_after: Duration,
    /// How often it looks.
    pub(super) look_every: Duration,
}

/// Since when what is on its way out was seen to be.
#[derive(Default)]
struct Waiting {
    retired: HashMap<ObjectId, Instant>,
    unpublished: HashMap<ObjectId, Instant>,
}

impl Collector {
    /// Deletes until stopped.
    pub(super) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.collect_on()).await;
    }

    async fn collect_on(&self) {
        let mut waiting = Waiting::default();
        // Listings need not be closer together than an object has to wait.
        let sweep_every = (self.look_every * LOOKS_A_SWEEP).min(self.abandoned_after);
        let mut swept: Option<Instant> = None;
        loop {
            let mut done = self.delete_retired(&mut waiting.retired).await;
            if swept.is_none_or(|at| at.elapsed() >= sweep_every) {
                swept = Some(Instant::now());
                done = done.and(self.sweep(&mut waiting.unpublished).await);
            }
            if let Err(error) = done {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "cannot delete what is not needed any more, will try again");
            }
            sleep(self.look_every).await;
        }
    }

    async fn delete_retired(&self, since: &mut HashMap<ObjectId, Instant>) -> Result<()> {
        let mut retired = self.store.catalog.retired(RETIRED_MAX).await?;
        self.metrics.retired_segments.set(i64::try_from(retired.len()).unwrap_or(i64::MAX));
        let indexers = self.store.catalog.indexers().await?;
        retired.retain(|segment| is_ours(self.indexer, &segment.tenant, &indexers));
        let known: HashSet<ObjectId> = retired.iter().map(|segment| segment.id).collect();
        since.retain(|id, _| known.contains(id));
        let mut due = Vec::new();
        for segment in retired {
            if since.entry(segment.id).or_insert_with(Instant::now).elapsed() >= self.delete_after {
                due.push((segment.id, layout::segment(segment.uid, segment.id), segment));
            }
        }
        let deleted =
            delete_objects(&self.store, due.iter().map(|(id, path, _)| (*id, path.clone())).collect()).await;
        if deleted.is_empty() {
            return Ok(());
        }
        self.store.catalog.forget(&deleted.iter().copied().collect::<Vec<_>>()).await?;
        for (_, _, segment) in due.iter().filter(|(id, ..)| deleted.contains(id)) {
            let reason = &[segment.reason.as_str()];
            self.metrics.deleted_segments.with_label_values(reason).inc();
            self.metrics.deleted_bytes.with_label_values(reason).inc_by(segment.bytes);
        }
        Ok(())
    }

    /// Looks for objects that no segment has.
    async fn sweep(&self, since: &mut HashMap<ObjectId, Instant>) -> Result<()> {
        let mut there = HashMap::new();
        let indexers = self.store.catalog.indexers().await?;
        let mut tenants = self.store.catalog.tenants().await?;
        tenants.retain(|tenant| is_ours(self.indexer, &tenant.name, &indexers));
        for tenant in tenants {
            let objects = unsearched_objects(&self.store, &tenant).await?;
            there.extend(objects.into_iter().map(|(id, object)| (id, object.location)));
        }
        self.sweep_erased(&indexers).await?;
        // Read last: what was searched a moment ago may be retired by now.
        let retired = self.store.catalog.retired(u32::MAX).await?;
        retired.iter().for_each(|segment| drop(there.remove(&segment.id)));
        since.retain(|id, _| there.contains_key(id));
        let mut due = Vec::new();
        for id in there.keys() {
            if since.entry(*id).or_insert_with(Instant::now).elapsed() >= self.abandoned_after {
                due.push(*id);
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        let given_up = self.store.catalog.discard(&due, self.clock.now()).await?;
        let gone = given_up.iter().filter_map(|id| Some((*id, there.get(id)?.clone())));
        let deleted = delete_objects(&self.store, gone.collect()).await;
        tracing::info!(objects = deleted.len(), "deleted objects that were never published");
        self.metrics.abandoned_objects.inc_by(deleted.len() as u64);
        Ok(())
    }

    /// A slow writer may have put an object of a tenant that was erased meanwhile, and ended before it took it back.
    async fn sweep_erased(&self, indexers: &[Indexer]) -> Result<()> {
        let mut erased = self.store.catalog.erased_tenants().await?;
        erased.retain(|tenant| tenant.done.is_some() && is_ours(self.indexer, &tenant.name, indexers));
        for tenant in erased {
            let left = objects_of(&self.store, tenant.uid).await?;
            let objects = left.len();
            if objects > 0 {
                delete_all_of(&self.store, left).await?;
                tracing::info!(objects, tenant = %tenant.name, "deleted what an erased tenant left");
                self.metrics.abandoned_objects.inc_by(objects as u64);
            }
        }
        Ok(())
    }
}

/// All that lies under a tenant's id.
pub(super) async fn objects_of(store: &Store, uid: Uuid) -> Result<Vec<ObjectMeta>> {
    Ok(store.objects.list(Some(&layout::tenant_prefix(uid))).try_collect().await?)
}

/// Deletes all of these, or fails.
pub(super) async fn delete_all_of(store: &Store, objects: Vec<ObjectMeta>) -> Result<()> {
    let count = objects.len();
    let named = objects.into_iter().map(|object| (layout::new_object_id(), object.location)).collect();
    if delete_objects(store, named).await.len() == count {
        Ok(())
    } else {
        Err(Error::Unavailable { reason: "some objects cannot be deleted" })
    }
}

/// Objects of a tenant that are not searched. They are listed first, so that one which is published meanwhile is known.
pub(super) async fn unsearched_objects(
    store: &Store,
    tenant: &Tenant,
) -> Result<HashMap<ObjectId, ObjectMeta>> {
    let prefix = layout::segment_prefix(tenant.uid);
    let listed = store.objects.list(Some(&prefix));
    let named = listed.try_filter_map(|object| async move {
        Ok(layout::segment_object(&object.location).map(|id| (id, object)))
    });
    let mut there: HashMap<ObjectId, ObjectMeta> = named.try_collect().await?;
    if !there.is_empty() {
        let searched = store.catalog.segments(&tenant.name, &TimeRange::ALL).await?;
        searched.iter().for_each(|segment| drop(there.remove(&segment.id)));
    }
    Ok(there)
}

/// Deletes objects; those that are gone now.
pub(super) async fn delete_objects(store: &Store, objects: Vec<(ObjectId, Path)>) -> HashSet<ObjectId> {
    let deleting = stream::iter(objects).map(|(id, path)| async move {
        match store.objects.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Some(id),
            Err(error) => {
                tracing::warn!(%path, error = &error as &dyn std::error::Error, "cannot delete an object");
                None
            }
        }
    });
    deleting.buffer_unordered(DELETES_MAX).filter_map(std::future::ready).collect().await
}
