//! Sealing of bytes at rest: AES-256-GCM with keys derived per object.
//!
//! Every stored object (segment, write-ahead object, spool file) has a random id and is written once; its key
//! is derived from a longer-lived key and that id (HKDF-SHA-256), so the page number can be the nonce. What a
//! page is bound to (tenant, object, page) goes in as associated data: a page moved elsewhere does not open.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use aws_lc_rs::rand;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::{Error, Result};

/// Bytes that sealing adds to a page.
pub const TAG_BYTES: usize = 16;

/// A 256-bit secret from which others are derived.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; 32]);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

impl SecretKey {
    /// A new random key.
    pub fn generate() -> Result<Self> {
        Ok(Self(random()?))
    }

    /// From 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, to wrap or to write to a key file.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key of its own for `purpose` and `id`.
    pub fn derive(&self, purpose: &str, id: &[u8]) -> Result<Self> {
        struct Len32;
        impl hkdf::KeyType for Len32 {
            fn len(&self) -> usize {
                32
            }
        }
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"heliograph").extract(&self.0);
        let mut out = [0; 32];
        prk.expand(&[purpose.as_bytes(), b"\0", id], Len32)
            .and_then(|okm| okm.fill(&mut out))
            .map_err(|_| Error::Sealed)?;
        Ok(Self(out))
    }

    /// The key as a sealer of numbered pages.
    pub fn pages(&self) -> Result<PageCipher> {
        UnboundKey::new(&AES_256_GCM, &self.0)
            .map(|key| PageCipher(LessSafeKey::new(key)))
            .map_err(|_| Error::Sealed)
    }
}

/// Seals and opens the numbered pages of one object.
///
/// Each page number must be sealed at most once under one key.
pub struct PageCipher(LessSafeKey);

impl std::fmt::Debug for PageCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PageCipher(…)")
    }
}

impl PageCipher {
    fn nonce(page: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&page.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// Seals in place and appends the tag of [`TAG_BYTES`].
    pub fn seal(&self, page: u64, binding: &[u8], bytes: &mut Vec<u8>) -> Result<()> {
        self.0
            .seal_in_place_append_tag(Self::nonce(page), Aad::from(binding), bytes)
            .map_err(|_| Error::Sealed)
    }

    /// Opens in place and takes the tag off.
    pub fn open(&self, page: u64, binding: &[u8], bytes: &mut Vec<u8>) -> Result<()> {
        let plain = self
            .0
            .open_in_place(Self::nonce(page), Aad::from(binding), bytes)
            .map_err(|_| Error::Sealed)?
            .len();
        bytes.truncate(plain);
        Ok(())
    }
}

/// Random bytes from the operating system's generator.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut out = [0; N];
    rand::fill(&mut out).map_err(|_| Error::Sealed)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_open_only_in_their_place() {
        let key = SecretKey::generate().unwrap();
        let pages = key.derive("segment v1", b"one").unwrap().pages().unwrap();
        let mut sealed = b"text".to_vec();
        pages.seal(3, b"tenant a", &mut sealed).unwrap();
        assert_eq!(sealed.len(), 4 + TAG_BYTES);
        let open = |pages: &PageCipher, page, binding: &[u8]| {
            let mut bytes = sealed.clone();
            pages.open(page, binding, &mut bytes).map(|()| bytes)
        };
        assert_eq!(open(&pages, 3, b"tenant a").unwrap(), b"text");
        assert!(open(&pages, 4, b"tenant a").is_err());
        assert!(open(&pages, 3, b"tenant b").is_err());
        let other = key.derive("segment v1", b"two").unwrap().pages().unwrap();
        assert!(open(&other, 3, b"tenant a").is_err());
    }

    #[test]
    fn debug_shows_no_key() {
        let key = SecretKey::from_bytes([7; 32]);
        assert_eq!(format!("{key:?}"), "SecretKey(…)");
    }
}
