//! What lies at rest, between the indexer that writes it and the query that reads it: the catalog, the key
//! ring, the segments, the write-ahead objects, and the places where they lie.

pub mod catalog;
mod error;
pub mod keyring;
pub mod layout;
pub mod objects;
pub mod segment;
pub mod tenants;
pub mod token;
pub mod wal;

use std::path::PathBuf;
use std::sync::Arc;

use heliograph_model::time::Clock;

pub use error::{Error, Result};

/// Where things lie.
#[derive(Clone, Debug)]
pub struct Config {
    /// `sqlite:PATH`.
    pub catalog_url: String,
    /// `file:PATH`.
    pub storage_url: String,
    /// 32 bytes, made on first start with mode 0600.
    pub master_key_file: PathBuf,
}

/// Everything that lies at rest, opened. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    /// Who and what there is.
    pub catalog: Arc<dyn catalog::Catalog>,
    /// The objects.
    pub objects: Arc<dyn object_store::ObjectStore>,
    /// The keys.
    pub keys: keyring::KeyRing,
    /// Tenants with their keys, cached.
    pub tenants: tenants::Tenants,
}

impl Store {
    /// Opens catalog, key ring and object store; makes what is missing; brings the catalog's schema up to date.
    pub async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let objects = objects::open(&config.storage_url)?;
        let catalog = catalog::open(&config.catalog_url).await?;
        let keys = keyring::KeyRing::open(&config.master_key_file)?;
        let tenants = tenants::Tenants::new(Arc::clone(&catalog), keys.clone(), clock);
        Ok(Self { catalog, objects, keys, tenants })
    }
}
