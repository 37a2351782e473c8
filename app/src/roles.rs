//! From our configuration to each role's, and a role on its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use heliograph_agent::Token;
use heliograph_model::time::Clock;
use heliograph_query::Discovery;
use heliograph_serve::TlsMetrics;
use heliograph_store::Store;
use prometheus::Registry;
use secrecy::{ExposeSecret, SecretString};

use crate::clock::SystemClock;
use crate::config::{self, Config, Mistakes};
use crate::exit::Outcome;
use crate::first_start::{self, SignIn};
use crate::process::{Process, open};
use crate::telemetry::{Readiness, Status};
use crate::{console, places, started, telemetry};

const ROLE_NEEDS: &str = "is needed by this role (as is, or as a file by the same name with _file)";

/// What the agent is told.
pub(crate) fn agent_config(
    config: &Config,
    data_dir: PathBuf,
    indexers: Vec<String>,
    token: Token,
) -> heliograph_agent::Config {
    let agent = &config.agent;
    heliograph_agent::Config {
        data_dir: agent.data_dir.clone().unwrap_or(data_dir),
        node: agent.node.clone().unwrap_or_else(host_name),
        inputs: agent.inputs.clone(),
        indexers,
        token,
        tls: config.tls.clone(),
        tenants: agent.tenants.clone(),
        namespaces: agent.namespaces.clone(),
        kubernetes: agent.kubernetes.clone(),
        sidecar: agent.sidecar.clone(),
        spool_bytes_max: agent.spool_bytes_max,
        spool_when_full: agent.spool_when_full,
        batch_bytes_max: agent.batch_bytes_max,
        flush_after: agent.flush_after,
        scan_every: agent.scan_every,
        tenant_bytes_per_second: agent.tenant_bytes_per_second,
        unlinked_bytes_max: agent.unlinked_bytes_max,
        unlinked_container_bytes_max: agent.unlinked_container_bytes_max,
    }
}

/// What the indexer is told; with `advertise` it shares the catalog with others, which reach it there.
pub(crate) fn indexer_config(
    config: &Config,
    advertise: Option<String>,
    agent_token: Option<SecretString>,
    cluster_token: SecretString,
) -> heliograph_indexer::Config {
    let (indexer, limits) = (&config.indexer, &config.limits);
    heliograph_indexer::Config {
        agent_token,
        nodes: indexer.nodes.clone(),
        authorization_webhook: indexer.authorization_webhook.clone(),
        token_review: indexer.token_review.clone(),
        cluster_token,
        workspace: indexer.agent_workspace.clone(),
        advertise,
        linger: indexer.linger,
        body_bytes_max: limits.body_bytes_max,
        expanded_bytes_max: limits.expanded_bytes_max,
        hot_bytes_max: indexer.hot_bytes_max,
        seal_bytes: indexer.seal_bytes,
        seal_after: indexer.seal_after,
        redaction: config.redaction.clone(),
        tenant_bounds: limits.tenant,
        upkeep: heliograph_indexer::Upkeep {
            merge_bytes: indexer.merge_bytes,
            keep: config.retention.keep,
            delete_after: config.retention.delete_after,
            ..heliograph_indexer::Upkeep::default()
        },
    }
}

/// What the query role is told.
pub(crate) fn query_config(
    config: &Config,
    indexers: Discovery,
    cluster_token: SecretString,
) -> heliograph_query::Config {
    let (query, limits) = (&config.query, &config.limits);
    heliograph_query::Config {
        indexers,
        tls: heliograph_query::Tls {
            ca_file: config.tls.ca_file.clone(),
            identity: config.tls.identity.clone(),
        },
        cluster_token,
        public_urls: query.public_urls.clone(),
        session_ttl: query.session_ttl,
        session_idle: query.session_idle,
        providers: query.providers.clone(),
        index_cache_bytes: query.index_cache_bytes,
        page_cache_bytes: query.page_cache_bytes,
        secure_cookies: query.secure_cookies,
        search_concurrency: limits.search_concurrency,
        search_timeout: limits.search_timeout,
        tails_max: limits.tails_max,
        audit_keep: Some(config.audit.keep),
        forward_auth: query.forward_auth.clone(),
        authorization_webhook: query.authorization_webhook.clone(),
    }
}

/// `heliograph agent`. As a sidecar it ends by itself.
pub(crate) async fn run_agent(config: Config) -> Outcome {
    let token = match (&config.agent.token_file, &config.auth.agent_token) {
        (Some(file), _) => Token::File(file.clone()),
        (None, None) if config.tls.identity.is_some() => Token::Certificate,
        (None, token) => Token::Fixed(needed(token.as_ref(), "auth.agent_token")?),
    };
    if config.agent.indexers.is_empty() {
        return Err(config::missing("agent.indexers", "is needed by this role").into());
    }
    let data_dir = config
        .agent
        .data_dir
        .clone()
        .ok_or_else(|| config::missing("agent.data_dir", "is needed by this role"))?;
    tracing::info!(settings = config.to_line(), "settings in effect");
    let (registry, mut readiness) = (telemetry::registry()?, Readiness::default());
    let port = open(&config.agent.listener, "agent", &tls_metrics(&registry)?).await?;
    let agent = agent_config(&config, data_dir, config.agent.indexers.clone(), token);
    let ready = readiness.add("agent");
    let status = Status::new(registry.clone(), readiness, &config.telemetry);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut process = Process::default();
    process.add("agent status", |stop| async move {
        telemetry::serve(port, status.router(), stop).await;
        Ok(())
    });
    let ends = agent.sidecar.is_some();
    process.add("agent", |stop| async move {
        heliograph_agent::run(agent, clock, &registry, ready, stop).await.map_err(Into::into)
    });
    if ends {
        process.may_end();
    }
    process.run_until_signal(std::future::ready(())).await
}

/// `heliograph indexer`.
pub(crate) async fn run_indexer(config: Config) -> Outcome {
    let cluster_token = needed(config.auth.cluster_token.as_ref(), "auth.cluster_token")?;
    // It reads no segment twice, and the cache is the query role's.
    let places = heliograph_store::Config { cache: None, ..places::named(&config)? };
    tracing::info!(settings = config.to_line(), "settings in effect");
    let (registry, mut readiness) = (telemetry::registry()?, Readiness::default());
    let port = open(&config.indexer.listener, "indexer", &tls_metrics(&registry)?).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::open(&places, Arc::clone(&clock)).await?;
    started::record(&store, "indexer", &config, &*clock).await?;
    let address = port.local_addr().map_err(anyhow::Error::from)?;
    let advertise = config.indexer.advertise.clone();
    let advertise = advertise.unwrap_or_else(|| advertised(port.is_encrypted(), address));
    let indexer = indexer_config(&config, Some(advertise), config.auth.agent_token.clone(), cluster_token);
    store.object_metrics.register(&registry).map_err(anyhow::Error::from)?;
    let ready = readiness.add("indexer");
    let status = Status::new(registry.clone(), readiness, &config.telemetry).router();
    let mut process = Process::default();
    process.add("indexer", |stop| async move {
        heliograph_indexer::run(indexer, port, store, clock, &registry, status, ready, stop)
            .await
            .map_err(Into::into)
    });
    process.run_until_signal(std::future::ready(())).await
}

/// `heliograph query`.
pub(crate) async fn run_query(config: Config) -> Outcome {
    let cluster_token = needed(config.auth.cluster_token.as_ref(), "auth.cluster_token")?;
    let places = places::named(&config)?;
    tracing::info!(settings = config.to_line(), "settings in effect");
    let (registry, mut readiness) = (telemetry::registry()?, Readiness::default());
    let port = open(&config.query.listener, "query", &tls_metrics(&registry)?).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::open(&places, Arc::clone(&clock)).await?;
    if let SignIn::Generated(password) = first_start::prepare(&store, &config, &*clock).await? {
        console::say(&format!(
            "first start: sign in as {} / {password} (not shown again)",
            first_start::ADMIN
        ));
    }
    started::record(&store, "query", &config, &*clock).await?;
    let query = query_config(&config, Discovery::Catalog, cluster_token);
    store.object_metrics.register(&registry).map_err(anyhow::Error::from)?;
    let ready = readiness.add("query");
    let status = Status::new(registry.clone(), readiness, &config.telemetry).router();
    let mut process = Process::default();
    process.add("query", |stop| async move {
        heliograph_query::run(query, port, store, clock, &registry, status, ready, stop)
            .await
            .map_err(Into::into)
    });
    process.run_until_signal(std::future::ready(())).await
}

fn needed(secret: Option<&SecretString>, setting: &'static str) -> Result<SecretString, Mistakes> {
    secret
        .filter(|secret| !secret.expose_secret().is_empty())
        .cloned()
        .ok_or_else(|| config::missing(setting, ROLE_NEEDS))
}

/// How others reach what listens here: by the machine's name, where it listens on all of its addresses.
fn advertised(is_encrypted: bool, address: SocketAddr) -> String {
    let scheme = scheme(is_encrypted);
    if address.ip().is_unspecified() {
        format!("{scheme}://{}:{}", host_name(), address.port())
    } else {
        format!("{scheme}://{address}")
    }
}

/// What the URL of a port begins with.
pub(crate) const fn scheme(is_encrypted: bool) -> &'static str {
    if is_encrypted { "https" } else { "http" }
}

/// What this process's ports tell about their TLS.
pub(crate) fn tls_metrics(registry: &Registry) -> anyhow::Result<TlsMetrics> {
    Ok(TlsMetrics::new(registry)?)
}

/// The machine's name; logs carry it as their node.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
