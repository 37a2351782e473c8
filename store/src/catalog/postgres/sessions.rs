//! Sessions of browsers, and values that are good for one use.

use heliograph_model::time::Timestamp;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;

use super::Postgres;
use super::people::{USER, read_user};
use super::rows::{hash, is_storable, time, user_row};
use crate::catalog::{Session, SignedIn};
use crate::error::{Error, Result};

pub(super) async fn create(catalog: &Postgres, session: &Session) -> Result<()> {
    let mut write = catalog.write().await?;
    let user = user_row(&mut write, &session.user).await?;
    sqlx::query(
        "INSERT INTO sessions (id_hash, user_id, created, expires, idle_end) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(session.id_hash.as_slice())
    .bind(user)
    .bind(session.created.as_nanos())
    .bind(session.expires.as_nanos())
    .bind(session.idle_end.as_nanos())
    .execute(&mut *write)
    .await?;
    Ok(write.commit().await?)
}

pub(super) async fn user(catalog: &Postgres, id_hash: &[u8; 32], now: Timestamp) -> Result<Option<SignedIn>> {
    let row = sqlx::query(AssertSqlSafe(format!(
        "SELECT s.idle_end, {USER} FROM sessions s JOIN users u ON u.id = s.user_id
         WHERE s.id_hash = $1 AND s.expires > $2 AND s.idle_end > $2 AND NOT u.disabled"
    )))
    .bind(id_hash.as_slice())
    .bind(now.as_nanos())
    .fetch_optional(&catalog.pool)
    .await?;
    row.as_ref()
        .map(|row| Ok(SignedIn { user: read_user(row)?, idle_end: time(row, "idle_end")? }))
        .transpose()
}

pub(super) async fn touch(catalog: &Postgres, id_hash: &[u8; 32], idle_end: Timestamp) -> Result<()> {
    let mut write = catalog.write().await?;
    sqlx::query("UPDATE sessions SET idle_end = $2 WHERE id_hash = $1 AND idle_end < $2")
        .bind(id_hash.as_slice())
        .bind(idle_end.as_nanos())
        .execute(&mut *write)
        .await?;
    Ok(write.commit().await?)
}

pub(super) async fn of(catalog: &Postgres, user: &str, now: Timestamp) -> Result<Vec<Session>> {
    if !is_storable(user) {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "SELECT s.id_hash, s.created, s.expires, s.idle_end FROM sessions s JOIN users u ON u.id = s.user_id
         WHERE u.name = $1 AND s.expires > $2 AND s.idle_end > $2 ORDER BY s.created, s.id_hash",
    )
    .bind(user)
    .bind(now.as_nanos())
    .fetch_all(&catalog.pool)
    .await?;
    let read = |row: &PgRow| {
        Ok(Session {
            id_hash: hash(row, "id_hash")?,
            user: user.to_owned(),
            created: time(row, "created")?,
            expires: time(row, "expires")?,
            idle_end: time(row, "idle_end")?,
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn end(catalog: &Postgres, id_hash: &[u8; 32], now: Timestamp) -> Result<()> {
    let mut write = catalog.write().await?;
    sqlx::query("DELETE FROM sessions WHERE id_hash = $1 OR expires <= $2 OR idle_end <= $2")
        .bind(id_hash.as_slice())
        .bind(now.as_nanos())
        .execute(&mut *write)
        .await?;
    Ok(write.commit().await?)
}

pub(super) async fn end_all(catalog: &Postgres, user: &str, but: Option<&[u8; 32]>) -> Result<u64> {
    let mut write = catalog.write().await?;
    let user = match user_row(&mut write, user).await {
        Err(Error::Missing { .. }) => return Ok(0),
        found => found?,
    };
    // A hash is never empty.
    let but = but.map_or(&[][..], |hash| hash.as_slice());
    let gone = sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND id_hash <> $2")
        .bind(user)
        .bind(but)
        .execute(&mut *write)
        .await?;
    write.commit().await?;
    Ok(gone.rows_affected())
}

pub(super) async fn spend(
    catalog: &Postgres,
    value: &[u8; 32],
    until: Timestamp,
    now: Timestamp,
) -> Result<bool> {
    let mut write = catalog.write().await?;
    sqlx::query("DELETE FROM spent WHERE until <= $1").bind(now.as_nanos()).execute(&mut *write).await?;
    let made = sqlx::query("INSERT INTO spent (hash, until) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING")
        .bind(value.as_slice())
        .bind(until.as_nanos())
        .execute(&mut *write)
        .await?;
    write.commit().await?;
    Ok(made.rows_affected() > 0)
}
