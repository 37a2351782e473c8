//! Tenants.

use heliograph_model::tenant::TenantId;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::Postgres;
use super::rows::{get, tenant, time, workspace};
use crate::catalog::{Tenant, taken};
use crate::error::{Error, Result};
use crate::keyring::{KeyId, wrapped_by};

pub(super) async fn create(catalog: &Postgres, tenant: &Tenant) -> Result<()> {
    let mut write = catalog.write().await?;
    let made = sqlx::query(
        "INSERT INTO tenants (name, workspace, uid, wrapped_key, created) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(tenant.name.as_str())
    .bind(tenant.workspace.as_str())
    .bind(tenant.uid)
    .bind(tenant.wrapped_key.as_slice())
    .bind(tenant.created.as_nanos())
    .execute(&mut *write)
    .await?;
    if made.rows_affected() == 0 {
        let of_one_that_goes = find(catalog, &tenant.name).await?.is_none();
        return Err(taken(&tenant.name, of_one_that_goes));
    }
    // A statement of its own: of a moment at which whoever changes the key waits for us, or is done.
    let other = sqlx::query_scalar("SELECT value FROM settings WHERE name = 'master_key' AND value <> $1")
        .bind(wrapped_by(&tenant.wrapped_key).map_or(Uuid::nil(), |key| key.0))
        .fetch_optional(&mut *write)
        .await?;
    if let Some(current) = other {
        return Err(Error::OtherKey { current: KeyId(current) });
    }
    Ok(write.commit().await?)
}

pub(super) async fn master_key(at: impl sqlx::PgExecutor<'_>) -> Result<Option<KeyId>> {
    let id =
        sqlx::query_scalar("SELECT value FROM settings WHERE name = 'master_key'").fetch_optional(at).await?;
    Ok(id.map(KeyId))
}

/// The key that is set; from now on this one, where none was: whoever has other keys in another order knows which.
pub(super) async fn named_master_key(write: &mut sqlx::PgConnection, key: KeyId) -> Result<KeyId> {
    if let Some(current) = master_key(&mut *write).await? {
        return Ok(current);
    }
    sqlx::query("INSERT INTO settings (name, value) VALUES ('master_key', $1)")
        .bind(key.0)
        .execute(write)
        .await?;
    Ok(key)
}

pub(super) async fn set_master_key(catalog: &Postgres, key: KeyId) -> Result<()> {
    let mut write = catalog.write().await?;
    // Waits for those who make tenants, and lets no more begin.
    sqlx::query("LOCK TABLE tenants IN SHARE ROW EXCLUSIVE MODE").execute(&mut *write).await?;
    sqlx::query(
        "INSERT INTO settings (name, value) VALUES ('master_key', $1)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(key.0)
    .execute(&mut *write)
    .await?;
    Ok(write.commit().await?)
}

pub(super) async fn rewrap(catalog: &Postgres, tenant: Uuid, old: &[u8], new: &[u8]) -> Result<bool> {
    let changed = sqlx::query("UPDATE tenants SET wrapped_key = $3 WHERE uid = $1 AND wrapped_key = $2")
        .bind(tenant)
        .bind(old)
        .bind(new)
        .execute(&catalog.pool)
        .await?;
    Ok(changed.rows_affected() > 0)
}

pub(super) async fn find(catalog: &Postgres, name: &TenantId) -> Result<Option<Tenant>> {
    let row = sqlx::query(
        "SELECT name, workspace, uid, wrapped_key, created FROM tenants
         WHERE name = $1 AND wrapped_key <> ''",
    )
    .bind(name.as_str())
    .fetch_optional(&catalog.pool)
    .await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn all(catalog: &Postgres) -> Result<Vec<Tenant>> {
    sqlx::query(
        "SELECT name, workspace, uid, wrapped_key, created FROM tenants WHERE wrapped_key <> '' ORDER BY name",
    )
        .fetch_all(&catalog.pool)
        .await?
        .iter()
        .map(read)
        .collect()
}

fn read(row: &PgRow) -> Result<Tenant> {
    Ok(Tenant {
        name: tenant(row, "name")?,
        workspace: workspace(row, "workspace")?,
        uid: get(row, "uid")?,
        wrapped_key: get(row, "wrapped_key")?,
        created: time(row, "created")?,
    })
}
