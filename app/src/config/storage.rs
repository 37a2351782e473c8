//! `[storage]`: where objects lie, how they are reached, and the cache before them.

use std::path::PathBuf;

use heliograph_store::objects::{CacheConfig, Config, Patience};

use super::Mistake;
use super::reader::Reader;
use super::values::Bytes;

/// Room of the cache where none is given.
const CACHE_BYTES: u64 = 10 << 30;

/// The place; nothing where `url` is not set. `clouds` are the variables by which clouds hand credentials out.
pub(super) fn read(r: &mut Reader<'_>, clouds: Vec<(String, String)>) -> Option<Config> {
    let url: Option<String> = r.optional("url");
    let config = Config {
        url: url.clone().unwrap_or_default(),
        endpoint: r.optional("endpoint"),
        region: r.optional("region"),
        path_style: r.optional("path_style"),
        allow_http: r.setting("allow_http", false),
        credentials_file: r.optional("credentials_file"),
        environment: clouds
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name, value.into()))
            .collect(),
        patience: Patience::default(),
    };
    let lonely = config.endpoint.is_some()
        || config.region.is_some()
        || config.path_style.is_some()
        || config.credentials_file.is_some();
    match url {
        Some(_) => {
            if let Err(error) = config.check() {
                r.mistake(Mistake::new(error.to_string()));
            }
            Some(config)
        }
        None if lonely => {
            let (of, url) = (r.path_of("…"), r.path_of("url"));
            r.mistake(Mistake::new(format!(
                "{url}: is not set, but other keys of {of} say how it is reached: set it, as in \
                 \"s3://my-logs/production\", or leave them out"
            )));
            None
        }
        None => None,
    }
}

/// The cache, if a folder is named for it.
pub(super) fn read_cache(r: &mut Reader<'_>) -> Option<CacheConfig> {
    let folder: Option<PathBuf> = r.optional("cache_dir");
    let bytes_max = r.setting("cache_bytes", Bytes(CACHE_BYTES)).0;
    folder.map(|folder| CacheConfig { folder, bytes_max })
}
