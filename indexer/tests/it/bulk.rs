//! Every answer of `_bulk`.

use heliograph_indexer::Config;
use heliograph_model::codec;
use heliograph_model::record::Record;
use heliograph_store::catalog::Role;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::bench::{AGENT, CLUSTER, Server, all_of, config, records};

/// What Airflow 3 sent through elasticsearch-py 9.5.1, recorded: two tasks of five lines.
const AIRFLOW: &str = include_str!("../data/airflow_bulk.ndjson");

fn bulk(server: &Server, method: Method, path: &str) -> RequestBuilder {
    server.client.request(method, format!("{}{path}", server.url))
}

/// The status and the body of an answer, which is always JSON and always Elasticsearch's.
async fn answer(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["x-elastic-product"], "Elasticsearch");
    assert_eq!(response.headers()["content-type"], "application/json");
    (response.status().as_u16(), response.text().await.unwrap())
}

/// An answer to what is stored whole, and its items.
async fn items(request: RequestBuilder) -> Vec<Value> {
    let (status, text) = answer(request).await;
    assert_eq!(status, 200, "{text}");
    let (took, rest) = text.strip_prefix("{\"took\":").unwrap().split_once(',').unwrap();
    took.parse::<u64>().unwrap();
    assert!(rest.starts_with("\"errors\":false,\"items\":[{\""), "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    body["items"].as_array().unwrap().clone()
}

fn documents(name: &str, numbers: std::ops::Range<usize>) -> String {
    numbers
        .map(|n| format!("{{\"create\":{{\"_index\":\"logs\"}}}}\n{{\"message\":\"{name} {n}\"}}\n"))
        .collect()
}

async fn found(server: &Server, tenant: &str) -> Vec<Record> {
    server.scan(&all_of(tenant)).await.1
}

#[tokio::test]
async fn who_may_send_what() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let writer = server.token("team-a", &[Role::Writer]).await;
    let viewer = server.token("team-a", &[Role::Viewer]).await;
    // Whatever the body and the path say, it is the credential's.
    let body = "{\"index\":{\"_index\":\"team-b\",\"tenant\":\"team-b\"}}\n\
                {\"tenant\":\"team-b\",\"_index\":\"team-b\",\"message\":\"m\"}\n";
    let post = || bulk(&server, Method::POST, "/team-b/_bulk").body(body);
    let check = async |what: &str, request: RequestBuilder, status: u16| {
        let (found, text) = answer(request).await;
        assert_eq!(found, status, "{what}: {text}");
        if status != 200 {
            let said: Value = serde_json::from_str(&text).unwrap();
            assert_eq!((&said["status"], &said["error"]["type"]), (&json!(status), &json!(kind(status))));
            assert_eq!(said["error"]["root_cause"][0]["reason"], said["error"]["reason"]);
        }
    };
    check("no credential", post(), 401).await;
    check("a wrong credential", post().bearer_auth("hg_00_00"), 401).await;
    check("a wrong password", post().basic_auth("team-a", Some("hg_00_00")), 401).await;
    check("the query role's", post().bearer_auth(CLUSTER), 401).await;
    check("a viewer", post().basic_auth("team-a", Some(&viewer)), 403).await;
    check("a token", post().bearer_auth(&writer), 200).await;
    check("Basic", post().basic_auth("team-a", Some(&writer)), 200).await;
    check("Basic of another tenant", post().basic_auth("team-b", Some(&writer)), 403).await;
    let key = |user: &str| {
        use base64::Engine as _;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{writer}"));
        post().header("authorization", format!("ApiKey {pair}"))
    };
    check("an API key", key("team-a"), 200).await;
    check("an API key of another tenant", key("team-b"), 403).await;
    let named = |tenant: &str| post().bearer_auth(&writer).header("x-heliograph-tenant", tenant);
    check("a token names its tenant", named("team-a"), 200).await;
    check("a token names another", named("team-b"), 403).await;
    check("an agent names none", post().bearer_auth(AGENT), 400).await;
    check("an agent by Basic", post().basic_auth("team-a", Some(AGENT)), 401).await;
    let agent = post().bearer_auth(AGENT).header("x-heliograph-tenant", "team-new");
    check("an agent names one", agent, 200).await;

    let stored = found(&server, "team-a").await;
    assert_eq!(stored.len(), 4);
    assert_eq!(stored[0].attributes.as_json(), r#"{"tenant":"team-b","_index":"team-b"}"#);
    assert_eq!(found(&server, "team-new").await.len(), 1);
    assert_eq!(found(&server, "team-b").await.len(), 0);
    assert_eq!(bulk(&server, Method::GET, "/_bulk").send().await.unwrap().status(), 405);
    server.stop().await;
}

fn kind(status: u16) -> &'static str {
    match status {
        400 => "illegal_argument_exception",
        401 | 403 => "security_exception",
        413 => "content_too_long_exception",
        _ => "es_rejected_execution_exception",
    }
}

#[tokio::test]
async fn airflows_own_request_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let writer = server.token("astro-release", &[Role::Writer]).await;
    let request = bulk(&server, Method::PUT, "/_bulk")
        .basic_auth("astro-release", Some(&writer))
        .header("content-type", "application/vnd.elasticsearch+x-ndjson; compatible-with=9")
        .header("accept", "application/vnd.elasticsearch+json; compatible-with=9")
        .header("user-agent", "elasticsearch-py/9.5.1 (Python/3.11.7; elastic-transport/9.4.2)")
        .body(AIRFLOW);
    let items = items(request).await;
    assert_eq!(items.len(), 10);
    assert_eq!(
        (&items[0]["index"]["_index"], &items[0]["index"]["status"]),
        (&json!("airflow-logs"), &json!(201))
    );
    let check = |stored: &[Record]| {
        let events: Vec<_> = stored.iter().map(|record| &*record.message).collect();
        assert_eq!(
            events[..3],
            [
                "::group::Pre Execute",
                "DAG bundles loaded: dags-folder",
                "Filling up the DagBag from /opt/airflow/dags/t_fail.py"
            ]
        );
        assert_eq!(stored.len(), 10);
        assert_eq!(stored[0].time.to_string(), "2026-11-23T22:12:11.526749000Z");
        let ids: Vec<_> = stored.iter().map(|record| record.identity.log_id.as_deref().unwrap()).collect();
        assert!(ids[..5].iter().all(|id| *id == "t_fail_boom_manual__2026-11-23T22:12:09.525319+00:00_-1_1"));
        assert_eq!(stored[1].identity.dag_id.as_deref(), Some("t_fail"));
        assert_eq!(stored[4].attributes.as_json().matches("\"offset\":5").count(), 1);
    };
    let before = found(&server, "astro-release").await;
    check(&before);
    let said: Vec<_> = items.iter().map(|item| item["index"]["_id"].as_str().unwrap()).collect();
    let tenant = all_of("astro-release").tenant;
    let ids: Vec<_> = before.iter().map(|record| record.to_api(&tenant).id).collect();
    assert_eq!(said, ids, "without an id of its own, a document has the record's");
    server.kill().await;
    let server = Server::start(folder.path()).await;
    let after = found(&server, "astro-release").await;
    check(&after);
    assert!(before.iter().zip(&after).all(|(a, b)| a.key() == b.key()));
    server.stop().await;
}

#[tokio::test]
async fn forms_and_encodings() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let writer = server.token("t", &[Role::Writer]).await;
    let post = || bulk(&server, Method::POST, "/logs/_bulk").bearer_auth(&writer);
    let gzip = |text: &str| {
        use std::io::Write;
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(text.as_bytes()).unwrap();
        out.finish().unwrap()
    };
    let plain = documents("plain", 0..3);
    for form in ["application/x-ndjson", "application/json; charset=utf-8", "text/plain"] {
        assert_eq!(items(post().header("content-type", form).body(plain.clone())).await.len(), 3);
    }
    assert_eq!(items(post().body(plain.clone())).await.len(), 3);
    let bodies = [("gzip", gzip(&plain)), ("zstd", codec::compress(plain.as_bytes(), 1).unwrap())];
    for (encoding, body) in bodies {
        let items = items(post().header("content-encoding", encoding).body(body)).await;
        assert_eq!((items.len(), &items[2]["create"]["_index"]), (3, &json!("logs")));
    }
    // rsyslog: a blank after a colon, an empty id, an empty line after each document.
    let rsyslog =
        "{\"create\":{\"_index\": \"syslog\",\"_id\":\"\"}}\n{\"message\":\"plain 0\"}\n\n".repeat(2);
    let items = items(post().header("content-type", "application/json; charset=utf-8").body(rsyslog)).await;
    assert_eq!(items[1]["create"]["_index"], "syslog");
    assert_eq!(
        server.everything("t").await,
        [(0, 8), (1, 6), (2, 6)].map(|(n, c)| (format!("plain {n}"), c)).into()
    );
    let (status, text) = answer(post().header("content-encoding", "br").body(plain)).await;
    assert_eq!(status, 415, "{text}");
    server.stop().await;
}

#[tokio::test]
async fn a_bad_document_is_an_item_and_a_bad_body_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let writer = server.token("t", &[Role::Writer]).await;
    let send = async |body: &str| {
        let request = bulk(&server, Method::POST, "/_bulk").bearer_auth(&writer).body(body.to_owned());
        answer(request).await
    };
    let mixed = "{\"create\":{\"_id\":\"1\"}}\n{\"message\":\"good\"}\n{\"create\":{\"_id\":\"2\"}}\n{bad}\n\
                 {\"delete\":{\"_id\":\"3\"}}\n{\"index\":{\"_id\":\"4\"}}\n{\"message\":\"good, too\"}\n";
    let (status, text) = send(mixed).await;
    assert_eq!(status, 200);
    assert!(text.contains(",\"errors\":true,\"items\":[{\"create\":{\"_index\":\"heliograph\",\"_id\":\"1\",\"status\":201}},"), "{text}");
    let said: Value = serde_json::from_str(&text).unwrap();
    let statuses: Vec<_> = said["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let (verb, item) = item.as_object().unwrap().iter().next().unwrap();
            (verb.as_str(), item["_id"].as_str().unwrap(), item["status"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(
        statuses,
        [("create", "1", 201), ("create", "2", 400), ("delete", "3", 400), ("index", "4", 201)]
    );

    for (body, reason) in [
        ("", "line 1: there is no action: send {\"create\":{}}, and the document on the next line"),
        ("hello\n", "line 1: the action is not a whole JSON object (not a JSON object, byte 1)"),
        (
            "{\"index\":{}}\n{\"message\":\"lost?\"}\n{\"message\":\"lost?\"}\n",
            "line 3: an action is one of index,",
        ),
        (
            "{\"index\":{}}\n{\"message\":\"lost?\"}\n{\"index\":{}}\n",
            "line 3: the action lacks its document",
        ),
    ] {
        let (status, text) = send(body).await;
        let said: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &said["status"]), (400, &json!(400)), "{text}");
        assert!(said["error"]["reason"].as_str().unwrap().starts_with(reason), "{text}");
    }
    let expected = [("good".to_owned(), 1), ("good, too".to_owned(), 1)];
    assert_eq!(server.everything("t").await, expected.into());
    assert!(server.figure("heliograph_indexer_batches_total") > 0.0);
    server.stop().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let send = async |body: Vec<u8>, encoding: &str| {
        let request = bulk(&server, Method::POST, "/_bulk").bearer_auth(AGENT);
        let request = request.header("x-heliograph-tenant", "bombed").header("content-encoding", encoding);
        answer(request.body(body)).await.0
    };
    assert_eq!(send(vec![b' '; (1 << 20) + 1], "identity").await, 413);
    let bomb = codec::compress(&vec![b' '; 64 << 20], 1).unwrap();
    assert_eq!(send(bomb, "zstd").await, 413);
    let tiny = codec::compress("{\"create\":{}}\n{}\n".repeat(200_000).as_bytes(), 1).unwrap();
    assert_eq!(send(tiny, "zstd").await, 413);
    let long = bulk(&server, Method::POST, &format!("/{}/_bulk", "x".repeat(300)));
    let long = long.bearer_auth(AGENT).header("x-heliograph-tenant", "bombed").body(documents("a", 0..1));
    assert_eq!(answer(long).await.0, 413);
    let tenant = all_of("bombed").tenant;
    assert!(server.store.catalog.tenant(&tenant).await.unwrap().is_none(), "a wrong request makes no tenant");
    // An answer that takes many pieces, whole.
    let many = codec::compress(documents("many", 0..20_000).as_bytes(), 1).unwrap();
    assert_eq!(send(many, "zstd").await, 200);
    assert_eq!(server.everything("bombed").await.len(), 20_000);
    server.stop().await;
}

#[tokio::test]
async fn what_would_be_mended_by_waiting_is_the_whole_requests() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { hot_bytes_max: 100_000, ..config() };
    let server = Server::start_with(folder.path(), config, |store| store).await;
    let writer = server.token("t", &[Role::Writer]).await;
    let send = async |which: std::ops::Range<usize>| {
        let request = bulk(&server, Method::POST, "/_bulk").bearer_auth(&writer);
        request.body(documents("a", which)).send().await.unwrap()
    };
    assert_eq!(send(0..100).await.status(), 200);
    // What could be sealed makes room; this does not fit even then.
    let refused = send(100..3_000).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    let said: Value = serde_json::from_slice(&refused.bytes().await.unwrap()).unwrap();
    assert_eq!(said["error"]["type"], "es_rejected_execution_exception");
    assert_eq!(server.everything("t").await.len(), 100);
    server.stop().await;
}

#[tokio::test]
async fn documents_of_two_requests_lie_beside_an_agents() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let send = async |from: usize| {
        let request = bulk(&server, Method::POST, "/_bulk").bearer_auth(AGENT);
        let numbered = request
            .header("x-heliograph-tenant", "t")
            .header("x-heliograph-producer", "shipper")
            .header("x-heliograph-epoch", 1)
            .header("x-heliograph-sequence", from / 50 + 1);
        items(numbered.body(documents("b", from..from + 50))).await.len()
    };
    assert_eq!(server.send("t", "p", 1, &records("a", 0..50)).await, 200);
    assert_eq!((send(0).await, send(0).await, send(50).await), (50, 50, 50));
    let stored = found(&server, "t").await;
    assert_eq!(stored.len(), 150, "a numbered request that comes again is stored once");
    let ours: Vec<_> = stored.iter().filter(|r| r.message.starts_with("b ")).collect();
    let expected: Vec<_> = (0..100).map(|n| format!("b {n}")).collect();
    assert_eq!(ours.iter().map(|r| &*r.message).collect::<Vec<_>>(), expected, "in their order");
    server.stop().await;
}
