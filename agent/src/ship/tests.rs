//! Against small indexers that answer as they are told, and count what they keep.

mod choice;
mod indexer;

use heliograph_model::record::{Attributes, Record};
use heliograph_model::source::{Position, Source};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{Clock, Timestamp};
use prometheus::Registry;

use super::*;
use crate::config::{Tls, Token, WhenFull};
use crate::gather::Gathered;
use crate::spool::Limits;
use indexer::{Shared, Told, serve};

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(1_795_000_000_000_000_000)
    }
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

fn spool(dir: &std::path::Path, metrics: &Metrics) -> Arc<Spool> {
    let key = heliograph_model::cipher::SecretKey::from_bytes([7; 32]);
    let limits = Limits { bytes_max: 1 << 20, when_full: WhenFull::Wait };
    let (own, clock) = (Source::default(), Arc::new(Fixed));
    Arc::new(Spool::open(&dir.join("spool"), key, limits, own, clock, metrics.clone()).unwrap())
}

fn config(dir: &std::path::Path, urls: &[String], token: &str) -> Config {
    let (data_dir, indexers) = (dir.to_owned(), urls.to_vec());
    Config { data_dir, indexers, token: Token::Fixed(token.into()), ..Config::blank() }
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
        let spool = spool(dir.path(), &metrics);
        for (name, text) in batches {
            assert!(spool.append(vec![batch(name, text)]).unwrap());
        }
        Self { dir, spool, metrics }
    }

    async fn shipper(&self, urls: &[String], token: &str) -> Result<Arc<Shipper>> {
        self.shipper_with(&config(self.dir.path(), urls, token)).await
    }

    async fn shipper_with(&self, config: &Config) -> Result<Arc<Shipper>> {
        let key = heliograph_model::cipher::SecretKey::from_bytes([7; 32]);
        let quarantine = Quarantine::new(self.dir.path().join("quarantine"), key, self.metrics.clone());
        let producer = ProducerId::parse("agent-1").unwrap();
        let metrics = self.metrics.clone();
        Shipper::new(Arc::clone(&self.spool), config, producer, quarantine, metrics).await.map(Arc::new)
    }

    /// The agent ends and starts again.
    fn restart(self) -> Self {
        let Self { dir, spool: old, metrics } = self;
        drop(old);
        let spool = spool(dir.path(), &metrics);
        Self { dir, spool, metrics }
    }

    /// Sends all there is.
    async fn drain(&self, urls: &[String]) {
        let (drained, stop) = (CancellationToken::new(), CancellationToken::new());
        drained.cancel();
        let run = self.shipper(urls, "sesame").await.unwrap().run(drained, stop);
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
    let mut found: Vec<_> = indexed.seen.iter().map(|(_, _, sequence)| *sequence).collect();
    found.sort_unstable();
    assert_eq!(found, seen);
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
    for (answer, expected) in [("unavailable", 1), ("busy", 1), ("failed", 1), ("acked", 2)] {
        assert_eq!(bench.metrics.batches.with_label_values(&[answer]).get(), expected, "{answer}");
    }
}

#[tokio::test]
async fn a_lost_acknowledgement_stores_nothing_twice() {
    check(&["one", "two"], &[Told::KeepAndFail], &["one", "two"], &[1, 1, 2]).await;
}

#[tokio::test]
async fn an_indexer_that_is_ahead_has_the_batches() {
    let bench = Bench::new(&[("a", "one"), ("a", "two"), ("a", "three")]).restart();
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

/// What stands in the place of a refused batch of one line.
const GAP: &str = "1 lines dropped, from 1970-01-01T00:00:00.000000001Z to 1970-01-01T00:00:00.000000001Z: the \
                   indexer refused them for good";

#[tokio::test]
async fn a_poison_batch_is_set_aside_sealed() {
    let (bench, _) =
        check(&["one", "poison: geheim", "three"], &[], &["one", GAP, "three"], &[1, 2, 2, 3, 3]).await;
    let dir = bench.dir.path().join("quarantine");
    let files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("one file, not {files:?}") };
    assert_eq!(memchr::memmem::find(&std::fs::read(file).unwrap(), b"geheim"), None);
    assert_eq!(bench.metrics.dropped.with_label_values(&["rejected"]).get(), 1);
}

#[tokio::test]
async fn what_is_sent_for_an_erased_tenant_is_thrown_away_and_a_new_one_begins_anew() {
    let told = [Told::Erased, Told::Erased, Told::Erased];
    let bench = Bench::new(&[("a", "geheim"), ("a", "geheim, too"), ("a", "and this")]);
    let shared = Shared::default();
    shared.lock().told = told.into();
    let address = serve(Arc::clone(&shared)).await;
    bench.drain(&[format!("http://{address}/")]).await;
    assert!(shared.lock().kept.is_empty());
    assert_eq!(bench.metrics.dropped.with_label_values(&["erased"]).get(), 3);
    assert!(!bench.dir.path().join("quarantine").try_exists().unwrap(), "none is kept for a look");
    // Somebody has made a tenant of this name.
    assert!(bench.spool.append(vec![batch("a", "hello")]).unwrap());
    bench.drain(&[format!("http://{address}/")]).await;
    assert_eq!(shared.lock().kept["a"], ["hello"]);
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
async fn many_batches_are_under_way_and_none_is_lost_or_doubled_or_out_of_order() {
    // Both an indexer that lets early batches wait and one that refuses them at once, losing every eighth answer.
    for impatient in [false, true] {
        let texts: Vec<String> = (0..40).map(|n| format!("{n}")).collect();
        let batches: Vec<_> = texts.iter().flat_map(|t| [("a", t.as_str()), ("b", t.as_str())]).collect();
        let bench = Bench::new(&batches);
        let shared = Shared::default();
        (shared.lock().impatient, shared.lock().lossy) = (impatient, Some(8));
        let address = serve(Arc::clone(&shared)).await;
        bench.drain(&[format!("http://{address}")]).await;
        let indexed = shared.lock();
        assert_eq!((&indexed.kept["a"], &indexed.kept["b"]), (&texts, &texts));
        // Nothing ever had to begin anew.
        assert_eq!(indexed.last["a"], (1_795_000_000_000, 40));
        assert!((2..=REQUESTS_MAX).contains(&indexed.under_way.1), "{} at once", indexed.under_way.1);
    }
}

#[tokio::test]
async fn a_restart_in_the_middle_sends_nothing_twice() {
    let texts: Vec<String> = (0..40).map(|n| format!("{n}")).collect();
    let bench = Bench::new(&texts.iter().map(|t| ("a", t.as_str())).collect::<Vec<_>>());
    let shared = Shared::default();
    shared.lock().lossy = Some(5);
    let urls = [format!("http://{}", serve(Arc::clone(&shared)).await)];
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let shipper = bench.shipper(&urls, "sesame").await.unwrap();
    tasks.spawn(shipper.run(CancellationToken::new(), stop.clone()));
    while shared.lock().kept.get("a").is_none_or(|kept| kept.len() < 15) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap();
    drop(tasks);
    let bench = bench.restart();
    assert!(bench.spool.append(vec![batch("a", "new")]).unwrap());
    bench.drain(&urls).await;
    let indexed = shared.lock();
    let (last, kept) = indexed.kept["a"].split_last().unwrap();
    assert_eq!((last.as_str(), kept), ("new", texts.as_slice()));
}

#[tokio::test]
async fn the_body_that_is_too_large_makes_way_for_the_next() {
    let (bench, shared) = check(&["one", "two"], &[Told::Answer(413)], &[GAP, "two"], &[1, 1, 2]).await;
    assert_eq!(bench.metrics.batches.with_label_values(&["rejected"]).get(), 1);
    assert_eq!(shared.lock().last["a"].1, 2);
}
