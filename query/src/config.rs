//! What the query role needs to know to run, as finished types.

mod providers;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use heliograph_egress::webhook::Keep;
use heliograph_store::catalog::Role;
use http::HeaderName;
use ipnet::IpNet;
use secrecy::SecretString;

pub use providers::{GitHub, Gives, Mapping, Oidc, Provider, ProviderKind};

/// Where the indexers are.
#[derive(Clone, Debug)]
pub enum Discovery {
    /// There is one, at this base URL, and it shares the catalog with no other.
    Embedded(String),
    /// Those that are registered in the catalog, where each says how it is reached.
    Catalog,
}

/// PEM files for `https` connections to indexers, read anew when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A proxy in front that proves callers, and names them in headers.
#[derive(Clone, Debug)]
pub struct ForwardAuth {
    /// Where the proxies are; with none of these, their certificates tell them.
    pub networks: Vec<IpNet>,
    /// Names that stand in the proxies' client certificates; with none, their addresses tell them. With both, both must.
    pub certificates: Vec<String>,
    /// Names the person.
    pub user_header: HeaderName,
    /// Names its e-mail address, which is shown.
    pub email_header: Option<HeaderName>,
    /// Names its groups, with commas between.
    pub groups_header: Option<HeaderName>,
    /// What members of groups may do; nobody else may do anything.
    pub groups: Vec<Mapping>,
    /// How long a tail goes on before the proxy must vouch anew.
    pub recheck_after: Duration,
}

/// A service that is asked about credentials that are none of ours.
#[derive(Clone, Debug)]
pub struct AuthorizationWebhook {
    /// Where it is.
    pub target: heliograph_egress::Target,
    /// How long its answers hold.
    pub keep: Keep,
    /// What it gives: all of these, or those of them that it names.
    pub roles: BTreeSet<Role>,
}

/// The settings of the query role.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the indexers are.
    pub indexers: Discovery,
    /// What connections to indexers are made with.
    pub tls: Tls,
    /// What we show the indexers' internal API.
    pub cluster_token: SecretString,
    /// Origins (`https://logs.example.com`) whose pages may use the session cookie for unsafe calls and tails;
    /// besides them the one whose host and port equal the request's own `Host`.
    pub public_urls: Vec<String>,
    /// How long a sign-in lasts at most.
    pub session_ttl: Duration,
    /// How long it lasts unused.
    pub session_idle: Duration,
    /// Who vouches for people beside us; one of these needs a public URL.
    pub providers: Vec<Provider>,
    /// Memory for the index parts of segments, in bytes: a few per cent of the logs that are searched often.
    pub index_cache_bytes: usize,
    /// Memory for opened pages of segments, in bytes.
    pub page_cache_bytes: usize,
    /// Whether the cookie is `__Host-heliograph` with `Secure`; only plain http on loopback goes without.
    pub secure_cookies: bool,
    /// Searches that run at the same time; one more waits a moment, then is told to come back.
    pub search_concurrency: usize,
    /// Longest time of one search.
    pub search_timeout: Duration,
    /// Live tails at the same time.
    pub tails_max: usize,
    /// How long rows of the audit log are kept; without, without end.
    pub audit_keep: Option<Duration>,
    /// A proxy in front that proves callers; without, nobody is believed.
    pub forward_auth: Option<ForwardAuth>,
    /// A service that knows further callers.
    pub authorization_webhook: Option<AuthorizationWebhook>,
}
