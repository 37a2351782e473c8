//! `/var/log/containers`: a directory of links into the one where the kubelet keeps containers' logs.
//!
//! The links say nothing that the paths they lead to do not say, so those are followed, and only once.

use std::path::{Path, PathBuf};

use super::scope::pod_of;

/// Where the logs lie to which the links in `root` lead; `root` itself if it is no directory of such links.
pub(crate) fn pods_root(root: PathBuf) -> PathBuf {
    let targets = std::fs::read_dir(&root).into_iter().flatten().flatten().filter_map(|entry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        beyond(&root.join(target))
    });
    let led_to = targets.into_iter().next();
    led_to.or_else(|| not_filled_yet(&root)).unwrap_or(root)
}

/// The directory above `<ns>_<pod>_<uid>/<container>/N.log`.
fn beyond(target: &Path) -> Option<PathBuf> {
    let pod = target.parent()?.parent()?;
    pod_of(pod.file_name()?.to_str()?)?;
    (target.extension()? == "log").then(|| pod.parent().map(Path::to_owned))?
}

/// On a node that has no containers yet, the directory goes by its name.
fn not_filled_yet(root: &Path) -> Option<PathBuf> {
    let empty = std::fs::read_dir(root).map_or(true, |mut entries| entries.next().is_none());
    (empty && root.file_name()? == "containers").then(|| root.parent().map(|dir| dir.join("pods")))?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_to_the_logs() {
        let dir = tempfile::tempdir().unwrap();
        let (links, pods) = (dir.path().join("containers"), dir.path().join("kubelet/pods"));
        // Nothing is there yet.
        assert_eq!(pods_root(links.clone()), dir.path().join("pods"));
        std::fs::create_dir(&links).unwrap();
        assert_eq!(pods_root(links.clone()), dir.path().join("pods"));
        std::fs::write(links.join("other.log"), "").unwrap();
        assert_eq!(pods_root(links.clone()), links);
        symlink("/nowhere/x.log", links.join("odd.log")).unwrap();
        assert_eq!(pods_root(links.clone()), links);
        symlink("../kubelet/pods/a_p-0_1/worker/0.log", links.join("p-0_a_worker-1.log")).unwrap();
        assert_eq!(pods_root(links.clone()), links.join("../kubelet/pods"));
        std::fs::remove_file(links.join("p-0_a_worker-1.log")).unwrap();
        symlink(pods.join("a_p-0_1/worker/0.log"), links.join("p-0_a_worker-1.log")).unwrap();
        assert_eq!(pods_root(links), pods);
        assert_eq!(pods_root(pods.clone()), pods);
    }
}
