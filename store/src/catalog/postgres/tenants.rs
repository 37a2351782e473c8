//! Tenants.

use heliograph_model::tenant::TenantId;
use sqlx::postgres::PgRow;

use super::Postgres;
use super::rows::{get, tenant, time, workspace};
use crate::catalog::{Tenant, taken};
use crate::error::Result;

pub(super) async fn create(catalog: &Postgres, tenant: &Tenant) -> Result<()> {
    let made = sqlx::query(
        "INSERT INTO tenants (name, workspace, uid, wrapped_key, created) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(tenant.name.as_str())
    .bind(tenant.workspace.as_str())
    .bind(tenant.uid)
    .bind(tenant.wrapped_key.as_slice())
    .bind(tenant.created.as_nanos())
    .execute(&catalog.pool)
    .await?;
    if made.rows_affected() == 0 {
        let of_one_that_goes = find(catalog, &tenant.name).await?.is_none();
        return Err(taken(&tenant.name, of_one_that_goes));
    }
    Ok(())
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
