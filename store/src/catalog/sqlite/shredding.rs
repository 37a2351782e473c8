//! Tenants that are erased: the key goes first, and with it all that could be read.

use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::erasures::find;
use super::rows::{commit_id, count, get, tenant, tenant_row, time_or_none, uuid};
use super::{Sqlite, Write};
use crate::catalog::erasures::query_hash;
use crate::catalog::{ErasedAs, ErasedTenant, Erasure, NewTenantErasure, Reason, erased};
use crate::error::{Error, Result};

/// Whether the tenant of this id is there, and has its key.
pub(super) async fn has_key(connection: &mut SqliteConnection, uid: Uuid) -> Result<bool> {
    let found = sqlx::query("SELECT 1 FROM tenants WHERE uid = ?1 AND length(wrapped_key) > 0")
        .bind(uid.as_bytes().as_slice())
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

/// The row of a tenant, or [`Error::Erased`].
pub(super) async fn row(connection: &mut SqliteConnection, name: &TenantId) -> Result<i64> {
    tenant_row(connection, name).await.map_err(|error| match error {
        Error::Missing { .. } => erased(name),
        other => other,
    })
}

pub(super) async fn erase(catalog: &Sqlite, new: &NewTenantErasure) -> Result<Erasure> {
    let mut write = catalog.write().await?;
    let made = match find(&mut write, new.id).await? {
        Some(made) => made,
        None => {
            let tenant = tenant_row(&mut write, &new.tenant).await?;
            note(&mut write, new, tenant).await?;
            take_all(&mut write, new, tenant).await?;
            find(&mut write, new.id).await?.ok_or(Error::Catalog(sqlx::Error::RowNotFound))?
        }
    };
    write.commit().await?;
    catalog.wipe().await?;
    Ok(made)
}

async fn note(write: &mut Write, new: &NewTenantErasure, tenant: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO erasures (id, kind, tenant, uid, query_hash, range_start, range_end, through, written_ahead,
             requested_by, requested)
         SELECT ?1, 'tenant', t.name, t.uid, ?3, ?4, ?5,
             COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'commits'), 0),
             (SELECT COUNT(*) FROM commits), ?6, ?7
         FROM tenants t WHERE t.id = ?2",
    )
    .bind(new.id.as_bytes().as_slice())
    .bind(tenant)
    .bind(query_hash("").as_slice())
    .bind(TimeRange::ALL.start.as_nanos())
    .bind(TimeRange::ALL.end.as_nanos())
    .bind(&new.by)
    .bind(new.at.as_nanos())
    .execute(&mut **write)
    .await?;
    for (table, what, removed) in
        [("segments", ErasedAs::Shredded, "records"), ("retired_segments", ErasedAs::Retired, "0")]
    {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "INSERT INTO erased_objects (erasure, object, what, bytes, removed)
             SELECT ?1, id, ?3, bytes, {removed} FROM {table} WHERE tenant = ?2"
        )))
        .bind(new.id.as_bytes().as_slice())
        .bind(tenant)
        .bind(what.as_str())
        .execute(&mut **write)
        .await?;
    }
    Ok(())
}

/// Destroys the key and all that hangs on the tenant, but for its segments, which are retired, and the marks up to
/// where it is sealed.
async fn take_all(write: &mut Write, new: &NewTenantErasure, tenant: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO retired_segments (id, tenant, bytes, reason, at)
         SELECT id, tenant, bytes, ?2, ?3 FROM segments WHERE tenant = ?1",
    )
    .bind(tenant)
    .bind(Reason::Erased.as_str())
    .bind(new.at.as_nanos())
    .execute(&mut **write)
    .await?;
    for table in [
        "segments",
        "producers",
        "tokens",
        "grants",
        "mapped_grants",
        "invitation_grants",
        "tenant_limits",
        "retention",
    ] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table} WHERE tenant = ?1")))
            .bind(tenant)
            .execute(&mut **write)
            .await?;
    }
    sqlx::query("UPDATE tenants SET wrapped_key = x'' WHERE id = ?1")
        .bind(tenant)
        .execute(&mut **write)
        .await?;
    Ok(())
}

pub(super) async fn all(catalog: &Sqlite) -> Result<Vec<ErasedTenant>> {
    let rows = sqlx::query(
        "SELECT e.id, e.tenant, e.uid, e.through, e.trouble, e.done, CASE WHEN e.done IS NULL
             THEN (SELECT COUNT(*) FROM commits c WHERE c.id <= e.through) ELSE 0 END AS waiting
         FROM erasures e WHERE e.kind = 'tenant' ORDER BY e.requested, e.id",
    )
    .fetch_all(&catalog.readers)
    .await?;
    let read = |row| {
        Ok(ErasedTenant {
            erasure: uuid(row, "id")?,
            name: tenant(row, "tenant")?,
            uid: uuid(row, "uid")?,
            through: commit_id(row, "through")?,
            waiting: count(row, "waiting")?,
            trouble: get(row, "trouble")?,
            done: time_or_none(row, "done")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Gives the name of a tenant free whose objects are gone, and ends what else was to be erased of it.
pub(super) async fn finish(write: &mut Write, erasure: Uuid, at: Timestamp) -> Result<()> {
    sqlx::query(
        "UPDATE erasures SET done = ?2, query = NULL, filter = NULL, trouble = NULL
         WHERE done IS NULL AND uid = (SELECT uid FROM erasures WHERE id = ?1 AND kind = 'tenant')",
    )
    .bind(erasure.as_bytes().as_slice())
    .bind(at.as_nanos())
    .execute(&mut **write)
    .await?;
    sqlx::query(
        "DELETE FROM tenants WHERE length(wrapped_key) = 0
             AND uid = (SELECT uid FROM erasures WHERE id = ?1 AND kind = 'tenant')",
    )
    .bind(erasure.as_bytes().as_slice())
    .execute(&mut **write)
    .await?;
    Ok(())
}
