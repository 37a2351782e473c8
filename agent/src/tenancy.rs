//! Whose the logs of a namespace are: the operator's rules, and what is known of the namespace's labels.
//!
//! Deny by default: what no rule names is not collected. Where a rule needs labels that are not known, the answer
//! is that it is not known: the namespace's files are not read, and wait as they are, until it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

use crate::config::{Config, NamespaceSelection, Rights, TenantRules};
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// How long a namespace counts as held back after it was last asked for: a scan asks for all that have files.
const HELD_WITHIN: Duration = Duration::from_secs(60);

/// The labels of a namespace.
pub(crate) type Labels = BTreeMap<Box<str>, Box<str>>;

/// A namespace as the API server last told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Namespace {
    /// Its labels.
    pub labels: Labels,
    /// When it was deleted.
    pub gone: Option<Timestamp>,
}

/// Whose the logs of a namespace are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// This tenant's.
    Tenant(TenantId),
    /// They are not collected.
    NotCollected,
    /// It depends on labels that are not known yet.
    Unknown,
}

/// The rules, and the namespaces known.
#[derive(Debug)]
pub(crate) struct Tenancy {
    rules: TenantRules,
    selection: NamespaceSelection,
    namespaces: RwLock<BTreeMap<Box<str>, Arc<Namespace>>>,
    /// Rises with every change of an answer.
    version: AtomicU64,
    /// Rises with every change of `namespaces`.
    edition: AtomicU64,
    /// Namespaces that were asked for and are not known, and when.
    held: Mutex<BTreeMap<Box<str>, Instant>>,
    metrics: Metrics,
}

impl Tenancy {
    /// Checks that the rules can be answered with the rights there are.
    pub(crate) fn new(config: &Config, metrics: Metrics) -> Result<Self> {
        let (rules, selection) = (config.tenants.clone(), config.namespaces.clone());
        let cluster = config.kubernetes.as_ref().is_some_and(|k| k.rights == Rights::Cluster);
        let label = match &selection {
            NamespaceSelection::Labelled(selector) => Some(("namespace selection", selector.to_string())),
            _ => rules.label.clone().map(|label| ("tenant rule", label)),
        };
        if let Some((what, value)) = label
            && !cluster
        {
            let reason = "labels of namespaces need cluster-wide rights; without them, select and map \
                          namespaces by list or prefix";
            return Err(Error::Config { what, value, reason: reason.to_owned() });
        }
        Ok(Self {
            rules,
            selection,
            namespaces: RwLock::default(),
            version: AtomicU64::new(0),
            edition: AtomicU64::new(0),
            held: Mutex::default(),
            metrics,
        })
    }

    /// Whether any answer depends on labels.
    pub(crate) fn needs_labels(&self) -> bool {
        self.rules.label.is_some() || matches!(self.selection, NamespaceSelection::Labelled(_))
    }

    /// The tenant whose logs a namespace holds; without one they are not read, for now or at all.
    pub(crate) fn tenant_of(&self, namespace: &str) -> Option<TenantId> {
        match self.decide(namespace) {
            Decision::Tenant(tenant) => Some(tenant),
            Decision::NotCollected => None,
            Decision::Unknown => {
                let news = self.held.lock().insert(namespace.into(), Instant::now()).is_none();
                if news {
                    tracing::info!(namespace, "namespace is held back until its labels are known");
                }
                None
            }
        }
    }

    /// What the rules say.
    pub(crate) fn decide(&self, namespace: &str) -> Decision {
        let known = || self.namespaces.read().get(namespace).cloned();
        match &self.selection {
            NamespaceSelection::All => {}
            NamespaceSelection::Listed(list) if list.contains(namespace) => {}
            NamespaceSelection::Listed(_) => return Decision::NotCollected,
            NamespaceSelection::Labelled(selector) => match known() {
                Some(known) if selector.matches(&known.labels) => {}
                Some(_) => return Decision::NotCollected,
                None => return Decision::Unknown,
            },
        }
        if let Some(tenant) = self.rules.exact.get(namespace) {
            return Decision::Tenant(tenant.clone());
        }
        if let Some(label) = &self.rules.label {
            match known() {
                // A label that names no tenant must not fall through to another one.
                Some(known) => match known.labels.get(label.as_str()).map(|name| TenantId::parse(name)) {
                    Some(Ok(tenant)) => return Decision::Tenant(tenant),
                    Some(Err(_)) => return Decision::NotCollected,
                    None => {}
                },
                None => return Decision::Unknown,
            }
        }
        self.rules.by_name(namespace).map_or(Decision::NotCollected, Decision::Tenant)
    }

    /// Rises when an answer has changed.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Takes what the API server says of a namespace; says whether it is now another tenant's, or known at all.
    pub(crate) fn learn(&self, name: &str, namespace: Namespace) -> bool {
        let namespaces = self.namespaces.read();
        if namespaces.get(name).is_some_and(|known| **known == namespace) {
            return false;
        }
        if let Some(label) = &self.rules.label
            && let Some(value) = namespace.labels.get(label.as_str())
            && TenantId::parse(value).is_err()
        {
            tracing::warn!(namespace = name, label, value = &**value, "label names no tenant, not collected");
        }
        drop(namespaces);
        // Only the watch of namespaces writes: nothing comes between.
        let before = self.decide(name);
        self.namespaces.write().insert(name.into(), Arc::new(namespace));
        self.edition.fetch_add(1, Ordering::Release);
        if self.decide(name) == before {
            return false;
        }
        self.held.lock().remove(name);
        self.version.fetch_add(1, Ordering::Release);
        true
    }

    /// The namespace was deleted. Its labels hold on for the lines that are still to come, until it is pruned.
    pub(crate) fn gone(&self, name: &str, now: Timestamp) {
        if let Some(known) = self.namespaces.write().get_mut(name)
            && known.gone.is_none()
        {
            *known = Arc::new(Namespace { labels: known.labels.clone(), gone: Some(now) });
            self.edition.fetch_add(1, Ordering::Release);
        }
    }

    /// All that are known but not in `present` were deleted while nobody looked.
    pub(crate) fn present(&self, present: &std::collections::BTreeSet<Box<str>>, now: Timestamp) {
        let missing: Vec<_> =
            self.namespaces.read().keys().filter(|name| !present.contains(*name)).cloned().collect();
        missing.iter().for_each(|name| self.gone(name, now));
    }

    /// Forgets namespaces deleted before `before`.
    pub(crate) fn prune(&self, before: Timestamp) {
        let mut namespaces = self.namespaces.write();
        let count = namespaces.len();
        namespaces.retain(|_, n| n.gone.is_none_or(|gone| gone >= before));
        if namespaces.len() < count {
            self.edition.fetch_add(1, Ordering::Release);
        }
    }

    /// Rises when what is known of namespaces has changed.
    pub(crate) fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// All namespaces known, to keep over a restart.
    pub(crate) fn known(&self) -> BTreeMap<Box<str>, Namespace> {
        self.namespaces.read().iter().map(|(name, n)| (name.clone(), (**n).clone())).collect()
    }

    /// Shows how many namespaces are held back.
    pub(crate) fn show(&self, now: Instant) {
        let mut held = self.held.lock();
        held.retain(|_, asked| *asked + HELD_WITHIN > now);
        self.metrics.namespaces_held_back.set(i64::try_from(held.len()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests;
