//! Whether a file has changed, seen without reading it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, Result};

/// Tells one content of a file from another. Projected files are replaced, not written to: the kubelet lets a link
/// lead to another directory, and what is behind it has another inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file that a path leads to now.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let meta = std::fs::metadata(path).map_err(Error::disk(path))?;
        Ok(Self { inode: meta.ino(), bytes: meta.len(), changed: (meta.mtime(), meta.mtime_nsec()) })
    }
}
