//! One tenant with all its records, also those that are not sealed yet.

use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE64;
use heliograph_model::codec;
use heliograph_model::rows::Rows;
use heliograph_model::scan::CommitId;
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::Timestamp;
use object_store::ObjectStoreExt as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Kind;
use super::folder::{Reader, Writer};
use crate::catalog::{Bound, Cell, Dump, Lease, SegmentMeta, Tenant, TenantLimits};
use crate::error::{Error, Result};
use crate::keyring::KeyRing;
use crate::layout::{self, ObjectId};
use crate::retention::OwnKeep;
use crate::rotation;
use crate::tenants::OpenTenant;
use crate::{Store, objects, segment, wal};

const TENANT: &str = "tenant.json";
/// How often it begins again because what the catalog named was sealed or merged meanwhile.
const BEGINNINGS_MAX: usize = 10;
/// Largest batch after decompression: beyond what any indexer takes.
const EXPANDED_BYTES_MAX: usize = 1 << 30;

/// What a backup or a restore of a tenant holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantSummary {
    /// Segments.
    pub segments: usize,
    /// Records in them.
    pub records: u64,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    name: TenantId,
    workspace: Workspace,
    uid: Uuid,
    /// In base64.
    wrapped_key: String,
    created: Timestamp,
    /// In bytes; 0 stands for no bound.
    limits: [Option<u64>; 4],
    /// Age in nanoseconds and bytes that it keeps; none as for all, 0 without end.
    #[serde(default)]
    retention: [Option<u64>; 2],
    segments: Vec<KeptSegment>,
}

#[derive(Clone, Serialize, Deserialize)]
struct KeptSegment {
    id: ObjectId,
    bytes: u64,
    index_offset: u64,
    records: u64,
    raw_bytes: u64,
    first: Timestamp,
    last: Timestamp,
    created: Timestamp,
}

fn file_of(segment: ObjectId) -> String {
    format!("segments/{}", segment.simple())
}

/// Copies a tenant as it is at one moment.
pub async fn back_up_tenant(
    store: &Store,
    name: &TenantId,
    folder: &Path,
    now: Timestamp,
) -> Result<TenantSummary> {
    let open = store.tenants.get(name).await?;
    let missing = || Error::Missing { what: "tenant", name: name.to_string() };
    let mut writer = Writer::new(folder)?;
    let mut beginnings = 0;
    let (tenant, segments) = loop {
        beginnings += 1;
        let tenant = store.catalog.tenant(name).await?.ok_or_else(missing)?;
        let moment = store.catalog.dump().await?;
        match copy(store, &open, &moment, &mut writer, now).await {
            Ok(segments) => break (tenant, segments),
            Err(error) if error.is_gone() && beginnings < BEGINNINGS_MAX => {}
            Err(error) => return Err(error),
        }
    };
    writer.keep(|file| segments.iter().any(|segment| file == file_of(segment.id)))?;
    let limits = store.catalog.usage_of(name).await?.ok_or_else(missing)?.limits;
    let limits = [limits.ingest_per_second, limits.ingest_burst, limits.hot, limits.stored];
    let all = store.catalog.retentions().await?;
    let own = all.into_iter().find(|(of, _)| of == name).map(|(_, own)| own).unwrap_or_default();
    let summary = summary(&segments);
    let kept = Kept {
        name: tenant.name,
        workspace: tenant.workspace,
        uid: tenant.uid,
        wrapped_key: BASE64.encode(&tenant.wrapped_key),
        created: tenant.created,
        limits: limits.map(|limit| limit.map(Bound::bytes)),
        retention: own.numbers(),
        segments,
    };
    let json = serde_json::to_vec(&kept).map_err(|e| malformed(folder, &e))?;
    writer.put(TENANT, &json)?;
    writer.finish(Kind::Tenant, now)?;
    Ok(summary)
}

fn summary(segments: &[KeptSegment]) -> TenantSummary {
    TenantSummary { segments: segments.len(), records: segments.iter().map(|s| s.records).sum() }
}

/// The tenant's segments at a moment, with one of what was not sealed then.
async fn copy(
    store: &Store,
    tenant: &Arc<OpenTenant>,
    moment: &Dump,
    writer: &mut Writer,
    now: Timestamp,
) -> Result<Vec<KeptSegment>> {
    let uid = Cell::Bytes(tenant.uid.as_bytes().to_vec());
    let row = moment.columns("tenants", ["id", "uid"]).into_iter().find(|[_, of]| *of == uid);
    let Some([row, _]) = row else {
        return Err(Error::Missing { what: "tenant", name: tenant.name.to_string() });
    };
    let unsealed = unsealed(store, tenant, moment, &row).await?;
    let mut kept = Vec::new();
    let columns =
        ["tenant", "id", "bytes", "index_offset", "records", "raw_bytes", "first", "last", "created"];
    for [of, id, rest @ ..] in moment.columns("segments", columns) {
        if of != row {
            continue;
        }
        let [bytes, index_offset, records, raw_bytes, first, last, created] = rest.map(|cell| cell.integer());
        let segment = KeptSegment {
            id: id.uuid(),
            bytes: bytes.cast_unsigned(),
            index_offset: index_offset.cast_unsigned(),
            records: records.cast_unsigned(),
            raw_bytes: raw_bytes.cast_unsigned(),
            first: Timestamp::from_nanos(first),
            last: Timestamp::from_nanos(last),
            created: Timestamp::from_nanos(created),
        };
        let file = file_of(segment.id);
        if !writer.has(&file) {
            let found = store.objects.get(&layout::segment(tenant.uid, segment.id)).await;
            let object = found.map_err(Error::Objects)?.bytes().await.map_err(Error::Objects)?;
            if object.len() as u64 != segment.bytes {
                let reason = format!("it has {} bytes, the catalog says {}", object.len(), segment.bytes);
                return Err(Error::Corrupt { object: format!("segment {}", segment.id.simple()), reason });
            }
            writer.put(&file, &object)?;
        }
        kept.push(segment);
    }
    if !unsealed.is_empty() {
        kept.push(seal(tenant, unsealed, writer, now).await?);
    }
    Ok(kept)
}

/// The records in write-ahead objects that are in no segment.
async fn unsealed(
    store: &Store,
    tenant: &OpenTenant,
    moment: &Dump,
    row: &Cell,
) -> Result<Vec<(CommitId, Rows)>> {
    let marks = moment.columns("seal_marks", ["indexer", "tenant", "through"]);
    let through = |indexer: &Cell| {
        let mark = marks.iter().find(|[of, whose, _]| of == indexer && whose == row);
        mark.map_or(0, |[_, _, through]| through.integer())
    };
    let mut found = Vec::new();
    for [commit, indexer, object] in moment.columns("commits", ["id", "indexer", "object"]) {
        if commit.integer() <= through(&indexer) {
            continue;
        }
        let object = object.uuid();
        let bytes = store.objects.get(&layout::wal(indexer.uuid(), object)).await.map_err(Error::Objects)?;
        let bytes = bytes.bytes().await.map_err(Error::Objects)?;
        for batch in wal::read(object, bytes)?.into_iter().filter(|b| b.tenant_uid == tenant.uid) {
            let plain = codec::decompress(&batch.open(tenant)?, EXPANDED_BYTES_MAX)?;
            let rows = codec::decode(&plain)?;
            if !rows.is_empty() {
                found.push((CommitId(commit.integer()), rows));
            }
        }
    }
    Ok(found)
}

async fn seal(
    tenant: &Arc<OpenTenant>,
    parts: Vec<(CommitId, Rows)>,
    writer: &mut Writer,
    now: Timestamp,
) -> Result<KeptSegment> {
    let id = layout::new_object_id();
    let of = Arc::clone(tenant);
    let built = tokio::task::spawn_blocking(move || {
        let parts: Vec<_> = parts.iter().map(|(commit, rows)| (*commit, rows)).collect();
        segment::build(&of, id, &parts)
    });
    let built = built.await.map_err(|e| Error::File { path: file_of(id), source: e.into() })??;
    writer.put(&file_of(id), &built.bytes)?;
    Ok(KeptSegment {
        id,
        bytes: built.bytes.len() as u64,
        index_offset: built.index_offset,
        records: built.records,
        raw_bytes: built.raw_bytes,
        first: built.first,
        last: built.last,
        created: now,
    })
}

/// Brings a tenant back, under its name or another. `source` is the key ring of the place that it comes from, where
/// that is another.
///
/// A tenant that was erased here is [`Error::Erased`]: a backup is no way around that. A restore that broke off may be
/// made again. [`Error::Exists`] if the name, or the tenant under another name, is
/// there already with anything that is not of this backup.
pub async fn restore_tenant(
    store: &Store,
    source: Option<&KeyRing>,
    name: Option<&TenantId>,
    folder: &Path,
) -> Result<TenantSummary> {
    let reader = Reader::open(folder)?;
    reader.check(Kind::Tenant)?;
    let kept: Kept = serde_json::from_slice(&reader.get(TENANT)?).map_err(|e| malformed(folder, &e))?;
    let name = name.unwrap_or(&kept.name);
    let wrapped = BASE64.decode(kept.wrapped_key.as_bytes()).map_err(|e| malformed(folder, &e))?;
    let key = source.unwrap_or(&store.keys).unwrap(kept.uid, &wrapped)?;
    if store.catalog.erased_tenants().await?.iter().any(|erased| erased.uid == kept.uid) {
        return Err(Error::Erased { tenant: kept.name });
    }
    let there = store.catalog.tenants().await?.into_iter().find(|t| t.uid == kept.uid || t.name == *name);
    if let Some(there) = &there
        && !is_unfinished(store, there, name, &kept).await?
    {
        return Err(Error::Exists { what: "tenant", name: there.name.to_string() });
    }
    for segment in &kept.segments {
        let bytes = reader.get(&file_of(segment.id))?.into();
        let path = layout::segment(kept.uid, segment.id);
        objects::create(&*store.objects, &path, bytes).await.map_err(Error::Objects)?;
    }
    if there.is_none() {
        let wrapped_key = rotation::wrap(&*store.catalog, &store.keys, kept.uid, &key).await?;
        let tenant = Tenant {
            name: name.clone(),
            workspace: kept.workspace.clone(),
            uid: kept.uid,
            wrapped_key,
            created: kept.created,
        };
        store.catalog.create_tenant(&tenant).await?;
    }
    let [ingest_per_second, ingest_burst, hot, stored] = kept.limits.map(|limit| limit.map(Bound::new));
    let limits = TenantLimits { ingest_per_second, ingest_burst, hot, stored };
    store.catalog.set_limits(name, &limits).await?;
    store.catalog.set_retention(name, &OwnKeep::of_numbers(kept.retention)).await?;
    publish(store, name, &kept).await?;
    Ok(summary(&kept.segments))
}

/// Whether a tenant is what a restore of this backup leaves that broke off.
async fn is_unfinished(store: &Store, there: &Tenant, name: &TenantId, kept: &Kept) -> Result<bool> {
    if there.uid != kept.uid || there.name != *name {
        return Ok(false);
    }
    let found = store.catalog.segments(name, &heliograph_model::time::TimeRange::ALL).await?;
    let is_kept = |found: &SegmentMeta| kept.segments.iter().any(|segment| segment.id == found.id);
    Ok(found.len() < kept.segments.len() && found.iter().all(is_kept))
}

/// Makes the segments searchable, as those of an indexer that never had others: nobody has anything hot of it. Its
/// commits are older than any that is made here: an erasure is about what came before it.
async fn publish(store: &Store, name: &TenantId, kept: &Kept) -> Result<()> {
    let indexer = Uuid::new_v4();
    let before_all = -i64::try_from(kept.segments.len()).unwrap_or(i64::MAX);
    for (commit, segment) in (before_all..).zip(&kept.segments) {
        let meta = SegmentMeta {
            id: segment.id,
            tenant: name.clone(),
            bytes: segment.bytes,
            index_offset: segment.index_offset,
            records: segment.records,
            raw_bytes: segment.raw_bytes,
            first: segment.first,
            last: segment.last,
            indexer,
            commits_after: CommitId(commit),
            commits_through: CommitId(commit + 1),
            created: segment.created,
        };
        store.catalog.publish(&Lease::embedded(indexer), &meta, &[]).await?;
    }
    Ok(())
}

fn malformed(folder: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Corrupt { object: folder.join(TENANT).display().to_string(), reason: error.to_string() }
}
