//! Starts the watches, keeps the file at rest and the figures, and stops them again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use heliograph_model::cipher::SecretKey;
use heliograph_model::time::{Clock, Timestamp};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::cache::Cache;
use super::client::client;
use super::watch::Watcher;
use super::{GONE_KEEP_NANOS, Pods};
use crate::config::{Kubernetes, Rights};
use crate::discover::wake::Wake;
use crate::error::Result;
use crate::metrics::Metrics;
use crate::tenancy::Tenancy;

/// How often figures are shown.
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// How often what has changed is written: what a crash loses, the API server tells again. Ends of containers are
/// written at once, as it shows two of a container only.
const SAVE_EVERY_TICKS: u32 = 10;

/// The watches, and what keeps their yield.
pub(crate) struct Watching {
    tasks: TaskTracker,
    stop: DropGuard,
    keeper: Arc<Keeper>,
}

struct Keeper {
    path: PathBuf,
    key: SecretKey,
    pods: Arc<Pods>,
    tenancy: Arc<Tenancy>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    started: Instant,
    /// The edition of `tenancy` that is at rest.
    saved: AtomicU64,
}

impl Watching {
    /// Takes over what was known before, and starts. Waits for no answer of the API server.
    pub(crate) async fn start(
        config: &Kubernetes,
        node: &str,
        at_rest: (PathBuf, SecretKey),
        (pods, tenancy): (Arc<Pods>, Arc<Tenancy>),
        wake: Arc<Wake>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self> {
        let client = client(&config.access, Arc::clone(&pods)).await?;
        let (path, key) = at_rest;
        let (pods_, tenancy_) = (Arc::clone(&pods), Arc::clone(&tenancy));
        let (clock_, metrics_) = (Arc::clone(&clock), metrics.clone());
        let keeper = Arc::new(Keeper {
            path,
            key,
            pods: pods_,
            tenancy: tenancy_,
            clock: clock_,
            metrics: metrics_,
            started: Instant::now(),
            saved: AtomicU64::new(0),
        });
        let loading = Arc::clone(&keeper);
        tokio::task::spawn_blocking(move || loading.load())
            .await
            .map_err(|e| crate::died("loading pods", &e))?;
        let scopes: Vec<Option<String>> = match &config.rights {
            Rights::Cluster => vec![None],
            Rights::Namespaces(namespaces) => namespaces.iter().cloned().map(Some).collect(),
        };
        let needs_labels = tenancy.needs_labels();
        let unlisted = Arc::new(AtomicUsize::new(scopes.len()));
        let watcher = Watcher { pods, tenancy, wake, clock, metrics, unlisted };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        for scope in scopes {
            let (client, node, stop) = (client.clone(), node.to_owned(), stop.clone());
            tasks.spawn(watcher.clone().pods(client, node, scope, stop));
        }
        if needs_labels {
            tasks.spawn(watcher.namespaces(client, stop.clone()));
        }
        tasks.spawn(Arc::clone(&keeper).keep(stop.clone()));
        tasks.close();
        Ok(Self { tasks, stop: stop.drop_guard(), keeper })
    }

    /// Ends the watches, and writes what they have learned.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.tasks.wait().await;
        self.keeper.save().await;
    }
}

impl Keeper {
    fn load(&self) {
        let cache = Cache::read(&self.path, &self.key);
        self.pods.remember(cache.pods);
        for (name, namespace) in cache.namespaces {
            self.tenancy.learn(&name, namespace);
        }
    }

    async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(SHOW_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = 0_u32;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.show();
            count = count.wrapping_add(1);
            if self.pods.has_unsaved_end() || count.is_multiple_of(SAVE_EVERY_TICKS) {
                self.save().await;
            }
        }
    }

    fn show(&self) {
        let now = Instant::now();
        let since = now.saturating_duration_since(self.pods.contact().unwrap_or(self.started));
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.metrics.pods_known.set(count(self.pods.count()));
        self.metrics.api_contact_age.set(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        self.tenancy.show(now);
    }

    /// Writes what has changed.
    async fn save(self: &Arc<Self>) {
        let now = self.clock.now();
        self.tenancy.prune(Timestamp::from_nanos(now.as_nanos().saturating_sub(GONE_KEEP_NANOS)));
        let edition = self.tenancy.edition();
        let changed = self.saved.swap(edition, Ordering::Relaxed) != edition;
        let Some(pods) = self.pods.to_save(now, changed) else { return };
        let cache = Cache { pods, namespaces: self.tenancy.known() };
        let keeper = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || cache.write(&keeper.path, &keeper.key)).await;
        let written = written.map_err(|e| crate::died("saving pods", &e)).flatten();
        if let Err(error) = &written {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(%error, cause, "known pods cannot be written");
        }
        self.pods.saved(written.is_ok());
    }
}
