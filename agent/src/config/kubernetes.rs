//! What the agent may ask the API server, and which namespaces it collects.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

/// How the API server is asked about the pods of this node.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    /// Where it is, and who asks.
    pub access: ApiAccess,
    /// What the agent's service account may see.
    pub rights: Rights,
}

/// Where the API server is, and who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ApiAccess {
    /// The pod's own service account.
    #[default]
    InCluster,
    /// A kubeconfig file; its current context.
    Kubeconfig(PathBuf),
}

/// What the agent's service account may list and watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Pods of all namespaces, and namespaces where a rule needs their labels: a `ClusterRole`.
    Cluster,
    /// Pods of these namespaces only: a `Role` in each. Labels of namespaces are out of reach.
    Namespaces(BTreeSet<String>),
}

/// Which namespaces are collected, if a tenant rule names their tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NamespaceSelection {
    /// All.
    #[default]
    All,
    /// These.
    Listed(BTreeSet<String>),
    /// Those with a label.
    Labelled(LabelSelector),
}

/// A label, with a value or any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelector {
    /// As in `heliograph.io/collect`.
    pub key: String,
    /// What it must be; none for any value.
    pub value: Option<String>,
}

impl LabelSelector {
    /// Reads `key` or `key=value`; none where that is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (text, None),
        };
        let ok = is_label_key(key) && value.is_none_or(|v| !v.contains('='));
        ok.then(|| Self { key: key.to_owned(), value: value.map(str::to_owned) })
    }

    /// Whether labels have it.
    pub fn matches(&self, labels: &BTreeMap<Box<str>, Box<str>>) -> bool {
        labels.get(self.key.as_str()).is_some_and(|found| self.value.as_ref().is_none_or(|v| **v == **found))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.key),
            None => f.write_str(&self.key),
        }
    }
}

/// Whether a text can be the key of a Kubernetes label: a name, or `domain/name`.
pub fn is_label_key(key: &str) -> bool {
    let name = |part: &str| {
        let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        !part.is_empty() && part.len() <= 253 && part.bytes().all(ok)
    };
    match key.split_once('/') {
        Some((domain, rest)) => name(domain) && name(rest),
        None => name(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(selector: &str, value: Option<&str>, expected: bool) {
        let labels = value.map(|v| ("team/collect".into(), v.into())).into_iter().collect();
        assert_eq!(LabelSelector::parse(selector).unwrap().matches(&labels), expected);
    }

    #[test]
    fn a_label_selects_by_key_or_by_key_and_value() {
        check("team/collect", Some("no"), true);
        check("team/collect=yes", Some("yes"), true);
        check("team/collect=yes", Some("no"), false);
        check("team/collect=", Some(""), true);
        check("team/collect", None, false);
        for bad in ["", "=x", "a b", "a=b=c", "/x", "a/b/c"] {
            assert_eq!(LabelSelector::parse(bad), None, "{bad}");
        }
    }
}
