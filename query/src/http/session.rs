//! Signing in and out, and who one is.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, Extension, State};
use axum::response::{AppendHeaders, IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::body::JsonBody;
use super::record::Note;
use crate::access::{Caller, Principal};
use crate::error::Result;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    user: String,
    password: SecretString,
}

/// `POST /session`.
pub(super) async fn sign_in(
    State(api): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(note): Extension<Note>,
    headers: HeaderMap,
    JsonBody(SignIn { user, password }): JsonBody<SignIn>,
) -> Result<Response> {
    note.detail("user", user.as_str());
    let (caller, cookie) = api.access.sign_in(&headers, peer.ip(), &user, &password).await?;
    note.by(caller.principal());
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), Json(described(&caller))).into_response())
}

/// `DELETE /session`. Whoever came by a provider that has a sign-out of its own is told where that is.
pub(super) async fn sign_out(State(api): State<Shared>, headers: HeaderMap) -> Result<Response> {
    let (cookie, provider) = api.access.sign_out(&headers).await?;
    let taken_back = AppendHeaders([(header::SET_COOKIE, cookie)]);
    let elsewhere = match provider {
        Some(name) => {
            let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
            api.providers.sign_out(&name, host).await
        }
        None => None,
    };
    Ok(match elsewhere {
        Some((provider, url)) => {
            let told = json!({ "provider": provider.config.display_name, "sign_out_url": url });
            (taken_back, Json(told)).into_response()
        }
        None => (StatusCode::NO_CONTENT, taken_back).into_response(),
    })
}

/// `GET /session`.
pub(super) async fn who(Extension(caller): Extension<Caller>) -> Json<Value> {
    Json(described(&caller))
}

fn described(caller: &Caller) -> Value {
    let tenants: Vec<Value> = caller
        .tenants()
        .iter()
        .map(|(name, rights)| json!({ "name": name, "workspace": rights.workspace, "roles": rights.roles }))
        .collect();
    let user = match caller.principal() {
        Principal::User(name) | Principal::Forwarded(name) => name.clone(),
        machine @ (Principal::Token(_) | Principal::Platform(_)) => machine.name(),
    };
    let mut described = json!({ "user": user, "admin": caller.is_admin(), "tenants": tenants });
    if let (Some(email), Some(described)) = (caller.email(), described.as_object_mut()) {
        described.insert("email".to_owned(), email.into());
    }
    described
}
