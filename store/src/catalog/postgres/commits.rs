//! Write-ahead objects and the sequences of their producers: the hot path.
//!
//! One order of locks keeps writers from waiting for one another in a ring: the indexer, then the producers
//! that there are, by tenant and name, then those that begin, likewise, then the write-ahead objects.

mod places;

use heliograph_model::batch::ProducerId;
use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::rows::{commit_id, count, get};
use super::{Postgres, Write, indexers};
use crate::catalog::{Lease, NewCommit, WalObject, damaged, stored};
use crate::error::{Error, Result};
use crate::layout::ObjectId;
use places::Places;

pub(super) async fn embedded_indexer(catalog: &Postgres) -> Result<Uuid> {
    let id = sqlx::query_scalar(
        "INSERT INTO settings (name, value) VALUES ('embedded_indexer', $1)
         ON CONFLICT (name) DO UPDATE SET value = settings.value RETURNING value",
    )
    .bind(Uuid::new_v4())
    .fetch_one(&catalog.pool)
    .await?;
    Ok(id)
}

pub(super) async fn commit(catalog: &Postgres, commit: &NewCommit) -> Result<CommitId> {
    // Another turn only when somebody else began one of our producers meanwhile; the next one finds it on record.
    loop {
        let mut write = catalog.write().await?;
        one_by_one(&mut write, commit.lease.indexer).await?;
        indexers::hold(&mut write, &commit.lease).await?;
        let places = match Places::after(&mut write, &commit.batches).await {
            Ok(places) => places,
            Err(refusal @ (Error::Sequence { .. } | Error::Erased { .. })) => {
                return recorded_as(&mut write, commit.object).await?.ok_or(refusal);
            }
            Err(error) => return Err(error),
        };
        match record(&mut write, commit, &places).await? {
            Recorded::New(id) => {
                write.commit().await?;
                return Ok(id);
            }
            Recorded::Before => {
                let known = recorded_as(&mut write, commit.object).await?;
                return known.ok_or_else(|| damaged("commits.object", "taken, and yet not there".to_owned()));
            }
            Recorded::Overtaken => write.rollback().await?,
        }
    }
}

/// Lets an indexer's commits be made one after the other: an ordinal is drawn after the one before it can be
/// seen, so that whoever sees an ordinal will see no new one below it.
async fn one_by_one(write: &mut Write, indexer: Uuid) -> Result<()> {
    // Two indexers whose low halves are alike would only wait for each other.
    let key = indexer.as_u64_pair().1.cast_signed();
    // The second is shared with all commits, and waits for who erases a tenant.
    let locks = "SELECT pg_advisory_xact_lock($1), pg_advisory_xact_lock_shared(1214606441, 1)";
    sqlx::query(locks).bind(key).execute(&mut **write).await?;
    Ok(())
}

enum Recorded {
    New(CommitId),
    Before,
    Overtaken,
}

async fn record(write: &mut Write, commit: &NewCommit, places: &Places<'_>) -> Result<Recorded> {
    let row = sqlx::query(
        "WITH moved AS (
             UPDATE producers p SET epoch = n.epoch, sequence = n.sequence
             FROM unnest($5::bigint[], $6::text[], $7::bigint[], $8::bigint[])
                 AS n (tenant, producer, epoch, sequence)
             WHERE p.tenant = n.tenant AND p.producer = n.producer
         ), begun AS (
             INSERT INTO producers (tenant, producer, epoch, sequence)
             SELECT * FROM unnest($9::bigint[], $10::text[], $11::bigint[], $12::bigint[])
             ON CONFLICT (tenant, producer) DO NOTHING RETURNING 1
         ), recorded AS (
             INSERT INTO commits (indexer, object, bytes, at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (object) DO NOTHING RETURNING id
         )
         SELECT (SELECT count(*) FROM begun) AS begun, (SELECT id FROM recorded) AS id",
    )
    .bind(commit.lease.indexer)
    .bind(commit.object)
    .bind(stored("size of a write-ahead object", commit.bytes)?)
    .bind(commit.at.as_nanos());
    let row = places.begun.bind(places.moved.bind(row)).fetch_one(&mut **write).await?;
    Ok(match get::<Option<i64>>(&row, "id")? {
        None => Recorded::Before,
        Some(_) if count(&row, "begun")? < places.begun.len() => Recorded::Overtaken,
        Some(id) => Recorded::New(CommitId(id)),
    })
}

async fn recorded_as(connection: &mut PgConnection, object: ObjectId) -> Result<Option<CommitId>> {
    let id = sqlx::query_scalar("SELECT id FROM commits WHERE object = $1")
        .bind(object)
        .fetch_optional(connection)
        .await?;
    Ok(id.map(CommitId))
}

pub(super) async fn producer(
    catalog: &Postgres,
    tenant: &TenantId,
    producer: &ProducerId,
) -> Result<Option<(u64, u64)>> {
    let row = sqlx::query(
        "SELECT p.epoch, p.sequence FROM producers p JOIN tenants t ON t.id = p.tenant
         WHERE t.name = $1 AND p.producer = $2",
    )
    .bind(tenant.as_str())
    .bind(producer.as_str())
    .fetch_optional(&catalog.pool)
    .await?;
    row.map(|row| Ok((count(&row, "epoch")?, count(&row, "sequence")?))).transpose()
}

pub(super) async fn wal_objects(catalog: &Postgres, indexer: Uuid) -> Result<Vec<WalObject>> {
    sqlx::query("SELECT id, object FROM commits WHERE indexer = $1 ORDER BY id")
        .bind(indexer)
        .fetch_all(&catalog.pool)
        .await?
        .iter()
        .map(|row| Ok(WalObject { commit: commit_id(row, "id")?, object: get(row, "object")? }))
        .collect()
}

pub(super) async fn release(catalog: &Postgres, lease: &Lease, released: &[ObjectId]) -> Result<()> {
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
    sqlx::query(
        "DELETE FROM commits WHERE id IN
             (SELECT id FROM commits WHERE object = ANY($1) AND indexer = $2 ORDER BY id FOR UPDATE)",
    )
    .bind(released)
    .bind(indexer)
    .execute(&mut **write)
    .await?;
    Ok(())
}
