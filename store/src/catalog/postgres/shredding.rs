//! Tenants that are erased: the key goes first, and with it all that could be read.
//!
//! One order of locks: commits are kept off ([`ALONE`]), then the tenant's row, which publications share, then the
//! write-ahead objects.

use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use uuid::Uuid;

use super::erasures::find;
use super::rows::{commit_id, count, get, storable, tenant, tenant_row, time_or_none};
use super::{Postgres, Write};
use crate::catalog::erasures::query_hash;
use crate::catalog::{ErasedAs, ErasedTenant, Erasure, NewTenantErasure, Reason, erased};
use crate::error::{Error, Result};

/// Who erases a tenant holds alone what commits share ([`super::commits`]): what a commit reads of tenants stays true to
/// its end. Two numbers: the locks of one number are indexers'.
const ALONE: &str = "SELECT pg_advisory_xact_lock(1214606441, 1)";

/// The row of a tenant, which cannot be erased before this ends, or [`Error::Erased`].
pub(super) async fn row(write: &mut Write, name: &TenantId) -> Result<i64> {
    sqlx::query_scalar("SELECT id FROM tenants WHERE name = $1 AND wrapped_key <> '' FOR SHARE")
        .bind(name.as_str())
        .fetch_optional(&mut **write)
        .await?
        .ok_or_else(|| erased(name))
}

pub(super) async fn erase(catalog: &Postgres, new: &NewTenantErasure) -> Result<Erasure> {
    let mut write = catalog.write().await?;
    sqlx::query(ALONE).execute(&mut *write).await?;
    let made = match find(&mut write, new.id).await? {
        Some(made) => made,
        None => {
            let tenant = tenant_row(&mut write, &new.tenant).await?;
            sqlx::query("SELECT 1 FROM tenants WHERE id = $1 FOR NO KEY UPDATE")
                .bind(tenant)
                .execute(&mut *write)
                .await?;
            // As for other requests: what was drawn is recorded or never will be.
            sqlx::query("LOCK TABLE commits IN SHARE MODE").execute(&mut *write).await?;
            note(&mut write, new, tenant).await?;
            take_all(&mut write, new, tenant).await?;
            find(&mut write, new.id).await?.ok_or(Error::Catalog(sqlx::Error::RowNotFound))?
        }
    };
    write.commit().await?;
    Ok(made)
}

async fn note(write: &mut Write, new: &NewTenantErasure, tenant: i64) -> Result<()> {
    storable("who asks for an erasure", &new.by)?;
    sqlx::query(
        "INSERT INTO erasures (id, kind, tenant, uid, query_hash, range_start, range_end, through, written_ahead,
             requested_by, requested)
         SELECT $1, 'tenant', t.name, t.uid, $3, $4, $5,
             (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM commits_id_seq),
             (SELECT COUNT(*) FROM commits), $6, $7
         FROM tenants t WHERE t.id = $2",
    )
    .bind(new.id)
    .bind(tenant)
    .bind(query_hash("").to_vec())
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
             SELECT $1, id, $3, bytes, {removed} FROM {table} WHERE tenant = $2"
        )))
        .bind(new.id)
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
         SELECT id, tenant, bytes, $2, $3 FROM segments WHERE tenant = $1 ORDER BY id",
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
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table} WHERE tenant = $1")))
            .bind(tenant)
            .execute(&mut **write)
            .await?;
    }
    sqlx::query("UPDATE tenants SET wrapped_key = '' WHERE id = $1")
        .bind(tenant)
        .execute(&mut **write)
        .await?;
    Ok(())
}

pub(super) async fn all(catalog: &Postgres) -> Result<Vec<ErasedTenant>> {
    let rows = sqlx::query(
        "SELECT e.id, e.tenant, e.uid, e.through, e.trouble, e.done, CASE WHEN e.done IS NULL
             THEN (SELECT COUNT(*) FROM commits c WHERE c.id <= e.through) ELSE 0 END AS waiting
         FROM erasures e WHERE e.kind = 'tenant' ORDER BY e.requested, e.id",
    )
    .fetch_all(&catalog.pool)
    .await?;
    let read = |row| {
        Ok(ErasedTenant {
            erasure: get(row, "id")?,
            name: tenant(row, "tenant")?,
            uid: get(row, "uid")?,
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
        "UPDATE erasures SET done = $2, query = NULL, filter = NULL, trouble = NULL
         WHERE done IS NULL AND uid = (SELECT uid FROM erasures WHERE id = $1 AND kind = 'tenant')",
    )
    .bind(erasure)
    .bind(at.as_nanos())
    .execute(&mut **write)
    .await?;
    sqlx::query(
        "DELETE FROM tenants WHERE wrapped_key = ''
             AND uid = (SELECT uid FROM erasures WHERE id = $1 AND kind = 'tenant')",
    )
    .bind(erasure)
    .execute(&mut **write)
    .await?;
    Ok(())
}

/// Writes the file of tenants anew: an older version of a row, with the key that was in it, is in the old one only.
/// Commits wait meanwhile, and it waits for others no longer than any statement.
pub(super) async fn wipe(catalog: &Postgres) -> Result<()> {
    sqlx::raw_sql("VACUUM (FULL) tenants").execute(&catalog.pool).await?;
    Ok(())
}
