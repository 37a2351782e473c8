//! Which tenants an agent may ship for: by its certificate, or by the node that a review of its token names.
//!
//! A node is no more than the pods on it: whoever takes one over can send what those write, and nothing in the name of
//! tenants that have nothing there.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use globset::GlobMatcher;
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_serve::PeerCertificate;
use heliograph_store::catalog::Catalog;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::Result;

/// How long the workspace of a tenant is taken as known.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// Tenants remembered at most.
const KEPT_MAX: usize = 10_000;

/// For whom some agents may ship.
#[derive(Clone, Debug)]
pub struct NodeRule {
    /// Which agents.
    pub who: NodeName,
    /// For whom.
    pub may: Reach,
}

/// What tells an agent.
#[derive(Clone, Debug)]
pub enum NodeName {
    /// The common name of its certificate, or one of the DNS names in it.
    Certificate(GlobMatcher),
    /// Its node, as a review of its token names it.
    Node(GlobMatcher),
}

/// Tenants that may be shipped for: those that any part names.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Every tenant, also new ones.
    pub all: bool,
    /// Tenants by name.
    pub tenants: Vec<GlobMatcher>,
    /// All tenants of these; one that does not exist yet is of the one in which it would be made.
    pub workspaces: BTreeSet<Workspace>,
}

impl Reach {
    /// Every tenant.
    pub(crate) fn all() -> Arc<Self> {
        Arc::new(Self { all: true, ..Self::default() })
    }

    fn add(&mut self, other: &Self) {
        self.all |= other.all;
        self.tenants.extend(other.tenants.iter().cloned());
        self.workspaces.extend(other.workspaces.iter().cloned());
    }
}

/// Longest name of an agent in the audit log, in characters: as long as a name of DNS.
const NAME_CHARS_MAX: usize = 253;

/// What a certificate calls its holder: what rules compare first.
pub(crate) fn name(peer: &PeerCertificate) -> Option<Arc<str>> {
    let subject = Some(&peer.subject).filter(|subject| !subject.is_empty());
    let name = subject.or(peer.dns_names.first())?;
    Some(name.chars().take(NAME_CHARS_MAX).collect::<String>().into())
}

/// The rules, and what is known of tenants' workspaces.
pub(crate) struct Nodes {
    rules: Vec<NodeRule>,
    /// Where tenants are made that are named for the first time.
    fresh: Workspace,
    catalog: Arc<dyn Catalog>,
    workspaces: Mutex<HashMap<TenantId, (Workspace, Instant)>>,
}

impl Nodes {
    /// By these rules; `fresh` is the workspace of tenants that do not exist yet.
    pub(crate) fn new(rules: Vec<NodeRule>, fresh: Workspace, catalog: Arc<dyn Catalog>) -> Self {
        Self { rules, fresh, catalog, workspaces: Mutex::default() }
    }

    /// Whether there are rules; without any, an agent with the agents' token may ship for everybody.
    pub(crate) fn are_named(&self) -> bool {
        !self.rules.is_empty()
    }

    /// What the holder of a certificate may ship; nothing, if no rule names it.
    pub(crate) fn by_certificate(&self, peer: &PeerCertificate) -> Option<Arc<Reach>> {
        // Without a subject there is nothing to compare: not even with a pattern that takes everything.
        let subject = Some(peer.subject.as_str()).filter(|subject| !subject.is_empty());
        let names = || subject.into_iter().chain(peer.dns_names.iter().map(String::as_str));
        self.reach(|who| match who {
            NodeName::Certificate(pattern) => names().any(|name| pattern.is_match(name)),
            NodeName::Node(_) => false,
        })
    }

    /// What an agent on a node may ship; nothing, if no rule names it.
    pub(crate) fn by_node(&self, node: &str) -> Option<Arc<Reach>> {
        self.reach(|who| match who {
            NodeName::Certificate(_) => false,
            NodeName::Node(pattern) => pattern.is_match(node),
        })
    }

    fn reach(&self, is_named: impl Fn(&NodeName) -> bool) -> Option<Arc<Reach>> {
        let mut reach: Option<Reach> = None;
        for rule in self.rules.iter().filter(|rule| is_named(&rule.who)) {
            reach.get_or_insert_default().add(&rule.may);
        }
        reach.map(Arc::new)
    }

    /// Whether a tenant is among those. One that does not exist is no other answer than one that is somebody else's.
    pub(crate) async fn reaches(&self, reach: &Reach, tenant: &TenantId) -> Result<bool> {
        if reach.all || reach.tenants.iter().any(|pattern| pattern.is_match(tenant.as_str())) {
            return Ok(true);
        }
        if reach.workspaces.is_empty() {
            return Ok(false);
        }
        Ok(reach.workspaces.contains(&self.workspace_of(tenant).await?))
    }

    async fn workspace_of(&self, tenant: &TenantId) -> Result<Workspace> {
        let kept = self.workspaces.lock().get(tenant).cloned();
        if let Some((workspace, since)) = kept
            && since.elapsed() < KEPT_FOR
        {
            return Ok(workspace);
        }
        let Some(found) = self.catalog.tenant(tenant).await? else { return Ok(self.fresh.clone()) };
        let mut kept = self.workspaces.lock();
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, (_, since)| since.elapsed() < KEPT_FOR);
        }
        if kept.len() < KEPT_MAX {
            kept.insert(tenant.clone(), (found.workspace.clone(), Instant::now()));
        }
        Ok(found.workspace)
    }
}
