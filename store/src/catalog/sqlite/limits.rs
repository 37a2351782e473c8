//! What tenants may use, and what they have stored.

use heliograph_model::tenant::TenantId;
use sqlx::sqlite::SqliteRow;

use super::Sqlite;
use super::rows::{count, get, tenant, tenant_row};
use crate::catalog::{TenantLimits, TenantUsage};
use crate::error::Result;

pub(super) async fn set(catalog: &Sqlite, tenant: &TenantId, limits: &TenantLimits) -> Result<()> {
    let [ingest_per_second, ingest_burst, hot, stored] = limits.columns()?;
    let mut write = catalog.write().await?;
    let tenant = tenant_row(&mut write, tenant).await?;
    sqlx::query(
        "INSERT OR REPLACE INTO tenant_limits (tenant, ingest_per_second, ingest_burst, hot, stored)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(tenant)
    .bind(ingest_per_second)
    .bind(ingest_burst)
    .bind(hot)
    .bind(stored)
    .execute(&mut *write)
    .await?;
    Ok(write.commit().await?)
}

pub(super) async fn usage(catalog: &Sqlite) -> Result<Vec<TenantUsage>> {
    let rows = sqlx::query(
        "SELECT t.name, l.ingest_per_second, l.ingest_burst, l.hot, l.stored, COUNT(s.tenant) AS segments,
             COALESCE(SUM(s.records), 0) AS records, COALESCE(SUM(s.bytes), 0) AS bytes,
             COALESCE(SUM(s.raw_bytes), 0) AS raw_bytes
         FROM tenants t LEFT JOIN tenant_limits l ON l.tenant = t.id LEFT JOIN segments s ON s.tenant = t.id
         WHERE length(t.wrapped_key) > 0 GROUP BY t.id ORDER BY t.name",
    )
    .fetch_all(&catalog.readers)
    .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn usage_of(catalog: &Sqlite, tenant: &TenantId) -> Result<Option<TenantUsage>> {
    let row = sqlx::query(
        "SELECT t.name, l.ingest_per_second, l.ingest_burst, l.hot, l.stored, COUNT(s.tenant) AS segments,
             COALESCE(SUM(s.records), 0) AS records, COALESCE(SUM(s.bytes), 0) AS bytes,
             COALESCE(SUM(s.raw_bytes), 0) AS raw_bytes
         FROM tenants t LEFT JOIN tenant_limits l ON l.tenant = t.id LEFT JOIN segments s ON s.tenant = t.id
         WHERE t.name = ?1 AND length(t.wrapped_key) > 0 GROUP BY t.id",
    )
    .bind(tenant.as_str())
    .fetch_optional(&catalog.readers)
    .await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &SqliteRow) -> Result<TenantUsage> {
    let columns =
        [get(row, "ingest_per_second")?, get(row, "ingest_burst")?, get(row, "hot")?, get(row, "stored")?];
    Ok(TenantUsage {
        tenant: tenant(row, "name")?,
        segments: count(row, "segments")?,
        records: count(row, "records")?,
        stored_bytes: count(row, "bytes")?,
        raw_bytes: count(row, "raw_bytes")?,
        limits: TenantLimits::of_columns(columns)?,
    })
}
