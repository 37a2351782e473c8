//! The indexer is away for so long that the spool is not enough.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use heliograph_agent::{Config, Input, WhenFull};
use heliograph_model::record::Record;
use heliograph_model::tenant::TenantId;
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::flow::{append, files};
use crate::indexer::{Indexer, Real, config};

const BUDGET: u64 = 1 << 20;
const LINES: usize = 60_000;
const QUIET_EVERY: usize = 500;
const FILES: &str = "heliograph_agent_followed_files";

/// A line that hardly compresses.
fn line(n: usize) -> String {
    let mut seed = n as u64 + 1;
    let noise: String = (0..12)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{:016x}", seed ^ (seed >> 31))
        })
        .collect();
    format!("{n} {noise}\n")
}

/// An agent with a spool that is much too small, and the noisy and the quiet tenant's files.
fn small(dir: &Path, url: &str) -> Config {
    let inputs = |name: &str| Input::Files {
        glob: dir.join(name).join("*.log").to_str().unwrap().to_owned(),
        tenant: TenantId::parse(name).unwrap(),
        component: None,
    };
    Config {
        spool_bytes_max: BUDGET,
        spool_when_full: WhenFull::DropOldest { patience: Duration::from_millis(50) },
        batch_bytes_max: 16 << 10,
        ..config(dir, url, vec![inputs("noisy"), inputs("quiet")])
    }
}

/// Several times the budget, compressed.
fn write_logs(dir: &Path) {
    for (name, every) in [("noisy", 1), ("quiet", QUIET_EVERY)] {
        fs::create_dir(dir.join(name)).unwrap();
        let text: String = (0..LINES).step_by(every).map(line).collect();
        fs::write(dir.join(name).join("app.log"), text).unwrap();
    }
}

struct Agent {
    tasks: JoinSet<Result<(), heliograph_agent::Error>>,
    stop: CancellationToken,
    registry: Registry,
}

impl Agent {
    fn start(config: Config) -> Self {
        let (ready, _) = watch::channel(false);
        let (stop, registry, mut tasks) = (CancellationToken::new(), Registry::new(), JoinSet::new());
        let (token, metrics) = (stop.clone(), registry.clone());
        tasks.spawn(
            async move { heliograph_agent::run(config, Arc::new(Real), &metrics, ready, token).await },
        );
        Self { tasks, stop, registry }
    }

    async fn stop(mut self) {
        self.stop.cancel();
        self.tasks.join_next().await.unwrap().unwrap().unwrap();
    }

    fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|f| f.name() == name);
        let values = family.into_iter().flat_map(|f| f.get_metric());
        values.map(|m| m.get_counter().get_value() + m.get_gauge().get_value()).sum()
    }

    /// Waits until all files are read, for a minute at most; the spool stays within its budget meanwhile.
    async fn wait_for_read_all(&self) {
        for _ in 0..6000 {
            assert!(self.metric("heliograph_agent_spool_bytes") <= BUDGET as f64);
            // Set at each scan, the first of which is before anything is read.
            let (files, lag) = (self.metric(FILES), self.metric("heliograph_agent_lag_bytes"));
            if files >= 2.0 && lag == 0.0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} bytes are not read", self.metric("heliograph_agent_lag_bytes"));
    }
}

/// What an indexer got.
#[derive(Default)]
struct Received {
    /// By tenant: the numbers of its lines.
    found: BTreeMap<String, Vec<usize>>,
    /// Lines that the noisy tenant's gaps say.
    gap: usize,
}

impl Received {
    fn add(&mut self, records: Vec<(String, Record)>) {
        for (tenant, record) in records {
            let attributes: serde_json::Value =
                serde_json::from_str(record.attributes.as_json()).unwrap_or_default();
            match attributes["heliograph.gap"]["lines"].as_u64() {
                Some(lines) => {
                    assert_eq!(tenant, "noisy");
                    assert!(record.message.starts_with(&format!("{lines} lines dropped, from ")));
                    self.gap += usize::try_from(lines).unwrap();
                }
                None => {
                    let number = record.message.split(' ').next().unwrap().parse().unwrap();
                    self.found.entry(tenant).or_default().push(number);
                }
            }
        }
    }

    fn is_all(&self) -> bool {
        let of = |tenant: &str| self.found.get(tenant).map_or(0, Vec::len);
        of("noisy") + self.gap >= LINES && of("quiet") >= LINES / QUIET_EVERY
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gap_is_what_is_missing_and_the_quiet_tenant_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let agent = Agent::start(small(dir.path(), &format!("http://{gone}")));
    write_logs(dir.path());
    agent.wait_for_read_all().await;
    agent.stop().await;

    let indexer = Indexer::start().await;
    let agent = Agent::start(small(dir.path(), &indexer.url));
    check(&indexer, agent).await;
}

/// Waits until all is there, and looks at it.
async fn check(indexer: &Indexer, agent: Agent) {
    let mut received = Received::default();
    for _ in 0..6000 {
        received.add(std::mem::take(&mut indexer.indexed.lock().records));
        if received.is_all() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What would come twice would come now.
    tokio::time::sleep(Duration::from_millis(300)).await;
    agent.stop().await;
    received.add(std::mem::take(&mut indexer.indexed.lock().records));
    let Received { found, gap } = received;
    assert_eq!(found["quiet"], (0..LINES).step_by(QUIET_EVERY).collect::<Vec<_>>());
    let noisy = &found["noisy"];
    assert!(noisy.is_sorted_by(|a, b| a < b), "each once, in order");
    assert!(noisy.len() < LINES / 2, "{} lines fit into the budget", noisy.len());
    assert_eq!(noisy.len() + gap, LINES);
}

const ROLE: &str = "HELIOGRAPH_TEST_OUTAGE";

/// Not a test of its own: an agent's process.
#[test]
fn the_agent() {
    #[expect(clippy::disallowed_methods, reason = "the parent says so to its child")]
    let Ok(role) = std::env::var(ROLE) else { return };
    let (dir, url) = role.split_once(' ').unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (ready, _) = watch::channel(false);
    let (stop, registry) = (CancellationToken::new(), Registry::new());
    let run = heliograph_agent::run(small(Path::new(dir), url), Arc::new(Real), &registry, ready, stop);
    runtime.block_on(run).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_drops_it_loses_no_gap_and_counts_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    write_logs(dir.path());
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut random = u64::from(std::process::id());
    println!("seed {random}");
    for _ in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "outage::the_agent", "--nocapture"])
            .env(ROLE, format!("{} http://{gone}", dir.path().display()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis(100 + (random >> 33) % 700)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let agent = Agent::start(small(dir.path(), &format!("http://{gone}")));
    agent.wait_for_read_all().await;
    agent.stop().await;
    let indexer = Indexer::start().await;
    let agent = Agent::start(small(dir.path(), &indexer.url));
    check(&indexer, agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_damaged_read_positions_it_goes_on_loses_nothing_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let indexer = Indexer::start().await;
    let path = dir.path().join("logs/app.log");
    let start = || crate::flow::Agent::start(dir.path(), &indexer.url, files(dir.path(), "logs/*.log"));
    append(&path, "one\ntwo\n");
    let agent = start().await;
    indexer.wait_for(2).await;
    agent.stop().await;
    let checkpoint = dir.path().join("data/spool/checkpoint");
    let mut bytes = fs::read(&checkpoint).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&checkpoint, bytes).unwrap();
    append(&path, "three\n");
    let agent = start().await;
    indexer.wait_for(5).await;
    assert_eq!(agent.metric("heliograph_agent_checkpoints_damaged_total"), 1.0);
    agent.stop().await;
    // And from then on each once.
    append(&path, "four\n");
    let agent = start().await;
    indexer.wait_for(6).await;
    assert_eq!(agent.metric("heliograph_agent_checkpoints_damaged_total"), 0.0);
    agent.stop().await;
    let kept: Vec<_> = indexer.indexed.lock().records.iter().map(|(_, r)| r.message.to_string()).collect();
    assert_eq!(kept, ["one", "two", "one", "two", "three", "four"]);
}
