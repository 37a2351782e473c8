//! What each tenant keeps, and how far the clock of retention is.

use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;

use super::Sqlite;
use super::rows::{get, tenant, tenant_row};
use crate::catalog::{bounds, damaged};
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
    let mut write = catalog.write().await?;
    let found: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT value FROM settings WHERE name = 'retention_clock'")
            .fetch_optional(&mut *write)
            .await?;
    let found = found.map(|bytes| {
        let bytes: Result<[u8; 8], _> = bytes.as_slice().try_into();
        bytes.map(|bytes| Timestamp::from_nanos(i64::from_be_bytes(bytes)))
    });
    let found = found.transpose().map_err(|e| damaged("retention_clock", e.to_string()))?;
    let furthest = found.max(to);
    if let Some(time) = furthest.filter(|_| furthest != found) {
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ('retention_clock', ?1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(time.as_nanos().to_be_bytes().as_slice())
        .execute(&mut *write)
        .await?;
    }
    write.commit().await?;
    Ok(furthest)
}
