//! Promise: a cluster whose parts die, stop and fail keeps every line once, and says so of no search that lacks one.
//!
//! Here is what its tests stand on: PostgreSQL, an S3 server behind a proxy that makes faults, and processes of
//! each role with configurations of their own.

mod discovery;
mod faults;
mod schedule;
mod takeover;
mod watchers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_testbed::faults::http::Proxy;
use heliograph_testbed::s3;
use heliograph_testbed::watch::Watch;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::command::{heliograph, run_with};
use crate::server::{CANARIES, PASSWORD, PATIENCE, Place, Server};

const INDEXERS: usize = 3;
const AGENTS: usize = 2;
const QUERIES: usize = 2;
const AGENT_TOKEN: &str = "agent-secret";

/// What all processes share.
struct Cluster {
    _place: Place,
    folder: PathBuf,
    store: Option<s3::Server>,
    /// Before the store.
    proxy: Proxy,
    /// The part of the configuration that is the same for all.
    shared: String,
    /// Indexers' settings beside where they listen.
    indexer: &'static str,
    /// Where indexers listen: one that is replaced is found where its predecessor was.
    ports: Vec<u16>,
    /// Where query nodes listen, likewise, and what reads along before them.
    query_ports: Vec<u16>,
    watches: Vec<Arc<Watch>>,
    /// Reads tenant `default`.
    token: String,
}

impl Cluster {
    /// With an empty catalog, an empty store and the tenant `default`; no process runs yet.
    async fn new(catalog: String, indexers: usize, indexer: &'static str) -> Self {
        let place = Place::new();
        let folder = place.logs().parent().unwrap().to_owned();
        let store = s3::Server::start(&folder.join("s3")).await;
        let proxy = Proxy::start(store.address()).await;
        std::fs::write(folder.join("agent-token"), AGENT_TOKEN).unwrap();
        std::fs::write(folder.join("cluster-token"), "cluster-secret").unwrap();
        let shared = format!(
            "[catalog]\nurl = {catalog:?}\n[storage]\nurl = \"s3://{}/it\"\nendpoint = {:?}\n\
             [keys]\nmaster_key_file = {:?}\n\
             [auth]\nagent_token_file = {:?}\ncluster_token_file = {:?}\n[telemetry]\nmetrics_open = true\n",
            s3::BUCKET,
            proxy.url(),
            folder.join("master.key"),
            folder.join("agent-token"),
            folder.join("cluster-token"),
        );
        let mut ports = free_ports(indexers + QUERIES);
        let query_ports = ports.split_off(indexers);
        let watch = |port: &u16| Arc::new(Watch::over(([127, 0, 0, 1], *port).into(), CANARIES.clone()));
        let watches = query_ports.iter().map(watch).collect();
        let (store, token) = (Some(store), String::new());
        let mut cluster =
            Self { _place: place, folder, store, proxy, shared, indexer, ports, query_ports, watches, token };
        cluster.admin(&["tenant", "create", "default"]).await;
        cluster.token = cluster.admin(&["token", "create", "--tenant", "default", "--role", "viewer"]).await;
        cluster
    }

    fn config(&self, name: &str, section: &str) -> String {
        let file = self.folder.join(format!("{name}.toml")).display().to_string();
        std::fs::write(&file, format!("{section}{}", self.shared)).unwrap();
        file
    }

    fn environment() -> [(&'static str, &'static str); 3] {
        [
            ("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY),
            ("HELIOGRAPH_BOOTSTRAP__ADMIN_PASSWORD", PASSWORD),
        ]
    }

    fn spawn(&self, role: &str, name: &str, section: &str, main: &'static str) -> Server {
        let mut command = heliograph();
        command.args([role, "--config", &self.config(name, section)]).envs(Self::environment());
        Server::spawn(command, main)
    }

    async fn admin(&self, arguments: &[&str]) -> String {
        let config = self.config("admin", "");
        let all = [&["admin"], arguments, &["--config", &config]].concat();
        run_with(&all, &Self::environment()).await.fine().trim().to_owned()
    }

    /// Starts an indexer and does not wait. Tests talk to its port itself, whichever indexer has it.
    fn spawn_indexer(&self, slot: usize) -> Server {
        let section = format!("[indexer]\nlisten = \"127.0.0.1:{}\"\n{}", self.ports[slot], self.indexer);
        self.spawn("indexer", &format!("indexer{slot}"), &section, "indexer.listen")
    }

    /// With a record of a neighbour, whose canary no answer may hold.
    async fn indexer(&self, slot: usize) -> Server {
        let mut server = self.spawn_indexer(slot);
        server.wait_until_ready().await;
        server.plant(AGENT_TOKEN).await;
        server
    }

    /// Starts a query node and does not wait.
    fn spawn_query(&self, n: usize) -> Server {
        let section = format!("[query]\nlisten = \"127.0.0.1:{}\"\n", self.query_ports[n]);
        self.spawn("query", &format!("query{n}"), &section, "query.listen").behind(&self.watches[n])
    }

    async fn query(&self, n: usize) -> Server {
        let mut server = self.spawn_query(n);
        server.wait_until_ready().await;
        server
    }

    /// Starts an agent that follows the logs of a folder of its own, and does not wait.
    fn spawn_agent(&self, n: usize) -> Server {
        let section = format!(
            "[agent]\nstatus_listen = \"127.0.0.1:0\"\ndata_dir = {:?}\nnode = \"node{n}\"\nindexers = {:?}\n\
             [[agent.inputs]]\nkind = \"files\"\nglob = {:?}\ntenant = \"default\"\n",
            self.folder.join(format!("agent{n}")),
            self.urls(),
            self.logs(n).join("*.log"),
        );
        self.spawn("agent", &format!("agent{n}"), &section, "agent.status_listen")
    }

    /// What an agent follows.
    fn logs(&self, n: usize) -> PathBuf {
        let folder = self.folder.join(format!("logs/node{n}"));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Where indexers are, whether they run or not.
    fn urls(&self) -> Vec<String> {
        self.ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect()
    }

    /// Restarts the store on its address, over what it kept.
    async fn restart_store(&mut self) {
        if let Some(store) = self.store.take() {
            let address = store.address();
            store.stop().await;
            self.store = Some(s3::Server::start_on(&self.folder.join("s3"), address).await);
        }
    }
}

/// Taken and let go again.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|l| l.local_addr().unwrap().port()).collect()
}

/// Kills a process, if it still runs, and starts another in its place.
async fn replace(server: &mut Server, start: impl FnOnce() -> Server) {
    if !server.has_ended() {
        server.signal(Signal::KILL);
        server.ended().await;
    }
    *server = start();
}

/// Sends one line to an indexer under a sequence of producer `name`; whether it is acknowledged.
async fn send(client: &reqwest::Client, url: &str, name: &str, sequence: usize) -> reqwest::Result<u16> {
    let record = json!({ "body": { "stringValue": format!("{name} {sequence}") } });
    let body = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] });
    let answer = client
        .post(format!("{url}/v1/logs"))
        .bearer_auth(AGENT_TOKEN)
        .header("x-heliograph-tenant", "default")
        .header("x-heliograph-producer", name)
        .header("x-heliograph-epoch", 1)
        .header("x-heliograph-sequence", sequence)
        .json(&body)
        .send()
        .await?;
    Ok(answer.status().as_u16())
}

/// Messages of an answer's records.
fn messages(answer: &Value) -> Vec<&str> {
    let records = answer["records"].as_array().unwrap();
    records.iter().map(|record| record["message"].as_str().unwrap()).collect()
}

/// Sends a line until it is acknowledged.
async fn acknowledged(client: &reqwest::Client, url: &str, name: &str, sequence: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = send(client, url, name, sequence).await;
        match answer {
            Ok(200) => return,
            Ok(429 | 503) | Err(_) => {}
            Ok(status) => panic!("{name} {sequence} at {url}: {status}"),
        }
        assert!(Instant::now() < deadline, "{name} {sequence} at {url}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether an answer is complete, and the numbers that it holds of a name, in order.
async fn search(query: &Server, token: &str, name: &str) -> (bool, Vec<usize>) {
    let body = query.get(token, &format!("/api/v1/search?limit=10000&q={name}")).await;
    let prefix = format!("{name} ");
    let number = |message: &str| message.strip_prefix(&prefix).unwrap().parse().unwrap();
    let mut found: Vec<usize> = messages(&body).into_iter().map(number).collect();
    found.sort_unstable();
    (body["complete"] == true, found)
}

/// The first complete answer; no answer before it shows anything twice.
async fn complete(query: &Server, token: &str, name: &str) -> Vec<usize> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (is_complete, found) = search(query, token, name).await;
        assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{name} is shown twice: {found:?}");
        if is_complete {
            return found;
        }
        assert!(Instant::now() < deadline, "no answer is complete:\n{}", query.said());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits for a complete answer: it must hold `NAME 1` to `NAME count`, each once.
async fn until_found(query: &Server, token: &str, name: &str, count: usize) {
    let found = complete(query, token, name).await;
    assert_eq!(found, (1..=count).collect::<Vec<_>>(), "{name} in a complete answer");
}
