//! Large objects are sent in parts: a part that fails is sent again, not the whole.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload, Result};
use tokio::time::timeout;

use super::{holds, time_max};

/// Objects beyond this go in parts.
pub(super) const WHOLE_BYTES_MAX: usize = PART_BYTES;
/// Stores want 5 MiB at least. It is what is sent again when something fails, and what must get through within
/// the time for one request.
const PART_BYTES: usize = 8 << 20;
/// Parts on their way at the same time.
const SIDE_BY_SIDE: usize = 4;
/// Longest time for giving parts up.
const ABORT_MAX: Duration = Duration::from_secs(10);

/// Creates an object in parts, or none: what was sent is given up when something fails.
///
/// Stores have no condition on objects in parts that all of them keep, so it is looked before; names are random
/// and never used twice, and what comes between could only be the same object from the same hand.
pub(super) async fn create(objects: &dyn ObjectStore, path: &Path, bytes: &Bytes) -> Result<()> {
    match objects.head(path).await {
        Err(Error::NotFound { .. }) => {}
        Ok(_) => return Err(exists(path)),
        Err(error) => return Err(error),
    }
    let mut upload = objects.put_multipart(path).await?;
    let sent = timeout(time_max(bytes.len()), send(upload.as_mut(), bytes)).await;
    let error = match sent {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error,
        Err(_) => super::too_long(path),
    };
    // The answer to putting the parts together may be lost; an upload that is no more says so, too.
    if matches!(timeout(ABORT_MAX, holds(objects, path, bytes)).await, Ok(Ok(true))) {
        return Ok(());
    }
    if !matches!(timeout(ABORT_MAX, upload.abort()).await, Ok(Ok(()))) {
        tracing::warn!(object = %path, "parts of an object may be left in the store");
    }
    Err(error)
}

async fn send(upload: &mut dyn MultipartUpload, bytes: &Bytes) -> Result<()> {
    let parts = (0..bytes.len()).step_by(PART_BYTES);
    let parts = parts.map(|at| bytes.slice(at..bytes.len().min(at + PART_BYTES)));
    // Each takes its number when it is made; sent they are a few at a time.
    let parts: Vec<_> = parts.map(|part| upload.put_part(PutPayload::from(part))).collect();
    stream::iter(parts).buffer_unordered(SIDE_BY_SIDE).try_for_each(|()| std::future::ready(Ok(()))).await?;
    upload.complete().await.map(|_| ())
}

fn exists(path: &Path) -> Error {
    Error::AlreadyExists { path: path.to_string(), source: "it was looked for".into() }
}
