//! Tenants.

use sqlx::sqlite::SqliteRow;

use super::Sqlite;
use super::rows::{get, tenant, tenant_row, time, uuid, workspace};
use crate::catalog::{Tenant, taken};
use crate::error::{Error, Result};
use crate::keyring::{KeyId, wrapped_by};
use heliograph_model::tenant::TenantId;
use uuid::Uuid;

pub(super) async fn create(catalog: &Sqlite, tenant: &Tenant) -> Result<()> {
    let mut write = catalog.write().await?;
    let made = sqlx::query(
        "INSERT INTO tenants (name, workspace, uid, wrapped_key, created) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(tenant.name.as_str())
    .bind(tenant.workspace.as_str())
    .bind(tenant.uid.as_bytes().as_slice())
    .bind(tenant.wrapped_key.as_slice())
    .bind(tenant.created.as_nanos())
    .execute(&mut *write)
    .await?;
    if made.rows_affected() == 0 {
        let of_one_that_goes = tenant_row(&mut write, &tenant.name).await.is_err();
        return Err(taken(&tenant.name, of_one_that_goes));
    }
    let other = sqlx::query("SELECT value FROM settings WHERE name = 'master_key' AND value <> ?1")
        .bind(wrapped_by(&tenant.wrapped_key).map_or(Uuid::nil(), |key| key.0).as_bytes().as_slice())
        .fetch_optional(&mut *write)
        .await?;
    if let Some(current) = other {
        return Err(Error::OtherKey { current: KeyId(uuid(&current, "value")?) });
    }
    Ok(write.commit().await?)
}

pub(super) async fn master_key(at: impl sqlx::SqliteExecutor<'_>) -> Result<Option<KeyId>> {
    let row = sqlx::query("SELECT value FROM settings WHERE name = 'master_key'").fetch_optional(at).await?;
    row.map(|row| uuid(&row, "value").map(KeyId)).transpose()
}

/// The key that is set; from now on this one, where none was: whoever has other keys in another order knows which.
pub(super) async fn named_master_key(write: &mut sqlx::SqliteConnection, key: KeyId) -> Result<KeyId> {
    if let Some(current) = master_key(&mut *write).await? {
        return Ok(current);
    }
    sqlx::query("INSERT INTO settings (name, value) VALUES ('master_key', ?1)")
        .bind(key.0.as_bytes().as_slice())
        .execute(write)
        .await?;
    Ok(key)
}

pub(super) async fn set_master_key(catalog: &Sqlite, key: KeyId) -> Result<()> {
    let mut write = catalog.write().await?;
    sqlx::query(
        "INSERT INTO settings (name, value) VALUES ('master_key', ?1)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(key.0.as_bytes().as_slice())
    .execute(&mut *write)
    .await?;
    Ok(write.commit().await?)
}

pub(super) async fn rewrap(catalog: &Sqlite, tenant: Uuid, old: &[u8], new: &[u8]) -> Result<bool> {
    let mut write = catalog.write().await?;
    let changed = sqlx::query("UPDATE tenants SET wrapped_key = ?3 WHERE uid = ?1 AND wrapped_key = ?2")
        .bind(tenant.as_bytes().as_slice())
        .bind(old)
        .bind(new)
        .execute(&mut *write)
        .await?;
    write.commit().await?;
    Ok(changed.rows_affected() > 0)
}

pub(super) async fn find(catalog: &Sqlite, name: &TenantId) -> Result<Option<Tenant>> {
    let row = sqlx::query(
        "SELECT name, workspace, uid, wrapped_key, created FROM tenants
         WHERE name = ?1 AND length(wrapped_key) > 0",
    )
    .bind(name.as_str())
    .fetch_optional(&catalog.readers)
    .await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn all(catalog: &Sqlite) -> Result<Vec<Tenant>> {
    sqlx::query(
        "SELECT name, workspace, uid, wrapped_key, created FROM tenants WHERE length(wrapped_key) > 0 ORDER BY name",
    )
        .fetch_all(&catalog.readers)
        .await?
        .iter()
        .map(read)
        .collect()
}

fn read(row: &SqliteRow) -> Result<Tenant> {
    Ok(Tenant {
        name: tenant(row, "name")?,
        workspace: workspace(row, "workspace")?,
        uid: uuid(row, "uid")?,
        wrapped_key: get(row, "wrapped_key")?,
        created: time(row, "created")?,
    })
}
