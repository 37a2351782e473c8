//! A store that is a folder of this machine: its room, and what unfinished writes left in it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use heliograph_model::time::Timestamp;

use super::place::{Config, Place};
use crate::error::{Error, Result};

/// Most room that is kept …
const KEPT_BYTES_MAX: u64 = 256 << 20;
/// … and which part of a smaller disk.
const KEPT_PART: u64 = 10;
/// How old an unfinished write is that nobody goes on with: creating an object is given up long before.
const UNFINISHED_FOR: Duration = Duration::from_hours(1);

/// The disk under a folder of objects. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Disk {
    folder: PathBuf,
}

/// A disk that has no room for anything new.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the disk is nearly full: {free} bytes of it are free, and {kept} are kept for sealing")]
pub struct NearlyFull {
    /// Bytes that are free.
    pub free: u64,
    /// Bytes that only what lets others go may use.
    pub kept: u64,
}

impl Disk {
    /// The disk of a store, where it is a folder.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>> {
        Ok(match config.place()? {
            Place::Folder(folder) => Some(Self { folder }),
            Place::Bucket { .. } => None,
        })
    }

    /// Whether there is room for something new of so many bytes. The last tenth of the disk, 256 MiB at most, is
    /// kept: what is written ahead lets room go only when it is sealed, and a segment needs room, too.
    ///
    /// Asks the file system, which may block. One that does not say has room.
    pub fn has_room(&self, bytes: u64) -> Result<(), NearlyFull> {
        let Ok(disk) = rustix::fs::statvfs(&self.folder) else { return Ok(()) };
        let size = disk.f_blocks.saturating_mul(disk.f_frsize);
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let kept = KEPT_BYTES_MAX.min(size / KEPT_PART);
        if size > 0 && free < kept.saturating_add(bytes) { Err(NearlyFull { free, kept }) } else { Ok(()) }
    }

    /// Deletes what writes left that a killed process began, `NAME#N`: no listing shows it. How many files.
    pub(crate) fn sweep(&self, now: Timestamp) -> Result<usize> {
        let mut swept = 0;
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            let at = |source| Error::File { path: folder.display().to_string(), source };
            for entry in std::fs::read_dir(&folder).map_err(at)? {
                let entry = entry.map_err(at)?;
                if entry.file_type().map_err(at)?.is_dir() {
                    folders.push(entry.path());
                } else if is_unfinished(&entry.path()) && is_old(&entry, now) {
                    std::fs::remove_file(entry.path()).map_err(at)?;
                    swept += 1;
                }
            }
        }
        Ok(swept)
    }
}

fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.as_deref()
        .and_then(|name| name.split_once('#'))
        .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// By the machine's clock; where that cannot be told it is not.
fn is_old(entry: &std::fs::DirEntry, now: Timestamp) -> bool {
    let Ok(written) = entry.metadata().and_then(|metadata| metadata.modified()) else { return false };
    let now = SystemTime::UNIX_EPOCH + Duration::from_nanos(now.as_nanos().max(0).cast_unsigned());
    now.duration_since(written).is_ok_and(|age| age > UNFINISHED_FOR)
}
