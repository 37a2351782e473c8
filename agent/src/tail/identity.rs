//! Which file a file is, whatever it is called: device, inode, birth time and a hash of its first bytes.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

use xxhash_rust::xxh3::xxh3_64;

use super::content::Content;

/// Bytes at the start of a file that its identity covers.
pub(crate) const HEAD_BYTES: usize = 256;

/// The first bytes of a file's text, as read just now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    bytes: [u8; HEAD_BYTES],
    len: usize,
}

impl Head {
    /// Reads at most `max` bytes.
    pub(crate) fn read(content: &mut Content, max: usize) -> io::Result<Self> {
        let mut bytes = [0; HEAD_BYTES];
        let len = content.read_full(bytes.get_mut(..max.min(HEAD_BYTES)).unwrap_or_default(), 0)?;
        Ok(Self { bytes, len })
    }

    fn get(&self, len: usize) -> Option<&[u8]> {
        self.bytes.get(..len.min(HEAD_BYTES)).filter(|_| len <= self.len)
    }
}

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
    /// The identity of an open file that begins with `head`.
    pub(crate) fn of(meta: &Metadata, head: &Head) -> Self {
        Self {
            dev: meta.dev(),
            ino: meta.ino(),
            born: born(meta),
            head_len: u16::try_from(head.len).unwrap_or_default(),
            head_hash: xxh3_64(head.get(head.len).unwrap_or_default()),
        }
    }

    /// Whether `meta` is of the same inode, which has not been used for another file since.
    pub(crate) fn same_inode(&self, meta: &Metadata) -> bool {
        let born = born(meta);
        let unknown = self.born == 0 || born == 0;
        // A device number may change when the machine starts anew; a birth time does not.
        self.ino == meta.ino() && if unknown { self.dev == meta.dev() } else { self.born == born }
    }

    /// Whether a file with this head begins with the bytes that this identity was made of.
    pub(crate) fn begins(&self, head: &Head) -> bool {
        head.get(usize::from(self.head_len)).is_some_and(|bytes| xxh3_64(bytes) == self.head_hash)
    }

    /// Covers more of the head, where the file has been read further.
    pub(crate) fn grow(&mut self, content: &mut Content, read: u64) -> io::Result<()> {
        let len = usize::try_from(read).unwrap_or(HEAD_BYTES).min(HEAD_BYTES);
        if usize::from(self.head_len) < len {
            let head = Head::read(content, len)?;
            self.head_len = u16::try_from(head.len).unwrap_or_default();
            self.head_hash = xxh3_64(head.get(head.len).unwrap_or_default());
        }
        Ok(())
    }
}

/// Birth in nanoseconds; 0 where it is not known.
pub(crate) fn born(meta: &Metadata) -> u64 {
    let since = meta.created().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    since.and_then(|d| u64::try_from(d.as_nanos()).ok()).unwrap_or_default()
}
