//! Where a server's data lies: a data folder, or the settings that name each place.

use std::path::{Path, PathBuf};

use heliograph_store::objects;

use crate::config::{self, Config, Mistakes};

/// The data folder where none is named.
pub(crate) const DATA_DIR: &str = "heliograph-data";

/// The name of the catalog in a data folder.
const CATALOG: &str = "catalog.sqlite";

/// The places in effect; what the configuration does not name lies in the data folder.
pub(crate) fn in_data_dir(config: &Config, data_dir: &Path) -> heliograph_store::Config {
    let places = &config.places;
    let within = |scheme: &str, name: &str| format!("{scheme}:{}", data_dir.join(name).display());
    let objects = || objects::Config::at(within("file", "objects"));
    heliograph_store::Config {
        catalog_url: places.catalog_url.clone().unwrap_or_else(|| within("sqlite", CATALOG).into()),
        catalog_password: places.catalog_password.clone(),
        storage: places.storage.clone().unwrap_or_else(objects),
        master_key_file: places.master_key_file.clone().unwrap_or_else(|| data_dir.join("master.key")),
        cache: places.cache.clone(),
    }
}

/// The places that the configuration names; all of them must be named.
pub(crate) fn named(config: &Config) -> Result<heliograph_store::Config, Mistakes> {
    const WHY: &str = "is needed by a role on its own";
    let places = &config.places;
    let missing = |setting| config::missing(setting, WHY);
    Ok(heliograph_store::Config {
        catalog_url: places.catalog_url.clone().ok_or_else(|| missing("catalog.url"))?,
        catalog_password: places.catalog_password.clone(),
        storage: places.storage.clone().ok_or_else(|| missing("storage.url"))?,
        master_key_file: places.master_key_file.clone().ok_or_else(|| missing("keys.master_key_file"))?,
        cache: places.cache.clone(),
    })
}

/// The catalog's file, where it is one.
pub(crate) fn catalog_file(places: &heliograph_store::Config) -> Option<PathBuf> {
    places.catalog_url.sqlite_path().map(PathBuf::from)
}
