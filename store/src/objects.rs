//! The object store behind a URL, and a cache before it.

mod cache;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use rustix::fs::Access;

use crate::error::{Error, Result};

pub use cache::{CacheConfig, CacheCounts, DiskCache};

/// Opens `file:PATH`, making the folder. Writes are on disk (file and folder synced) before they return.
pub fn open(url: &str) -> Result<Arc<dyn ObjectStore>> {
    let bad = |reason: String| Error::Config { setting: "storage.url", reason };
    let path = url.strip_prefix("file:").map(|p| p.strip_prefix("//").unwrap_or(p)).ok_or_else(|| {
        // Only the scheme is shown: a URL may hold a password.
        let scheme = url.split(':').next().unwrap_or_default();
        bad(format!("\"{scheme}:…\" is not a storage that this program has: give file:PATH"))
    })?;
    if path.is_empty() {
        return Err(bad(format!("{url:?} names no folder: give file:PATH")));
    }
    let at = |source| Error::File { path: path.to_owned(), source };
    let folder = std::path::absolute(path).map_err(at)?;
    prepare(&folder)?;
    let store = LocalFileSystem::new_with_prefix(&folder)
        .map_err(|e| bad(format!("{}: {e}", folder.display())))?
        .with_fsync(true);
    Ok(Arc::new(store))
}

/// Puts a cache before a store. Where its folder cannot be used, that is told and it goes without: a disk that
/// only spares us reading may not keep us from reading.
pub async fn cached(objects: &Arc<dyn ObjectStore>, config: &CacheConfig) -> Option<DiskCache> {
    let (inner, of) = (Arc::clone(objects), config.clone());
    let opened = tokio::task::spawn_blocking(move || DiskCache::open(inner, &of)).await;
    match opened.unwrap_or_else(|panic| Err(panic.into())) {
        Ok(cache) => Some(cache),
        Err(error) => {
            let folder = config.folder.display();
            tracing::warn!(%error, %folder, "storage.cache_dir cannot be used: it goes without a cache");
            None
        }
    }
}

/// Makes the folder and checks now that it can be written, rather than at the first batch.
fn prepare(folder: &Path) -> Result<()> {
    let at = |source| Error::File { path: folder.display().to_string(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at)?;
    rustix::fs::access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).map_err(|e| at(e.into()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use object_store::ObjectStoreExt;
    use uuid::Uuid;

    use super::*;
    use crate::layout;

    #[tokio::test]
    async fn what_was_put_is_there_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let place = layout::wal(Uuid::nil(), layout::new_object_id());
        for slashes in ["", "//"] {
            let url = format!("file:{slashes}{}/deep/objects", folder.path().display());
            let object = Bytes::from_static(b"sealed");
            open(&url).unwrap().put(&place, object.clone().into()).await.unwrap();
            let found = open(&url).unwrap().get(&place).await.unwrap().bytes().await.unwrap();
            assert_eq!(found, object);
        }
        let file = folder.path().join("deep/objects").join(place.as_ref());
        assert_eq!(std::fs::read(file).unwrap(), b"sealed", "it lies where layout says");
    }

    #[track_caller]
    fn check(url: &str, expected: &str) {
        assert_eq!(open(url).unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_is_not_a_folder_is_refused() {
        let other = "is not a storage that this program has: give file:PATH";
        check("s3://key:secret@bucket", &format!("storage.url: \"s3:…\" {other}"));
        check("/var/lib/heliograph", &format!("storage.url: \"/var/lib/heliograph:…\" {other}"));
        check("file:", "storage.url: \"file:\" names no folder: give file:PATH");
        check("file://", "storage.url: \"file://\" names no folder: give file:PATH");
    }

    #[test]
    fn a_place_that_cannot_be_a_folder_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().join("objects").display().to_string();
        check(&format!("file:{path}"), &format!("{path}: Not a directory (os error 20)"));
    }
}
