//! Tenants with their unwrapped keys: the only way to a tenant's bytes at rest.

use std::collections::HashMap;
use std::sync::Arc;

use heliograph_model::cipher::SecretKey;
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::Clock;
use parking_lot::RwLock;
use uuid::Uuid;

use crate::catalog::{Catalog, Tenant};
use crate::error::{Error, Result};
use crate::keyring::KeyRing;

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
        let wrapped_key = self.keys.wrap(uid, &key)?;
        let tenant = Tenant {
            name: name.clone(),
            workspace: workspace.clone(),
            uid,
            wrapped_key,
            created: self.clock.now(),
        };
        self.catalog.create_tenant(&tenant).await?;
        Ok(self.remember(&tenant, key))
    }

    /// The tenant of this name, if there is one.
    pub async fn find(&self, name: &TenantId) -> Result<Option<Arc<OpenTenant>>> {
        if let Some(open) = self.open.read().get(name) {
            return Ok(Some(Arc::clone(open)));
        }
        let Some(tenant) = self.catalog.tenant(name).await? else { return Ok(None) };
        let key = self.keys.unwrap(tenant.uid, &tenant.wrapped_key)?;
        Ok(Some(self.remember(&tenant, key)))
    }

    /// The tenant of this name, or an error that says there is none.
    pub async fn get(&self, name: &TenantId) -> Result<Arc<OpenTenant>> {
        self.find(name).await?.ok_or_else(|| Error::Missing { what: "tenant", name: name.to_string() })
    }

    /// The tenant of this name, made in the default workspace if it is new.
    pub async fn find_or_create(&self, name: &TenantId, workspace: &Workspace) -> Result<Arc<OpenTenant>> {
        if let Some(open) = self.find(name).await? {
            return Ok(open);
        }
        match self.create(name, workspace).await {
            // Somebody else was faster.
            Err(Error::Exists { .. }) => self.get(name).await,
            made => made,
        }
    }

    fn remember(&self, tenant: &Tenant, key: SecretKey) -> Arc<OpenTenant> {
        let open = Arc::new(OpenTenant { name: tenant.name.clone(), uid: tenant.uid, key });
        self.open.write().insert(tenant.name.clone(), Arc::clone(&open));
        open
    }
}
