//! The configuration: file and environment, as written → as used. Reports every mistake at once, and is the
//! only place that reads the environment.

mod agent;
mod forwarding;
mod kubernetes;
mod listener;
mod nodes;
mod providers;
mod reader;
mod redaction;
mod shipping;
mod show;
mod storage;
mod values;
mod webhook;
mod written;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use heliograph_agent::Tls;
use heliograph_egress::Target;
use heliograph_egress::webhook::Keep;
use heliograph_indexer::{NodeRule, TenantBounds, TokenReview};
use heliograph_model::redact::Redactor;
use heliograph_model::tenant::Workspace;
use heliograph_query::{AuthorizationWebhook, ForwardAuth};
use heliograph_store::catalog::{self, Role};
use heliograph_store::objects::{CacheConfig, is_credential_variable};
use heliograph_store::retention;
use secrecy::SecretString;

pub(crate) use agent::{Agent, check_glob};
use forwarding::RoleName;
pub(crate) use listener::Listener;
use reader::{Notes, Reader};
use values::{BaseUrl, Count, Shown};
pub(crate) use values::{Bytes, Span};
use written::{Origin, Table};

/// What the names of our environment variables begin with.
const PREFIX: &str = "HELIOGRAPH_";

const MIB: u64 = 1 << 20;
/// A year, and time to look back at it.
const AUDIT_KEEP: Duration = Duration::from_hours(400 * 24);
/// Less would be as good as no log.
const AUDIT_KEEP_MIN: Duration = Duration::from_hours(24);

/// Everything that can be set, checked and with defaults.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) agent: Agent,
    /// `[tls]`: files for connections to indexers.
    pub(crate) tls: Tls,
    pub(crate) indexer: Indexer,
    /// `[redaction]`: what is taken out of records at ingest.
    pub(crate) redaction: Option<Arc<Redactor>>,
    pub(crate) retention: Retention,
    pub(crate) query: Query,
    pub(crate) audit: Audit,
    pub(crate) places: Places,
    pub(crate) auth: Auth,
    pub(crate) limits: Limits,
    pub(crate) telemetry: Telemetry,
    pub(crate) bootstrap_password: Option<SecretString>,
    effective: Vec<(String, Shown)>,
}

/// `[indexer]`.
#[derive(Debug)]
pub(crate) struct Indexer {
    pub(crate) listener: Listener,
    /// The base URL at which query nodes reach it; unset, it is made of host name and port.
    pub(crate) advertise: Option<String>,
    /// `[[indexer.nodes]]`: for whom agents may ship.
    pub(crate) nodes: Vec<NodeRule>,
    /// `[indexer.token_review]`: who agents with service-account tokens are.
    pub(crate) token_review: Option<TokenReview>,
    /// `[indexer.authorization_webhook]`: who knows further senders.
    pub(crate) authorization_webhook: Option<(Target, Keep)>,
    /// The workspace of tenants that agents bring.
    pub(crate) agent_workspace: Workspace,
    pub(crate) linger: Duration,
    pub(crate) hot_bytes_max: usize,
    pub(crate) seal_bytes: usize,
    pub(crate) seal_after: Duration,
    pub(crate) merge_bytes: u64,
}

/// `[retention]`.
#[derive(Debug)]
pub(crate) struct Retention {
    /// What tenants keep that have no bounds of their own.
    pub(crate) keep: retention::Keep,
    /// How long what is not searched any more stays for those who began before.
    pub(crate) delete_after: Duration,
}

/// `[query]`.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) listener: Listener,
    pub(crate) public_urls: Vec<String>,
    pub(crate) session_ttl: Duration,
    /// How long a sign-in lasts unused.
    pub(crate) session_idle: Duration,
    /// Who vouches for people.
    pub(crate) providers: Vec<heliograph_query::Provider>,
    /// Memory for the index parts of segments.
    pub(crate) index_cache_bytes: usize,
    /// Memory for opened pages of segments.
    pub(crate) page_cache_bytes: usize,
    pub(crate) secure_cookies: bool,
    /// `[query.forward_auth]`: a proxy in front that proves callers.
    pub(crate) forward_auth: Option<ForwardAuth>,
    /// `[query.authorization_webhook]`: who knows further callers.
    pub(crate) authorization_webhook: Option<AuthorizationWebhook>,
}

/// `[audit]`.
#[derive(Debug)]
pub(crate) struct Audit {
    /// How long rows of the audit log are kept.
    pub(crate) keep: Duration,
}

/// `[storage]`, `[catalog]`, `[keys]`: where things lie; unset, they lie in the data folder.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) storage: Option<heliograph_store::objects::Config>,
    pub(crate) cache: Option<CacheConfig>,
    pub(crate) catalog_url: Option<catalog::Url>,
    pub(crate) catalog_password: Option<SecretString>,
    pub(crate) master_key_file: Option<PathBuf>,
}

/// `[auth]`: what the parts prove themselves with to one another.
#[derive(Debug)]
pub(crate) struct Auth {
    pub(crate) agent_token: Option<SecretString>,
    pub(crate) cluster_token: Option<SecretString>,
}

/// `[limits]`.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) body_bytes_max: usize,
    pub(crate) expanded_bytes_max: usize,
    pub(crate) search_concurrency: usize,
    pub(crate) search_timeout: Duration,
    pub(crate) tails_max: usize,
    /// What a tenant may use for which nothing else is set.
    pub(crate) tenant: TenantBounds,
}

/// `[telemetry]`: our own logs and metrics.
#[derive(Debug)]
pub(crate) struct Telemetry {
    pub(crate) log_format: LogFormat,
    pub(crate) log_filter: String,
    pub(crate) metrics_open: bool,
    pub(crate) metrics_token: Option<SecretString>,
}

/// The form of our own logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Something wrong, and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake(String);

impl Mistake {
    fn new(text: String) -> Self {
        Self(text)
    }

    fn at(origin: &Origin, text: String) -> Self {
        Self(format!("{origin}: {text}"))
    }
}

/// All mistakes of a configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistakes(Vec<Mistake>);

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "invalid configuration: {}", one.0),
            all => {
                write!(f, "invalid configuration: {} mistakes", all.len())?;
                all.iter().try_for_each(|mistake| write!(f, "\n  {}", mistake.0))
            }
        }
    }
}

impl Config {
    /// Reads the file, if one is given, and the environment of this process.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, Mistakes> {
        Self::read(
            file,
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
        )
    }

    fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Mistakes> {
        let mut table = Table::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|e| Mistakes(vec![Mistake::new(format!("{}: {e}", path.display()))]))?;
            table = written::parse_file(path, &text).map_err(|mistake| Mistakes(vec![mistake]))?;
        }
        let (clouds, ours): (Vec<_>, Vec<_>) =
            environment.into_iter().partition(|(name, _)| is_credential_variable(name));
        written::overlay(&mut table, ours);
        let mut notes = Notes::default();
        let mut reader = Reader::new(table, &mut notes);
        let mut config = read_all(&mut reader, clouds);
        reader.finish();
        check_together(&config, &mut notes.mistakes);
        if !notes.mistakes.is_empty() {
            return Err(Mistakes(notes.mistakes));
        }
        config.effective = notes.effective;
        Ok(config)
    }

    /// The values in effect as TOML, without secrets.
    pub(crate) fn to_toml(&self) -> String {
        show::to_toml(&self.effective)
    }

    /// The values in effect on one line, without secrets, for our own log.
    pub(crate) fn to_line(&self) -> String {
        show::to_line(&self.effective)
    }
}

/// Whether colours are welcome on a terminal: <https://no-color.org>.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(crate) fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}

/// A mistake of settings that are right each by itself but not enough for what was asked.
pub(crate) fn missing(setting: &str, why: &str) -> Mistakes {
    Mistakes(vec![Mistake::new(format!("{setting}: {why}"))])
}

fn read_all(r: &mut Reader<'_>, clouds: Vec<(String, String)>) -> Config {
    Config {
        agent: r.section("agent", agent::read),
        tls: r.section("tls", shipping::read_tls),
        indexer: r.section("indexer", |r| Indexer {
            listener: Listener::read(r, "listen", 7710),
            advertise: r.optional::<BaseUrl>("advertise").map(|url| url.0),
            nodes: r.list("nodes", nodes::read_rule),
            authorization_webhook: r.section("authorization_webhook", webhook::read),
            token_review: r.section("token_review", nodes::read_review),
            agent_workspace: r.setting("agent_workspace", default_workspace()),
            linger: r.setting("linger", Span(Duration::from_millis(3))).0,
            hot_bytes_max: bytes(r, "hot_bytes_max", 128 * MIB),
            seal_bytes: bytes(r, "seal_bytes", 32 * MIB),
            seal_after: r.setting("seal_after", Span(Duration::from_mins(10))).0,
            merge_bytes: r.setting("merge_bytes", Bytes(64 * MIB)).0,
        }),
        redaction: r.section("redaction", redaction::read),
        retention: r.section("retention", |r| Retention {
            keep: retention::Keep {
                age: r.optional("age").map(|age: Span| age.0),
                bytes: r.optional("bytes").map(|bytes: Bytes| bytes.0),
            },
            delete_after: r.setting("delete_after", Span(Duration::from_mins(10))).0,
        }),
        query: r.section("query", read_query),
        audit: r.section("audit", |r| Audit { keep: r.setting("keep", Span(AUDIT_KEEP)).0 }),
        places: read_places(r, clouds),
        auth: r.section("auth", |r| Auth {
            agent_token: r.secret("agent_token", "agent_token_file"),
            cluster_token: r.secret("cluster_token", "cluster_token_file"),
        }),
        limits: r.section("limits", |r| Limits {
            body_bytes_max: bytes(r, "body_bytes_max", 16 * MIB),
            expanded_bytes_max: bytes(r, "expanded_bytes_max", 64 * MIB),
            search_concurrency: r.setting("search_concurrency", Count(8)).0,
            search_timeout: r.setting("search_timeout", Span(Duration::from_mins(1))).0,
            tails_max: r.setting("tails_max", Count(1_000)).0,
            tenant: TenantBounds {
                ingest_bytes_per_second: bound(r, "tenant_ingest_bytes_per_second"),
                ingest_burst_bytes: bound(r, "tenant_ingest_burst_bytes"),
                hot_bytes: bound(r, "tenant_hot_bytes"),
                stored_bytes: bound(r, "tenant_stored_bytes"),
            },
        }),
        telemetry: r.section("telemetry", |r| Telemetry {
            log_format: r.setting("log_format", LogFormat::Auto),
            log_filter: r.setting("log_filter", "info".to_owned()),
            metrics_open: r.setting("metrics_open", false),
            metrics_token: r.secret("metrics_token", "metrics_token_file"),
        }),
        bootstrap_password: r.section("bootstrap", |r| r.secret("admin_password", "admin_password_file")),
        effective: Vec::new(),
    }
}

fn read_query(r: &mut Reader<'_>) -> Query {
    let listener = Listener::read(r, "listen", 7700);
    Query {
        public_urls: urls(r.optional("public_urls")),
        session_ttl: r.setting("session_ttl", Span(Duration::from_hours(24))).0,
        session_idle: r.setting("session_idle", Span(Duration::from_hours(12))).0,
        index_cache_bytes: bytes(r, "index_cache_bytes", 256 * MIB),
        page_cache_bytes: bytes(r, "page_cache_bytes", 64 * MIB),
        // Behind a proxy that has TLS, it must be told.
        secure_cookies: r.setting("secure_cookies", listener.tls.is_some()),
        providers: providers::read(r),
        forward_auth: r.section("forward_auth", forwarding::read),
        authorization_webhook: r.section("authorization_webhook", |r| {
            let roles: Option<Vec<RoleName>> = r.optional("roles");
            let roles =
                roles.map_or([Role::Viewer].into(), |all| all.into_iter().map(|role| role.0).collect());
            webhook::read(r).map(|(target, keep)| AuthorizationWebhook { target, keep, roles })
        }),
        listener,
    }
}

/// Mistakes of settings that are right each by itself.
fn check_together(config: &Config, mistakes: &mut Vec<Mistake>) {
    let keep = config.audit.keep;
    if keep < AUDIT_KEEP_MIN {
        mistakes
            .push(Mistake::new(format!("audit.keep: expected at least {AUDIT_KEEP_MIN:?}, found {keep:?}")));
    }
    if !config.query.providers.is_empty() && config.query.public_urls.is_empty() {
        let why = "is needed to sign in by a provider: it sends browsers back there, as \
                   https://HOST/api/v1/auth/NAME/callback";
        mistakes.push(Mistake::new(format!("query.public_urls: {why}")));
    }
    let listeners = [&config.agent.listener, &config.indexer.listener, &config.query.listener];
    mistakes.extend(listeners.into_iter().filter_map(|listener| listener.check().err()));
    mistakes.extend(nodes::check(&config.indexer));
    let (stays, search) = (config.retention.delete_after, config.limits.search_timeout);
    if stays < search * 2 {
        mistakes.push(Mistake::new(format!(
            "retention.delete_after: expected at least twice limits.search_timeout ({search:?}), since a search may \
             still read what is deleted then, found {stays:?}"
        )));
    }
}

fn read_places(r: &mut Reader<'_>, clouds: Vec<(String, String)>) -> Places {
    let (storage, cache) = r.section("storage", |r| (storage::read(r, clouds), storage::read_cache(r)));
    let (catalog_url, catalog_password) =
        r.section("catalog", |r| (r.optional("url"), r.secret("password", "password_file")));
    Places {
        storage,
        cache,
        catalog_url,
        catalog_password,
        master_key_file: r.section("keys", |r| r.optional("master_key_file")),
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn urls(written: Option<Vec<BaseUrl>>) -> Vec<String> {
    written.unwrap_or_default().into_iter().map(|url| url.0).collect()
}

/// A size that must fit into memory.
fn bytes(r: &mut Reader<'_>, key: &'static str, default: u64) -> usize {
    usize::try_from(r.setting(key, Bytes(default)).0).unwrap_or(usize::MAX)
}

/// A size that bounds something; none where it is not set.
fn bound(r: &mut Reader<'_>, key: &'static str) -> Option<NonZeroU64> {
    r.optional(key).and_then(|Bytes(bytes)| NonZeroU64::new(bytes))
}

/// The workspace of tenants that name none.
pub(crate) fn default_workspace() -> Workspace {
    match Workspace::parse("default") {
        Ok(name) => name,
        Err(_) => unreachable!("a constant that obeys the rule"),
    }
}

impl values::Setting for LogFormat {
    fn read(written: &written::Written) -> Result<Self, String> {
        match written {
            written::Written::Text(text) if text == "auto" => Ok(Self::Auto),
            written::Written::Text(text) if text == "text" => Ok(Self::Text),
            written::Written::Text(text) if text == "json" => Ok(Self::Json),
            written::Written::Text(text) => {
                Err(format!("expected \"auto\", \"text\" or \"json\", found {text:?}"))
            }
            other => Err(format!("expected \"auto\", \"text\" or \"json\", found {}", other.kind())),
        }
    }
    fn show(&self) -> Shown {
        let name = match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        };
        Shown::Text(name.to_owned())
    }
}

#[cfg(test)]
mod tests;
