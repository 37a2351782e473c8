//! Segments, and up to which commit each tenant is sealed.

use std::collections::HashMap;

use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::TimeRange;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::rows::{commit_id, count, get, tenant, time};
use super::{Postgres, Write, commits, indexers, shredding, upkeep};
use crate::catalog::{Lease, SegmentMeta, stored};
use crate::error::{Error, Result};
use crate::layout::ObjectId;

pub(super) async fn sealed_through(catalog: &Postgres, indexer: Uuid) -> Result<Vec<(TenantId, CommitId)>> {
    sqlx::query(
        "SELECT t.name, m.through FROM seal_marks m JOIN tenants t ON t.id = m.tenant
         WHERE m.indexer = $1 ORDER BY t.name",
    )
    .bind(indexer)
    .fetch_all(&catalog.pool)
    .await?
    .iter()
    .map(|row| Ok((tenant(row, "name")?, commit_id(row, "through")?)))
    .collect()
}

pub(super) async fn publish(
    catalog: &Postgres,
    lease: &Lease,
    segment: &SegmentMeta,
    released: &[ObjectId],
) -> Result<()> {
    let mut write = catalog.write().await?;
    indexers::hold(&mut write, lease).await?;
    let tenant = shredding::row(&mut write, &segment.tenant).await?;
    if !add(&mut write, tenant, segment).await? {
        // An earlier try whose answer got lost; then it has also moved the mark and released the objects.
        return Ok(());
    }
    if !move_mark(&mut write, tenant, segment).await? {
        let (after, through) = (segment.commits_after.0, segment.commits_through.0);
        let name = format!("{} after {after} through {through}", segment.tenant);
        return Err(Error::Exists { what: "segment of some of the commits", name });
    }
    commits::forget(&mut write, lease.indexer, released).await?;
    Ok(write.commit().await?)
}

/// Adds a segment; whether it was not there yet. [`Error::Discarded`] if its object was given up.
pub(super) async fn add(write: &mut Write, tenant: i64, segment: &SegmentMeta) -> Result<bool> {
    let added = sqlx::query(
        "INSERT INTO segments (id, tenant, bytes, index_offset, records, raw_bytes, first, last, indexer,
             commits_after, commits_through, created)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (id) DO NOTHING",
    )
    .bind(segment.id)
    .bind(tenant)
    .bind(stored("size of a segment", segment.bytes)?)
    .bind(stored("index offset of a segment", segment.index_offset)?)
    .bind(stored("record count of a segment", segment.records)?)
    .bind(stored("raw size of a segment", segment.raw_bytes)?)
    .bind(segment.first.as_nanos())
    .bind(segment.last.as_nanos())
    .bind(segment.indexer)
    .bind(segment.commits_after.0)
    .bind(segment.commits_through.0)
    .bind(segment.created.as_nanos())
    .execute(&mut **write)
    .await?;
    upkeep::refuse_discarded(write, segment.id).await?;
    Ok(added.rows_affected() > 0)
}

/// Moves the mark on, unless records that are sealed already would be in the segment once more.
async fn move_mark(write: &mut Write, tenant: i64, segment: &SegmentMeta) -> Result<bool> {
    let moved = sqlx::query(
        "INSERT INTO seal_marks (indexer, tenant, through) VALUES ($1, $2, $4)
         ON CONFLICT (indexer, tenant) DO UPDATE SET through = excluded.through
             WHERE seal_marks.through <= $3 AND seal_marks.through < $4",
    )
    .bind(segment.indexer)
    .bind(tenant)
    .bind(segment.commits_after.0)
    .bind(segment.commits_through.0)
    .execute(&mut **write)
    .await?;
    Ok(moved.rows_affected() > 0)
}

pub(super) async fn segments(
    catalog: &Postgres,
    tenants: &[TenantId],
    range: &TimeRange,
) -> Result<Vec<SegmentMeta>> {
    let by_name: HashMap<&str, &TenantId> = tenants.iter().map(|tenant| (tenant.as_str(), tenant)).collect();
    let names: Vec<_> = by_name.keys().copied().collect();
    // Columns by name here and below: a program of before a migration goes on reading after it.
    let rows = sqlx::query(
        "SELECT t.name AS tenant_name, s.id, s.bytes, s.index_offset, s.records, s.raw_bytes, s.first, s.last,
             s.indexer, s.commits_after, s.commits_through, s.created
         FROM tenants t JOIN segments s ON s.tenant = t.id
         WHERE t.name = ANY($1) AND s.last >= $2 AND s.first < $3
         ORDER BY s.last DESC, s.id DESC",
    )
    .bind(names)
    .bind(range.start.as_nanos())
    .bind(range.end.as_nanos())
    .fetch_all(&catalog.pool)
    .await?;
    let named = |row| {
        let name: &str = get(row, "tenant_name")?;
        by_name.get(name).copied().cloned().map_or_else(|| tenant(row, "tenant_name"), Ok)
    };
    rows.iter().map(|row| read(row, named(row)?)).collect()
}

pub(super) async fn newest(catalog: &Postgres, limit: u32) -> Result<Vec<SegmentMeta>> {
    let rows = sqlx::query(
        "SELECT t.name AS tenant_name, s.id, s.bytes, s.index_offset, s.records, s.raw_bytes, s.first, s.last,
             s.indexer, s.commits_after, s.commits_through, s.created
         FROM segments s JOIN tenants t ON t.id = s.tenant
         ORDER BY s.last DESC, s.id DESC LIMIT $1",
    )
    .bind(i64::from(limit))
    .fetch_all(&catalog.pool)
    .await?;
    rows.iter().map(|row| read(row, tenant(row, "tenant_name")?)).collect()
}

pub(super) fn read(row: &PgRow, tenant: TenantId) -> Result<SegmentMeta> {
    Ok(SegmentMeta {
        id: get(row, "id")?,
        tenant,
        bytes: count(row, "bytes")?,
        index_offset: count(row, "index_offset")?,
        records: count(row, "records")?,
        raw_bytes: count(row, "raw_bytes")?,
        first: time(row, "first")?,
        last: time(row, "last")?,
        indexer: get(row, "indexer")?,
        commits_after: commit_id(row, "commits_after")?,
        commits_through: commit_id(row, "commits_through")?,
        created: time(row, "created")?,
    })
}
