//! What the agent is told: finished types, checked by whoever made them.
//!
//! Knows no file format and no environment; `app` builds this.

mod kubernetes;
mod sidecar;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use heliograph_model::source::Component;
use heliograph_model::tenant::TenantId;
use secrecy::SecretString;

pub use kubernetes::{ApiAccess, Kubernetes, LabelSelector, NamespaceSelection, Rights, is_label_key};
pub use sidecar::{FINISH_WITHIN, Sidecar};

/// Default of [`Config::spool_bytes_max`].
pub const SPOOL_BYTES_MAX: u64 = 1 << 30;
/// Default of [`Config::batch_bytes_max`].
pub const BATCH_BYTES_MAX: usize = 512 << 10;
/// Default of [`Config::flush_after`]: short enough for a live tail, long enough to batch a busy file.
pub const FLUSH_AFTER: Duration = Duration::from_millis(45);
/// Default of [`Config::unlinked_bytes_max`].
pub const UNLINKED_BYTES_MAX: u64 = 2 << 30;
/// Default of [`Config::unlinked_container_bytes_max`]: several times what the kubelet keeps of a container's log.
pub const UNLINKED_CONTAINER_BYTES_MAX: u64 = 256 << 20;
/// Default of [`WhenFull::DropOldest`]: longer than an indexer takes to start anew, short enough that files of a
/// container with usual limits (five of 10 MB) are not all rotated away.
pub const SPOOL_PATIENCE: Duration = Duration::from_secs(30);
/// Default of [`Config::scan_every`].
pub const SCAN_EVERY: Duration = Duration::from_secs(1);

/// All that an agent needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the spool and its key live. One agent per directory.
    pub data_dir: PathBuf,
    /// Name of the Kubernetes node or the host.
    pub node: String,
    /// What to follow. Where two inputs find the same path, the first owns it.
    pub inputs: Vec<Input>,
    /// Base URLs of the indexers, such as `http://127.0.0.1:7710`; at least one. A host name stands for all
    /// addresses that it resolves to, each an indexer of its own.
    pub indexers: Vec<String>,
    /// The agent's credential, sent as `Authorization: Bearer`.
    pub token: Token,
    /// How indexers with `https` URLs are known, and how the agent is known to them.
    pub tls: Tls,
    /// Whose the logs of a namespace are.
    pub tenants: TenantRules,
    /// Which namespaces are collected at all, if a rule names their tenant.
    pub namespaces: NamespaceSelection,
    /// How to ask the API server about pods; none to go by paths alone.
    pub kubernetes: Option<Kubernetes>,
    /// To follow one container's directory, and to end with it.
    pub sidecar: Option<Sidecar>,
    /// Most bytes that the spool takes on disk.
    pub spool_bytes_max: u64,
    /// What happens when they are used up.
    pub spool_when_full: WhenFull,
    /// Most bytes of uncompressed message text in a batch; one larger record is a batch of its own.
    pub batch_bytes_max: usize,
    /// How long a record waits for others before its batch is spooled.
    pub flush_after: Duration,
    /// How often all files are compared with what was read of them.
    pub scan_every: Duration,
    /// Most bytes a second that are read of a tenant's files, those of four seconds at once; none without a bound.
    pub tenant_bytes_per_second: Option<u64>,
    /// Most bytes on the node's disk that are held by files which are deleted and not read to their end. Beyond it
    /// the oldest are let go.
    pub unlinked_bytes_max: u64,
    /// The same for the files of one container.
    pub unlinked_container_bytes_max: u64,
}

/// The agent's credential.
#[derive(Clone, Debug)]
pub enum Token {
    /// Is this, as long as the agent runs.
    Fixed(SecretString),
    /// Is what the file holds, without its last line end; read anew when the file changes, as projected
    /// service-account tokens do.
    File(PathBuf),
    /// Is the certificate of [`Tls::identity`]: nothing is sent beside it.
    Certificate,
}

/// PEM files for TLS with the indexers; read at the start, and anew when they change.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Certificates of authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// The agent's certificate chain and its key, shown to indexers that ask for them.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What happens when the spool is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Reading waits, for all tenants: nothing is lost while the files are there, but what is rotated away
    /// before it is read is.
    Wait,
    /// Reading waits for so long; then the oldest batches of the tenant with the most go, and a record in their
    /// sources says how many lines that were.
    DropOldest {
        /// How long.
        patience: Duration,
    },
}

/// Where log files lie, and what they look like.
#[derive(Clone, Debug)]
pub enum Input {
    /// Container logs as kubelet lays them out: `<ns>_<pod>_<uid>/<container>/N.log`, CRI lines.
    Containers {
        /// `/var/log/pods`, or `/var/log/containers`, whose links lead there.
        root: PathBuf,
    },
    /// Airflow's own task files and DAG-processor files, anywhere below a root.
    Tasks {
        /// The directory of the logs.
        root: PathBuf,
        /// Where their namespace stands.
        namespace: NamespaceFrom,
    },
    /// The same files in pods' emptyDir volumes, as the kubelet lays them out:
    /// `<uid>/volumes/kubernetes.io~empty-dir/<volume>/…`.
    PodVolumes {
        /// `/var/lib/kubelet/pods`.
        root: PathBuf,
        /// `/var/log/pods`: the names there say which pod a uid is.
        pods: PathBuf,
    },
    /// Plain files, a record a line (or more, where lines belong together).
    Files {
        /// As in `/var/log/app/*.log` or `/srv/**/*.log`.
        glob: String,
        /// Whose they are.
        tenant: TenantId,
        /// What writes them.
        component: Option<Component>,
    },
}

/// Where the namespace of a task file stands.
#[derive(Clone, Debug)]
pub enum NamespaceFrom {
    /// It is the same for the whole root.
    Fixed(String),
    /// The first path element below the root.
    FirstPathElement,
}

/// The rules from namespace to tenant, the first that names one holds: exact, label, prefix, otherwise.
#[derive(Clone, Debug, Default)]
pub struct TenantRules {
    /// Namespaces with a tenant of their own naming; these win.
    pub exact: BTreeMap<String, TenantId>,
    /// The namespace label whose value is the tenant, as in `heliograph.io/tenant`. A namespace whose labels are
    /// not known yet is neither collected nor passed over: it waits.
    pub label: Option<String>,
    /// Tenants by how the namespace's name begins; the longest prefix wins.
    pub prefix: BTreeMap<String, TenantId>,
    /// What holds for all other namespaces.
    pub otherwise: Otherwise,
}

/// The tenant of a namespace that no other rule names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Otherwise {
    /// Its logs are not collected.
    #[default]
    NotCollected,
    /// The tenant has the namespace's name.
    SameName,
    /// The tenant is what follows this prefix; a namespace without it is not collected.
    StripPrefix(String),
}

impl TenantRules {
    /// The tenant that the namespace's name alone says; without one it is not collected.
    pub fn by_name(&self, namespace: &str) -> Option<TenantId> {
        let longest = self.prefix.iter().filter(|(prefix, _)| namespace.starts_with(prefix.as_str()));
        if let Some((_, tenant)) = longest.max_by_key(|(prefix, _)| prefix.len()) {
            return Some(tenant.clone());
        }
        let name = match &self.otherwise {
            Otherwise::NotCollected => return None,
            Otherwise::SameName => namespace,
            Otherwise::StripPrefix(prefix) => namespace.strip_prefix(prefix.as_str())?,
        };
        TenantId::parse(name).ok()
    }
}

#[cfg(test)]
impl Config {
    /// Defaults for tests, which set what they are about.
    pub(crate) fn blank() -> Self {
        Self {
            data_dir: "/nowhere".into(),
            node: "node-1".into(),
            inputs: vec![],
            indexers: vec![],
            token: Token::Fixed("t".into()),
            tls: Tls::default(),
            tenants: TenantRules::default(),
            namespaces: NamespaceSelection::default(),
            kubernetes: None,
            sidecar: None,
            spool_bytes_max: SPOOL_BYTES_MAX,
            spool_when_full: WhenFull::Wait,
            batch_bytes_max: BATCH_BYTES_MAX,
            flush_after: FLUSH_AFTER,
            scan_every: SCAN_EVERY,
            tenant_bytes_per_second: None,
            unlinked_bytes_max: UNLINKED_BYTES_MAX,
            unlinked_container_bytes_max: UNLINKED_CONTAINER_BYTES_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_token() {
        let config = Config { token: Token::Fixed("geheim".into()), ..Config::blank() };
        assert!(!format!("{config:?}").contains("geheim"));
    }
}
