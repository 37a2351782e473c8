//! Requests to remove records.

use heliograph_model::time::{TimeRange, Timestamp};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::rows::{commit_id, count, get, hash, storable, tenant, tenant_row, time, time_or_none};
use super::{Postgres, Write, segments, shredding, upkeep};
use crate::catalog::erasures::filter_of;
use crate::catalog::{
    ErasedAs, ErasedObject, Erasure, ErasureKind, NewErasure, PendingErasure, Reason, Rewrite, stored,
};
use crate::error::{Error, Result};

const SELECT: &str = "SELECT e.*, CASE WHEN e.done IS NULL
        THEN (SELECT COUNT(*) FROM commits c WHERE c.id <= e.through) ELSE 0 END AS waiting
    FROM erasures e";

pub(super) async fn request(catalog: &Postgres, new: &NewErasure) -> Result<Erasure> {
    storable("query of an erasure", &new.query)?;
    storable("who asks for an erasure", &new.by)?;
    let mut write = catalog.write().await?;
    // Waits for those who draw an ordinal, and lets no more begin: what was drawn is recorded or never will be.
    sqlx::query("LOCK TABLE commits IN SHARE MODE").execute(&mut *write).await?;
    tenant_row(&mut write, &new.tenant).await?;
    sqlx::query(
        "INSERT INTO erasures (id, tenant, uid, query, filter, query_hash, range_start, range_end, through,
             written_ahead, requested_by, requested)
         SELECT $1, t.name, t.uid, $3, $4, $5, $6, $7,
             (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM commits_id_seq),
             (SELECT COUNT(*) FROM commits), $8, $9
         FROM tenants t WHERE t.name = $2 ON CONFLICT (id) DO NOTHING",
    )
    .bind(new.id)
    .bind(new.tenant.as_str())
    .bind(&new.query)
    .bind(new.filter_json()?)
    .bind(new.query_hash().to_vec())
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
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} WHERE e.id = $1")))
        .bind(id)
        .fetch_optional(&mut **write)
        .await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn all(catalog: &Postgres) -> Result<Vec<Erasure>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} ORDER BY e.requested DESC, e.id")))
        .fetch_all(&catalog.pool)
        .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn pending(catalog: &Postgres) -> Result<Vec<PendingErasure>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{SELECT} WHERE e.done IS NULL AND e.kind = 'records' ORDER BY e.id"
    )))
    .fetch_all(&catalog.pool)
    .await?;
    let read = |row| {
        Ok(PendingErasure {
            id: get(row, "id")?,
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

fn read(row: &PgRow) -> Result<Erasure> {
    Ok(Erasure {
        id: get(row, "id")?,
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

fn range(row: &PgRow) -> Result<TimeRange> {
    Ok(TimeRange { start: time(row, "range_start")?, end: time(row, "range_end")? })
}

pub(super) async fn steps(catalog: &Postgres) -> Result<u64> {
    let row = sqlx::query(
        "SELECT COUNT(done) + COUNT(CASE WHEN kind = 'tenant' THEN 1 END) AS steps FROM erasures",
    )
    .fetch_one(&catalog.pool)
    .await?;
    count(&row, "steps")
}

pub(super) async fn rewrite(catalog: &Postgres, rewrite: &Rewrite) -> Result<()> {
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
         WHERE id = $1 AND tenant = $2 FOR UPDATE",
    )
    .bind(rewrite.old)
    .bind(tenant)
    .fetch_optional(&mut *write)
    .await?;
    let old = old.ok_or(Error::Replaced { segment: rewrite.old })?;
    let commits = (get(&old, "commits_after")?, get(&old, "commits_through")?);
    rewrite.check(count(&old, "records")?, get(&old, "indexer")?, commits)?;
    upkeep::take_out(&mut write, tenant, &[rewrite.old], Reason::Erased, rewrite.at).await?;
    if let Some(by) = &rewrite.by {
        sqlx::query("UPDATE segments SET merges = $2 WHERE id = $1")
            .bind(by.id)
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
        "SELECT t.id FROM erasures e JOIN tenants t ON t.uid = e.uid WHERE e.id = $1 AND e.done IS NULL",
    )
    .bind(erasure)
    .fetch_optional(&mut **write)
    .await?
    .ok_or_else(|| Error::Missing { what: "pending erasure", name: erasure.to_string() })
}

/// Whether the segment was rewritten already, and as what.
async fn noted(write: &mut Write, rewrite: &Rewrite) -> Result<Option<Option<Uuid>>> {
    let successor = sqlx::query_scalar(
        "SELECT successor FROM erased_objects WHERE erasure = $1 AND object = $2 AND what = 'rewritten'",
    )
    .bind(rewrite.erasure)
    .bind(rewrite.old)
    .fetch_optional(&mut **write)
    .await?;
    Ok(successor)
}

async fn add_erased(write: &mut Write, erasure: Uuid, erased: &ErasedObject) -> Result<()> {
    sqlx::query(
        "INSERT INTO erased_objects (erasure, object, what, bytes, removed, successor)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (erasure, object) DO NOTHING",
    )
    .bind(erasure)
    .bind(erased.object)
    .bind(erased.what.as_str())
    .bind(stored("size of an object", erased.bytes)?)
    .bind(stored("number of removed records", erased.removed)?)
    .bind(erased.successor)
    .execute(&mut **write)
    .await?;
    Ok(())
}

pub(super) async fn note(catalog: &Postgres, erasure: Uuid, objects: &[ErasedObject]) -> Result<()> {
    let mut write = catalog.write().await?;
    for erased in objects {
        add_erased(&mut write, erasure, erased).await?;
    }
    Ok(write.commit().await?)
}

pub(super) async fn erased(catalog: &Postgres, erasure: Uuid) -> Result<Vec<ErasedObject>> {
    let rows = sqlx::query("SELECT * FROM erased_objects WHERE erasure = $1 ORDER BY object")
        .bind(erasure)
        .fetch_all(&catalog.pool)
        .await?;
    let read = |row| {
        Ok(ErasedObject {
            object: get(row, "object")?,
            what: ErasedAs::named(get(row, "what")?)?,
            bytes: count(row, "bytes")?,
            removed: count(row, "removed")?,
            successor: get(row, "successor")?,
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn set_trouble(catalog: &Postgres, erasure: Uuid, trouble: Option<&str>) -> Result<()> {
    storable("trouble of an erasure", trouble.unwrap_or_default())?;
    let mut write = catalog.write().await?;
    sqlx::query("UPDATE erasures SET trouble = $2 WHERE id = $1 AND done IS NULL")
        .bind(erasure)
        .bind(trouble)
        .execute(&mut *write)
        .await?;
    Ok(write.commit().await?)
}

pub(super) async fn finish(catalog: &Postgres, erasure: Uuid, at: Timestamp) -> Result<()> {
    let mut write = catalog.write().await?;
    let kind = find(&mut write, erasure).await?.filter(|of| of.done.is_none()).map(|of| of.kind);
    if kind == Some(ErasureKind::Tenant) {
        write.rollback().await?;
        shredding::wipe(catalog).await?;
        write = catalog.write().await?;
    }
    sqlx::query(
        "UPDATE erasures SET done = $2, query = NULL, filter = NULL, trouble = NULL
         WHERE id = $1 AND done IS NULL",
    )
    .bind(erasure)
    .bind(at.as_nanos())
    .execute(&mut *write)
    .await?;
    shredding::finish(&mut write, erasure, at).await?;
    write.commit().await?;
    Ok(())
}
