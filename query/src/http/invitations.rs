//! Invitations: made by administrators, and by operators for their own tenants; used once, with a password.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, Extension, Path, State};
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::duration_nanos;
use heliograph_store::audit::Subject;
use heliograph_store::catalog::{Extent, Invitation, Role, User};
use heliograph_store::invitation::{self, Guest};
use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::admin::hashed;
use super::body::JsonBody;
use super::record::Note;
use crate::access::{Caller, Principal, is_user_name};
use crate::error::{Error, Result};

/// How long an invitation is open unless it says otherwise, and at most.
const OPEN_FOR: &str = "7d";
const OPEN_FOR_NANOS_MAX: i64 = 30 * 86_400 * 1_000_000_000;
/// Open invitations at the same time, over all.
const OPEN_MAX: usize = 1_000;
/// Roles of one.
const GRANTS_MAX: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantWords {
    tenant: Option<String>,
    workspace: Option<String>,
    role: Role,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewInvitation {
    email: Option<String>,
    user: Option<String>,
    #[serde(default)]
    grants: Vec<GrantWords>,
    ttl: Option<String>,
}

impl GrantWords {
    fn read(self) -> Result<(Extent, Role)> {
        let extent = match (self.tenant, self.workspace) {
            // A name that no tenant can have is as unknown as any other.
            (Some(name), None) => {
                Extent::Tenant(TenantId::parse(&name).map_err(|_| Error::NotFound { what: "tenant" })?)
            }
            (None, Some(name)) => {
                Extent::Workspace(Workspace::parse(&name).map_err(|e| Error::invalid(e.to_string()))?)
            }
            _ => return Err(Error::invalid("a grant is over a tenant or over a workspace: name one")),
        };
        Ok((extent, self.role))
    }
}

fn note_grants(note: &Note, caller: &Caller, grants: &[(Extent, Role)]) {
    let mut subjects: Vec<Subject> = Vec::new();
    for (extent, _) in grants {
        let of: Vec<&TenantId> = match extent {
            Extent::Tenant(name) => vec![name],
            Extent::Workspace(workspace) => {
                let all = caller.tenants().iter();
                all.filter(|(_, rights)| rights.workspace == *workspace).map(|(name, _)| name).collect()
            }
        };
        subjects.extend(of.into_iter().map(|name| caller.subject(name)));
    }
    let mut noted: Vec<Subject> = Vec::new();
    for subject in subjects {
        if !noted.contains(&subject) {
            note.about(subject.clone());
            noted.push(subject);
        }
    }
}

fn shown(invitation: &Invitation) -> Value {
    let grant = |(extent, role): &(Extent, Role)| match extent {
        Extent::Tenant(tenant) => json!({ "tenant": tenant, "role": role }),
        Extent::Workspace(workspace) => json!({ "workspace": workspace, "role": role }),
    };
    json!({
        "id": invitation.id,
        "email": invitation.email,
        "user": invitation.user_name,
        "grants": invitation.grants.iter().map(grant).collect::<Vec<_>>(),
        "invited_by": invitation.invited_by,
        "created": invitation.created,
        "expires": invitation.expires,
    })
}

/// `POST /admin/invitations`: the answer is the only place where the link is shown.
pub(super) async fn create(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(note): Extension<Note>,
    JsonBody(new): JsonBody<NewInvitation>,
) -> Result<(StatusCode, Json<Value>)> {
    let grants = new.grants.into_iter().map(GrantWords::read).collect::<Result<Vec<_>>>()?;
    if grants.len() > GRANTS_MAX {
        return Err(Error::invalid(format!("an invitation has at most {GRANTS_MAX} roles")));
    }
    caller.check_invites_to(&grants)?;
    note_grants(&note, &caller, &grants);
    let guest = guest(new.email, new.user)?;
    note.detail("user", guest.user_name.as_str());
    let ttl = new.ttl.as_deref().unwrap_or(OPEN_FOR);
    let nanos =
        duration_nanos(ttl).filter(|nanos| (1..=OPEN_FOR_NANOS_MAX).contains(nanos)).ok_or_else(|| {
            Error::invalid_hint(
                format!("ttl {ttl:?} cannot be used"),
                "a ttl looks like 12h or 7d, and is at most 30d",
            )
        })?;
    let now = api.clock.now();
    if api.store.catalog.invitations(now).await?.len() >= OPEN_MAX {
        return Err(Error::Busy { what: "open invitations" });
    }
    let by = caller.principal().name();
    let (invitation, token) = invitation::issue(guest, grants, by, now.saturating_add_nanos(nanos), now)?;
    note.detail("invitation", invitation.id.as_str());
    api.store.catalog.create_invitation(&invitation, now).await?;
    let mut body = shown(&invitation);
    if let Value::Object(body) = &mut body {
        let token = token.expose_secret();
        body.insert("token".to_owned(), token.into());
        body.insert("link".to_owned(), api.providers.page(&format!("#invitation={token}")).into());
    }
    Ok((StatusCode::CREATED, Json(body)))
}

/// Whom an invitation is for. An address alone is also what the account will be called.
fn guest(email: Option<String>, user: Option<String>) -> Result<Guest> {
    if let Some(email) = email.as_ref().filter(|email| !invitation::is_email(email)) {
        return Err(Error::invalid(format!("{email:?} is not an e-mail address")));
    }
    let user_name = user
        .or_else(|| email.as_ref().map(|email| email.to_ascii_lowercase()))
        .ok_or_else(|| Error::invalid("an invitation is to an e-mail address, to a user name, or to both"))?;
    match is_user_name(&user_name) {
        true => Ok(Guest { email, user_name }),
        false => Err(Error::invalid(format!("{user_name:?} cannot be a user's name"))),
    }
}

/// `GET /admin/invitations`: those that the caller could have made.
pub(super) async fn list(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>> {
    let is_operator = caller.tenants().keys().any(|name| caller.operates(name));
    let may_invite = is_operator && matches!(caller.principal(), Principal::User(_));
    if !(caller.is_admin() || may_invite) {
        return Err(Error::Forbidden);
    }
    let open = api.store.catalog.invitations(api.clock.now()).await?;
    let own = open.iter().filter(|invitation| caller.check_invites_to(&invitation.grants).is_ok());
    Ok(Json(json!({ "invitations": own.map(shown).collect::<Vec<_>>() })))
}

/// `DELETE /admin/invitations/{invitation}`: one that the caller could have made.
pub(super) async fn revoke(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(note): Extension<Note>,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let unknown = || Error::NotFound { what: "invitation" };
    let open = api.store.catalog.invitations(api.clock.now()).await?;
    let found = open.into_iter().find(|invitation| invitation.id == id).ok_or_else(unknown)?;
    caller.check_invites_to(&found.grants).map_err(|_| unknown())?;
    note_grants(&note, &caller, &found.grants);
    note.detail("invitation", id.as_str());
    match api.store.catalog.revoke_invitation(&id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(unknown()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Acceptance {
    token: SecretString,
    password: SecretString,
}

/// `POST /invitations/accept`: makes the account. Whoever has the link needs nothing else.
pub(super) async fn accept(
    State(api): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(note): Extension<Note>,
    JsonBody(body): JsonBody<Acceptance>,
) -> Result<(StatusCode, Json<Value>)> {
    let tried = api.access.begin_return(peer.ip())?;
    let now = api.clock.now();
    let catalog = &*api.store.catalog;
    let found = invitation::authenticate(catalog, body.token.expose_secret(), now).await?;
    let found = found.ok_or(Error::NotFound { what: "invitation" })?;
    // It is proved: what is wrong with the password is no guess.
    api.access.end_return(&tried);
    note.detail("invitation", found.id.as_str());
    note.detail("user", found.user_name.as_str());
    if !api.access.still_invites(&found).await? {
        note.detail("why", "who made the invitation could not make it now");
        return Err(Error::NotFound { what: "invitation" });
    }
    let user = User {
        name: found.user_name.clone(),
        password_hash: hashed(&api, body.password).await?,
        admin: false,
        disabled: false,
        created: now,
    };
    catalog.accept_invitation(&found.id, &user, None, now).await?;
    tracing::info!(user = user.name, invited_by = found.invited_by, "an invitation was accepted");
    Ok((StatusCode::CREATED, Json(json!({ "user": user.name }))))
}

#[cfg(test)]
mod tests;
