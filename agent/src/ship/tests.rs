//! Against a small indexer that answers as it is told, and counts what it keeps.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use heliograph_model::codec;
use heliograph_model::record::{Attributes, Record};
use heliograph_model::source::{Position, Source};
use heliograph_model::time::{Clock, Timestamp};
use http::{HeaderMap, StatusCode};
use prometheus::Registry;

use super::*;
use crate::gather::Gathered;

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(1_795_000_000_000_000_000)
    }
}

/// What the indexer does with the next request.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// Keeps it, answers 200.
    Keep,
    /// Keeps it, and the answer is lost.
    KeepAndFail,
    /// Answers this.
    Answer(u16),
    /// Expects this sequence.
    Expect(u64),
}

#[derive(Default)]
struct Indexed {
    told: VecDeque<Told>,
    /// By tenant: the last epoch and sequence.
    last: BTreeMap<String, (u64, u64)>,
    kept: BTreeMap<String, Vec<String>>,
    seen: Vec<(String, u64, u64)>,
    denied: usize,
}

type Shared = Arc<Mutex<Indexed>>;

async fn receive(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    let mut indexed = shared.lock();
    if text("authorization") != "Bearer sesame" {
        indexed.denied += 1;
        return StatusCode::UNAUTHORIZED.into_response();
    }
    assert_eq!(
        (text("content-type"), text("content-encoding")),
        ("application/x-protobuf".into(), "zstd".into())
    );
    let (tenant, producer) = (text(TENANT_HEADER), text(PRODUCER_HEADER));
    assert_eq!(producer, "agent-1");
    let id: (u64, u64) = (text(EPOCH_HEADER).parse().unwrap(), text(SEQUENCE_HEADER).parse().unwrap());
    indexed.seen.push((tenant.clone(), id.0, id.1));
    let told = indexed.told.pop_front().unwrap_or(Told::Keep);
    if let Told::Answer(status) = told {
        return (StatusCode::from_u16(status).unwrap(), [("retry-after", "0")]).into_response();
    }
    let expects = |n: u64| (StatusCode::CONFLICT, format!("{{\"expected\":{n}}}")).into_response();
    if let Some((later, _)) = indexed.last.get(&tenant).filter(|(epoch, _)| *epoch > id.0) {
        let body = format!("{{\"expected\":1,\"epoch\":{}}}", later + 1);
        return (StatusCode::CONFLICT, body).into_response();
    }
    if let Told::Expect(n) = told {
        return expects(n);
    }
    let last = indexed.last.get(&tenant).copied().filter(|(epoch, _)| *epoch == id.0).map_or(0, |(_, s)| s);
    if id.1 > last + 1 {
        return expects(last + 1);
    }
    if id.1 == last + 1 {
        let records = codec::decode(&codec::decompress(&body, 1 << 20).unwrap()).unwrap().to_records();
        indexed.last.insert(tenant.clone(), id);
        indexed.kept.entry(tenant).or_default().extend(records.iter().map(|r| r.message.to_string()));
    }
    match told {
        Told::KeepAndFail => StatusCode::BAD_GATEWAY.into_response(),
        _ => StatusCode::OK.into_response(),
    }
}

async fn serve(shared: Shared) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/v1/logs", post(receive)).with_state(shared);
    JOINED.with(|set| set.borrow_mut().spawn(async move { axum::serve(listener, app).await }));
    address
}

thread_local! {
    /// Servers live as long as their test's thread.
    static JOINED: std::cell::RefCell<JoinSet<std::io::Result<()>>> = std::cell::RefCell::new(JoinSet::new());
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn batch(name: &str, text: &str) -> Gathered {
    let record = Record {
        time: Timestamp::from_nanos(1),
        observed: Timestamp::from_nanos(2),
        position: Position(1),
        source: Arc::new(Source::default()),
        level: None,
        stream: None,
        identity: heliograph_model::airflow::Identity::default(),
        message: text.into(),
        attributes: Attributes::default(),
    };
    Gathered { tenant: tenant(name), records: vec![record], moves: vec![] }
}

struct Bench {
    dir: tempfile::TempDir,
    spool: Arc<Spool>,
    metrics: Metrics,
}

impl Bench {
    fn new(batches: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let key = heliograph_model::cipher::SecretKey::from_bytes([7; 32]);
        let spool =
            Spool::open(&dir.path().join("spool"), key, 1 << 20, Arc::new(Fixed), metrics.clone()).unwrap();
        let spool = Arc::new(spool);
        for (name, text) in batches {
            assert!(spool.append(vec![batch(name, text)]).unwrap());
        }
        Self { dir, spool, metrics }
    }

    fn shipper(&self, urls: &[String], token: &str) -> Result<Arc<Shipper>> {
        let quarantine =
            (self.dir.path().join("quarantine"), heliograph_model::cipher::SecretKey::from_bytes([7; 32]));
        let producer = ProducerId::parse("agent-1").unwrap();
        let metrics = self.metrics.clone();
        Shipper::new(Arc::clone(&self.spool), urls, &token.into(), producer, quarantine, metrics)
            .map(Arc::new)
    }

    /// Sends all there is.
    async fn drain(&self, urls: &[String]) {
        let (drained, stop) = (CancellationToken::new(), CancellationToken::new());
        drained.cancel();
        let run = self.shipper(urls, "sesame").unwrap().run(drained, stop);
        tokio::time::timeout(Duration::from_secs(30), run).await.unwrap();
        assert!(self.spool.tenants().is_empty());
    }
}

/// Batches, what the indexer is told, what it kept, and the sequences it saw.
async fn check(batches: &[&str], told: &[Told], kept: &[&str], seen: &[u64]) -> (Bench, Shared) {
    let bench = Bench::new(&batches.iter().map(|text| ("a", *text)).collect::<Vec<_>>());
    let shared = Shared::default();
    shared.lock().told = told.iter().copied().collect();
    let address = serve(Arc::clone(&shared)).await;
    bench.drain(&[format!("http://{address}/")]).await;
    let indexed = shared.lock();
    assert_eq!(indexed.kept.get("a").cloned().unwrap_or_default(), kept);
    assert_eq!(indexed.seen.iter().map(|(_, _, sequence)| *sequence).collect::<Vec<_>>(), seen);
    drop(indexed);
    (bench, shared)
}

#[tokio::test]
async fn batches_go_in_order() {
    check(&["one", "two", "three"], &[], &["one", "two", "three"], &[1, 2, 3]).await;
}

#[tokio::test]
async fn a_busy_indexer_is_asked_again() {
    let told = [Told::Answer(503), Told::Answer(429), Told::Answer(500)];
    let (bench, _) = check(&["one", "two"], &told, &["one", "two"], &[1, 1, 1, 1, 2]).await;
    assert_eq!(bench.metrics.batches.with_label_values(&["busy"]).get(), 3);
    assert_eq!(bench.metrics.batches.with_label_values(&["acked"]).get(), 2);
}

#[tokio::test]
async fn a_lost_acknowledgement_stores_nothing_twice() {
    check(&["one", "two"], &[Told::KeepAndFail], &["one", "two"], &[1, 1, 2]).await;
}

#[tokio::test]
async fn an_indexer_that_is_ahead_has_the_batches() {
    let bench = Bench::new(&[("a", "one"), ("a", "two"), ("a", "three")]);
    let shared = Shared::default();
    shared.lock().told = [Told::Expect(3)].into();
    shared.lock().last.insert("a".to_owned(), (1_795_000_000_000, 2));
    let address = serve(Arc::clone(&shared)).await;
    bench.drain(&[format!("http://{address}")]).await;
    assert_eq!(shared.lock().kept["a"], ["three"]);
}

#[tokio::test]
async fn an_indexer_that_lost_its_memory_gets_a_new_epoch() {
    let (bench, shared) = check(&["one", "two"], &[], &["one", "two"], &[1, 2]).await;
    shared.lock().last.clear();
    assert!(bench.spool.append(vec![batch("a", "three")]).unwrap());
    let address = serve(Arc::clone(&shared)).await;
    bench.drain(&[format!("http://{address}")]).await;
    let indexed = shared.lock();
    assert_eq!(indexed.kept["a"], ["one", "two", "three"]);
    let (first, last) = (indexed.seen.first().unwrap(), indexed.seen.last().unwrap());
    assert!(last.1 > first.1 && last.2 == 1, "{:?}", indexed.seen);
}

#[tokio::test]
async fn an_indexer_that_knows_a_later_life_is_sent_one_later_still() {
    let bench = Bench::new(&[("a", "one"), ("a", "two")]);
    let shared = Shared::default();
    let later = 9_000_000_000_000;
    shared.lock().last.insert("a".to_owned(), (later, 5));
    let address = serve(Arc::clone(&shared)).await;
    bench.drain(&[format!("http://{address}")]).await;
    let indexed = shared.lock();
    assert_eq!(indexed.kept["a"], ["one", "two"]);
    assert_eq!(indexed.last["a"], (later + 1, 2));
}

#[tokio::test]
async fn a_poison_batch_is_set_aside_sealed() {
    let (bench, _) =
        check(&["one", "geheim", "three"], &[Told::Keep, Told::Answer(400)], &["one", "three"], &[1, 2, 2])
            .await;
    let dir = bench.dir.path().join("quarantine");
    let files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("one file, not {files:?}") };
    assert_eq!(memchr::memmem::find(&std::fs::read(file).unwrap(), b"geheim"), None);
    assert_eq!(bench.metrics.dropped.with_label_values(&["poison"]).get(), 1);
}

#[tokio::test]
async fn tenants_go_side_by_side() {
    let names: Vec<String> = (0..40).map(|n| format!("t{n}")).collect();
    let batches: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let bench = Bench::new(&batches);
    let shared = Shared::default();
    let address = serve(Arc::clone(&shared)).await;
    bench.drain(&[format!("http://{address}")]).await;
    let indexed = shared.lock();
    assert_eq!(indexed.kept.len(), 40);
    assert!(indexed.kept.iter().all(|(name, texts)| texts == std::slice::from_ref(name)));
}

#[tokio::test]
async fn an_indexer_that_is_away_is_passed_over() {
    let bench = Bench::new(&[("a", "one"), ("b", "two"), ("c", "three"), ("d", "four")]);
    let shared = Shared::default();
    let address = serve(Arc::clone(&shared)).await;
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    bench.drain(&[format!("http://{gone}"), format!("http://{address}")]).await;
    assert_eq!(shared.lock().kept.len(), 4);
}

#[tokio::test]
async fn a_refused_credential_waits_and_loses_nothing() {
    let bench = Bench::new(&[("a", "one")]);
    let shared = Shared::default();
    let urls = [format!("http://{}", serve(Arc::clone(&shared)).await)];
    let stop = CancellationToken::new();
    let shipper = bench.shipper(&urls, "wrong").unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(shipper.run(CancellationToken::new(), stop.clone()));
    while shared.lock().denied < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap();
    assert_eq!(bench.spool.tenants(), [tenant("a")]);
    bench.drain(&urls).await;
}

#[test]
fn bad_addresses_and_credentials_are_named() {
    let bench = Bench::new(&[]);
    let check = |urls: &[&str], token: &str, expected: &str| {
        let urls: Vec<String> = urls.iter().map(|u| (*u).to_owned()).collect();
        let error = bench.shipper(&urls, token).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("hush"), "{error}");
    };
    check(&[], "x", "at least one is needed");
    check(&["127.0.0.1:7710"], "x", "invalid indexer \"127.0.0.1:7710\"");
    check(&["ftp://x"], "x", "invalid indexer \"ftp://x\"");
    check(&["http://x"], "hush\n", "invalid agent token");
}
