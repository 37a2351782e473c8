//! All at once: indexers and agents are killed, PostgreSQL and the store stop and fail, and every line is there once.
//!
//! Less than a minute by default. The long run: `HELIOGRAPH_TEST_CLUSTER_SECONDS=300`, `…_WRITERS=14` (400 lines/s
//! each), `…_KILL_SECONDS=20`. `HELIOGRAPH_TEST_SEED` replays a schedule, `FAULTS_SEED` which requests are struck.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use heliograph_testbed::faults::http::Fault;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tokio::task::JoinSet;

use super::schedule::{self, Event};
use super::watchers::{Known, Tail, total};
use super::{AGENTS, Cluster, INDEXERS, QUERIES, replace};
use crate::postgres_server;
use crate::seed::Random;
use crate::server::{PATIENCE, Server};
use crate::writer::Writers;

#[expect(clippy::disallowed_methods, reason = "how long a soak runs is told by its environment")]
fn parameter(name: &str, default: u64) -> u64 {
    let given = std::env::var(format!("HELIOGRAPH_TEST_CLUSTER_{name}")).ok();
    given.map_or(default, |text| text.parse().unwrap())
}

/// The processes of a cluster that things happen to.
struct Running {
    cluster: Cluster,
    postgres: Arc<postgres_server::Server>,
    indexers: Vec<Server>,
    queries: Vec<Server>,
    agents: Vec<Server>,
    /// Indexers that ended by themselves.
    ended: usize,
}

impl Running {
    async fn happens(&mut self, event: Event) {
        match event {
            Event::KillIndexer(slot) => {
                replace(&mut self.indexers[slot], || self.cluster.spawn_indexer(slot)).await;
            }
            Event::KillAgent(n) => replace(&mut self.agents[n], || self.cluster.spawn_agent(n)).await,
            Event::KillQuery(n) => replace(&mut self.queries[n], || self.cluster.spawn_query(n)).await,
            Event::CrashPostgres(away) => {
                self.postgres(postgres_server::Server::crash).await;
                tokio::time::sleep(away).await;
                self.postgres(postgres_server::Server::start_again).await;
            }
            Event::RestartPostgres => {
                self.postgres(postgres_server::Server::stop).await;
                self.postgres(postgres_server::Server::start_again).await;
            }
            Event::RestartStore => self.cluster.restart_store().await,
            Event::StoreFails => self.cluster.proxy.faults().set(20, Fault::quick()),
            Event::StoreWorks => self.cluster.proxy.faults().clear(),
        }
    }

    async fn postgres(&self, what: impl FnOnce(&postgres_server::Server) + Send + 'static) {
        let postgres = Arc::clone(&self.postgres);
        tokio::task::spawn_blocking(move || what(&postgres)).await.unwrap();
    }

    /// Starts again what ended by itself, as a supervisor does: an indexer that another has taken over ends.
    fn look_after(&mut self) {
        for (slot, server) in self.indexers.iter_mut().enumerate() {
            if server.has_ended() {
                eprintln!("cluster: indexer {slot} has ended:\n{}", last_of(&server.said()));
                self.ended += 1;
                *server = self.cluster.spawn_indexer(slot);
            }
        }
        for server in self.agents.iter_mut().chain(&mut self.queries) {
            assert!(!server.has_ended(), "it has ended:\n{}", server.said());
        }
    }
}

fn last_of(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(3)..].join("\n")
}

#[expect(clippy::too_many_lines, reason = "one story from its beginning to its end")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_parts_fail_keeps_every_line_once() {
    let mut random = Random::new("cluster");
    let length = Duration::from_secs(parameter("SECONDS", 30));
    let kill_every = Duration::from_secs(parameter("KILL_SECONDS", 10));
    let writers_each = usize::try_from(parameter("WRITERS", 4)).unwrap().div_ceil(AGENTS);
    let events = schedule::draw(&mut random, length, kill_every);

    let postgres =
        tokio::task::spawn_blocking(|| postgres_server::Server::start("-c fsync=off")).await.unwrap();
    let settings = "seal_bytes = \"1 MiB\"\nseal_after = \"3s\"\n";
    let cluster = Cluster::new(postgres.new_database(None).await, INDEXERS, settings).await;
    let (token, urls) = (cluster.token.clone(), cluster.urls());
    let mut indexers = Vec::new();
    for slot in 0..INDEXERS {
        indexers.push(cluster.indexer(slot).await);
    }
    let mut queries = Vec::new();
    for n in 0..QUERIES {
        queries.push(cluster.query(n).await);
    }
    let mut agents = Vec::new();
    let mut writers = Vec::new();
    for n in 0..AGENTS {
        writers.push(Writers::start(&cluster.logs(n), writers_each, Some(3_000)));
        let mut agent = cluster.spawn_agent(n);
        agent.wait_until_ready().await;
        agents.push(agent);
    }
    let known = Known::default();
    let (mut probing, mut searching, mut counting) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    // No more than one answer holds.
    let pause = (length / 8_000).max(Duration::from_millis(50));
    probing.spawn(known.clone().probe(urls, pause));
    let written = writers.iter().map(Writers::written).collect::<Vec<_>>();
    for query in &queries {
        let base = query.base("query.listen");
        searching.spawn(known.clone().search(base.clone(), token.clone()));
        counting.spawn(known.clone().count(base, token.clone(), written.clone()));
    }
    let tails: Vec<Tail> =
        queries.iter().map(|query| Tail::start(&query.base("query.listen"), &token, "probe")).collect();
    let mut running = Running { cluster, postgres: Arc::new(postgres), indexers, queries, agents, ended: 0 };

    let began = Instant::now();
    for (at, event) in events {
        while began.elapsed() < at {
            tokio::time::sleep(at.saturating_sub(began.elapsed()).min(Duration::from_millis(500))).await;
            running.look_after();
            let failed = [searching.try_join_next(), counting.try_join_next()].into_iter().flatten().next();
            assert!(failed.is_none(), "it should look on: {failed:?}");
            assert!(probing.try_join_next().is_none(), "it should send");
        }
        eprintln!("cluster: {:.1} s: {event:?}", began.elapsed().as_secs_f64());
        running.happens(event).await;
    }
    tokio::time::sleep(length.saturating_sub(began.elapsed())).await;
    let written: Vec<Vec<(String, usize)>> = writers.into_iter().map(Writers::finish).collect();
    eprintln!("cluster: {:.1} s: all is well again", began.elapsed().as_secs_f64());
    running.look_after();
    for server in running.indexers.iter_mut().chain(&mut running.agents).chain(&mut running.queries) {
        server.wait_until_ready().await;
    }

    let lines: usize = written.iter().flatten().map(|(_, count)| count).sum();
    all_counted(&running.queries[0], &token, lines).await;
    eprintln!("cluster: {:.1} s: all {lines} lines are found", began.elapsed().as_secs_f64());
    known.stop.store(true, Ordering::SeqCst);
    probing.join_all().await;
    let (searches, counts) = (searching.join_all().await, counting.join_all().await);
    for asked in searches.iter().chain(&counts) {
        eprintln!("cluster: asked: {}", asked.said());
        assert!(asked.complete > 0, "no answer was complete");
    }
    let probes = known.probes();
    for tail in &tails {
        tail.has_all(&[("probe".to_owned(), probes)]).await;
    }
    eprintln!("cluster: {:.1} s: both tails have all {probes} probes", began.elapsed().as_secs_f64());
    for query in &running.queries {
        all_counted(query, &token, lines).await;
        check_all(query, &token, &written, probes).await;
    }
    eprintln!("cluster: {:.1} s: both nodes have all, once and in order", began.elapsed().as_secs_f64());
    eprintln!(
        "cluster: {lines} lines in {length:?}, {probes} probes; {} faults of S3; {} indexers ended by themselves",
        running.cluster.proxy.faults().count(),
        running.ended
    );
    let servers = running.agents.into_iter().chain(running.indexers).chain(running.queries);
    join_all(servers.map(Server::stop)).await;
}

/// Waits until a complete answer counts so many lines, for as long as more come.
async fn all_counted(query: &Server, token: &str, lines: usize) {
    let (mut most, mut deadline) = (0, Instant::now() + PATIENCE);
    loop {
        let answer = query.api(Method::GET, "/api/v1/histogram?q=task&interval=1h").bearer_auth(token).send();
        let answer = answer.await.unwrap();
        let is_answered = answer.status() == StatusCode::OK;
        let body: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let found = if is_answered { total(&body) } else { 0 };
        if found >= lines && body["complete"] == true {
            return;
        }
        if found > most {
            (most, deadline) = (found, Instant::now() + PATIENCE);
        }
        assert!(Instant::now() < deadline, "{found} of {lines} lines: {body}\n{}", query.said());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[derive(Deserialize)]
struct Exported {
    message: String,
    #[serde(default)]
    node: String,
}

/// Reads all records in their order and compares each with what was written, byte for byte.
async fn check_all(query: &Server, token: &str, written: &[Vec<(String, usize)>], probes: usize) {
    let route = "/api/v1/export?format=ndjson&order=asc";
    let answer = query.api(Method::GET, route).bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut next: HashMap<(String, String), usize> = HashMap::new();
    let mut probed = vec![false; probes + 1];
    let (mut bytes, mut buffer) = (answer.bytes_stream(), Vec::new());
    while let Some(piece) = bytes.next().await {
        buffer.extend_from_slice(&piece.unwrap());
        let whole = buffer.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        for line in buffer[..whole].split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let Exported { message, node } = serde_json::from_slice(line).unwrap();
            let (name, rest) = message.split_once(' ').unwrap();
            if name == "probe" {
                let seen = probed.get_mut(rest.parse::<usize>().unwrap()).expect("a probe that was sent");
                assert!(!*seen, "{message} is there twice");
                *seen = true;
                continue;
            }
            let next = next.entry((node.clone(), name.to_owned())).or_default();
            assert_eq!(message, format!("{name} {next} of a task that says little"), "{node}");
            *next += 1;
        }
        buffer.drain(..whole);
    }
    assert!(buffer.is_empty(), "the export broke off");
    assert!(probed.iter().skip(1).all(|seen| *seen), "a probe is missing");
    for (n, writers) in written.iter().enumerate() {
        for (name, count) in writers {
            let found = next.remove(&(format!("node{n}"), name.clone()));
            assert_eq!(found.unwrap_or(0), *count, "{name} of node{n}");
        }
    }
    assert!(next.is_empty(), "nobody wrote {next:?}");
}
