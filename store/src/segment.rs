//! Segments: immutable, searchable objects of one tenant's records.
//!
//! Records sorted by source and position lie in blocks of a few hundred KiB; an index over blocks, held in
//! memory, says which of them may hold what a filter means, and each such block is read and verified exactly.
//! The format is drawn in docs/formats.md.

mod answer;
mod bitset;
mod block;
mod cache;
mod candidates;
mod columns;
mod contents;
mod dictionary;
mod directory;
mod explain;
mod fields;
mod fingerprints;
mod footer;
mod hashing;
mod identifiers;
mod names;
mod pages;
mod pairs;
mod plan;
mod postings;
mod prune;
mod reader;
mod row_lists;
mod scan;
mod sources;
mod summary;
mod template;
mod templates;
mod texts;
mod tokens;
mod uses;
mod verdict;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use heliograph_model::filter::Matcher;
use heliograph_model::rows::Rows;
use heliograph_model::scan::{Collector, CommitId, Scan};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use uuid::Uuid;

use crate::catalog::SegmentMeta;
use crate::error::{Error, Result};
use crate::layout::{self, ObjectId};
use crate::tenants::OpenTenant;

pub use cache::PageCache;
pub use contents::Contents;
pub use explain::Explained;
use reader::{INDEX_BYTES_MAX, Index};
use row_lists::RowLists;

/// A segment's bytes, ready to be put.
pub struct Built {
    /// The whole object.
    pub bytes: Bytes,
    /// Where its index part begins.
    pub index_offset: u64,
    /// How many records.
    pub records: u64,
    /// Size of the records' texts before compression.
    pub raw_bytes: u64,
    /// Earliest event time.
    pub first: Timestamp,
    /// Latest event time.
    pub last: Timestamp,
    /// Stored bytes of each part: of all blocks' pages by kind, and of the index's sections.
    pub sizes: Vec<(&'static str, u64)>,
    /// Records whose message is kept whole, without a template.
    pub whole_messages: u64,
}

impl Built {
    /// What the catalog is to say of it: holds its tenant's records of an indexer committed after the first of
    /// `commits` and up to the second.
    pub fn meta(
        &self,
        tenant: &TenantId,
        id: ObjectId,
        indexer: Uuid,
        commits: (CommitId, CommitId),
        created: Timestamp,
    ) -> SegmentMeta {
        SegmentMeta {
            id,
            tenant: tenant.clone(),
            bytes: self.bytes.len() as u64,
            index_offset: self.index_offset,
            records: self.records,
            raw_bytes: self.raw_bytes,
            first: self.first,
            last: self.last,
            indexer,
            commits_after: commits.0,
            commits_through: commits.1,
            created,
        }
    }
}

/// What reading cost; all parts of a query add to one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanStats {
    /// Segments looked into.
    pub segments: u64,
    /// Blocks decompressed.
    pub blocks: u64,
    /// Bytes read from the object store.
    pub bytes: u64,
}

/// Builds a segment from records in any order, each with its commit. CPU work: call it off the async threads.
pub fn build(tenant: &OpenTenant, id: ObjectId, parts: &[(CommitId, &Rows)]) -> Result<Built> {
    writer::build(tenant, id, parts)
}

/// Builds a segment from what was [read back](Segment::read_back) from others; commits and keys of the records stay
/// as they are. Packed more tightly than by [`build`], at more CPU work: call it off the async threads.
pub fn merge(tenant: &OpenTenant, id: ObjectId, parts: &[Contents]) -> Result<Built> {
    writer::merge(tenant, id, parts, writer::Shape::MERGED)
}

/// An opened segment: its index part is in memory, its blocks are fetched by range as needed.
pub struct Segment {
    meta: SegmentMeta,
    objects: Arc<dyn ObjectStore>,
    path: Path,
    opened: Opened,
}

/// What of a segment is in memory.
#[derive(Clone)]
struct Opened {
    /// Of the tenant.
    tenant: Uuid,
    segment: ObjectId,
    index: Arc<Index>,
    cache: Arc<PageCache>,
}

impl Opened {
    /// The name of a page in the cache.
    fn key(&self, page: u64) -> cache::Key {
        cache::Key { tenant: self.tenant, segment: self.segment, page }
    }
}

impl Segment {
    /// Reads and checks the index part. Pages of blocks go through the cache.
    pub async fn open(
        objects: Arc<dyn ObjectStore>,
        tenant: Arc<OpenTenant>,
        meta: SegmentMeta,
        cache: Arc<PageCache>,
    ) -> Result<Self> {
        let uid = tenant.uid;
        let path = layout::segment(tenant.uid, meta.id);
        let corrupt = |reason: &str| Error::Corrupt {
            object: format!("segment {} index", meta.id.simple()),
            reason: reason.to_owned(),
        };
        let length = meta.bytes.checked_sub(meta.index_offset);
        if length.is_none_or(|length| length > INDEX_BYTES_MAX) {
            return Err(corrupt("its place in the catalog makes no sense"));
        }
        let range = meta.index_offset..meta.bytes;
        // Not `get_range`, for which a cache must know more of the object than its bytes.
        let bytes = match objects.get_ranges(&path, std::slice::from_ref(&range)).await {
            Ok(read) => read.into_iter().next().unwrap_or_default(),
            Err(error) => {
                return Err(match objects.head(&path).await {
                    Ok(head) if head.size < meta.bytes => corrupt("it is cut off"),
                    _ => Error::Objects(error),
                });
            }
        };
        let of = meta.clone();
        let index = Arc::new(scan::blocking(move || Index::open(&tenant, &of, bytes)).await??);
        let opened = Opened { tenant: uid, segment: meta.id, index, cache };
        Ok(Self { meta, objects, path, opened })
    }

    /// What the catalog says of it.
    pub fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    /// Opens the parts of the index that most questions ask, as the first of them would. What is damaged is left
    /// for who asks for it.
    pub async fn warm(&self) -> Result<()> {
        let index = Arc::clone(&self.opened.index);
        scan::blocking(move || index.warm()).await?
    }

    /// What a scan would look at, by the index; nothing is read but lists of frequent words, and nothing offered.
    pub async fn explain(&self, scan: &Scan) -> Result<Explained> {
        let scan = Scan { range: plan::bounds(scan), ..scan.clone() };
        let mut stats = ScanStats::default();
        let lists = RowLists::read(&self.objects, &self.path, &self.opened, &scan, &mut stats).await?;
        let index = Arc::clone(&self.opened.index);
        scan::blocking(move || explain::explain(&index, &scan, &lists)).await?
    }

    /// All records with their commits, for [`merge`]. Takes memory for all of them, and is an error if one cannot be
    /// read: nothing is passed over. Safe to drop half-way.
    pub async fn read_back(&self) -> Result<Vec<Contents>> {
        contents::read(&self.objects, &self.path, &self.opened, self.meta.records).await
    }

    /// Offers every record that the scan means to the collector: range, commits and filter are checked here,
    /// blocks that the collector or the index rule out are not read. Fetching is async; decompression and
    /// evaluation run off the async threads. Safe to drop half-way.
    pub async fn scan(
        &self,
        scan: &Scan,
        matcher: &Arc<Matcher>,
        collector: Collector,
        stats: &mut ScanStats,
    ) -> Result<Collector> {
        let bounds = plan::bounds(scan);
        let is_committed = scan.committed_after.is_none_or(|after| self.meta.commits_through > after)
            && scan.committed_through.is_none_or(|through| self.meta.commits_after < through);
        if bounds.is_empty() || !bounds.touches(self.meta.first, self.meta.last) || !is_committed {
            return Ok(collector);
        }
        stats.segments += 1;
        let task = scan::Task { of: self.opened.clone(), scan: scan.clone(), matcher: Arc::clone(matcher) };
        scan::run(&self.objects, &self.path, task, collector, stats).await
    }
}

#[cfg(test)]
mod tests;
