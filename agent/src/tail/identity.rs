//! Which file a file is, whatever it is called: device, inode, birth time and a hash of its first bytes.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::UNIX_EPOCH;

use xxhash_rust::xxh3::xxh3_64;

/// Bytes at the start of a file that its identity covers.
pub(crate) const HEAD_BYTES: usize = 256;

/// The identity of a file as last seen. Its head grows with the file up to [`HEAD_BYTES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Birth in nanoseconds since the epoch; 0 where the file system does not say.
    pub born: u64,
    /// How many bytes are hashed.
    pub head_len: u16,
    /// Hash of the first `head_len` bytes.
    pub head_hash: u64,
}

impl FileIdentity {
    /// The identity of an open file.
    pub(crate) fn of(file: &File, meta: &Metadata) -> io::Result<Self> {
        let mut head = [0; HEAD_BYTES];
        let n = read_head(file, &mut head)?;
        let head = head.get(..n).unwrap_or_default();
        Ok(Self {
            dev: meta.dev(),
            ino: meta.ino(),
            born: born(meta),
            head_len: u16::try_from(n).unwrap_or_default(),
            head_hash: xxh3_64(head),
        })
    }

    /// Whether `meta` is of the same inode, which has not been used for another file since.
    pub(crate) fn same_inode(&self, meta: &Metadata) -> bool {
        let born = born(meta);
        let unknown = self.born == 0 || born == 0;
        // A device number may change when the machine starts anew; a birth time does not.
        self.ino == meta.ino() && if unknown { self.dev == meta.dev() } else { self.born == born }
    }

    /// Whether the file begins with the bytes that this identity was made of.
    pub(crate) fn same_head(&self, file: &File) -> io::Result<bool> {
        let mut head = [0; HEAD_BYTES];
        let wanted = usize::from(self.head_len);
        let Some(head) = head.get_mut(..wanted) else { return Ok(false) };
        let n = read_head(file, head)?;
        Ok(n == wanted && xxh3_64(head) == self.head_hash)
    }

    /// Covers more of the head, where the file has grown.
    pub(crate) fn grow(&mut self, file: &File, len: u64) -> io::Result<()> {
        if usize::from(self.head_len) < HEAD_BYTES && len > u64::from(self.head_len) {
            let mut head = [0; HEAD_BYTES];
            let n = read_head(file, &mut head)?;
            self.head_len = u16::try_from(n).unwrap_or_default();
            self.head_hash = xxh3_64(head.get(..n).unwrap_or_default());
        }
        Ok(())
    }
}

/// Birth in nanoseconds; 0 where it is not known.
pub(crate) fn born(meta: &Metadata) -> u64 {
    let since = meta.created().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    since.and_then(|d| u64::try_from(d.as_nanos()).ok()).unwrap_or_default()
}

fn read_head(file: &File, head: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while let Some(rest) = head.get_mut(at..)
        && !rest.is_empty()
    {
        match file.read_at(rest, at as u64) {
            Ok(0) => break,
            Ok(n) => at += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(at)
}
