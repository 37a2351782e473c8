//! Deletes what erased tenants have left. Their keys are gone already, so that nobody can read it; this is so that it does
//! not lie there, and that the name can be given again.
//!
//! ```text
//! the key is destroyed ─▶ each indexer drops what it has hot, and releases it ─▶ no reader has an older list any more
//!                      ─▶ objects are noted and deleted ─▶ the name is free
//! ```
//! One indexer does it for each tenant, and each begins anew where another has stopped. A writer that is slower than
//! that leaves its object to the [`super::collect::Collector`].

use std::collections::HashMap;
use std::sync::Arc;

use heliograph_model::time::Clock;
use heliograph_store::Store;
use heliograph_store::catalog::{ErasedAs, ErasedObject, ErasedTenant};
use heliograph_store::layout;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::collect::{delete_all_of, objects_of};
use super::erase::{AGAIN_AFTER, Asked, LINGER, NOTED_AT_ONCE, note};
use super::is_ours;
use crate::error::Result;
use crate::metrics::UpkeepMetrics;

/// Deletes the objects of tenants whose keys are gone.
pub(super) struct Shredder {
    /// Where they lie.
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

impl Shredder {
    /// Deletes until stopped.
    pub(super) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.shred_on()).await;
    }

    async fn shred_on(mut self) {
        let mut not_before: HashMap<Uuid, Instant> = HashMap::new();
        while self.asked.changed().await.is_ok() {
            let asked = Arc::clone(&self.asked.borrow_and_update());
            not_before.retain(|id, _| asked.tenants.iter().any(|tenant| tenant.erasure == *id));
            for tenant in asked.tenants.iter().filter(|tenant| tenant.waiting == 0) {
                if not_before.get(&tenant.erasure).is_some_and(|until| *until > Instant::now()) {
                    continue;
                }
                if let Err(error) = Box::pin(self.shred_if_ours(tenant)).await {
                    self.metrics.erasures.failures.inc();
                    not_before.insert(tenant.erasure, Instant::now() + AGAIN_AFTER);
                    tell(tenant, &error);
                    note(&self.store, tenant.erasure, tenant.trouble.as_deref(), &error.to_string()).await;
                }
            }
        }
    }

    async fn shred_if_ours(&self, erased: &ErasedTenant) -> Result<()> {
        let catalog = &self.store.catalog;
        if !is_ours(self.indexer, &erased.name, &catalog.indexers().await?) {
            return Ok(());
        }
        // What was asked for when it was looked last may be done by now.
        let all = catalog.erased_tenants().await?;
        if !all.iter().any(|of| of.erasure == erased.erasure && of.done.is_none()) {
            return Ok(());
        }
        sleep(LINGER).await;
        let left = objects_of(&self.store, erased.uid).await?;
        let of = |object: &object_store::ObjectMeta| {
            Some(ErasedObject {
                object: layout::segment_object(&object.location)?,
                what: ErasedAs::Unpublished,
                bytes: object.size,
                removed: 0,
                successor: None,
            })
        };
        // Those that were published are noted already, and stay as they are.
        let noted: Vec<ErasedObject> = left.iter().filter_map(of).collect();
        for some in noted.chunks(NOTED_AT_ONCE) {
            catalog.note_erased(erased.erasure, some).await?;
        }
        delete_all_of(&self.store, left).await?;
        catalog.finish_erasure(erased.erasure, self.clock.now()).await?;
        tracing::info!(id = %erased.erasure, tenant = %erased.name, objects = noted.len(), "erased a tenant");
        Ok(())
    }
}

fn tell(erased: &ErasedTenant, error: &crate::Error) {
    let (error, id, tenant) = (error as &dyn std::error::Error, erased.erasure, &erased.name);
    tracing::error!(error, %id, %tenant, "cannot delete what an erased tenant has left, will try again");
}
