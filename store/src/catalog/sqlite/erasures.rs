//! Requests to remove records.

use heliograph_model::time::{TimeRange, Timestamp};
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::rows::{commit_id, count, get, hash, tenant, tenant_row, time, time_or_none, uuid};
use super::{Sqlite, Write, segments, shredding, upkeep};
use crate::catalog::erasures::filter_of;
use crate::catalog::{
    ErasedAs, ErasedObject, Erasure, ErasureKind, NewErasure, PendingErasure, Reason, Rewrite, damaged,
    stored,
};
use crate::error::{Error, Result};

const SELECT: &str = "SELECT e.*, CASE WHEN e.done IS NULL
        THEN (SELECT COUNT(*) FROM commits c WHERE c.id <= e.through) ELSE 0 END AS waiting
    FROM erasures e";

pub(super) async fn request(catalog: &Sqlite, new: &NewErasure) -> Result<Erasure> {
    // Writers come one after the other: what was drawn is recorded.
    let mut write = catalog.write().await?;
    tenant_row(&mut write, &new.tenant).await?;
    sqlx::query(
        "INSERT INTO erasures (id, tenant, uid, query, filter, query_hash, range_start, range_end, through,
             written_ahead, requested_by, requested)
         SELECT ?1, t.name, t.uid, ?3, ?4, ?5, ?6, ?7,
             COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'commits'), 0),
             (SELECT COUNT(*) FROM commits), ?8, ?9
         FROM tenants t WHERE t.name = ?2 ON CONFLICT (id) DO NOTHING",
    )
    .bind(new.id.as_bytes().as_slice())
    .bind(new.tenant.as_str())
    .bind(&new.query)
    .bind(new.filter_json()?)
    .bind(new.query_hash().as_slice())
    .bind(new.range.start.as_nanos())
    .bind(new.range.end.as_nanos())
    .bind(&new.by)
    .bind(new.at.as_nanos())
    .execute(&mut *write)
    .await?;
    let made = find(&mut write, new.id).await?.ok_or(Error::Catalog(sqlx::Error::RowNotFound))?;
    write.commit().await?;
    Ok(made)
}

/// The request of an id, if there is one.
pub(super) async fn find(write: &mut Write, id: Uuid) -> Result<Option<Erasure>> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} WHERE e.id = ?1")))
        .bind(id.as_bytes().as_slice())
        .fetch_optional(&mut **write)
        .await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn all(catalog: &Sqlite) -> Result<Vec<Erasure>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} ORDER BY e.requested DESC, e.id")))
        .fetch_all(&catalog.readers)
        .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn pending(catalog: &Sqlite) -> Result<Vec<PendingErasure>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE e.done IS NULL AND e.kind = 'records' ORDER BY e.id"
    )))
    .fetch_all(&catalog.readers)
    .await?;
    let read = |row| {
        Ok(PendingErasure {
            id: uuid(row, "id")?,
            tenant: tenant(row, "tenant")?,
            filter: filter_of(get(row, "filter")?)?,
            range: range(row)?,
            through: commit_id(row, "through")?,
            waiting: count(row, "waiting")?,
            trouble: get(row, "trouble")?,
        })
    };
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<Erasure> {
    Ok(Erasure {
        id: uuid(row, "id")?,
        kind: ErasureKind::named(get(row, "kind")?)?,
        tenant: tenant(row, "tenant")?,
        query: get(row, "query")?,
        query_hash: hash(row, "query_hash")?,
        range: range(row)?,
        through: commit_id(row, "through")?,
        written_ahead: count(row, "written_ahead")?,
        waiting: count(row, "waiting")?,
        by: get(row, "requested_by")?,
        at: time(row, "requested")?,
        trouble: get(row, "trouble")?,
        done: time_or_none(row, "done")?,
    })
}

fn range(row: &SqliteRow) -> Result<TimeRange> {
    Ok(TimeRange { start: time(row, "range_start")?, end: time(row, "range_end")? })
}

pub(super) async fn steps(catalog: &Sqlite) -> Result<u64> {
    let row = sqlx::query(
        "SELECT COUNT(done) + COUNT(CASE WHEN kind = 'tenant' THEN 1 END) AS steps FROM erasures",
    )
    .fetch_one(&catalog.readers)
    .await?;
    count(&row, "steps")
}

pub(super) async fn rewrite(catalog: &Sqlite, rewrite: &Rewrite) -> Result<()> {
    let mut write = catalog.write().await?;
    let tenant = pending_tenant(&mut write, rewrite.erasure).await?;
    if let Some(successor) = noted(&mut write, rewrite).await? {
        // By an earlier try whose answer got lost, or by another process.
        let is_ours = successor == rewrite.by.as_ref().map(|by| by.id);
        return if is_ours { Ok(()) } else { Err(Error::Replaced { segment: rewrite.old }) };
    }
    if let Some(by) = &rewrite.by {
        segments::add(&mut write, tenant, by).await?;
    }
    let old = sqlx::query(
        "SELECT bytes, records, indexer, commits_after, commits_through, merges FROM segments
         WHERE id = ?1 AND tenant = ?2",
    )
    .bind(rewrite.old.as_bytes().as_slice())
    .bind(tenant)
    .fetch_optional(&mut *write)
    .await?;
    let old = old.ok_or(Error::Replaced { segment: rewrite.old })?;
    let commits = (get(&old, "commits_after")?, get(&old, "commits_through")?);
    rewrite.check(count(&old, "records")?, uuid(&old, "indexer")?, commits)?;
    upkeep::take_out(&mut write, tenant, &[rewrite.old], Reason::Erased, rewrite.at).await?;
    if let Some(by) = &rewrite.by {
        sqlx::query("UPDATE segments SET merges = ?2 WHERE id = ?1")
            .bind(by.id.as_bytes().as_slice())
            .bind(get::<i64>(&old, "merges")?)
            .execute(&mut *write)
            .await?;
    }
    let erased = ErasedObject {
        object: rewrite.old,
        what: ErasedAs::Rewritten,
        bytes: count(&old, "bytes")?,
        removed: rewrite.removed,
        successor: rewrite.by.as_ref().map(|by| by.id),
    };
    add_erased(&mut write, rewrite.erasure, &erased).await?;
    Ok(write.commit().await?)
}

async fn pending_tenant(write: &mut Write, erasure: Uuid) -> Result<i64> {
    sqlx::query_scalar(
        "SELECT t.id FROM erasures e JOIN tenants t ON t.uid = e.uid WHERE e.id = ?1 AND e.done IS NULL",
    )
    .bind(erasure.as_bytes().as_slice())
    .fetch_optional(&mut **write)
    .await?
    .ok_or_else(|| Error::Missing { what: "pending erasure", name: erasure.to_string() })
}

/// Whether the segment was rewritten already, and as what.
async fn noted(write: &mut Write, rewrite: &Rewrite) -> Result<Option<Option<Uuid>>> {
    let row = sqlx::query(
        "SELECT successor FROM erased_objects WHERE erasure = ?1 AND object = ?2 AND what = 'rewritten'",
    )
    .bind(rewrite.erasure.as_bytes().as_slice())
    .bind(rewrite.old.as_bytes().as_slice())
    .fetch_optional(&mut **write)
    .await?;
    row.as_ref().map(successor).transpose()
}

fn successor(row: &SqliteRow) -> Result<Option<Uuid>> {
    let bytes: Option<&[u8]> = get(row, "successor")?;
    bytes.map(Uuid::from_slice).transpose().map_err(|e| damaged("successor", e.to_string()))
}

async fn add_erased(write: &mut Write, erasure: Uuid, erased: &ErasedObject) -> Result<()> {
    sqlx::query(
        "INSERT INTO erased_objects (erasure, object, what, bytes, removed, successor)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (erasure, object) DO NOTHING",
    )
    .bind(erasure.as_bytes().as_slice())
    .bind(erased.object.as_bytes().as_slice())
    .bind(erased.what.as_str())
    .bind(stored("size of an object", erased.bytes)?)
    .bind(stored("number of removed records", erased.removed)?)
    .bind(erased.successor.map(|id| id.as_bytes().to_vec()))
    .execute(&mut **write)
    .await?;
    Ok(())
}

pub(super) async fn note(catalog: &Sqlite, erasure: Uuid, objects: &[ErasedObject]) -> Result<()> {
    let mut write = catalog.write().await?;
    for erased in objects {
        add_erased(&mut write, erasure, erased).await?;
    }
    Ok(write.commit().await?)
}

pub(super) async fn erased(catalog: &Sqlite, erasure: Uuid) -> Result<Vec<ErasedObject>> {
    let rows = sqlx::query("SELECT * FROM erased_objects WHERE erasure = ?1 ORDER BY object")
        .bind(erasure.as_bytes().as_slice())
        .fetch_all(&catalog.readers)
        .await?;
    let read = |row| {
        Ok(ErasedObject {
            object: uuid(row, "object")?,
            what: ErasedAs::named(get(row, "what")?)?,
            bytes: count(row, "bytes")?,
            removed: count(row, "removed")?,
            successor: successor(row)?,
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn set_trouble(catalog: &Sqlite, erasure: Uuid, trouble: Option<&str>) -> Result<()> {
    let mut write = catalog.write().await?;
    sqlx::query("UPDATE erasures SET trouble = ?2 WHERE id = ?1 AND done IS NULL")
        .bind(erasure.as_bytes().as_slice())
        .bind(trouble)
        .execute(&mut *write)
        .await?;
    Ok(write.commit().await?)
}

pub(super) async fn finish(catalog: &Sqlite, erasure: Uuid, at: Timestamp) -> Result<()> {
    let mut write = catalog.write().await?;
    sqlx::query(
        "UPDATE erasures SET done = ?2, query = NULL, filter = NULL, trouble = NULL
         WHERE id = ?1 AND done IS NULL",
    )
    .bind(erasure.as_bytes().as_slice())
    .bind(at.as_nanos())
    .execute(&mut *write)
    .await?;
    shredding::finish(&mut write, erasure, at).await?;
    write.commit().await?;
    catalog.wipe().await
}
