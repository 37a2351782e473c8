//! What every answer carries, and what is refused whoever asks; cursors that are not one's own.

mod browser;
mod hostile;
mod matrix;
mod openapi;

use std::sync::Arc;

use heliograph_store::catalog::Role;
use http::{Method, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::ROUTES;
use crate::stage::{Stage, record, tenant};

/// Header of an administrator who sends Basic.
async fn root(stage: &Stage) -> String {
    let cookie = crate::access::tests::sign_in(stage, "root").await;
    assert!(cookie.starts_with("heliograph="));
    cookie
}

#[tokio::test]
async fn a_method_that_a_route_has_not_is_refused() {
    let stage = Stage::new().await;
    let (_, own) = stage.token("a", &[Role::Viewer]).await;
    for route in ROUTES {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            if !route.methods.iter().any(|(known, _)| *known == method) {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let url = format!("{}{}", stage.url, route.path);
                let anonymous = stage.client.request(method.clone(), &url).send().await.unwrap();
                assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED, "{method} {}", route.path);
                let known =
                    stage.client.request(method.clone(), &url).bearer_auth(&own).send().await.unwrap();
                assert_eq!(known.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {}", route.path);
            }
        }
    }
}

#[tokio::test]
async fn an_operator_asks_for_an_erasure_and_reads_its_receipt() {
    let stage = Stage::new().await;
    let (_, own) = stage.token("a", &[Role::Operator]).await;
    let (_, foreign) = stage.token("b", &[Role::Operator]).await;
    let ask = async |body: Value| {
        let url = format!("{}/api/v1/admin/erasures", stage.url);
        let answer = stage.client.post(url).bearer_auth(&own).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    for wrong in ["", "(ada", "/[/"] {
        let (status, body) = ask(json!({ "tenant": "a", "query": wrong })).await;
        assert_eq!(status, 400, "{wrong:?}: {body}");
    }
    let (status, made) = ask(json!({ "tenant": "a", "query": "ada OR bob", "start": "now-1h" })).await;
    assert_eq!((status, &made["state"], &made["query"]), (202, &json!("rewriting"), &json!("ada OR bob")));
    assert_eq!((&made["start"], &made["end"]), (&json!("2026-11-24T09:00:00.000000000Z"), &Value::Null));
    let pending = stage.store.catalog.pending_erasures().await.unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].filter, crate::parse_query("ada OR bob", pending[0].range.start).unwrap());
    let path = format!("/api/v1/admin/erasures/{}", made["id"].as_str().unwrap());
    assert_eq!(stage.get(&own, &path).await, (StatusCode::OK, made.clone()));
    assert_eq!(stage.get(&foreign, &path).await.0, StatusCode::NOT_FOUND);
    let list = async |token: &str| stage.get(token, "/api/v1/admin/erasures").await.1["erasures"].clone();
    assert_eq!(list(&foreign).await, json!([]));
    assert_eq!(list(&own).await[0]["query"], "ada OR bob");
    stage.store.catalog.finish_erasure(pending[0].id, pending[0].range.start).await.unwrap();
    let (_, done) = stage.get(&own, &path).await;
    assert_eq!((&done["state"], &done["query"]), (&json!("done"), &Value::Null));
    assert_eq!(done["query_sha256"], made["query_sha256"]);
}

#[tokio::test]
async fn only_an_administrator_erases_a_whole_tenant_and_only_on_purpose() {
    let stage = Stage::new().await;
    stage.indexer.commit(&tenant("a"), &[record(1, 1, 1, "canary of a")]).await;
    stage.indexer.seal(&tenant("a")).await;
    let (_, own) = stage.token("a", &[Role::Operator, Role::Viewer]).await;
    let ask = async |cookie: Option<&str>, body: Value| {
        let request = stage.client.post(format!("{}/api/v1/admin/erasures", stage.url)).json(&body);
        let request = match cookie {
            Some(cookie) => request.header("cookie", cookie).header("origin", &stage.url),
            None => request.bearer_auth(&own),
        };
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let root = root(&stage).await;
    let all = json!({ "tenant": "a", "everything": true, "confirm": "a" });
    assert_eq!(ask(None, all.clone()).await.0, 403, "an operator may not");
    for (wrong, said) in [
        (json!({ "tenant": "a" }), "either some records or everything"),
        (json!({ "tenant": "a", "query": "ada", "everything": true, "confirm": "a" }), "either some records"),
        (
            json!({ "tenant": "a", "everything": true, "confirm": "a", "start": "now-1h" }),
            "either some records",
        ),
        (json!({ "tenant": "a", "everything": true }), "not confirmed"),
        (json!({ "tenant": "a", "everything": true, "confirm": "b" }), "not confirmed"),
    ] {
        let (status, body) = ask(Some(&root), wrong.clone()).await;
        assert!(status == 400 && body.to_string().contains(said), "{wrong}: {status} {body}");
    }
    assert_eq!(stage.messages(&own, "/api/v1/search").await, ["canary of a"]);
    let (status, made) = ask(Some(&root), all.clone()).await;
    assert_eq!(
        (status, &made["kind"], &made["state"]),
        (202, &json!("tenant"), &json!("deleting")),
        "{made}"
    );
    assert_eq!((&made["query_sha256"], made["key_destroyed"].is_string()), (&Value::Null, true));
    assert_eq!(stage.get(&own, "/api/v1/search").await.0, StatusCode::UNAUTHORIZED, "its tokens are gone");
    assert_eq!(ask(Some(&root), all).await.0, 404, "there is no such tenant any more");
    let url = format!("{}/api/v1/admin/tenants", stage.url);
    let create = stage.client.post(url).header("cookie", &root).header("origin", &stage.url);
    let answer = create.json(&json!({ "name": "a" })).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    assert!(answer.text().await.unwrap().contains("being erased"));
}

#[tokio::test]
async fn what_is_no_route_is_no_secret_either() {
    let stage = Stage::new().await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let check = async |path: &str, anonymous: u16, known: u16| {
        let url = format!("{}{path}", stage.url);
        assert_eq!(stage.client.get(&url).send().await.unwrap().status().as_u16(), anonymous, "{path}");
        assert_eq!(
            stage.client.get(&url).bearer_auth(&token).send().await.unwrap().status().as_u16(),
            known,
            "{path}"
        );
    };
    check("/api", 401, 404).await;
    check("/api/", 401, 404).await;
    check("/api/v1/nothing", 401, 404).await;
    check("/api/v2/search", 401, 404).await;
    check("/api/v1/search/", 401, 404).await;
    check("/api/v1//search", 401, 404).await;
    check("/API/v1/search", 404, 404).await;
    check("/nothing", 404, 404).await;
    check("/index.html", 404, 404).await;
    check("/", 200, 200).await;
    check("/healthz", 200, 200).await;
}

/// The status of a request written byte by byte.
async fn raw(stage: &Stage, request: &str) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(stage.addr).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = socket.read(&mut answer).await.unwrap();
    let text = String::from_utf8_lossy(&answer[..length]);
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn odd_requests_reach_nothing() {
    let stage = Stage::new().await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let check = async |line: &str, headers: &str, expected: &[u16]| {
        let status = raw(&stage, &format!("{line} HTTP/1.1\r\nHost: h\r\n{headers}\r\n")).await;
        assert!(expected.contains(&status), "{line} {headers:?}: {status}");
    };
    check("GET /api/v1/search", "", &[401]).await;
    check("GET /api/v1/search", &bearer, &[200]).await;
    for path in ["/api/v1/%2e%2e/v1/search", "/api/v1/../v1/search", "/api/v1/;/search", "/api/v1/search%00"]
    {
        check(&format!("GET {path}"), "", &[401]).await;
        check(&format!("GET {path}"), &bearer, &[404]).await;
    }
    check("GET //api/v1/search", &bearer, &[404]).await;
    check("GET /assets/..%2f..%2fCargo.toml", "", &[404]).await;
    check("GET http://other/api/v1/search", "", &[401]).await;
    check("TRACE /", "", &[405]).await;
    check("POST /api/v1/session", "Content-Length: 1\r\nContent-Length: 2\r\n", &[400]).await;
    check("POST /api/v1/session", "Content-Length: 4\r\nTransfer-Encoding: xchunked\r\n", &[400]).await;
    check("GET /", "A: b\r\n folded: c\r\n", &[400]).await;
    check("GET /", &"X: y\r\n".repeat(70), &[431]).await;
    let lone_feeds = raw(&stage, "GET / HTTP/1.1\nHost: h\n\n").await;
    assert!([200, 400].contains(&lone_feeds), "{lone_feeds}");
}

#[tokio::test]
async fn bodies_are_json_known_and_bounded() {
    let stage = Stage::new().await;
    let post = async |content_type: &str, body: String| {
        let request = stage.client.post(format!("{}/api/v1/session", stage.url));
        request.header("content-type", content_type).body(body).send().await.unwrap().status().as_u16()
    };
    let right = json!({ "user": "ann", "password": crate::stage::PASSWORD }).to_string();
    assert_eq!(post("application/json; charset=utf-8", right.clone()).await, 200);
    assert_eq!(post("text/plain", right.clone()).await, 415);
    assert_eq!(post("application/x-www-form-urlencoded", right.clone()).await, 415);
    assert_eq!(post("application/json", right.replace('}', ",\"admin\":true}")).await, 400);
    assert_eq!(post("application/json", "{".to_owned()).await, 400);
    assert_eq!(post("application/json", " ".repeat(100_000)).await, 413);
}

#[tokio::test]
async fn a_mistake_in_a_query_has_a_place_and_a_hint() {
    let stage = Stage::new().await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    for path in ["search?q=", "histogram?q=", "export?q=", "fields?q=", "values?field=dag_id&q="] {
        let (status, body) = stage.get(&token, &format!("/api/v1/{path}a%20%22b")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let error = &body["error"];
        assert_eq!((&error["code"], &error["position"]), (&json!("syntax"), &json!(2)), "{path}");
        assert_eq!(error["message"], "the quote opened here is not closed");
        assert!(error["hint"].is_string());
    }
    for wrong in
        ["limit=0", "limit=10001", "order=up", "start=never", "cursor=x", "start=now&end=now-1h", "index=a"]
    {
        let (status, body) = stage.get(&token, &format!("/api/v1/search?{wrong}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}: {body}");
    }
}

#[tokio::test]
async fn cursors_are_good_for_their_own_question_and_caller_only() {
    let stage = Stage::new().await;
    let records: Vec<_> = (0..4).map(|n| record(1, n, 1, "x")).collect();
    stage.indexer.commit(&tenant("a"), &records).await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let (_, other) = stage.token("a", &[Role::Viewer]).await;
    let (_, body) = stage.get(&token, "/api/v1/search?limit=1&start=now-1h").await;
    let cursor = body["next_cursor"].as_str().unwrap().to_owned();
    let mut bodies = Vec::new();
    let mut check = async |token: &str, query: &str, expected: u16| {
        let (status, mut body) = stage.get(token, &format!("/api/v1/search?limit=1&{query}")).await;
        assert_eq!(status.as_u16(), expected, "{query}: {body}");
        if expected == 400 {
            body["error"]["request_id"].take();
            bodies.push(body);
        }
    };
    check(&token, &format!("start=now-1h&cursor={cursor}"), 200).await;
    check(&other, &format!("start=now-1h&cursor={cursor}"), 400).await;
    check(&token, &format!("start=now-2h&cursor={cursor}"), 400).await;
    check(&token, &format!("start=now-1h&q=x&cursor={cursor}"), 400).await;
    check(&token, &format!("start=now-1h&order=asc&cursor={cursor}"), 400).await;
    check(&token, &format!("start=now-1h&tenant=a&cursor={cursor}"), 400).await;
    check(&token, &format!("start=now-1h&cursor={}A", cursor), 400).await;
    check(&token, "start=now-1h&cursor=nonsense", 400).await;
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[tokio::test]
async fn administration_makes_lists_and_revokes() {
    let stage = Stage::new().await;
    let cookie = root(&stage).await;
    let call = async |method: Method, path: &str, body: Option<Value>| {
        let mut request = stage.client.request(method, format!("{}/api/v1/admin/{path}", stage.url));
        request = request.header("cookie", &cookie).header("origin", &stage.url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap_or_default())
    };
    let (status, made) =
        call(Method::POST, "tokens", Some(json!({ "tenant": "a", "roles": ["viewer"] }))).await;
    assert_eq!(status, 201);
    let token = made["token"].as_str().unwrap();
    assert_eq!(stage.get(token, "/api/v1/search?tenant=a").await.0, StatusCode::OK);
    let (_, list) = call(Method::GET, "tokens?tenant=a", None).await;
    assert_eq!(list["tokens"][0]["id"], made["id"]);
    assert!(!list.to_string().contains(token), "a token is shown once");
    let path = format!("tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(call(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(stage.get(token, "/api/v1/search?tenant=a").await.0, StatusCode::UNAUTHORIZED);
    let expect = async |method: Method, path: &str, body: Value, expected: u16| {
        let (status, answer) = call(method, path, Some(body)).await;
        assert_eq!(status, expected, "{path}: {answer}");
    };
    expect(Method::POST, "tenants", json!({ "name": "a" }), 409).await;
    expect(Method::POST, "tenants", json!({ "name": "../x" }), 400).await;
    expect(Method::POST, "tenants", json!({ "name": "c", "uid": "1" }), 400).await;
    expect(Method::POST, "tokens", json!({ "tenant": "unknown", "roles": ["viewer"] }), 404).await;
    expect(Method::POST, "tokens", json!({ "tenant": "*", "roles": ["viewer"] }), 404).await;
    expect(Method::POST, "tokens", json!({ "tenant": "a", "roles": [] }), 400).await;
    expect(Method::POST, "tokens", json!({ "tenant": "a", "roles": ["admin"] }), 400).await;
    expect(Method::POST, "users", json!({ "name": "a:b", "password": "long enough" }), 400).await;
    expect(Method::POST, "users", json!({ "name": "short", "password": "short" }), 400).await;
    expect(Method::POST, "grants", json!({ "user": "ghost", "tenant": "a", "role": "viewer" }), 404).await;
    expect(Method::POST, "grants", json!({ "user": "ann", "role": "viewer" }), 400).await;
    expect(Method::DELETE, "grants", json!({ "user": "ann", "tenant": "b", "role": "viewer" }), 404).await;
    expect(Method::POST, "grants", json!({ "user": "ann", "workspace": "w", "role": "viewer" }), 201).await;
    let (_, list) = call(Method::GET, "grants?user=ann", None).await;
    assert_eq!(list["grants"].as_array().unwrap().len(), 2);
    let (_, users) = call(Method::GET, "users", None).await;
    assert!(!users.to_string().contains("argon2"), "no hash leaves");
}

#[tokio::test]
async fn a_search_has_its_turn_and_ends_when_its_client_leaves() {
    let stage = Stage::with(|config| config.search_concurrency = 1).await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let held = Arc::clone(&stage.indexer.hold).write_owned().await;
    let url = format!("{}/api/v1/search", stage.url);
    let first = stage.client.get(&url).bearer_auth(&token).timeout(std::time::Duration::from_secs(5)).send();
    let (first, second) = tokio::join!(first, async {
        // Whichever of the two has the turn, the other is told to come back.
        stage.client.get(&url).bearer_auth(&token).timeout(std::time::Duration::from_secs(5)).send().await
    });
    let told: Vec<_> = [first, second].into_iter().filter_map(Result::ok).collect();
    assert_eq!(told.len(), 1, "one is answered, one gave up");
    assert_eq!(told[0].status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(told[0].headers()["retry-after"], "1");
    // The one that gave up has left its turn though the hot part never answered: the next one gets it, and
    // waits for the hot part instead of being told to come back.
    let next = stage.client.get(&url).bearer_auth(&token).timeout(std::time::Duration::from_secs(4)).send();
    assert!(next.await.is_err_and(|error| error.is_timeout()));
    drop(held);
    assert_eq!(stage.get(&token, "/api/v1/search").await.0, StatusCode::OK);
}

#[tokio::test]
async fn one_callers_searches_do_not_hold_up_anothers() {
    let stage = Stage::with(|config| config.search_concurrency = 4).await;
    let (_, dear) = stage.token("a", &[Role::Viewer]).await;
    let (_, other) = stage.token("a", &[Role::Viewer]).await;
    let held = Arc::clone(&stage.indexer.hold).write_owned().await;
    let under_way = futures::future::join_all((0..6).map(|_| stage.get(&dear, "/api/v1/search")));
    let mut under_way = std::pin::pin!(under_way);
    let begin = tokio::time::timeout(std::time::Duration::from_millis(300), &mut under_way);
    assert!(begin.await.is_err(), "all of it holds the hot part up, or waits for its turn");
    // The other is not told to come back, but waits for the hot part: it has its turn.
    let url = format!("{}/api/v1/search", stage.url);
    let waits = stage.client.get(&url).bearer_auth(&other).timeout(std::time::Duration::from_secs(4)).send();
    tokio::select! {
        waited = waits => assert!(waited.is_err_and(|error| error.is_timeout())),
        _ = &mut under_way => panic!("the hot part answered"),
    }
    drop(held);
}

#[tokio::test]
async fn a_search_that_takes_too_long_ends() {
    let stage = Stage::with(|config| config.search_timeout = std::time::Duration::from_millis(50)).await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let _held = Arc::clone(&stage.indexer.hold).write_owned().await;
    let (status, body) = stage.get(&token, "/api/v1/search").await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{body}");
    let text = prometheus::TextEncoder::new().encode_to_string(&stage.registry.gather()).unwrap();
    assert!(
        text.contains(r#"heliograph_query_requests_total{route="/api/v1/search",status="5xx"} 1"#),
        "{text}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_request_panics(query in "[a-z=&%0-9+.:/\"*-]{0,60}") {
        if let Ok(uri) = format!("/api/v1/search?{query}").parse() {
            drop(super::params::Params::of(&uri).map(|mut p| (p.all("tenant"), p.one("q"), p.finish())));
        }
    }
}

#[tokio::test]
async fn usage_is_told_to_operators_of_the_own_tenants_and_to_administrators() {
    use heliograph_store::catalog::{Bound, TenantLimits};
    let stage = Stage::new().await;
    let limits = TenantLimits {
        ingest_per_second: Some(Bound::new(1_000)),
        hot: Some(Bound::Unbounded),
        ..TenantLimits::default()
    };
    stage.store.catalog.set_limits(&tenant("a"), &limits).await.unwrap();
    let (_, operator) = stage.token("a", &[Role::Operator]).await;
    let (_, viewer) = stage.token("a", &[Role::Viewer]).await;
    let of_a = json!({ "tenant": "a", "stored_bytes": 0, "raw_bytes": 0, "segments": 0, "records": 0,
        "limits": { "ingest_bytes_per_second": 1_000, "hot_bytes": null } });
    for path in ["/api/v1/admin/usage", "/api/v1/admin/usage?tenant=a"] {
        assert_eq!(stage.get(&operator, path).await.1, json!({ "usage": [of_a] }), "{path}");
        assert_eq!(stage.get(&viewer, path).await.0, 403, "{path}");
    }
    for foreign in ["b", "no-such-tenant", "%2e%2e"] {
        let path = format!("/api/v1/admin/usage?tenant={foreign}");
        assert_eq!(stage.get(&operator, &path).await.0, 404, "{path}");
    }
    let request = stage.client.get(format!("{}/api/v1/admin/usage", stage.url));
    let all = request.header("cookie", root(&stage).await).send().await.unwrap();
    let all: Value = all.json().await.unwrap();
    assert_eq!(all["usage"][0], of_a);
    assert_eq!(all["usage"][1]["tenant"], "b");
}
