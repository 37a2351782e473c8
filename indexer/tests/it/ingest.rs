//! Every answer of `POST /v1/logs`.

use heliograph_model::codec;
use heliograph_model::record::Record;
use heliograph_model::scan::{HotAnswer, Order, Scans, Want};
use heliograph_model::tenant::TenantId;
use heliograph_store::catalog::Role;
use serde_json::{Value, json};

use crate::bench::{AGENT, CLUSTER, Server, all_of, config, once, records};

async fn json_of(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json");
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
}

fn otlp(message: &str) -> Value {
    json!({"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "scheduler"}}]},
        "scopeLogs": [{"scope": {"name": "my.logger"}, "logRecords": [
            {"timeUnixNano": "1800000000000000000", "severityNumber": 17, "body": {"stringValue": message},
             "traceId": "0123456789abcdef0123456789abcdef"},
            {"severityText": "WARN", "body": {"stringValue": format!("{message} again")}},
        ]}],
    }]})
}

#[tokio::test]
async fn who_may_send_what() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let writer = server.token("team-a", &[Role::Viewer, Role::Writer]).await;
    let viewer = server.token("team-a", &[Role::Viewer]).await;
    let post = || server.post("/v1/logs").json(&otlp("hello"));
    let check = async |what: &str, request: reqwest::RequestBuilder, status: u16| {
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{what}");
    };
    check("no credential", post(), 401).await;
    check("no credential, no type", server.post("/v1/logs").body("x"), 401).await;
    check("a wrong credential", post().bearer_auth("hg_00_00"), 401).await;
    check("an empty credential", post().bearer_auth(""), 401).await;
    check("the query role's", post().bearer_auth(CLUSTER), 401).await;
    check("a viewer", post().bearer_auth(&viewer), 403).await;
    check("a writer", post().bearer_auth(&writer), 200).await;
    check("again, from memory", post().bearer_auth(&writer), 200).await;
    check("a writer by Basic", post().basic_auth("team-a", Some(&writer)), 200).await;
    check("Basic of another name", post().basic_auth("team-b", Some(&writer)), 403).await;
    check("the agent's by Basic", post().basic_auth("team-a", Some(AGENT)), 401).await;
    let named = |tenant: &str| post().bearer_auth(&writer).header("x-heliograph-tenant", tenant);
    check("a writer names its tenant", named("team-a"), 200).await;
    check("a writer names another", named("team-b"), 403).await;
    check("an agent names none", post().bearer_auth(AGENT), 400).await;
    let agent = |tenant: &str| post().bearer_auth(AGENT).header("x-heliograph-tenant", tenant);
    check("an agent names a bad one", agent("../etc"), 400).await;
    check("an agent names a new one", agent("team-new"), 200).await;

    let (_, found) = server.scan(&all_of("team-a")).await;
    assert_eq!(found.len(), 8, "two records of each of four accepted requests");
    assert_eq!(found[0].source.component.as_ref().unwrap().as_str(), "scheduler");
    assert_eq!(found[0].identity.logger.as_deref(), Some("my.logger"));
    assert_eq!(server.scan(&all_of("team-new")).await.1.len(), 2);
    assert_eq!(server.scan(&all_of("team-b")).await.1.len(), 0);

    let revoked = writer.split('_').nth(1).unwrap();
    server.store.catalog.revoke_token(revoked, crate::bench::clock().now()).await.unwrap();
    crate::bench::until("a revoked token is refused", || async {
        post().bearer_auth(&writer).send().await.unwrap().status() == 401
    })
    .await;
    server.stop().await;
}

/// A body that comes while its token is revoked is nobody's, however long it has been on its way.
#[tokio::test]
async fn a_token_that_is_revoked_while_a_body_comes_sends_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let writer = server.token("team-a", &[Role::Writer]).await;
    let body = otlp("too late").to_string();
    let mut stream =
        tokio::net::TcpStream::connect(server.url.strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {writer}\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (first, rest) = body.as_bytes().split_at(10);
    stream.write_all(first).await.unwrap();
    // Known before it is revoked, and for a while afterwards: until then the body keeps coming.
    let known = server.post("/v1/logs").json(&otlp("in time")).bearer_auth(&writer).send().await.unwrap();
    assert_eq!(known.status(), 200);
    let revoked = writer.split('_').nth(1).unwrap();
    server.store.catalog.revoke_token(revoked, crate::bench::clock().now()).await.unwrap();
    crate::bench::until("the token is not known any more", || async {
        let again = server.post("/v1/logs").json(&json!({})).bearer_auth(&writer).send().await.unwrap();
        again.status() == 401
    })
    .await;
    stream.write_all(rest).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_eq!(server.scan(&all_of("team-a")).await.1.len(), 2, "what came in time");
    server.stop().await;
}

#[tokio::test]
async fn internal_routes_are_for_the_query_role() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let writer = server.token("team-a", &Role::ALL).await;
    for path in ["/internal/v1/scan", "/internal/v1/feed"] {
        for credential in ["", AGENT, &writer, "cluster-secre", "cluster-secret2"] {
            let response = server.post(path).bearer_auth(credential).body("{}").send().await.unwrap();
            assert_eq!(response.status(), 401, "{path} {credential:?}");
            assert!(response.headers().contains_key("www-authenticate"));
        }
        let response = server.post(path).body("{}").send().await.unwrap();
        assert_eq!(response.status(), 401, "{path}");
        let response = server.post(path).bearer_auth(CLUSTER).body("{}").send().await.unwrap();
        let (status, body) = json_of(response).await;
        assert_eq!(status, 400);
        assert!(body["message"].as_str().unwrap().contains("tenant"), "{body}");
    }
    let bad = json!({"tenant": "a", "filter": {"is": ["message", {"regex": "("}]}, "after": null});
    let response = server.post("/internal/v1/feed").bearer_auth(CLUSTER).json(&bad).send().await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(server.client.get(format!("{}/healthz", server.url)).send().await.unwrap().status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn forms_and_encodings() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let writer = server.token("t", &[Role::Writer]).await;
    let post = |form: &str, encoding: Option<&str>, body: Vec<u8>| {
        let request = server.post("/v1/logs").bearer_auth(&writer).header("content-type", form).body(body);
        encoding.map(|e| request.try_clone().unwrap().header("content-encoding", e)).unwrap_or(request)
    };
    let gzip = |bytes: &[u8]| {
        use std::io::Write;
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    };
    let text = serde_json::to_vec(&otlp("json")).unwrap();
    let proto = codec::encode(&records("proto", 0..3));
    for (form, plain) in
        [("application/json; charset=utf-8", text.clone()), ("application/x-protobuf", proto)]
    {
        let zstd = codec::compress(&plain, 1).unwrap();
        let bodies = [
            (None, plain.clone()),
            (Some("identity"), plain.clone()),
            (Some("gzip"), gzip(&plain)),
            (Some("zstd"), zstd),
        ];
        for (encoding, body) in bodies {
            let response = post(form, encoding, body).send().await.unwrap();
            assert_eq!(response.status(), 200, "{form} {encoding:?}");
            let form = form.split(';').next().unwrap();
            assert_eq!(response.headers()["content-type"], form);
            let body = response.bytes().await.unwrap();
            assert_eq!(&body[..], if form == "application/json" { &b"{}"[..] } else { b"" });
        }
    }
    assert_eq!(server.scan(&all_of("t")).await.1.len(), 4 * 2 + 4 * 3);
    assert_eq!(post("text/plain", None, text.clone()).send().await.unwrap().status(), 415);
    assert_eq!(post("application/json", Some("br"), text.clone()).send().await.unwrap().status(), 415);
    assert_eq!(post("application/json", Some("gzip, gzip"), text).send().await.unwrap().status(), 415);

    let response = post("application/x-protobuf", None, vec![0xff; 10]).send().await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()["content-type"], "application/x-protobuf");
    let status = response.bytes().await.unwrap();
    assert_eq!(&status[..3], [8, 3, 18], "code INVALID_ARGUMENT, then a message");
    let (status, body) =
        json_of(post("application/json", None, b"{\"resourceLogs\":[".to_vec()).send().await.unwrap()).await;
    assert_eq!((status, &body["code"]), (400, &json!(3)));
    assert!(body["message"].as_str().unwrap().starts_with("cannot decode OTLP JSON"), "{body}");
    server.stop().await;
}

#[tokio::test]
async fn wrong_and_oversized_bodies_are_refused_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let send = async |body: Vec<u8>, encoding: &str| {
        let request = server
            .post("/v1/logs")
            .bearer_auth(AGENT)
            .header("content-type", "application/x-protobuf")
            .header("x-heliograph-tenant", "bombed");
        request.header("content-encoding", encoding).body(body).send().await.unwrap().status().as_u16()
    };
    let good = codec::compress(&codec::encode(&records("a", 0..50)), 1).unwrap();
    let mut torn = good.clone();
    torn.truncate(good.len() / 2);
    assert_eq!(send(torn, "zstd").await, 400);
    assert_eq!(send(good.clone(), "gzip").await, 400);
    assert_eq!(send(vec![7; 100], "zstd").await, 400);
    assert_eq!(send(vec![0; 100], "identity").await, 400);
    assert_eq!(send(vec![0; (1 << 20) + 1], "identity").await, 413);
    let bomb = codec::compress(&vec![0; 64 << 20], 1).unwrap();
    assert!(bomb.len() < 1 << 20);
    assert_eq!(send(bomb, "zstd").await, 413);
    // Half a megabyte of empty records is refused at the first.
    let empty = [10, 4, 18, 2, 18, 0].repeat(100_000);
    assert_eq!(send(empty, "identity").await, 400);
    // A foreign message with an agent's credential says neither source nor position.
    assert_eq!(send(vec![10, 4, 18, 2, 18, 0], "identity").await, 400);
    let tenant = TenantId::parse("bombed").unwrap();
    assert!(server.store.catalog.tenant(&tenant).await.unwrap().is_none(), "a wrong request makes no tenant");
    assert_eq!(send(good, "zstd").await, 200);
    assert_eq!(server.scan(&all_of("bombed")).await.1.len(), 50);
    server.stop().await;
}

#[tokio::test]
async fn sequence_headers_come_together_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let all = records("a", 0..40);
    let batch = |n: u64| &all[usize::try_from(n).unwrap() * 10 - 10..][..10];
    let request = || server.agent("t", None, batch(1));
    let response = request().header("x-heliograph-epoch", 1).send().await.unwrap();
    assert_eq!(response.status(), 400);
    let text = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
    assert!(text.contains("x-heliograph-producer, x-heliograph-sequence is missing"), "{text}");
    for (epoch, sequence) in [("1", "0"), ("1", "x"), ("-1", "1"), ("1", "9223372036854775808")] {
        let named = request().header("x-heliograph-producer", "p");
        let named = named.header("x-heliograph-epoch", epoch).header("x-heliograph-sequence", sequence);
        assert_eq!(named.send().await.unwrap().status(), 400, "{epoch} {sequence}");
    }
    let gap = server.agent("t", Some(("p", 1, 3)), batch(3)).send().await.unwrap();
    let (status, body) = json_of(gap).await;
    assert_eq!((status, &body["expected"], &body["epoch"]), (409, &json!(1), &json!(1)));
    assert_eq!(server.send("t", "p", 1, batch(1)).await, 200);
    assert_eq!(server.send("t", "p", 1, batch(1)).await, 200);
    let (status, body) = json_of(server.agent("t", Some(("p", 1, 4)), batch(4)).send().await.unwrap()).await;
    assert_eq!((status, &body["expected"]), (409, &json!(2)));
    // Overtaken on the way: the later one waits for the earlier.
    let (third, second) =
        tokio::join!(server.send("t", "p", 3, batch(3)), server.send("t", "p", 2, batch(2)));
    assert_eq!((third, second), (200, 200));
    let reborn = server.agent("t", Some(("p", 2, 1)), batch(4)).send().await.unwrap();
    assert_eq!(reborn.status(), 200);
    let (status, body) = json_of(server.agent("t", Some(("p", 1, 4)), batch(4)).send().await.unwrap()).await;
    assert_eq!((status, &body["expected"], &body["epoch"]), (409, &json!(1), &json!(3)));
    assert_eq!(server.everything("t").await, once(&all));
    server.stop().await;
}

#[tokio::test]
async fn a_token_does_not_move_an_agents_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let writer = server.token("t", &[Role::Writer]).await;
    let numbered = |message: &str| {
        let request = server.post("/v1/logs").bearer_auth(&writer).json(&otlp(message));
        request
            .header("x-heliograph-producer", "p")
            .header("x-heliograph-epoch", 1)
            .header("x-heliograph-sequence", 1)
    };
    assert_eq!(numbered("one").send().await.unwrap().status(), 200);
    assert_eq!(numbered("one").send().await.unwrap().status(), 200);
    assert_eq!(server.send("t", "p", 1, &records("a", 0..5)).await, 200);
    assert_eq!(server.scan(&all_of("t")).await.1.len(), 2 + 5);
    server.stop().await;
}

#[tokio::test]
async fn full_memory_is_429_with_a_time_to_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let config = heliograph_indexer::Config { hot_bytes_max: 100_000, ..config() };
    let server = Server::start_with(folder.path(), config, |store| store).await;
    let send = async |sequence, records: std::ops::Range<u64>| {
        let sent = self::records("a", records);
        server.agent("t", Some(("p", 1, sequence)), &sent).send().await.unwrap()
    };
    assert_eq!(send(1, 0..100).await.status(), 200);
    // What could be sealed makes room; this does not fit even then.
    let refused = send(2, 100..3_000).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(send(2, 100..200).await.status(), 200);
    assert!(server.figure("heliograph_indexer_hot_bytes") <= 100_000.0);
    server.stop().await;
}

#[tokio::test]
async fn counts_come_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    assert_eq!(server.send("t", "p", 1, &records("a", 0..100)).await, 200);
    let mut scan = Scans::from(all_of("t"));
    // What others have is added up; the heads are each tenant's own.
    assert_eq!(server.send("u", "q", 1, &records("b", 0..10)).await, 200);
    scan.tenants.extend(["none", "u"].map(|name| TenantId::parse(name).unwrap()));
    scan.want = Want::Histogram { interval_nanos: 1_000_000_000, by_level: true };
    let ask = async |scan: Scans| {
        let response =
            server.post("/internal/v1/scan").bearer_auth(CLUSTER).json(&scan).send().await.unwrap();
        let body = response.text().await.unwrap();
        assert_eq!(body.lines().count(), 2, "{body}");
        serde_json::from_str::<HotAnswer>(body.lines().nth(1).unwrap()).unwrap()
    };
    let HotAnswer::Histogram { histogram } = ask(scan.clone()).await else {
        panic!("a histogram was wanted")
    };
    assert_eq!(histogram.buckets[&1_800_000_000], [0, 0, 99, 0, 11, 0, 0]);
    scan.want = Want::Values { field: heliograph_model::filter::Field::Level };
    let HotAnswer::Values { values } = ask(scan.clone()).await else { panic!("values were wanted") };
    assert_eq!(values.top(9), [("info", 99), ("error", 11)]);
    server.stop().await;
}

#[tokio::test]
async fn several_tenants_are_asked_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let [t, u, none] = ["t", "u", "none"].map(|name| TenantId::parse(name).unwrap());
    assert_eq!(server.send("t", "p", 1, &records("a", 0..20)).await, 200);
    assert_eq!(server.send("u", "q", 1, &records("a", 10..30)).await, 200);
    assert_eq!(server.send("v", "r", 1, &records("a", 0..30)).await, 200);
    let mut scans = Scans::from(all_of("t"));
    scans.tenants = vec![u.clone(), none.clone(), t.clone()];
    let found = async |scans: &Scans| -> Vec<(TenantId, u64)> {
        let (heads, found) = server.scans(scans).await;
        assert_eq!(heads.sealed_through.len(), 3);
        found.into_iter().map(|(tenant, record)| (tenant, record.position.0)).collect()
    };
    let want = |limit, after| Want::Records { order: Order::Desc, limit, after };
    scans.want = want(12, None);
    let both = |place| [(t.clone(), place), (u.clone(), place)];
    let expected: Vec<_> = (20..30).rev().map(|place| (u.clone(), place)).chain(both(19)).collect();
    assert_eq!(found(&scans).await, expected, "so many of all together; at equal keys by name");
    scans.want = want(3, records("a", 19..20).first().map(Record::key));
    scans.after_tenant = Some(t.clone());
    let expected: Vec<_> = [(u.clone(), 19)].into_iter().chain(both(18)).collect();
    assert_eq!(found(&scans).await, expected, "behind the place of one of them");
    scans.want = want(1_000, None);
    assert_eq!(found(&scans).await.len(), 40);
    scans.tenants = vec![none];
    let (heads, found) = server.scans(&scans).await;
    assert_eq!((heads.sealed_through.len(), found.len()), (1, 0));
    server.stop().await;
}

/// What a client gets that sends this and then nothing more.
async fn stalled(server: &Server, sent: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream =
        tokio::net::TcpStream::connect(server.url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    String::from_utf8_lossy(&got).into_owned()
}

#[tokio::test]
async fn a_client_that_stalls_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let body = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {AGENT}\r\nx-heliograph-tenant: t\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    let (nothing, letter, head, body) = tokio::join!(
        stalled(&server, ""),
        // Both versions of HTTP may begin so.
        stalled(&server, "P"),
        stalled(&server, "POST /v1/logs HTTP/1.1\r\nhost: x\r\n"),
        stalled(&server, &body),
    );
    assert_eq!((nothing.as_str(), letter.as_str()), ("", ""));
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
    server.stop().await;
}
