//! Promise: one tenant's bytes never reach another; nothing stands in clear at rest; no route answers strangers.

use std::time::Duration;

use futures::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::server::{PASSWORD, Place, Server, files_below, percent};

/// Words that stand in one tenant's logs only.
const ALPHA: &str = "canaryalphaword";
const BETA: &str = "canarybetaword";

/// Every route that must not answer strangers: port, method, path.
const CLOSED: [(&str, &str, &str); 27] = [
    ("query.listen", "GET", "/api/v1/search?q="),
    ("query.listen", "GET", "/api/v1/search?q=%22open"),
    ("query.listen", "GET", "/api/v1/histogram?q="),
    ("query.listen", "GET", "/api/v1/values?field=level"),
    ("query.listen", "GET", "/api/v1/fields"),
    ("query.listen", "GET", "/api/v1/context?id=x"),
    ("query.listen", "GET", "/api/v1/export?q="),
    ("query.listen", "GET", "/api/v1/tail?q="),
    ("query.listen", "GET", "/api/v1/session"),
    ("query.listen", "DELETE", "/api/v1/session"),
    ("query.listen", "GET", "/api/v1/admin/tenants"),
    ("query.listen", "POST", "/api/v1/admin/tenants"),
    ("query.listen", "GET", "/api/v1/admin/users"),
    ("query.listen", "GET", "/api/v1/admin/tokens"),
    ("query.listen", "GET", "/api/v1/admin/usage"),
    ("query.listen", "GET", "/api/v1/no-such-route"),
    ("query.listen", "GET", "/metrics"),
    ("indexer.listen", "POST", "/v1/logs"),
    ("indexer.listen", "POST", "/internal/v1/scan"),
    ("indexer.listen", "POST", "/internal/v1/feed"),
    ("indexer.listen", "GET", "/metrics"),
    ("agent.status_listen", "GET", "/metrics"),
    ("query.listen", "PUT", "/api/v1/search"),
    ("query.listen", "GET", "/api/v1/admin/grants"),
    ("query.listen", "PUT", "/api/v1/admin/users/admin/password"),
    ("query.listen", "DELETE", "/api/v1/admin/tokens/x"),
    ("query.listen", "GET", "/api/v1/admin/users/%2e%2e/tenants"),
];

/// Routes that give records, by what a caller would ask for everything.
const READING: [&str; 6] = [
    "/api/v1/search?q=&limit=1000",
    "/api/v1/histogram?q=&interval=1h",
    "/api/v1/values?q=&field=component",
    "/api/v1/values?q=&field=tenant",
    "/api/v1/fields?q=",
    "/api/v1/export?q=&format=ndjson",
];

/// A server of two tenants, each with a file that holds its canary, and a line that claims to be the other's.
async fn two_tenants(place: &Place) -> Server {
    let logs = place.logs();
    let claim = json!({"event": format!("{ALPHA} claims"), "level": "info", "tenant": "beta", "release": "beta",
        "component": "scheduler", "namespace": "beta", "pod": "beta-0", "timestamp": "2026-11-24T10:00:00Z"});
    let alpha = format!("{ALPHA} one\n{claim}\n{ALPHA} three\n");
    std::fs::write(logs.join("alpha.log"), alpha).unwrap();
    std::fs::write(logs.join("beta.log"), format!("{BETA} one\n{BETA} two\n")).unwrap();
    let inputs = ["alpha", "beta"].map(|tenant| {
        let glob = logs.join(format!("{tenant}.log"));
        format!("{{kind = \"files\", glob = {glob:?}, tenant = \"{tenant}\", component = \"worker\"}}")
    });
    let inputs = format!("[{}]", inputs.join(", "));
    place
        .up_with(&[], &[("HELIOGRAPH_AGENT__INPUTS", &inputs), ("HELIOGRAPH_INDEXER__SEAL_AFTER", "500ms")])
        .await
}

#[tokio::test]
async fn strangers_are_refused_on_every_route() {
    let place = Place::new();
    let server = two_tenants(&place).await;
    let token = place.token("alpha", "viewer").await;
    server.wait_for(&token, ALPHA, 3).await;
    let http = reqwest::Client::new();
    let wrong: [(&str, Option<String>); 5] = [
        ("none", None),
        ("unknown token", Some("Bearer hg_0123456789abcdef_00000000000000000000000000000000".to_owned())),
        ("cut token", Some(format!("Bearer {}", token.split_at(token.len() - 1).0))),
        ("empty", Some("Bearer ".to_owned())),
        ("wrong password", Some("Basic YWRtaW46d3Jvbmc=".to_owned())),
    ];
    for (name, credential) in wrong {
        for (port, method, path) in CLOSED {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let mut request = http.request(method.clone(), format!("{}{path}", server.base(port)));
            if let Some(value) = &credential {
                request = request.header("authorization", value);
            }
            let answer = request.send().await.unwrap();
            let (status, body) = (answer.status(), answer.text().await.unwrap());
            // Many wrong passwords are throttled, which opens nothing either.
            let refused = status == StatusCode::UNAUTHORIZED
                || (name == "wrong password" && status == StatusCode::TOO_MANY_REQUESTS);
            assert!(refused, "{name}: {method} {path}: {status} {body}");
            assert!(!body.contains(ALPHA), "{name}: {method} {path}: {body}");
        }
    }
    for port in ["query.listen", "indexer.listen", "agent.status_listen"] {
        for path in ["/healthz", "/readyz"] {
            let answer = http.get(format!("{}{path}", server.base(port))).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{port} {path}");
        }
    }
    assert_eq!(server.api(Method::GET, "/").send().await.unwrap().status(), StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn a_foreign_token_gets_nothing() {
    let place = Place::new();
    let server = two_tenants(&place).await;
    let (alpha, beta) = (place.token("alpha", "viewer").await, place.token("beta", "viewer").await);
    server.wait_for(&alpha, ALPHA, 3).await;
    server.wait_for(&beta, BETA, 2).await;

    let found = server.get(&alpha, "/api/v1/search?q=").await;
    let id = found["records"][0]["id"].as_str().unwrap().to_owned();
    for route in READING {
        let own = server.api(Method::GET, route).bearer_auth(&beta).send().await.unwrap();
        assert_eq!(own.status(), StatusCode::OK, "{route}");
        let body = own.text().await.unwrap();
        assert!(!body.contains("alpha"), "{route}: {body}");
        for tenant in ["alpha", "no-such-tenant"] {
            let foreign = server.api(Method::GET, &format!("{route}&tenant={tenant}"));
            let answer = foreign.bearer_auth(&beta).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{route} of {tenant}");
            let body = answer.text().await.unwrap();
            assert!(!body.contains("alpha"), "{route} of {tenant}: {body}");
        }
    }
    for tenant in ["", "&tenant=alpha", "&tenant=beta"] {
        let route = format!("/api/v1/context?id={id}{tenant}");
        let answer = server.api(Method::GET, &route).bearer_auth(&beta).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{route}: {}", answer.status());
        let body = answer.text().await.unwrap();
        assert!(!body.contains("alpha"), "{route}: {body}");
    }
    // What the query role asks the indexer is not for tokens of tenants.
    for path in ["/internal/v1/scan", "/internal/v1/feed"] {
        let answer = server.ingest(Method::POST, path).bearer_auth(&beta).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_tail_shows_the_own_tenant_only() {
    let place = Place::new();
    let server = two_tenants(&place).await;
    let beta = place.token("beta", "viewer").await;
    let open = |route: &str| {
        let url = format!("{}{route}", server.base("query.listen").replacen("http", "ws", 1));
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {beta}").parse().unwrap());
        tokio_tungstenite::connect_async(request)
    };
    for tenant in ["alpha", "no-such-tenant"] {
        let Err(Error::Http(answer)) = open(&format!("/api/v1/tail?q=&tenant={tenant}")).await else {
            panic!("a tail of {tenant} was opened");
        };
        assert_eq!(answer.status().as_u16(), 403);
    }
    let (mut tail, _) = open("/api/v1/tail?q=&since=now-1h").await.unwrap();
    let append = |tenant: &str, text: &str| {
        use std::io::Write;
        let path = place.logs().join(format!("{tenant}.log"));
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    append("alpha", &format!("{ALPHA} live\n"));
    let alpha = place.token("alpha", "viewer").await;
    server.wait_for(&alpha, "live", 1).await;
    append("beta", &format!("{BETA} last\n"));
    let mut frames = String::new();
    while !frames.contains(&format!("{BETA} last")) {
        match tokio::time::timeout(Duration::from_secs(60), tail.next()).await.expect("a frame in time") {
            Some(Ok(Message::Text(text))) => frames.push_str(&text),
            Some(Ok(_)) => {}
            other => panic!("the tail ended: {other:?}"),
        }
    }
    assert!(frames.contains(&format!("{BETA} one")), "the backlog: {frames}");
    assert!(!frames.contains("alpha"), "{frames}");
    server.stop().await;
}

#[tokio::test]
async fn what_a_line_claims_changes_nothing() {
    let place = Place::new();
    let server = two_tenants(&place).await;
    let alpha = place.token("alpha", "viewer").await;
    server.wait_for(&alpha, ALPHA, 3).await;
    let found = server.get(&alpha, &format!("/api/v1/search?q={}", percent("claims"))).await;
    let record = &found["records"][0];
    assert_eq!(record["tenant"], "alpha");
    assert_eq!(record["component"], "worker");
    assert!(record.get("namespace").is_none() && record.get("pod").is_none(), "{record}");
    assert_eq!(record["attributes"]["tenant"], "beta");
    assert_eq!(record["attributes"]["release"], "beta");
    server.stop().await;
}

#[tokio::test]
async fn roles_are_kept_apart() {
    let place = Place::new();
    let server = two_tenants(&place).await;
    let (writer, viewer) = (place.token("beta", "writer").await, place.token("beta", "viewer").await);
    let reading =
        server.api(Method::GET, "/api/v1/search?tenant=beta").bearer_auth(&writer).send().await.unwrap();
    assert_eq!(reading.status(), StatusCode::FORBIDDEN);
    assert_eq!(server.get(&writer, "/api/v1/search").await["records"], json!([]));

    let lines = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "sent by hand"}}]}]}]});
    let send = |token: &str, tenant: Option<&str>| {
        let mut request = server.ingest(Method::POST, "/v1/logs").bearer_auth(token).json(&lines);
        if let Some(tenant) = tenant {
            request = request.header("x-heliograph-tenant", tenant);
        }
        request.send()
    };
    let by_viewer = send(&viewer, None).await.unwrap().status();
    assert!(matches!(by_viewer, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED), "{by_viewer}");
    for tenant in ["alpha", "no-such-tenant"] {
        assert_eq!(send(&writer, Some(tenant)).await.unwrap().status(), StatusCode::FORBIDDEN, "{tenant}");
    }
    assert_eq!(send(&writer, None).await.unwrap().status(), StatusCode::OK);
    server.wait_for(&viewer, "\"sent by hand\"", 1).await;

    let id = viewer.split('_').nth(1).unwrap();
    place.admin(&["token", "revoke", id]).await;
    let answer = server.api(Method::GET, "/api/v1/search?q=").bearer_auth(&viewer).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    server.stop().await;
}

/// Looks at every byte below the data folder, while the server runs and after it has stopped.
#[tokio::test]
async fn nothing_stands_in_clear_at_rest() {
    let place = Place::new();
    let server = two_tenants(&place).await;
    let token = place.token("alpha", "viewer").await;
    server.wait_for(&token, ALPHA, 3).await;
    let signed_in = server
        .api(Method::POST, "/api/v1/session")
        .json(&json!({"user": "admin", "password": PASSWORD}))
        .send()
        .await
        .unwrap();
    assert!(signed_in.status().is_success(), "{}", signed_in.status());
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().to_owned();
    let session = cookie.split(['=', ';']).nth(1).unwrap().to_owned();
    let token_secret = token.rsplit('_').next().unwrap().to_owned();

    let secrets = [ALPHA, BETA, PASSWORD, &token_secret, &session].map(str::to_owned);
    let sealed = || files_below(&place.data()).iter().any(|p| p.to_string_lossy().contains("/s/"));
    let deadline = std::time::Instant::now() + crate::server::PATIENCE;
    while !sealed() {
        assert!(std::time::Instant::now() < deadline, "nothing was sealed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_clear_of(&place, &secrets);
    server.wait_for(&token, ALPHA, 3).await;
    assert!(!server.said().contains(ALPHA) && !server.said().contains(&token_secret));
    server.stop().await;
    assert_clear_of(&place, &secrets);
}

#[track_caller]
fn assert_clear_of(place: &Place, secrets: &[String]) {
    let files = files_below(&place.data());
    assert!(files.len() > 3, "{files:?}");
    for path in files {
        // A file may be gone between the listing and the reading.
        let Ok(bytes) = std::fs::read(&path) else { continue };
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret:?} stands in {}", path.display());
        }
        assert!(!path.to_string_lossy().contains("canary"));
    }
}

#[tokio::test]
async fn metrics_are_for_their_token_and_name_no_tenant_secret() {
    let place = Place::new();
    let server = place.up_with(&[], &[("HELIOGRAPH_TELEMETRY__METRICS_TOKEN", "scrape-me-73")]).await;
    let answer = server.api(Method::GET, "/metrics").bearer_auth("scrape-me-73").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let text = answer.text().await.unwrap();
    for name in ["heliograph_build_info", "heliograph_agent_lines_total", "process_resident_memory_bytes"] {
        assert!(text.contains(name), "{name} is not in: {text}");
    }
    let twice =
        server.api(Method::GET, "/metrics").bearer_auth("scrape-me-73").header("authorization", "Bearer x");
    assert_eq!(twice.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let ready: Value = server.api(Method::GET, "/readyz").send().await.unwrap().json().await.unwrap();
    assert_eq!(ready, json!({"ready": true, "waiting_for": []}));
    server.stop().await;
}
