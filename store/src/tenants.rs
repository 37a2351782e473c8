//! Tenants with their unwrapped keys: the only way to a tenant's bytes at rest.
//!
//! Only what is there is remembered: a name that is unknown now may be made by another process the next moment.
//! A tenant's uid and key never change, but a tenant may be erased, and another have its name then. So whoever keeps
//! these has it [`Tenants::forget`] those that are gone; what is done with a key after that is refused by the catalog.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use heliograph_model::cipher::SecretKey;
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::Clock;
use parking_lot::RwLock;
use uuid::Uuid;

use crate::catalog::{Catalog, Tenant};
use crate::crash;
use crate::error::{Error, Result};
use crate::keyring::KeyRing;
use crate::rotation;

/// How often a new tenant's key is wrapped anew because the master key was changed.
const KEY_CHANGES_MAX: usize = 4;

/// A tenant whose data key is at hand.
#[derive(Debug)]
pub struct OpenTenant {
    /// Its name.
    pub name: TenantId,
    /// Its random, lasting id: what stored bytes are bound to, and its prefix in the object store.
    pub uid: Uuid,
    /// The key from which every object's key is derived.
    pub key: SecretKey,
}

/// A tenant that was looked for, and is there now.
#[derive(Debug)]
pub struct Found {
    /// The tenant.
    pub tenant: Arc<OpenTenant>,
    /// Whether it was made just now, and here.
    pub is_new: bool,
}

/// Looks tenants up and keeps their keys. Cheap to clone.
#[derive(Clone)]
pub struct Tenants {
    catalog: Arc<dyn Catalog>,
    keys: KeyRing,
    clock: Arc<dyn Clock>,
    open: Arc<RwLock<HashMap<TenantId, Arc<OpenTenant>>>>,
}

impl Tenants {
    /// An empty cache over a catalog.
    pub fn new(catalog: Arc<dyn Catalog>, keys: KeyRing, clock: Arc<dyn Clock>) -> Self {
        Self { catalog, keys, clock, open: Arc::default() }
    }

    /// Makes a tenant with a key of its own.
    pub async fn create(&self, name: &TenantId, workspace: &Workspace) -> Result<Arc<OpenTenant>> {
        let uid = Uuid::new_v4();
        let key = SecretKey::generate()?;
        let mut tenant = Tenant {
            name: name.clone(),
            workspace: workspace.clone(),
            uid,
            wrapped_key: Vec::new(),
            created: self.clock.now(),
        };
        for _ in 0..KEY_CHANGES_MAX {
            tenant.wrapped_key = rotation::wrap(&*self.catalog, &self.keys, uid, &key).await?;
            crash::point("tenant.create.before");
            match self.catalog.create_tenant(&tenant).await {
                Ok(()) => {
                    crash::point("tenant.create.after");
                    return Ok(self.remember(&tenant, key));
                }
                // The master key was changed this moment.
                Err(Error::OtherKey { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Key { what: "new tenant".to_owned() })
    }

    /// The tenant of this name, if there is one.
    pub async fn find(&self, name: &TenantId) -> Result<Option<Arc<OpenTenant>>> {
        if let Some(open) = self.open.read().get(name) {
            return Ok(Some(Arc::clone(open)));
        }
        let Some(tenant) = self.catalog.tenant(name).await? else { return Ok(None) };
        let key = match self.keys.unwrap(tenant.uid, &tenant.wrapped_key) {
            // It may be wrapped by a key that was put into the file lately.
            Err(Error::Key { .. }) => {
                self.keys.reload().await?;
                self.keys.unwrap(tenant.uid, &tenant.wrapped_key)?
            }
            key => key?,
        };
        Ok(Some(self.remember(&tenant, key)))
    }

    /// The tenant of this name, or an error that says there is none.
    pub async fn get(&self, name: &TenantId) -> Result<Arc<OpenTenant>> {
        self.find(name).await?.ok_or_else(|| Error::Missing { what: "tenant", name: name.to_string() })
    }

    /// The tenant of this name, made in this workspace if there never was one; [`Error::Erased`] if it was erased: whoever
    /// still sends for it must not bring it back.
    pub async fn find_or_create(&self, name: &TenantId, workspace: &Workspace) -> Result<Found> {
        if let Some(tenant) = self.find(name).await? {
            return Ok(Found { tenant, is_new: false });
        }
        if self.catalog.erased_tenants().await?.iter().any(|erased| erased.name == *name) {
            return Err(Error::Erased { tenant: name.clone() });
        }
        match self.create(name, workspace).await {
            // Somebody else was faster.
            Err(Error::Exists { .. }) => Ok(Found { tenant: self.get(name).await?, is_new: false }),
            made => Ok(Found { tenant: made?, is_new: true }),
        }
    }

    /// Lets the keys of these tenants go.
    pub fn forget(&self, uids: &HashSet<Uuid>) {
        if !uids.is_empty() {
            self.open.write().retain(|_, open| !uids.contains(&open.uid));
        }
    }

    /// Likewise the key of the tenant of this name.
    pub fn forget_named(&self, name: &TenantId) {
        self.open.write().remove(name);
    }

    fn remember(&self, tenant: &Tenant, key: SecretKey) -> Arc<OpenTenant> {
        let open = Arc::new(OpenTenant { name: tenant.name.clone(), uid: tenant.uid, key });
        self.open.write().insert(tenant.name.clone(), Arc::clone(&open));
        open
    }
}

#[cfg(test)]
mod tests {
    use heliograph_model::time::Timestamp;

    use super::*;
    use crate::catalog;

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> Timestamp {
            Timestamp::from_nanos(12)
        }
    }

    /// Two processes on one catalog.
    async fn two(folder: &tempfile::TempDir) -> [Tenants; 2] {
        let url = format!("sqlite:{}/c.db", folder.path().display());
        let keys = KeyRing::open(&folder.path().join("master.key")).unwrap();
        let one = catalog::open(&url.as_str().into(), None).await.unwrap();
        let two = catalog::open(&url.as_str().into(), None).await.unwrap();
        [one, two].map(|catalog| Tenants::new(catalog, keys.clone(), Arc::new(Noon)))
    }

    fn names() -> (TenantId, Workspace) {
        (TenantId::parse("a").unwrap(), Workspace::parse("w").unwrap())
    }

    #[tokio::test]
    async fn a_tenant_made_elsewhere_is_found_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let [here, there] = two(&folder).await;
        let (name, workspace) = names();
        assert!(here.find(&name).await.unwrap().is_none());
        assert_eq!(here.get(&name).await.unwrap_err().to_string(), "there is no tenant \"a\"");
        let made = there.create(&name, &workspace).await.unwrap();
        let found = here.get(&name).await.unwrap();
        assert_eq!((found.uid, found.key.expose()), (made.uid, made.key.expose()));
        assert!(Arc::ptr_eq(&found, &here.get(&name).await.unwrap()), "and then remembered");
        assert!(matches!(here.create(&name, &workspace).await, Err(Error::Exists { .. })));
    }

    #[tokio::test]
    async fn racing_makers_end_with_one_tenant() {
        let folder = tempfile::tempdir().unwrap();
        let [here, there] = two(&folder).await;
        let (name, workspace) = names();
        let make = |tenants: Tenants| {
            let (name, workspace) = (name.clone(), workspace.clone());
            async move { tenants.find_or_create(&name, &workspace).await.unwrap() }
        };
        let found = futures::future::join_all((0..20).map(|n| make([&here, &there][n % 2].clone()))).await;
        assert_eq!(found.iter().filter(|found| found.is_new).count(), 1, "one of them made it");
        let made: Vec<_> = found.into_iter().map(|found| found.tenant).collect();
        assert!(made.iter().all(|t| t.uid == made[0].uid && t.key.expose() == made[0].key.expose()));
    }

    #[tokio::test]
    async fn every_tenant_has_a_key_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let [here, _] = two(&folder).await;
        let (name, workspace) = names();
        let a = here.create(&name, &workspace).await.unwrap();
        let b = here.create(&TenantId::parse("b").unwrap(), &workspace).await.unwrap();
        assert_ne!(a.uid, b.uid);
        assert_ne!(a.key.expose(), b.key.expose());
        let file = std::fs::read(folder.path().join("c.db-wal")).unwrap();
        assert!(!file.windows(8).any(|w| w == &a.key.expose()[..8]), "the catalog holds no plain key");
    }
}
