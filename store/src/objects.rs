//! The object store behind a URL, what all kinds of it do alike, and a cache before it.
//!
//! An object is created once under its name and never changed. Whoever creates one does it by [`create`], which
//! takes an object that is there already with the same content as done: so a request whose answer was lost can be
//! sent again, on any store.

mod attempts;
mod cache;
mod credentials;
mod folder;
mod metrics;
mod parts;
mod place;
mod remote;
mod watched;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode};
use rustix::fs::Access;
use tokio::time::timeout;

use crate::error::{Error, Result};
use place::{Place, bad};
use watched::Watched;

pub use cache::{CacheConfig, CacheCounts, DiskCache};
pub use folder::{Disk, NearlyFull};
pub use metrics::ObjectMetrics;
pub use place::{Config, Patience, is_credential_variable};

/// Opens a store; of a folder, makes it. Does not go to a distant one: that it is not there shows at the first
/// request. What was written is on disk, or where the distant store keeps it, before a request returns.
pub fn open(config: &Config) -> Result<(Arc<dyn ObjectStore>, ObjectMetrics)> {
    config.check()?;
    let metrics = ObjectMetrics::new()
        .map_err(|e| Error::Config { setting: "storage.url", reason: format!("its figures: {e}") })?;
    let store = match config.place()? {
        Place::Folder(path) => Watched::near(open_folder(&path)?, metrics.clone()),
        Place::Bucket { kind, bucket, prefix } => {
            Watched::far(remote::open(config, kind, &bucket, prefix, &metrics)?, metrics.clone())
        }
    };
    Ok((Arc::new(store), metrics))
}

/// Creates an object, whole or not at all. In bounded time; large objects go to a distant store in parts.
///
/// An object of this name with the same content counts as done: then an earlier attempt of ours was, whose answer
/// was lost. With another content it is [`object_store::Error::AlreadyExists`]. After an error it may be there or
/// turn up later: do not use the name again. (On a folder, a file whose folder could not be synced looks done.)
pub async fn create(objects: &dyn ObjectStore, path: &Path, bytes: Bytes) -> object_store::Result<()> {
    // More than parts take by themselves, which must be given up by who sends them.
    let bound = time_max(bytes.len()) + Duration::from_secs(30);
    let creating = async {
        match objects.put_opts(path, bytes.clone().into(), PutMode::Create.into()).await {
            Ok(_) => Ok(()),
            Err(error @ object_store::Error::AlreadyExists { .. }) => {
                match holds(objects, path, &bytes).await {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(error),
                    Err(unknown) => Err(unknown),
                }
            }
            Err(error) => Err(error),
        }
    };
    timeout(bound, creating).await.unwrap_or_else(|_| Err(too_long(path)))
}

/// Whether there is an object of exactly this content.
async fn holds(objects: &dyn ObjectStore, path: &Path, bytes: &Bytes) -> object_store::Result<bool> {
    let found = match objects.get(path).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    if found.meta.size != bytes.len() as u64 {
        return Ok(false);
    }
    Ok(found.bytes().await? == *bytes)
}

/// Longest time for creating an object: a store that takes longer is taken as gone.
fn time_max(bytes: usize) -> Duration {
    const BYTES_PER_SECOND: usize = 1 << 20;
    Duration::from_secs(30 + (bytes / BYTES_PER_SECOND) as u64)
}

fn too_long(path: &Path) -> object_store::Error {
    let source = format!("{path}: it took too long").into();
    object_store::Error::Generic { store: "objects", source }
}

fn open_folder(path: &FilePath) -> Result<Arc<dyn ObjectStore>> {
    let at = |source| Error::File { path: path.display().to_string(), source };
    let folder = std::path::absolute(path).map_err(at)?;
    prepare(&folder)?;
    let store = LocalFileSystem::new_with_prefix(&folder)
        .map_err(|e| bad("storage.url", &format!("{}: {e}", folder.display())))?
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
fn prepare(folder: &FilePath) -> Result<()> {
    let at = |source| Error::File { path: folder.display().to_string(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at)?;
    rustix::fs::access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).map_err(|e| at(e.into()))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::layout;

    #[tokio::test]
    async fn what_was_created_is_there_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let place = layout::wal(Uuid::nil(), layout::new_object_id());
        for slashes in ["", "//"] {
            let config = Config::at(format!("file:{slashes}{}/deep/objects", folder.path().display()));
            let object = Bytes::from_static(b"sealed");
            let (store, _) = open(&config).unwrap();
            create(&*store, &place, object.clone()).await.unwrap();
            let (store, _) = open(&config).unwrap();
            assert_eq!(store.get(&place).await.unwrap().bytes().await.unwrap(), object);
        }
        let file = folder.path().join("deep/objects").join(place.as_ref());
        assert_eq!(std::fs::read(file).unwrap(), b"sealed", "it lies where layout says");
    }

    #[test]
    fn a_place_that_cannot_be_a_folder_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().join("objects").display().to_string();
        let told = open(&Config::at(format!("file:{path}"))).map(|_| ()).unwrap_err().to_string();
        assert_eq!(told, format!("{path}: Not a directory (os error 20)"));
    }
}
