//! Wrong input: an error that says what and where, and the right exit code, or a server that goes on.

use reqwest::{Method, StatusCode};

use crate::command::{run, run_with};
use crate::server::Place;

#[tokio::test]
async fn an_unknown_key_names_file_line_and_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("heliograph.toml");
    std::fs::write(&file, "[query]\nlisten = \"127.0.0.1:0\"\n\n[indexer]\nseal_bites = 3\n").unwrap();
    let file = file.to_str().unwrap();
    for command in ["up", "agent", "indexer", "query"] {
        let place = format!("{file}:5: unknown key `indexer.seal_bites`: did you mean `seal_bytes`?");
        run(&[command, "--config", file]).await.failed(2, &[&place]);
    }
    run(&["config", "check", "--config", file]).await.failed(2, &["seal_bytes"]);
}

#[tokio::test]
async fn a_missing_file_and_a_missing_setting_are_named() {
    run(&["up", "--config", "/no/such/file.toml"]).await.failed(2, &["/no/such/file.toml", "No such file"]);
    run(&["agent"]).await.failed(2, &["auth.agent_token"]);
    run(&["indexer"]).await.failed(2, &["auth.cluster_token"]);
    run_with(&["query"], &[("HELIOGRAPH_AUTH__CLUSTER_TOKEN", "x")]).await.failed(2, &["catalog.url"]);
    run(&["up", "--log"]).await.failed(2, &["--logs"]);
}

#[tokio::test]
async fn a_bad_glob_is_refused_before_anything_is_made() {
    let place = Place::new();
    let data = place.data();
    let up = |glob: &'static str| {
        let data = data.to_str().unwrap().to_owned();
        async move { run(&["up", "--logs", glob, "--data-dir", &data]).await }
    };
    up("/var/log/[a").await.failed(2, &["--logs", "/var/log/[a"]);
    up("/var/log").await.failed(2, &["--logs", "\"/var/log\" is a folder", "/var/log/*.log"]);
    assert!(!data.try_exists().unwrap());
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::new();
    let data = place.data().display().to_string();
    for (variable, setting) in [
        ("HELIOGRAPH_QUERY__LISTEN", "query.listen"),
        ("HELIOGRAPH_INDEXER__LISTEN", "indexer.listen"),
        ("HELIOGRAPH_AGENT__STATUS_LISTEN", "agent.status_listen"),
    ] {
        let mut environment = vec![
            ("HELIOGRAPH_QUERY__LISTEN", "127.0.0.1:0"),
            ("HELIOGRAPH_INDEXER__LISTEN", "127.0.0.1:0"),
            ("HELIOGRAPH_AGENT__STATUS_LISTEN", "127.0.0.1:0"),
        ];
        environment.push((variable, &address));
        run_with(&["up", "--data-dir", &data], &environment).await.failed(1, &[&address, setting, "in use"]);
    }
}

#[tokio::test]
async fn a_data_folder_serves_one_server_at_a_time() {
    let place = Place::new();
    let server = place.up().await;
    let data = place.data().display().to_string();
    let second = run_with(&["up", "--data-dir", &data], &[("HELIOGRAPH_QUERY__LISTEN", "127.0.0.1:0")]).await;
    second.failed(1, &[&data, "in use by another heliograph"]);
    // Admin commands work beside it.
    assert!(place.admin(&["tenant", "list"]).await.contains("default"));
    server.stop().await;
}

#[tokio::test]
async fn an_unreadable_file_is_told_and_the_others_are_read() {
    let place = Place::new();
    // A folder that ends in .log cannot be read as a file, whoever we are; nor a link to nowhere.
    std::fs::create_dir(place.logs().join("folder.log")).unwrap();
    std::os::unix::fs::symlink("/no/such/file", place.logs().join("nowhere.log")).unwrap();
    let secret = place.logs().join("secret.log");
    std::fs::write(&secret, "secret 1\n").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    std::fs::write(place.logs().join("good.log"), "good 1\n").unwrap();
    let readable = std::fs::File::open(&secret).is_ok();
    let server = place.up().await;
    let token = place.token("default", "viewer").await;
    server.wait_for(&token, "good", 1).await;
    // Who runs as root reads everything.
    assert!(readable || server.said().contains("secret.log"), "{}", server.said());
    server.stop().await;
}

#[tokio::test]
async fn a_mistake_in_a_query_is_pointed_at() {
    let place = Place::new();
    let server = place.up().await;
    let (url, token) = (server.base("query.listen"), place.token("default", "viewer").await);
    let environment = [("HELIOGRAPH_URL", url.as_str()), ("HELIOGRAPH_TOKEN", token.as_str())];
    for command in ["search", "tail", "export"] {
        let said = run_with(&[command, "error AND \"open"], &environment).await;
        said.failed(2, &["error AND \"open\n            ^"]);
    }
    let answer =
        server.api(Method::GET, "/api/v1/search?q=%22open").bearer_auth(&token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["position"], 0, "{body}");
    assert!(body["error"]["message"].is_string() && body["error"]["hint"].is_string(), "{body}");
    server.stop().await;
}

#[tokio::test]
async fn a_corrupt_batch_is_refused_and_the_server_goes_on() {
    let place = Place::new();
    let server = place.up().await;
    let writer = place.token("default", "writer").await;
    let bodies: [(&str, Option<&str>, &[u8]); 5] = [
        ("application/x-protobuf", None, b"\xff\xff\xff\xff\xff"),
        ("application/x-protobuf", Some("zstd"), b"not zstd at all"),
        ("application/x-protobuf", Some("gzip"), b"\x1f\x8b\x08\x00broken"),
        ("application/json", None, b"{\"resourceLogs\": [{]"),
        ("application/json", None, b"[1, 2]"),
    ];
    for (kind, encoding, body) in bodies {
        let mut request = server.ingest(Method::POST, "/v1/logs").bearer_auth(&writer);
        request = request.header("content-type", kind).body(body);
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{kind} {encoding:?}");
        assert!(!answer.bytes().await.unwrap().is_empty(), "{kind} {encoding:?}");
    }
    std::fs::write(place.logs().join("after.log"), "after 1\n").unwrap();
    let token = place.token("default", "viewer").await;
    server.wait_for(&token, "after", 1).await;
    server.stop().await;
}

#[tokio::test]
async fn unknown_names_are_told() {
    let place = Place::new();
    let server = place.up().await;
    let data = place.data().display().to_string();
    let admin = |arguments: &'static [&'static str]| {
        let data = data.clone();
        async move { run(&[&["admin"], arguments, &["--data-dir", &data]].concat()).await }
    };
    admin(&["token", "create", "--tenant", "nobody", "--role", "viewer"])
        .await
        .failed(1, &["there is no tenant \"nobody\""]);
    admin(&["token", "create", "--tenant", "../etc", "--role", "viewer"]).await.failed(2, &["../etc"]);
    admin(&["token", "create", "--tenant", "default", "--role", "king"])
        .await
        .failed(2, &["there is no role \"king\"", "viewer, writer, operator"]);
    admin(&["token", "revoke", "none"]).await.failed(1, &["none"]);
    admin(&["tenant", "create", "default"]).await.failed(1, &["tenant \"default\" exists already"]);
    admin(&["user", "passwd", "nobody"]).await.failed(1, &["nobody"]);
    run(&["admin", "tenant", "list", "--data-dir", "/no/such/folder"]).await.failed(1, &["/no/such/folder"]);

    let (url, token) = (server.base("query.listen"), place.token("default", "viewer").await);
    let said = run_with(
        &["search", "--tenant", "nobody", ""],
        &[("HELIOGRAPH_URL", &url), ("HELIOGRAPH_TOKEN", &token)],
    )
    .await;
    said.failed(1, &["error: "]);
    run_with(&["search", "x"], &[("HELIOGRAPH_URL", &url)]).await.failed(1, &["HELIOGRAPH_TOKEN"]);
    run(&["search", "x", "--url", "http://127.0.0.1:1"])
        .await
        .failed(1, &["cannot reach http://127.0.0.1:1"]);
    run(&["search", "x", "--url", "nonsense"]).await.failed(2, &["nonsense"]);
    server.stop().await;
}
