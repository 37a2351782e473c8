//! A server's data folder: how much lies in it, and how to make the kernel forget that it has read it.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{Advice, fadvise};

fn all(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}

/// The lengths of all files together. A file that vanishes meanwhile (a merge) counts nothing.
pub(crate) fn bytes(folder: &Path) -> anyhow::Result<u64> {
    Ok(all(folder)?.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|m| m.len()).sum())
}

/// Takes all files out of the page cache, so that the next read goes to the disk.
pub(crate) fn evict(folder: &Path) -> anyhow::Result<()> {
    for path in all(folder)? {
        let file = File::open(&path)?;
        // Only pages that are on disk can be let go.
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}
