//! `[agent]`: what is followed on this node, and where it goes.

use std::path::PathBuf;
use std::time::Duration;

use heliograph_agent::{
    self as agent, Input, Kubernetes, NamespaceFrom, NamespaceSelection, Sidecar, TenantRules, WhenFull,
};

use super::reader::Reader;
use super::values::{Bytes, Span};
use super::{Listener, Mistake, bytes, kubernetes, shipping, urls};

/// The section, as used.
#[derive(Debug)]
pub(crate) struct Agent {
    /// Of the status port.
    pub(crate) listener: Listener,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) node: Option<String>,
    pub(crate) indexers: Vec<String>,
    pub(crate) inputs: Vec<Input>,
    pub(crate) tenants: TenantRules,
    /// The credential as a file that changes, in the place of `auth.agent_token`.
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) namespaces: NamespaceSelection,
    pub(crate) kubernetes: Option<Kubernetes>,
    pub(crate) sidecar: Option<Sidecar>,
    pub(crate) spool_bytes_max: u64,
    pub(crate) spool_when_full: WhenFull,
    pub(crate) batch_bytes_max: usize,
    pub(crate) flush_after: Duration,
    pub(crate) scan_every: Duration,
    pub(crate) tenant_bytes_per_second: Option<u64>,
    pub(crate) unlinked_bytes_max: u64,
    pub(crate) unlinked_container_bytes_max: u64,
}

/// Reads the section.
pub(super) fn read(r: &mut Reader<'_>) -> Agent {
    let mut agent = Agent {
        listener: Listener::read(r, "status_listen", 7730),
        data_dir: r.optional("data_dir"),
        node: r.optional("node"),
        indexers: urls(r.optional("indexers")),
        inputs: r.list("inputs", read_input),
        tenants: r.section("tenants", kubernetes::read_tenants),
        token_file: r.optional("token_file"),
        namespaces: r.section("namespaces", kubernetes::read_namespaces),
        kubernetes: None,
        sidecar: r.section("sidecar", kubernetes::read_sidecar),
        spool_bytes_max: r.setting("spool_bytes_max", Bytes(agent::config::SPOOL_BYTES_MAX)).0,
        spool_when_full: shipping::read_when_full(r),
        batch_bytes_max: bytes(r, "batch_bytes_max", agent::config::BATCH_BYTES_MAX as u64),
        flush_after: r.setting("flush_after", Span(agent::config::FLUSH_AFTER)).0,
        scan_every: r.setting("scan_every", Span(agent::config::SCAN_EVERY)).0,
        tenant_bytes_per_second: r.optional("tenant_bytes_per_second").map(|Bytes(bytes)| bytes),
        unlinked_bytes_max: r.setting("unlinked_bytes_max", Bytes(agent::config::UNLINKED_BYTES_MAX)).0,
        unlinked_container_bytes_max: r
            .setting("unlinked_container_bytes_max", Bytes(agent::config::UNLINKED_CONTAINER_BYTES_MAX))
            .0,
    };
    agent.kubernetes = r.section("kubernetes", |r| kubernetes::read_kubernetes(r, &agent));
    kubernetes::check(r, &agent);
    agent
}

fn read_input(r: &mut Reader<'_>) -> Option<Input> {
    const KINDS: &str = "expected \"containers\", \"tasks\", \"pod-volumes\" or \"files\"";
    let kind: String = r.required("kind")?;
    match kind.as_str() {
        "containers" => Some(Input::Containers { root: r.setting("root", PathBuf::from("/var/log/pods")) }),
        "tasks" => {
            let (root, namespace) = (r.required("root"), r.optional("namespace"));
            let namespace = namespace.map_or(NamespaceFrom::FirstPathElement, NamespaceFrom::Fixed);
            Some(Input::Tasks { root: root?, namespace })
        }
        "pod-volumes" => Some(Input::PodVolumes {
            root: r.setting("root", PathBuf::from("/var/lib/kubelet/pods")),
            pods: r.setting("pods", PathBuf::from("/var/log/pods")),
        }),
        "files" => {
            let (glob, tenant, component) =
                (r.required("glob"), r.required("tenant"), r.optional("component"));
            let glob: String = glob?;
            if let Err(reason) = check_glob(&glob) {
                let path = r.path_of("glob");
                r.mistake(Mistake::new(format!("{path}: {reason}")));
            }
            Some(Input::Files { glob, tenant: tenant?, component })
        }
        other => {
            let path = r.path_of("kind");
            r.mistake(Mistake::new(format!("{path}: {KINDS}, found {other:?}")));
            None
        }
    }
}

/// Whether a glob can be followed; the reason names the glob.
pub(crate) fn check_glob(glob: &str) -> Result<(), String> {
    globset::GlobBuilder::new(glob).literal_separator(true).build().map_err(|e| format!("bad glob: {e}"))?;
    match std::fs::metadata(glob) {
        Ok(m) if m.is_dir() => Err(format!(
            "{glob:?} is a folder: name its files, as in {:?}",
            format!("{}/*.log", glob.trim_end_matches('/'))
        )),
        _ => Ok(()),
    }
}
