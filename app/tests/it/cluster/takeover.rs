//! An indexer is gone, or is held up and comes back: another answers for what it held, once, and tails go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::Client;
use rustix::process::Signal;
use tokio::task::JoinSet;

use super::watchers::Tail;
use super::{Cluster, acknowledged, complete, replace, send, until_found};
use crate::postgres_server;
use crate::seed::Random;
use crate::server::{PATIENCE, Server};

/// Nothing is sealed while a test runs.
const HOT: &str = "seal_after = \"1h\"\n";
/// Something is always being sealed.
const SEALING: &str = "seal_after = \"200ms\"\n";

async fn cluster(settings: &'static str) -> Cluster {
    let postgres = tokio::task::spawn_blocking(postgres_server::shared).await.unwrap();
    Cluster::new(postgres.new_database(None).await, 2, settings).await
}

/// Writers that have one indexer only: each sends one line after the other until it is refused. What it sent last
/// was held up with the indexer. Each ends with its number and how many lines were acknowledged to it.
struct Loyal {
    sending: JoinSet<(usize, usize)>,
    sent: Arc<AtomicUsize>,
}

const WRITERS: usize = 8;

impl Loyal {
    fn start(url: &str) -> Self {
        let (mut sending, sent) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        for writer in 0..WRITERS {
            let (url, client, sent) = (url.to_owned(), Client::new(), Arc::clone(&sent));
            sending.spawn(async move {
                for sequence in 1.. {
                    let status = send(&client, &url, &format!("writer{writer}"), sequence).await;
                    // No answer at all is as good as a refusal.
                    let status = status.unwrap_or(503);
                    if status != 200 {
                        assert!([429, 503].contains(&status), "writer{writer}: {status}");
                        return (writer, sequence - 1);
                    }
                    sent.fetch_add(1, Ordering::SeqCst);
                }
                unreachable!("it sends without end")
            });
        }
        Self { sending, sent }
    }

    /// Waits until so many lines are acknowledged.
    async fn have_sent(&self, lines: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.sent.load(Ordering::SeqCst) < lines {
            assert!(Instant::now() < deadline, "nothing is acknowledged");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tails_go_on_over_a_takeover_and_the_dead_ones_records_are_found_again() {
    let mut random = Random::new("takeover");
    let cluster = cluster(HOT).await;
    let (dying, heir) = (cluster.indexer(0).await, cluster.indexer(1).await);
    let (stays, mut replaced) = (cluster.query(0).await, cluster.query(1).await);
    let urls = cluster.urls();
    let tail = |query: &Server| Tail::start(&query.base("query.listen"), &cluster.token, "writer*");
    let mut tails = vec![tail(&stays), tail(&replaced)];
    let loyal = Loyal::start(&urls[0]);
    loyal.have_sent(100).await;
    tokio::time::sleep(random.millis(0, 500)).await;
    // What it has recorded at this moment, and shown to no tail, comes from the heir.
    dying.kill().await;
    let died = Instant::now();
    let acknowledged_to = loyal.sending.join_all().await;
    // One that begins while nobody answers for the dead one, and after newer commits.
    let client = Client::new();
    acknowledged(&client, &urls[1], "newer", 1).await;
    tails.push(tail(&stays));
    // One of the tails loses its server, too, and goes on from its cursor.
    replace(&mut replaced, || cluster.spawn_query(1)).await;

    let mut all = Vec::new();
    for (writer, count) in acknowledged_to {
        let name = format!("writer{writer}");
        for sequence in count + 1..=count + 5 {
            acknowledged(&client, &urls[1], &name, sequence).await;
        }
        all.push((name, count + 5));
    }
    for (name, count) in &all {
        until_found(&stays, &cluster.token, name, *count).await;
    }
    // The promise is 15 s, of a machine that has nothing else to do.
    eprintln!("takeover: found again {:.1} s after the death", died.elapsed().as_secs_f64());
    for tail in &tails {
        tail.has_all(&all).await;
    }
    // And when the dead one is no more.
    until_retired(&heir).await;
    for (name, count) in &mut all {
        *count += 1;
        acknowledged(&client, &urls[1], name, *count).await;
    }
    for tail in &tails {
        tail.has_all(&all).await;
    }
    heir.stop().await;
    stays.stop().await;
    replaced.wait_until_ready().await;
    replaced.stop().await;
}

/// Waits until an heir has let go of what it took over.
async fn until_retired(heir: &Server) {
    let deadline = Instant::now() + PATIENCE;
    while !heir.said().contains("all of it is sealed: it is no more") {
        assert!(Instant::now() < deadline, "nobody takes it over:\n{}", heir.said());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_indexer_that_was_held_up_beyond_its_lease_writes_nothing_twice() {
    let mut random = Random::new("held up");
    let cluster = cluster(SEALING).await;
    let (mut held_up, heir) = (cluster.indexer(0).await, cluster.indexer(1).await);
    let (query, urls) = (cluster.query(0).await, cluster.urls());
    let loyal = Loyal::start(&urls[0]);
    loyal.have_sent(100).await;
    tokio::time::sleep(random.millis(0, 500)).await;
    held_up.signal(Signal::STOP);
    // The kernel takes these for it: they lie there when it goes on.
    let mut late = JoinSet::new();
    for n in 1..=5 {
        let url = urls[0].clone();
        late.spawn(async move { send(&Client::new(), &url, &format!("late{n}"), 1).await });
    }
    // Until all of it is another's.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics =
            heir.ingest(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        if metrics.lines().any(|line| line == "heliograph_indexer_takeovers_total 1") {
            break;
        }
        assert!(Instant::now() < deadline, "nobody takes it over:\n{}", heir.said());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Now it goes on: at once, or when it is no more for the catalog either.
    tokio::time::sleep(random.millis(0, 4_000)).await;
    held_up.signal(Signal::CONT);

    let acknowledged_to = loyal.sending.join_all().await;
    for status in late.join_all().await {
        assert_ne!(status.ok(), Some(200), "who was taken over acknowledges nothing");
    }
    assert!(!held_up.ended().await.success(), "it says that it was taken over");
    assert!(held_up.said().contains("another process has taken this indexer over"), "{}", held_up.said());

    // Each goes on at the other one with what was not acknowledged, under the same number, and with ten more.
    let client = Client::new();
    for (writer, count) in &acknowledged_to {
        let name = format!("writer{writer}");
        let found = complete(&query, &cluster.token, &name).await.len();
        // The last one may or may not be recorded.
        assert!((*count..=count + 1).contains(&found), "{name}: {found} of {count}");
        for sequence in count + 1..=count + 10 {
            acknowledged(&client, &urls[1], &name, sequence).await;
        }
    }
    for n in 1..=5 {
        acknowledged(&client, &urls[1], &format!("late{n}"), 1).await;
    }
    for (writer, count) in &acknowledged_to {
        until_found(&query, &cluster.token, &format!("writer{writer}"), count + 10).await;
    }
    for n in 1..=5 {
        until_found(&query, &cluster.token, &format!("late{n}"), 1).await;
    }
    eprintln!("held up: acknowledged before, by writer: {acknowledged_to:?}");
    heir.stop().await;
    query.stop().await;
}
