//! What the indexer needs to know to run, as finished types.

use std::time::Duration;

use heliograph_model::tenant::Workspace;
use secrecy::SecretString;

use crate::upkeep::Upkeep;

/// The settings of the indexer.
#[derive(Clone, Debug)]
pub struct Config {
    /// The agents' credential: its holder may name any tenant in `X-Heliograph-Tenant`. Without one, only
    /// tokens of tenants are accepted.
    pub agent_token: Option<SecretString>,
    /// The query role's credential for the `/internal` routes.
    pub cluster_token: SecretString,
    /// Where tenants are made that an agent names for the first time.
    pub workspace: Workspace,
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
    /// What becomes of segments afterwards.
    pub upkeep: Upkeep,
}
