//! What each tenant keeps, and how far the clock of retention is.

use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;

use super::Sqlite;
use super::rows::{get, tenant, tenant_row};
use crate::catalog::bounds;
use crate::error::Result;
use crate::retention::OwnKeep;

pub(super) async fn set(catalog: &Sqlite, of: &TenantId, own: &OwnKeep) -> Result<()> {
    let (age, bytes) = bounds::columns(own)?;
    let mut write = catalog.write().await?;
    let tenant = tenant_row(&mut write, of).await?;
    sqlx::query(
        "INSERT INTO retention (tenant, age, bytes) VALUES (?1, ?2, ?3)
         ON CONFLICT (tenant) DO UPDATE SET age = excluded.age, bytes = excluded.bytes",
    )
    .bind(tenant)
    .bind(age)
    .bind(bytes)
    .execute(&mut *write)
    .await?;
    Ok(write.commit().await?)
}

pub(super) async fn all(catalog: &Sqlite) -> Result<Vec<(TenantId, OwnKeep)>> {
    let rows = sqlx::query(
        "SELECT t.name, r.age, r.bytes FROM retention r JOIN tenants t ON t.id = r.tenant
         WHERE r.age IS NOT NULL OR r.bytes IS NOT NULL ORDER BY t.name",
    )
    .fetch_all(&catalog.readers)
    .await?;
    rows.iter()
        .map(|row| Ok((tenant(row, "name")?, bounds::read(get(row, "age")?, get(row, "bytes")?)?)))
        .collect()
}

pub(super) async fn advance_clock(catalog: &Sqlite, to: Option<Timestamp>) -> Result<Option<Timestamp>> {
    let nanos: Option<i64> = match to {
        None => {
            sqlx::query_scalar("SELECT time FROM retention_clock").fetch_optional(&catalog.readers).await?
        }
        Some(to) => {
            let mut write = catalog.write().await?;
            let furthest = sqlx::query_scalar(
                "INSERT INTO retention_clock (time) VALUES (?1)
                 ON CONFLICT (one) DO UPDATE SET time = max(retention_clock.time, excluded.time) RETURNING time",
            );
            let furthest = furthest.bind(to.as_nanos()).fetch_one(&mut *write).await?;
            write.commit().await?;
            Some(furthest)
        }
    };
    Ok(nanos.map(Timestamp::from_nanos))
}
