//! What `up` follows besides the configuration's inputs, and for which tenants.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use heliograph_agent::{Input, NamespaceFrom, Otherwise, TenantRules};
use heliograph_model::tenant::TenantId;

use crate::cli;
use crate::config::check_glob;
use crate::demo;
use crate::exit::{Failure, Outcome};
use crate::places::DATA_DIR;

/// The folders in effect.
pub(super) struct Folders {
    pub(super) data: PathBuf,
    /// Never below the data folder: what lies there is sealed, and these are plain logs.
    pub(super) demo_logs: PathBuf,
}

/// `./heliograph-data`, or for the demo `./heliograph-demo/data` beside its logs, unless a folder is named.
pub(super) fn folders(options: &cli::Up) -> Folders {
    match &options.data_dir {
        Some(dir) => {
            let mut logs = dir.components().as_path().as_os_str().to_owned();
            logs.push("-logs");
            Folders { data: dir.clone(), demo_logs: logs.into() }
        }
        None if options.demo => {
            Folders { data: "heliograph-demo/data".into(), demo_logs: "heliograph-demo/logs".into() }
        }
        None => Folders { data: DATA_DIR.into(), demo_logs: PathBuf::new() },
    }
}

/// The inputs of `--logs` and `--demo`.
pub(super) fn of_command_line(options: &cli::Up, folders: &Folders) -> Outcome<Vec<Input>> {
    let mut inputs = Vec::new();
    for glob in &options.logs {
        check_glob(glob).map_err(|reason| Failure::Usage(anyhow!("--logs: {reason}")))?;
        let glob = absolute(Path::new(glob))?
            .into_os_string()
            .into_string()
            .map_err(|path| Failure::Usage(anyhow!("--logs: {path:?} is not UTF-8")))?;
        inputs.push(Input::Files { glob, tenant: tenant("default")?, component: None });
    }
    if options.demo {
        let logs = absolute(&folders.demo_logs)?;
        inputs.push(Input::Containers { root: logs.join(demo::PODS) });
        inputs.push(Input::Tasks {
            root: logs.join(demo::TASK_LOGS),
            namespace: NamespaceFrom::FirstPathElement,
        });
    }
    Ok(inputs)
}

/// Lets the demo's namespaces be tenants of the same name, beside whatever the configuration says.
pub(super) fn collect_demo_tenants(rules: &mut TenantRules) {
    for name in demo::TENANTS {
        if rules.otherwise == Otherwise::SameName {
            return;
        }
        if let Ok(tenant) = TenantId::parse(name) {
            rules.exact.entry(name.to_owned()).or_insert(tenant);
        }
    }
}

/// The tenants that inputs name themselves: made at the start, so that tokens can be made for them at once.
pub(super) fn tenants(inputs: &[Input]) -> BTreeSet<TenantId> {
    inputs
        .iter()
        .filter_map(|input| match input {
            Input::Files { tenant, .. } => Some(tenant.clone()),
            Input::Containers { .. } | Input::Tasks { .. } | Input::PodVolumes { .. } => None,
        })
        .collect()
}

fn tenant(name: &str) -> anyhow::Result<TenantId> {
    Ok(TenantId::parse(name)?)
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}
