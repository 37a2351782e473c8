//! Leases of indexers.

use std::time::Duration;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::Sqlite;
use super::rows::{count, get, uuid};
use crate::catalog::lease::{duration, micros};
use crate::catalog::{Indexer, Lease, stored};
use crate::error::{Error, Result};

pub(super) async fn register(
    catalog: &Sqlite,
    indexer: Uuid,
    address: &str,
    lease_for: Duration,
) -> Result<Lease> {
    let mut write = catalog.write().await?;
    let until = now(&mut write).await?.saturating_add(micros(lease_for));
    let made = sqlx::query(
        "INSERT INTO indexers (id, epoch, address, lease_until) VALUES (?1, 1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until
             WHERE indexers.epoch = 1 AND indexers.address = excluded.address",
    )
    .bind(indexer.as_bytes().as_slice())
    .bind(address)
    .bind(until)
    .execute(&mut *write)
    .await?;
    if made.rows_affected() == 0 {
        return Err(Error::Exists { what: "indexer", name: indexer.to_string() });
    }
    write.commit().await?;
    Ok(Lease { indexer, epoch: 1 })
}

pub(super) async fn renew(catalog: &Sqlite, lease: &Lease, lease_for: Duration) -> Result<()> {
    let mut write = catalog.write().await?;
    let until = now(&mut write).await?.saturating_add(micros(lease_for));
    let renewed = sqlx::query("UPDATE indexers SET lease_until = ?3 WHERE id = ?1 AND epoch = ?2")
        .bind(lease.indexer.as_bytes().as_slice())
        .bind(stored("epoch of a lease", lease.epoch)?)
        .bind(until)
        .execute(&mut *write)
        .await?;
    if renewed.rows_affected() == 0 {
        return Err(Error::fenced(lease));
    }
    Ok(write.commit().await?)
}

pub(super) async fn all(catalog: &Sqlite) -> Result<Vec<Indexer>> {
    let mut connection = catalog.readers.acquire().await?;
    let now = now(&mut connection).await?;
    let read = |row: &SqliteRow| {
        Ok(Indexer {
            lease: lease(row)?,
            address: get(row, "address")?,
            remaining: duration(get::<i64>(row, "lease_until")?.saturating_sub(now)),
        })
    };
    sqlx::query("SELECT id, epoch, address, lease_until FROM indexers ORDER BY id")
        .fetch_all(&mut *connection)
        .await?
        .iter()
        .map(read)
        .collect()
}

pub(super) async fn claim(
    catalog: &Sqlite,
    address: &str,
    lease_for: Duration,
    held: &[Uuid],
) -> Result<Option<Lease>> {
    let mut write = catalog.write().await?;
    let now = now(&mut write).await?;
    let names: Vec<_> = held.iter().map(|id| format!("\"{}\"", id.simple())).collect();
    let row = sqlx::query(
        "UPDATE indexers SET epoch = epoch + 1, address = ?1, lease_until = ?2
         WHERE id = (SELECT id FROM indexers WHERE lease_until <= ?3
                         AND id NOT IN (SELECT unhex(value) FROM json_each(?4))
                     ORDER BY lease_until, id LIMIT 1)
         RETURNING id, epoch",
    )
    .bind(address)
    .bind(now.saturating_add(micros(lease_for)))
    .bind(now)
    .bind(format!("[{}]", names.join(",")))
    .fetch_optional(&mut *write)
    .await?;
    let claimed = row.as_ref().map(lease).transpose()?;
    write.commit().await?;
    Ok(claimed)
}

fn lease(row: &SqliteRow) -> Result<Lease> {
    Ok(Lease { indexer: uuid(row, "id")?, epoch: count(row, "epoch")? })
}

pub(super) async fn retire(catalog: &Sqlite, lease: &Lease) -> Result<bool> {
    let mut write = catalog.write().await?;
    let Some(epoch) = epoch(&mut write, lease.indexer).await? else { return Ok(true) };
    if epoch.cast_unsigned() != lease.epoch {
        return Err(Error::fenced(lease));
    }
    let indexer = lease.indexer.as_bytes().as_slice();
    let is_needed: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM commits WHERE indexer = ?1)")
        .bind(indexer)
        .fetch_one(&mut *write)
        .await?;
    if is_needed {
        return Ok(false);
    }
    for gone in ["DELETE FROM seal_marks WHERE indexer = ?1", "DELETE FROM indexers WHERE id = ?1"] {
        sqlx::query(gone).bind(indexer).execute(&mut *write).await?;
    }
    write.commit().await?;
    Ok(true)
}

/// Refuses a lease that is not the one on record.
pub(super) async fn hold(connection: &mut SqliteConnection, lease: &Lease) -> Result<()> {
    let epoch = epoch(connection, lease.indexer).await?;
    if epoch.unwrap_or_default().cast_unsigned() == lease.epoch { Ok(()) } else { Err(Error::fenced(lease)) }
}

async fn epoch(connection: &mut SqliteConnection, indexer: Uuid) -> Result<Option<i64>> {
    let epoch = sqlx::query_scalar("SELECT epoch FROM indexers WHERE id = ?1")
        .bind(indexer.as_bytes().as_slice())
        .fetch_optional(connection)
        .await?;
    Ok(epoch)
}

/// The database's clock, in microseconds.
async fn now(connection: &mut SqliteConnection) -> Result<i64> {
    let now = sqlx::query_scalar("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000")
        .fetch_one(connection)
        .await?;
    Ok(now)
}
