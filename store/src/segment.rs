//! Segments: immutable, searchable objects of one tenant's records.

use std::sync::Arc;

use bytes::Bytes;
use heliograph_model::filter::Matcher;
use heliograph_model::record::Record;
use heliograph_model::scan::{Collector, CommitId, Scan};
use heliograph_model::time::Timestamp;
use object_store::ObjectStore;

use crate::catalog::SegmentMeta;
use crate::error::Result;
use crate::layout::ObjectId;
use crate::tenants::OpenTenant;

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
pub fn build(_tenant: &OpenTenant, _id: ObjectId, _records: Vec<(CommitId, Arc<Record>)>) -> Result<Built> {
    todo!()
}

/// An opened segment: its index part is in memory, its blocks are fetched by range as needed.
pub struct Segment {
    meta: SegmentMeta,
}

impl Segment {
    /// Reads and checks the index part.
    pub async fn open(
        _objects: Arc<dyn ObjectStore>,
        _tenant: Arc<OpenTenant>,
        meta: SegmentMeta,
    ) -> Result<Self> {
        let _ = Self { meta };
        todo!()
    }

    /// What the catalog says of it.
    pub fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    /// Offers every record that the scan means to the collector: range, commits and filter are checked here,
    /// blocks that the collector or the index rule out are not read. Fetching is async; decompression and
    /// evaluation run off the async threads. Safe to drop half-way.
    pub async fn scan(
        &self,
        _scan: &Scan,
        _matcher: &Arc<Matcher>,
        _collector: Collector,
        _stats: &mut ScanStats,
    ) -> Result<Collector> {
        todo!()
    }
}
