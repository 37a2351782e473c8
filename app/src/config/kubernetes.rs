//! What the agent is told of Kubernetes: tenants and namespaces by name and label, the API server, a sidecar.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use heliograph_agent::config::{FINISH_WITHIN, is_label_key};
use heliograph_agent::{
    ApiAccess, Kubernetes, LabelSelector, NamespaceSelection, Otherwise, Rights, Sidecar, TenantRules,
};
use heliograph_model::tenant::TenantId;

use super::reader::Reader;
use super::{Agent, Mistake, Span};

/// `[agent.tenants]`: the rules from namespace to tenant.
pub(super) fn read_tenants(r: &mut Reader<'_>) -> TenantRules {
    let mut rules = TenantRules {
        exact: tenants_by_name(r, "exact"),
        label: read_label_key(r, "label"),
        prefix: tenants_by_name(r, "prefix"),
        ..TenantRules::default()
    };
    rules.otherwise = match (r.setting("same_name", false), r.optional("strip_prefix")) {
        (false, None) => Otherwise::NotCollected,
        (true, None) => Otherwise::SameName,
        (false, Some(prefix)) => Otherwise::StripPrefix(prefix),
        (true, Some(_)) => {
            let (a, b) = (r.path_of("same_name"), r.path_of("strip_prefix"));
            r.mistake(Mistake::new(format!("{a} and {b} exclude one another: give one")));
            Otherwise::NotCollected
        }
    };
    rules
}

/// A table of the operator's names, each with a tenant.
fn tenants_by_name(r: &mut Reader<'_>, key: &'static str) -> BTreeMap<String, TenantId> {
    let mut tenants = BTreeMap::new();
    for (name, tenant) in r.names(key) {
        match TenantId::parse(&tenant) {
            Ok(tenant) => drop(tenants.insert(name, tenant)),
            Err(e) => mistake(r, key, &format!(".{name:?}: {e}")),
        }
    }
    tenants
}

/// The key of a label.
fn read_label_key(r: &mut Reader<'_>, key: &'static str) -> Option<String> {
    let label: String = r.optional(key)?;
    if !is_label_key(&label) {
        mistake(r, key, &format!(": {label:?} is not the key of a label like \"heliograph.io/tenant\""));
    }
    Some(label)
}

/// `[agent.namespaces]`: which namespaces are collected.
pub(super) fn read_namespaces(r: &mut Reader<'_>) -> NamespaceSelection {
    let (list, label): (Option<Vec<String>>, Option<String>) = (r.optional("list"), r.optional("label"));
    match (list, label) {
        (None, None) => NamespaceSelection::All,
        (Some(list), None) => NamespaceSelection::Listed(list.into_iter().collect()),
        (None, Some(label)) => match LabelSelector::parse(&label) {
            Some(selector) => NamespaceSelection::Labelled(selector),
            None => {
                let why = format!(": {label:?} is not a label like \"heliograph.io/collect=yes\"");
                mistake(r, "label", &why);
                NamespaceSelection::Listed(BTreeSet::new())
            }
        },
        (Some(_), Some(_)) => {
            let label = r.path_of("label");
            mistake(r, "list", &format!(" and {label} exclude one another: give one"));
            NamespaceSelection::Listed(BTreeSet::new())
        }
    }
}

/// `[agent.kubernetes]`: whether and how the API server is asked.
pub(super) fn read_kubernetes(r: &mut Reader<'_>, agent: &Agent) -> Option<Kubernetes> {
    let rights = r.setting("rights", "none".to_owned());
    let kubeconfig: Option<PathBuf> = r.optional("kubeconfig");
    let rights = match rights.as_str() {
        "none" => {
            if kubeconfig.is_some() {
                mistake(r, "kubeconfig", ": is of no use while rights = \"none\"");
            }
            return None;
        }
        "cluster" => Rights::Cluster,
        "namespaces" => match &agent.namespaces {
            NamespaceSelection::Listed(list) => Rights::Namespaces(list.clone()),
            _ => {
                mistake(r, "rights", ": \"namespaces\" needs their names in agent.namespaces.list");
                return None;
            }
        },
        other => {
            let why = format!(": expected \"none\", \"namespaces\" or \"cluster\", found {other:?}");
            mistake(r, "rights", &why);
            return None;
        }
    };
    if agent.node.is_none() {
        let why =
            "agent.node: is needed to ask about the node's pods: give the node's name, as in spec.nodeName";
        r.mistake(Mistake::new(why.to_owned()));
    }
    Some(Kubernetes { access: kubeconfig.map_or(ApiAccess::InCluster, ApiAccess::Kubeconfig), rights })
}

/// `[agent.sidecar]`: one directory, until its container has finished. None where nothing of it is set.
pub(super) fn read_sidecar(r: &mut Reader<'_>) -> Option<Sidecar> {
    let directory: Option<PathBuf> = r.optional("directory");
    let (tenant, component) = (r.optional("tenant"), r.optional("component"));
    let (namespace, pod) = (r.optional("namespace"), r.optional("pod"));
    let finished_file = r.optional("finished_file");
    let finish_within: Option<Span> = r.optional("finish_within");
    let Some(directory) = directory else {
        let any = tenant.is_some()
            || component.is_some()
            || namespace.is_some()
            || pod.is_some()
            || finished_file.is_some()
            || finish_within.is_some();
        if any {
            mistake(r, "directory", ": is missing: the directory that the container writes its logs to");
        }
        return None;
    };
    let Some(tenant) = tenant else {
        mistake(r, "tenant", ": is missing: whose the logs in the directory are");
        return None;
    };
    Some(Sidecar {
        directory,
        tenant,
        component,
        namespace,
        pod,
        finished_file: finished_file.unwrap_or_else(|| "finished".into()),
        finish_within: finish_within.map_or(FINISH_WITHIN, |span| span.0),
    })
}

/// Settings that are right each by itself but not together.
pub(super) fn check(r: &mut Reader<'_>, agent: &Agent) {
    let cluster = agent.kubernetes.as_ref().is_some_and(|k| k.rights == Rights::Cluster);
    if !cluster {
        const WHY: &str = "needs the labels of namespaces: set agent.kubernetes.rights = \"cluster\", or";
        if agent.tenants.label.is_some() {
            let text = format!("agent.tenants.label: {WHY} use exact, prefix, strip_prefix or same_name");
            r.mistake(Mistake::new(text));
        }
        if matches!(agent.namespaces, NamespaceSelection::Labelled(_)) {
            r.mistake(Mistake::new(format!("agent.namespaces.label: {WHY} use agent.namespaces.list")));
        }
    }
    if agent.sidecar.is_some() && !(agent.inputs.is_empty() && agent.kubernetes.is_none()) {
        let text =
            "agent.sidecar: is all that a sidecar follows: leave out agent.inputs and agent.kubernetes";
        r.mistake(Mistake::new(text.to_owned()));
    }
}

fn mistake(r: &mut Reader<'_>, key: &str, why: &str) {
    let path = r.path_of(key);
    r.mistake(Mistake::new(format!("{path}{why}")));
}
