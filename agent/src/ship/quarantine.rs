//! Batches that an indexer refused for good, kept sealed for a look later. Bounded; never sent again.

use std::path::{Path, PathBuf};

use heliograph_model::cipher::SecretKey;
use heliograph_model::tenant::TenantId;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::spool::bytes::Writer;
use crate::spool::segment::Segment;

/// Most batches kept: a look at some tells what is wrong with all.
const BATCHES_MAX: usize = 256;
/// Most bytes kept.
const BYTES_MAX: u64 = 32 << 20;

/// The directory of refused batches, each a spool file of one entry: tenant, then the body as it was sent.
pub(crate) struct Quarantine {
    dir: PathBuf,
    key: SecretKey,
    metrics: Metrics,
    /// One at a time, so that the bounds hold.
    keeping: std::sync::Arc<Mutex<()>>,
}

impl Quarantine {
    /// In `dir`, which is made when needed.
    pub(crate) fn new(dir: PathBuf, key: SecretKey, metrics: Metrics) -> Self {
        show(&metrics, held(&dir).unwrap_or_default());
        Self { dir, key, metrics, keeping: std::sync::Arc::default() }
    }

    /// Keeps a batch if there is room; counts it if not.
    pub(super) async fn keep(&self, tenant: &TenantId, payload: Vec<u8>) {
        let (dir, key, tenant) = (self.dir.clone(), self.key.clone(), tenant.clone());
        let (keeping, metrics) = (std::sync::Arc::clone(&self.keeping), self.metrics.clone());
        let kept = super::blocking(move || {
            let _one = keeping.lock();
            let kept = keep(&dir, &key, &tenant, &payload)?;
            show(&metrics, held(&dir)?);
            Ok(kept)
        });
        match kept.await {
            Ok(true) => return,
            Ok(false) => tracing::warn!("no room for a refused batch, it is gone"),
            Err(error) => tracing::error!(%error, "refused batch could not be kept"),
        }
        self.metrics.quarantine_full.inc();
    }
}

/// How many batches there are, and their bytes.
fn held(dir: &Path) -> Result<(usize, u64)> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((0, 0)),
        Err(e) => return Err(Error::disk(dir)(e)),
    };
    let (mut batches, mut bytes) = (0, 0);
    for entry in entries {
        let meta = entry.and_then(|e| e.metadata()).map_err(Error::disk(dir))?;
        (batches, bytes) = (batches + 1, bytes + meta.len());
    }
    Ok((batches, bytes))
}

fn show(metrics: &Metrics, (batches, bytes): (usize, u64)) {
    metrics.quarantine_batches.set(i64::try_from(batches).unwrap_or(i64::MAX));
    metrics.quarantine_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
}

fn keep(dir: &Path, key: &SecretKey, tenant: &TenantId, payload: &[u8]) -> Result<bool> {
    std::fs::create_dir_all(dir).map_err(Error::disk(dir))?;
    let (batches, bytes) = held(dir)?;
    if batches >= BATCHES_MAX || bytes + payload.len() as u64 > BYTES_MAX {
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

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[tokio::test]
    async fn it_is_bounded_in_bytes_and_counts_what_it_does_not_keep() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let key = SecretKey::from_bytes([7; 32]);
        let quarantine = Quarantine::new(dir.path().join("q"), key, metrics.clone());
        let tenant = TenantId::parse("a").unwrap();
        for _ in 0..3 {
            quarantine.keep(&tenant, vec![0; 15 << 20]).await;
        }
        quarantine.keep(&tenant, vec![0; 10]).await;
        assert_eq!(metrics.quarantine_batches.get(), 3);
        assert_eq!(metrics.quarantine_full.get(), 1);
        assert!(metrics.quarantine_bytes.get() < 32 << 20);
    }
}
