//! Sessions and locks: each person sees and ends their own, an administrator ends and locks out anybody's.

use axum::Json;
use axum::extract::{Extension, Path, State};
use heliograph_store::catalog::Session;
use http::StatusCode;
use serde_json::{Value, json};

use super::Shared;
use super::record::Note;
use crate::access::{Caller, Principal, public_id};
use crate::error::{Error, Result};

/// The person who calls; machines have no sessions, and those of whom a proxy names are the proxy's.
fn person(caller: &Caller) -> Result<&str> {
    match caller.principal() {
        Principal::User(name) => Ok(name),
        Principal::Token(_) | Principal::Forwarded(_) | Principal::Platform(_) => Err(Error::Forbidden),
    }
}

/// `GET /sessions`: one's own.
pub(super) async fn list(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>> {
    let sessions = api.store.catalog.sessions(person(&caller)?, api.clock.now()).await?;
    let one = |session: &Session| {
        json!({
            "id": public_id(&session.id_hash),
            "created": session.created,
            "expires": session.expires,
            "idle_end": session.idle_end,
            "current": caller.session() == Some(&session.id_hash),
        })
    };
    Ok(Json(json!({ "sessions": sessions.iter().map(one).collect::<Vec<_>>() })))
}

/// `DELETE /sessions`: all of one's own but the one that asks.
pub(super) async fn end_others(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(note): Extension<Note>,
) -> Result<Json<Value>> {
    let ended = api.store.catalog.end_sessions(person(&caller)?, caller.session()).await?;
    note.detail("sessions", ended);
    Ok(Json(json!({ "ended": ended })))
}

/// `DELETE /sessions/{session}`: one of one's own.
pub(super) async fn end_one(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(note): Extension<Note>,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let now = api.clock.now();
    let own = api.store.catalog.sessions(person(&caller)?, now).await?;
    let found = own.iter().find(|session| public_id(&session.id_hash) == id);
    let found = found.ok_or(Error::NotFound { what: "session" })?;
    note.detail("session", id);
    api.store.catalog.end_session(&found.id_hash, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /admin/users/{name}/sessions`: all of somebody's.
pub(super) async fn end_all(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(note): Extension<Note>,
    Path(name): Path<String>,
) -> Result<Json<Value>> {
    caller.require_admin()?;
    note.detail("user", name.as_str());
    api.store.catalog.user(&name).await?.ok_or(Error::NotFound { what: "user" })?;
    let ended = api.store.catalog.end_sessions(&name, None).await?;
    note.detail("sessions", ended);
    Ok(Json(json!({ "ended": ended })))
}

/// `POST /admin/users/{name}/disable`: no credential of theirs is good from now on.
pub(super) async fn disable(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(note): Extension<Note>,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    caller.require_admin()?;
    note.detail("user", name.as_str());
    if person(&caller).is_ok_and(|own| own == name) {
        return Err(Error::invalid_hint("nobody locks themselves out", "another administrator can"));
    }
    set_disabled(&api, &caller, &name, true).await
}

/// `POST /admin/users/{name}/enable`.
pub(super) async fn enable(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(note): Extension<Note>,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    caller.require_admin()?;
    note.detail("user", name.as_str());
    set_disabled(&api, &caller, &name, false).await
}

async fn set_disabled(api: &Shared, caller: &Caller, name: &str, disabled: bool) -> Result<StatusCode> {
    api.store.catalog.set_disabled(name, disabled).await?;
    tracing::info!(by = caller.principal().name(), user = name, disabled, "a user was locked out or let in");
    Ok(StatusCode::NO_CONTENT)
}
