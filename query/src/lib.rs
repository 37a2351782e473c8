//! Answers callers who may see the tenant: search, live tail, export, administration, and the page.
//!
//! ```text
//! request → access (Caller, Scope) → syntax (Filter) → plan → search ═ hot parts, segments ═▶ http → client
//!                                                      └▶ tail ═ feeds ═▶ WebSocket
//! ```
//! Stateless but for caches: any number of these run over the same catalog, objects and indexers.

pub mod access;
mod audit;
mod config;
mod cursor;
mod error;
mod exports;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod hot;
mod http;
mod lists;
mod metrics;
mod plan;
mod search;
mod segments;
mod shares;
#[cfg(test)]
mod stage;
mod syntax;
mod tail;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, header};
use heliograph_model::filter::Filter;
use heliograph_model::time::{Clock, TimeRange, Timestamp};
use heliograph_serve::{Bounds, Port};
use heliograph_store::Store;
use prometheus::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::set_header::SetResponseHeaderLayer;

use access::provider::Providers;
pub use config::{
    AuthorizationWebhook, Config, Discovery, ForwardAuth, GitHub, Gives, Mapping, Oidc, Provider,
    ProviderKind, Tls,
};
pub use error::{Error, Result};

/// Connections at the same time.
const CONNECTIONS_MAX: usize = 4_096;
/// Told to browsers over TLS: come so again, for a year.
const HSTS: &str = "max-age=31536000";
/// How long we get ready before we say so: opening the newest segments' indexes.
const WARM_MAX: Duration = Duration::from_secs(2);
/// How long requests under way may take once we stop.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Reads a query, as a search at this moment does; [`Error::Invalid`] tells where it cannot be read.
pub fn parse_query(text: &str, now: Timestamp) -> Result<Filter> {
    let filter = syntax::parse(text, now)?;
    // What cannot be compiled is refused here, too.
    search::Question::new(TimeRange::ALL, filter.clone())?;
    Ok(filter)
}

/// Serves until `stop`, then ends tails with 1001, lets requests under way finish, and returns.
///
/// `status` is merged as it is: `/healthz`, `/readyz`, and where configured open `/metrics`. `ready` turns true
/// when connections are accepted and the newest segments are open, and false when we begin to stop.
#[expect(clippy::too_many_arguments, reason = "what a role is given at its start, each a thing of its own")]
pub async fn run(
    config: Config,
    port: Port,
    store: Store,
    clock: Arc<dyn Clock>,
    registry: &Registry,
    status: Router,
    ready: watch::Sender<bool>,
    stop: CancellationToken,
) -> Result<()> {
    let tracker = TaskTracker::new();
    let metrics = metrics::Metrics::new(registry)?;
    if let Some(cache) = &store.cache {
        metrics::Metrics::watch(registry, cache)?;
    }
    let client = hot::Client::open(&config.tls)
        .await
        .map_err(|e| Error::server("the client for indexers, [tls]", e))?;
    let search = Arc::new(search::Search::new(&config, store.clone(), client.clone(), metrics.clone()));
    let (stopping, shown) = (stop.clone(), metrics.clone());
    tracker.spawn(async move { stopping.run_until_cancelled(client.keep_fresh(&shown)).await });
    let platform = match config.authorization_webhook.clone() {
        Some(webhook) => Some(Arc::new(access::Platform::open(webhook, metrics.clone()).await?)),
        None => None,
    };
    if let Some(platform) = platform.clone() {
        let stopping = stop.clone();
        tracker.spawn(async move { stopping.run_until_cancelled(platform.keep_fresh()).await });
    }
    let log = heliograph_store::audit::Log::of(&store);
    let (audit, writer) = audit::recorder(log, config.audit_keep, Arc::clone(&clock), metrics.clone());
    tracker.spawn(writer.run(stop.clone()));
    let providers = Providers::open(&config.providers, &config.tls, &config.public_urls, &clock).await?;
    let providers = Arc::new(providers);
    let (stopping, fresh) = (stop.clone(), Arc::clone(&providers));
    tracker.spawn(async move { stopping.run_until_cancelled(fresh.keep_fresh()).await });
    let search_of_api = Arc::clone(&search);
    let parts = Parts { store, clock, metrics, search: search_of_api, audit, platform, providers, status };
    let mut router = router(&config, parts, tracker.clone(), stop.clone())?;
    if port.is_encrypted() {
        router = router.layer(SetResponseHeaderLayer::overriding(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static(HSTS),
        ));
    }
    let (stopping, dropping) = (stop.clone(), Arc::clone(&search));
    tracker.spawn(async move { dropping.drop_erased(stopping).await });
    let stopping = stop.clone();
    tracker.spawn(async move {
        if stopping.run_until_cancelled(search.warm(WARM_MAX)).await.is_some() {
            ready.send_replace(true);
        }
        stopping.cancelled().await;
        ready.send_replace(false);
    });
    let bounds = Bounds { connections_max: CONNECTIONS_MAX, drain_max: DRAIN_MAX, connections: None };
    heliograph_serve::serve(port, router, bounds, stop).await;
    tracker.close();
    tracker.wait().await;
    Ok(())
}

/// What the service is made of.
struct Parts {
    store: Store,
    clock: Arc<dyn Clock>,
    metrics: metrics::Metrics,
    search: Arc<search::Search>,
    audit: audit::Recorder,
    platform: Option<Arc<access::Platform>>,
    providers: Arc<Providers>,
    status: Router,
}

/// The whole service over its parts.
fn router(config: &Config, parts: Parts, tracker: TaskTracker, stop: CancellationToken) -> Result<Router> {
    let Parts { store, clock, metrics, search, audit, platform, providers, status } = parts;
    let access = Arc::new(access::Access::new(
        config,
        Arc::clone(&store.catalog),
        Arc::clone(&clock),
        metrics.clone(),
        platform,
    )?);
    let cursors = Arc::new(cursor::Cursors::new(&store.keys)?);
    let tails = tail::Tails {
        search: Arc::clone(&search),
        access: Arc::clone(&access),
        cursors: Arc::clone(&cursors),
        clock: Arc::clone(&clock),
        metrics: metrics.clone(),
        audit: audit.clone(),
        tracker,
        stop: stop.clone(),
    };
    let api = http::Api {
        access,
        providers,
        search,
        cursors,
        tails: Arc::new(tails),
        store,
        clock,
        metrics,
        exports: exports::Exports::new(config.search_concurrency.max(1)),
        tail_turns: shares::Places::new("live tails", config.tails_max),
        audit,
        refusals: access::Refusals::default(),
        stop,
    };
    Ok(http::router(Arc::new(api), status))
}
