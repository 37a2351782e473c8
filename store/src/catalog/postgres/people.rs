//! Users with their passwords and grants, and machines' tokens.

use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection};

use super::accounts::end_sessions;
use super::rows::{
    get, hash, is_storable, role, storable, tenant, tenant_row, time, time_or_none, user_row, workspace,
};
use super::{Postgres, Write};
use crate::catalog::{Extent, Grant, Token, User, role as role_of};
use crate::error::{Error, Result};

pub(super) async fn create_user(catalog: &Postgres, user: &User) -> Result<()> {
    let mut write = catalog.write().await?;
    insert_user(&mut write, user).await?;
    Ok(write.commit().await?)
}

/// Adds a user; its row.
pub(super) async fn insert_user(write: &mut Write, user: &User) -> Result<i64> {
    storable("name of a user", &user.name)?;
    storable("hash of a password", &user.password_hash)?;
    sqlx::query_scalar(
        "INSERT INTO users (name, password_hash, admin, created, disabled) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (name) DO NOTHING RETURNING id",
    )
    .bind(&user.name)
    .bind(&user.password_hash)
    .bind(user.admin)
    .bind(user.created.as_nanos())
    .bind(user.disabled)
    .fetch_optional(&mut **write)
    .await?
    .ok_or_else(|| Error::Exists { what: "user", name: user.name.clone() })
}

pub(super) async fn user(catalog: &Postgres, name: &str) -> Result<Option<User>> {
    if !is_storable(name) {
        return Ok(None);
    }
    let row = sqlx::query(AssertSqlSafe(format!("SELECT {USER} FROM users u WHERE u.name = $1")))
        .bind(name)
        .fetch_optional(&catalog.pool)
        .await?;
    row.as_ref().map(read_user).transpose()
}

pub(super) async fn users(catalog: &Postgres) -> Result<Vec<User>> {
    sqlx::query(AssertSqlSafe(format!("SELECT {USER} FROM users u ORDER BY u.name")))
        .fetch_all(&catalog.pool)
        .await?
        .iter()
        .map(read_user)
        .collect()
}

/// The columns of a user `u` that [`read_user`] takes.
pub(super) const USER: &str = "u.name, u.password_hash, u.created, u.disabled,
    u.admin OR EXISTS (SELECT 1 FROM identities i WHERE i.user_id = u.id AND i.admin) AS admin";

pub(super) fn read_user(row: &PgRow) -> Result<User> {
    Ok(User {
        name: get(row, "name")?,
        password_hash: get(row, "password_hash")?,
        admin: get(row, "admin")?,
        disabled: get(row, "disabled")?,
        created: time(row, "created")?,
    })
}

pub(super) async fn set_password(catalog: &Postgres, name: &str, password_hash: &str) -> Result<()> {
    let mut write = catalog.write().await?;
    let user = user_row(&mut write, name).await?;
    sqlx::query("UPDATE users SET password_hash = $2 WHERE id = $1")
        .bind(user)
        .bind(password_hash)
        .execute(&mut *write)
        .await?;
    end_sessions(&mut write, user).await?;
    Ok(write.commit().await?)
}

/// The rows that a grant stands on: its user, and its tenant or the name of its workspace.
async fn grant_rows<'g>(
    connection: &mut PgConnection,
    grant: &'g Grant,
) -> Result<(i64, Option<i64>, Option<&'g str>)> {
    let user = user_row(connection, &grant.user).await?;
    Ok(match &grant.extent {
        Extent::Tenant(name) => (user, Some(tenant_row(connection, name).await?), None),
        Extent::Workspace(name) => (user, None, Some(name.as_str())),
    })
}

pub(super) async fn grant(catalog: &Postgres, grant: &Grant) -> Result<()> {
    let mut write = catalog.write().await?;
    let (user, tenant, workspace) = grant_rows(&mut write, grant).await?;
    if give(&mut write, user, tenant, workspace, grant.role.as_str()).await? {
        end_sessions(&mut write, user).await?;
    }
    Ok(write.commit().await?)
}

/// Gives a role by hand; whether it is new.
pub(super) async fn give(
    write: &mut Write,
    user: i64,
    tenant: Option<i64>,
    workspace: Option<&str>,
    role: &str,
) -> Result<bool> {
    let made = sqlx::query(
        "INSERT INTO grants (user_id, tenant, workspace, role) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(user)
    .bind(tenant)
    .bind(workspace)
    .bind(role)
    .execute(&mut **write)
    .await?;
    Ok(made.rows_affected() > 0)
}

pub(super) async fn revoke_grant(catalog: &Postgres, grant: &Grant) -> Result<bool> {
    let mut write = catalog.write().await?;
    let (user, tenant, workspace) = match grant_rows(&mut write, grant).await {
        Err(Error::Missing { .. }) => return Ok(false),
        found => found?,
    };
    let gone = sqlx::query(
        "DELETE FROM grants WHERE user_id = $1 AND tenant IS NOT DISTINCT FROM $2
                 AND workspace IS NOT DISTINCT FROM $3 AND role = $4",
    )
    .bind(user)
    .bind(tenant)
    .bind(workspace)
    .bind(grant.role.as_str())
    .execute(&mut *write)
    .await?;
    if gone.rows_affected() > 0 {
        end_sessions(&mut write, user).await?;
    }
    write.commit().await?;
    Ok(gone.rows_affected() > 0)
}

pub(super) async fn grants(catalog: &Postgres, user: &str) -> Result<Vec<Grant>> {
    if !is_storable(user) {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "SELECT t.name AS tenant, g.workspace, g.role
         FROM grants g JOIN users u ON u.id = g.user_id LEFT JOIN tenants t ON t.id = g.tenant
         WHERE u.name = $1 ORDER BY t.name NULLS FIRST, g.workspace NULLS FIRST, g.role",
    )
    .bind(user)
    .fetch_all(&catalog.pool)
    .await?;
    let read =
        |row: &PgRow| Ok(Grant { user: user.to_owned(), extent: extent(row)?, role: role(row, "role")? });
    rows.iter().map(read).collect()
}

/// What a grant is over: the tenant of a row, or its workspace.
pub(super) fn extent(row: &PgRow) -> Result<Extent> {
    Ok(match get::<Option<&str>>(row, "tenant")? {
        Some(_) => Extent::Tenant(tenant(row, "tenant")?),
        None => Extent::Workspace(workspace(row, "workspace")?),
    })
}

pub(super) async fn create_token(catalog: &Postgres, token: &Token) -> Result<()> {
    let mut write = catalog.write().await?;
    let tenant = tenant_row(&mut write, &token.tenant).await?;
    storable("id of a token", &token.id)?;
    let roles: Vec<_> = token.roles.iter().map(|r| r.as_str()).collect();
    let made = sqlx::query(
        "INSERT INTO tokens (id, secret_hash, tenant, roles, created, expires, revoked)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&token.id)
    .bind(token.secret_hash.as_slice())
    .bind(tenant)
    .bind(roles.join(" "))
    .bind(token.created.as_nanos())
    .bind(token.expires.map(Timestamp::as_nanos))
    .bind(token.revoked.map(Timestamp::as_nanos))
    .execute(&mut *write)
    .await?;
    if made.rows_affected() == 0 {
        return Err(Error::Exists { what: "token", name: token.id.clone() });
    }
    Ok(write.commit().await?)
}

pub(super) async fn token(catalog: &Postgres, id: &str) -> Result<Option<Token>> {
    if !is_storable(id) {
        return Ok(None);
    }
    let row = sqlx::query(
        "SELECT k.id, k.secret_hash, t.name AS tenant, k.roles, k.created, k.expires, k.revoked
         FROM tokens k JOIN tenants t ON t.id = k.tenant WHERE k.id = $1",
    )
    .bind(id)
    .fetch_optional(&catalog.pool)
    .await?;
    row.as_ref().map(read_token).transpose()
}

pub(super) async fn tokens(catalog: &Postgres, tenant: Option<&TenantId>) -> Result<Vec<Token>> {
    sqlx::query(
        "SELECT k.id, k.secret_hash, t.name AS tenant, k.roles, k.created, k.expires, k.revoked
         FROM tokens k JOIN tenants t ON t.id = k.tenant
         WHERE $1::text IS NULL OR t.name = $1 ORDER BY k.created, k.id",
    )
    .bind(tenant.map(TenantId::as_str))
    .fetch_all(&catalog.pool)
    .await?
    .iter()
    .map(read_token)
    .collect()
}

fn read_token(row: &PgRow) -> Result<Token> {
    Ok(Token {
        id: get(row, "id")?,
        secret_hash: hash(row, "secret_hash")?,
        tenant: tenant(row, "tenant")?,
        roles: get::<&str>(row, "roles")?.split_whitespace().map(role_of).collect::<Result<_>>()?,
        created: time(row, "created")?,
        expires: time_or_none(row, "expires")?,
        revoked: time_or_none(row, "revoked")?,
    })
}

pub(super) async fn revoke_token(catalog: &Postgres, id: &str, at: Timestamp) -> Result<()> {
    let missing = || Error::Missing { what: "token", name: id.to_owned() };
    if !is_storable(id) {
        return Err(missing());
    }
    let mut write = catalog.write().await?;
    // The first revocation is the one that counts.
    let found = sqlx::query("UPDATE tokens SET revoked = coalesce(revoked, $2) WHERE id = $1")
        .bind(id)
        .bind(at.as_nanos())
        .execute(&mut *write)
        .await?;
    if found.rows_affected() == 0 {
        return Err(missing());
    }
    Ok(write.commit().await?)
}
