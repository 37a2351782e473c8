//! What the query role needs to know to run, as finished types.

mod providers;

use std::path::PathBuf;
use std::time::Duration;

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
}
