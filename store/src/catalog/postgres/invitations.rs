//! Invitations: open until they are used, taken back, or too old.

use heliograph_model::time::Timestamp;
use sqlx::postgres::PgRow;

use super::accounts::{end_sessions, insert, rows};
use super::people::{extent, give, insert_user};
use super::rows::{get, hash, is_storable, role, storable, tenant_row, time};
use super::{Postgres, Write};
use crate::catalog::{Extent, Identity, Invitation, User};
use crate::error::{Error, Result};

pub(super) async fn create(catalog: &Postgres, invitation: &Invitation, now: Timestamp) -> Result<()> {
    let Invitation { id, user_name, invited_by, email, .. } = invitation;
    for text in [id, user_name, invited_by].into_iter().chain(email) {
        storable("invitation", text)?;
    }
    let mut write = catalog.write().await?;
    sqlx::query("DELETE FROM invitations WHERE expires <= $1")
        .bind(now.as_nanos())
        .execute(&mut *write)
        .await?;
    let made = sqlx::query(
        "INSERT INTO invitations (id, secret_hash, email, user_name, invited_by, created, expires)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&invitation.id)
    .bind(invitation.secret_hash.as_slice())
    .bind(&invitation.email)
    .bind(&invitation.user_name)
    .bind(&invitation.invited_by)
    .bind(invitation.created.as_nanos())
    .bind(invitation.expires.as_nanos())
    .execute(&mut *write)
    .await?;
    if made.rows_affected() == 0 {
        return Err(Error::Exists { what: "invitation", name: invitation.id.clone() });
    }
    for (extent, role) in &invitation.grants {
        let (tenant, workspace) = match extent {
            Extent::Tenant(name) => (Some(tenant_row(&mut write, name).await?), None),
            Extent::Workspace(name) => (None, Some(name.as_str())),
        };
        sqlx::query(
            "INSERT INTO invitation_grants (invitation, tenant, workspace, role) VALUES ($1, $2, $3, $4)",
        )
        .bind(&invitation.id)
        .bind(tenant)
        .bind(workspace)
        .bind(role.as_str())
        .execute(&mut *write)
        .await?;
    }
    Ok(write.commit().await?)
}

pub(super) async fn open(catalog: &Postgres, now: Timestamp) -> Result<Vec<Invitation>> {
    // One statement, so that each is read with its roles as of one moment.
    let found = sqlx::query(
        "SELECT i.id, i.secret_hash, i.email, i.user_name, i.invited_by, i.created, i.expires,
             t.name AS tenant, g.workspace, g.role
         FROM invitations i LEFT JOIN invitation_grants g ON g.invitation = i.id
             LEFT JOIN tenants t ON t.id = g.tenant
         WHERE i.expires > $1 ORDER BY i.created, i.id, t.name NULLS FIRST, g.workspace NULLS FIRST, g.role",
    )
    .bind(now.as_nanos())
    .fetch_all(&catalog.pool)
    .await?;
    let mut invitations: Vec<Invitation> = Vec::new();
    for row in &found {
        let id: String = get(row, "id")?;
        if invitations.last().is_none_or(|last| last.id != id) {
            invitations.push(read(row, id)?);
        }
        if get::<Option<&str>>(row, "role")?.is_some()
            && let Some(last) = invitations.last_mut()
        {
            last.grants.push((extent(row)?, role(row, "role")?));
        }
    }
    Ok(invitations)
}

fn read(row: &PgRow, id: String) -> Result<Invitation> {
    Ok(Invitation {
        id,
        secret_hash: hash(row, "secret_hash")?,
        email: get(row, "email")?,
        user_name: get(row, "user_name")?,
        grants: Vec::new(),
        invited_by: get(row, "invited_by")?,
        created: time(row, "created")?,
        expires: time(row, "expires")?,
    })
}

pub(super) async fn revoke(catalog: &Postgres, id: &str) -> Result<bool> {
    if !is_storable(id) {
        return Ok(false);
    }
    let mut write = catalog.write().await?;
    let gone = sqlx::query("DELETE FROM invitations WHERE id = $1").bind(id).execute(&mut *write).await?;
    write.commit().await?;
    Ok(gone.rows_affected() > 0)
}

pub(super) async fn accept(
    catalog: &Postgres,
    id: &str,
    user: &User,
    identity: Option<&Identity>,
    now: Timestamp,
) -> Result<()> {
    let missing = || Error::Missing { what: "invitation", name: id.to_owned() };
    if !is_storable(id) {
        return Err(missing());
    }
    let mut write = catalog.write().await?;
    let grants = sqlx::query_as::<_, (Option<i64>, Option<String>, String)>(
        "SELECT tenant, workspace, role FROM invitation_grants WHERE invitation = $1",
    )
    .bind(id)
    .fetch_all(&mut *write)
    .await?;
    // Whoever deletes it has it: of two that come at once, one.
    let taken = sqlx::query("DELETE FROM invitations WHERE id = $1 AND expires > $2")
        .bind(id)
        .bind(now.as_nanos())
        .execute(&mut *write)
        .await?;
    if taken.rows_affected() == 0 {
        return Err(missing());
    }
    let account = account(&mut write, user, identity).await?;
    for (tenant, workspace, role) in grants {
        give(&mut write, account, tenant, workspace.as_deref(), &role).await?;
    }
    Ok(write.commit().await?)
}

/// The row of the account that an invitation is for.
async fn account(write: &mut Write, user: &User, identity: Option<&Identity>) -> Result<i64> {
    let Some(identity) = identity else { return insert_user(write, user).await };
    let Some((row, account)) = rows(write, identity).await? else {
        return insert(write, identity, user, true).await;
    };
    sqlx::query("UPDATE identities SET invited = $2 WHERE id = $1")
        .bind(row)
        .bind(true)
        .execute(&mut **write)
        .await?;
    end_sessions(write, account).await?;
    Ok(account)
}
