//! What becomes of segments once they are sealed: small ones are merged, old ones expire, those with records that
//! are to be erased are rewritten, and what nobody needs, or can read any more, is deleted.
//!
//! Runs beside everything else and may stop at any moment: what was left undone is found again.

mod collect;
mod compact;
mod erase;
mod retain;
mod shred;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use heliograph_model::tenant::TenantId;
use heliograph_model::time::Clock;
use heliograph_store::Store;
use heliograph_store::catalog::Indexer;
use heliograph_store::compaction::Policy;
use heliograph_store::retention::Keep;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::hot::Hot;
use crate::metrics::UpkeepMetrics;
use collect::Collector;
use compact::Compactor;
use erase::{Asked, Eraser, Watcher};
use retain::Retainer;
use shred::Shredder;

/// The settings of upkeep.
#[derive(Clone, Copy, Debug)]
pub struct Upkeep {
    /// How large segments become by merging: bytes of texts, and 128 a record; 0 turns merging off.
    pub merge_bytes: u64,
    /// What tenants keep that have no bounds of their own.
    pub keep: Keep,
    /// How long a segment that is no longer searched stays for those who began before; longer than any search.
    pub delete_after: Duration,
    /// How long an object must be there without being published until it is taken for abandoned.
    pub abandoned_after: Duration,
    /// How often it is looked for something to do.
    pub look_every: Duration,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            merge_bytes: 64 << 20,
            keep: Keep::default(),
            delete_after: Duration::from_mins(10),
            abandoned_after: Duration::from_hours(6),
            look_every: Duration::from_secs(30),
        }
    }
}

/// What upkeep stands on.
pub(crate) struct Keeper {
    /// Where segments lie.
    pub(crate) store: Store,
    /// Whose segments are merged.
    pub(crate) indexer: Uuid,
    /// When.
    pub(crate) clock: Arc<dyn Clock>,
    /// Where memory is short, merges wait.
    pub(crate) hot: Arc<Hot>,
    /// What is counted.
    pub(crate) metrics: UpkeepMetrics,
}

impl Keeper {
    /// Begins all work, until stopped.
    pub(crate) fn start(self, settings: &Upkeep, tasks: &TaskTracker, stop: &CancellationToken) {
        let Self { store, indexer, clock, hot, metrics } = self;
        let Upkeep { merge_bytes, keep, delete_after, abandoned_after, look_every } = *settings;
        let (asked, to_erase) = watch::channel(Asked::default());
        let watcher = Watcher {
            store: store.clone(),
            hot: Arc::clone(&hot),
            metrics: metrics.clone(),
            look_every,
            asked,
        };
        let eraser = Eraser {
            store: store.clone(),
            indexer,
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            asked: to_erase.clone(),
        };
        let shredder = Shredder {
            store: store.clone(),
            indexer,
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            asked: to_erase.clone(),
        };
        let compactor = Compactor {
            store: store.clone(),
            indexer,
            clock: Arc::clone(&clock),
            hot,
            metrics: metrics.clone(),
            policy: Policy { target_bytes: merge_bytes },
            look_every,
            asked: to_erase,
        };
        let retainer = Retainer {
            store: store.clone(),
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            keep,
            look_every,
        };
        let collector =
            Collector { store, indexer, clock, metrics, delete_after, abandoned_after, look_every };
        tasks.spawn(watcher.run(stop.clone()));
        tasks.spawn(eraser.run(stop.clone()));
        tasks.spawn(shredder.run(stop.clone()));
        tasks.spawn(compactor.run(stop.clone()));
        tasks.spawn(retainer.run(stop.clone()));
        tasks.spawn(collector.run(stop.clone()));
    }
}

/// Whether what a tenant needs, and is nobody's own, is up to the process of this indexer: one of those whose lease
/// runs.
fn is_ours(own: Uuid, tenant: &TenantId, indexers: &[Indexer]) -> bool {
    let living: Vec<Uuid> =
        indexers.iter().filter(|of| !of.remaining.is_zero()).map(|of| of.lease.indexer).collect();
    let address = |id: Uuid| indexers.iter().find(|of| of.lease.indexer == id).map(|of| of.address.as_str());
    match (living.contains(&own), responsible(tenant, &living)) {
        // One that was taken over is its heir's, and has the address of that process.
        (true, Some(chosen)) => address(chosen) == address(own),
        // Embedded mode, or one that is about to join.
        _ => living.is_empty(),
    }
}

/// The one of these indexers to whom a tenant falls, whoever asks; none if there are none.
fn responsible(tenant: &TenantId, indexers: &[Uuid]) -> Option<Uuid> {
    let weight = |indexer: &Uuid| {
        let mut hasher = DefaultHasher::new();
        (tenant.as_str(), indexer).hash(&mut hasher);
        hasher.finish()
    };
    indexers.iter().copied().max_by_key(weight)
}
