//! Removing the records that a query finds: what is done to one segment, and how it is looked whether anything is left.
//!
//! ```text
//! request ─▶ all that was acknowledged before is sealed ─▶ each segment with a match is rewritten
//!         ─▶ no reader has an older list any more       ─▶ objects that held matches are deleted ─▶ counted once more
//! ```
//!
//! The order of the steps is the indexer's (`upkeep/erase.rs`). A rewritten segment has the same commits as the one whose
//! place it takes, and fewer records, so that readers with an earlier hot answer read it as they would have read the
//! other. It is safe to stop at any moment, and to begin again from the start: the catalog knows what is rewritten.

mod check;
mod receipt;

use std::sync::Arc;

use heliograph_model::filter::{Filter, Matcher};
use heliograph_model::record::RecordRef;
use heliograph_model::scan::{Answer, Collector, Scan, Want};
use heliograph_model::time::{TimeRange, Timestamp};
use uuid::Uuid;

use crate::Store;
use crate::catalog::{PendingErasure, Rewrite, SegmentMeta};
use crate::compaction;
use crate::error::{Error, Result};
use crate::layout::{self, ObjectId};
use crate::objects;
use crate::segment::{self, Contents, PageCache, ScanStats, Segment};

pub use check::{Checked, Left, check, check_erased};
pub use receipt::{NOT_REACHED, NOT_REACHED_OF_TENANT, Receipt};

/// A segment's pages are read once or twice each.
const CACHE_BYTES: usize = 1 << 20;

/// The segments of a pending erasure's tenant that may hold what it is about.
pub async fn segments(store: &Store, erasure: &PendingErasure) -> Result<Vec<SegmentMeta>> {
    let mut all = store.catalog.segments(&erasure.tenant, &erasure.range).await?;
    all.retain(|segment| segment.commits_after < erasure.through);
    Ok(all)
}

/// How many of a segment's records a filter means, as a search would find them. Safe to drop half-way.
pub async fn count(store: &Store, meta: &SegmentMeta, filter: &Filter, range: &TimeRange) -> Result<u64> {
    let segment = open(store, meta).await?;
    let scan = Scan {
        tenant: meta.tenant.clone(),
        range: *range,
        filter: filter.clone(),
        committed_after: None,
        committed_through: None,
        want: Want::Histogram { interval_nanos: i64::MAX, by_level: false },
    };
    let matcher = Arc::new(Matcher::new(filter)?);
    let collector = Collector::new(&scan);
    let counted = segment.scan(&scan, &matcher, collector, &mut ScanStats::default()).await?;
    Ok(match counted.finish() {
        Answer::Histogram(found) => found.buckets.values().flatten().sum(),
        _ => 0,
    })
}

/// Rewrites a segment without what a pending erasure is about, under this name; nothing if it has none of it. Takes
/// about three times the memory of the records. Safe to drop half-way, and to call again under another name.
pub async fn rewrite(
    store: &Store,
    erasure: &PendingErasure,
    meta: &SegmentMeta,
    id: ObjectId,
    at: Timestamp,
) -> Result<Option<Rewrite>> {
    if count(store, meta, &erasure.filter, &erasure.range).await? == 0 {
        return Ok(None);
    }
    let tenant = store.tenants.get(&meta.tenant).await?;
    let path = layout::segment(tenant.uid, id);
    let mut contents = open(store, meta).await?.read_back().await?;
    let (matcher, range) = (Matcher::new(&erasure.filter)?, erasure.range);
    let building = tokio::task::spawn_blocking(move || {
        let mut removed = 0;
        for part in &mut contents {
            removed += part.remove(|record| is_meant(&matcher, &range, record))?;
        }
        let is_empty = contents.iter().all(Contents::is_empty);
        let built = (!is_empty).then(|| segment::merge(&tenant, id, &contents)).transpose()?;
        Ok::<_, Error>((built, removed))
    });
    let (built, removed) = building.await.map_err(|e| Error::Objects(e.into()))??;
    let commits = (meta.commits_after, meta.commits_through);
    let by = built.as_ref().map(|built| built.meta(&meta.tenant, id, meta.indexer, commits, meta.created));
    if let Some(built) = built {
        objects::create(&*store.objects, &path, built.bytes).await.map_err(Error::Objects)?;
    }
    let rewrite = Rewrite { erasure: erasure.id, old: meta.id, by, removed, at };
    if let Err(error) = store.catalog.rewrite(&rewrite).await {
        compaction::take_back(store, &path, &error).await;
        return Err(error);
    }
    Ok(Some(rewrite))
}

async fn open(store: &Store, meta: &SegmentMeta) -> Result<Segment> {
    let tenant = store.tenants.get(&meta.tenant).await?;
    Segment::open(Arc::clone(&store.objects), tenant, meta.clone(), PageCache::new(CACHE_BYTES)).await
}

fn is_meant(matcher: &Matcher, range: &TimeRange, record: &RecordRef<'_>) -> bool {
    range.contains(record.time) && matcher.matches(record)
}

/// The receipt of an erasure, [`Error::Missing`] if there is none of this id.
pub async fn receipt(store: &Store, id: Uuid) -> Result<Receipt> {
    let missing = || Error::Missing { what: "erasure", name: id.to_string() };
    let erasures = store.catalog.erasures().await?;
    let erasure = erasures.into_iter().find(|erasure| erasure.id == id).ok_or_else(missing)?;
    let objects = store.catalog.erased(id).await?;
    Ok(Receipt::new(erasure, objects))
}
