//! Log files that Airflow 3 writes into pods' emptyDir volumes, where the kubelet keeps them:
//! `<uid>/volumes/kubernetes.io~empty-dir/<volume>/…`.
//!
//! Whose a uid is stands in the names of the containers' logs beside: `<ns>_<pod>_<uid>`. Where it does not (logs go
//! before volumes do, or elsewhere), the API server may have told. A uid that is not known yet is passed over, and its
//! files are read from their beginning once it is.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::scope::pod_of;
use crate::pods::Pods;

/// What the directories from the root to a volume are called; none where any name will do.
const LEVELS: [Option<&str>; 4] = [None, Some("volumes"), Some("kubernetes.io~empty-dir"), None];
/// How many directories of any name may lie between a volume and the logs, as in `logs/dag_id=…`. A volume may hold
/// whatever a pod writes: it is not searched further.
const FREE_LEVELS: usize = 2;

/// The pods of a node, by uid.
#[derive(Debug)]
pub(crate) struct Volumes {
    /// Where the kubelet keeps the volumes.
    root: PathBuf,
    /// Where it keeps the containers' logs.
    pods_dir: PathBuf,
    changed: Option<SystemTime>,
    by_uid: BTreeMap<Box<str>, Name>,
    /// What the API server tells …
    told: Option<Arc<Pods>>,
    /// … and which of it was looked at.
    edition: u64,
}

/// Namespace and name of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name there.
    pub pod: Box<str>,
}

impl Volumes {
    /// Volumes below `root`, of the pods that have logs below `pods_dir`.
    pub(crate) fn new(root: PathBuf, pods_dir: PathBuf) -> Self {
        let (by_uid, told, edition) = (BTreeMap::new(), None, 0);
        let mut volumes = Self { root, pods_dir, changed: None, by_uid, told, edition };
        volumes.refresh(SystemTime::UNIX_EPOCH);
        volumes
    }

    /// Goes by these pods, too.
    pub(crate) fn ask(&mut self, pods: &Arc<Pods>) {
        self.told = Some(Arc::clone(pods));
    }

    /// Looks which pods there are, if that may have changed since a look at `now`; says whether one is new.
    pub(crate) fn refresh(&mut self, now: SystemTime) -> bool {
        let edition = self.told.as_ref().map_or(0, |pods| pods.edition());
        let is_told = std::mem::replace(&mut self.edition, edition) != edition;
        self.refresh_by_logs(now) || is_told
    }

    fn refresh_by_logs(&mut self, now: SystemTime) -> bool {
        let changed = std::fs::metadata(&self.pods_dir).and_then(|m| m.modified()).ok();
        // Two changes may share a modification time.
        let settled =
            changed.is_some_and(|at| now.duration_since(at).is_ok_and(|age| age > super::UNSETTLED));
        if changed.is_none() || (std::mem::replace(&mut self.changed, changed) == changed && settled) {
            return false;
        }
        let names = std::fs::read_dir(&self.pods_dir).into_iter().flatten().flatten();
        let mut by_uid = BTreeMap::new();
        for name in names.map(|entry| entry.file_name()) {
            if let Some((namespace, pod, uid)) = name.to_str().and_then(pod_of) {
                by_uid.insert(uid.into(), Name { namespace: namespace.into(), pod: pod.into() });
            }
        }
        let is_new = by_uid.keys().any(|uid| !self.by_uid.contains_key(uid));
        // A pod's logs may go before its volumes do.
        let there = |uid: &str| self.root.join(uid).symlink_metadata().is_ok();
        for (uid, pod) in std::mem::take(&mut self.by_uid) {
            if !by_uid.contains_key(&uid) && there(&uid) {
                by_uid.insert(uid, pod);
            }
        }
        self.by_uid = by_uid;
        is_new
    }

    /// Whose a uid is.
    pub(crate) fn pod(&self, uid: &OsStr) -> Option<Name> {
        let uid = uid.to_str()?;
        let told = || {
            let pod = self.told.as_ref()?.by_uid(uid)?;
            Some(Name { namespace: pod.namespace.clone(), pod: pod.name.clone() })
        };
        self.by_uid.get(uid).cloned().or_else(told)
    }

    /// Takes a path below the root apart: the uid, and what lies in the volume.
    pub(crate) fn split(below: &Path) -> Option<(&OsStr, &Path)> {
        let mut parts = below.components();
        let uid = below.iter().next()?;
        for level in LEVELS {
            let part = parts.next()?;
            if level.is_some_and(|name| part.as_os_str() != name) {
                return None;
            }
        }
        Some((uid, parts.as_path()))
    }

    /// Whether logs may lie in or below `dir`, which lies in a directory `depth` levels below the root.
    pub(crate) fn descends(&self, dir: &Path, depth: usize) -> bool {
        let Some(name) = dir.file_name() else { return false };
        match LEVELS.get(depth) {
            Some(None) if depth == 0 => self.pod(name).is_some(),
            Some(level) => level.is_none_or(|level| name == level),
            None => {
                let inside = dir.strip_prefix(&self.root).ok().and_then(Self::split);
                let is_log_dir = |part: &OsStr| {
                    part == "dag_processor"
                        || part == "scheduler"
                        || part.to_str().is_some_and(|p| p.starts_with("dag_id="))
                };
                depth < LEVELS.len() + FREE_LEVELS
                    || inside.is_some_and(|(_, rest)| rest.iter().any(is_log_dir))
            }
        }
    }
}
