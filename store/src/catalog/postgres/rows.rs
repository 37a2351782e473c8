//! What is in a row's columns, as the words of the catalog.

use heliograph_model::scan::CommitId;
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, Row};

use crate::catalog::{Role, damaged};
use crate::error::{Error, Result};

/// A column of a type that PostgreSQL has.
pub(super) fn get<'r, T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>>(
    row: &'r PgRow,
    column: &'static str,
) -> Result<T> {
    Ok(row.try_get(column)?)
}

pub(super) fn time(row: &PgRow, column: &'static str) -> Result<Timestamp> {
    get(row, column).map(Timestamp::from_nanos)
}

pub(super) fn time_or_none(row: &PgRow, column: &'static str) -> Result<Option<Timestamp>> {
    Ok(get::<Option<i64>>(row, column)?.map(Timestamp::from_nanos))
}

pub(super) fn commit_id(row: &PgRow, column: &'static str) -> Result<CommitId> {
    get(row, column).map(CommitId)
}

pub(super) fn hash(row: &PgRow, column: &'static str) -> Result<[u8; 32]> {
    let bytes: &[u8] = get(row, column)?;
    bytes.try_into().map_err(|_| damaged(column, format!("{} bytes, not 32", bytes.len())))
}

/// A count; see [`crate::catalog::stored`].
pub(super) fn count(row: &PgRow, column: &'static str) -> Result<u64> {
    let number: i64 = get(row, column)?;
    u64::try_from(number).map_err(|_| damaged(column, format!("{number} is less than 0")))
}

pub(super) fn tenant(row: &PgRow, column: &'static str) -> Result<TenantId> {
    TenantId::parse(get(row, column)?).map_err(|e| damaged(column, e.to_string()))
}

pub(super) fn role(row: &PgRow, column: &'static str) -> Result<Role> {
    crate::catalog::role(get(row, column)?)
}

pub(super) fn workspace(row: &PgRow, column: &'static str) -> Result<Workspace> {
    Workspace::parse(get(row, column)?).map_err(|e| damaged(column, e.to_string()))
}

/// Whether PostgreSQL has room for a text: it knows no NUL, so there is nothing of a name that holds one.
pub(super) fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}

/// Refuses what PostgreSQL has no room for. The text is not told: it may be what somebody seeks, or a hash.
pub(super) fn storable(what: &'static str, text: &str) -> Result<()> {
    if is_storable(text) {
        return Ok(());
    }
    let reason = "it holds a NUL, for which PostgreSQL has no room: leave that out".to_owned();
    Err(heliograph_model::Error::Decode { what, reason }.into())
}

/// The row of a tenant that is not erased, or [`Error::Missing`].
pub(super) async fn tenant_row(connection: &mut PgConnection, name: &TenantId) -> Result<i64> {
    sqlx::query_scalar("SELECT id FROM tenants WHERE name = $1 AND wrapped_key <> ''")
        .bind(name.as_str())
        .fetch_optional(connection)
        .await?
        .ok_or_else(|| Error::Missing { what: "tenant", name: name.to_string() })
}

/// The row of a user, or [`Error::Missing`].
pub(super) async fn user_row(connection: &mut PgConnection, name: &str) -> Result<i64> {
    let missing = || Error::Missing { what: "user", name: name.to_owned() };
    if !is_storable(name) {
        return Err(missing());
    }
    sqlx::query_scalar("SELECT id FROM users WHERE name = $1")
        .bind(name)
        .fetch_optional(connection)
        .await?
        .ok_or_else(missing)
}
