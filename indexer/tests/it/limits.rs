//! What a tenant may use: who is over it is told to come later, and nobody else notices.

use std::num::NonZeroU64;
use std::time::Duration;

use heliograph_indexer::{Config, TenantBounds};
use heliograph_model::filter::{Field, Filter, Test};
use heliograph_model::tenant::TenantId;
use heliograph_store::catalog::{Bound, Role, TenantLimits};

use crate::bench::{AGENT, Server, all_of, config, once, records, until};

fn bytes(n: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(n)
}

fn bounded(tenant_bounds: TenantBounds) -> Config {
    Config { tenant_bounds, ..config() }
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

/// Checks that an answer says which limit is reached, and when to come again.
async fn assert_over(response: reqwest::Response, limit: &str) {
    assert_eq!(response.status(), 429);
    assert!(response.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    let text = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
    assert!(text.contains(&format!("the tenant has reached its limit {limit} = ")), "{text}");
}

/// FAULTS.md R13. A batch of A's is some 10 kB, and its quota one of them a minute.
#[tokio::test]
async fn a_tenant_at_ten_times_its_quota_costs_the_others_nothing() {
    const BATCHES: u64 = 60;
    let folder = tempfile::tempdir().unwrap();
    let quota = TenantBounds {
        ingest_bytes_per_second: bytes(200),
        ingest_burst_bytes: bytes(20_000),
        ..Default::default()
    };
    let server = Server::start_with(folder.path(), bounded(quota), |store| store).await;
    server.token("b", &[Role::Writer]).await;
    let own = TenantLimits { ingest_per_second: Some(Bound::Unbounded), ..TenantLimits::default() };
    server.store.catalog.set_limits(&tenant("b"), &own).await.unwrap();

    let batch = |of: &str, n: u64| records(of, n * 50..(n + 1) * 50);
    let noisy = async |source: String| {
        let mut stored = Vec::new();
        let mut sequence = 1;
        for n in 0..BATCHES {
            let sent = batch(&source, n);
            let response = server.agent("a", Some((&source, 1, sequence)), &sent).send().await.unwrap();
            if response.status() == 200 {
                stored.extend(sent);
                sequence += 1;
            } else {
                assert_over(response, "ingest_bytes_per_second").await;
            }
        }
        stored
    };
    let quiet = async || {
        let mut rejects = 0;
        for n in 0..BATCHES {
            rejects += u64::from(server.send("b", "q", n + 1, &batch("quiet", n)).await != 200);
        }
        rejects
    };
    let dear = async || {
        let mut scan = all_of("a");
        scan.filter = Filter::Is(Field::Message, Test::Regex("(l|i|n|e| )+[0-9]*x$".to_owned()));
        for _ in 0..BATCHES {
            assert!(server.scan(&scan).await.1.is_empty());
        }
    };
    let (a, rejects, ()) = tokio::join!(
        futures::future::join_all((0..4).map(|n| noisy(format!("noisy-{n}")))),
        quiet(),
        dear(),
    );
    assert_eq!(rejects, 0, "of B's batches");
    let sent: Vec<_> = (0..BATCHES).flat_map(|n| batch("quiet", n)).collect();
    assert_eq!(server.everything("b").await, once(&sent));
    let stored: Vec<_> = a.into_iter().flatten().collect();
    assert_eq!(server.everything("a").await, once(&stored), "what was refused is not there, the rest is");
    let batches = stored.len() as u64 / 50;
    assert!((2..BATCHES).contains(&batches), "{batches} of {} batches of A got through", 4 * BATCHES);
    server.stop().await;
}

#[tokio::test]
async fn who_is_over_the_rate_is_told_before_the_body_comes() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let folder = tempfile::tempdir().unwrap();
    let quota = TenantBounds {
        ingest_bytes_per_second: bytes(1),
        ingest_burst_bytes: bytes(10),
        ..Default::default()
    };
    let server = Server::start_with(folder.path(), bounded(quota), |store| store).await;
    assert_eq!(server.send("t", "p", 1, &records("a", 0..9)).await, 200, "once, however large");
    let mut stream =
        tokio::net::TcpStream::connect(server.url.strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {AGENT}\r\nx-heliograph-tenant: t\r\n\
         content-type: application/json\r\ncontent-length: 100\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    assert!(got.starts_with("HTTP/1.1 429"), "{got}");
    assert!(got.contains("its limit ingest_bytes_per_second = 1: send"), "{got}");

    let writer = server.token("t", &[Role::Writer]).await;
    let bulk = server.post("/_bulk").bearer_auth(&writer).header("content-type", "application/x-ndjson");
    let refused = bulk.body("{\"create\":{}}\n{}\n").send().await.unwrap();
    assert_over(refused, "ingest_bytes_per_second").await;
    server.stop().await;
}

#[tokio::test]
async fn over_the_hot_bound_what_is_hot_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = TenantBounds { hot_bytes: bytes(50_000), ..Default::default() };
    let server = Server::start_with(folder.path(), bounded(bounds), |store| store).await;
    let batch = |n: u64| records("a", n * 100..(n + 1) * 100);
    assert_eq!(server.send("t", "big", 1, &records("b", 0..5_000)).await, 200, "alone, whatever its size");
    let refused = server.agent("t", Some(("p", 1, 1)), &batch(0)).send().await.unwrap();
    assert_over(refused, "hot_bytes").await;
    assert_eq!(server.send("other", "o", 1, &batch(0)).await, 200);
    for n in 0..20 {
        until("there is room again", || async { server.send("t", "p", n + 1, &batch(n)).await == 200 }).await;
    }
    let mut all = records("a", 0..2_000);
    all.extend(records("b", 0..5_000));
    assert_eq!(server.everything("t").await, once(&all));
    let segments = server.store.catalog.usage_of(&tenant("t")).await.unwrap().unwrap().segments;
    assert!(segments > 0, "nothing else seals here");
    server.stop().await;
}

#[tokio::test]
async fn over_the_stored_bound_nothing_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { seal_after: Duration::from_millis(1), ..config() };
    let server = Server::start_with(folder.path(), config.clone(), |store| store).await;
    assert_eq!(server.send("t", "p", 1, &records("a", 0..100)).await, 200);
    let stored =
        || async { server.store.catalog.usage_of(&tenant("t")).await.unwrap().unwrap().stored_bytes };
    until("it is sealed", || async { stored().await > 0 }).await;
    let limits = TenantLimits { stored: Some(Bound::new(stored().await)), ..TenantLimits::default() };
    server.store.catalog.set_limits(&tenant("t"), &limits).await.unwrap();
    until("the bound acts on the running indexer", || async {
        server.send("t", "late", 1, &[]).await == 429
    })
    .await;
    server.stop().await;

    let server = Server::start_with(folder.path(), config, |store| store).await;
    let refused = server.agent("t", Some(("p", 1, 2)), &records("a", 100..110)).send().await.unwrap();
    assert_over(refused, "stored_bytes").await;
    assert_eq!(server.send("u", "p", 1, &records("a", 0..10)).await, 200);
    assert_eq!(server.everything("t").await, once(&records("a", 0..100)));
    server.stop().await;
}
