//! Whole sign-ins by a provider on loopback that signs real tokens: those that go well, and every way in which one does
//! not.

mod flow;
mod github;
mod people;
mod sign_out;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use heliograph_model::tenant::Workspace;
use heliograph_model::time::Timestamp;
use heliograph_store::catalog::{Extent, Role};
use heliograph_testbed::idp::{CLIENT_ID, CLIENT_SECRET, Idp};
use http::{Method, StatusCode};
use serde_json::Value;

use crate::config::{self, Gives, Mapping, ProviderKind};
use crate::stage::{NOW, Stage, tenant};

/// The provider `idp`, of OpenID Connect: group `readers` views tenant `a`, `ops` operates the workspace, `roots` all.
fn provider(issuer: &str) -> config::Provider {
    let mapping = |group: &str, gives| Mapping { group: group.to_owned(), gives };
    let workspace = Extent::Workspace(Workspace::parse("w").unwrap());
    config::Provider {
        name: "idp".to_owned(),
        display_name: "Our provider".to_owned(),
        client_id: CLIENT_ID.to_owned(),
        client_secret: CLIENT_SECRET.into(),
        mappings: vec![
            mapping("readers", Gives::Role(Extent::Tenant(tenant("a")), Role::Viewer)),
            mapping("ops", Gives::Role(workspace, Role::Operator)),
            mapping("roots", Gives::Admin),
        ],
        allow_loopback: true,
        kind: ProviderKind::Oidc(config::Oidc {
            issuer: issuer.to_owned(),
            scopes: vec!["email".to_owned()],
            groups_claim: "groups".to_owned(),
            allowed_domains: vec!["example.com".to_owned()],
            domain_claim: None,
        }),
    }
}

/// A server and its provider, whose clocks go alike.
struct World {
    stage: Stage,
    idp: Idp,
    later: Arc<AtomicI64>,
}

async fn an_idp(later: &Arc<AtomicI64>) -> Idp {
    let later = Arc::clone(later);
    let begin = Timestamp::parse(NOW).unwrap().as_nanos() / 1_000_000_000;
    Idp::start(move || begin + later.load(Ordering::SeqCst)).await
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Vec<config::Provider>)) -> Self {
        let later = Arc::default();
        let idp = an_idp(&later).await;
        let mut providers = vec![provider(&idp.url)];
        change(&mut providers);
        let stage = Stage::with(|config| config.providers = providers).await;
        Self { stage, idp, later }
    }

    fn advance(&self, seconds: i64) {
        self.later.fetch_add(seconds, Ordering::SeqCst);
        self.stage.clock.advance(Duration::from_secs(seconds.try_into().unwrap()));
    }

    fn browser(&self) -> Browser {
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Browser { client: client.build().unwrap(), url: self.stage.url.clone(), cookies: BTreeMap::new() }
    }

    /// Somebody of this subject with more claims signs in next.
    fn visitor(&self, visitor: Value) {
        self.idp.state().visitor = visitor;
    }

    async fn users(&self) -> Vec<String> {
        self.stage.store.catalog.users().await.unwrap().into_iter().map(|user| user.name).collect()
    }

    /// Signs in with a fresh browser, which is led to this place; the browser.
    async fn sign_in(&self, expected: &str) -> Browser {
        let mut browser = self.browser();
        assert_eq!(browser.sign_in("idp").await, expected);
        browser
    }

    /// The last row of the audit log.
    async fn last_row(&self) -> (String, String, String, Value) {
        // A refusal is written soon, not at once.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let row = self.stage.store.catalog.audit_rows(0, 10_000).await.unwrap().pop().unwrap();
        (row.actor, row.action, row.outcome, serde_json::from_str(&row.details).unwrap())
    }
}

/// A browser with cookies, which follows no redirect by itself.
#[derive(Clone)]
struct Browser {
    client: reqwest::Client,
    url: String,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    async fn call(&mut self, method: Method, path: &str) -> (StatusCode, String, Value) {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.client.request(method, format!("{}{path}", self.url)).header("origin", &self.url);
        let answer = request.header("cookie", cookies.join("; ")).send().await.unwrap();
        for cookie in answer.headers().get_all("set-cookie") {
            let text = cookie.to_str().unwrap();
            assert!(text.contains("; Path=/; HttpOnly; SameSite=Lax; Max-Age="), "{text}");
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let place = answer.headers().get("location").map(|place| place.to_str().unwrap().to_owned());
        (answer.status(), place.unwrap_or_default(), answer.json().await.unwrap_or_default())
    }

    async fn get(&mut self, path: &str) -> (StatusCode, String, Value) {
        self.call(Method::GET, path).await
    }

    /// Begins to sign in; the provider's address.
    async fn begin(&mut self, provider: &str) -> String {
        let (status, place, body) =
            self.get(&format!("/api/v1/auth/{provider}/login?return_to=/%3Fq%3Dx")).await;
        assert_eq!(status, StatusCode::SEE_OTHER, "{body}");
        place
    }

    /// What the provider sends back: a path of ours.
    async fn at_provider(&self, place: &str) -> String {
        let answer = self.client.get(place).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{}", answer.text().await.unwrap());
        let back = answer.headers()["location"].to_str().unwrap();
        back.strip_prefix("https://logs.example.com").unwrap().to_owned()
    }

    /// Comes back; where it is led to.
    async fn come_back(&mut self, path: &str) -> String {
        let (status, place, body) = self.get(path).await;
        assert_eq!(status, StatusCode::SEE_OTHER, "{path}: {body}");
        place
    }

    async fn sign_in(&mut self, provider: &str) -> String {
        let place = self.begin(provider).await;
        if place.starts_with('/') {
            return place;
        }
        let back = self.at_provider(&place).await;
        self.come_back(&back).await
    }

    /// Who is signed in, if anybody.
    async fn who(&mut self) -> Option<Value> {
        let (status, _, body) = self.get("/api/v1/session").await;
        (status == StatusCode::OK).then_some(body)
    }
}

/// Where a sign-in leads that went well, and one that did not.
const IN: &str = "/?q=x";
const REFUSED: &str = "/?sign_in=provider";
const EXPIRED: &str = "/?sign_in=expired";
const NOT_ALLOWED: &str = "/?sign_in=not_allowed";
