//! From one master key to another: tenants' keys are wrapped anew, and no data is rewritten.
//!
//! ```text
//! new key first in the file (and in those of all other processes) ─▶ rotate ─▶ forget: the old one out of the file
//! ```
//! Rotating first tells the catalog by which key new tenants' keys are wrapped, and then goes through all that there are.
//! Whoever is stopped in between begins again: a key that is wrapped by the new one is passed over. Processes read the
//! file again when they meet a key that they do not know.

use heliograph_model::cipher::SecretKey;
use uuid::Uuid;

use crate::Store;
use crate::audit;
use crate::catalog::Catalog;
use crate::crash;
use crate::error::{Error, Result};
use crate::keyring::{KeyId, KeyRing, wrapped_by};

/// Wraps a tenant's key by the master key that is set, or by the first where none is.
pub async fn wrap(catalog: &dyn Catalog, keys: &KeyRing, tenant: Uuid, key: &SecretKey) -> Result<Vec<u8>> {
    let by = match catalog.master_key().await? {
        Some(current) => current,
        None => keys.first()?,
    };
    match keys.wrap(by, tenant, key) {
        Err(Error::OtherKey { .. }) => {
            keys.reload().await?;
            keys.wrap(by, tenant, key)
        }
        wrapped => wrapped,
    }
}

/// How many tenants' keys each master key of the file wraps, those of keys that the file lacks last.
pub async fn uses(store: &Store) -> Result<Vec<(Option<KeyId>, usize)>> {
    store.keys.reload().await?;
    let mut uses: Vec<(Option<KeyId>, usize)> =
        store.keys.ids().into_iter().map(|id| (Some(id), 0)).collect();
    uses.push((None, 0));
    for tenant in store.catalog.tenants().await? {
        let by = match store.keys.opener(tenant.uid, &tenant.wrapped_key) {
            Ok(id) => Some(id),
            Err(Error::Key { .. }) => None,
            Err(error) => return Err(error),
        };
        uses.iter_mut().filter(|(id, _)| *id == by).for_each(|(_, count)| *count += 1);
    }
    Ok(uses)
}

/// Puts a new key first into the file: the one that [`rotate`] goes over to. Until then all is wrapped and signed by the
/// one before, which is named for those who have other keys.
pub async fn add(store: &Store) -> Result<KeyId> {
    if store.catalog.master_key().await?.is_none() {
        store.catalog.set_master_key(store.keys.first()?).await?;
    }
    store.keys.add().await
}

/// Goes over to the first key of the file: from now on nothing is wrapped by another. How many tenants' keys were
/// wrapped anew.
pub async fn rotate(store: &Store) -> Result<(KeyId, usize)> {
    store.keys.reload().await?;
    let to = store.keys.first()?;
    crash::point("rotate.set.before");
    store.catalog.set_master_key(to).await?;
    crash::point("rotate.set.after");
    let mut count = 0;
    loop {
        let mut all = store.catalog.tenants().await?;
        all.retain(|tenant| wrapped_by(&tenant.wrapped_key) != Some(to));
        if all.is_empty() {
            audit::sign(store).await?;
            return Ok((to, count));
        }
        for tenant in all {
            let key = store.keys.unwrap(tenant.uid, &tenant.wrapped_key)?;
            let anew = store.keys.wrap(to, tenant.uid, &key)?;
            crash::point("rotate.wrap.before");
            // Else somebody else was faster, or it was erased.
            count += usize::from(store.catalog.rewrap(tenant.uid, &tenant.wrapped_key, &anew).await?);
            crash::point("rotate.wrap.after");
        }
    }
}

/// Takes all keys but the first out of the file; how many. [`Error::KeyNeeded`] as long as one of them opens anything
/// that the first does not.
pub async fn forget(store: &Store) -> Result<usize> {
    store.keys.reload().await?;
    let first = store.keys.first()?;
    let tenants = store.catalog.tenants().await?;
    let needed = tenants.iter().filter(|tenant| wrapped_by(&tenant.wrapped_key) != Some(first)).count();
    if needed > 0 || store.catalog.master_key().await?.is_some_and(|current| current != first) {
        return Err(Error::KeyNeeded { tenants: needed });
    }
    if store.keys.ids().len() < 2 {
        return Ok(0);
    }
    // A tenant that is made now is wrapped by this one, even where it was never said.
    store.catalog.set_master_key(first).await?;
    let late = store.catalog.tenants().await?;
    match late.iter().filter(|tenant| wrapped_by(&tenant.wrapped_key) != Some(first)).count() {
        0 => {
            audit::sign(store).await?;
            store.keys.keep_first().await
        }
        tenants => Err(Error::KeyNeeded { tenants }),
    }
}
