//! Every form of credential, and every way in which one is not enough.

mod tokens;

use std::time::Duration;

use heliograph_model::tenant::Workspace;
use heliograph_store::catalog::{Extent, Grant, Role};
use http::StatusCode;
use serde_json::{Value, json};

use crate::stage::{PASSWORD, Stage, tenant};

/// Signs in; the cookie to send.
pub(crate) async fn sign_in(stage: &Stage, user: &str) -> String {
    let response = post_session(stage, user, PASSWORD).await;
    assert_eq!(response.status(), StatusCode::OK);
    let cookie = cookie_of(&response);
    stage.reads_as(cookie.split_once('=').unwrap().1, user);
    cookie
}

fn cookie_of(response: &reqwest::Response) -> String {
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax; Max-Age=43200"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

async fn post_session(stage: &Stage, user: &str, password: &str) -> reqwest::Response {
    let body = json!({ "user": user, "password": password });
    stage.client.post(format!("{}/api/v1/session", stage.url)).json(&body).send().await.unwrap()
}

/// The status of a search with these headers.
async fn search(stage: &Stage, headers: &[(&str, &str)]) -> (StatusCode, Value) {
    let mut request = stage.client.get(format!("{}/api/v1/search", stage.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn every_form_of_credential() {
    let stage = Stage::new().await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let (_, writer) = stage.token("a", &[Role::Writer]).await;
    let cookie = sign_in(&stage, "ann").await;
    let check = async |headers: &[(&str, &str)], expected: u16| {
        let (status, body) = search(&stage, headers).await;
        assert_eq!(status.as_u16(), expected, "{headers:?}: {body}");
    };
    check(&[], 401).await;
    check(&[("authorization", &format!("Bearer {token}"))], 200).await;
    check(&[("authorization", &format!("bearer {token}"))], 200).await;
    check(&[("authorization", &basic("a", &token))], 200).await;
    check(&[("authorization", &basic("ann", PASSWORD))], 200).await;
    check(&[("cookie", &cookie)], 200).await;
    check(&[("cookie", &format!("x=1; {cookie}; y=2"))], 200).await;

    check(&[("authorization", &basic("b", &token))], 401).await;
    check(&[("authorization", &basic("ann", "wrong"))], 401).await;
    check(&[("authorization", &basic("ann\0", PASSWORD))], 401).await;
    check(&[("authorization", "Bearer hg_nonsense")], 401).await;
    check(&[("authorization", &format!("Bearer {token}x"))], 401).await;
    check(&[("authorization", "Basic !!!")], 401).await;
    check(&[("authorization", "Bearer")], 401).await;
    check(&[("authorization", &format!("Token {token}"))], 401).await;
    check(&[("cookie", "heliograph=nonsense")], 401).await;
    check(&[("cookie", "__Host-heliograph=nonsense")], 401).await;
    for (name, value) in [("x-scope-orgid", "a"), ("x-heliograph-tenant", "a"), ("x-remote-user", "root")] {
        check(&[(name, value)], 401).await;
    }

    check(&[("cookie", &cookie), ("authorization", &format!("Bearer {token}"))], 400).await;
    check(&[("cookie", "heliograph=x"), ("authorization", &format!("Bearer {token}"))], 400).await;
    check(&[("cookie", &cookie), ("authorization", &basic("ann", PASSWORD))], 200).await;
    check(&[("authorization", &format!("Bearer {token}")), ("authorization", "Bearer x")], 400).await;
    check(&[("cookie", &format!("{cookie}; heliograph=other"))], 400).await;

    let (status, body) = search(&stage, &[("authorization", &format!("Bearer {writer}"))]).await;
    assert_eq!(
        (status, body["records"].as_array().map(Vec::len)),
        (StatusCode::OK, Some(0)),
        "a writer reads nothing"
    );
    let (status, _) = stage.get(&writer, "/api/v1/search?tenant=a").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn foreign_and_unknown_tenants_are_refused_alike() {
    let stage = Stage::new().await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let mut bodies = Vec::new();
    for name in [
        "b",
        "unknown",
        "*",
        "_all",
        "a*",
        "-a,*",
        "%3Cdate%7Bnow%2Fd%7D%3E",
        "%2e%2e",
        "%252e",
        "A",
        "",
        "a,b",
        "a%00",
    ] {
        for query in [format!("tenant={name}"), format!("tenant=a&tenant={name}")] {
            let (status, mut body) = stage.get(&token, &format!("/api/v1/search?{query}")).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{query}");
            assert!(body["error"]["request_id"].take().is_string());
            bodies.push(body);
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[tokio::test]
async fn grants_over_tenants_and_workspaces_and_none() {
    let stage = Stage::new().await;
    let tenants = async |user: &str| {
        let cookie = sign_in(&stage, user).await;
        let request = stage.client.get(format!("{}/api/v1/session", stage.url)).header("cookie", cookie);
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let viewer = |name: &str| json!({ "name": name, "workspace": "w", "roles": ["viewer"] });
    let ann = tenants("ann").await;
    assert_eq!(ann, json!({ "user": "ann", "admin": false, "tenants": [viewer("a")] }));
    assert_eq!(tenants("bob").await["tenants"], json!([viewer("a"), viewer("b")]));
    assert_eq!(tenants("nobody").await["tenants"], json!([]));
    let root = tenants("root").await;
    assert_eq!((&root["admin"], root["tenants"].as_array().unwrap().len()), (&json!(true), 2));
    // A new tenant of the workspace is there at once.
    stage.store.tenants.create(&tenant("c"), &Workspace::parse("w").unwrap()).await.unwrap();
    assert_eq!(tenants("bob").await["tenants"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn sessions_rotate_expire_and_end() {
    let stage = Stage::new().await;
    let first = sign_in(&stage, "ann").await;
    let body = json!({ "user": "ann", "password": PASSWORD });
    let again = stage.client.post(format!("{}/api/v1/session", stage.url)).json(&body);
    // A foreign page may not sign somebody in over an existing session.
    let foreign =
        again.try_clone().unwrap().header("cookie", &first).header("origin", "https://evil.example");
    assert_eq!(foreign.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let second = again.header("cookie", &first).header("origin", &stage.url).send().await.unwrap();
    let second = cookie_of(&second);
    assert_ne!(first, second);
    assert_eq!(search(&stage, &[("cookie", &first)]).await.0, StatusCode::UNAUTHORIZED, "rotated");
    assert_eq!(search(&stage, &[("cookie", &second)]).await.0, StatusCode::OK);

    let out = |origin: Option<&str>| {
        let mut request =
            stage.client.delete(format!("{}/api/v1/session", stage.url)).header("cookie", &second);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        async { request.send().await.unwrap().status() }
    };
    for origin in [None, Some("null"), Some("https://logs.example.com.evil.com")] {
        assert_eq!(out(origin).await, StatusCode::FORBIDDEN, "{origin:?}");
    }
    assert_eq!(out(Some("https://logs.example.com")).await, StatusCode::NO_CONTENT);
    assert_eq!(search(&stage, &[("cookie", &second)]).await.0, StatusCode::UNAUTHORIZED, "signed out");

    let third = sign_in(&stage, "ann").await;
    stage.clock.advance(Duration::from_secs(12 * 3600));
    assert_eq!(search(&stage, &[("cookie", &third)]).await.0, StatusCode::UNAUTHORIZED, "expired");
}

#[tokio::test]
async fn a_session_ends_unused_and_used_in_the_end() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let stage = Stage::with(|config| {
        config.session_idle = hours(4);
        config.session_ttl = hours(12);
    })
    .await;
    let (used, unused) = (sign_in(&stage, "ann").await, sign_in(&stage, "ann").await);
    let check = async |cookie: &str, expected: StatusCode, when: &str| {
        assert_eq!(search(&stage, &[("cookie", cookie)]).await.0, expected, "{when}");
    };
    stage.clock.advance(hours(3));
    check(&used, StatusCode::OK, "after 3 h").await;
    stage.clock.advance(hours(1));
    check(&unused, StatusCode::UNAUTHORIZED, "4 h unused").await;
    for n in 0..4 {
        check(&used, StatusCode::OK, &format!("after {} h", 4 + n * 2)).await;
        stage.clock.advance(hours(2));
    }
    check(&used, StatusCode::UNAUTHORIZED, "after 12 h, though it was used").await;
}

#[tokio::test]
async fn other_roles_end_sessions() {
    let stage = Stage::new().await;
    let grant = Grant { user: "ann".to_owned(), extent: Extent::Tenant(tenant("b")), role: Role::Viewer };
    for gives in [true, false] {
        let (cookie, other) = (sign_in(&stage, "ann").await, sign_in(&stage, "bob").await);
        match gives {
            true => stage.store.catalog.grant(&grant).await.unwrap(),
            false => assert!(stage.store.catalog.revoke_grant(&grant).await.unwrap()),
        }
        assert_eq!(search(&stage, &[("cookie", &cookie)]).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(search(&stage, &[("cookie", &other)]).await.0, StatusCode::OK, "those of others stay");
    }
}

#[tokio::test]
async fn who_is_locked_out_is_out_by_every_credential() {
    let stage = Stage::new().await;
    let (cookie, ann) = (sign_in(&stage, "ann").await, basic("ann", PASSWORD));
    assert_eq!(search(&stage, &[("authorization", &ann)]).await.0, StatusCode::OK, "and it is recalled");
    let root = sign_in(&stage, "root").await;
    let call = async |path: &str| {
        let request = stage.client.post(format!("{}/api/v1/admin/users/{path}", stage.url));
        let request = request.header("cookie", &root).header("origin", &stage.url);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(call("ann/disable").await, 204);
    assert_eq!(search(&stage, &[("cookie", &cookie)]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(search(&stage, &[("authorization", &ann)]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(post_session(&stage, "ann", PASSWORD).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(call("root/disable").await, 400, "nobody locks themselves out");
    assert_eq!(call("nobody-at-all/disable").await, 404);
    assert_eq!(call("ann/enable").await, 204);
    assert_eq!(search(&stage, &[("cookie", &cookie)]).await.0, StatusCode::UNAUTHORIZED, "it has ended");
    assert_eq!(search(&stage, &[("authorization", &ann)]).await.0, StatusCode::OK);
}

#[test]
fn cookies_over_tls_are_the_hosts_own() {
    let headers = |text: &str| {
        let mut headers = http::HeaderMap::new();
        headers.insert("cookie", text.parse().unwrap());
        headers
    };
    let cookie = super::Cookie { secure: true };
    let given = cookie.set_pending("x").unwrap();
    let expected = "__Host-heliograph-sign-in=x; Path=/; HttpOnly; SameSite=Lax; Max-Age=600; Secure";
    assert_eq!(given.to_str().unwrap(), expected);
    assert!(given.is_sensitive());
    assert!(cookie.pending_of(&headers("__Host-heliograph-sign-in=x")).unwrap().is_some());
    for foreign in ["heliograph-sign-in=x", "__Host-heliograph=x", "__host-heliograph-sign-in=x"] {
        assert!(cookie.pending_of(&headers(foreign)).unwrap().is_none(), "{foreign}");
    }
    let twice = headers("__Host-heliograph-sign-in=x; __Host-heliograph-sign-in=y");
    assert!(cookie.pending_of(&twice).is_err());
}

#[tokio::test]
async fn sign_ins_are_throttled_per_account_and_address() {
    let stage = Stage::new().await;
    for n in 0..10 {
        let user = if n % 2 == 0 { "ann" } else { "no such user" };
        let response = post_session(&stage, user, "wrong").await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let mut body: Value = response.json().await.unwrap();
        body["error"]["request_id"].take();
        assert_eq!(body["error"]["code"], "unauthenticated");
    }
    let response = post_session(&stage, "bob", PASSWORD).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "60");
    let (status, _) = search(&stage, &[("authorization", &basic("bob", PASSWORD))]).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    stage.clock.advance(Duration::from_secs(61));
    assert_eq!(post_session(&stage, "bob", PASSWORD).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_changed_password_and_a_revoked_token_end_at_once() {
    let stage = Stage::new().await;
    let (id, token) = stage.token("a", &[Role::Viewer]).await;
    let ann = basic("ann", PASSWORD);
    let check = async |authorization: &str, expected: StatusCode| {
        assert_eq!(search(&stage, &[("authorization", authorization)]).await.0, expected);
    };
    let bearer = format!("Bearer {token}");
    check(&bearer, StatusCode::OK).await;
    check(&ann, StatusCode::OK).await;
    check(&ann, StatusCode::OK).await;
    let cookie = sign_in(&stage, "ann").await;
    let hash = super::password::hash(&"another one".into()).unwrap();
    stage.store.catalog.set_password("ann", &hash).await.unwrap();
    stage.store.catalog.revoke_token(&id, heliograph_model::time::Clock::now(&stage.clock)).await.unwrap();
    check(&bearer, StatusCode::UNAUTHORIZED).await;
    check(&ann, StatusCode::UNAUTHORIZED).await;
    assert_eq!(search(&stage, &[("cookie", &cookie)]).await.0, StatusCode::UNAUTHORIZED);
    let grant = Grant {
        user: "bob".to_owned(),
        extent: Extent::Workspace(Workspace::parse("w").unwrap()),
        role: Role::Viewer,
    };
    let bob = basic("bob", PASSWORD);
    let (_, body) = search(&stage, &[("authorization", &bob)]).await;
    assert!(body["records"].is_array());
    stage.store.catalog.revoke_grant(&grant).await.unwrap();
    let request =
        stage.client.get(format!("{}/api/v1/search?tenant=a", stage.url)).header("authorization", &bob);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}
