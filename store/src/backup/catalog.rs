//! The whole catalog, with the tenants' wrapped keys.

use std::path::{Path, PathBuf};

use heliograph_model::time::Timestamp;

use super::folder::{Reader, Writer};
use super::{Kind, audit};
use crate::catalog::{Catalog, Dump};
use crate::error::{Error, Result};
use crate::keyring::KeyRing;

const ROWS: &str = "catalog.ndjson";
const MASTER_KEY: &str = "master.key";

/// Copies a catalog as it is at one moment; the master key only where its file is given.
pub async fn back_up_catalog(
    catalog: &dyn Catalog,
    master_key_file: Option<&Path>,
    folder: &Path,
    now: Timestamp,
) -> Result<()> {
    let mut writer = Writer::new(folder)?;
    writer.put(ROWS, catalog.dump().await?.to_lines().as_bytes())?;
    audit::back_up(catalog, &mut writer).await?;
    if let Some(path) = master_key_file {
        let source = |source| Error::File { path: path.display().to_string(), source };
        writer.put(MASTER_KEY, &std::fs::read(path).map_err(source)?)?;
    }
    writer.finish(Kind::Catalog, now)
}

/// Brings a catalog back into one that is empty. The key file must open the tenants' keys, or be missing: then the
/// backup's is written there, if it has one. Says whether a key that opens them is in place now.
pub async fn restore_catalog(catalog: &dyn Catalog, master_key_file: &Path, folder: &Path) -> Result<bool> {
    let reader = Reader::open(folder)?;
    reader.check(Kind::Catalog)?;
    let text = String::from_utf8(reader.get(ROWS)?).map_err(|e| Error::Corrupt {
        object: folder.join(ROWS).display().to_string(),
        reason: e.to_string(),
    })?;
    let dump = Dump::from_lines(&text)?;
    let written = match (KeyRing::read(master_key_file)?, reader.find(MASTER_KEY)?) {
        (None, Some(key)) => Some(write_key(master_key_file, &key)?),
        _ => None,
    };
    let keys = KeyRing::read(master_key_file)?;
    let tenants = dump.columns("tenants", ["uid", "wrapped_key"]);
    if let Some(keys) = &keys {
        let all = tenants.iter().map(|[uid, wrapped]| (uid.uuid(), wrapped.bytes()));
        keys.opens_all(all).map_err(|error| match error {
            Error::Key { .. } => Error::Config {
                setting: "keys.master_key_file",
                reason: format!(
                    "{} holds another master key than the one of this backup's tenants",
                    master_key_file.display()
                ),
            },
            other => other,
        })?;
    }
    let loaded = catalog.load(&dump).await;
    if let (Err(_), Some(path)) = (&loaded, &written) {
        // A key that belongs to nothing here would only puzzle.
        drop(std::fs::remove_file(path));
    }
    loaded?;
    audit::restore(catalog, &reader).await?;
    Ok(keys.is_some())
}

fn write_key(path: &Path, key: &[u8]) -> Result<PathBuf> {
    use std::io::Write;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let at = |source| Error::File { path: path.display().to_string(), source };
    if let Some(parent) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(at)?;
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(at)?;
    file.write_all(key).and_then(|()| file.sync_all()).map_err(at)?;
    Ok(path.to_owned())
}
