//! Accounts of people whom a provider vouches for, what its groups give them, and who is locked out.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection};

use super::people::{USER, extent, insert_user, read_user};
use super::rows::{get, is_storable, role, storable, tenant_row, user_row};
use super::{Postgres, Write};
use crate::catalog::{Extent, Grant, Identity, Known, Mapped, Role, User};
use crate::error::{Error, Result};

pub(super) async fn set_disabled(catalog: &Postgres, name: &str, disabled: bool) -> Result<()> {
    let mut write = catalog.write().await?;
    let user = user_row(&mut write, name).await?;
    sqlx::query("UPDATE users SET disabled = $2 WHERE id = $1")
        .bind(user)
        .bind(disabled)
        .execute(&mut *write)
        .await?;
    if disabled {
        end_sessions(&mut write, user).await?;
    }
    Ok(write.commit().await?)
}

/// Ends all sessions of a user.
pub(super) async fn end_sessions(connection: &mut PgConnection, user: i64) -> Result<()> {
    sqlx::query("DELETE FROM sessions WHERE user_id = $1").bind(user).execute(connection).await?;
    Ok(())
}

pub(super) async fn mapped_grants(catalog: &Postgres, user: &str) -> Result<Vec<(String, Grant)>> {
    if !is_storable(user) {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "SELECT i.issuer, t.name AS tenant, g.workspace, g.role
         FROM mapped_grants g JOIN identities i ON i.id = g.identity JOIN users u ON u.id = i.user_id
             LEFT JOIN tenants t ON t.id = g.tenant
         WHERE u.name = $1 ORDER BY i.issuer, t.name NULLS FIRST, g.workspace NULLS FIRST, g.role",
    )
    .bind(user)
    .fetch_all(&catalog.pool)
    .await?;
    let read = |row: &PgRow| {
        let grant = Grant { user: user.to_owned(), extent: extent(row)?, role: role(row, "role")? };
        Ok((get(row, "issuer")?, grant))
    };
    rows.iter().map(read).collect()
}

pub(super) async fn known(catalog: &Postgres, issuer: &str, subject: &str) -> Result<Option<Known>> {
    if !is_storable(issuer) || !is_storable(subject) {
        return Ok(None);
    }
    let row = sqlx::query(AssertSqlSafe(format!(
        "SELECT n.invited, {USER} FROM identities n JOIN users u ON u.id = n.user_id
         WHERE n.issuer = $1 AND n.subject = $2"
    )))
    .bind(issuer)
    .bind(subject)
    .fetch_optional(&catalog.pool)
    .await?;
    row.as_ref().map(|row| Ok(Known { user: read_user(row)?, invited: get(row, "invited")? })).transpose()
}

pub(super) async fn create_known(catalog: &Postgres, identity: &Identity, user: &User) -> Result<()> {
    let mut write = catalog.write().await?;
    insert(&mut write, identity, user, false).await?;
    Ok(write.commit().await?)
}

/// Makes an account for an identity; its row.
pub(super) async fn insert(
    write: &mut Write,
    identity: &Identity,
    user: &User,
    invited: bool,
) -> Result<i64> {
    let row = insert_user(write, user).await?;
    for text in [&identity.issuer, &identity.subject].into_iter().chain(&identity.email) {
        storable("identity", text)?;
    }
    let made = sqlx::query(
        "INSERT INTO identities (issuer, subject, user_id, email, invited, admin, created)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (issuer, subject) DO NOTHING",
    )
    .bind(&identity.issuer)
    .bind(&identity.subject)
    .bind(row)
    .bind(&identity.email)
    .bind(invited)
    .bind(false)
    .bind(user.created.as_nanos())
    .execute(&mut **write)
    .await?;
    if made.rows_affected() == 0 {
        return Err(Error::Exists { what: "identity", name: identity.subject.clone() });
    }
    Ok(row)
}

/// The rows of an identity and of its account; locked, so that two who sign in at once do not both write.
pub(super) async fn rows(write: &mut Write, identity: &Identity) -> Result<Option<(i64, i64)>> {
    let found =
        sqlx::query_as("SELECT id, user_id FROM identities WHERE issuer = $1 AND subject = $2 FOR UPDATE")
            .bind(&identity.issuer)
            .bind(&identity.subject)
            .fetch_optional(&mut **write)
            .await?;
    Ok(found)
}

pub(super) async fn set_mapped(catalog: &Postgres, identity: &Identity, mapped: &Mapped) -> Result<bool> {
    let mut write = catalog.write().await?;
    let missing = || Error::Missing { what: "identity", name: identity.subject.clone() };
    let (row, user) = rows(&mut write, identity).await?.ok_or_else(missing)?;
    let was_admin: bool = sqlx::query_scalar("SELECT admin FROM identities WHERE id = $1")
        .bind(row)
        .fetch_one(&mut *write)
        .await?;
    sqlx::query("UPDATE identities SET email = $2, admin = $3 WHERE id = $1")
        .bind(row)
        .bind(&identity.email)
        .bind(mapped.admin)
        .execute(&mut *write)
        .await?;
    let before = placed(&mut write, row).await?;
    let mut after = Vec::new();
    for (extent, role) in &mapped.grants {
        match extent {
            Extent::Workspace(workspace) => after.push((None, Some(workspace.to_string()), *role)),
            Extent::Tenant(name) => match tenant_row(&mut write, name).await {
                Ok(tenant) => after.push((Some(tenant), None, *role)),
                Err(Error::Missing { .. }) => {}
                Err(error) => return Err(error),
            },
        }
    }
    after.sort();
    after.dedup();
    let has_changed = was_admin != mapped.admin || before != after;
    if has_changed {
        sqlx::query("DELETE FROM mapped_grants WHERE identity = $1").bind(row).execute(&mut *write).await?;
        for (tenant, workspace, role) in after {
            sqlx::query(
                "INSERT INTO mapped_grants (identity, tenant, workspace, role) VALUES ($1, $2, $3, $4)",
            )
            .bind(row)
            .bind(tenant)
            .bind(workspace)
            .bind(role.as_str())
            .execute(&mut *write)
            .await?;
        }
        end_sessions(&mut write, user).await?;
    }
    write.commit().await?;
    Ok(has_changed)
}

/// What an identity has, in order.
async fn placed(write: &mut Write, identity: i64) -> Result<Vec<(Option<i64>, Option<String>, Role)>> {
    let found = sqlx::query("SELECT tenant, workspace, role FROM mapped_grants WHERE identity = $1")
        .bind(identity)
        .fetch_all(&mut **write)
        .await?;
    let read = |row: &PgRow| Ok((get(row, "tenant")?, get(row, "workspace")?, role(row, "role")?));
    let mut placed = found.iter().map(read).collect::<Result<Vec<_>>>()?;
    placed.sort();
    Ok(placed)
}
