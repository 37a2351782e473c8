//! Write-ahead objects: the batches of one commit, sealed per tenant, durable before they are acknowledged.
//!
//! ```text
//! offset  bytes  what
//! 0       8      magic "HGWAL\0\0" and the version, 1
//! 8       …      batches, one after the other:
//!                  16  tenant's lasting id
//!                   4  length of the sealed payload, little-endian
//!                   …  sealed payload: zstd of model::codec::encode, AES-256-GCM, tag last
//! end-8   4      number of batches, little-endian
//! end-4   4      CRC-32 of the magic, every batch's first 20 bytes, and the number
//! ```
//!
//! A payload's key is derived from its tenant's key, "wal v1" and the object's id; its nonce is its number in the
//! object; it is bound to tenant and object. The CRC tells a torn object; a changed payload fails to open alone.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use heliograph_model::cipher::{PageCipher, TAG_BYTES};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::layout::ObjectId;
use crate::tenants::OpenTenant;

const MAGIC: [u8; 8] = *b"HGWAL\0\0\x01";
const HEAD_BYTES: usize = 20;
const TRAILER_BYTES: usize = 8;

/// The bytes of one batch, as `model::codec::encode` made them, compressed with zstd.
#[derive(Clone)]
pub struct WalBatch {
    /// Whose.
    pub tenant: Arc<OpenTenant>,
    /// Compressed, not sealed.
    pub payload: Bytes,
}

/// A batch found in a write-ahead object, still sealed: open it with the tenant of this uid.
#[derive(Clone, Debug)]
pub struct SealedBatch {
    /// The tenant's lasting id.
    pub tenant_uid: Uuid,
    number: u64,
    sealed: Bytes,
    object: ObjectId,
}

fn cipher(tenant: &OpenTenant, object: ObjectId) -> Result<PageCipher> {
    Ok(tenant.key.derive("wal v1", object.as_bytes())?.pages()?)
}

fn binding(tenant_uid: Uuid, object: ObjectId) -> [u8; 32] {
    let mut out = [0; 32];
    out[..16].copy_from_slice(tenant_uid.as_bytes());
    out[16..].copy_from_slice(object.as_bytes());
    out
}

/// The bytes of a write-ahead object that holds these batches in order.
pub fn write(object: ObjectId, batches: &[WalBatch]) -> Result<Bytes> {
    let payloads: usize = batches.iter().map(|b| b.payload.len() + HEAD_BYTES + TAG_BYTES).sum();
    let mut out = BytesMut::with_capacity(MAGIC.len() + payloads + TRAILER_BYTES);
    out.put_slice(&MAGIC);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&MAGIC);
    for (number, batch) in (0_u64..).zip(batches) {
        let mut sealed = batch.payload.to_vec();
        cipher(&batch.tenant, object)?.seal(number, &binding(batch.tenant.uid, object), &mut sealed)?;
        let length = u32::try_from(sealed.len())
            .map_err(|_| heliograph_model::Error::TooLarge { what: "a batch", limit: u32::MAX as usize })?;
        let head = out.len();
        out.put_slice(batch.tenant.uid.as_bytes());
        out.put_u32_le(length);
        crc.update(out.get(head..).unwrap_or_default());
        out.put_slice(&sealed);
    }
    let count = u32::try_from(batches.len())
        .map_err(|_| heliograph_model::Error::TooLarge { what: "a commit", limit: u32::MAX as usize })?;
    crc.update(&count.to_le_bytes());
    out.put_u32_le(count);
    out.put_u32_le(crc.finalize());
    Ok(out.freeze())
}

/// Takes a write-ahead object apart; an object that is not whole is [`Error::Corrupt`].
pub fn read(object: ObjectId, mut bytes: Bytes) -> Result<Vec<SealedBatch>> {
    let corrupt = |reason: &str| Error::Corrupt {
        object: format!("write-ahead object {}", object.simple()),
        reason: reason.to_owned(),
    };
    if bytes.len() < MAGIC.len() + TRAILER_BYTES {
        return Err(corrupt("it is too short"));
    }
    let mut trailer = bytes.split_off(bytes.len() - TRAILER_BYTES);
    let magic = bytes.split_to(MAGIC.len());
    if magic != MAGIC.as_slice() {
        return Err(corrupt("its magic or version is not known"));
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&magic);
    let mut batches = Vec::new();
    while bytes.has_remaining() {
        if bytes.len() < HEAD_BYTES {
            return Err(corrupt("a batch's head is cut off"));
        }
        let mut head = bytes.split_to(HEAD_BYTES);
        crc.update(&head);
        let tenant_uid = Uuid::from_u128(head.get_u128());
        let length = usize::try_from(head.get_u32_le()).unwrap_or(usize::MAX);
        if bytes.len() < length {
            return Err(corrupt("a batch is cut off"));
        }
        let number = batches.len() as u64;
        batches.push(SealedBatch { tenant_uid, number, sealed: bytes.split_to(length), object });
    }
    let count = trailer.get_u32_le();
    crc.update(&count.to_le_bytes());
    if usize::try_from(count).ok() != Some(batches.len()) || crc.finalize() != trailer.get_u32_le() {
        return Err(corrupt("its batches do not add up to its trailer"));
    }
    Ok(batches)
}

impl SealedBatch {
    /// The payload, opened with the tenant's key.
    pub fn open(self, tenant: &OpenTenant) -> Result<Bytes> {
        let what = || format!("batch {} of write-ahead object {}", self.number, self.object.simple());
        if tenant.uid != self.tenant_uid {
            return Err(Error::Key { what: what() });
        }
        let mut plain = self.sealed.to_vec();
        cipher(tenant, self.object)?
            .open(self.number, &binding(tenant.uid, self.object), &mut plain)
            .map_err(|_| Error::Corrupt {
                object: what(),
                reason: "it does not open with its tenant's key".to_owned(),
            })?;
        Ok(plain.into())
    }
}

#[cfg(test)]
mod tests {
    use heliograph_model::cipher::SecretKey;
    use heliograph_model::tenant::TenantId;
    use proptest::prelude::*;

    use super::*;

    fn tenant(name: &str) -> Arc<OpenTenant> {
        Arc::new(OpenTenant {
            name: TenantId::parse(name).unwrap(),
            uid: Uuid::new_v4(),
            key: SecretKey::generate().unwrap(),
        })
    }

    fn object() -> (ObjectId, Vec<WalBatch>, Bytes) {
        let (a, b) = (tenant("a"), tenant("b"));
        let batch = |tenant: &Arc<OpenTenant>, text: &str| WalBatch {
            tenant: Arc::clone(tenant),
            payload: Bytes::copy_from_slice(text.as_bytes()),
        };
        let batches = vec![batch(&a, "first of a"), batch(&b, "first of b"), batch(&a, "second of a")];
        let id = Uuid::new_v4();
        let bytes = write(id, &batches).unwrap();
        (id, batches, bytes)
    }

    #[test]
    fn what_was_written_is_read_in_order() {
        let (id, batches, bytes) = object();
        let read = read(id, bytes.clone()).unwrap();
        assert_eq!(read.len(), 3);
        for (sealed, batch) in read.into_iter().zip(&batches) {
            assert_eq!(sealed.open(&batch.tenant).unwrap(), batch.payload);
        }
        assert!(!bytes.windows(5).any(|w| w == b"first"), "nothing readable");
    }

    #[test]
    fn an_object_torn_anywhere_is_corrupt() {
        let (id, _, bytes) = object();
        for end in 0..bytes.len() {
            assert!(matches!(read(id, bytes.slice(..end)), Err(Error::Corrupt { .. })), "cut at {end}");
        }
    }

    #[test]
    fn a_flipped_bit_costs_at_most_its_own_batch() {
        let (id, batches, bytes) = object();
        for at in 0..bytes.len() {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1;
            let Ok(read) = read(id, flipped.into()) else { continue };
            let opened =
                read.into_iter().zip(&batches).filter(|(s, b)| s.clone().open(&b.tenant).is_ok()).count();
            assert_eq!(opened, 2, "flipped at {at}");
        }
    }

    #[test]
    fn a_batch_opens_only_with_its_tenant_and_object() {
        let (id, batches, bytes) = object();
        let first = read(id, bytes.clone()).unwrap().swap_remove(0);
        assert!(matches!(first.clone().open(&batches[1].tenant), Err(Error::Key { .. })));
        let elsewhere = read(Uuid::new_v4(), bytes).unwrap().swap_remove(0);
        assert!(elsewhere.open(&batches[0].tenant).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_object_or_corrupt(tail in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend(tail);
            drop(read(Uuid::nil(), bytes.into()));
        }
    }
}
