//! Who may do what: every method of every route, by every role, about the own, a foreign and an unknown tenant.
//!
//! What is expected stands in `access.txt` beside this file; it is made anew with
//! `HELIOGRAPH_TEST_ACCEPT=1 cargo test -p heliograph-query matrix`, and read as a diff. A route without a request here
//! fails.

use std::fmt::Write as _;

use heliograph_store::catalog::{Extent, Grant, Invitation, NewErasure, Role, User};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::access::tests::sign_in;
use crate::http::ROUTES;
use crate::stage::{Stage, record, tenant};

pub(super) const ACCESS: &str = include_str!("access.txt");
const CALLERS: [&str; 8] =
    ["nobody", "without", "viewer", "writer", "operator", "session", "steward", "admin"];
/// The callers' own tenant, another's, and one that does not exist; an administrator's are all that exist.
const TENANTS: [&str; 3] = ["a", "b", "nope"];

/// What a call is about, made anew for each.
pub(super) struct Target<'a> {
    pub(super) tenant: &'a str,
    /// A record of that tenant, as its reader is told.
    pub(super) record: String,
    /// A token of that tenant.
    pub(super) token: String,
    /// An erasure of records of that tenant.
    pub(super) erasure: Uuid,
    /// An invitation to that tenant.
    pub(super) invitation: String,
}

/// The path and body of a right request; nothing if the route is not about a tenant at all.
#[rustfmt::skip]
fn request(method: &str, route: &str, to: &Target<'_>) -> Option<(String, Option<Value>)> {
    let of = to.tenant;
    let path = |text: String| Some((text, None));
    let query = |more: &str| Some((format!("{route}?tenant={of}{more}"), None));
    let body = |body: Value| Some((route.to_owned(), Some(body)));
    match (method, route) {
        ("GET", "/api/v1/search" | "/api/v1/histogram" | "/api/v1/fields" | "/api/v1/export" | "/api/v1/tail") => query(""),
        ("GET", "/api/v1/values") => query("&field=dag_id"),
        ("GET", "/api/v1/context") => query(&format!("&id={}", to.record)),
        ("GET", "/api/v1/admin/tokens" | "/api/v1/admin/erasures" | "/api/v1/admin/audit" | "/api/v1/admin/audit/export" | "/api/v1/admin/usage") => query(""),
        ("POST", "/api/v1/admin/tokens") => body(json!({ "tenant": of, "roles": ["viewer", "writer"], "ttl": "30d" })),
        ("DELETE", "/api/v1/admin/tokens/{id}") => path(route.replace("{id}", &to.token)),
        ("POST" | "DELETE", "/api/v1/admin/grants") => body(json!({ "user": "bob", "tenant": of, "role": "operator" })),
        ("POST", "/api/v1/admin/erasures") => body(json!({ "tenant": of, "query": "ada" })),
        ("POST", "/api/v1/admin/invitations") => body(json!({ "email": "new@example.com", "grants": [{ "tenant": of, "role": "viewer" }] })),
        ("DELETE", "/api/v1/admin/invitations/{invitation}") => path(route.replace("{invitation}", &to.invitation)),
        ("GET", "/api/v1/admin/erasures/{erasure}") => path(route.replace("{erasure}", &to.erasure.to_string())),
        _ => None,
    }
}

/// The same of a route that is about no tenant.
fn request_of_none(method: &str, route: &str) -> Option<(String, Option<Value>)> {
    let (mut path, body) = match (method, route) {
        ("GET" | "DELETE", "/api/v1/session") | ("GET", "/api/v1/openapi.json") => (route, None),
        ("POST", "/api/v1/session") => (route, Some(json!({ "user": "ann", "password": "wrong" }))),
        ("POST", "/api/v1/tail/ticket") => (route, Some(json!({}))),
        ("GET" | "DELETE", "/api/v1/sessions") | ("DELETE", "/api/v1/sessions/{session}") => (route, None),
        (
            "GET",
            "/api/v1/auth/providers" | "/api/v1/auth/{provider}/login" | "/api/v1/auth/{provider}/callback",
        ) => (route, None),
        ("POST", "/api/v1/invitations/accept") => {
            (route, Some(json!({ "token": "hgi_x", "password": "long enough" })))
        }
        ("GET", "/api/v1/admin/invitations") => (route, None),
        ("POST", "/api/v1/admin/users/{name}/disable" | "/api/v1/admin/users/{name}/enable") => (route, None),
        ("DELETE", "/api/v1/admin/users/{name}/sessions") => (route, None),
        ("GET", "/api/v1/admin/tenants" | "/api/v1/admin/users" | "/api/v1/admin/grants") => (route, None),
        ("POST", "/api/v1/admin/tenants") => (route, Some(json!({ "name": "new" }))),
        ("POST", "/api/v1/admin/users") => (route, Some(json!({ "name": "new", "password": "long enough" }))),
        ("PUT", "/api/v1/admin/users/{name}/password") => (route, Some(json!({ "password": "long enough" }))),
        _ => return None,
    };
    let named =
        path.replace("{name}", "bob").replace("{provider}", "some").replace("{session}", "0000000000000000");
    path = &named;
    Some((path.to_owned(), body))
}

/// A user who operates tenant `a`.
async fn oscar(stage: &Stage) {
    let ann = stage.store.catalog.user("ann").await.unwrap().unwrap();
    stage.store.catalog.create_user(&User { name: "oscar".to_owned(), ..ann }).await.unwrap();
    let extent = Extent::Tenant(tenant("a"));
    stage
        .store
        .catalog
        .grant(&Grant { user: "oscar".to_owned(), extent, role: Role::Operator })
        .await
        .unwrap();
}

/// The same of any route.
pub(super) fn any_request(method: &str, route: &str, to: &Target<'_>) -> Option<(String, Option<Value>)> {
    request(method, route, to).or_else(|| request_of_none(method, route))
}

struct Callers {
    tokens: [String; 3],
    sessions: [String; 4],
}

impl Callers {
    async fn of(stage: &Stage) -> Self {
        let token = async |role| stage.token("a", &[role]).await.1;
        Self {
            tokens: [token(Role::Viewer).await, token(Role::Writer).await, token(Role::Operator).await],
            sessions: [
                sign_in(stage, "nobody").await,
                sign_in(stage, "ann").await,
                sign_in(stage, "oscar").await,
                sign_in(stage, "root").await,
            ],
        }
    }

    fn sign(&self, caller: &str, request: reqwest::RequestBuilder, stage: &Stage) -> reqwest::RequestBuilder {
        let [viewer, writer, operator] = &self.tokens;
        let [without, session, steward, admin] = &self.sessions;
        let by_cookie = |request: reqwest::RequestBuilder, cookie: &String| {
            request.header("cookie", cookie).header("origin", &stage.url)
        };
        match caller {
            "viewer" => request.bearer_auth(viewer),
            "writer" => request.bearer_auth(writer),
            "operator" => request.bearer_auth(operator),
            "without" => by_cookie(request, without),
            "session" => by_cookie(request, session),
            "steward" => by_cookie(request, steward),
            "admin" => by_cookie(request, admin),
            _ => request,
        }
    }
}

/// An answer: its status, and its body with nothing that is this call's alone.
async fn answer(
    stage: &Stage,
    callers: &Callers,
    caller: &str,
    method: &str,
    (path, body): (String, Option<Value>),
) -> (StatusCode, String) {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let request = stage.client.request(method.clone(), format!("{}{path}", stage.url));
    let request = callers.sign(caller, request, stage);
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    assert_eq!(headers["cache-control"], "no-store", "{path}");
    let vary: Vec<_> = headers.get_all("vary").iter().map(|v| v.to_str().unwrap()).collect();
    assert!(vary.contains(&"Authorization, Cookie"), "{path}: {vary:?}");
    let id = headers["x-request-id"].to_str().unwrap();
    let text = response.text().await.unwrap();
    if status.as_u16() >= 400 {
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body["error"]["request_id"], id, "{method} {path}: {text}");
        assert!(body["error"]["code"].is_string() && body["error"]["message"].is_string(), "{text}");
    }
    (status, text.replace(id, "ID"))
}

/// A body with another word where the tenant's name stands by itself.
fn unnamed(body: &str, name: &str) -> String {
    let parts = body.split_inclusive(|c: char| !c.is_alphanumeric());
    let part = |part: &str| match part.strip_prefix(name) {
        Some(rest) if rest.chars().all(|c| !c.is_alphanumeric()) => format!("NAME{rest}"),
        _ => part.to_owned(),
    };
    parts.map(part).collect()
}

#[expect(clippy::disallowed_methods, reason = "whoever changes rights says so, and reads the diff")]
fn is_accepted() -> bool {
    std::env::var_os("HELIOGRAPH_TEST_ACCEPT").is_some()
}

/// Something of each kind of a tenant; what is like it, where there is no such tenant.
async fn target<'a>(stage: &Stage, name: &'a str) -> Target<'a> {
    let nowhere = Target {
        tenant: name,
        record: "AAAA".to_owned(),
        token: "000000000000".to_owned(),
        erasure: Uuid::nil(),
        invitation: "000000000000".to_owned(),
    };
    if name == "nope" {
        return nowhere;
    }
    let (token, secret) = stage.token(name, &[Role::Viewer]).await;
    let (_, found) = stage.get(&secret, "/api/v1/search?limit=1").await;
    let erasure = NewErasure {
        id: Uuid::new_v4(),
        tenant: tenant(name),
        query: "ada".to_owned(),
        filter: crate::parse_query("ada", stage.store.catalog.tenants().await.unwrap()[0].created).unwrap(),
        range: heliograph_model::time::TimeRange::ALL,
        by: "a test".to_owned(),
        at: stage.store.catalog.tenants().await.unwrap()[0].created,
    };
    stage.store.catalog.request_erasure(&erasure).await.unwrap();
    let invitation = Invitation {
        id: Uuid::new_v4().simple().to_string(),
        secret_hash: heliograph_model::cipher::random().unwrap(),
        email: Some("new@example.com".to_owned()),
        user_name: Uuid::new_v4().simple().to_string(),
        grants: vec![(Extent::Tenant(tenant(name)), Role::Viewer)],
        invited_by: "a test".to_owned(),
        created: erasure.at,
        expires: erasure.at.saturating_add_nanos(86_400_000_000_000),
    };
    stage.store.catalog.create_invitation(&invitation, erasure.at).await.unwrap();
    let record = found["records"][0]["id"].as_str().unwrap().to_owned();
    Target { record, token, erasure: erasure.id, invitation: invitation.id, ..nowhere }
}

#[tokio::test]
async fn every_route_answers_every_role_as_the_table_says() {
    let stage = Stage::new().await;
    for name in ["a", "b"] {
        stage.indexer.commit(&tenant(name), &[record(1, 1, 1, &format!("canary of {name}"))]).await;
    }
    oscar(&stage).await;
    let mut callers = Callers::of(&stage).await;
    let mut found = String::from(
        "# Status of each method of each route by caller: about the own, a foreign and an unknown tenant; one status where\n\
         # it is about no tenant. `without`: a user without a grant. `session`: a user who views tenant a, by cookie.\n\
         # `steward`: one who operates it.\n",
    );
    for route in ROUTES {
        for (method, _) in route.methods {
            write!(found, "{method} {}\n   ", route.path).unwrap();
            for caller in CALLERS {
                let mut statuses = Vec::new();
                if let Some(request) = request_of_none(method, route.path) {
                    // What was refused before holds up nobody by now.
                    stage.clock.advance(std::time::Duration::from_secs(61));
                    statuses.push(answer(&stage, &callers, caller, method, request).await.0);
                    if *method == "DELETE" && route.path.starts_with("/api/v1/session") {
                        callers = Callers::of(&stage).await;
                    }
                } else {
                    let mut bodies = Vec::new();
                    for name in TENANTS {
                        let grant = Grant {
                            user: "bob".to_owned(),
                            extent: Extent::Tenant(tenant("a")),
                            role: Role::Operator,
                        };
                        if *method == "DELETE" && name != "nope" {
                            let grant = Grant { extent: Extent::Tenant(tenant(name)), ..grant };
                            stage.store.catalog.grant(&grant).await.unwrap();
                        }
                        let target = target(&stage, name).await;
                        let request = request(method, route.path, &target)
                            .unwrap_or_else(|| panic!("{method} {} has no request here", route.path));
                        let (status, body) = answer(&stage, &callers, caller, method, request).await;
                        let is_allowed =
                            name == "a" && caller != "nobody" && caller != "without" || caller == "admin";
                        assert!(
                            is_allowed || !body.contains("canary"),
                            "{method} {} {caller} {name}: {body}",
                            route.path
                        );
                        statuses.push(status);
                        bodies.push(unnamed(&body, name));
                    }
                    // A foreign tenant looks like one that is not there, to the byte.
                    if caller != "admin" {
                        assert_eq!(bodies[1], bodies[2], "{method} {} {caller}", route.path);
                    }
                }
                let statuses: Vec<_> = statuses.iter().map(|status| status.as_str().to_owned()).collect();
                write!(found, " {caller} {}", statuses.join("/")).unwrap();
                found.push_str(if caller == "admin" { "\n" } else { "," });
            }
        }
    }
    if is_accepted() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/tests/access.txt");
        std::fs::write(path, &found).unwrap();
    }
    let differs: Vec<_> =
        found.lines().zip(ACCESS.lines()).filter(|(found, expected)| found != expected).collect();
    assert!(found == ACCESS, "who may do what is not as in access.txt: {differs:#?}");
}

/// Names that other systems take for several tenants, for another's, or for a path.
const ODD_NAMES: [&str; 26] = [
    "*",
    "_all",
    "b*",
    "*b",
    "?",
    "b,a",
    "a,b",
    "*,-a",
    "-a,*",
    "-a",
    "<b{now/d}>",
    ".b",
    "b.",
    "..",
    "a/../b",
    "%62",
    "%2562",
    "b%00",
    "b%0a",
    " b",
    "b%20",
    "B",
    "\u{FF42}",
    "b\\",
    "b?tenant=b",
    "[b]",
];

#[tokio::test]
async fn odd_names_of_tenants_are_nobodys() {
    let stage = Stage::new().await;
    for name in ["a", "b"] {
        stage.indexer.commit(&tenant(name), &[record(1, 1, 1, &format!("canary of {name}"))]).await;
    }
    oscar(&stage).await;
    let callers = Callers::of(&stage).await;
    let long = "b".repeat(300);
    for name in ODD_NAMES.iter().copied().chain(["", &long]) {
        let target = Target {
            tenant: name,
            record: "AAAA".to_owned(),
            token: name.to_owned(),
            erasure: Uuid::nil(),
            invitation: name.to_owned(),
        };
        for route in ROUTES {
            for (method, _) in route.methods {
                let Some(mut request) = request(method, route.path, &target) else { continue };
                // Names go into a query as they are, and encoded once more.
                let plain =
                    request.0.replace(' ', "%20").replace(['\\', '<', '>', '{', '}', '[', ']'], "%5c");
                let again = request.0.replace('%', "%25").replace(' ', "%20");
                for path in [plain, again] {
                    request.0 = path;
                    for caller in ["viewer", "operator", "session", "steward"] {
                        let (status, body) = answer(&stage, &callers, caller, method, request.clone()).await;
                        let what = format!("{method} {} as {caller}: {status} {body}", request.0);
                        assert!(status.is_client_error(), "{what}");
                        assert!(!body.contains("canary"), "{what}");
                    }
                }
            }
        }
    }
}
