//! FAULTS.md R7: the objects lie on S3, and a fifth of all requests to it meet a fault.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::TryStreamExt as _;
use futures::future::{join, join_all};
use heliograph_indexer::Config;
use heliograph_model::filter::Filter;
use heliograph_model::record::Record;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::TimeRange;
use heliograph_store::objects::{self, Patience};
use heliograph_testbed::faults::http::{Fault, Proxy};
use heliograph_testbed::s3;
use object_store::ObjectStore as _;
use object_store::path::Path;

use crate::bench::{Server, config, once, records, until};
use crate::feeds::Tail;

const PRODUCERS: u64 = 4;
const BATCHES: u64 = 30;
const RECORDS: u64 = 50;
/// Faults that a run must have come through.
const FAULTS_MIN: usize = 21;

fn over(proxy: &Proxy) -> objects::Config {
    let environment = [("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY)];
    objects::Config {
        endpoint: Some(proxy.url()),
        environment: environment.map(|(name, value)| (name.to_owned(), value.into())).into(),
        patience: Patience {
            answer: Duration::from_secs(1),
            pause: Duration::from_secs(2),
            retries: Duration::from_secs(20),
        },
        ..objects::Config::at(format!("s3://{}/heliograph", s3::BUCKET))
    }
}

fn batch(producer: u64, sequence: u64) -> Vec<Record> {
    records(&format!("p{producer}"), (sequence - 1) * RECORDS..sequence * RECORDS)
}

/// Sends one producer's batches, each until it is acknowledged; says each time how far it is.
async fn produce(server: &Server, producer: u64, sequences: std::ops::RangeInclusive<u64>, at: &AtomicU64) {
    for sequence in sequences {
        while server.send("t", &format!("p{producer}"), sequence, &batch(producer, sequence)).await != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        at.store(sequence, Ordering::SeqCst);
    }
}

/// Each look finds all that was acknowledged before it, and nothing twice.
async fn look(server: &Server, at: &[AtomicU64]) {
    let acknowledged: Vec<u64> = at.iter().map(|at| at.load(Ordering::SeqCst)).collect();
    let found = server.everything("t").await;
    for (producer, sequence) in (0..).zip(acknowledged) {
        for record in (1..=sequence).flat_map(|sequence| batch(producer, sequence)) {
            assert!(found.contains_key(&*record.message), "{} is not found", record.message);
        }
    }
    let doubled: Vec<_> = found.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
}

/// Everything of all producers up to this batch, once.
fn all_through(sequence: u64) -> BTreeMap<String, usize> {
    let all: Vec<_> = (0..PRODUCERS).flat_map(|p| (1..=sequence).flat_map(move |s| batch(p, s))).collect();
    once(&all)
}

/// What is stored: objects whose path begins so.
async fn stored(server: &Server, prefix: &str) -> usize {
    let listed: Vec<_> = server.store.objects.list(Some(&Path::from(prefix))).try_collect().await.unwrap();
    listed.len()
}

/// Records in segments that are published.
async fn sealed(server: &Server) -> u64 {
    let tenant = TenantId::parse("t").unwrap();
    let segments = server.store.catalog.segments(&tenant, &TimeRange::ALL).await.unwrap();
    segments.iter().map(|segment| segment.records).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_with_faults_neither_loses_nor_doubles_and_holds_up_no_tail() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = s3::Server::start(bucket.path()).await;
    let proxy = Proxy::start(store.address()).await;
    let sealing = Config { seal_bytes: 100_000, seal_after: Duration::from_secs(2), ..config() };
    let server = Server::start_over(folder.path(), over(&proxy), sealing).await;
    assert_eq!(server.send("t", "first", 1, &[]).await, 200);
    let mut tail = Tail::open(&server, &Filter::All, None).await;
    tail.opening().await;
    until("the feed is there", || async { server.figure("heliograph_indexer_feed_subscribers") >= 1.0 })
        .await;

    proxy.faults().set(20, Fault::all());
    let at: Vec<AtomicU64> = (0..PRODUCERS).map(|_| AtomicU64::new(0)).collect();
    // How many requests the batches come to depends on how they are grouped.
    let mut batches = 0;
    while batches < BATCHES || proxy.faults().count() < FAULTS_MIN {
        let next = batches + 1..=batches + BATCHES;
        batches = *next.end();
        let producing = (0..).zip(&at).map(|(producer, at)| produce(&server, producer, next.clone(), at));
        let looking = async {
            while at.iter().any(|at| at.load(Ordering::SeqCst) < batches) {
                look(&server, &at).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        join(join_all(producing), looking).await;
    }

    // The tail has everything, once and each producer's in order, whatever sealing is at.
    let total = PRODUCERS * batches * RECORDS;
    let followed = tail.messages(usize::try_from(total).unwrap()).await;
    for producer in 0..PRODUCERS {
        let source = format!("p{producer} line ");
        let numbers: Vec<u64> =
            followed.iter().filter_map(|(_, text)| text.strip_prefix(&source)?.parse().ok()).collect();
        assert!(numbers.iter().copied().eq(0..batches * RECORDS), "{source}");
    }
    until("all is sealed, through the faults", || async {
        server.figure("heliograph_indexer_hot_records") == 0.0
    })
    .await;
    proxy.faults().clear();
    assert_eq!(server.everything("t").await, all_through(batches));
    assert_eq!(sealed(&server).await, total, "no segment holds what another does");
    server.stop().await;

    // What stayed behind where a deletion failed goes at the next start.
    let server = Server::start_over(folder.path(), over(&proxy), config()).await;
    assert_eq!(stored(&server, "w").await, 0, "no write-ahead object is left");
    assert_eq!(store.parts_left(), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_over_a_store_with_faults_loses_nothing_and_the_next_start_waits_for_the_store() {
    let (folder, bucket) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = s3::Server::start(bucket.path()).await;
    let proxy = Proxy::start(store.address()).await;
    let server = Server::start_over(folder.path(), over(&proxy), config()).await;
    proxy.faults().set(20, Fault::quick());
    let at: Vec<AtomicU64> = (0..PRODUCERS).map(|_| AtomicU64::new(0)).collect();
    join_all((0..).zip(&at).map(|(producer, at)| produce(&server, producer, 1..=5, at))).await;
    server.kill().await;

    // Everything fails, longer than a request is tried.
    proxy.faults().set(100, [Fault::ServerError]);
    let starting = Server::start_over(folder.path(), over(&proxy), config());
    let mending = async {
        let before = proxy.faults().count();
        while proxy.faults().count() < before + 30 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        proxy.faults().set(20, Fault::quick());
    };
    let (server, ()) = join(starting, mending).await;
    look(&server, &at).await;
    join_all((0..).zip(&at).map(|(producer, at)| produce(&server, producer, 6..=8, at))).await;
    assert_eq!(server.everything("t").await, all_through(8));
    server.stop().await;
}
