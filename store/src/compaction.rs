//! Many small segments become a large one: which of them, and how, without losing or doubling a record.
//!
//! ```text
//! inputs ──read back──▶ records ──build──▶ output ──put──▶ object store
//!                                                   └────▶ catalog: output in, inputs retired, in one transaction
//! ```
//!
//! **Exact for who reads meanwhile.** Each record keeps its key and its commit. Before the transaction a reader is
//! given the inputs, after it the output, never both: it takes its list of segments in one read of the catalog.
//! The inputs' objects stay until everybody who may have such a list is done (the indexer's upkeep sees to that).
//! A reader who has the hot answer of an earlier moment reads the output up to the commit where that answer
//! begins (`query`'s plan), a tail up to where its feed does. That rests on the output being of one indexer, whose
//! commits the hot answer counts, and not on any time that has passed: so only segments of one indexer are merged.
//!
//! **Safe to stop at any moment.** Before the put there is nothing; after it an object that nobody names, which is
//! collected as an orphan; after the transaction the inputs are retired, and are deleted by whoever comes next.
//! The catalog refuses an output that has other records than its inputs, inputs that another has replaced or
//! expired meanwhile, and an object that was taken for an orphan before it was published.

mod policy;

use std::sync::Arc;

use heliograph_model::time::Timestamp;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use crate::Store;
use crate::catalog::SegmentMeta;
use crate::error::{Error, Result};
use crate::layout::{self, ObjectId};
use crate::objects;
use crate::segment::{self, Contents, PageCache, Segment};

pub use policy::{MERGES_MAX, Policy};

/// A segment's pages are read once each: there is nothing to keep.
const CACHE_BYTES: usize = 1 << 20;

/// Reads a segment's records back, all into memory. Safe to drop half-way.
pub async fn read(store: &Store, input: &SegmentMeta) -> Result<Vec<Contents>> {
    let tenant = store.tenants.get(&input.tenant).await?;
    let objects = Arc::clone(&store.objects);
    let segment = Segment::open(objects, tenant, input.clone(), PageCache::new(CACHE_BYTES)).await?;
    segment.read_back().await
}

/// Builds the segment that has the contents of all inputs, puts it under this name, and has it take their place at
/// this moment. Takes about three times the memory of the contents. Safe to drop half-way, and to call again under
/// another name.
pub async fn write(
    store: &Store,
    inputs: &[SegmentMeta],
    contents: Vec<Contents>,
    id: ObjectId,
    at: Timestamp,
) -> Result<SegmentMeta> {
    let nothing = || Error::Missing { what: "segment to merge", name: id.to_string() };
    let first = inputs.first().ok_or_else(nothing)?;
    let tenant = store.tenants.get(&first.tenant).await?;
    let path = layout::segment(tenant.uid, id);
    let building = tokio::task::spawn_blocking(move || segment::merge(&tenant, id, &contents));
    let built = building.await.map_err(|e| Error::Objects(e.into()))??;
    let after = inputs.iter().map(|input| input.commits_after).min().unwrap_or(first.commits_after);
    let through = inputs.iter().map(|input| input.commits_through).max().unwrap_or(first.commits_through);
    // As old as its newest input: merging makes no record younger.
    let created = inputs.iter().map(|input| input.created).max().unwrap_or(first.created);
    let output = built.meta(&first.tenant, id, first.indexer, (after, through), created);
    objects::create(&*store.objects, &path, built.bytes).await.map_err(Error::Objects)?;
    let ids: Vec<ObjectId> = inputs.iter().map(|input| input.id).collect();
    if let Err(error) = store.catalog.replace(&ids, &output, at).await {
        take_back(store, &path, &error).await;
        return Err(error);
    }
    Ok(output)
}

/// Deletes an object that the catalog has refused for ever. Where it may have taken it after all, or the object cannot
/// be deleted now, that is left to who collects orphans.
pub(crate) async fn take_back(store: &Store, path: &Path, refusal: &Error) {
    if matches!(refusal, Error::Replaced { .. } | Error::Discarded { .. } | Error::Missing { .. })
        && !matches!(store.objects.delete(path).await, Ok(()) | Err(object_store::Error::NotFound { .. }))
    {
        tracing::warn!(%path, "an object that was not published is left behind");
    }
}
