//! Callers who dribble, take more than their part, or write what other systems would obey.

use std::sync::Arc;

use heliograph_store::catalog::Role;
use http::StatusCode;
use serde_json::{Value, json};

use super::super::{ROUTES, openapi};
use super::root;
use crate::stage::{Stage, record, tenant};

/// The answer to what is written on a connection that is then left open, saying nothing more.
async fn left_open(stage: &Stage, begun: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(stage.addr).await.unwrap();
    socket.write_all(begun.as_bytes()).await.unwrap();
    let (mut got, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        let length = socket.read(&mut buffer).await.unwrap_or(0);
        got.extend_from_slice(&buffer[..length]);
        if length == 0 {
            return String::from_utf8_lossy(&got).into_owned();
        }
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let stage = Stage::new().await;
    let cookie = root(&stage).await;
    let callers = format!("Cookie: {cookie}\r\nOrigin: {}\r\n", stage.url);
    let begun = |path: &str, length: &str| {
        format!(
            "POST /api/v1/{path} HTTP/1.1\r\nHost: {}\r\n{callers}Content-Type: application/json\r\n{length}\r\n",
            stage.addr
        )
    };
    let fixed = begun("admin/tenants", "Content-Length: 100\r\n") + "{\"name\"";
    let chunked = begun("admin/tokens", "Transfer-Encoding: chunked\r\n") + "1\r\n{\r\n";
    let (fixed, chunked) = tokio::join!(left_open(&stage, &fixed), left_open(&stage, &chunked));
    for answer in [fixed, chunked] {
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("\"too_slow\"") && answer.contains("\"request_id\""), "{answer}");
    }
}

#[tokio::test]
async fn exports_of_one_caller_leave_room_for_anothers() {
    let stage = Stage::with(|config| config.search_concurrency = 4).await;
    let (_, dear) = stage.token("a", &[Role::Viewer]).await;
    let (_, other) = stage.token("a", &[Role::Viewer]).await;
    let held = Arc::clone(&stage.indexer.hold).write_owned().await;
    let under_way = futures::future::join_all((0..2).map(|_| stage.get(&dear, "/api/v1/export")));
    let mut under_way = std::pin::pin!(under_way);
    let begin = tokio::time::timeout(std::time::Duration::from_millis(300), &mut under_way);
    assert!(begin.await.is_err(), "both wait for the hot part");
    assert_eq!(stage.get(&dear, "/api/v1/export").await.0, StatusCode::SERVICE_UNAVAILABLE);
    let url = format!("{}/api/v1/export", stage.url);
    let waits = stage.client.get(&url).bearer_auth(&other).timeout(std::time::Duration::from_secs(2)).send();
    assert!(waits.await.is_err_and(|error| error.is_timeout()), "it is not refused");
    drop(held);
    under_way.await;
    assert_eq!(stage.get(&dear, "/api/v1/export").await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_export_too_many_is_told_when_to_come_back() {
    let stage = Stage::new().await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let (_, other) = stage.token("a", &[Role::Viewer]).await;
    let url = format!("{}/api/v1/export", stage.url);
    let export = || stage.client.get(&url).bearer_auth(&token).send();
    for _ in 0..60 {
        assert_eq!(export().await.unwrap().status(), StatusCode::OK);
    }
    let refused = export().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["error"]["code"], "throttled");
    assert!(body["error"]["message"].as_str().unwrap().contains("exports in a minute"), "{body}");
    assert!(body["error"]["request_id"].is_string(), "{body}");
    // It is about exports, and about this caller.
    assert_eq!(stage.get(&token, "/api/v1/search").await.0, StatusCode::OK);
    assert_eq!(stage.get(&other, "/api/v1/export").await.0, StatusCode::OK);
}

#[tokio::test]
async fn headers_of_other_systems_select_no_tenant() {
    let stage = Stage::new().await;
    for name in ["a", "b"] {
        stage.indexer.commit(&tenant(name), &[record(1, 1, 1, &format!("canary of {name}"))]).await;
    }
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    for (name, value) in [
        ("x-scope-orgid", "b"),
        ("x-tenant", "b"),
        ("x-heliograph-tenant", "b"),
        ("accountid", "b"),
        ("x-forwarded-user", "root"),
        ("x-remote-user", "root"),
        ("x-webauth-user", "root"),
        ("x-original-url", "/api/v1/search?tenant=b"),
        ("x-rewrite-url", "/api/v1/search?tenant=b"),
        ("x-http-method-override", "DELETE"),
        ("forwarded", "for=127.0.0.1;host=b"),
        ("x-forwarded-host", "b"),
    ] {
        let ask = |path: &str| stage.client.get(format!("{}{path}", stage.url)).header(name, value);
        let anonymous = ask("/api/v1/search").send().await.unwrap();
        assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED, "{name} alone is no credential");
        let answer = ask("/api/v1/search").bearer_auth(&token).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(crate::stage::messages(&body), ["canary of a"], "{name}");
        let foreign = ask("/api/v1/search?tenant=b").bearer_auth(&token).send().await.unwrap();
        assert_eq!(foreign.status(), StatusCode::FORBIDDEN, "{name}");
    }
}

/// What other languages take for a part of a question.
const INJECTED: [&str; 14] = [
    "' OR '1'='1",
    "a'; DROP TABLE users; --",
    "a\" OR \"1\"=\"1",
    "\\",
    "%",
    "_",
    "a%' --",
    "\u{0}",
    "a\u{0}b",
    "*:*",
    "(a OR (b",
    "{\"$ne\":null}",
    "${jndi:ldap://x}",
    "\r\nX-Injected: 1",
];

#[tokio::test]
async fn what_is_injected_into_a_parameter_or_a_name_is_a_value() {
    let stage = Stage::new().await;
    for name in ["a", "b"] {
        stage.indexer.commit(&tenant(name), &[record(1, 1, 1, &format!("canary of {name}"))]).await;
        stage.indexer.seal(&tenant(name)).await;
    }
    let (_, token) = stage.token("a", &[Role::Viewer, Role::Operator]).await;
    let cookie = root(&stage).await;
    let users = stage.store.catalog.users().await.unwrap().len();
    for text in INJECTED {
        for route in ROUTES {
            let told = openapi::told("GET", route.path);
            for name in told.iter().flat_map(|told| told.parameters) {
                let url = format!("{}{}", stage.url, route.path);
                let required = [("field", "dag_id"), ("id", "AAAA")]
                    .into_iter()
                    .filter(|(of, _)| of != name && told.is_some_and(|told| told.parameters.contains(of)));
                let query: Vec<_> = required.chain([(*name, text)]).collect();
                let answer = stage.client.get(url).query(&query).bearer_auth(&token).send().await.unwrap();
                let status = answer.status();
                assert!(!answer.headers().contains_key("x-injected"), "{name}={text:?}");
                let body = answer.text().await.unwrap();
                assert!(!status.is_server_error(), "{} {name}={text:?}: {status} {body}", route.path);
                assert!(!body.contains("canary of b"), "{} {name}={text:?}: {body}", route.path);
            }
        }
        let post = async |path: &str, body: Value| {
            let request = stage.client.post(format!("{}/api/v1/{path}", stage.url)).json(&body);
            let request = request.header("cookie", &cookie).header("origin", &stage.url);
            request.send().await.unwrap().status()
        };
        for (path, body) in [
            ("admin/tenants", json!({ "name": text })),
            ("admin/tenants", json!({ "name": "c", "workspace": text })),
            ("admin/tokens", json!({ "tenant": text, "roles": ["viewer"] })),
            ("admin/grants", json!({ "user": text, "tenant": "a", "role": "viewer" })),
            ("session", json!({ "user": text, "password": text })),
        ] {
            let status = post(path, body.clone()).await;
            assert!(status.is_client_error(), "{path} {body}: {status}");
        }
    }
    assert_eq!(stage.store.catalog.users().await.unwrap().len(), users);
    assert_eq!(stage.store.catalog.tenants().await.unwrap().len(), 2);
    assert_eq!(stage.messages(&token, "/api/v1/search").await, ["canary of a"]);
}
