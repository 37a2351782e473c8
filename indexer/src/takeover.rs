//! Takes over indexers whose process is gone: their records are searchable here, are sealed, and then the indexer
//! is no more.
//!
//! ```text
//! claim ─▶ replay ─▶ answer for it ─▶ seal all ─▶ wait ─▶ retire ─▶ answer a little longer
//!   └───────────────── renew the lease ────────────────┘
//! ```
//! All under its own id: marks, commits and segments stay what they are for readers. Nothing new is committed
//! for it. At any point this process may die in its turn: then the next one begins again.

use std::sync::Arc;
use std::time::Duration;

use heliograph_model::time::Clock;
use heliograph_store::catalog::{LISTED_WITHIN, Lease};
use heliograph_store::{Error as StoreError, Store, crash};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::budget::Budget;
use crate::error::Result;
use crate::feed::Feed;
use crate::holdings::{Holding, Holdings};
use crate::hot::Hot;
use crate::lease::{Held, LEASE_FOR};
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::replay;
use crate::seal::Sealer;

/// How often the catalog is asked for a lease that has run out, and how often it is looked whether all is sealed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const SEALED_LOOK_EVERY: Duration = Duration::from_millis(100);
/// Pause after a replay that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// From the last seal to the indexer's end, and from there to when it is not answered for any more. Readers keep
/// lists of segments and of indexers for a moment: before the end the former, after it the latter must be new.
const LINGER: Duration = LISTED_WITHIN.saturating_add(Duration::from_millis(500));

/// Takes over what others leave.
#[derive(Clone)]
pub(crate) struct Heir {
    /// Where all lies.
    pub(crate) store: Store,
    /// When.
    pub(crate) clock: Arc<dyn Clock>,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// The memory that all hot records of this process share.
    pub(crate) budget: Arc<Budget>,
    /// Whose the tasks are.
    pub(crate) tasks: TaskTracker,
    /// Where this process is reached.
    pub(crate) address: Arc<str>,
    /// The process's own lease.
    pub(crate) own: Arc<Held>,
    /// Where what is taken over is answered for.
    pub(crate) holdings: Arc<Holdings>,
    /// A segment's size, in memory.
    pub(crate) seal_bytes: usize,
}

/// Ids that must not be claimed: this process has them.
type Ids = Arc<Mutex<Vec<Uuid>>>;

impl Heir {
    /// Looks for what is to be taken over until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        if let Err(error) = self.adopt_embedded().await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "cannot see whether embedded mode left anything behind");
        }
        let ids = Ids::new(Mutex::new(vec![self.own.indexer()]));
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            if !self.own.is_steady() {
                continue;
            }
            let held = ids.lock().clone();
            let began = Instant::now();
            crash::point("takeover.claim.before");
            match self.store.catalog.claim_indexer(&self.address, LEASE_FOR, &held).await {
                Ok(Some(lease)) => {
                    crash::point("takeover.claim.after");
                    ids.lock().push(lease.indexer);
                    let (heir, ids, stop) = (self.clone(), Arc::clone(&ids), stop.clone());
                    self.tasks.spawn(async move {
                        heir.take_over(lease, began, &stop).await;
                        ids.lock().retain(|id| *id != lease.indexer);
                    });
                }
                Ok(None) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "cannot look for indexers without a process");
                }
            }
        }
    }

    /// What `heliograph up` wrote ahead to this catalog and did not seal is left by an indexer of no process, too.
    async fn adopt_embedded(&self) -> Result<()> {
        let catalog = &self.store.catalog;
        let embedded = catalog.embedded_indexer().await?;
        if catalog.wal_objects(embedded).await?.is_empty() {
            return Ok(());
        }
        crash::point("takeover.adopt.before");
        let adopted = catalog.register_indexer(embedded, &self.address, Duration::ZERO).await;
        crash::point("takeover.adopt.after");
        match adopted {
            Ok(_) | Err(StoreError::Exists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn take_over(&self, lease: Lease, began: Instant, stop: &CancellationToken) {
        tracing::info!(indexer = %lease.indexer, epoch = lease.epoch, "taking over");
        self.metrics.takeovers.inc();
        let held = Arc::new(Held::claimed(lease, began, stop));
        let renewed_until = CancellationToken::new();
        let catalog = &*self.store.catalog;
        let work = async {
            let is_retired = self.answer_and_seal(&held, &renewed_until).await;
            renewed_until.cancel();
            is_retired
        };
        let (is_retired, ()) = tokio::join!(Box::pin(work), held.keep(catalog, &renewed_until));
        held.end().cancel();
        self.holdings.remove(lease.indexer);
        if !is_retired {
            held.hand_over(catalog).await;
        }
    }

    /// Makes the indexer's records searchable here and seals them. Whether the indexer is no more; it is not where
    /// the lease is lost or all stops before.
    async fn answer_and_seal(&self, held: &Arc<Held>, renewed_until: &CancellationToken) -> bool {
        let end = held.end();
        let (hot, ledger) = loop {
            let replaying = replay::replay(&self.store, held.indexer(), &self.budget, &self.metrics, end);
            match Box::pin(replaying).await {
                Ok(Some(replayed)) => break replayed,
                Ok(None) => return false,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, indexer = %held.indexer(), "cannot replay, will try again");
                }
            }
            if end.run_until_cancelled(tokio::time::sleep(AGAIN_AFTER)).await.is_none() {
                return false;
            }
        };
        let feed = Feed::new(Arc::clone(&hot), self.metrics.clone(), self.tasks.clone(), end.clone());
        self.holdings.add(Holding { held: Arc::clone(held), hot: Arc::clone(&hot), feed: Arc::new(feed) });
        crash::point("takeover.answer.after");
        self.seal_all(held, &hot, &ledger).await;
        crash::point("takeover.seal.after");
        if ledger.has_damaged() {
            tracing::error!(indexer = %held.indexer(), "it is kept, for some of its write-ahead objects are damaged");
            end.cancelled().await;
        }
        if end.run_until_cancelled(tokio::time::sleep(LINGER)).await.is_none() {
            return false;
        }
        // What is retired cannot be renewed.
        renewed_until.cancel();
        crash::point("takeover.retire.before");
        match self.store.catalog.retire_indexer(&held.lease()).await {
            Ok(true) => {
                crash::point("takeover.retire.after");
                tracing::info!(indexer = %held.indexer(), "all of it is sealed: it is no more");
                end.run_until_cancelled(tokio::time::sleep(LINGER)).await;
                true
            }
            Ok(false) => {
                tracing::warn!(indexer = %held.indexer(), "something of it is still needed");
                false
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, indexer = %held.indexer(), "cannot retire it");
                false
            }
        }
    }

    async fn seal_all(&self, held: &Arc<Held>, hot: &Arc<Hot>, ledger: &Arc<Ledger>) {
        let sealer = Sealer {
            store: self.store.clone(),
            held: Arc::clone(held),
            clock: Arc::clone(&self.clock),
            hot: Arc::clone(hot),
            ledger: Arc::clone(ledger),
            metrics: self.metrics.clone(),
            bytes: self.seal_bytes,
            age: Duration::ZERO,
        };
        let sealing = held.end().child_token();
        let all_sealed = async {
            while !(hot.is_empty() && ledger.is_done()) {
                if sealing.run_until_cancelled(tokio::time::sleep(SEALED_LOOK_EVERY)).await.is_none() {
                    return;
                }
            }
            sealing.cancel();
        };
        tokio::join!(Box::pin(sealer.run(sealing.clone())), all_sealed);
    }
}
