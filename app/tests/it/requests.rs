//! Requests that other systems read in another way, byte by byte at each port of the program: headers, credentials and
//! paths that might choose a tenant, a person, a route or a file select nothing.

use data_encoding::BASE64;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::command::run;
use crate::direct::AGENT_TOKEN;
use crate::server::{PASSWORD, Place, Server};

const PORTS: [&str; 3] = ["query.listen", "indexer.listen", "agent.status_listen"];

/// A server of two tenants, each with a line of its own.
async fn two_tenants(place: &Place) -> Server {
    let server = place.up_with(&[], &[]).await;
    for tenant in ["team-a", "team-b"] {
        let sent = server.ingest(Method::POST, "/v1/logs").header("x-heliograph-tenant", tenant);
        let sent = sent.bearer_auth(AGENT_TOKEN).json(&otlp(&format!("the line of {tenant}")));
        assert_eq!(sent.send().await.unwrap().status(), 200);
    }
    server
}

fn otlp(message: &str) -> serde_json::Value {
    json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [{ "body": { "stringValue": message } }] }] }] })
}

/// Writes a request as it is; status and all of the answer.
async fn raw(server: &Server, port: &str, request: &[u8]) -> (u16, String) {
    let base = server.base(port);
    let mut socket = TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // Whoever resets has answered before.
    let read =
        tokio::time::timeout(std::time::Duration::from_secs(30), socket.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "{:?} is not answered", String::from_utf8_lossy(request));
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text)
}

/// A request with these header lines and a body.
fn request(line: &str, headers: &[u8], body: &str) -> Vec<u8> {
    let head =
        format!("{line} HTTP/1.1\r\nHost: logs\r\nConnection: close\r\nContent-Type: application/json\r\n");
    let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    [head.as_bytes(), headers, length.as_bytes()].concat()
}

#[tokio::test]
async fn no_header_of_other_systems_chooses_a_tenant_at_ingest() {
    let place = Place::new();
    let server = two_tenants(&place).await;
    let writer = place.token("team-a", "writer").await;
    let names = [
        "X-Scope-OrgID",
        "X-Tenant",
        "X-Tenant-ID",
        "AccountID",
        "ProjectID",
        "X-Remote-User",
        "X-Forwarded-User",
        "X-WebAuth-User",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Prefix",
        "Forwarded",
        "X-HTTP-Method-Override",
        "X-Heliograph-User",
        "Cookie",
    ];
    let line = |n: usize, name: &str| format!("sent {n} with {name}");
    let mut sent = 0;
    for name in names {
        let value = if name == "Cookie" { "tenant=team-b; heliograph=team-b" } else { "team-b" };
        let bulk =
            format!("{{\"create\":{{\"_index\":\"team-b\"}}}}\n{}\n", json!({ "message": line(2, name) }));
        for (route, body) in [("/v1/logs", otlp(&line(1, name)).to_string()), ("/_bulk", bulk)] {
            let given = format!("{name}: {value}\r\n");
            let post = |headers: String| request(&format!("POST {route}"), headers.as_bytes(), &body);
            let (status, answer) = raw(&server, "indexer.listen", &post(given.clone())).await;
            assert_eq!(status, 401, "{name} alone at {route}: {answer}");
            let own = format!("{given}Authorization: Bearer {writer}\r\n");
            let (status, answer) = raw(&server, "indexer.listen", &post(own)).await;
            assert_eq!(status, 200, "{name} at {route}: {answer}");
            sent += 1;
        }
        // An agent names the tenant by our header, and by no other one.
        let post =
            |headers: &str| request("POST /v1/logs", headers.as_bytes(), &otlp("of an agent").to_string());
        let agent = format!("{name}: {value}\r\nAuthorization: Bearer {AGENT_TOKEN}\r\n");
        let (status, answer) = raw(&server, "indexer.listen", &post(&agent)).await;
        assert_eq!(status, 400, "{name} of an agent: {answer}");
    }
    for tenants in [
        "X-Heliograph-Tenant: team-a\r\nX-Heliograph-Tenant: team-b\r\n",
        "X-Heliograph-Tenant: team-a,team-b\r\n",
    ] {
        let headers = format!("{tenants}Authorization: Bearer {AGENT_TOKEN}\r\n");
        let twice = request("POST /v1/logs", headers.as_bytes(), &otlp("of two").to_string());
        let (status, answer) = raw(&server, "indexer.listen", &twice).await;
        assert_eq!(status, 400, "{tenants:?}: {answer}");
    }
    let (a, b) = (place.token("team-a", "viewer").await, place.token("team-b", "viewer").await);
    assert_eq!(server.export(&a).await.len(), 1 + sent);
    let of_b: Vec<_> = server.export(&b).await.iter().map(|record| record["message"].clone()).collect();
    assert_eq!(of_b, [json!("the line of team-b")]);
    server.stop().await;
}

/// What a credential may look like that nobody has: each is a whole `Authorization`, around a good token of `team-a`.
fn odd_credentials(token: &str) -> Vec<Vec<u8>> {
    let basic = |pair: &[u8]| format!("Basic {}", BASE64.encode(pair)).into_bytes();
    let of = |text: String| basic(text.as_bytes());
    let good = BASE64.encode(format!("team-a:{token}").as_bytes());
    let mut all = vec![
        of(format!("team-a\0:{token}")),
        of(format!("team-a:{token}\0")),
        of(format!("team-a:\0{token}")),
        of(format!("team-a\r\n:{token}")),
        of(format!("team-a:{token}\r\n")),
        of(format!("team-a:{token}\nX-Heliograph-Tenant: team-b")),
        of(format!("team-a:x:{token}")),
        of(format!("team-a:{token}:")),
        of(format!("team-a::{token}")),
        of(format!("team-a: {token}")),
        of(format!("team-a :{token}")),
        of(format!("team-a:{token} ")),
        of(format!("TEAM-A:{token}")),
        of(format!("team-b:{token}")),
        of(format!("*:{token}")),
        of(format!("team-a,team-b:{token}")),
        of(format!(":{token}")),
        of(format!("team-a{token}")),
        of("team-a:".to_owned()),
        of(String::new()),
        of(":".to_owned()),
        basic(&[b"team-a:", token.as_bytes(), b"\xff"].concat()),
        basic(&[b"team-\xc0\xaf:".as_slice(), token.as_bytes()].concat()),
        basic(b"\xff\xfe:\xff"),
    ];
    let texts = [
        "Basic !!!".to_owned(),
        "Basic".to_owned(),
        "Basic ".to_owned(),
        format!("Basic {good}="),
        format!("Basic {good}\u{e9}"),
        format!("Basic {good}, Basic {good}"),
        format!("Basic team-a:{token}"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {token}, Bearer {token}"),
        format!("Bearer {token} x"),
        format!("Bearer\u{a0}{token}"),
        format!("Bearer \"{token}\""),
        format!("Bearer team-a:{token}"),
        format!("Bearer {}", token.to_uppercase()),
        format!("Digest username=\"team-a\", response=\"{token}\""),
        token.to_owned(),
    ];
    all.extend(texts.map(String::into_bytes));
    all
}

#[tokio::test]
async fn a_credential_in_an_odd_form_proves_nobody_at_any_port() {
    let place = Place::new();
    let server = two_tenants(&place).await;
    let data = place.data().display().to_string();
    let roles = ["--role", "viewer", "--role", "writer", "--data-dir", &data];
    let said = run(&[&["admin", "token", "create", "--tenant", "team-a"][..], &roles].concat()).await;
    let token = said.fine().trim().to_owned();
    let body = otlp("of nobody").to_string();
    let search = |headers: &[u8]| request("GET /api/v1/search?q=", headers, "");
    let send = |headers: &[u8]| request("POST /v1/logs", headers, &body);
    let bulk =
        |headers: &[u8]| request("POST /_bulk", headers, "{\"index\":{}}\n{\"message\":\"of nobody\"}\n");
    let scan = |headers: &[u8]| request("POST /internal/v1/scan", headers, "{}");
    let authorization = |value: &[u8]| [b"Authorization: ", value, b"\r\n"].concat();
    let refuse = async |headers: &[u8]| {
        let shown = String::from_utf8_lossy(headers).replace(&token, "TOKEN");
        for (port, request) in [
            ("query.listen", search(headers)),
            ("indexer.listen", send(headers)),
            ("indexer.listen", bulk(headers)),
            ("indexer.listen", scan(headers)),
        ] {
            let (status, answer) = raw(&server, port, &request).await;
            // Who guesses is throttled, and is let in by that no more.
            assert!(matches!(status, 400 | 401 | 403 | 429), "{shown:?}: {answer}");
            assert!(!answer.contains("the line of"), "{shown:?}: {answer}");
        }
    };
    let good = authorization(format!("Bearer {token}").as_bytes());
    assert_eq!(raw(&server, "query.listen", &search(&good)).await.0, 200);
    // Before there are wrong guesses from here.
    let login = json!({ "user": "admin", "password": PASSWORD });
    let answer = server.api(Method::POST, "/api/v1/session").json(&login).send().await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    for odd in odd_credentials(&token) {
        refuse(&authorization(&odd)).await;
    }
    // Twice, in either order and in any spelling, and with what ends a line.
    let wrong = authorization(b"Bearer hg_x");
    for doubled in [
        [good.as_slice(), good.as_slice()].concat(),
        [good.as_slice(), wrong.as_slice()].concat(),
        [wrong.as_slice(), good.as_slice()].concat(),
        [good.as_slice(), b"AUTHORIZATION: Bearer x\r\n"].concat(),
    ] {
        refuse(&doubled).await;
    }
    for broken in [
        b"Authorization: Bearer \0\r\n".as_slice(),
        b"Authorization : Bearer x\r\n",
        b"Authorization: Bearer\r\n x\r\n",
    ] {
        refuse(broken).await;
    }
    // A session beside a token of somebody else is neither's.
    let both = [format!("Cookie: {cookie}\r\n").as_bytes(), &good].concat();
    let (status, answer) = raw(&server, "query.listen", &search(&both)).await;
    assert!(matches!(status, 400 | 401) && !answer.contains("the line of"), "{answer}");
    let alone = format!("Cookie: {cookie}\r\n");
    let own = request("GET /api/v1/search?tenant=team-a", alone.as_bytes(), "");
    assert_eq!(raw(&server, "query.listen", &own).await.0, 200, "it is good by itself");
    // The indexer knows no sessions: neither alone nor beside a token does one count.
    assert_eq!(raw(&server, "indexer.listen", &send(alone.as_bytes())).await.0, 401);
    let viewer = place.token("team-a", "viewer").await;
    assert_eq!(server.export(&viewer).await.len(), 1, "nothing was sent");
    server.stop().await;
}

/// Spellings of a path that some server or proxy takes for another one.
fn odd_paths(path: &str) -> Vec<String> {
    let begin = [
        "/..%2f",
        "/..%2F",
        "/%2e%2e/",
        "/.%2e/",
        "/%2e%2e%2f",
        "/%252e%252e/",
        "/..%252f",
        "/..%5c",
        "/..\\",
        "/\\",
        "/%5c",
        "/%c0%ae%c0%ae/",
        "/%c0%ae%c0%ae%c0%af",
        "/%e0%80%ae/",
        "/%uff0e%uff0e/",
        "/..;/",
        "/;/",
        "/;x=1/",
        "//",
        "///",
        "/./",
        "/%2e/",
        "/%00/",
        "/%0a/",
        "/%0d%0a",
        "/%23/",
        "/%3f/",
        "/~/",
        "/.git/../",
        "/assets/../",
        "/assets/..%2f",
        "/healthz/../",
        "/healthz/..;/",
        "/healthz/%2e%2e/",
        "/api/v1/session/../../../",
        "/x/_bulk/../../",
    ];
    let end = [
        "%00",
        "%00.js",
        ";",
        ";x=1",
        "/..;/",
        "/.",
        "/..",
        "/../",
        "%2f",
        "%2F..",
        "/%2e",
        "%5c",
        "\\",
        "%20",
        "%09",
        "%0d%0aX:%20y",
        ".json",
        "%23",
        "%c0%af",
        "/..%2f..%2f..%2f..%2fetc%2fpasswd",
    ];
    let bare = path.trim_start_matches('/');
    let mut all: Vec<_> = begin.iter().map(|begin| format!("{begin}{bare}")).collect();
    all.extend(end.iter().map(|end| format!("{path}{end}")));
    all.push(format!("/{}", bare.replace('/', "%2f")));
    all.push(path.replace('/', "//"));
    all.push(path.replace('/', "\\"));
    all.push(path.replace('/', "/./"));
    all.push(path.to_uppercase());
    all
}

/// Of files that lie beside what is served, or on every machine.
const OF_FILES: [&str; 5] = ["root:x:0", "[package]", "[workspace]", "//! ", "PRIVATE KEY"];

#[tokio::test]
async fn an_odd_path_is_no_file_and_no_other_route_at_any_port() {
    let place = Place::new();
    let server = two_tenants(&place).await;
    let viewer = place.token("team-a", "viewer").await;
    let files = [
        "/etc/passwd",
        "/../../../../etc/passwd",
        "/Cargo.toml",
        "/src/main.rs",
        "/index.html",
        "/master.key",
        "/assets/index.html",
    ];
    let mut asked = 0;
    for port in PORTS {
        let routes: &[(&str, &str)] = match port {
            "query.listen" => &[
                ("GET", "/api/v1/search"),
                ("GET", "/api/v1/admin/users"),
                ("POST", "/api/v1/admin/tenants"),
                ("GET", "/metrics"),
            ],
            "indexer.listen" => &[("POST", "/v1/logs"), ("POST", "/internal/v1/scan"), ("GET", "/metrics")],
            _ => &[("GET", "/metrics")],
        };
        let files = files.iter().map(|file| ("GET", *file));
        for (method, path) in routes.iter().copied().chain(files) {
            for odd in odd_paths(path) {
                for credential in ["".to_owned(), format!("Authorization: Bearer {viewer}\r\n")] {
                    let line = format!("{method} {odd}");
                    let body = otlp("of nobody").to_string();
                    let (status, answer) =
                        raw(&server, port, &request(&line, credential.as_bytes(), &body)).await;
                    asked += 1;
                    let shown = format!("{port}: {line} {}: {answer}", !credential.is_empty());
                    assert!((400..500).contains(&status), "{shown}");
                    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                    assert!(!OF_FILES.iter().any(|of| body.contains(of)), "{shown}");
                    assert!(!body.contains("the line of") && !answer.contains("\r\nX: y"), "{shown}");
                }
            }
        }
    }
    assert!(asked > 1_500, "{asked}");
    // Another host's name in the request line is no other host, and gives no rights.
    for host in ["other", "127.0.0.1:7710", "team-b", "user:secret@other"] {
        let line = format!("GET http://{host}/api/v1/search?q=");
        assert!(
            matches!(raw(&server, "query.listen", &request(&line, b"", "")).await.0, 400 | 401),
            "{host}"
        );
        let line = format!("POST http://{host}/v1/logs");
        let body = otlp("of nobody").to_string();
        assert!(
            matches!(raw(&server, "indexer.listen", &request(&line, b"", &body)).await.0, 400 | 401),
            "{host}"
        );
        let line = format!("GET http://{host}/metrics");
        assert!(
            matches!(raw(&server, "agent.status_listen", &request(&line, b"", "")).await.0, 400 | 401),
            "{host}"
        );
    }
    assert_eq!(server.export(&viewer).await.len(), 1, "nothing was sent");
    server.stop().await;
}
