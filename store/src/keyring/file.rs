//! The file of the master keys: each on a line, in base64 or as 64 hexadecimal digits. A file of one key may also hold
//! the 32 bytes as they are.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use heliograph_model::cipher::SecretKey;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::KEY_BYTES;
use crate::crash;
use crate::error::{Error, Result};

const SETTING: &str = "keys.master_key_file";

/// Keys in a file: while one takes the place of another there are two.
const KEYS_MAX: usize = 8;
/// A key has at most 65 bytes on its line; whatever is longer is some other file, and is not read in.
const FILE_BYTES_MAX: u64 = 1024;

/// The keys in a file, none where there is no file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<SecretKey>>> {
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
    let mut bytes = Zeroizing::new(Vec::with_capacity(256));
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(at(path))?;
    let keys = parse(&bytes).map_err(|what| Error::Config {
        setting: SETTING,
        reason: format!(
            "{} does not hold a key{what}: expected 32 bytes as base64 (44 characters), 64 hexadecimal digits, \
             or as they are; found {} bytes",
            path.display(),
            bytes.len()
        ),
    })?;
    Ok(Some(keys))
}

/// Who made the file may have ended before it was sure to stay, and what is wrapped with its keys stays.
pub(super) fn sync_folder(path: &Path) {
    if let Err(error) = File::open(folder_of(path)).and_then(|folder| folder.sync_all()) {
        tracing::warn!(%error, path = %path.display(), "cannot sync the folder of the master key file");
    }
}

/// Makes the file with one key; takes the one that another process made in the same moment.
pub(super) fn make(path: &Path) -> Result<Vec<SecretKey>> {
    let keys = vec![SecretKey::generate()?];
    let folder = folder_of(path);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
    let temporary = temporary_beside(path)?;
    crash::point("key.write.before");
    let made = write(&temporary, &keys)
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
            return read(path)?.ok_or_else(|| at(path)(io::ErrorKind::NotFound.into()));
        }
        Err(error) => return Err(error),
    }
    removed.map_err(at(&temporary))?;
    crash::point("key.sync_folder.before");
    File::open(folder).and_then(|f| f.sync_all()).map_err(at(folder))?;
    crash::point("key.sync_folder.after");
    tracing::info!(path = %path.display(), "made a new master key");
    Ok(keys)
}

/// Writes other keys in place of those in the file: at any moment it is there, with the ones or the others.
pub(super) fn replace(path: &Path, keys: &[SecretKey]) -> Result<()> {
    if keys.is_empty() || keys.len() > KEYS_MAX {
        let reason = format!("{} would hold {} keys: it holds 1 to {KEYS_MAX}", path.display(), keys.len());
        return Err(Error::Config { setting: SETTING, reason });
    }
    let temporary = temporary_beside(path)?;
    let replaced = write(&temporary, keys).map_err(at(&temporary)).and_then(|()| {
        crash::point("key.replace.before");
        fs::rename(&temporary, path).map_err(at(path))
    });
    if replaced.is_err() {
        drop(fs::remove_file(&temporary));
    }
    replaced?;
    crash::point("key.replace.after");
    let folder = folder_of(path);
    File::open(folder).and_then(|f| f.sync_all()).map_err(at(folder))
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

fn write(path: &Path, keys: &[SecretKey]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    for key in keys {
        let mut line = Zeroizing::new(BASE64.encode(key.expose()));
        line.push('\n');
        file.write_all(line.as_bytes())?;
    }
    file.sync_all()
}

/// The keys, each once, or where one is wrong.
fn parse(bytes: &[u8]) -> Result<Vec<SecretKey>, String> {
    if let Ok(raw) = <[u8; KEY_BYTES]>::try_from(bytes) {
        return Ok(vec![SecretKey::from_bytes(raw)]);
    }
    let lines: Vec<&[u8]> = bytes.trim_ascii().split(|byte| *byte == b'\n').collect();
    let place = |line: usize| if lines.len() > 1 { format!(" in line {}", line + 1) } else { String::new() };
    let mut keys: Vec<SecretKey> = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let key = parse_line(line.trim_ascii()).ok_or_else(|| place(number))?;
        if !keys.iter().any(|known| known.expose() == key.expose()) {
            keys.push(key);
        }
    }
    if keys.len() > KEYS_MAX { Err(format!(" alone, but more than {KEYS_MAX}")) } else { Ok(keys) }
}

fn parse_line(text: &[u8]) -> Option<SecretKey> {
    let encodings = match text.len() {
        43 => [&BASE64_NOPAD, &BASE64URL_NOPAD],
        44 => [&BASE64, &BASE64URL],
        64 => [&HEXLOWER_PERMISSIVE, &HEXLOWER_PERMISSIVE],
        _ => return None,
    };
    let decoded = Zeroizing::new(encodings.into_iter().find_map(|e| e.decode(text).ok())?);
    <[u8; KEY_BYTES]>::try_from(decoded.as_slice()).ok().map(SecretKey::from_bytes)
}
