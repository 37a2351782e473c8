//! Pages: runs of bytes that are compressed, sealed and checked one by one. Knows not what they hold.
//!
//! A page is zstd (or plain where that is not shorter), sealed with the segment's key under a number of its
//! own, so that it opens nowhere else. Its CRC lies beside its length: damage is told apart from a wrong key.

use heliograph_model::cipher::{PageCipher, TAG_BYTES};

use super::columns::Malformed;
use crate::error::{Error, Result};
use crate::layout::ObjectId;
use crate::tenants::OpenTenant;

/// Longest page before compression; bounds what a length read from a file may make us allocate.
pub(super) const PAGE_BYTES_MAX: usize = 256 << 20;
/// zstd's level at sealing: speed first, since what repeats was taken out before (see `templates`).
pub(super) const LEVEL_SEALED: i32 = 1;
/// zstd's level at merging: what is written now stays, and nobody waits for it.
pub(super) const LEVEL_MERGED: i32 = 6;

/// Where a page lies and how it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// From the start of the object.
    pub(super) offset: u64,
    /// Sealed bytes; 0 where there is no page.
    pub(super) stored: u32,
    /// Bytes before compression.
    pub(super) plain: u32,
    /// Of the sealed bytes.
    pub(super) crc: u32,
}

impl Page {
    pub(super) fn range(&self) -> std::ops::Range<u64> {
        self.offset..self.offset.saturating_add(self.stored.into())
    }

    pub(super) fn is_none(&self) -> bool {
        self.stored == 0
    }
}

/// Seals and opens the pages of one segment.
pub(super) struct Pages {
    cipher: PageCipher,
    binding: [u8; 32],
    segment: ObjectId,
    level: i32,
}

impl Pages {
    /// For a tenant's segment: key and binding are its own.
    pub(super) fn new(tenant: &OpenTenant, segment: ObjectId) -> Result<Self> {
        let cipher = tenant.key.derive("segment v1", segment.as_bytes())?.pages()?;
        let mut binding = [0; 32];
        binding[..16].copy_from_slice(tenant.uid.as_bytes());
        binding[16..].copy_from_slice(segment.as_bytes());
        Ok(Self { cipher, binding, segment, level: LEVEL_SEALED })
    }

    /// The same, writing with another level of zstd.
    pub(super) fn at_level(self, level: i32) -> Self {
        Self { level, ..self }
    }

    /// How an error names a part of the segment.
    pub(super) fn name(&self, part: &str) -> String {
        format!("segment {} {part}", self.segment.simple())
    }

    /// The error for a part whose bytes are not what was written.
    pub(super) fn corrupt(&self, part: &str, reason: impl Into<String>) -> Error {
        Error::Corrupt { object: self.name(part), reason: reason.into() }
    }

    /// The same for bytes that opened but do not follow the format.
    pub(super) fn malformed(&self, part: &str) -> impl FnOnce(Malformed) -> Error {
        let object = self.name(part);
        move |Malformed(reason)| Error::Corrupt { object, reason: reason.to_owned() }
    }

    /// Appends the page to `out`, which will lie at `base` of the object. Each number once.
    pub(super) fn seal(&self, number: u64, plain: &[u8], base: u64, out: &mut Vec<u8>) -> Result<Page> {
        let too_large = || heliograph_model::Error::TooLarge { what: "a page", limit: PAGE_BYTES_MAX };
        if plain.len() > PAGE_BYTES_MAX {
            return Err(too_large().into());
        }
        let compressed = heliograph_model::codec::compress(plain, self.level)?;
        let mut page = if compressed.len() < plain.len() { compressed } else { plain.to_vec() };
        self.cipher.seal(number, &self.binding, &mut page)?;
        let offset = base + out.len() as u64;
        out.extend_from_slice(&page);
        let length = |n: usize| u32::try_from(n).map_err(|_| too_large());
        Ok(Page {
            offset,
            stored: length(page.len())?,
            plain: length(plain.len())?,
            crc: crc32fast::hash(&page),
        })
    }

    /// Checks the stored bytes of a page.
    pub(super) fn check(&self, page: &Page, part: &str, sealed: &[u8]) -> Result<()> {
        if sealed.len() != page.stored as usize {
            return Err(self.corrupt(part, "it is cut off"));
        }
        if crc32fast::hash(sealed) != page.crc {
            return Err(self.corrupt(part, "its checksum is wrong"));
        }
        Ok(())
    }

    /// Opens a page; `part` names it in errors.
    pub(super) fn open(&self, number: u64, page: &Page, part: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        self.check(page, part, sealed)?;
        let mut bytes = sealed.to_vec();
        self.cipher
            .open(number, &self.binding, &mut bytes)
            .map_err(|_| Error::Key { what: self.name(part) })?;
        let plain = page.plain as usize;
        if bytes.len() == plain {
            return Ok(bytes);
        }
        if plain > PAGE_BYTES_MAX {
            return Err(self.corrupt(part, "its length is beyond the bound"));
        }
        heliograph_model::codec::decompress_exactly(&bytes, plain)
            .map_err(|e| self.corrupt(part, e.to_string()))
    }

    /// A tag over bytes that stay readable.
    pub(super) fn sign(&self, number: u64, clear: &[u8]) -> Result<[u8; TAG_BYTES]> {
        let mut tag = Vec::new();
        self.cipher.seal(number, &[&self.binding, clear].concat(), &mut tag)?;
        tag.try_into().map_err(|_| heliograph_model::Error::Sealed.into())
    }

    /// Whether a tag of [`Self::sign`] is of these bytes.
    pub(super) fn verify(&self, number: u64, clear: &[u8], tag: &[u8], part: &str) -> Result<()> {
        self.cipher
            .open(number, &[&self.binding, clear].concat(), &mut tag.to_vec())
            .map_err(|_| Error::Key { what: self.name(part) })
    }
}
