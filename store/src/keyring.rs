//! The master key, and the tenants' keys wrapped by it.
//!
//! The key file holds 32 random bytes in base64 and a line end. A file that somebody else made may also hold
//! the 32 bytes as they are, or 64 hexadecimal digits.
//!
//! ```text
//! wrapped key, 65 bytes
//!  0      1                 17                                           65
//! ┌──────┬─────────────────┬─────────────────────────────────┬──────────┐
//! │ 0x01 │ wrap id, random │ the tenant's key, sealed (32)   │ tag (16) │
//! └──────┴─────────────────┴─────────────────────────────────┴──────────┘
//! ```
//! Sealed as page 0 with the key that the master key derives for `tenant key v1` and the wrap id; bound to the
//! tenant's uid, so that one tenant's key put in another's row does not open.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use heliograph_model::cipher::{SecretKey, TAG_BYTES, random};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::crash;
use crate::error::{Error, Result};

const SETTING: &str = "keys.master_key_file";
const KEY_BYTES: usize = 32;
const WRAP_VERSION: u8 = 1;
const WRAP_ID_BYTES: usize = 16;
const WRAPPED_BYTES: usize = 1 + WRAP_ID_BYTES + KEY_BYTES + TAG_BYTES;
const WRAP_PURPOSE: &str = "tenant key v1";

/// A key file has at most 65 bytes; whatever is longer is some other file, and is not read in.
const FILE_BYTES_MAX: u64 = 1024;

/// Wraps and unwraps tenants' keys with the master key. Cheap to clone; shows no key.
#[derive(Clone, Debug)]
pub struct KeyRing {
    master: Arc<SecretKey>,
}

impl KeyRing {
    /// Reads the master key file; makes it, with mode 0600, where there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let Some(ring) = Self::read(path)? else { return Self::make(path) };
        // Who made it may have ended before it was sure to stay, and what it wraps stays.
        if let Err(error) = File::open(folder_of(path)).and_then(|folder| folder.sync_all()) {
            tracing::warn!(%error, path = %path.display(), "cannot sync the folder of the master key file");
        }
        Ok(ring)
    }

    /// Reads the master key file; nothing where there is none.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(at(path)(source)),
        };
        let metadata = file.metadata().map_err(at(path))?;
        // Kubernetes mounts Secrets readable by the pod's group, so this cannot be an error.
        if metadata.permissions().mode() & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "master key file is readable by others than its owner");
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(128));
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(at(path))?;
        let key = parse(&bytes).ok_or_else(|| Error::Config {
            setting: SETTING,
            reason: format!(
                "{} does not hold a key: expected 32 bytes as base64 (44 characters), 64 hexadecimal digits, \
                 or as they are; found {} bytes",
                path.display(),
                bytes.len()
            ),
        })?;
        Ok(Some(Self { master: Arc::new(key) }))
    }

    /// Makes the file; takes the one that another process made in the same moment.
    fn make(path: &Path) -> Result<Self> {
        let key = SecretKey::generate()?;
        let folder = folder_of(path);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
        let temporary = temporary_beside(path)?;
        crash::point("key.write.before");
        let made = write_key(&temporary, &key)
            .map_err(at(&temporary))
            // A link, unlike a rename, never replaces a key that is there already.
            .and_then(|()| {
                crash::point("key.link.before");
                fs::hard_link(&temporary, path).map_err(at(path))
            });
        crash::point("key.link.after");
        let removed = fs::remove_file(&temporary);
        match made {
            Ok(()) => {}
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                return Self::read(path)?.ok_or_else(|| at(path)(io::ErrorKind::NotFound.into()));
            }
            Err(error) => return Err(error),
        }
        removed.map_err(at(&temporary))?;
        crash::point("key.sync_folder.before");
        File::open(folder).and_then(|f| f.sync_all()).map_err(at(folder))?;
        crash::point("key.sync_folder.after");
        tracing::info!(path = %path.display(), "made a new master key");
        Ok(Self { master: Arc::new(key) })
    }

    /// Seals a tenant's key, bound to the tenant's uid.
    pub fn wrap(&self, tenant: Uuid, key: &SecretKey) -> Result<Vec<u8>> {
        let wrap_id: [u8; WRAP_ID_BYTES] = random()?;
        let mut sealed = Vec::with_capacity(KEY_BYTES + TAG_BYTES);
        sealed.extend_from_slice(key.expose());
        self.master.derive(WRAP_PURPOSE, &wrap_id)?.pages()?.seal(0, tenant.as_bytes(), &mut sealed)?;
        let mut wrapped = Vec::with_capacity(WRAPPED_BYTES);
        wrapped.push(WRAP_VERSION);
        wrapped.extend_from_slice(&wrap_id);
        wrapped.append(&mut sealed);
        Ok(wrapped)
    }

    /// Opens a tenant's key.
    pub fn unwrap(&self, tenant: Uuid, wrapped: &[u8]) -> Result<SecretKey> {
        let corrupt = |reason: String| Error::Corrupt { object: format!("key of tenant {tenant}"), reason };
        let (version, rest) = wrapped.split_first().ok_or_else(|| corrupt("it is empty".to_owned()))?;
        if *version != WRAP_VERSION {
            return Err(corrupt(format!("its version is {version}, this program knows {WRAP_VERSION}")));
        }
        let (wrap_id, sealed) = rest
            .split_at_checked(WRAP_ID_BYTES)
            .filter(|_| wrapped.len() == WRAPPED_BYTES)
            .ok_or_else(|| corrupt(format!("it has {} bytes, not {WRAPPED_BYTES}", wrapped.len())))?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        self.master
            .derive(WRAP_PURPOSE, wrap_id)?
            .pages()?
            .open(0, tenant.as_bytes(), &mut bytes)
            .map_err(|_| Error::Key { what: format!("key of tenant {tenant}") })?;
        let key = <[u8; KEY_BYTES]>::try_from(bytes.as_slice())
            .map_err(|_| corrupt("the key in it is not of 32 bytes".to_owned()))?;
        Ok(SecretKey::from_bytes(key))
    }

    /// A key for another purpose than tenants' data, such as sealing cursors.
    pub fn derive(&self, purpose: &str) -> Result<SecretKey> {
        Ok(self.master.derive(purpose, b"")?)
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::File { path: path.clone(), source }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn temporary_beside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| Error::Config {
        setting: SETTING,
        reason: format!("{:?} does not name a file", path.display()),
    })?;
    let mut temporary = name.to_os_string();
    temporary.push(format!(".{}.tmp", Uuid::new_v4().simple()));
    Ok(path.with_file_name(temporary))
}

fn write_key(path: &Path, key: &SecretKey) -> io::Result<()> {
    let mut text = Zeroizing::new(BASE64.encode(key.expose()));
    text.push('\n');
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn parse(bytes: &[u8]) -> Option<SecretKey> {
    if let Ok(raw) = <[u8; KEY_BYTES]>::try_from(bytes) {
        return Some(SecretKey::from_bytes(raw));
    }
    let text = bytes.trim_ascii();
    let encodings = match text.len() {
        43 => [&BASE64_NOPAD, &BASE64URL_NOPAD],
        44 => [&BASE64, &BASE64URL],
        64 => [&HEXLOWER_PERMISSIVE, &HEXLOWER_PERMISSIVE],
        _ => return None,
    };
    let decoded = Zeroizing::new(encodings.into_iter().find_map(|e| e.decode(text).ok())?);
    <[u8; KEY_BYTES]>::try_from(decoded.as_slice()).ok().map(SecretKey::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_key_file_is_made_once_for_its_owner_alone() {
        let folder = folder();
        let path = folder.path().join("keys/deep/master.key");
        let tenant = Uuid::new_v4();
        let key = SecretKey::generate().unwrap();
        let wrapped = KeyRing::open(&path).unwrap().wrap(tenant, &key).unwrap();
        assert_eq!(wrapped.len(), WRAPPED_BYTES);
        let again = KeyRing::open(&path).unwrap();
        assert_eq!(again.unwrap(tenant, &wrapped).unwrap().expose(), key.expose());

        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() == 45 && text.ends_with("=\n"));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn racing_openers_end_with_one_key() {
        let folder = folder();
        let path = folder.path().join("master.key");
        let keys: Vec<_> = std::thread::scope(|s| {
            let opened: Vec<_> = (0..8).map(|_| s.spawn(|| KeyRing::open(&path).unwrap())).collect();
            opened.into_iter().map(|t| *t.join().unwrap().master.expose()).collect()
        });
        assert!(keys.windows(2).all(|w| w[0] == w[1]));
    }

    #[track_caller]
    fn check(content: &[u8], expected: Option<[u8; 32]>) {
        let folder = folder();
        let path = folder.path().join("k");
        fs::write(&path, content).unwrap();
        match (KeyRing::open(&path), expected) {
            (Ok(ring), Some(key)) => assert_eq!(ring.master.expose(), &key),
            (Err(Error::Config { setting: SETTING, reason }), None) => {
                assert!(reason.contains("/k does not hold a key"), "{reason}");
            }
            (found, _) => panic!("{found:?}"),
        }
        assert_eq!(fs::read(&path).unwrap(), content, "the file is as it was");
    }

    #[test]
    fn keys_are_read_as_base64_hex_or_bytes() {
        let key = [0xfb; 32];
        check(&key, Some(key));
        check(BASE64.encode(&key).as_bytes(), Some(key));
        check(format!(" {}\r\n", BASE64.encode(&key)).as_bytes(), Some(key));
        check(BASE64URL_NOPAD.encode(&key).as_bytes(), Some(key));
        check("fB".repeat(32).as_bytes(), Some(key));
    }

    #[test]
    fn anything_else_is_not_a_key() {
        check(b"", None);
        check(b"secret\n", None);
        check(&[7; 33], None);
        check(BASE64.encode(&[1; 16]).as_bytes(), None);
        check("zz".repeat(32).as_bytes(), None);
        check(&vec![b'A'; 100_000], None);
    }

    #[test]
    fn a_folder_in_place_of_the_file_is_named() {
        let folder = folder();
        let error = KeyRing::open(folder.path()).unwrap_err();
        assert!(error.to_string().starts_with(folder.path().to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_wrapped_key_opens_with_its_master_for_its_tenant_only() {
        let ring = KeyRing { master: Arc::new(SecretKey::generate().unwrap()) };
        let (tenant, key) = (Uuid::new_v4(), SecretKey::generate().unwrap());
        let wrapped = ring.wrap(tenant, &key).unwrap();
        assert_ne!(wrapped, ring.wrap(tenant, &key).unwrap(), "each wrapping has an id of its own");
        assert!(!wrapped.windows(8).any(|w| w == &key.expose()[..8]));
        let refused = |found: Result<SecretKey>| matches!(found, Err(Error::Key { .. }));
        assert!(refused(ring.unwrap(Uuid::new_v4(), &wrapped)));
        let other = KeyRing { master: Arc::new(SecretKey::generate().unwrap()) };
        assert!(refused(other.unwrap(tenant, &wrapped)));
        for at in 1..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert!(refused(ring.unwrap(tenant, &changed)), "byte {at}");
        }
        for cut in 0..wrapped.len() {
            assert!(matches!(ring.unwrap(tenant, &wrapped[..cut]), Err(Error::Corrupt { .. })));
        }
        assert_eq!(format!("{ring:?}"), "KeyRing { master: SecretKey(…) }");
    }
}
