//! Administration by platform administrators: tenants, users, grants, tokens.

use axum::Json;
use axum::extract::{Extension, Path, State};
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::{Timestamp, duration_nanos};
use heliograph_store::audit::Subject;
use heliograph_store::catalog::{Extent, Grant, Role, Token, User};
use http::{StatusCode, Uri};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::body::JsonBody;
use super::params::Params;
use super::record::Note;
use crate::access::{Caller, is_user_name};
use crate::error::{Error, Result};

/// The workspace of a tenant for which none is named.
const WORKSPACE_DEFAULT: &str = "default";
/// Shortest password that a person may have.
const PASSWORD_CHARS_MIN: usize = 8;

type Created = (StatusCode, Json<Value>);

fn created(value: Value) -> Created {
    (StatusCode::CREATED, Json(value))
}

fn named_tenant(name: &str) -> Result<TenantId> {
    // A name that no tenant can have is as unknown as any other.
    TenantId::parse(name).map_err(|_| Error::NotFound { what: "tenant" })
}

/// `GET /admin/tenants`.
pub(super) async fn tenants(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>> {
    caller.require_admin()?;
    let tenants: Vec<Value> = api
        .store
        .catalog
        .tenants()
        .await?
        .into_iter()
        .map(|t| json!({ "name": t.name, "workspace": t.workspace, "created": t.created }))
        .collect();
    Ok(Json(json!({ "tenants": tenants })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTenant {
    name: String,
    workspace: Option<String>,
}

/// `POST /admin/tenants`.
pub(super) async fn create_tenant(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(note): Extension<Note>,
    JsonBody(new): JsonBody<NewTenant>,
) -> Result<Created> {
    caller.require_admin()?;
    let name = TenantId::parse(&new.name).map_err(|e| Error::invalid(e.to_string()))?;
    note.detail("tenant", name.as_str());
    let workspace = Workspace::parse(new.workspace.as_deref().unwrap_or(WORKSPACE_DEFAULT))
        .map_err(|e| Error::invalid(e.to_string()))?;
    note.detail("workspace", workspace.as_str());
    let made = api.store.tenants.create(&name, &workspace).await?;
    note.about(Subject::Tenant { name: name.clone(), uid: made.uid });
    tracing::info!(by = caller.principal().name(), tenant = %name, "a tenant was made");
    Ok(created(json!({ "name": name, "workspace": workspace })))
}

/// `GET /admin/users`.
pub(super) async fn users(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>> {
    caller.require_admin()?;
    let users: Vec<Value> = api
        .store
        .catalog
        .users()
        .await?
        .into_iter()
        .map(|u| json!({
            "name": u.name, "admin": u.admin, "disabled": u.disabled, "has_password": !u.password_hash.is_empty(),
            "created": u.created,
        }))
        .collect();
    Ok(Json(json!({ "users": users })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    name: String,
    password: SecretString,
    #[serde(default)]
    admin: bool,
}

/// The hash of a password that a person may have.
pub(super) async fn hashed(api: &Shared, secret: SecretString) -> Result<String> {
    if secret.expose_secret().chars().count() < PASSWORD_CHARS_MIN {
        return Err(Error::invalid(format!("a password has at least {PASSWORD_CHARS_MIN} characters")));
    }
    if secret.expose_secret().starts_with(crate::access::TOKEN_PREFIX) {
        return Err(Error::invalid("a password does not begin with hg_: that is how tokens begin"));
    }
    api.access.hash(secret).await
}

/// `POST /admin/users`.
pub(super) async fn create_user(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(note): Extension<Note>,
    JsonBody(new): JsonBody<NewUser>,
) -> Result<Created> {
    caller.require_admin()?;
    note.detail("user", new.name.as_str());
    note.detail("admin", new.admin);
    if !is_user_name(&new.name) {
        return Err(Error::invalid_hint(
            format!("{:?} cannot be a user's name", new.name.chars().take(128).collect::<String>()),
            "1 to 128 characters without spaces and colons",
        ));
    }
    let user = User {
        name: new.name,
        password_hash: hashed(&api, new.password).await?,
        admin: new.admin,
        disabled: false,
        created: api.clock.now(),
    };
    api.store.catalog.create_user(&user).await?;
    tracing::info!(by = caller.principal().name(), user = user.name, admin = user.admin, "a user was made");
    Ok(created(json!({ "name": user.name, "admin": user.admin })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    password: SecretString,
}

/// `PUT /admin/users/{name}/password`: ends the user's sessions, too.
pub(super) async fn set_password(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(note): Extension<Note>,
    Path(name): Path<String>,
    JsonBody(new): JsonBody<NewPassword>,
) -> Result<StatusCode> {
    caller.require_admin()?;
    note.detail("user", name.as_str());
    let hash = hashed(&api, new.password).await?;
    api.store.catalog.set_password(&name, &hash).await?;
    tracing::info!(by = caller.principal().name(), user = name, "a password was set");
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /admin/grants`: of one user or of all.
pub(super) async fn grants(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<Value>> {
    caller.require_admin()?;
    let mut params = Params::of(&uri)?;
    let one = params.one("user")?;
    params.finish()?;
    let users = match one {
        Some(user) => vec![api.store.catalog.user(&user).await?.ok_or(Error::NotFound { what: "user" })?],
        None => api.store.catalog.users().await?,
    };
    let mut grants = Vec::new();
    for user in users {
        grants.extend(api.store.catalog.grants(&user.name).await?.iter().map(grant_json));
        let mapped = api.store.catalog.mapped_grants(&user.name).await?;
        grants.extend(mapped.iter().map(|(issuer, grant)| {
            let mut shown = grant_json(grant);
            if let Value::Object(shown) = &mut shown {
                // Given by a group of a provider, and taken with it.
                shown.insert("source".to_owned(), issuer.as_str().into());
            }
            shown
        }));
    }
    Ok(Json(json!({ "grants": grants })))
}

fn grant_json(grant: &Grant) -> Value {
    match &grant.extent {
        Extent::Tenant(tenant) => json!({ "user": grant.user, "tenant": tenant, "role": grant.role }),
        Extent::Workspace(workspace) => {
            json!({ "user": grant.user, "workspace": workspace, "role": grant.role })
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantBody {
    user: String,
    tenant: Option<String>,
    workspace: Option<String>,
    role: Role,
}

impl GrantBody {
    fn grant(self) -> Result<Grant> {
        let extent = match (self.tenant, self.workspace) {
            (Some(tenant), None) => Extent::Tenant(named_tenant(&tenant)?),
            (None, Some(workspace)) => {
                Extent::Workspace(Workspace::parse(&workspace).map_err(|e| Error::invalid(e.to_string()))?)
            }
            _ => return Err(Error::invalid("a grant is over a tenant or over a workspace: name one")),
        };
        Ok(Grant { user: self.user, extent, role: self.role })
    }
}

/// A grant over a workspace is about each of its tenants.
fn note_grant(note: &Note, caller: &Caller, grant: &Grant) {
    note.detail("user", grant.user.as_str());
    note.detail("role", grant.role.as_str());
    match &grant.extent {
        Extent::Tenant(tenant) => note.about(caller.subject(tenant)),
        Extent::Workspace(workspace) => {
            note.detail("workspace", workspace.as_str());
            let of = caller.tenants().iter().filter(|(_, rights)| rights.workspace == *workspace);
            of.for_each(|(tenant, _)| note.about(caller.subject(tenant)));
        }
    }
}

/// `POST /admin/grants`.
pub(super) async fn grant(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(note): Extension<Note>,
    JsonBody(body): JsonBody<GrantBody>,
) -> Result<Created> {
    caller.require_admin()?;
    let grant = body.grant()?;
    note_grant(&note, &caller, &grant);
    api.store.catalog.grant(&grant).await?;
    tracing::info!(by = caller.principal().name(), ?grant, "a role was given");
    Ok(created(grant_json(&grant)))
}

/// `DELETE /admin/grants`, with the same body as giving.
pub(super) async fn revoke_grant(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(note): Extension<Note>,
    JsonBody(body): JsonBody<GrantBody>,
) -> Result<StatusCode> {
    caller.require_admin()?;
    let grant = body.grant()?;
    note_grant(&note, &caller, &grant);
    if !api.store.catalog.revoke_grant(&grant).await? {
        return Err(Error::NotFound { what: "grant" });
    }
    tracing::info!(by = caller.principal().name(), ?grant, "a role was taken back");
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /admin/tokens`: of one tenant or of all; never their secrets.
pub(super) async fn tokens(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<Value>> {
    caller.require_admin()?;
    let mut params = Params::of(&uri)?;
    let tenant = params.one("tenant")?;
    params.finish()?;
    let tenant = match tenant {
        Some(name) => Some(existing(&api, &name).await?),
        None => None,
    };
    let tokens = api.store.catalog.tokens(tenant.as_ref()).await?;
    Ok(Json(json!({ "tokens": tokens.iter().map(token_json).collect::<Vec<_>>() })))
}

fn token_json(token: &Token) -> Value {
    json!({
        "id": token.id,
        "tenant": token.tenant,
        "roles": token.roles,
        "created": token.created,
        "expires": token.expires,
        "revoked": token.revoked,
    })
}

async fn existing(api: &Shared, name: &str) -> Result<TenantId> {
    let name = named_tenant(name)?;
    match api.store.catalog.tenant(&name).await? {
        Some(tenant) => Ok(tenant.name),
        None => Err(Error::NotFound { what: "tenant" }),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    tenant: String,
    roles: Vec<Role>,
    ttl: Option<String>,
}

/// `POST /admin/tokens`: the answer is the only place where the token is shown.
pub(super) async fn create_token(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(note): Extension<Note>,
    JsonBody(new): JsonBody<NewToken>,
) -> Result<Created> {
    caller.require_admin()?;
    let tenant = existing(&api, &new.tenant).await?;
    note.about(caller.subject(&tenant));
    note.detail("roles", new.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>());
    if let Some(ttl) = &new.ttl {
        note.detail("ttl", ttl.as_str());
    }
    if new.roles.is_empty() {
        return Err(Error::invalid("a token needs a role: viewer, writer or operator"));
    }
    let now: Timestamp = api.clock.now();
    let expires = match new.ttl.as_deref() {
        None => None,
        Some(ttl) => Some(duration_nanos(ttl).map(|n| now.saturating_add_nanos(n)).ok_or_else(|| {
            Error::invalid_hint(format!("ttl {ttl:?} cannot be read"), "a ttl looks like 12h or 30d")
        })?),
    };
    let (token, secret) = heliograph_store::token::issue(&tenant, &new.roles, expires, now)?;
    note.detail("token", token.id.as_str());
    api.store.catalog.create_token(&token).await?;
    tracing::info!(by = caller.principal().name(), token = token.id, %tenant, "a token was made");
    let mut body = token_json(&token);
    if let Value::Object(body) = &mut body {
        body.insert("token".to_owned(), Value::String(secret.expose_secret().to_owned()));
    }
    Ok(created(body))
}

/// `DELETE /admin/tokens/{id}`.
pub(super) async fn revoke_token(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(note): Extension<Note>,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    caller.require_admin()?;
    note.detail("token", id.as_str());
    if let Some(token) = api.store.catalog.token(&id).await? {
        note.about(caller.subject(&token.tenant));
    }
    api.store.catalog.revoke_token(&id, api.clock.now()).await?;
    tracing::info!(by = caller.principal().name(), token = id, "a token was revoked");
    Ok(StatusCode::NO_CONTENT)
}
