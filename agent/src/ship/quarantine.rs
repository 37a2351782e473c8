//! Batches that an indexer refused for good, kept sealed for a look later. Bounded; never sent again.

use std::path::PathBuf;

use heliograph_model::cipher::SecretKey;
use heliograph_model::tenant::TenantId;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::spool::bytes::Writer;
use crate::spool::segment::Segment;

/// Most batches kept: a look at some tells what is wrong with all.
const BATCHES_MAX: usize = 256;

/// The directory of refused batches, each a spool file of one entry: tenant, then the body as it was sent.
pub(crate) struct Quarantine {
    dir: PathBuf,
    key: SecretKey,
}

impl Quarantine {
    /// In `dir`, which is made when needed.
    pub(crate) fn new(dir: PathBuf, key: SecretKey) -> Self {
        Self { dir, key }
    }

    /// Keeps a batch; says whether it could.
    pub(crate) async fn keep(&self, tenant: &TenantId, payload: bytes::Bytes) -> bool {
        let (dir, key, tenant) = (self.dir.clone(), self.key.clone(), tenant.clone());
        match super::blocking(move || keep(&dir, &key, &tenant, &payload)).await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::error!(%error, "refused batch could not be set aside");
                false
            }
        }
    }
}

fn keep(dir: &PathBuf, key: &SecretKey, tenant: &TenantId, payload: &[u8]) -> Result<bool> {
    std::fs::create_dir_all(dir).map_err(Error::disk(dir))?;
    if std::fs::read_dir(dir).map_err(Error::disk(dir))?.count() >= BATCHES_MAX {
        return Ok(false);
    }
    let path = dir.join(format!("{}.batch", Uuid::now_v7()));
    let (segment, end) = Segment::create(&path, 0, key)?;
    let mut body = Writer::default();
    body.text(tenant.as_str().as_bytes());
    body.0.extend_from_slice(payload);
    segment.append(end, vec![body.0])?;
    Ok(true)
}
