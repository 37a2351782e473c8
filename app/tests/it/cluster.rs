//! Promise: indexers die, the catalog and the object store fail, and every line is there once; each search during
//! it has all that was acknowledged before it, or says that it has not.
//!
//! About a minute by default. The long run: `HELIOGRAPH_TEST_CLUSTER_SECONDS=300`, `…_WRITERS=12` (400 lines/s
//! each), `…_KILL_SECONDS=20`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use heliograph_testbed::faults::http::{Fault, Proxy};
use heliograph_testbed::s3;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::command::{heliograph, run_with};
use crate::postgres_server;
use crate::seed::Random;
use crate::server::{PASSWORD, PATIENCE, Place, Server};
use crate::writer::{Writers, assert_same, expected};

const INDEXERS: usize = 3;

#[expect(clippy::disallowed_methods, reason = "how long a soak runs is told by its environment")]
fn parameter(name: &str, default: u64) -> u64 {
    let given = std::env::var(format!("HELIOGRAPH_TEST_CLUSTER_{name}")).ok();
    given.map_or(default, |text| text.parse().unwrap())
}

/// What all processes share.
struct Cluster {
    folder: PathBuf,
    shared: String,
    ports: Vec<u16>,
}

impl Cluster {
    fn config(&self, name: &str, section: &str) -> String {
        let file = self.folder.join(format!("{name}.toml")).display().to_string();
        std::fs::write(&file, format!("{section}{}", self.shared)).unwrap();
        file
    }

    fn spawn(&self, role: &str, name: &str, section: &str, main: &'static str) -> Server {
        let mut command = heliograph();
        command.args([role, "--config", &self.config(name, section)]).envs(self.environment());
        Server::spawn(command, main)
    }

    fn environment(&self) -> [(&'static str, &'static str); 3] {
        [
            ("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY),
            ("HELIOGRAPH_BOOTSTRAP__ADMIN_PASSWORD", PASSWORD),
        ]
    }

    fn indexer(&self, slot: usize) -> Server {
        let section = format!(
            "[indexer]\nlisten = \"127.0.0.1:{}\"\nseal_bytes = \"1 MiB\"\nseal_after = \"3s\"\n",
            self.ports[slot]
        );
        self.spawn("indexer", &format!("indexer{slot}"), &section, "indexer.listen")
    }

    async fn query(&self, name: &str) -> Server {
        let mut server = self.spawn("query", name, "[query]\nlisten = \"127.0.0.1:0\"\n", "query.listen");
        server.wait_until_ready().await;
        server
    }

    fn urls(&self) -> Vec<String> {
        self.ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect()
    }

    async fn agent(&self, n: usize, logs: &str) -> Server {
        let section = format!(
            "[agent]\nstatus_listen = \"127.0.0.1:0\"\ndata_dir = {:?}\nnode = \"node{n}\"\nindexers = {:?}\n\
             [[agent.inputs]]\nkind = \"files\"\nglob = {:?}\ntenant = \"default\"\n",
            self.folder.join(format!("agent{n}")).display().to_string(),
            self.urls(),
            format!("{logs}/*.log"),
        );
        let mut server = self.spawn("agent", &format!("agent{n}"), &section, "agent.status_listen");
        server.wait_until_ready().await;
        server
    }

    async fn admin(&self, arguments: &[&str]) -> String {
        let config = self.config("admin", "");
        let all = [&["admin"], arguments, &["--config", &config]].concat();
        run_with(&all, &self.environment()).await.fine().trim().to_owned()
    }
}

/// Sends numbered batches of one line each, one after the other, each until it is acknowledged by somebody.
async fn probe(urls: Vec<String>, acknowledged: Arc<AtomicUsize>, stop: Arc<AtomicBool>) {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(3)).build().unwrap();
    let mut turn = 0;
    while !stop.load(Ordering::SeqCst) {
        let sequence = acknowledged.load(Ordering::SeqCst) + 1;
        let record = json!({ "body": { "stringValue": format!("probe {sequence}") } });
        let body = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] });
        let sent = client
            .post(format!("{}/v1/logs", urls[turn % urls.len()]))
            .bearer_auth("agent-secret")
            .header("x-heliograph-tenant", "default")
            .header("x-heliograph-producer", "probe")
            .header("x-heliograph-epoch", 1)
            .header("x-heliograph-sequence", sequence)
            .json(&body)
            .send()
            .await;
        match sent {
            Ok(answer) if answer.status() == StatusCode::OK => {
                acknowledged.store(sequence, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        turn += 1;
    }
}

/// How the searches went: complete, incomplete, refused.
type Counts = [usize; 3];

/// Searches for the probes again and again.
async fn search(
    base: String,
    token: String,
    acknowledged: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> Counts {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(70)).build().unwrap();
    let mut counts = Counts::default();
    while !stop.load(Ordering::SeqCst) {
        let before = acknowledged.load(Ordering::SeqCst);
        let url = format!("{base}/api/v1/search?q=probe&limit=10000");
        let answer = client.request(Method::GET, url).bearer_auth(&token).send().await.unwrap();
        if answer.status() == StatusCode::OK {
            let body: Value = answer.json().await.unwrap();
            let found: Vec<&str> = body["records"]
                .as_array()
                .unwrap()
                .iter()
                .map(|record| record["message"].as_str().unwrap())
                .collect();
            let distinct: BTreeSet<&str> = found.iter().copied().collect();
            assert_eq!(distinct.len(), found.len(), "a record was shown twice: {}", body["stats"]);
            if body["complete"] == true {
                counts[0] += 1;
                let missing: Vec<_> = (1..=before)
                    .map(|n| format!("probe {n}"))
                    .filter(|text| !distinct.contains(text.as_str()))
                    .collect();
                assert_eq!(missing, [""; 0], "of {before} in a complete answer: {}", body["stats"]);
            } else {
                counts[1] += 1;
                assert!(body["stats"]["unreachable"].is_array(), "it says who is missing: {body}");
            }
        } else {
            assert!(answer.status().is_server_error(), "{}", answer.status());
            counts[2] += 1;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    counts
}

#[expect(clippy::too_many_lines, reason = "one story from its beginning to its end")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_parts_fail_keeps_every_line_once() {
    let mut random = Random::new("cluster");
    let (seconds, kill_seconds) = (parameter("SECONDS", 40), parameter("KILL_SECONDS", 5));
    let writers_count = usize::try_from(parameter("WRITERS", 4)).unwrap();
    let place = Place::new();
    let folder = place.logs().parent().unwrap().to_owned();
    let postgres =
        tokio::task::spawn_blocking(|| postgres_server::Server::start("-c fsync=off")).await.unwrap();
    let postgres = Arc::new(postgres);
    let store = s3::Server::start(&folder.join("s3")).await;
    let proxy = Proxy::start(store.address()).await;
    std::fs::write(folder.join("agent-token"), "agent-secret").unwrap();
    std::fs::write(folder.join("cluster-token"), "cluster-secret").unwrap();
    let shared = format!(
        "[catalog]\nurl = {:?}\n[storage]\nurl = \"s3://{}/it\"\nendpoint = {:?}\n[keys]\nmaster_key_file = {:?}\n\
         [auth]\nagent_token_file = {:?}\ncluster_token_file = {:?}\n[telemetry]\nmetrics_open = true\n",
        postgres.new_database(None).await,
        s3::BUCKET,
        proxy.url(),
        folder.join("master.key"),
        folder.join("agent-token"),
        folder.join("cluster-token"),
    );
    // Taken and let go again: a replaced indexer must be found where its predecessor was.
    let free = |_| std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners: Vec<_> = (0..INDEXERS).map(free).collect();
    let ports = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
    drop(listeners);
    let cluster = Cluster { folder, shared, ports };

    cluster.admin(&["tenant", "create", "default"]).await;
    let token = cluster.admin(&["token", "create", "--tenant", "default", "--role", "viewer"]).await;
    let mut indexers = Vec::new();
    for slot in 0..INDEXERS {
        let mut server = cluster.indexer(slot);
        server.wait_until_ready().await;
        indexers.push(server);
    }
    let queries = [cluster.query("query0").await, cluster.query("query1").await];
    let logs = [place.logs().join("a"), place.logs().join("b")];
    logs.iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
    let agents = [
        cluster.agent(0, logs[0].to_str().unwrap()).await,
        cluster.agent(1, logs[1].to_str().unwrap()).await,
    ];
    let writers = logs.clone().map(|folder| Writers::start(&folder, writers_count.div_ceil(2), Some(3_000)));

    let (acknowledged, stop): (Arc<AtomicUsize>, Arc<AtomicBool>) = Default::default();
    let mut probing = JoinSet::new();
    probing.spawn(probe(cluster.urls(), Arc::clone(&acknowledged), Arc::clone(&stop)));
    let mut searching = JoinSet::new();
    for query in &queries {
        let base = query.base("query.listen");
        searching.spawn(search(base, token.clone(), Arc::clone(&acknowledged), Arc::clone(&stop)));
    }

    let began = Instant::now();
    let (mut kills, mut restarts) = (0, 0);
    while began.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(random.millis(kill_seconds * 500, kill_seconds * 1_500)).await;
        let share = began.elapsed().as_millis() * 100 / u128::from(seconds * 1_000);
        // The store is in trouble from a third to a half of the time; the catalog crashes before and after.
        proxy.faults().set(if (33..53).contains(&share) { 20 } else { 0 }, Fault::quick());
        if (share >= 20 && restarts == 0) || (share >= 65 && restarts == 1) {
            restarts += 1;
            eprintln!("cluster: PostgreSQL crashes");
            let postgres = Arc::clone(&postgres);
            tokio::task::spawn_blocking(move || {
                postgres.crash();
                postgres.start_again();
            })
            .await
            .unwrap();
        } else {
            let slot = usize::try_from(random.below(INDEXERS as u64)).unwrap();
            eprintln!("cluster: indexer {slot} is killed");
            std::mem::replace(&mut indexers[slot], cluster.indexer(slot)).kill().await;
            kills += 1;
        }
        if let Some(failed) = searching.try_join_next() {
            panic!("a search ended: {failed:?}");
        }
    }
    proxy.faults().clear();
    // One that lost its port to its dying predecessor, or its lease, is started again, as a supervisor does.
    for (slot, server) in indexers.iter_mut().enumerate() {
        if server.has_ended() {
            eprintln!("cluster: indexer {slot} had ended:\n{}", server.said());
            *server = cluster.indexer(slot);
        }
        server.wait_until_ready().await;
    }

    let written: Vec<Vec<(String, usize)>> = writers.map(Writers::finish).into();
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.store(true, Ordering::SeqCst);
    probing.join_all().await;
    let searches = searching.join_all().await;
    let probes = acknowledged.load(Ordering::SeqCst);
    let lines: usize = written.iter().flatten().map(|(_, count)| count).sum();
    eprintln!(
        "cluster: {kills} kills, {restarts} crashes of PostgreSQL, {} faults of S3",
        proxy.faults().count()
    );
    eprintln!(
        "cluster: {lines} lines, {probes} probes; searches complete, incomplete, refused: {searches:?}"
    );
    assert!(searches.iter().all(|counts| counts[0] > 0), "no search was complete: {searches:?}");

    // Both nodes: all lines, once, in order.
    for query in &queries {
        let deadline = Instant::now() + PATIENCE;
        let found = loop {
            let records = query.export(&token).await;
            if records.len() >= lines + probes || Instant::now() > deadline {
                break records;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        let said: Vec<(Option<&str>, &str, &str)> = found
            .iter()
            .map(|record| {
                let (name, rest) = record["message"].as_str().unwrap().split_once(' ').unwrap();
                (record["node"].as_str(), name, rest)
            })
            .collect();
        let of = |node: Option<&str>, name: &str| -> Vec<String> {
            let of_it = said.iter().filter(|(n, of, _)| *n == node && *of == name);
            of_it.map(|(_, _, rest)| (*rest).to_owned()).collect()
        };
        for (n, all) in written.iter().enumerate() {
            for (name, count) in all {
                assert_same(name, &of(Some(&format!("node{n}")), name), &expected(*count));
            }
        }
        let mut probed = of(None, "probe");
        probed.sort_by_key(|n| n.parse::<usize>().unwrap());
        let numbers: Vec<String> = (1..=probes).map(|n| n.to_string()).collect();
        assert_same("probe", &probed, &numbers);
    }
    for server in agents.into_iter().chain(indexers).chain(queries) {
        server.stop().await;
    }
}
