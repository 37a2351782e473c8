//! The object store behind a URL.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

use crate::error::{Error, Result};

/// Opens `file:PATH`, making the folder. Writes are on disk (file and folder synced) before they return.
pub fn open(url: &str) -> Result<Arc<dyn ObjectStore>> {
    let bad = |reason: String| Error::Config { setting: "storage.url", reason };
    let path = url
        .strip_prefix("file:")
        .map(|p| p.strip_prefix("//").unwrap_or(p))
        .ok_or_else(|| bad(format!("{url:?} is not of the form file:PATH")))?;
    std::fs::create_dir_all(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    let store = LocalFileSystem::new_with_prefix(path).map_err(|e| bad(e.to_string()))?.with_fsync(true);
    Ok(Arc::new(store))
}
