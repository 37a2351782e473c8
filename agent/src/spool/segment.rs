//! One file of the spool: sealed entries, appended and synced, never changed.
//!
//! ```text
//! header, 36 bytes, twice: damage to one costs nothing
//!  0  7  "HGSPOOL"
//!  7  1  version, 2 (in version 1, the header stood once, and entries had another head)
//!  8 16  random id: the key of the file is derived from the spool's key and it
//! 24  8  serial
//! 32  4  CRC-32 of the bytes before
//! entry
//!  0  4  "HGE1"
//!  4  4  length n of the sealed body
//!  8  4  page: the entry's ordinal in the file, its nonce
//! 12  4  CRC-32 of the bytes before
//! 16  n  sealed body (AES-256-GCM, bound to the serial)
//! +n  4  CRC-32 of the sealed body
//! ```
//!
//! A file that was opened again is never appended to, since a torn entry may have used the next nonce.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use heliograph_model::cipher::{PageCipher, SecretKey, random};
use memchr::memmem;

use super::bytes::Reader;
use crate::error::{Error, Result};
use crate::fault;

const MAGIC: &[u8; 7] = b"HGSPOOL";
const VERSION: u8 = 2;
const HEADER_BYTES: usize = 36;
/// Where entries begin.
const HEADERS_BYTES: usize = 2 * HEADER_BYTES;
const ENTRY_MAGIC: &[u8; 4] = b"HGE1";
const ENTRY_HEADER_BYTES: usize = 16;
const CRC_BYTES: usize = 4;
/// Bytes that an entry takes beyond its plain body.
pub(crate) const ENTRY_OVERHEAD: u64 =
    (ENTRY_HEADER_BYTES + CRC_BYTES + heliograph_model::cipher::TAG_BYTES) as u64;

/// Where an entry lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    offset: u64,
    body_bytes: u32,
    page: u32,
}

impl Place {
    /// Bytes of the sealed body.
    pub(crate) fn body_bytes(self) -> u64 {
        u64::from(self.body_bytes)
    }
}

/// What was wrong in a file that was read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Places in the middle where entries do not read back.
    pub spoilt: u64,
    /// Bytes at the end that are no whole entry.
    pub torn_bytes: u64,
}

/// A file of the spool.
#[derive(Debug)]
pub(crate) struct Segment {
    path: PathBuf,
    file: File,
    cipher: PageCipher,
    serial: u64,
}

/// Where the next entry goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// Bytes of the file.
    pub len: u64,
    page: u32,
}

impl Segment {
    /// Makes a new file; it is on disk when this returns.
    pub(crate) fn create(path: &Path, serial: u64, key: &SecretKey) -> Result<(Self, End)> {
        let id: [u8; 16] = random().map_err(Error::cipher)?;
        let cipher = key.derive("agent spool v1", &id).and_then(|k| k.pages()).map_err(Error::cipher)?;
        let mut header = Vec::with_capacity(HEADERS_BYTES);
        header.extend_from_slice(MAGIC);
        header.push(VERSION);
        header.extend_from_slice(&id);
        header.extend_from_slice(&serial.to_le_bytes());
        header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
        header.extend_from_within(..);
        let disk = || Error::disk(path);
        fault::step().map_err(disk())?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(disk())?;
        fault::write_all_at(&file, &header, 0).and_then(|()| file.sync_all()).map_err(disk())?;
        let dir = path.parent().unwrap_or(Path::new("."));
        File::open(dir).and_then(|d| d.sync_all()).map_err(Error::disk(dir))?;
        let end = End { len: HEADERS_BYTES as u64, page: 0 };
        Ok((Self { path: path.to_owned(), file, cipher, serial }, end))
    }

    /// Opens a file to read it; none where neither header is whole, so that it cannot be read.
    pub(crate) fn open(path: &Path, key: &SecretKey) -> Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(Error::disk(path))?;
        let mut headers = vec![];
        (&file).take(HEADERS_BYTES as u64).read_to_end(&mut headers).map_err(Error::disk(path))?;
        let Some((version, id, serial)) = headers.chunks_exact(HEADER_BYTES).find_map(read_header) else {
            return Ok(None);
        };
        if version != VERSION {
            let reason = format!("its version {version} is not known");
            return Err(Error::Corrupt { path: path.to_owned(), reason });
        }
        let cipher = key.derive("agent spool v1", &id).and_then(|k| k.pages()).map_err(Error::cipher)?;
        Ok(Some(Self { path: path.to_owned(), file, cipher, serial }))
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends entries in one write and syncs. On an error nothing counts as written, and the file must not
    /// be appended to any more.
    pub(crate) fn append(&self, end: End, bodies: Vec<Vec<u8>>) -> Result<(Vec<Place>, End)> {
        let mut bytes = vec![];
        let mut places = vec![];
        let mut page = end.page;
        for mut body in bodies {
            self.cipher
                .seal(u64::from(page), &self.serial.to_le_bytes(), &mut body)
                .map_err(Error::cipher)?;
            let body_bytes = u32::try_from(body.len()).map_err(|_| Error::Unavailable {
                what: "spool a batch",
                reason: format!("it has {} bytes", body.len()),
            })?;
            places.push(Place { offset: end.len + bytes.len() as u64, body_bytes, page });
            let start = bytes.len();
            bytes.extend_from_slice(ENTRY_MAGIC);
            bytes.extend_from_slice(&body_bytes.to_le_bytes());
            bytes.extend_from_slice(&page.to_le_bytes());
            let crc = crc32fast::hash(bytes.get(start..).unwrap_or_default());
            bytes.extend_from_slice(&crc.to_le_bytes());
            bytes.extend_from_slice(&body);
            bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
            page += 1;
        }
        let written = fault::write_all_at(&self.file, &bytes, end.len)
            .and_then(|()| fault::step())
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => Ok((places, End { len: end.len + bytes.len() as u64, page })),
            Err(error) => {
                // What a failed sync left is not known: it is cut off, and the entries go to another file.
                if let Err(error) = fault::step().and_then(|()| self.file.set_len(end.len)) {
                    tracing::warn!(path = %self.path.display(), %error, "torn entries stay behind");
                }
                Err(Error::disk(&self.path)(error))
            }
        }
    }

    /// Reads one entry's body back.
    pub(crate) fn load(&self, place: Place) -> Result<Vec<u8>> {
        let mut body = vec![0; usize::try_from(place.body_bytes).unwrap_or_default()];
        let at = place.offset + ENTRY_HEADER_BYTES as u64;
        self.file.read_exact_at(&mut body, at).map_err(Error::disk(&self.path))?;
        self.unseal(place.page, &mut body).map_err(|reason| Error::Corrupt {
            path: self.path.clone(),
            reason: format!("the entry at {}: {reason}", place.offset),
        })?;
        Ok(body)
    }

    fn unseal(&self, page: u32, body: &mut Vec<u8>) -> Result<(), heliograph_model::Error> {
        self.cipher.open(u64::from(page), &self.serial.to_le_bytes(), body)
    }

    /// Whether any whole entry opens with the key; none where there is no whole entry.
    pub(crate) fn opens_any(&self) -> Result<Option<bool>> {
        let bytes = std::fs::read(&self.path).map_err(Error::disk(&self.path))?;
        let (mut next, mut found) = (next_entry(&bytes, HEADERS_BYTES), None);
        while let Some(at) = next {
            if let Some((place, mut body)) = entry_at(&bytes, at) {
                if self.unseal(place.page, &mut body).is_ok() {
                    return Ok(Some(true));
                }
                found = Some(false);
            }
            next = next_entry(&bytes, at + 1);
        }
        Ok(found)
    }

    /// Gives every entry that reads back, in order. A torn end is cut off.
    pub(crate) fn replay(&self, mut found: impl FnMut(Place, &[u8])) -> Result<Damage> {
        let bytes = std::fs::read(&self.path).map_err(Error::disk(&self.path))?;
        let mut damage = Damage::default();
        let mut at = HEADERS_BYTES;
        while at < bytes.len() {
            if let Some((place, mut body)) = entry_at(&bytes, at)
                && let next = at + ENTRY_HEADER_BYTES + body.len() + CRC_BYTES
                && self.unseal(place.page, &mut body).is_ok()
            {
                found(place, &body);
                at = next;
                continue;
            }
            match next_entry(&bytes, at + 1) {
                Some(next) => {
                    damage.spoilt += 1;
                    at = next;
                }
                None => {
                    damage.torn_bytes = (bytes.len() - at) as u64;
                    self.file.set_len(at as u64).map_err(Error::disk(&self.path))?;
                    break;
                }
            }
        }
        Ok(damage)
    }
}

/// Version, id and serial of a header that is whole.
fn read_header(header: &[u8]) -> Option<(u8, [u8; 16], u64)> {
    let mut fields = Reader(header);
    let (magic, version) = (fields.array::<7>().ok()?, fields.u8().ok()?);
    let (id, serial, crc) = (fields.array::<16>().ok()?, fields.u64().ok()?, fields.u32().ok()?);
    let checked = header.get(..HEADER_BYTES - CRC_BYTES)?;
    (&magic == MAGIC && crc == crc32fast::hash(checked)).then_some((version, id, serial))
}

/// Whether a file of so many bytes without a whole header was only begun: then it holds nothing.
pub(crate) fn is_begun(bytes: u64) -> bool {
    bytes <= HEADERS_BYTES as u64
}

/// The entry at `at`, with its sealed body, if it is whole.
fn entry_at(bytes: &[u8], at: usize) -> Option<(Place, Vec<u8>)> {
    let header = bytes.get(at..at + ENTRY_HEADER_BYTES)?;
    let mut fields = Reader(header);
    let (magic, body_bytes) = (fields.array::<4>().ok()?, fields.u32().ok()?);
    let (page, crc) = (fields.u32().ok()?, fields.u32().ok()?);
    let checked = header.get(..ENTRY_HEADER_BYTES - CRC_BYTES)?;
    if &magic != ENTRY_MAGIC || crc != crc32fast::hash(checked) {
        return None;
    }
    let from = at + ENTRY_HEADER_BYTES;
    let to = from.checked_add(usize::try_from(body_bytes).ok()?)?;
    let body = bytes.get(from..to)?;
    let crc: [u8; CRC_BYTES] = bytes.get(to..to + CRC_BYTES)?.try_into().ok()?;
    let place = Place { offset: at as u64, body_bytes, page };
    (u32::from_le_bytes(crc) == crc32fast::hash(body)).then(|| (place, body.to_vec()))
}

/// Where the next whole entry begins, at or behind `from`.
fn next_entry(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    memmem::find_iter(rest, ENTRY_MAGIC).map(|at| from + at).find(|at| entry_at(bytes, *at).is_some())
}
