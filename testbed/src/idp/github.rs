//! What of GitHub a sign-in needs: the code flow, and who somebody is.

use std::sync::Arc;

use axum::extract::{Form, Query, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Handle, State, Words, authorize, not_redeemed, redeemed};

/// A team of an organisation.
#[derive(Clone, Debug)]
pub struct Team {
    /// The organisation's login.
    pub organisation: String,
    /// The team's short name.
    pub slug: String,
}

/// Somebody's account.
#[derive(Clone, Debug)]
pub struct Account {
    /// For ever theirs.
    pub id: u64,
    /// Theirs until they change it.
    pub login: String,
    /// Addresses: text, primary, verified.
    pub emails: Vec<(String, bool, bool)>,
    /// Logins of organisations.
    pub organisations: Vec<String>,
    /// Teams.
    pub teams: Vec<Team>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            id: 1,
            login: "octocat".to_owned(),
            emails: Vec::new(),
            organisations: Vec::new(),
            teams: Vec::new(),
        }
    }
}

pub(super) fn routes() -> Router<Arc<Mutex<State>>> {
    Router::new()
        .route("/login/oauth/authorize", get(authorize))
        .route("/login/oauth/access_token", post(token))
        .route("/user", get(user))
        .route("/user/emails", get(emails))
        .route("/user/orgs", get(organisations))
        .route("/user/teams", get(teams))
}

async fn token(Shared(state): Handle, headers: HeaderMap, Form(words): Form<Words>) -> Response {
    let mut state = state.lock();
    let Some(code) = redeemed(&mut state, &headers, &words) else {
        // GitHub says so with 200.
        return match words.contains_key("code") {
            true => Json(json!({ "error": "bad_verification_code" })).into_response(),
            false => not_redeemed(),
        };
    };
    state.account = code.account;
    Json(json!({ "access_token": "gho_canary", "token_type": "bearer", "scope": "read:org,user:email" }))
        .into_response()
}

/// A page of what a call gives, to whoever has the token.
fn page(headers: &HeaderMap, words: &Words, all: Vec<Value>) -> Response {
    if headers.get(header::AUTHORIZATION).is_none_or(|value| value != "Bearer gho_canary") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let number = |name: &str, default: usize| words.get(name).map_or(default, |text| text.parse().unwrap());
    let (size, page) = (number("per_page", 30).min(100), number("page", 1));
    let found: Vec<Value> = all.into_iter().skip(size * (page - 1)).take(size).collect();
    Json(found).into_response()
}

async fn user(Shared(state): Handle, headers: HeaderMap) -> Response {
    if headers.get(header::AUTHORIZATION).is_none_or(|value| value != "Bearer gho_canary") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let account = state.lock().account.clone();
    Json(json!({ "id": account.id, "login": account.login, "email": null })).into_response()
}

async fn emails(Shared(state): Handle, headers: HeaderMap, Query(words): Query<Words>) -> Response {
    let all = state.lock().account.emails.clone();
    let one =
        |(email, primary, verified)| json!({ "email": email, "primary": primary, "verified": verified });
    page(&headers, &words, all.into_iter().map(one).collect())
}

async fn organisations(Shared(state): Handle, headers: HeaderMap, Query(words): Query<Words>) -> Response {
    let all = state.lock().account.organisations.clone();
    page(&headers, &words, all.into_iter().map(|login| json!({ "login": login })).collect())
}

async fn teams(Shared(state): Handle, headers: HeaderMap, Query(words): Query<Words>) -> Response {
    let all = state.lock().account.teams.clone();
    let one = |team: Team| json!({ "slug": team.slug, "organization": { "login": team.organisation } });
    page(&headers, &words, all.into_iter().map(one).collect())
}
