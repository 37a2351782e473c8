//! The master keys, and the tenants' keys wrapped by one of them.
//!
//! The key file holds keys of 32 random bytes, each in base64 on a line of its own; new tenants' keys are wrapped by the
//! one that the catalog names, and where it names none by the first. Which key that is changes by [`crate::rotation`].
//!
//! ```text
//! wrapped key, 81 bytes
//!  0      1              17                33                                81
//! ┌──────┬──────────────┬─────────────────┬─────────────────────────┬──────────┐
//! │ 0x02 │ key id       │ wrap id, random │ the tenant's key, sealed │ tag (16) │
//! └──────┴──────────────┴─────────────────┴─────────────────────────┴──────────┘
//! ```
//! Sealed as page 0 with the key that the master key derives for `tenant key v1` and the wrap id; bound to the
//! tenant's uid, so that one tenant's key put in another's row does not open. Version 1 has no key id: every key is
//! tried.

mod file;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heliograph_model::cipher::{SecretKey, TAG_BYTES, random};
use parking_lot::RwLock;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

const KEY_BYTES: usize = 32;
const UNNAMED_VERSION: u8 = 1;
const WRAP_VERSION: u8 = 2;
const KEY_ID_BYTES: usize = 16;
const WRAP_ID_BYTES: usize = 16;
const SEALED_BYTES: usize = KEY_BYTES + TAG_BYTES;
const WRAP_PURPOSE: &str = "tenant key v1";

/// What a master key is called: derived from it, and tells nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub Uuid);

impl KeyId {
    fn of(key: &SecretKey) -> Result<Self> {
        let derived = key.derive("master key id v1", b"")?;
        let (id, _) = derived.expose().split_at(KEY_ID_BYTES);
        Ok(Self(Uuid::from_slice(id).unwrap_or_default()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.simple())
    }
}

/// By which master key a tenant's key is wrapped; none where it is not said, or where there is nothing.
pub fn wrapped_by(wrapped: &[u8]) -> Option<KeyId> {
    let (version, rest) = wrapped.split_first()?;
    let (id, _) = rest.split_at_checked(KEY_ID_BYTES)?;
    (*version == WRAP_VERSION).then(|| Uuid::from_slice(id).ok().map(KeyId)).flatten()
}

/// A master key and what it is called.
#[derive(Debug)]
struct Named {
    id: KeyId,
    key: SecretKey,
}

/// Wraps and unwraps tenants' keys with the master keys of a file. Cheap to clone; shows no key.
#[derive(Clone)]
pub struct KeyRing {
    path: Arc<Path>,
    keys: Arc<RwLock<Arc<[Named]>>>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("path", &self.path).field("keys", &self.ids()).finish()
    }
}

impl KeyRing {
    /// Reads the file; makes it with one key, with mode 0600, where there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let keys = match file::read(path)? {
            Some(keys) => {
                file::sync_folder(path);
                keys
            }
            None => file::make(path)?,
        };
        Self::of(path, keys)
    }

    /// Reads the file; nothing where there is none.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        file::read(path)?.map(|keys| Self::of(path, keys)).transpose()
    }

    fn of(path: &Path, keys: Vec<SecretKey>) -> Result<Self> {
        Ok(Self { path: path.into(), keys: Arc::new(RwLock::new(named(keys)?)) })
    }

    /// Reads the file again: keys that were put there meanwhile are known then. Where it cannot be read, what was known
    /// stays.
    pub async fn reload(&self) -> Result<()> {
        let path: PathBuf = self.path.to_path_buf();
        let reading = tokio::task::spawn_blocking(move || file::read(&path));
        let read = reading.await.map_err(|e| Error::File {
            path: self.path.display().to_string(),
            source: std::io::Error::other(e),
        })??;
        if let Some(keys) = read {
            let keys = named(keys)?;
            *self.keys.write() = keys;
        }
        Ok(())
    }

    /// Puts a new key first into the file; the others stay.
    pub(crate) async fn add(&self) -> Result<KeyId> {
        let key = SecretKey::generate()?;
        let id = KeyId::of(&key)?;
        self.change(move |keys| keys.insert(0, key)).await?;
        Ok(id)
    }

    /// Takes all keys but the first out of the file; how many. Only [`crate::rotation::forget`] knows whether they are
    /// needed.
    pub(crate) async fn keep_first(&self) -> Result<usize> {
        let before = self.ids().len();
        self.change(|keys| keys.truncate(1)).await?;
        Ok(before - self.ids().len())
    }

    async fn change(&self, change: impl FnOnce(&mut Vec<SecretKey>) + Send + 'static) -> Result<()> {
        let path: PathBuf = self.path.to_path_buf();
        let changing = tokio::task::spawn_blocking(move || {
            let mut keys = file::read(&path)?.unwrap_or_default();
            change(&mut keys);
            file::replace(&path, &keys)?;
            Ok::<_, Error>(keys)
        });
        let keys = changing.await.map_err(|e| Error::File {
            path: self.path.display().to_string(),
            source: std::io::Error::other(e),
        })??;
        *self.keys.write() = named(keys)?;
        Ok(())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the keys are called, in their order.
    pub fn ids(&self) -> Vec<KeyId> {
        self.keys.read().iter().map(|named| named.id).collect()
    }

    /// The first key.
    pub fn first(&self) -> Result<KeyId> {
        self.ids().first().copied().ok_or_else(|| Error::Key { what: "key file without a key".to_owned() })
    }

    /// Seals a tenant's key with this master key, bound to the tenant's uid.
    pub fn wrap(&self, by: KeyId, tenant: Uuid, key: &SecretKey) -> Result<Vec<u8>> {
        let keys = Arc::clone(&self.keys.read());
        let master = keys.iter().find(|named| named.id == by).ok_or(Error::OtherKey { current: by })?;
        let wrap_id: [u8; WRAP_ID_BYTES] = random()?;
        let mut sealed = Vec::with_capacity(SEALED_BYTES);
        sealed.extend_from_slice(key.expose());
        master.key.derive(WRAP_PURPOSE, &wrap_id)?.pages()?.seal(0, tenant.as_bytes(), &mut sealed)?;
        let mut wrapped = Vec::with_capacity(1 + KEY_ID_BYTES + WRAP_ID_BYTES + SEALED_BYTES);
        wrapped.push(WRAP_VERSION);
        wrapped.extend_from_slice(master.id.0.as_bytes());
        wrapped.extend_from_slice(&wrap_id);
        wrapped.append(&mut sealed);
        Ok(wrapped)
    }

    /// Opens a tenant's key. [`Error::Key`] if no key that is known opens it.
    pub fn unwrap(&self, tenant: Uuid, wrapped: &[u8]) -> Result<SecretKey> {
        let corrupt = |reason: String| Error::Corrupt { object: format!("key of tenant {tenant}"), reason };
        let (version, rest) = wrapped.split_first().ok_or_else(|| corrupt("it is empty".to_owned()))?;
        let head = match *version {
            UNNAMED_VERSION => 0,
            WRAP_VERSION => KEY_ID_BYTES,
            version => {
                return Err(corrupt(format!(
                    "its version is {version}, this program knows up to {WRAP_VERSION}"
                )));
            }
        };
        let expected = 1 + head + WRAP_ID_BYTES + SEALED_BYTES;
        let (_, rest) = rest
            .split_at_checked(head)
            .filter(|_| wrapped.len() == expected)
            .ok_or_else(|| corrupt(format!("it has {} bytes, not {expected}", wrapped.len())))?;
        let keys = Arc::clone(&self.keys.read());
        let by = wrapped_by(wrapped);
        let mut candidates = keys.iter().filter(|named| by.is_none_or(|id| id == named.id));
        let key = candidates.find_map(|named| open(&named.key, tenant, rest));
        key.ok_or_else(|| Error::Key { what: format!("key of tenant {tenant}") })
    }

    /// Which of the keys opens a tenant's key.
    pub fn opener(&self, tenant: Uuid, wrapped: &[u8]) -> Result<KeyId> {
        if let Some(id) = wrapped_by(wrapped) {
            return self.unwrap(tenant, wrapped).map(|_| id);
        }
        let keys = Arc::clone(&self.keys.read());
        let rest = wrapped.get(1..).unwrap_or_default();
        let found = keys.iter().find(|named| open(&named.key, tenant, rest).is_some());
        found.map(|named| named.id).ok_or_else(|| Error::Key { what: format!("key of tenant {tenant}") })
    }

    /// Whether one of the keys opens each of these, as far as it can be told without opening all: those with a name are
    /// known by it, of those without one tells of all.
    pub(crate) fn opens_all<'a>(&self, tenants: impl Iterator<Item = (Uuid, &'a [u8])>) -> Result<()> {
        let mut seen = HashSet::new();
        for (tenant, wrapped) in tenants.filter(|(_, wrapped)| !wrapped.is_empty()) {
            if seen.insert(wrapped_by(wrapped)) {
                self.unwrap(tenant, wrapped)?;
            }
        }
        Ok(())
    }

    /// A key for another purpose from the master key of this name; [`Error::OtherKey`] if it is not known.
    pub(crate) fn derive_by(&self, by: KeyId, purpose: &str) -> Result<SecretKey> {
        let keys = Arc::clone(&self.keys.read());
        let master = keys.iter().find(|named| named.id == by).ok_or(Error::OtherKey { current: by })?;
        Ok(master.key.derive(purpose, b"")?)
    }

    /// A key for another purpose than tenants' data, such as sealing cursors: what is sealed now is sealed with the
    /// first, and what was sealed before a change of keys opens with one of the others.
    pub fn derive(&self, purpose: &str) -> Result<Vec<SecretKey>> {
        let keys = Arc::clone(&self.keys.read());
        keys.iter().map(|named| Ok(named.key.derive(purpose, b"")?)).collect()
    }
}

fn named(keys: Vec<SecretKey>) -> Result<Arc<[Named]>> {
    keys.into_iter().map(|key| Ok(Named { id: KeyId::of(&key)?, key })).collect()
}

/// The key in wrap id and sealed bytes.
fn open(master: &SecretKey, tenant: Uuid, rest: &[u8]) -> Option<SecretKey> {
    let (wrap_id, sealed) = rest.split_at_checked(WRAP_ID_BYTES)?;
    let mut bytes = Zeroizing::new(sealed.to_vec());
    master.derive(WRAP_PURPOSE, wrap_id).ok()?.pages().ok()?.open(0, tenant.as_bytes(), &mut bytes).ok()?;
    <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).ok().map(SecretKey::from_bytes)
}

#[cfg(test)]
mod tests;
