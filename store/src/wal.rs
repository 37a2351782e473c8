//! Write-ahead objects: the batches of one commit, sealed per tenant, durable before they are acknowledged.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;
use crate::layout::ObjectId;
use crate::tenants::OpenTenant;

/// The bytes of one batch, as `model::codec::encode` made them, compressed with zstd.
#[derive(Clone)]
pub struct WalBatch {
    /// Whose.
    pub tenant: Arc<OpenTenant>,
    /// Compressed, not sealed.
    pub payload: Bytes,
}

/// A batch found in a write-ahead object, still sealed: open it with the tenant of this uid.
pub struct SealedBatch {
    /// The tenant's lasting id.
    pub tenant_uid: uuid::Uuid,
    number: u64,
    sealed: Bytes,
    object: ObjectId,
}

/// The bytes of a write-ahead object that holds these batches in order.
pub fn write(_object: ObjectId, _batches: &[WalBatch]) -> Result<Bytes> {
    todo!()
}

/// Takes a write-ahead object apart; an object that is not whole is [`crate::Error::Corrupt`].
pub fn read(_object: ObjectId, _bytes: Bytes) -> Result<Vec<SealedBatch>> {
    todo!()
}

impl SealedBatch {
    /// The payload, opened with the tenant's key.
    pub fn open(self, _tenant: &OpenTenant) -> Result<Bytes> {
        let _ = (self.number, self.sealed, self.object);
        todo!()
    }
}
