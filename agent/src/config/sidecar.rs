//! The agent as a sidecar: one directory of one tenant, until the container beside it has finished.

use std::path::PathBuf;
use std::time::Duration;

use heliograph_model::source::Component;
use heliograph_model::tenant::TenantId;

use super::{Config, Input, NamespaceFrom, NamespaceSelection, WhenFull};

/// Default of [`Sidecar::finish_within`]: an indexer that restarts is back by then, and no finished pod is kept for long.
pub const FINISH_WITHIN: Duration = Duration::from_mins(2);

/// A directory to follow until its container has finished.
#[derive(Clone, Debug)]
pub struct Sidecar {
    /// Where the container writes: Airflow's task files and DAG-processor files by their layout, every other
    /// `*.log`, at any depth, as plain lines.
    pub directory: PathBuf,
    /// Whose the logs are.
    pub tenant: TenantId,
    /// What writes them; task files say it themselves.
    pub component: Option<Component>,
    /// The namespace that records carry.
    pub namespace: Option<String>,
    /// The pod that records carry.
    pub pod: Option<String>,
    /// The file that says that the container has finished. Below `directory` unless absolute.
    pub finished_file: PathBuf,
    /// How long the rest may take to be read, sent and acknowledged from then on.
    pub finish_within: Duration,
}

impl Sidecar {
    /// The inputs that this stands for.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        // Not by glob characters of its own: the directory is a name.
        let directory = globset::escape(&self.directory.to_string_lossy());
        let namespace = NamespaceFrom::Fixed(self.namespace_or_tenant().to_owned());
        vec![
            Input::Tasks { root: self.directory.clone(), namespace },
            Input::Files {
                glob: format!("{}/**/*.log", directory.trim_end_matches('/')),
                tenant: self.tenant.clone(),
                component: self.component.clone(),
            },
        ]
    }

    /// The namespace by which the tenant rules know the directory.
    pub(crate) fn namespace_or_tenant(&self) -> &str {
        self.namespace.as_deref().unwrap_or(self.tenant.as_str())
    }

    /// The marker's path.
    pub(crate) fn marker(&self) -> PathBuf {
        self.directory.join(&self.finished_file)
    }
}

impl Config {
    /// The inputs to follow, with the tenant rule that a sidecar's directory needs.
    pub(crate) fn with_sidecar(mut self) -> Self {
        if let Some(sidecar) = &self.sidecar {
            self.tenants.exact.insert(sidecar.namespace_or_tenant().to_owned(), sidecar.tenant.clone());
            self.inputs = sidecar.inputs();
            self.namespaces = NamespaceSelection::All;
            // A sidecar that ends well has shipped every line.
            self.spool_when_full = WhenFull::Wait;
        }
        self
    }
}
