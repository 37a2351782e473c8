//! What lies at rest, between the indexer that writes it and the query that reads it: the catalog, the key
//! ring, the segments, the write-ahead objects, and the places where they lie.

pub mod audit;
pub mod backup;
pub mod catalog;
pub mod compaction;
pub mod crash;
pub mod erasure;
mod error;
pub mod invitation;
pub mod keyring;
pub mod layout;
pub mod objects;
pub mod retention;
pub mod rotation;
pub mod segment;
pub mod tenants;
pub mod token;
pub mod wal;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use heliograph_model::time::{Clock, Timestamp};

pub use error::{Error, Result};

/// Where things lie.
#[derive(Clone, Debug)]
pub struct Config {
    /// `sqlite:PATH`, or `postgres://USER@HOST:PORT/DATABASE?sslmode=…`.
    pub catalog_url: catalog::Url,
    /// The password of the catalog's user, unless the URL holds it.
    pub catalog_password: Option<secrecy::SecretString>,
    /// Where the objects lie.
    pub storage: objects::Config,
    /// 32 bytes, made on first start with mode 0600.
    pub master_key_file: PathBuf,
    /// A cache of what is read from the storage.
    pub cache: Option<objects::CacheConfig>,
}

/// Everything that lies at rest, opened. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    /// Who and what there is.
    pub catalog: Arc<dyn catalog::Catalog>,
    /// The objects.
    pub objects: Arc<dyn object_store::ObjectStore>,
    /// The disk under them, where they are files of this machine.
    pub disk: Option<objects::Disk>,
    /// What is asked of them, counted; not yet registered anywhere.
    pub object_metrics: objects::ObjectMetrics,
    /// The cache through which they are read, if there is one.
    pub cache: Option<objects::DiskCache>,
    /// The keys.
    pub keys: keyring::KeyRing,
    /// Tenants with their keys, cached.
    pub tenants: tenants::Tenants,
}

impl Store {
    /// Opens catalog, key ring and object store; makes what is missing; brings the catalog's schema up to date.
    ///
    /// A master key that is not the one of this catalog's tenants is refused here, not at the first record.
    pub async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let (objects, object_metrics) = objects::open(&config.storage)?;
        let disk = objects::Disk::of(&config.storage)?;
        if let Some(disk) = &disk {
            sweep(disk.clone(), clock.now()).await;
        }
        let cache = open_cache(&objects, config).await;
        let objects = cache.clone().map_or(objects, |cache| Arc::new(cache));
        let catalog = catalog::open(&config.catalog_url, config.catalog_password.as_ref()).await?;
        let keys = open_keys(&config.master_key_file, &catalog.tenants().await?)?;
        let tenants = tenants::Tenants::new(Arc::clone(&catalog), keys.clone(), clock);
        Ok(Self { catalog, objects, disk, object_metrics, cache, keys, tenants })
    }
}

/// What is left then only takes room: no reason not to start.
async fn sweep(disk: objects::Disk, now: Timestamp) {
    match tokio::task::spawn_blocking(move || disk.sweep(now)).await {
        Ok(Ok(0)) => {}
        Ok(Ok(files)) => tracing::info!(files, "deleted what unfinished writes had left"),
        Ok(Err(error)) => tracing::warn!(%error, "cannot look for what unfinished writes have left"),
        Err(error) => tracing::warn!(%error, "cannot look for what unfinished writes have left"),
    }
}

async fn open_cache(
    objects: &Arc<dyn object_store::ObjectStore>,
    config: &Config,
) -> Option<objects::DiskCache> {
    let cache = config.cache.as_ref()?;
    if config.storage.is_local() {
        tracing::warn!(
            "storage.cache_dir only costs room here: storage.url is files of this machine already"
        );
    }
    objects::cached(objects, cache).await
}

/// The key ring that opens these tenants' keys.
fn open_keys(file: &Path, tenants: &[catalog::Tenant]) -> Result<keyring::KeyRing> {
    if tenants.is_empty() {
        return keyring::KeyRing::open(file);
    }
    let unusable = |what: &str| Error::Config {
        setting: "keys.master_key_file",
        reason: format!(
            "{} {what}, and the catalog has tenants whose data only their own master key opens: put that \
             key back, or point at it",
            file.display()
        ),
    };
    // A new key would open nothing, and would hide that the old one is gone.
    let keys = keyring::KeyRing::read(file)?.ok_or_else(|| unusable("does not exist"))?;
    match keys.opens_all(tenants.iter().map(|tenant| (tenant.uid, tenant.wrapped_key.as_slice()))) {
        Ok(()) => Ok(keys),
        Err(Error::Key { .. }) => Err(unusable("holds another master key")),
        Err(error) => Err(error),
    }
}
