//! Makes batches durable, then searchable: the way of a record from the wire to a sealed segment.
//!
//! ```text
//! http ─▶ receive ─▶ commit ─┬▶ hot ─▶ seal ─▶ catalog, object store
//!            ▲          │    └▶ feed ─▶ live tails
//!            └── ack ◀──┘ after object and transaction      upkeep ─▲ merges, deletes
//! ```
//!
//! The head is `http`: it alone is told to stop. `commit` ends when the last request is gone; what is hot by
//! then lies in write-ahead objects, and is replayed at the next start or by an heir.
//!
//! A process that shares the catalog with others writes by a `lease`, and takes over what others leave: `takeover`.

mod audit;
mod budget;
mod commit;
mod config;
mod credential;
mod error;
mod feed;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod holdings;
mod hot;
mod http;
mod lease;
mod ledger;
mod metrics;
mod node;
mod platform;
mod quota;
mod receive;
mod replay;
mod review;
mod seal;
mod takeover;
mod upkeep;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use heliograph_model::time::Clock;
use heliograph_serve::{Bounds, Port};
use heliograph_store::Store;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::Budget;
use crate::commit::{Committer, Pending, Writer};
use crate::credential::Credentials;
use crate::feed::Feed;
use crate::holdings::{Holding, Holdings};
use crate::hot::{Hot, Searcher};
use crate::http::App;
use crate::lease::Held;
use crate::metrics::Metrics;
use crate::node::Nodes;
use crate::platform::Platform;
use crate::receive::Intake;
use crate::review::Reviews;
use crate::seal::Sealer;
use crate::takeover::Heir;
use crate::upkeep::Keeper;

pub use config::{Config, TenantBounds};
pub use error::{Error, Result};
pub use node::{NodeName, NodeRule, Reach};
pub use review::TokenReview;
pub use upkeep::Upkeep;

/// Connections at the same time: agents, tails of query nodes, other writers.
const CONNECTIONS_MAX: usize = 8192;
/// Longest time that running requests have to end at a stop.
const DRAIN_MAX: Duration = Duration::from_secs(8);
/// Batches that wait for the committer; their memory is bounded by the hot budget.
const QUEUE_BATCHES: usize = 1024;

/// Runs the indexer until `stop`: takes batches in on `port`, beside the routes of `status`.
///
/// Says `ready` when everything acknowledged earlier is searchable again; until then every route of its own
/// answers 503. Returns when all accepted requests are answered, with [`Error::Fenced`] if another process has
/// taken over. What was acknowledged is on disk at any moment, so that dropping this future half-way loses nothing.
#[expect(clippy::too_many_arguments, reason = "each is one thing that the caller owns and lends")]
pub async fn run(
    config: Config,
    port: Port,
    store: Store,
    clock: Arc<dyn Clock>,
    registry: &prometheus::Registry,
    status: axum::Router,
    ready: watch::Sender<bool>,
    stop: CancellationToken,
) -> Result<()> {
    let metrics = Metrics::new(registry)?;
    let tasks = TaskTracker::new();
    // Ends with `stop`, and when a stage fails.
    let halt = stop.child_token();
    let held = Arc::new(match &config.advertise {
        Some(_) => Held::of_new_indexer(&halt),
        None => Held::embedded(store.catalog.embedded_indexer().await?, &halt),
    });
    let app = Arc::new(OnceLock::new());
    let router = port.guard(http::router(Arc::clone(&app))).merge(status);
    let bounds = Bounds {
        connections_max: CONNECTIONS_MAX,
        drain_max: DRAIN_MAX,
        connections: Some(metrics.connections.clone()),
    };
    let serving = tasks.spawn(heliograph_serve::serve(port, router, bounds, halt.clone()));

    let (catalog, advertise) = (Arc::clone(&store.catalog), config.advertise.clone());
    let parts = Parts { config, store, clock, metrics, held: Arc::clone(&held), tasks: tasks.clone() };
    let work = async {
        let result = match Box::pin(parts.start(&app, &halt)).await {
            Ok(Some(committing)) => until_ended(committing, &held, &ready).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        halt.cancel();
        drop(app);
        // Its end lets go of the last sender of batches, and so ends the committer.
        serving.await?;
        tasks.close();
        tasks.wait().await;
        result
    };
    // The lease is kept until nothing is written by it any more.
    let done = CancellationToken::new();
    let keeping = async {
        if advertise.is_some() {
            held.keep(&*catalog, &done).await;
        }
    };
    let work = async {
        let result = work.await;
        done.cancel();
        result
    };
    let (result, ()) = tokio::join!(Box::pin(work), keeping);
    held.hand_over(&*catalog).await;
    held.verdict().and(result)
}

/// Waits for the end: of the lease, of the committer, or as told.
async fn until_ended(mut committing: JoinHandle<()>, held: &Held, ready: &watch::Sender<bool>) -> Result<()> {
    ready.send_replace(true);
    tracing::info!(indexer = %held.indexer(), "the indexer is ready");
    let ended = tokio::select! {
        () = held.end().cancelled() => Ok(()),
        // Without it nothing can be acknowledged; it ends by itself only by a mistake of ours.
        ended = &mut committing => ended,
    };
    ready.send_replace(false);
    ended.map_err(Error::from)
}

/// What the stages are made of.
struct Parts {
    config: Config,
    store: Store,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    held: Arc<Held>,
    tasks: TaskTracker,
}

impl Parts {
    /// Replays, starts the stages and opens the doors of `app`, and registers. The committer's task, or nothing if
    /// it was stopped meanwhile.
    async fn start(self, app: &OnceLock<App>, halt: &CancellationToken) -> Result<Option<JoinHandle<()>>> {
        let Self { config, store, clock, metrics, held, tasks } = &self;
        let budget = Budget::new(config.hot_bytes_max);
        let replayed = replay::replay(store, held.indexer(), &budget, metrics, halt).await?;
        let Some((hot, ledger)) = replayed else { return Ok(None) };
        let feed = Arc::new(Feed::new(Arc::clone(&hot), metrics.clone(), tasks.clone(), halt.clone()));
        let (commits, queue): (mpsc::Sender<Pending>, _) = mpsc::channel(QUEUE_BATCHES);
        let writer = Writer {
            store: store.clone(),
            held: Arc::clone(held),
            clock: Arc::clone(clock),
            hot: Arc::clone(&hot),
            ledger: Arc::clone(&ledger),
            feed: Arc::clone(&feed),
            metrics: metrics.clone(),
        };
        let committing = tasks.spawn(Committer::new(writer, config.linger).run(queue));
        let sealer = Sealer {
            store: store.clone(),
            held: Arc::clone(held),
            clock: Arc::clone(clock),
            hot: Arc::clone(&hot),
            ledger,
            metrics: metrics.clone(),
            bytes: config.seal_bytes,
            age: config.seal_after,
        };
        tasks.spawn(sealer.run(halt.clone()));
        let own = Holding { held: Arc::clone(held), hot: Arc::clone(&hot), feed };
        let holdings = Arc::new(Holdings::new(own));
        let heir = self.heir(&budget, &holdings);
        self.keeper(&hot).start(&config.upkeep, tasks, halt);

        let catalog = Arc::clone(&store.catalog);
        let credentials = Arc::new(self.credentials(halt).await?);
        let intake = Intake::new(
            config,
            Arc::clone(&credentials),
            Arc::clone(&catalog),
            store.tenants.clone(),
            Arc::clone(clock),
            hot,
            commits,
            metrics.clone(),
        );
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let opened = App { intake, credentials, searcher: Searcher::new(threads), holdings };
        if app.set(opened).is_err() {
            tracing::error!("the indexer was opened twice");
        }
        if let (Some(address), Some(heir)) = (&config.advertise, heir) {
            // Behind open doors: who reads of it asks it at once.
            if !held.register(&*catalog, address).await? {
                return Ok(None);
            }
            tasks.spawn(heir.run(halt.clone()));
        }
        Ok(Some(committing))
    }

    /// What proves senders.
    async fn credentials(&self, halt: &CancellationToken) -> Result<Credentials> {
        let Self { config, store, clock, metrics, tasks, .. } = self;
        let platform = match config.authorization_webhook.clone() {
            Some(webhook) => Some(Arc::new(Platform::open(webhook, metrics).await?)),
            None => None,
        };
        if let Some(platform) = platform.clone() {
            let halt = halt.clone();
            tasks.spawn(async move { halt.run_until_cancelled(platform.keep_fresh()).await });
        }
        let reviews = match config.token_review.clone() {
            Some(review) => Some(Arc::new(Reviews::open(review, metrics).await?)),
            None => None,
        };
        if let Some(reviews) = reviews.clone() {
            let halt = halt.clone();
            tasks.spawn(async move { halt.run_until_cancelled(reviews.keep_fresh()).await });
        }
        let catalog = Arc::clone(&store.catalog);
        let nodes = Nodes::new(config.nodes.clone(), config.workspace.clone(), Arc::clone(&catalog));
        let (agent, cluster) = (config.agent_token.as_ref(), &config.cluster_token);
        let (recorder, writer) = audit::recorder(store.clone(), Arc::clone(clock), metrics.clone());
        tasks.spawn(writer.run());
        let clock = Arc::clone(clock);
        Ok(Credentials::new(agent, cluster, catalog, clock, nodes, platform, reviews, metrics, recorder))
    }

    /// Who takes over what others leave; nobody in embedded mode.
    fn heir(&self, budget: &Arc<Budget>, holdings: &Arc<Holdings>) -> Option<Heir> {
        self.config.advertise.as_ref().map(|address| Heir {
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            metrics: self.metrics.clone(),
            budget: Arc::clone(budget),
            tasks: self.tasks.clone(),
            address: address.as_str().into(),
            own: Arc::clone(&self.held),
            holdings: Arc::clone(holdings),
            seal_bytes: self.config.seal_bytes,
        })
    }

    fn keeper(&self, hot: &Arc<Hot>) -> Keeper {
        Keeper {
            store: self.store.clone(),
            indexer: self.held.indexer(),
            clock: Arc::clone(&self.clock),
            hot: Arc::clone(hot),
            metrics: self.metrics.upkeep.clone(),
        }
    }
}
