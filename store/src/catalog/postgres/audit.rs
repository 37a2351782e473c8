//! The audit log.

use heliograph_model::time::Timestamp;
use sqlx::QueryBuilder;
use sqlx::postgres::PgRow;

use super::rows::{count, get, is_storable, storable, time};
use super::tenants::named_master_key;
use super::{Postgres, Write};
use crate::audit::{Event, Head, HeadKey, Of, Page, Row};
use crate::catalog::stored;
use crate::error::{Error, Result};

const COLUMNS: &str = "seq, at, actor, action, tenant, tenant_uid, source, outcome, details, hash";
const HEAD: &str = "SELECT anchor, anchor_hash, seq, hash, broken, mac FROM audit_head";
/// Rows of one statement: ten values each, of the 65,535 that a statement may have.
const ROWS_AT_ONCE: usize = 200;

pub(super) async fn append(catalog: &Postgres, key: &HeadKey, events: &[Event]) -> Result<()> {
    let mut write = catalog.write().await?;
    let head = locked(&mut write).await?;
    let by = named_master_key(&mut write, key.first()?).await?;
    let (rows, head) = key.extend(head, events, by)?;
    insert(&mut write, &rows).await?;
    set(&mut write, &head).await?;
    Ok(write.commit().await?)
}

/// The head, which nobody else can move before this write ends.
async fn locked(write: &mut Write) -> Result<Head> {
    let row = sqlx::query("SELECT anchor, anchor_hash, seq, hash, broken, mac FROM audit_head FOR UPDATE")
        .fetch_optional(&mut **write)
        .await?;
    read_head(row.as_ref())
}

pub(super) async fn head(catalog: &Postgres) -> Result<Head> {
    let row = sqlx::query(HEAD).fetch_optional(&catalog.pool).await?;
    read_head(row.as_ref())
}

fn read_head(row: Option<&PgRow>) -> Result<Head> {
    let gone = || Error::Corrupt { object: "audit log".to_owned(), reason: "its head is gone".to_owned() };
    let row = row.ok_or_else(gone)?;
    Ok(Head {
        anchor: count(row, "anchor")?,
        anchor_hash: get(row, "anchor_hash")?,
        seq: count(row, "seq")?,
        hash: get(row, "hash")?,
        broken: count(row, "broken")?,
        mac: get(row, "mac")?,
    })
}

async fn set(write: &mut Write, head: &Head) -> Result<()> {
    sqlx::query(
        "UPDATE audit_head SET anchor = $1, anchor_hash = $2, seq = $3, hash = $4, broken = $5, mac = $6",
    )
    .bind(stored("number of a row", head.anchor)?)
    .bind(head.anchor_hash.as_slice())
    .bind(stored("number of a row", head.seq)?)
    .bind(head.hash.as_slice())
    .bind(stored("number of a row", head.broken)?)
    .bind(head.mac.as_slice())
    .execute(&mut **write)
    .await?;
    Ok(())
}

async fn insert(write: &mut Write, rows: &[Row]) -> Result<()> {
    for rows in rows.chunks(ROWS_AT_ONCE) {
        let numbers =
            rows.iter().map(|row| stored("number of a row", row.seq)).collect::<Result<Vec<_>>>()?;
        let mut query = QueryBuilder::<sqlx::Postgres>::new(format!("INSERT INTO audit ({COLUMNS}) "));
        for row in rows {
            storable("actor of an event", &row.actor)?;
        }
        query.push_values(rows.iter().zip(numbers), |mut values, (row, seq)| {
            values.push_bind(seq).push_bind(row.at.as_nanos());
            values.push_bind(row.actor.clone()).push_bind(row.action.clone());
            values.push_bind(row.tenant.clone()).push_bind(row.tenant_uid.clone());
            values.push_bind(row.source.clone()).push_bind(row.outcome.clone());
            values.push_bind(row.details.clone()).push_bind(row.hash.clone());
        });
        query.build().execute(&mut **write).await?;
    }
    Ok(())
}

pub(super) async fn rows(catalog: &Postgres, after: u64, limit: u32) -> Result<Vec<Row>> {
    let mut query = QueryBuilder::<sqlx::Postgres>::new(format!("SELECT {COLUMNS} FROM audit WHERE seq > "));
    query.push_bind(stored("number of a row", after)?);
    query.push(" ORDER BY seq LIMIT ").push_bind(i64::from(limit));
    query.build().fetch_all(&catalog.pool).await?.iter().map(read).collect()
}

pub(super) async fn page(catalog: &Postgres, page: &Page) -> Result<Vec<Row>> {
    let mut query = QueryBuilder::<sqlx::Postgres>::new(format!("SELECT {COLUMNS} FROM audit WHERE at >= "));
    query.push_bind(page.range.start.as_nanos()).push(" AND at < ").push_bind(page.range.end.as_nanos());
    if let Of::Tenant(uid) = page.of {
        query.push(" AND tenant_uid = ").push_bind(uid.as_bytes().to_vec());
    }
    if let Some(action) = page.action {
        query.push(" AND action = ").push_bind(action.as_str());
    }
    // Nobody's name holds one.
    if page.actor.as_ref().is_some_and(|actor| !is_storable(actor)) {
        return Ok(Vec::new());
    }
    if let Some(actor) = &page.actor {
        query.push(" AND actor = ").push_bind(actor.clone());
    }
    if let Some((at, seq)) = page.after {
        query.push(" AND (at, seq) < (").push_bind(at.as_nanos());
        query.push(", ").push_bind(stored("number of a row", seq)?).push(")");
    }
    query.push(" ORDER BY at DESC, seq DESC LIMIT ").push_bind(i64::from(page.limit));
    query.build().fetch_all(&catalog.pool).await?.iter().map(read).collect()
}

fn read(row: &PgRow) -> Result<Row> {
    Ok(Row {
        seq: count(row, "seq")?,
        at: time(row, "at")?,
        actor: get(row, "actor")?,
        action: get(row, "action")?,
        tenant: get(row, "tenant")?,
        tenant_uid: get(row, "tenant_uid")?,
        source: get(row, "source")?,
        outcome: get(row, "outcome")?,
        details: get(row, "details")?,
        hash: get(row, "hash")?,
    })
}

pub(super) async fn trim(catalog: &Postgres, key: &HeadKey, before: Timestamp, limit: u32) -> Result<u64> {
    let mut write = catalog.write().await?;
    let head = locked(&mut write).await?;
    // The oldest rows, and no index over their times: those behind the first that stays are not looked at.
    let oldest = sqlx::query("SELECT seq, at, hash FROM audit ORDER BY seq LIMIT $1")
        .bind(i64::from(limit))
        .fetch_all(&mut *write)
        .await?;
    let mut dropped: Option<(u64, Vec<u8>)> = None;
    let mut rows = 0;
    for row in &oldest {
        if time(row, "at")? >= before {
            break;
        }
        dropped = Some((count(row, "seq")?, get(row, "hash")?));
        rows += 1;
    }
    let Some((anchor, hash)) = dropped else { return Ok(0) };
    sqlx::query("DELETE FROM audit WHERE seq <= $1")
        .bind(stored("number of a row", anchor)?)
        .execute(&mut *write)
        .await?;
    let by = named_master_key(&mut write, key.first()?).await?;
    set(&mut write, &key.drop_through(head, (anchor, hash), by)?).await?;
    write.commit().await?;
    Ok(rows)
}

pub(super) async fn load(catalog: &Postgres, rows: &[Row], head: Option<&Head>) -> Result<()> {
    let mut write = catalog.write().await?;
    let found = locked(&mut write).await?;
    if found.seq > 0 {
        return Err(Error::Exists { what: "audit log with rows up to", name: found.seq.to_string() });
    }
    insert(&mut write, rows).await?;
    if let Some(head) = head {
        set(&mut write, head).await?;
    }
    Ok(write.commit().await?)
}
