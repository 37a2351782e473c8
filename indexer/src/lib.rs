//! Makes batches durable, then searchable: the way of a record from the wire to a sealed segment.
//!
//! ```text
//! http ─▶ receive ─▶ commit ─┬▶ hot ─▶ seal ─▶ catalog, object store
//!            ▲          │    └▶ feed ─▶ live tails
//!            └── ack ◀──┘ after object and transaction      upkeep ─▲ merges, deletes
//! ```
//!
//! The head is `http`: it alone is told to stop. `commit` ends when the last request is gone; what is hot by
//! then lies in write-ahead objects and is replayed at the next start.

mod budget;
mod commit;
mod config;
mod credential;
mod error;
mod feed;
mod hot;
mod http;
mod ledger;
mod metrics;
mod receive;
mod replay;
mod seal;
mod upkeep;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use heliograph_model::time::Clock;
use heliograph_serve::Bounds;
use heliograph_store::Store;
use heliograph_store::catalog::Lease;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::budget::Budget;
use crate::commit::{Committer, Pending, Writer};
use crate::credential::Credentials;
use crate::feed::Feed;
use crate::hot::{Hot, Searcher};
use crate::http::App;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::receive::Intake;
use crate::replay::Replay;
use crate::seal::Sealer;
use crate::upkeep::Keeper;

pub use config::Config;
pub use error::{Error, Result};
pub use upkeep::Upkeep;

/// Connections at the same time: agents, tails of query nodes, other writers.
const CONNECTIONS_MAX: usize = 8192;
/// Longest time that running requests have to end at a stop.
const DRAIN_MAX: Duration = Duration::from_secs(8);
/// Batches that wait for the committer; their memory is bounded by the hot budget.
const QUEUE_BATCHES: usize = 1024;

/// Runs the indexer until `stop`: takes batches in on `listener`, beside the routes of `status`.
///
/// Says `ready` when everything acknowledged earlier is searchable again; until then every route of its own
/// answers 503. Returns when all accepted requests are answered. What was acknowledged is on disk at any moment,
/// so that dropping this future half-way loses nothing.
#[expect(clippy::too_many_arguments, reason = "each is one thing that the caller owns and lends")]
pub async fn run(
    config: Config,
    listener: TcpListener,
    store: Store,
    clock: Arc<dyn Clock>,
    registry: &prometheus::Registry,
    status: axum::Router,
    ready: watch::Sender<bool>,
    stop: CancellationToken,
) -> Result<()> {
    let metrics = Metrics::new(registry)?;
    let indexer = store.catalog.embedded_indexer().await?;
    let tasks = TaskTracker::new();
    // Ends with `stop`, and when a stage fails.
    let halt = stop.child_token();
    let app = Arc::new(OnceLock::new());
    let router = http::router(Arc::clone(&app)).merge(status);
    let bounds = Bounds {
        connections_max: CONNECTIONS_MAX,
        drain_max: DRAIN_MAX,
        connections: Some(metrics.connections.clone()),
    };
    let serving = tasks.spawn(heliograph_serve::serve(listener, router, bounds, halt.clone()));

    let parts = Parts { config, store, clock, metrics, indexer, tasks: tasks.clone() };
    let result = match Box::pin(parts.start(&app, &halt)).await {
        Ok(Some(mut committing)) => {
            drop(app);
            ready.send_replace(true);
            tracing::info!(%indexer, "the indexer is ready");
            let ended = tokio::select! {
                () = halt.cancelled() => Ok(()),
                // Without it nothing can be acknowledged; it ends by itself only by a mistake of ours.
                ended = &mut committing => ended,
            };
            ready.send_replace(false);
            ended.map_err(Error::from)
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    halt.cancel();
    // Its end lets go of the last sender of batches, and so ends the committer.
    serving.await?;
    tasks.close();
    tasks.wait().await;
    result
}

/// What the stages are made of.
struct Parts {
    config: Config,
    store: Store,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    indexer: Uuid,
    tasks: TaskTracker,
}

impl Parts {
    /// Replays, then starts the stages and opens the doors of `app`. The committer's task, or nothing if it was
    /// stopped meanwhile.
    async fn start(
        self,
        app: &OnceLock<App>,
        halt: &CancellationToken,
    ) -> Result<Option<tokio::task::JoinHandle<()>>> {
        let Self { config, store, clock, metrics, indexer, tasks } = self;
        let sealed = replay::sealed(&store, indexer).await?;
        let hot = Arc::new(Hot::new(indexer, Budget::new(config.hot_bytes_max), metrics.clone(), sealed));
        let ledger = Arc::new(Ledger::new(metrics.clone()));
        let replay = Replay {
            store: store.clone(),
            indexer,
            hot: Arc::clone(&hot),
            ledger: Arc::clone(&ledger),
            metrics: metrics.clone(),
        };
        if !replay.run(halt).await? {
            return Ok(None);
        }

        let feed = Arc::new(Feed::new(Arc::clone(&hot), metrics.clone(), tasks.clone(), halt.clone()));
        let (commits, queue): (mpsc::Sender<Pending>, _) = mpsc::channel(QUEUE_BATCHES);
        let lease = Lease::embedded(indexer);
        let writer = Writer {
            store: store.clone(),
            lease,
            clock: Arc::clone(&clock),
            hot: Arc::clone(&hot),
            ledger: Arc::clone(&ledger),
            feed: Arc::clone(&feed),
            metrics: metrics.clone(),
        };
        let committing = tasks.spawn(Committer::new(writer, config.linger).run(queue));
        let sealer = Sealer {
            store: store.clone(),
            lease,
            clock: Arc::clone(&clock),
            hot: Arc::clone(&hot),
            ledger,
            metrics: metrics.clone(),
            bytes: config.seal_bytes,
            age: config.seal_after,
        };
        tasks.spawn(sealer.run(halt.clone()));
        let keeper = Keeper {
            store: store.clone(),
            indexer,
            clock: Arc::clone(&clock),
            hot: Arc::clone(&hot),
            metrics: metrics.upkeep.clone(),
        };
        keeper.start(&config.upkeep, &tasks, halt);

        let (agent, cluster) = (config.agent_token.as_ref(), &config.cluster_token);
        let catalog = Arc::clone(&store.catalog);
        let credentials = Arc::new(Credentials::new(agent, cluster, catalog, Arc::clone(&clock)));
        let budget = Arc::clone(hot.budget());
        let intake =
            Intake::new(&config, Arc::clone(&credentials), store.tenants, clock, budget, commits, metrics);
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let opened = App { intake, credentials, searcher: Searcher::new(hot, threads), feed };
        if app.set(opened).is_err() {
            tracing::error!("the indexer was opened twice");
        }
        Ok(Some(committing))
    }
}
