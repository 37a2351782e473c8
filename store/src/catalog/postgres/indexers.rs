//! Leases of indexers.
//!
//! Who writes for an indexer holds its row by `KEY SHARE`, as long as the transaction lasts; who claims it needs
//! `UPDATE`, and so cannot come between. Renewing disturbs neither.

use std::time::Duration;

use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::rows::{count, get, storable};
use super::{Postgres, Write};
use crate::catalog::lease::{duration, micros};
use crate::catalog::{Indexer, Lease, stored};
use crate::error::{Error, Result};

pub(super) async fn register(
    catalog: &Postgres,
    indexer: Uuid,
    address: &str,
    lease_for: Duration,
) -> Result<Lease> {
    storable("address of an indexer", address)?;
    let made = sqlx::query(
        "INSERT INTO indexers (id, epoch, address, lease_until)
         VALUES ($1, 1, $2, clock_timestamp() + $3 * interval '1 microsecond')
         ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until
             WHERE indexers.epoch = 1 AND indexers.address = excluded.address",
    )
    .bind(indexer)
    .bind(address)
    .bind(micros(lease_for))
    .execute(&catalog.pool)
    .await?;
    if made.rows_affected() == 0 {
        return Err(Error::Exists { what: "indexer", name: indexer.to_string() });
    }
    Ok(Lease { indexer, epoch: 1 })
}

pub(super) async fn renew(catalog: &Postgres, lease: &Lease, lease_for: Duration) -> Result<()> {
    let renewed = sqlx::query(
        "UPDATE indexers SET lease_until = clock_timestamp() + $3 * interval '1 microsecond'
         WHERE id = $1 AND epoch = $2",
    )
    .bind(lease.indexer)
    .bind(stored("epoch of a lease", lease.epoch)?)
    .bind(micros(lease_for))
    .execute(&catalog.pool)
    .await?;
    if renewed.rows_affected() == 0 { Err(Error::fenced(lease)) } else { Ok(()) }
}

pub(super) async fn all(catalog: &Postgres) -> Result<Vec<Indexer>> {
    let read = |row: &PgRow| {
        Ok(Indexer {
            lease: lease(row)?,
            address: get(row, "address")?,
            remaining: duration(get(row, "remaining")?),
        })
    };
    sqlx::query(
        "SELECT id, epoch, address,
             (extract(epoch FROM lease_until - clock_timestamp()) * 1000000)::bigint AS remaining
         FROM indexers ORDER BY id",
    )
    .fetch_all(&catalog.pool)
    .await?
    .iter()
    .map(read)
    .collect()
}

pub(super) async fn claim(
    catalog: &Postgres,
    address: &str,
    lease_for: Duration,
    held: &[Uuid],
) -> Result<Option<Lease>> {
    storable("address of an indexer", address)?;
    let row = sqlx::query(
        "UPDATE indexers
         SET epoch = epoch + 1, address = $1, lease_until = clock_timestamp() + $2 * interval '1 microsecond'
         WHERE id = (SELECT id FROM indexers WHERE lease_until <= clock_timestamp() AND id <> ALL($3)
                     ORDER BY lease_until, id LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING id, epoch",
    )
    .bind(address)
    .bind(micros(lease_for))
    .bind(held)
    .fetch_optional(&catalog.pool)
    .await?;
    row.as_ref().map(lease).transpose()
}

fn lease(row: &PgRow) -> Result<Lease> {
    Ok(Lease { indexer: get(row, "id")?, epoch: count(row, "epoch")? })
}

pub(super) async fn retire(catalog: &Postgres, lease: &Lease) -> Result<bool> {
    let mut write = catalog.write().await?;
    let epoch: Option<i64> = sqlx::query_scalar("SELECT epoch FROM indexers WHERE id = $1 FOR UPDATE")
        .bind(lease.indexer)
        .fetch_optional(&mut *write)
        .await?;
    let Some(epoch) = epoch else { return Ok(true) };
    if epoch.cast_unsigned() != lease.epoch {
        return Err(Error::fenced(lease));
    }
    let is_needed: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM commits WHERE indexer = $1)")
        .bind(lease.indexer)
        .fetch_one(&mut *write)
        .await?;
    if is_needed {
        return Ok(false);
    }
    for gone in ["DELETE FROM seal_marks WHERE indexer = $1", "DELETE FROM indexers WHERE id = $1"] {
        sqlx::query(gone).bind(lease.indexer).execute(&mut *write).await?;
    }
    write.commit().await?;
    Ok(true)
}

/// Holds the indexer's row to the end of the transaction, if the lease is the one on record.
pub(super) async fn hold(write: &mut Write, lease: &Lease) -> Result<()> {
    let epoch: Option<i64> = sqlx::query_scalar("SELECT epoch FROM indexers WHERE id = $1 FOR KEY SHARE")
        .bind(lease.indexer)
        .fetch_optional(&mut **write)
        .await?;
    if epoch.unwrap_or_default().cast_unsigned() == lease.epoch { Ok(()) } else { Err(Error::fenced(lease)) }
}
