//! What a browser is told with every answer, and what it is refused on behalf of a foreign page.

use heliograph_store::catalog::Role;
use http::{HeaderMap, Method};
use serde_json::json;

use super::super::ROUTES;
use super::root;
use crate::access::tests::sign_in;
use crate::stage::{PASSWORD, Stage};

/// A path of a route, with something in place of its parameters.
fn path(route: &str) -> String {
    let uuid = "00000000-0000-0000-0000-000000000000";
    route.replace("{name}", "nobody").replace("{id}", "none").replace("{erasure}", uuid)
}

#[track_caller]
fn assert_private(headers: &HeaderMap, what: &str) {
    let all = |name: &str| headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(all("cache-control"), ["no-store"], "{what}");
    assert!(all("vary").contains(&"Authorization, Cookie"), "{what}: {:?}", all("vary"));
    assert_hard(headers, what);
}

#[track_caller]
fn assert_hard(headers: &HeaderMap, what: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(headers.get(name).map(|v| v.to_str().unwrap()), Some(value), "{what}: {name}");
    }
    let policy = headers["content-security-policy"].to_str().unwrap();
    for needed in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(needed), "{what}: {policy}");
    }
    assert!(headers.contains_key("permissions-policy") && headers.contains_key("cache-control"), "{what}");
    assert!(!headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{what}");
}

#[tokio::test]
async fn no_answer_of_any_route_with_any_method_is_kept_or_served_to_another() {
    let stage = Stage::new().await;
    let (_, token) = stage.token("a", &[Role::Viewer, Role::Operator]).await;
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
    for route in ROUTES.iter().map(|route| route.path).chain(["/api", "/api/v1/nothing"]) {
        for method in methods.map(|name| Method::from_bytes(name.as_bytes()).unwrap()) {
            for credential in [None, Some(token.as_str()), Some("hg_nonsense")] {
                let url = format!("{}{}?unknown=1", stage.url, path(route));
                let mut request = stage.client.request(method.clone(), url);
                request = credential.iter().fold(request, |request, token| request.bearer_auth(token));
                let answer = request.send().await.unwrap();
                let what = format!("{method} {route} by {credential:?}: {}", answer.status());
                assert_private(answer.headers(), &what);
                let is_refused = answer.status().is_client_error();
                assert!(is_refused || answer.status().is_success(), "{what}");
                if method == Method::TRACE {
                    assert!([401, 404, 405].contains(&answer.status().as_u16()), "{what}");
                    assert!(!answer.text().await.unwrap().contains("hg_"), "{what}: it is sent back");
                }
            }
        }
    }
}

#[tokio::test]
async fn errors_of_every_kind_are_kept_by_nobody() {
    let stage = Stage::with(|config| {
        config.tails_max = 0;
        config.search_timeout = std::time::Duration::from_millis(50);
    })
    .await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let check = async |request: reqwest::RequestBuilder, expected: u16| {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), expected);
        assert_private(answer.headers(), &expected.to_string());
    };
    let get = |path: &str| stage.client.get(format!("{}/api/v1/{path}", stage.url)).bearer_auth(&token);
    let sign_in = || stage.client.post(format!("{}/api/v1/session", stage.url));
    check(get("search"), 200).await;
    check(get("search?q=%22"), 400).await;
    check(get("search").bearer_auth("x"), 400).await;
    check(get("search?tenant=b"), 403).await;
    check(get("context?id=none"), 404).await;
    check(sign_in().body("user=ann"), 415).await;
    check(sign_in().json(&json!({ "user": "a".repeat(100_000), "password": "" })), 413).await;
    let upgrade = get("tail").header("connection", "upgrade").header("upgrade", "websocket");
    check(
        upgrade.header("sec-websocket-version", "13").header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        503,
    )
    .await;
    let held = std::sync::Arc::clone(&stage.indexer.hold).write_owned().await;
    check(get("search"), 504).await;
    drop(held);
    for n in 0..=10 {
        let wrong = sign_in().json(&json!({ "user": "ann", "password": "wrong" }));
        check(wrong, if n < 10 { 401 } else { 429 }).await;
    }
}

#[tokio::test]
async fn every_page_and_status_answer_has_the_headers_of_a_hard_page() {
    let stage = Stage::new().await;
    for path in ["/", "/audit", "/nothing", "/healthz", "/assets/none.js", "//evil.example"] {
        let answer = stage.client.get(format!("{}{path}", stage.url)).send().await.unwrap();
        assert_hard(answer.headers(), path);
    }
    for path in ["/", "/audit"] {
        for method in [Method::POST, Method::TRACE, Method::OPTIONS] {
            let answer = stage.client.request(method, format!("{}{path}", stage.url)).send().await.unwrap();
            assert_eq!(answer.status(), 405);
            assert_hard(answer.headers(), path);
        }
        let answer = stage.client.get(format!("{}{path}", stage.url)).send().await.unwrap();
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert_eq!(
            policy,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'"
        );
        assert!(answer.headers().contains_key("etag"));
        assert!(answer.text().await.unwrap().contains("<div id=\"page\">"), "{path}");
    }
}

/// Unsafe calls with a body that is right, but for where it comes from or what it says it is.
#[tokio::test]
async fn a_foreign_page_changes_nothing_in_anybodys_name() {
    let stage = Stage::new().await;
    let cookie = root(&stage).await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let body = json!({ "name": "new" }).to_string();
    let send = async |headers: &[(&str, &str)], body: Option<&str>| {
        let mut request = stage.client.post(format!("{}/api/v1/admin/tenants", stage.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request = body.iter().fold(request, |request, body| request.body((*body).to_owned()));
        request.send().await.unwrap().status().as_u16()
    };
    let own = [("cookie", cookie.as_str()), ("origin", stage.url.as_str())];
    let json_type = ("content-type", "application/json");
    let refused = async |more: &[(&str, &str)], expected: u16| {
        let headers: Vec<_> = own.iter().chain(more).copied().collect();
        assert_eq!(send(&headers, Some(&body)).await, expected, "{more:?}");
    };
    // From where.
    for site in ["cross-site", "same-site", "nonsense"] {
        refused(&[json_type, ("sec-fetch-site", site)], 403).await;
    }
    refused(&[json_type, ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], 403).await;
    refused(&[json_type, ("origin", &stage.url)], 403).await;
    for origin in
        ["null", "", "https://evil.example", "https://sub.logs.example.com", "http://logs.example.com"]
    {
        let headers = [own[0], ("origin", origin), json_type];
        assert_eq!(send(&headers, Some(&body)).await, 403, "{origin}");
    }
    assert_eq!(send(&[own[0], json_type], Some(&body)).await, 403, "no origin");
    // Also what sends a token of its own is not let in by a foreign page's browser.
    let bearer = format!("Bearer {token}");
    let foreign = [("authorization", bearer.as_str()), ("origin", "https://evil.example"), json_type];
    assert_eq!(send(&foreign, Some(&body)).await, 403);
    // As what.
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
        "application/jsonp",
        "application/json; charset=utf-7",
        "",
    ] {
        refused(&[("content-type", kind)], 415).await;
    }
    refused(&[], 415).await;
    refused(&[json_type, ("content-type", "text/plain")], 415).await;
    // A type that is no JSON is refused without a body, too.
    let delete = stage.client.delete(format!("{}/api/v1/session", stage.url));
    let delete = delete.header("cookie", &cookie).header("origin", &stage.url);
    let form = delete.try_clone().unwrap().header("content-type", "text/plain").send().await.unwrap();
    assert_eq!(form.status(), 415);
    // And what is right, is done: nothing of the above was.
    refused(&[json_type, ("sec-fetch-site", "same-origin")], 201).await;
    assert_eq!(delete.send().await.unwrap().status(), 204);
}

#[tokio::test]
async fn a_foreign_page_signs_nobody_in_or_out() {
    let stage = Stage::new().await;
    let right = json!({ "user": "ann", "password": PASSWORD }).to_string();
    let send = async |headers: &[(&str, &str)]| {
        let mut request = stage.client.post(format!("{}/api/v1/session", stage.url)).body(right.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers().contains_key("set-cookie"), answer.status().is_success());
        answer.status().as_u16()
    };
    let json_type = ("content-type", "application/json");
    assert_eq!(send(&[json_type, ("origin", "https://evil.example")]).await, 403);
    assert_eq!(send(&[json_type, ("origin", "null")]).await, 403);
    assert_eq!(send(&[json_type, ("sec-fetch-site", "cross-site")]).await, 403);
    assert_eq!(send(&[json_type, ("origin", &stage.url), ("sec-fetch-site", "same-site")]).await, 403);
    assert_eq!(send(&[("content-type", "text/plain")]).await, 415);
    assert_eq!(send(&[]).await, 415);
    // Over a session that there is, only a page of ours.
    let cookie = sign_in(&stage, "ann").await;
    assert_eq!(send(&[json_type, ("cookie", &cookie)]).await, 403);
    assert_eq!(send(&[json_type, ("cookie", &cookie), ("origin", &stage.url)]).await, 200);
    assert_eq!(send(&[json_type]).await, 200, "a program, which has no origin");
    let cookie = sign_in(&stage, "ann").await;
    let out = stage.client.delete(format!("{}/api/v1/session", stage.url));
    let out = out.header("cookie", &cookie).header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(out.status(), 403);
}
