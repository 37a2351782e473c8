//! Segments that take the place of others, and those that go.
//!
//! One order of locks: a segment that is new, then those that it replaces, by id; who retires takes them in the
//! same order. Who gives objects up keeps all others from changing segments meanwhile: see [`discard`].

use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;
use sqlx::postgres::PgRow;

use super::rows::{count, get, tenant, tenant_row, time};
use super::{Postgres, Write, segments, shredding};
use crate::catalog::{Candidate, Reason, Retired, SegmentMeta, damaged};
use crate::error::{Error, Result};
use crate::layout::ObjectId;

pub(super) async fn merge_candidates(catalog: &Postgres, of: &TenantId) -> Result<Vec<Candidate>> {
    let rows = sqlx::query(
        "SELECT s.id, s.bytes, s.index_offset, s.records, s.raw_bytes, s.first, s.last, s.indexer,
             s.commits_after, s.commits_through, s.created, s.merges
         FROM tenants t JOIN segments s ON s.tenant = t.id
         WHERE t.name = $1 ORDER BY s.indexer, s.commits_after, s.id",
    )
    .bind(of.as_str())
    .fetch_all(&catalog.pool)
    .await?;
    let read = |row| Ok(Candidate { meta: segments::read(row, of.clone())?, merges: merges(row)? });
    rows.iter().map(read).collect()
}

fn merges(row: &PgRow) -> Result<u32> {
    Ok(u32::try_from(count(row, "merges")?).unwrap_or(u32::MAX))
}

pub(super) async fn replace(
    catalog: &Postgres,
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
    sqlx::query("UPDATE segments SET merges = $2 WHERE id = $1")
        .bind(by.id)
        .bind(i64::from(merges))
        .execute(&mut *write)
        .await?;
    Ok(write.commit().await?)
}

/// Locks the merged segments and checks that they are all there and together are what the new one says; how often
/// their records were rewritten. Who comes second waits here, and then does not find what the first has taken.
async fn check_sum(write: &mut Write, tenant: i64, merged: &[ObjectId], by: &SegmentMeta) -> Result<u32> {
    let rows = sqlx::query(
        "SELECT id, records, commits_after, commits_through, merges FROM segments
         WHERE id = ANY($1) AND tenant = $2 AND indexer = $3 ORDER BY id FOR UPDATE",
    )
    .bind(merged)
    .bind(tenant)
    .bind(by.indexer)
    .fetch_all(&mut **write)
    .await?;
    let (mut there, mut records, mut most_merges) = (Vec::new(), 0_u64, 0);
    let (mut after, mut through) = (i64::MAX, i64::MIN);
    for row in &rows {
        there.push(get(row, "id")?);
        records = records.saturating_add(count(row, "records")?);
        most_merges = merges(row)?.max(most_merges);
        after = get::<i64>(row, "commits_after")?.min(after);
        through = get::<i64>(row, "commits_through")?.max(through);
    }
    if let Some(segment) = merged.iter().copied().find(|id| !there.contains(id)) {
        return Err(Error::Replaced { segment });
    }
    if (records, after, through) != (by.records, by.commits_after.0, by.commits_through.0) {
        return Err(Error::wrong_sum(by, records, (after, through)));
    }
    Ok(most_merges)
}

/// Moves segments to the retired ones; those that were there.
pub(super) async fn take_out(
    write: &mut Write,
    tenant: i64,
    ids: &[ObjectId],
    reason: Reason,
    at: Timestamp,
) -> Result<Vec<ObjectId>> {
    let gone = sqlx::query_scalar(
        "WITH gone AS (
             DELETE FROM segments WHERE id IN
                 (SELECT id FROM segments WHERE id = ANY($1) AND tenant = $2 ORDER BY id FOR UPDATE)
             RETURNING id, tenant, bytes
         )
         INSERT INTO retired_segments (id, tenant, bytes, reason, at)
         SELECT id, tenant, bytes, $3, $4 FROM gone RETURNING id",
    )
    .bind(ids)
    .bind(tenant)
    .bind(reason.as_str())
    .bind(at.as_nanos())
    .fetch_all(&mut **write)
    .await?;
    Ok(gone)
}

pub(super) async fn retire(
    catalog: &Postgres,
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

pub(super) async fn retired(catalog: &Postgres, limit: u32) -> Result<Vec<Retired>> {
    let rows = sqlx::query(
        "SELECT r.id, r.bytes, r.reason, r.at, t.name AS tenant_name, t.uid AS tenant_uid
         FROM retired_segments r JOIN tenants t ON t.id = r.tenant ORDER BY r.id LIMIT $1",
    )
    .bind(i64::from(limit))
    .fetch_all(&catalog.pool)
    .await?;
    let read = |row| {
        let reason: &str = get(row, "reason")?;
        let unknown = || damaged("reason", format!("{reason:?} is no reason"));
        Ok(Retired {
            id: get(row, "id")?,
            tenant: tenant(row, "tenant_name")?,
            uid: get(row, "tenant_uid")?,
            bytes: count(row, "bytes")?,
            reason: Reason::parse(reason).ok_or_else(unknown)?,
            at: time(row, "at")?,
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn forget(catalog: &Postgres, ids: &[ObjectId]) -> Result<()> {
    sqlx::query(
        "DELETE FROM retired_segments WHERE id IN
             (SELECT id FROM retired_segments WHERE id = ANY($1) ORDER BY id FOR UPDATE)",
    )
    .bind(ids)
    .execute(&catalog.pool)
    .await?;
    Ok(())
}

/// Under a lock that writers of segments wait for, and that waits for them: a publication that is under way is
/// seen, and one that comes later sees what is given up here ([`refuse_discarded`] is a statement of its own after
/// the one that adds the segment, and so of a later moment).
pub(super) async fn discard(catalog: &Postgres, ids: &[ObjectId], at: Timestamp) -> Result<Vec<ObjectId>> {
    let mut write = catalog.write().await?;
    sqlx::query("LOCK TABLE segments IN SHARE MODE").execute(&mut *write).await?;
    sqlx::query(
        "INSERT INTO discarded_segments (id, at)
         SELECT n.id, $2 FROM unnest($1::uuid[]) AS n (id)
         WHERE NOT EXISTS (SELECT 1 FROM segments s WHERE s.id = n.id)
             AND NOT EXISTS (SELECT 1 FROM retired_segments r WHERE r.id = n.id)
         ORDER BY n.id ON CONFLICT (id) DO NOTHING",
    )
    .bind(ids)
    .bind(at.as_nanos())
    .execute(&mut *write)
    .await?;
    let given_up = sqlx::query_scalar("SELECT id FROM discarded_segments WHERE id = ANY($1)")
        .bind(ids)
        .fetch_all(&mut *write)
        .await?;
    write.commit().await?;
    Ok(given_up)
}

/// [`Error::Discarded`] if an object was given up: then it is deleted, or will be.
pub(super) async fn refuse_discarded(write: &mut Write, object: ObjectId) -> Result<()> {
    let given_up = sqlx::query("SELECT 1 FROM discarded_segments WHERE id = $1")
        .bind(object)
        .fetch_optional(&mut **write)
        .await?;
    if given_up.is_some() { Err(Error::Discarded { object }) } else { Ok(()) }
}
