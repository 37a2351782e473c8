//! Segments that take the place of others, and those that go.

use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;

use super::rows::{count, get, tenant, tenant_row, time, uuid};
use super::{Sqlite, Write, segments, shredding};
use crate::catalog::{Candidate, Reason, Retired, SegmentMeta, damaged};
use crate::error::{Error, Result};
use crate::layout::ObjectId;

pub(super) async fn merge_candidates(catalog: &Sqlite, of: &TenantId) -> Result<Vec<Candidate>> {
    let rows = sqlx::query(
        "SELECT s.* FROM tenants t CROSS JOIN segments s ON s.tenant = t.id
         WHERE t.name = ?1 ORDER BY s.indexer, s.commits_after, s.id",
    )
    .bind(of.as_str())
    .fetch_all(&catalog.readers)
    .await?;
    let read = |row| {
        let merges = u32::try_from(count(row, "merges")?).unwrap_or(u32::MAX);
        Ok(Candidate { meta: segments::read(row, of.clone())?, merges })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn replace(
    catalog: &Sqlite,
    merged: &[ObjectId],
    by: &SegmentMeta,
    at: Timestamp,
) -> Result<()> {
    let mut write = catalog.write().await?;
    let tenant = shredding::row(&mut write, &by.tenant).await?;
    if !segments::add(&mut write, tenant, by).await? {
        // An earlier try whose answer got lost; then it has also retired the others.
        return Ok(());
    }
    let merges = check_sum(&mut write, tenant, merged, by).await?.saturating_add(1);
    take_out(&mut write, tenant, merged, Reason::Merged, at).await?;
    sqlx::query("UPDATE segments SET merges = ?2 WHERE id = ?1")
        .bind(by.id.as_bytes().as_slice())
        .bind(i64::from(merges))
        .execute(&mut *write)
        .await?;
    Ok(write.commit().await?)
}

/// Checks that the merged segments are all there and together are what the new one says; how often their records
/// were rewritten.
async fn check_sum(write: &mut Write, tenant: i64, merged: &[ObjectId], by: &SegmentMeta) -> Result<u32> {
    let rows = sqlx::query(
        "SELECT id, records, commits_after, commits_through, merges FROM segments
         WHERE id IN (SELECT unhex(value) FROM json_each(?1)) AND tenant = ?2 AND indexer = ?3",
    )
    .bind(names(merged))
    .bind(tenant)
    .bind(by.indexer.as_bytes().as_slice())
    .fetch_all(&mut **write)
    .await?;
    let (mut there, mut records, mut merges) = (Vec::new(), 0_u64, 0);
    let (mut after, mut through) = (i64::MAX, i64::MIN);
    for row in &rows {
        there.push(uuid(row, "id")?);
        records = records.saturating_add(count(row, "records")?);
        merges = u32::try_from(count(row, "merges")?).unwrap_or(u32::MAX).max(merges);
        after = get::<i64>(row, "commits_after")?.min(after);
        through = get::<i64>(row, "commits_through")?.max(through);
    }
    if let Some(segment) = merged.iter().copied().find(|id| !there.contains(id)) {
        return Err(Error::Replaced { segment });
    }
    if (records, after, through) != (by.records, by.commits_after.0, by.commits_through.0) {
        return Err(Error::wrong_sum(by, records, (after, through)));
    }
    Ok(merges)
}

/// Moves segments to the retired ones; those that were there.
pub(super) async fn take_out(
    write: &mut Write,
    tenant: i64,
    ids: &[ObjectId],
    reason: Reason,
    at: Timestamp,
) -> Result<Vec<ObjectId>> {
    let names = names(ids);
    sqlx::query(
        "INSERT INTO retired_segments (id, tenant, bytes, reason, at)
         SELECT id, tenant, bytes, ?3, ?4 FROM segments
         WHERE id IN (SELECT unhex(value) FROM json_each(?1)) AND tenant = ?2",
    )
    .bind(&names)
    .bind(tenant)
    .bind(reason.as_str())
    .bind(at.as_nanos())
    .execute(&mut **write)
    .await?;
    let gone = sqlx::query(
        "DELETE FROM segments WHERE id IN (SELECT unhex(value) FROM json_each(?1)) AND tenant = ?2 RETURNING id",
    )
    .bind(&names)
    .bind(tenant)
    .fetch_all(&mut **write)
    .await?;
    gone.iter().map(|row| uuid(row, "id")).collect()
}

pub(super) async fn retire(
    catalog: &Sqlite,
    of: &TenantId,
    ids: &[ObjectId],
    reason: Reason,
    at: Timestamp,
) -> Result<Vec<ObjectId>> {
    let mut write = catalog.write().await?;
    let tenant = tenant_row(&mut write, of).await?;
    let gone = take_out(&mut write, tenant, ids, reason, at).await?;
    write.commit().await?;
    Ok(gone)
}

pub(super) async fn retired(catalog: &Sqlite, limit: u32) -> Result<Vec<Retired>> {
    let rows = sqlx::query(
        "SELECT r.*, t.name AS tenant_name, t.uid AS tenant_uid FROM retired_segments r JOIN tenants t ON t.id = r.tenant
         ORDER BY r.id LIMIT ?1",
    )
    .bind(limit)
    .fetch_all(&catalog.readers)
    .await?;
    let read = |row| {
        let reason: &str = get(row, "reason")?;
        let unknown = || damaged("reason", format!("{reason:?} is no reason"));
        Ok(Retired {
            id: uuid(row, "id")?,
            tenant: tenant(row, "tenant_name")?,
            uid: uuid(row, "tenant_uid")?,
            bytes: count(row, "bytes")?,
            reason: Reason::parse(reason).ok_or_else(unknown)?,
            at: time(row, "at")?,
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn forget(catalog: &Sqlite, ids: &[ObjectId]) -> Result<()> {
    let mut write = catalog.write().await?;
    sqlx::query("DELETE FROM retired_segments WHERE id IN (SELECT unhex(value) FROM json_each(?1))")
        .bind(names(ids))
        .execute(&mut *write)
        .await?;
    Ok(write.commit().await?)
}

pub(super) async fn discard(catalog: &Sqlite, ids: &[ObjectId], at: Timestamp) -> Result<Vec<ObjectId>> {
    let mut write = catalog.write().await?;
    let names = names(ids);
    sqlx::query(
        "INSERT INTO discarded_segments (id, at)
         SELECT unhex(value), ?2 FROM json_each(?1)
         WHERE NOT EXISTS (SELECT 1 FROM segments WHERE id = unhex(value))
             AND NOT EXISTS (SELECT 1 FROM retired_segments WHERE id = unhex(value))
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(&names)
    .bind(at.as_nanos())
    .execute(&mut *write)
    .await?;
    let given_up =
        sqlx::query("SELECT id FROM discarded_segments WHERE id IN (SELECT unhex(value) FROM json_each(?1))")
            .bind(&names)
            .fetch_all(&mut *write)
            .await?;
    let given_up = given_up.iter().map(|row| uuid(row, "id")).collect::<Result<_>>()?;
    write.commit().await?;
    Ok(given_up)
}

/// [`Error::Discarded`] if an object was given up: then it is deleted, or will be.
pub(super) async fn refuse_discarded(write: &mut Write, object: ObjectId) -> Result<()> {
    let given_up = sqlx::query("SELECT 1 FROM discarded_segments WHERE id = ?1")
        .bind(object.as_bytes().as_slice())
        .fetch_optional(&mut **write)
        .await?;
    if given_up.is_some() { Err(Error::Discarded { object }) } else { Ok(()) }
}

/// Names as a list of JSON.
fn names(ids: &[ObjectId]) -> String {
    let quoted: Vec<String> = ids.iter().map(|id| format!("\"{}\"", id.simple())).collect();
    format!("[{}]", quoted.join(","))
}
