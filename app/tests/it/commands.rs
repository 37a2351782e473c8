//! What people type: admin and client commands against a running server.

use std::process::Stdio;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::command::{heliograph, run_with, run_with_input};
use crate::server::{Place, Server};

async fn sign_in(server: &Server, user: &str, password: &str) -> StatusCode {
    let body = json!({"user": user, "password": password});
    server.api(Method::POST, "/api/v1/session").json(&body).send().await.unwrap().status()
}

#[tokio::test]
async fn the_first_password_is_shown_once() {
    let place = Place::new();
    let generated = [("HELIOGRAPH_BOOTSTRAP__ADMIN_PASSWORD_FILE", "/dev/null")];
    let mut command = heliograph();
    command.args(["up", "--data-dir"]).arg(place.data());
    for setting in ["QUERY__LISTEN", "INDEXER__LISTEN", "AGENT__STATUS_LISTEN"] {
        command.env(format!("HELIOGRAPH_{setting}"), "127.0.0.1:0");
    }
    let mut server = Server::spawn(command, "query.listen");
    server.wait_until_ready().await;
    let said = loop {
        let said = server.said();
        if said.contains("sign in") {
            break said;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let line = said.lines().find(|line| line.contains("sign in")).unwrap();
    let password = line.split_whitespace().nth(4).unwrap();
    assert!(password.len() >= 20, "{line}");
    assert!(sign_in(&server, "admin", password).await.is_success());
    server.stop().await;

    let server = place.up().await;
    assert!(!server.said().contains(password));
    let new = place.admin(&["user", "passwd", "admin"]).await;
    assert_eq!(sign_in(&server, "admin", password).await, StatusCode::UNAUTHORIZED);
    assert!(sign_in(&server, "admin", &new).await.is_success());
    server.stop().await;

    // An empty secret file is a mistake, not an empty password.
    let data = place.data().display().to_string();
    run_with(&["up", "--data-dir", &data], &generated).await.failed(2, &["/dev/null", "empty"]);
}

#[tokio::test]
async fn what_a_tenant_keeps_is_set_beside_a_running_server() {
    let place = Place::new();
    let server = place.up().await;
    place.admin(&["tenant", "create", "team-a"]).await;
    let cells = |said: String| {
        said.lines().last().unwrap().split("  ").map(str::trim).map(str::to_owned).collect::<Vec<_>>()
    };
    let retention = async |more: &[&str]| {
        let said = place.admin(&[&["tenant", "retention", "team-a"], more].concat()).await;
        cells(said).into_iter().filter(|cell| !cell.is_empty()).collect::<Vec<_>>()
    };
    assert_eq!(retention(&[]).await, ["team-a", "default", "default"]);
    assert_eq!(retention(&["--age", "30d"]).await, ["team-a", "30d", "default"]);
    assert_eq!(retention(&["--bytes", "50 GiB"]).await, ["team-a", "30d", "50 GiB"]);
    assert_eq!(
        retention(&["--age", "unlimited", "--bytes", "default"]).await,
        ["team-a", "unlimited", "default"]
    );
    let usage = place.admin(&["usage"]).await;
    let line = usage.lines().find(|line| line.starts_with("team-a")).unwrap();
    let cells: Vec<_> = line.split_whitespace().collect();
    assert_eq!(cells[..7], ["team-a", "0", "0", "0", "default", "unlimited", "default"]);
    let data = place.data().display().to_string();
    let at = ["admin", "tenant", "retention", "--data-dir", &data];
    run_with(&[&at[..], &["team-a", "--age", "soon"]].concat(), &[]).await.failed(2, &["soon"]);
    run_with(&[&at[..], &["team-a", "--bytes", "0"]].concat(), &[]).await.failed(2, &["50 GiB"]);
    run_with(&[&at[..], &["nobody"]].concat(), &[]).await.failed(1, &["nobody"]);
    server.stop().await;
}

#[tokio::test]
async fn users_see_what_they_are_granted() {
    let place = Place::new();
    let server = place.up().await;
    place.admin(&["tenant", "create", "team-a", "--workspace", "customer"]).await;
    assert!(place.admin(&["tenant", "list"]).await.contains("customer"));
    let data = place.data().display().to_string();
    let create = ["admin", "user", "create", "ann", "--stdin", "--data-dir", &data];
    assert_eq!(run_with_input(&create, "her-pass-word-1\n").await.fine(), "");
    assert!(sign_in(&server, "ann", "her-pass-word-1").await.is_success());
    let search = || {
        server
            .api(Method::GET, "/api/v1/search?tenant=team-a")
            .basic_auth("ann", Some("her-pass-word-1"))
            .send()
    };
    assert_eq!(search().await.unwrap().status(), StatusCode::FORBIDDEN);
    place.admin(&["grant", "create", "--user", "ann", "--workspace", "customer", "--role", "viewer"]).await;
    assert_eq!(search().await.unwrap().status(), StatusCode::OK);
    assert!(place.admin(&["grant", "list", "--user", "ann"]).await.contains("customer"));
    place.admin(&["grant", "revoke", "--user", "ann", "--workspace", "customer", "--role", "viewer"]).await;
    assert_eq!(search().await.unwrap().status(), StatusCode::FORBIDDEN);
    server.stop().await;
}

#[tokio::test]
async fn search_context_and_export_print_plain_text_in_a_pipe() {
    let place = Place::new();
    let lines: String = (0..30).map(|n| format!("note number{n}\n")).collect();
    std::fs::write(place.logs().join("notes.log"), lines).unwrap();
    let server = place.up().await;
    let (url, token) = (server.base("query.listen"), place.token("default", "viewer").await);
    server.wait_for(&token, "note", 30).await;
    let client = async |arguments: &[&str]| {
        run_with(arguments, &[("HELIOGRAPH_URL", &url), ("HELIOGRAPH_TOKEN", &token)]).await.fine()
    };
    let numbers = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
    };
    // The newest, in the order in which they were written.
    let found = client(&["search", "note", "--limit", "2", "--since", "1h"]).await;
    assert_eq!(numbers(&found), ["number28", "number29"]);
    assert!(found.lines().next().unwrap().ends_with("Z - - - note number28"), "{found}");
    let newest = client(&["search", "note", "--limit", "2", "--order", "desc"]).await;
    assert_eq!(numbers(&newest), ["number29", "number28"]);
    let oldest = client(&["search", "note", "--limit", "2", "--order", "asc"]).await;
    assert_eq!(numbers(&oldest), ["number0", "number1"]);

    let json: Value = serde_json::from_str(&client(&["search", "number7", "--json"]).await).unwrap();
    assert_eq!(json["message"], "note number7");
    let around = client(&["context", json["id"].as_str().unwrap(), "--before", "1", "--after", "2"]).await;
    assert_eq!(numbers(&around), ["number6", "number7", "number8", "number9"]);

    let exported = client(&["export", "note"]).await;
    assert_eq!(exported.lines().count(), 30);
    let first: Value = serde_json::from_str(exported.lines().next().unwrap()).unwrap();
    assert_eq!(first["message"], "note number0");
    server.stop().await;
}

#[tokio::test]
async fn a_tail_goes_on_over_a_restart_without_gap_or_repeat() {
    let place = Place::new();
    let log = place.logs().join("a.log");
    std::fs::write(&log, "line 0\n").unwrap();
    // The same port again, so that the client finds it.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let glob = log.to_str().unwrap().to_owned();
    let server = place.up_with(&["--logs", &glob, "--listen", &address], &[]).await;
    let token = place.token("default", "viewer").await;
    server.wait_for(&token, "line", 1).await;

    let mut tail = heliograph()
        .args(["tail", "line", "--since", "1h", "--json", "--url", &format!("http://{address}")])
        .env("HELIOGRAPH_TOKEN", &token)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(crate::server::PATIENCE, lines.next_line()).await;
        let record: Value = serde_json::from_str(&line.expect("a line in time").unwrap().unwrap()).unwrap();
        record["message"].as_str().unwrap().to_owned()
    };
    let append = |text: &str| {
        use std::io::Write;
        std::fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(text.as_bytes()).unwrap();
    };
    assert_eq!(next().await, "line 0");
    append("line 1\n");
    assert_eq!(next().await, "line 1");
    server.stop().await;
    // What stands before servers answers so meanwhile: that is no reason to end.
    let gateway = tokio::net::TcpListener::bind(&address).await.unwrap();
    for _ in 0..2 {
        let (mut asked, _) = gateway.accept().await.unwrap();
        assert!(asked.read(&mut [0; 4096]).await.unwrap() > 0);
        let answer = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        asked.write_all(answer).await.unwrap();
    }
    drop(gateway);
    append("line 2\n");
    let server = place.up_with(&["--logs", &glob, "--listen", &address], &[]).await;
    append("line 3\n");
    assert_eq!(next().await, "line 2");
    assert_eq!(next().await, "line 3");
    tail.kill().await.unwrap();
    server.stop().await;
}

/// `heliograph export | head -1` is not a failure.
#[tokio::test]
async fn a_reader_that_leaves_ends_the_client_quietly() {
    let place = Place::new();
    let lines: String = (0..20_000).map(|n| format!("long {n} {}\n", "x".repeat(100))).collect();
    std::fs::write(place.logs().join("long.log"), lines).unwrap();
    let server = place.up().await;
    let token = place.token("default", "viewer").await;
    server.wait_for(&token, "19999", 1).await;
    let mut export = heliograph()
        .args(["export", "--url", &server.base("query.listen")])
        .env("HELIOGRAPH_TOKEN", &token)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(BufReader::new(export.stdout.take().unwrap()).lines().next_line().await.unwrap());
    let said = export.wait_with_output().await.unwrap();
    assert_eq!((said.status.code(), String::from_utf8(said.stderr).unwrap()), (Some(0), String::new()));
    server.stop().await;
}

#[tokio::test]
async fn people_are_invited_and_locked_out_beside_a_running_server() {
    let place = Place::new();
    let server = place.up().await;
    place.admin(&["tenant", "create", "team-a"]).await;
    let invite = async |user: &str| {
        let words = ["invite", "create", "--user", user, "--tenant", "team-a", "--role", "viewer"];
        let link = place.admin(&words).await;
        link.trim().strip_prefix("/#invitation=").unwrap().to_owned()
    };
    let accept = async |token: &str| {
        let body = json!({ "token": token, "password": "long enough" });
        let answer = server.api(Method::POST, "/api/v1/invitations/accept").json(&body).send().await;
        answer.unwrap().status()
    };
    let token = invite("bob").await;
    let listed = place.admin(&["invite", "list"]).await;
    assert!(listed.contains("viewer:team-a") && !listed.contains(&token), "{listed}");
    assert_eq!(accept(&token).await, StatusCode::CREATED);
    assert_eq!(accept(&token).await, StatusCode::NOT_FOUND);
    let grants = place.admin(&["grant", "list", "--user", "bob"]).await;
    assert!(grants.contains("team-a") && grants.contains("viewer"), "{grants}");

    let revoked = invite("eve").await;
    let id = revoked.split('_').nth(1).unwrap();
    place.admin(&["invite", "revoke", id]).await;
    assert_eq!(accept(&revoked).await, StatusCode::NOT_FOUND);

    assert!(sign_in(&server, "bob", "long enough").await.is_success());
    place.admin(&["user", "disable", "bob"]).await;
    assert!(place.admin(&["user", "list"]).await.contains("disabled"));
    assert_eq!(sign_in(&server, "bob", "long enough").await, StatusCode::UNAUTHORIZED);
    place.admin(&["user", "enable", "bob"]).await;
    assert!(sign_in(&server, "bob", "long enough").await.is_success());
    assert_eq!(place.admin(&["user", "sessions", "end", "bob"]).await.trim(), "1 sessions ended");

    let data = place.data().display().to_string();
    let at = ["--data-dir", &data];
    let bad = |words: &[&'static str]| [&["admin", "invite", "create"], words, &at].concat();
    run_with(&bad(&["--user", "x", "--role", "viewer"]), &[]).await.failed(2, &["--tenant"]);
    run_with(&bad(&["--email", "nobody"]), &[]).await.failed(2, &["not an e-mail address"]);
    run_with(&bad(&["--tenant", "team-a"]), &[]).await.failed(2, &["--email"]);
    let audited = place.admin(&["audit", "export"]).await;
    for action in
        ["invitation.create", "invitation.revoke", "invitation.accept", "user.disable", "session.end"]
    {
        assert!(audited.contains(action), "{action}");
    }
    assert!(!audited.contains(&token), "no secret is recorded");
    server.stop().await;
}
