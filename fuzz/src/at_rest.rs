//! What lies at rest, with bytes changed: it says that it is damaged, or gives what was written.
//!
//! The input is a list of changes: where (4 bytes, the object's length more than once around it), and to what (1 byte);
//! what is left over cuts the object off there.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use heliograph_model::cipher::SecretKey;
use heliograph_model::codec;
use heliograph_model::filter::{Filter, Matcher};
use heliograph_model::record::{Attributes, Record};
use heliograph_model::rows::Rows;
use heliograph_model::scan::{Answer, Collector, CommitId, Order, Scan, Want};
use heliograph_model::source::{Position, Source};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use heliograph_store::catalog::SegmentMeta;
use heliograph_store::layout;
use heliograph_store::segment::{self, PageCache, ScanStats, Segment};
use heliograph_store::tenants::OpenTenant;
use heliograph_store::wal::{self, WalBatch};
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use uuid::Uuid;

const OBJECT: Uuid = Uuid::from_u128(7);
const RECORDS: u64 = 300;

/// A tenant, and records of it as they were written.
struct Written {
    tenant: Arc<OpenTenant>,
    records: Vec<Record>,
    wal: Bytes,
    segment: Bytes,
    meta: SegmentMeta,
}

static WRITTEN: LazyLock<Option<Written>> = LazyLock::new(write);

fn write() -> Option<Written> {
    let name = TenantId::parse("a").ok()?;
    let tenant = Arc::new(OpenTenant { name, uid: Uuid::from_u128(9), key: SecretKey::from_bytes([3; 32]) });
    let source = Arc::new(Source::default());
    let record = |n: u64| Record {
        time: Timestamp::from_nanos(i64::try_from(n).unwrap_or_default()),
        observed: Timestamp::from_nanos(0),
        position: Position(n),
        source: Arc::clone(&source),
        level: None,
        stream: None,
        identity: Default::default(),
        message: format!("attempt {n} of task t{} ended after {} ms", n % 7, n * n).into(),
        attributes: Attributes::default(),
    };
    let records: Vec<Record> = (0..RECORDS).map(record).collect();
    let payload = Bytes::from(codec::compress(&codec::encode(&records), 1).ok()?);
    let wal = wal::write(OBJECT, &[WalBatch { tenant: Arc::clone(&tenant), payload }]).ok()?;
    let rows = Rows::try_from(records.as_slice()).ok()?;
    let built = segment::build(&tenant, OBJECT, &[(CommitId(1), &rows)]).ok()?;
    let commits = (CommitId(0), CommitId(1));
    let meta = built.meta(&tenant.name, OBJECT, Uuid::nil(), commits, Timestamp::from_nanos(0));
    Some(Written { tenant, records, wal, segment: built.bytes, meta })
}

fn changed(whole: &Bytes, changes: &[u8]) -> Bytes {
    let mut bytes = whole.to_vec();
    let (edits, rest) = changes.as_chunks::<5>();
    for [a, b, c, d, to] in edits {
        let at = u32::from_le_bytes([*a, *b, *c, *d]) as usize % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= to;
        }
    }
    if let [low, high, ..] = rest {
        bytes.truncate(usize::from(u16::from_le_bytes([*low, *high])) * bytes.len() / 0x1_0000);
    }
    bytes.into()
}

/// A changed write-ahead object.
pub(crate) fn write_ahead(changes: &[u8]) {
    let Some(written) = &*WRITTEN else { return };
    let bytes = changed(&written.wal, changes);
    let is_whole = bytes == written.wal;
    let opened = wal::read(OBJECT, bytes).ok().and_then(|batches| {
        let [batch] = <[_; 1]>::try_from(batches).ok()?;
        let plain = codec::decompress(&batch.open(&written.tenant).ok()?, 1 << 20).ok()?;
        Some(codec::decode(&plain).ok()?.to_records())
    });
    assert!(opened.as_ref().is_none_or(|records| *records == written.records));
    assert!(opened.is_some() || !is_whole);
}

fn all_of(tenant: &TenantId) -> Scan {
    Scan {
        tenant: tenant.clone(),
        range: TimeRange::ALL,
        filter: Filter::All,
        committed_after: None,
        committed_through: None,
        want: Want::Records { order: Order::Asc, limit: 1_000, after: None },
    }
}

/// A changed segment, searched for all its records.
pub(crate) fn segment(changes: &[u8]) {
    let Some(written) = &*WRITTEN else { return };
    let bytes = changed(&written.segment, changes);
    let is_whole = bytes == written.segment;
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
    let read = runtime.block_on(async {
        let objects = Arc::new(InMemory::new());
        objects.put(&layout::segment(written.tenant.uid, OBJECT), bytes.into()).await.ok()?;
        let cache = PageCache::new(1 << 20);
        let opened = Segment::open(objects, Arc::clone(&written.tenant), written.meta.clone(), cache).await;
        let scan = all_of(&written.tenant.name);
        let matcher = Arc::new(Matcher::new(&scan.filter).ok()?);
        let collector = Collector::new(&scan);
        let found = opened.ok()?.scan(&scan, &matcher, collector, &mut ScanStats::default()).await;
        if let Answer::Records(records) = found.ok()?.finish() { Some(records) } else { None }
    });
    assert!(read.as_ref().is_none_or(|records| *records == written.records), "{read:?}");
    assert!(read.is_some() || !is_whole);
}

/// An entry of an agent's spool, as it is behind its seal.
pub(crate) fn spool_entry(bytes: &[u8]) {
    heliograph_agent::fuzz::spool_entry(bytes);
}

/// The checkpoint of an agent's spool, likewise.
pub(crate) fn checkpoint(bytes: &[u8]) {
    heliograph_agent::fuzz::checkpoint(bytes);
}
