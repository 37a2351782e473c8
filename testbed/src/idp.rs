//! An identity provider on loopback: OpenID Connect with real signatures, and what of GitHub a sign-in needs.
//!
//! It signs in at once whoever is [`State::visitor`], checks what a provider checks (client, redirect, code once, PKCE),
//! and lies where a test says so.

mod github;
pub mod keys;

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use axum::extract::{Form, Query, State as Shared};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::{HeaderMap, StatusCode, header};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::tasks::Tasks;
pub use github::{Account, Team};
pub use keys::{Algorithm, Keys};

/// The client that it knows.
pub const CLIENT_ID: &str = "heliograph";
/// And its secret.
pub const CLIENT_SECRET: &str = "canary-client-secret";

/// Makes the ID token in the place of the proper one, of the claims that it would have.
pub type Forge = Box<dyn Fn(&Keys, &Value) -> String + Send>;

/// What it knows and how it behaves.
pub struct State {
    /// What the token of whoever signs in says beside `iss`, `aud`, `exp`, `iat` and `nonce`; `sub` is needed.
    pub visitor: Value,
    /// What its user info says more.
    pub user_info: Value,
    /// Whoever signs in by GitHub.
    pub account: Account,
    /// What ID tokens are signed with.
    pub algorithm: Algorithm,
    /// Its keys.
    pub keys: Keys,
    /// Keys that stand before these in its set.
    pub more_keys: Vec<Value>,
    /// In the place of the ID token.
    pub forge: Option<Forge>,
    /// Changes what it says of itself.
    pub discovery: Value,
    /// Whether it names itself when it sends a browser back (RFC 9207), and by what name.
    pub names_itself: Option<String>,
    /// How often its keys were asked for.
    pub keys_asked: usize,
    /// How often its token endpoint was.
    pub tokens_asked: usize,
    codes: HashMap<String, Code>,
    next: u64,
    url: String,
    now: Box<dyn Fn() -> i64 + Send>,
}

struct Code {
    redirect: String,
    challenge: String,
    nonce: Option<String>,
    visitor: Value,
    account: Account,
}

/// A running provider.
pub struct Idp {
    /// Its issuer.
    pub url: String,
    state: Arc<Mutex<State>>,
    _tasks: Tasks,
}

type Handle = Shared<Arc<Mutex<State>>>;

impl Idp {
    /// Starts one on a free port; `now` gives the seconds since 1970 of its clock.
    pub async fn start(now: impl Fn() -> i64 + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State {
            visitor: json!({ "sub": "1" }),
            user_info: json!({}),
            account: Account::default(),
            algorithm: Algorithm::Rsa,
            keys: Keys::new("key"),
            more_keys: Vec::new(),
            forge: None,
            discovery: json!({}),
            names_itself: None,
            keys_asked: 0,
            tokens_asked: 0,
            codes: HashMap::new(),
            next: 1,
            url: url.clone(),
            now: Box::new(now),
        };
        let state = Arc::new(Mutex::new(state));
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/userinfo", get(user_info))
            .merge(github::routes())
            .with_state(Arc::clone(&state));
        let tasks = Tasks::new();
        tasks.spawner().spawn(async move {
            axum::serve(listener, routes).await.unwrap();
        });
        Self { url, state, _tasks: tasks }
    }

    /// Its state, to be looked at and changed.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn fresh(&mut self, what: &str) -> String {
        self.next += 1;
        format!("{what}-{}", self.next)
    }

    /// The claims that a proper token of somebody has.
    fn claims(&self, visitor: &Value, nonce: Option<&str>) -> Value {
        let now = (self.now)();
        let mut claims = json!({
            "iss": self.url, "aud": CLIENT_ID, "exp": now + 300, "iat": now, "nonce": nonce,
        });
        merge(&mut claims, visitor);
        claims
    }

    fn id_token(&self, visitor: &Value, nonce: Option<&str>) -> String {
        let claims = self.claims(visitor, nonce);
        match &self.forge {
            Some(forge) => forge(&self.keys, &claims),
            None => self.keys.sign(self.algorithm, &self.keys.head(self.algorithm), &claims.to_string()),
        }
    }
}

fn merge(into: &mut Value, more: &Value) {
    for (name, value) in more.as_object().into_iter().flatten() {
        into[name.as_str()] = value.clone();
    }
}

async fn discovery(Shared(state): Handle) -> Json<Value> {
    let state = state.lock();
    let url = &state.url;
    let mut document = json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "userinfo_endpoint": format!("{url}/userinfo"),
        "jwks_uri": format!("{url}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
        "authorization_response_iss_parameter_supported": state.names_itself.is_some(),
    });
    merge(&mut document, &state.discovery);
    Json(document)
}

async fn jwks(Shared(state): Handle) -> Json<Value> {
    let mut state = state.lock();
    state.keys_asked += 1;
    let mut set = state.keys.set();
    if let Some(keys) = set["keys"].as_array_mut() {
        keys.splice(0..0, state.more_keys.iter().cloned());
    }
    Json(set)
}

type Words = HashMap<String, String>;

/// Signs the visitor in, and sends the browser back.
async fn authorize(Shared(state): Handle, Query(words): Query<Words>) -> Response {
    let mut state = state.lock();
    let word = |name: &str| words.get(name).cloned().unwrap_or_default();
    let is_right = word("client_id") == CLIENT_ID
        && word("response_type") == "code"
        && word("code_challenge_method") == "S256"
        && !word("code_challenge").is_empty();
    if !is_right {
        return (StatusCode::BAD_REQUEST, "not a request that I know").into_response();
    }
    let code = state.fresh("code");
    let made = Code {
        redirect: word("redirect_uri"),
        challenge: word("code_challenge"),
        nonce: words.get("nonce").cloned(),
        visitor: state.visitor.clone(),
        account: state.account.clone(),
    };
    state.codes.insert(code.clone(), made);
    let mut back = url::Url::parse(&word("redirect_uri")).unwrap();
    back.query_pairs_mut().append_pair("code", &code).append_pair("state", &word("state"));
    if let Some(name) = &state.names_itself {
        back.query_pairs_mut().append_pair("iss", name);
    }
    (StatusCode::SEE_OTHER, [(header::LOCATION, back.to_string())]).into_response()
}

/// The code that a request may redeem; each once.
fn redeemed(state: &mut State, headers: &HeaderMap, words: &Words) -> Option<Code> {
    state.tokens_asked += 1;
    let basic = format!("Basic {}", BASE64.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}").as_bytes()));
    let is_basic = headers.get(header::AUTHORIZATION).is_some_and(|value| *value == basic);
    let is_posted = words.get("client_id").is_some_and(|id| id == CLIENT_ID)
        && words.get("client_secret").is_some_and(|secret| secret == CLIENT_SECRET);
    let code = state.codes.remove(words.get("code")?)?;
    let verifier = digest::digest(&digest::SHA256, words.get("code_verifier")?.as_bytes());
    let is_right = (is_basic || is_posted)
        && words.get("grant_type").is_some_and(|kind| kind == "authorization_code")
        && words.get("redirect_uri") == Some(&code.redirect)
        && BASE64URL_NOPAD.encode(verifier.as_ref()) == code.challenge;
    is_right.then_some(code)
}

fn not_redeemed() -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response()
}

async fn token(Shared(state): Handle, headers: HeaderMap, Form(words): Form<Words>) -> Response {
    let mut state = state.lock();
    let Some(code) = redeemed(&mut state, &headers, &words) else { return not_redeemed() };
    let id_token = state.id_token(&code.visitor, code.nonce.as_deref());
    let subject = code.visitor["sub"].as_str().unwrap_or_default().to_owned();
    Json(json!({
        "access_token": format!("of-{subject}"), "token_type": "Bearer", "expires_in": 300, "id_token": id_token,
    }))
    .into_response()
}

async fn user_info(Shared(state): Handle, headers: HeaderMap) -> Response {
    let state = state.lock();
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(subject) = bearer.and_then(|value| value.strip_prefix("Bearer of-")) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let mut info = json!({ "sub": subject });
    merge(&mut info, &state.user_info);
    Json(info).into_response()
}
