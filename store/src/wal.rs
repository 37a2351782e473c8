//! Write-ahead objects: the batches of one commit, sealed per tenant, durable before they are acknowledged.
//!
//! ```text
//!  0               7      8
//! ┌───────────────┬──────┬─────────┬─────────┬───┬────────────────┬──────────────┐
//! │ "HGLOWAL"     │ 0x01 │ batch 0 │ batch 1 │ … │ count (u32 LE) │ CRC (u32 LE) │
//! └───────────────┴──────┴─────────┴─────────┴───┴────────────────┴──────────────┘
//! batch
//!  0               16                 20                      20 + length
//! ┌───────────────┬──────────────────┬────────────────────────┐
//! │ tenant's uid  │ length (u32 LE)  │ payload, sealed, + tag │
//! └───────────────┴──────────────────┴────────────────────────┘
//! ```
//! The CRC-32 covers magic, version, each batch's uid and length, and the count: an object that was cut off or
//! whose frame was changed is known as such. Payloads stand on their own: each is sealed with the key that its
//! tenant's key derives for `wal v1` and the object's id, as the page of its number in the object, bound to
//! uid and object. So a changed payload does not open, and does not keep its neighbours from opening.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use crc32fast::Hasher;
use heliograph_model::cipher::{PageCipher, TAG_BYTES};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::layout::ObjectId;
use crate::tenants::OpenTenant;

const MAGIC: &[u8; 7] = b"HGLOWAL";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = MAGIC.len() + 1;
const BATCH_HEAD_BYTES: usize = 16 + 4;
const TRAILER_BYTES: usize = 4 + 4;
const PURPOSE: &str = "wal v1";

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

/// The bytes of a write-ahead object that holds these batches in order.
///
/// One object id is for one call: sealing two contents under one id would give both away.
pub fn write(object: ObjectId, batches: &[WalBatch]) -> Result<Bytes> {
    let payloads: usize = batches.iter().map(|b| BATCH_HEAD_BYTES + b.payload.len() + TAG_BYTES).sum();
    let mut out = Vec::with_capacity(HEAD_BYTES + payloads + TRAILER_BYTES);
    out.extend_from_slice(MAGIC);
    out.push(VERSION);
    let mut frame = Hasher::new();
    frame.update(&out);
    for (number, batch) in (0..).zip(batches) {
        let mut sealed = Vec::with_capacity(batch.payload.len() + TAG_BYTES);
        sealed.extend_from_slice(&batch.payload);
        let uid = batch.tenant.uid;
        pages(&batch.tenant, object)?.seal(number, &binding(uid, object), &mut sealed)?;
        let head = batch_head(uid, size("batch of a write-ahead object", sealed.len())?);
        frame.update(&head);
        out.extend_from_slice(&head);
        out.append(&mut sealed);
    }
    let count = size("write-ahead object's number of batches", batches.len())?.to_le_bytes();
    frame.update(&count);
    out.extend_from_slice(&count);
    out.extend_from_slice(&frame.finalize().to_le_bytes());
    Ok(out.into())
}

/// Takes a write-ahead object apart; an object that is not whole is [`crate::Error::Corrupt`].
pub fn read(object: ObjectId, bytes: Bytes) -> Result<Vec<SealedBatch>> {
    take_apart(object, bytes).map_err(|reason| Error::Corrupt {
        object: format!("write-ahead object {}", object.simple()),
        reason,
    })
}

fn take_apart(object: ObjectId, mut bytes: Bytes) -> Result<Vec<SealedBatch>, String> {
    let Some(trailer_at) = bytes.len().checked_sub(TRAILER_BYTES).filter(|at| *at >= HEAD_BYTES) else {
        return Err(format!("it has {} bytes only", bytes.len()));
    };
    let mut trailer = bytes.split_off(trailer_at);
    let head = bytes.split_to(HEAD_BYTES);
    let Some(version) = head.strip_prefix(MAGIC) else {
        return Err("it does not begin as one".to_owned());
    };
    if version != [VERSION] {
        return Err(format!("its version is {version:?}, this program knows {VERSION}"));
    }
    let (count, expected_crc) = (trailer.get_u32_le(), trailer.get_u32_le());
    let mut frame = Hasher::new();
    frame.update(&head);
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        let number = u64::try_from(batches.len()).map_err(|e| e.to_string())?;
        batches.push(split_batch(&mut bytes, &mut frame, object, number)?);
    }
    frame.update(&count.to_le_bytes());
    if frame.finalize() != expected_crc || u32::try_from(batches.len()) != Ok(count) {
        return Err(format!("it was cut off or changed: {} batches found, {count} told", batches.len()));
    }
    Ok(batches)
}

fn split_batch(
    bytes: &mut Bytes,
    frame: &mut Hasher,
    object: ObjectId,
    number: u64,
) -> Result<SealedBatch, String> {
    let cut_off = || format!("it is cut off in batch {number}");
    if bytes.len() < BATCH_HEAD_BYTES {
        return Err(cut_off());
    }
    let mut head = bytes.split_to(BATCH_HEAD_BYTES);
    frame.update(&head);
    let tenant_uid = Uuid::from_u128(head.get_u128());
    let length = usize::try_from(head.get_u32_le()).map_err(|e| e.to_string())?;
    if bytes.len() < length {
        return Err(cut_off());
    }
    Ok(SealedBatch { tenant_uid, number, sealed: bytes.split_to(length), object })
}

impl SealedBatch {
    /// The payload, opened with the tenant's key.
    ///
    /// [`crate::Error::Key`] if the batch is another tenant's, [`crate::Error::Corrupt`] if it was changed.
    pub fn open(self, tenant: &OpenTenant) -> Result<Bytes> {
        let place = format!("batch {} of write-ahead object {}", self.number, self.object.simple());
        if tenant.uid != self.tenant_uid {
            return Err(Error::Key { what: place });
        }
        let mut bytes = Vec::from(self.sealed);
        pages(tenant, self.object)?
            .open(self.number, &binding(self.tenant_uid, self.object), &mut bytes)
            .map_err(|e| Error::Corrupt { object: place, reason: e.to_string() })?;
        Ok(bytes.into())
    }
}

fn pages(tenant: &OpenTenant, object: ObjectId) -> Result<PageCipher> {
    Ok(tenant.key.derive(PURPOSE, object.as_bytes())?.pages()?)
}

fn binding(tenant: Uuid, object: ObjectId) -> [u8; 32] {
    let mut out = [0; 32];
    let (uid, id) = out.split_at_mut(16);
    uid.copy_from_slice(tenant.as_bytes());
    id.copy_from_slice(object.as_bytes());
    out
}

fn batch_head(tenant: Uuid, length: u32) -> [u8; BATCH_HEAD_BYTES] {
    let mut out = [0; BATCH_HEAD_BYTES];
    let (uid, size) = out.split_at_mut(16);
    uid.copy_from_slice(tenant.as_bytes());
    size.copy_from_slice(&length.to_le_bytes());
    out
}

fn size(what: &'static str, size: usize) -> Result<u32> {
    const LIMIT: usize = 0xffff_ffff;
    u32::try_from(size).map_err(|_| heliograph_model::Error::TooLarge { what, limit: LIMIT }.into())
}

#[cfg(test)]
mod tests;
