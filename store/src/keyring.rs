//! The master key, and the tenants' keys wrapped by it.

use std::path::Path;
use std::sync::Arc;

use heliograph_model::cipher::SecretKey;
use uuid::Uuid;

use crate::error::Result;

/// Wraps and unwraps tenants' keys with the master key. Cheap to clone; shows no key.
#[derive(Clone, Debug)]
pub struct KeyRing {
    master: Arc<SecretKey>,
}

impl KeyRing {
    /// Reads the master key file; makes it, with mode 0600, where there is none.
    pub fn open(_path: &Path) -> Result<Self> {
        todo!()
    }

    /// Seals a tenant's key, bound to the tenant's uid.
    pub fn wrap(&self, _tenant: Uuid, _key: &SecretKey) -> Result<Vec<u8>> {
        todo!()
    }

    /// Opens a tenant's key.
    pub fn unwrap(&self, _tenant: Uuid, _wrapped: &[u8]) -> Result<SecretKey> {
        todo!()
    }

    /// A key for another purpose than tenants' data, such as sealing cursors.
    pub fn derive(&self, purpose: &str) -> Result<SecretKey> {
        Ok(self.master.derive(purpose, b"")?)
    }
}
