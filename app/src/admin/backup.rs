//! Backups of a catalog or of a tenant, and the way back.

use std::path::Path;

use anyhow::anyhow;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Clock;
use heliograph_store::audit::Action;
use heliograph_store::backup::{self, Kind};
use heliograph_store::catalog;
use heliograph_store::keyring::KeyRing;

use super::record::Change;
use super::{open, places_of};
use crate::cli::Place;
use crate::clock::SystemClock;
use crate::console;
use crate::exit::{Failure, Outcome};

/// Copies a catalog, or a tenant.
pub(super) async fn make(
    to: &Path,
    tenant: Option<&TenantId>,
    with_master_key: bool,
    place: &Place,
) -> Outcome {
    let store = open(place).await?;
    let now = SystemClock.now();
    let Some(tenant) = tenant else {
        let places = places_of(place)?;
        let key = with_master_key.then_some(places.master_key_file.as_path());
        let change = Change::new(&store, Action::BackupMake).with("with_master_key", with_master_key);
        return change
            .make(async { Ok(backup::back_up_catalog(&*store.catalog, key, to, now).await?) })
            .await;
    };
    if with_master_key {
        let reason =
            "--with-master-key: it opens every tenant's data; it goes with a backup of the catalog only";
        return Err(Failure::Usage(anyhow!(reason)));
    }
    let change = Change::new(&store, Action::BackupMake).about(tenant).await?;
    let made = change.make(async { Ok(backup::back_up_tenant(&store, tenant, to, now).await?) }).await?;
    Ok(console::line(&format!("{} records in {} segments", made.records, made.segments))?)
}

/// Brings back what a folder holds.
pub(super) async fn restore(
    from: &Path,
    name: Option<&TenantId>,
    master_key_file: Option<&Path>,
    place: &Place,
) -> Outcome {
    if backup::kind(from)? == Kind::Tenant {
        let read = |path: &Path| {
            KeyRing::read(path)?
                .ok_or_else(|| Failure::Usage(anyhow!("there is no master key at {}", path.display())))
        };
        let source = master_key_file.map(read).transpose()?;
        let places = places_of(place)?;
        let store = heliograph_store::Store::open(&places, std::sync::Arc::new(SystemClock)).await?;
        let change = Change::new(&store, Action::BackupRestore);
        let change = name.iter().fold(change, |change, name| change.with("as", name.as_str()));
        let restored = async { Ok(backup::restore_tenant(&store, source.as_ref(), name, from).await?) };
        let made = change.make(restored).await?;
        return Ok(console::line(&format!("{} records in {} segments", made.records, made.segments))?);
    }
    if name.is_some() || master_key_file.is_some() {
        return Err(Failure::Usage(anyhow!("--as and --master-key-file are for the backup of a tenant")));
    }
    let places = places_of(place)?;
    let catalog = catalog::open(&places.catalog_url, places.catalog_password.as_ref()).await?;
    let key = &places.master_key_file;
    if !backup::restore_catalog(&*catalog, key, from).await? {
        console::say(&format!(
            "put the master key of the backed-up place at {} before the start",
            key.display()
        ));
    }
    Ok(())
}
