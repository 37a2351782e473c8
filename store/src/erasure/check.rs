//! Looks for records in all that lies at rest of a tenant, object by object, without an index or the catalog's word for
//! what is needed.

use futures::TryStreamExt as _;
use heliograph_model::codec;
use heliograph_model::filter::{Filter, Matcher};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::TimeRange;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use super::open;
use crate::Store;
use crate::error::{Error, Result};
use crate::layout;
use crate::wal;

/// A batch that was taken in is looked at, whatever the bound on new ones is now.
const EXPANDED_BYTES_MAX: usize = 1 << 30;

/// What was looked at, and what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Searched segments.
    pub segments: u64,
    /// Objects of the tenant that are not searched: they go, and nobody can tell from them alone what is in them.
    pub other_objects: u64,
    /// Write-ahead objects, of all tenants together.
    pub write_ahead_objects: u64,
    /// Records of the tenant in segments and write-ahead objects; one that is in both counts twice.
    pub records: u64,
    /// Those of them that are meant.
    pub found: u64,
}

/// What is left of erased tenants of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// How often a tenant of this name was erased.
    pub erasures: u64,
    /// Those of them that are not done.
    pub pending: u64,
    /// Objects under their ids.
    pub objects: u64,
    /// Batches of theirs in write-ahead objects, sealed with the keys that are gone.
    pub batches: u64,
    /// Rows of the catalog with their ids, but for the receipts.
    pub rows: u64,
}

/// Looks through all objects, all that is written ahead, and all rows of the catalog for what erased tenants of this name
/// had; [`Error::Missing`] if none was ever erased.
pub async fn check_erased(store: &Store, tenant: &TenantId) -> Result<Left> {
    let mut erased = store.catalog.erased_tenants().await?;
    erased.retain(|of| of.name == *tenant);
    if erased.is_empty() {
        return Err(Error::Missing { what: "erased tenant", name: tenant.to_string() });
    }
    let pending = erased.iter().filter(|of| of.done.is_none()).count() as u64;
    let mut left = Left { erasures: erased.len() as u64, pending, ..Left::default() };
    for of in &erased {
        let mut objects = store.objects.list(Some(&layout::tenant_prefix(of.uid)));
        while objects.try_next().await.map_err(Error::Objects)?.is_some() {
            left.objects += 1;
        }
    }
    let mut written_ahead = store.objects.list(Some(&layout::wal_root()));
    while let Some(object) = written_ahead.try_next().await.map_err(Error::Objects)? {
        let batches = read_wal(store, &object.location).await?;
        let is_theirs = |batch: &&wal::SealedBatch| erased.iter().any(|of| of.uid == batch.tenant_uid);
        left.batches += batches.iter().flatten().filter(is_theirs).count() as u64;
    }
    let rows = store.catalog.dump().await?;
    left.rows = erased.iter().map(|of| rows.rows_with(of.uid, &["erasures"])).sum();
    Ok(left)
}

/// The batches of a write-ahead object, none if it is gone.
async fn read_wal(store: &Store, path: &Path) -> Result<Option<Vec<wal::SealedBatch>>> {
    let Some(id) = layout::wal_object(path) else { return Ok(None) };
    let bytes = match store.objects.get(path).await {
        Ok(found) => found.bytes().await.map_err(Error::Objects)?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(Error::Objects(error)),
    };
    wal::read(id, bytes).map(Some)
}

/// Reads every record of a tenant. What cannot be read is an error: it may hold anything.
pub async fn check(store: &Store, tenant: &TenantId, filter: &Filter) -> Result<Checked> {
    let open_tenant = store.tenants.get(tenant).await?;
    let matcher = Matcher::new(filter)?;
    let mut checked = Checked::default();
    let segments = store.catalog.segments(tenant, &TimeRange::ALL).await?;
    for segment in &segments {
        for part in open(store, segment).await?.read_back().await? {
            checked.found += part.count(|record| matcher.matches(record));
        }
        checked.records += segment.records;
    }
    checked.segments = segments.len() as u64;
    let prefix = layout::segment_prefix(open_tenant.uid);
    let mut objects = store.objects.list(Some(&prefix));
    while let Some(object) = objects.try_next().await.map_err(Error::Objects)? {
        let id = layout::segment_object(&object.location);
        checked.other_objects += u64::from(!segments.iter().any(|segment| Some(segment.id) == id));
    }
    let mut written_ahead = store.objects.list(Some(&layout::wal_root()));
    while let Some(object) = written_ahead.try_next().await.map_err(Error::Objects)? {
        let Some(batches) = read_wal(store, &object.location).await? else { continue };
        checked.write_ahead_objects += 1;
        for batch in batches.into_iter().filter(|batch| batch.tenant_uid == open_tenant.uid) {
            let rows = codec::decode(&codec::decompress(&batch.open(&open_tenant)?, EXPANDED_BYTES_MAX)?)?;
            checked.records += rows.len() as u64;
            checked.found += rows.iter().filter(|record| matcher.matches(record)).count() as u64;
        }
    }
    Ok(checked)
}
