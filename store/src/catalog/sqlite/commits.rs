//! Write-ahead objects and the sequences of their producers: the hot path.

use heliograph_model::batch::{BatchId, ProducerId};
use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::rows::{commit_id, count, uuid};
use super::{Sqlite, Write, indexers, shredding};
use crate::catalog::{CommittedBatch, Lease, NewCommit, WalObject, damaged, erased, stored};
use crate::error::{Error, Result};
use crate::layout::ObjectId;

pub(super) async fn embedded_indexer(catalog: &Sqlite) -> Result<Uuid> {
    let mut write = catalog.write().await?;
    let row = sqlx::query(
        "INSERT INTO settings (name, value) VALUES ('embedded_indexer', ?1)
         ON CONFLICT (name) DO UPDATE SET value = value RETURNING value",
    )
    .bind(Uuid::new_v4().as_bytes().as_slice())
    .fetch_one(&mut *write)
    .await?;
    let id = uuid(&row, "value")?;
    write.commit().await?;
    Ok(id)
}

pub(super) async fn commit(catalog: &Sqlite, commit: &NewCommit) -> Result<CommitId> {
    let mut write = catalog.write().await?;
    indexers::hold(&mut write, &commit.lease).await?;
    for batch in &commit.batches {
        let is_accepted = match &batch.id {
            Some(id) => accept(&mut write, batch.uid, id).await?,
            None => shredding::has_key(&mut write, batch.uid).await?,
        };
        if !is_accepted {
            return refuse(catalog, write, commit, batch).await;
        }
    }
    let recorded = sqlx::query(
        "INSERT INTO commits (indexer, object, bytes, at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (object) DO NOTHING",
    )
    .bind(commit.lease.indexer.as_bytes().as_slice())
    .bind(commit.object.as_bytes().as_slice())
    .bind(stored("size of a write-ahead object", commit.bytes)?)
    .bind(commit.at.as_nanos())
    .execute(&mut *write)
    .await?;
    if recorded.rows_affected() == 0 {
        let known = recorded_as(&mut write, commit.object).await?;
        return known.ok_or_else(|| damaged("commits.object", "taken, and yet not there".to_owned()));
    }
    write.commit().await?;
    Ok(CommitId(recorded.last_insert_rowid()))
}

/// Moves a producer on, if the batch is the next one or begins a higher epoch.
async fn accept(write: &mut Write, tenant: Uuid, id: &BatchId) -> Result<bool> {
    let moved = sqlx::query(
        "INSERT INTO producers (tenant, producer, epoch, sequence)
         SELECT t.id, ?2, ?3, ?4 FROM tenants t WHERE t.uid = ?1 AND length(t.wrapped_key) > 0 AND
             (?4 = 1 OR EXISTS (SELECT 1 FROM producers p WHERE p.tenant = t.id AND p.producer = ?2))
         ON CONFLICT (tenant, producer) DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence
             WHERE (excluded.epoch = producers.epoch AND excluded.sequence = producers.sequence + 1)
                OR (excluded.epoch > producers.epoch AND excluded.sequence = 1)",
    )
    .bind(tenant.as_bytes().as_slice())
    .bind(id.producer.as_str())
    .bind(stored("epoch of a batch", id.epoch)?)
    .bind(stored("sequence of a batch", id.sequence)?)
    .execute(&mut **write)
    .await?;
    Ok(moved.rows_affected() > 0)
}

/// Takes the commit back and finds out why it cannot be.
async fn refuse(
    catalog: &Sqlite,
    mut write: Write,
    commit: &NewCommit,
    batch: &CommittedBatch,
) -> Result<CommitId> {
    if let Some(known) = recorded_as(&mut write, commit.object).await? {
        return Ok(known);
    }
    let has_key = shredding::has_key(&mut write, batch.uid).await?;
    write.rollback().await?;
    let CommittedBatch { tenant, id: Some(id), .. } = batch else { return Err(erased(&batch.tenant)) };
    if !has_key {
        return Err(erased(tenant));
    }
    let (epoch, expected) = match producer(catalog, tenant, &id.producer).await? {
        Some((epoch, sequence)) if epoch >= id.epoch => (epoch, sequence.saturating_add(1)),
        _ => (id.epoch, 1),
    };
    Err(Error::Sequence { tenant: tenant.clone(), epoch, expected })
}

async fn recorded_as(connection: &mut SqliteConnection, object: ObjectId) -> Result<Option<CommitId>> {
    let id = sqlx::query_scalar("SELECT id FROM commits WHERE object = ?1")
        .bind(object.as_bytes().as_slice())
        .fetch_optional(connection)
        .await?;
    Ok(id.map(CommitId))
}

pub(super) async fn producer(
    catalog: &Sqlite,
    tenant: &TenantId,
    producer: &ProducerId,
) -> Result<Option<(u64, u64)>> {
    let row = sqlx::query(
        "SELECT p.epoch, p.sequence FROM producers p JOIN tenants t ON t.id = p.tenant
         WHERE t.name = ?1 AND p.producer = ?2",
    )
    .bind(tenant.as_str())
    .bind(producer.as_str())
    .fetch_optional(&catalog.readers)
    .await?;
    row.map(|row| Ok((count(&row, "epoch")?, count(&row, "sequence")?))).transpose()
}

pub(super) async fn wal_objects(catalog: &Sqlite, indexer: Uuid) -> Result<Vec<WalObject>> {
    sqlx::query("SELECT id, object FROM commits WHERE indexer = ?1 ORDER BY id")
        .bind(indexer.as_bytes().as_slice())
        .fetch_all(&catalog.readers)
        .await?
        .iter()
        .map(|row| Ok(WalObject { commit: commit_id(row, "id")?, object: uuid(row, "object")? }))
        .collect()
}

pub(super) async fn release(catalog: &Sqlite, lease: &Lease, released: &[ObjectId]) -> Result<()> {
    let mut write = catalog.write().await?;
    indexers::hold(&mut write, lease).await?;
    forget(&mut write, lease.indexer, released).await?;
    Ok(write.commit().await?)
}

/// Deletes the rows of an indexer's write-ahead objects; those that are gone already do not matter.
pub(super) async fn forget(write: &mut Write, indexer: Uuid, released: &[ObjectId]) -> Result<()> {
    if released.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = released.iter().map(|o| format!("\"{}\"", o.simple())).collect();
    sqlx::query(
        "DELETE FROM commits WHERE object IN (SELECT unhex(value) FROM json_each(?1)) AND indexer = ?2",
    )
    .bind(format!("[{}]", names.join(",")))
    .bind(indexer.as_bytes().as_slice())
    .execute(&mut **write)
    .await?;
    Ok(())
}
