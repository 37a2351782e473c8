//! What the indexer needs to know to run, as finished types.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use heliograph_egress::Target;
use heliograph_egress::webhook::Keep;
use heliograph_model::redact::Redactor;
use heliograph_model::tenant::Workspace;
use secrecy::SecretString;

use crate::node::NodeRule;
use crate::review::TokenReview;
use crate::upkeep::Upkeep;

/// The settings of the indexer.
#[derive(Clone, Debug)]
pub struct Config {
    /// The agents' credential: its holder may name any tenant in `X-Heliograph-Tenant`. Without one, only
    /// tokens of tenants are accepted.
    pub agent_token: Option<SecretString>,
    /// For whom agents may ship. With any of these, the agents' token proves no agent without a certificate that one of
    /// them names, and such a certificate needs no token.
    pub nodes: Vec<NodeRule>,
    /// A service that knows further senders, each the writer of one tenant, and how long its answers hold.
    pub authorization_webhook: Option<(Target, Keep)>,
    /// How agents' service-account tokens are reviewed; then agents are their nodes, and `nodes` names those.
    pub token_review: Option<TokenReview>,
    /// The query role's credential for the `/internal` routes.
    pub cluster_token: SecretString,
    /// Where tenants are made that an agent names for the first time.
    pub workspace: Workspace,
    /// The base URL at which others reach this process. With one, it shares the catalog with other indexers, by
    /// a lease; without, it is the only one.
    pub advertise: Option<String>,
    /// How long the first batch of a commit waits for others.
    pub linger: Duration,
    /// Largest body as it comes over the wire.
    pub body_bytes_max: usize,
    /// Largest body after decompression.
    pub expanded_bytes_max: usize,
    /// Memory for records that are not sealed yet; over it senders are told to wait.
    pub hot_bytes_max: usize,
    /// A tenant's hot records are sealed when they hold so much memory …
    pub seal_bytes: usize,
    /// … or when the oldest has waited so long.
    pub seal_after: Duration,
    /// What is taken out of records before anything keeps them; without it, nothing is.
    pub redaction: Option<Arc<Redactor>>,
    /// What a tenant may use for which nothing else is set in the catalog.
    pub tenant_bounds: TenantBounds,
    /// What becomes of segments afterwards.
    pub upkeep: Upkeep,
}

/// What one tenant may use; what is not set has no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantBounds {
    /// Bytes of bodies a second, before compression.
    pub ingest_bytes_per_second: Option<NonZeroU64>,
    /// Bytes that may come at once; without it ten seconds of the rate.
    pub ingest_burst_bytes: Option<NonZeroU64>,
    /// Memory of records that are not sealed.
    pub hot_bytes: Option<NonZeroU64>,
    /// Bytes of segments.
    pub stored_bytes: Option<NonZeroU64>,
}
