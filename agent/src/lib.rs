//! One per node: follows log files and ships their records.
//!
//! ```text
//! file → tail → frame → enrich → gather ─▶ spool ─▶ ship ═HTTP═▶ indexer
//! └───────── reading thread ───────────┘  thread    tasks
//! ```
//! A line is read once: what was read and not spooled before a crash is read again, what was spooled and not
//! acknowledged is sent again under the same number, and the indexer recognises it. When the spool is full,
//! reading waits: the files themselves are the buffer. Only when that was in vain the oldest batches of the
//! largest tenant are dropped, and records in their place say so.

pub mod config;
mod discover;
mod ending;
mod enrich;
mod error;
mod fault;
mod follow;
mod frame;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod gather;
mod metrics;
mod pods;
mod sealed;
mod ship;
mod spool;
mod tail;
mod tenancy;

mod home;

use std::sync::Arc;

use heliograph_model::time::Clock;
use prometheus::Registry;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::{
    ApiAccess, Config, Input, Kubernetes, LabelSelector, NamespaceFrom, NamespaceSelection, Otherwise,
    Rights, Sidecar, TenantRules, Tls, Token, WhenFull,
};
pub use error::{Error, Result};

use discover::Discovery;
use discover::wake::Wake;
use ending::{end, ending};
use follow::budget::UnlinkedMax;
use follow::{Context, Follower};
use gather::{Gather, Gathered};
use home::Home;
use metrics::Metrics;
use pods::{Pods, Watching};
use ship::{Quarantine, Shipper};
use spool::{Limits, Spool};
use tenancy::Tenancy;

/// Batches between the reading thread and the spool's: enough to write several with one sync.
const GATHERED_MAX: usize = 4;

/// Follows and ships until `stop`; then spools what was read, tries to send it for a short while, and returns.
/// A sidecar ends by itself once its container has finished and all is acknowledged.
///
/// `ready` turns true once all inputs have been scanned for the first time.
pub async fn run(
    config: Config,
    clock: Arc<dyn Clock>,
    registry: &Registry,
    ready: watch::Sender<bool>,
    stop: CancellationToken,
) -> Result<()> {
    let config = config.with_sidecar();
    let metrics = Metrics::new(registry)?;
    let wake = Arc::new(Wake::new()?);
    let tenancy = Arc::new(Tenancy::new(&config, metrics.clone())?);
    let discovery = Discovery::new(&config, &tenancy, metrics.clone(), Arc::clone(&wake))?;
    let (home, spool, quarantine) = open(&config, Arc::clone(&clock), metrics.clone()).await?;
    let shipper =
        Shipper::new(Arc::clone(&spool), &config, home.producer.clone(), quarantine, metrics.clone()).await?;
    let (gathered_tx, gathered_rx) = mpsc::channel(GATHERED_MAX);
    let backlog = Arc::clone(&spool);
    let gather = Gather::new(gathered_tx, config.batch_bytes_max)
        .with_backlog(Box::new(move |tenant| backlog.is_behind(tenant)));
    let pods = Arc::new(Pods::new(config.kubernetes.is_some()));
    let discovery = discovery.with_pods(&pods);
    let known = (Arc::clone(&pods), Arc::clone(&tenancy));
    let watching = watch_pods(&config, &home, known, &wake, &clock, &metrics).await?;
    let context = Context {
        producer: home.producer.clone(),
        clock,
        wake: Arc::clone(&wake),
        scan_every: config.scan_every,
        flush_after: config.flush_after,
        tenant_bytes_per_second: config.tenant_bytes_per_second,
        unlinked_max: UnlinkedMax {
            node: config.unlinked_bytes_max,
            container: config.unlinked_container_bytes_max,
        },
        pods,
        tenancy,
        metrics,
    };
    let saved = spool.positions().0;
    let follower = Follower::new(discovery, saved, gather, context);

    let tracker = TaskTracker::new();
    let reading = tracker.spawn_blocking(move || follower.run(&ready));
    let (spooler, room) = (Arc::clone(&spool), Arc::clone(&wake));
    let spooling = tracker.spawn_blocking(move || spool_all(&spooler, gathered_rx, &room));
    let (drained, abandon) = (CancellationToken::new(), CancellationToken::new());
    let shipping = tracker.spawn(Arc::new(shipper).run(drained.clone(), abandon.clone()));
    tracker.close();

    // The head of the chain is told to stop; each later stage ends when the one before it has. If one fails
    // before, those before it notice, and the head ends by itself.
    let chain = async {
        let read = reading.await.map_err(|e| died("reading", &e));
        read.and(spooling.await.map_err(|e| died("spooling", &e)).flatten())
    };
    let (ended, deadline) = end(chain, ending(config.sidecar.as_ref(), &stop), &wake, &spool).await;
    drained.cancel();
    let sent = tokio::time::timeout_at(deadline.at, tracker.wait()).await.is_ok();
    let ended = ended.and(deadline.outcome(sent));
    abandon.cancel();
    shipping.await.map_err(|e| died("shipping", &e))?;
    if let Some(watching) = watching {
        watching.stop().await;
    }
    let saved = tokio::task::spawn_blocking(move || spool.save()).await.map_err(|e| died("saving", &e))?;
    drop(home);
    ended.and(saved)
}

async fn open(
    config: &Config,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
) -> Result<(Home, Arc<Spool>, Quarantine)> {
    let (data_dir, node) = (config.data_dir.clone(), config.node.clone());
    let limits = Limits { bytes_max: config.spool_bytes_max, when_full: config.spool_when_full };
    let opened = tokio::task::spawn_blocking(move || {
        let home = Home::open(&data_dir)?;
        let (own, key) = (home.own_source(&node), home.key.clone());
        let quarantine = Quarantine::new(home.quarantine_dir(), key.clone(), metrics.clone());
        let spool = Spool::open(&home.spool_dir(), key, limits, own, clock, metrics)?;
        Ok((home, Arc::new(spool), quarantine))
    });
    opened.await.map_err(|e| died("opening", &e))?
}

/// Starts to ask the API server about pods, where the agent may.
async fn watch_pods(
    config: &Config,
    home: &Home,
    known: (Arc<Pods>, Arc<Tenancy>),
    wake: &Arc<Wake>,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<Option<Watching>> {
    let Some(kubernetes) = &config.kubernetes else { return Ok(None) };
    let at_rest = (home.pods_file(), home.key.clone());
    let (wake, clock, metrics) = (Arc::clone(wake), Arc::clone(clock), metrics.clone());
    Watching::start(kubernetes, &config.node, at_rest, known, wake, clock, metrics).await.map(Some)
}

/// Spools batches as they come, several with one sync where several wait.
fn spool_all(spool: &Spool, mut gathered: mpsc::Receiver<Gathered>, wake: &Wake) -> Result<()> {
    while let Some(first) = gathered.blocking_recv() {
        let mut batches = vec![first];
        while let Ok(next) = gathered.try_recv() {
            batches.push(next);
        }
        wake.made_room();
        if !spool.append(batches)? {
            tracing::info!("stopped while the spool was full, the last lines will be read again");
            break;
        }
    }
    Ok(())
}

fn died(what: &'static str, error: &tokio::task::JoinError) -> Error {
    Error::Unavailable { what, reason: error.to_string() }
}
