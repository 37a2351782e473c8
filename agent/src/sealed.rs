//! Small files that are replaced as a whole, so never torn; sealed, but for those that hold a key or a name.
//!
//! ```text
//!  0  6  magic
//!  6  1  version
//!  7 16  random id: the key of the file is derived from the spool's key and it
//! 23  n  sealed body, one page
//! ```

use std::fs::File;
use std::path::Path;

use heliograph_model::cipher::{SecretKey, random};

use crate::error::{Error, Result};
use crate::fault;
use crate::spool::bytes::Reader;

/// What a sealed file is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// How it begins.
    pub magic: [u8; 6],
    /// The only one that is read.
    pub version: u8,
    /// What its key is derived for.
    pub key: &'static str,
}

impl Form {
    /// The body of a file's bytes; the error says what was wrong with them.
    pub(crate) fn open(&self, bytes: &[u8], key: &SecretKey) -> Result<Vec<u8>, String> {
        let mut fields = Reader(bytes);
        let head = (fields.array::<6>(), fields.u8(), fields.array::<16>());
        let (Ok(magic), Ok(version), Ok(id)) = head else { return Err("it is too short".to_owned()) };
        if magic != self.magic || version != self.version {
            return Err("it is of no known version".to_owned());
        }
        let mut body = fields.0.to_vec();
        let cipher = key.derive(self.key, &id).and_then(|k| k.pages()).map_err(|e| e.to_string())?;
        cipher.open(0, &self.magic, &mut body).map_err(|e| e.to_string())?;
        Ok(body)
    }

    /// Whether these are the bytes of such a file, of a version that is not known here.
    pub(crate) fn is_of_another_version(&self, bytes: &[u8]) -> bool {
        let version = bytes.strip_prefix(&self.magic).and_then(|rest| rest.first());
        version.is_some_and(|version| *version != self.version)
    }

    /// Replaces the file; it is on disk when this returns.
    pub(crate) fn replace(&self, path: &Path, key: &SecretKey, mut body: Vec<u8>) -> Result<()> {
        let id: [u8; 16] = random().map_err(Error::cipher)?;
        let cipher = key.derive(self.key, &id).and_then(|k| k.pages()).map_err(Error::cipher)?;
        cipher.seal(0, &self.magic, &mut body).map_err(Error::cipher)?;
        let head = [self.magic.as_slice(), &[self.version], &id].concat();
        replace(path, &[head, body].concat())
    }
}

/// Puts `bytes` in the place of a file, whole or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let fresh = path.with_extension("new");
    let dir = path.parent().unwrap_or(Path::new("."));
    let open = || File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh);
    fault::step()
        .and_then(|()| open())
        .and_then(|file| fault::write_all_at(&file, bytes, 0).and_then(|()| file.sync_all()))
        .and_then(|()| fault::step())
        .and_then(|()| std::fs::rename(&fresh, path))
        .and_then(|()| fault::step())
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(Error::disk(path))
}
