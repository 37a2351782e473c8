//! The folder of a cache: a file for each piece, checked when it is read. Counts nothing, knows no object store.
//!
//! ```text
//!  0                8            12        16
//! ┌────────────────┬────────────┬─────────┬─────────────────────────────────────┐
//! │ "HGLOPCE" 0x01 │ length u32 │ CRC u32 │ the piece, as the store has it      │
//! └────────────────┴────────────┴─────────┴─────────────────────────────────────┘
//! ```
//!
//! The CRC is of all of it but itself, and of the object's name and the piece's number: a file that was cut off,
//! changed, or put under another name is told. Little-endian. Nothing is synced: what a crash of the machine
//! leaves half-written does not pass the check.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use object_store::path::Path as Location;
use rustix::fs::{FlockOperation, flock};
use xxhash_rust::xxh3::xxh3_128;

/// How every file begins: its kind and version.
const MAGIC: [u8; 8] = *b"HGLOPCE\x01";
/// What stands before a piece.
const HEAD_BYTES: usize = MAGIC.len() + 4 + 4;
/// What file systems give room in.
const ROOM_BYTES: u64 = 4096;
/// A file on its way to its name; one, as they are written one after the other.
const UNFINISHED: &str = "new";

/// What a file is called by: the hash of the object's name, and which piece of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) object: u128,
    pub(super) piece: u32,
}

/// The number that stands for an object's name.
pub(super) fn object(location: &Location) -> u128 {
    xxh3_128(location.as_ref().as_bytes())
}

/// The room that a piece takes on disk.
pub(super) fn room(piece_bytes: usize) -> u64 {
    (HEAD_BYTES as u64 + piece_bytes as u64).next_multiple_of(ROOM_BYTES)
}

impl Name {
    /// The file's place below the folder.
    fn place(self) -> PathBuf {
        let object = format!("{:032x}", self.object);
        let folder: String = object.chars().take(2).collect();
        Path::new(&folder).join(format!("{object}-{:08x}", self.piece))
    }

    fn read(file: &str) -> Option<Self> {
        let (object, piece) = file.split_once('-')?;
        if object.len() != 32 || piece.len() != 8 {
            return None;
        }
        let object = u128::from_str_radix(object, 16).ok()?;
        Some(Self { object, piece: u32::from_str_radix(piece, 16).ok()? })
    }
}

/// What a cache asks of its disk; passed in, so that it can be made to fail.
pub(super) trait Disk: fmt::Debug + Send + Sync {
    /// The whole file; of a longer one than `bytes_max` as much as that.
    fn read(&self, file: &Path, bytes_max: u64) -> io::Result<Vec<u8>>;
    /// Makes the file, or writes it anew.
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Gives a file another name, in a folder that is made if it is missing.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, file: &Path) -> io::Result<()>;
}

/// The machine's.
#[derive(Debug)]
pub(super) struct LocalDisk;

impl Disk for LocalDisk {
    fn read(&self, file: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(file)?.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).open(file)?.write_all(bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                to.parent().map_or(Ok(()), make_folder)?;
                fs::rename(from, to)
            }
            done => done,
        }
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        fs::remove_file(file)
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Why a piece could not be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// It is not what was written.
    Damaged,
    /// The disk does not give it.
    Disk(io::Error),
}

/// A file that was there when the folder was opened.
pub(super) struct Listed {
    pub(super) name: Name,
    pub(super) room: u64,
    pub(super) written: SystemTime,
}

/// The folder.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    disk: Box<dyn Disk>,
    /// Held as long as the folder is in use.
    _lock: File,
}

impl Files {
    /// Makes the folder, takes it for this process alone, and lists what an earlier one left in it.
    pub(super) fn open(folder: &Path, disk: Box<dyn Disk>) -> io::Result<(Self, Vec<Listed>)> {
        make_folder(folder)?;
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(folder.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => io::Error::other("it is in use by another process"),
            other => other.into(),
        })?;
        let mut listed = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let is_ours = entry.file_name().to_str().is_some_and(|n| n.len() == 2);
            if is_ours && entry.file_type()?.is_dir() {
                list(&entry.path(), &mut listed)?;
            }
        }
        let files = Self { folder: folder.to_owned(), disk, _lock: lock };
        files.remove_file(&files.folder.join(UNFINISHED))?;
        Ok((files, listed))
    }

    fn place(&self, name: Name) -> PathBuf {
        self.folder.join(name.place())
    }

    /// Reads a piece of at most so many bytes, and checks that it is the one.
    pub(super) fn read(&self, name: Name, of: &Location, piece_bytes: u64) -> Result<Bytes, Unread> {
        let bytes_max = HEAD_BYTES as u64 + piece_bytes + 1;
        let file = Bytes::from(self.disk.read(&self.place(name), bytes_max).map_err(Unread::Disk)?);
        let (head, piece) = file.split_at_checked(HEAD_BYTES).ok_or(Unread::Damaged)?;
        if head != self::head(name, of, piece) {
            return Err(Unread::Damaged);
        }
        Ok(file.slice(HEAD_BYTES..))
    }

    /// Writes a piece. Not for two callers at a time.
    pub(super) fn write(&self, name: Name, of: &Location, piece: &[u8]) -> io::Result<()> {
        let unfinished = self.folder.join(UNFINISHED);
        let bytes = [head(name, of, piece).as_slice(), piece].concat();
        let written = self.disk.write(&unfinished, &bytes);
        let written = written.and_then(|()| self.disk.rename(&unfinished, &self.place(name)));
        if written.is_err() {
            // What cannot be removed now is written over by the next.
            self.remove_file(&unfinished).ok();
        }
        written
    }

    /// Removes a piece; that it is not there is as good.
    pub(super) fn remove(&self, name: Name) -> io::Result<()> {
        self.remove_file(&self.place(name))
    }

    fn remove_file(&self, file: &Path) -> io::Result<()> {
        match self.disk.remove(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

fn list(folder: &Path, listed: &mut Vec<Listed>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().and_then(Name::read) {
            let about = entry.metadata()?;
            let room = about.len().next_multiple_of(ROOM_BYTES);
            listed.push(Listed { name, room, written: about.modified()? });
        }
    }
    Ok(())
}

fn head(name: Name, of: &Location, piece: &[u8]) -> [u8; HEAD_BYTES] {
    // A piece is far shorter than this; one that is not does not come back as the same.
    let length = u32::try_from(piece.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&MAGIC);
    crc.update(&length);
    crc.update(of.as_ref().as_bytes());
    crc.update(&name.piece.to_le_bytes());
    crc.update(piece);
    let mut head = [0; HEAD_BYTES];
    for (place, byte) in
        head.iter_mut().zip(MAGIC.into_iter().chain(length).chain(crc.finalize().to_le_bytes()))
    {
        *place = byte;
    }
    head
}
