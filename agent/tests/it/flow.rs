//! From each kind of file to the indexer.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heliograph_agent::{Config, Input, NamespaceFrom};
use heliograph_model::level::Level;
use heliograph_model::record::Record;
use heliograph_model::tenant::TenantId;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::indexer::{Indexer, Real, config};

/// An agent in this process.
pub(crate) struct Agent {
    tasks: JoinSet<Result<(), heliograph_agent::Error>>,
    stop: CancellationToken,
    ready: watch::Receiver<bool>,
    registry: prometheus::Registry,
}

impl Agent {
    /// Starts, and waits until all inputs were scanned.
    pub(crate) async fn start(dir: &Path, url: &str, inputs: Vec<Input>) -> Self {
        Self::start_with(config(dir, url, inputs)).await
    }

    /// The same with a config of its own.
    pub(crate) async fn start_with(config: Config) -> Self {
        let (ready_tx, ready) = watch::channel(false);
        let (stop, registry) = (CancellationToken::new(), prometheus::Registry::new());
        let (token, metrics) = (stop.clone(), registry.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(
            async move { heliograph_agent::run(config, Arc::new(Real), &metrics, ready_tx, token).await },
        );
        let mut agent = Self { tasks, stop, ready, registry };
        agent.ready.wait_for(|ready| *ready).await.unwrap();
        agent
    }

    /// Stops, and waits for the end.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        self.tasks.join_next().await.unwrap().unwrap().unwrap();
    }

    /// The sum of a metric's values.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|f| f.name() == name);
        let values = family.into_iter().flat_map(|f| f.get_metric());
        values.map(|m| m.get_counter().get_value() + m.get_gauge().get_value()).sum()
    }

    /// Batches with this answer.
    pub(crate) fn batches(&self, answer: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|f| f.name() == "heliograph_agent_batches_total");
        let is_it = |m: &&prometheus::proto::Metric| m.get_label().iter().any(|l| l.value() == answer);
        let metric = family.and_then(|f| f.get_metric().iter().find(is_it).cloned());
        metric.map_or(0.0, |m| m.get_counter().get_value())
    }
}

/// Adds text to a file, which need not be there.
pub(crate) fn append(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Plain files below `dir`.
pub(crate) fn files(dir: &Path, glob: &str) -> Vec<Input> {
    vec![Input::Files {
        glob: dir.join(glob).to_str().unwrap().to_owned(),
        tenant: TenantId::parse("team-a").unwrap(),
        component: None,
    }]
}

pub(crate) fn records(indexer: &Indexer, tenant: &str) -> Vec<Record> {
    let indexed = indexer.indexed.lock();
    let of_tenant = indexed.records.iter().filter(|(t, _)| t == tenant);
    let mut records: Vec<_> = of_tenant.map(|(_, record)| record.clone()).collect();
    records.sort_by_key(Record::key);
    records
}

pub(crate) fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|r| &*r.message).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_before_and_after_the_start_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let indexer = Indexer::start().await;
    let path = dir.path().join("logs/app.log");
    append(&path, "one\ntwo\n");
    let agent = Agent::start(dir.path(), &indexer.url, files(dir.path(), "logs/*.log")).await;
    indexer.wait_for(2).await;
    append(&path, "three\n");
    append(&dir.path().join("logs/late.log"), "of a new file\n");
    indexer.wait_for(4).await;
    append(&path, "four\n");
    agent.stop().await;
    append(&path, "five\n");
    let agent = Agent::start(dir.path(), &indexer.url, files(dir.path(), "logs/*.log")).await;
    indexer.wait_for(6).await;
    agent.stop().await;
    let found = records(&indexer, "team-a");
    let (app, late): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|r| r.source.path.as_deref().unwrap().ends_with("app.log"));
    assert_eq!(texts(&app), ["one", "two", "three", "four", "five"]);
    assert_eq!(texts(&late), ["of a new file"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_and_tasks_carry_what_their_paths_say() {
    let dir = tempfile::tempdir().unwrap();
    let indexer = Indexer::start().await;
    let pods = dir.path().join("pods");
    let container = pods.join("team-b_airflow-scheduler-0_0a1b/scheduler/0.log");
    let at = "2026-11-23T22:03:16.012523008Z";
    append(
        &container,
        &format!(
            "{at} stdout P {{\"asctime\": \"2026-11-23T22:03:16.012+0000\", \"levelname\": \"ERROR\", \n\
             {at} stderr F a warning between\n\
             {at} stdout F \"message\": \"it failed\", \"dag_id\": \"d\", \"tenant\": \"other\"}}\n"
        ),
    );
    let tasks = dir.path().join("tasks");
    let task = tasks.join("team-c/dag_id=etl/run_id=manual__1/task_id=load.x/map_index=2/attempt=3.log");
    append(
        &task,
        "{\"timestamp\":\"2026-11-23T22:02:02.776834Z\",\"level\":\"info\",\"event\":\"printed\",\"logger\":\"task.stdout\"}\n",
    );
    let inputs = vec![
        Input::Containers { root: pods },
        Input::Tasks { root: tasks, namespace: NamespaceFrom::FirstPathElement },
    ];
    let agent = Agent::start(dir.path(), &indexer.url, inputs).await;
    indexer.wait_for(3).await;
    agent.stop().await;

    let found = records(&indexer, "team-b");
    assert_eq!(texts(&found), ["it failed", "a warning between"]);
    let first = found.first().unwrap();
    assert_eq!((first.level, first.identity.dag_id.as_deref()), (Some(Level::Error), Some("d")));
    let source = &first.source;
    assert_eq!(source.component.as_ref().unwrap().as_str(), "scheduler");
    assert_eq!(
        (source.namespace.as_deref(), source.pod.as_deref(), source.node.as_deref()),
        (Some("team-b"), Some("airflow-scheduler-0"), Some("node-1"))
    );
    assert!(first.attributes.as_json().contains("\"tenant\":\"other\""));

    let found = records(&indexer, "team-c");
    assert_eq!(texts(&found), ["printed"]);
    let identity = &found.first().unwrap().identity;
    assert_eq!(
        (identity.dag_id.as_deref(), identity.task_id.as_deref(), identity.run_id.as_deref()),
        (Some("etl"), Some("load.x"), Some("manual__1"))
    );
    assert_eq!((identity.map_index, identity.try_number), (Some(2), Some(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_counted_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let indexer = Indexer::start().await;
    let logs = dir.path().join("logs");
    append(&logs.join("good.log"), "good\n");
    // Root reads everything: a link to nowhere stands for what cannot be opened.
    symlink("nowhere", logs.join("link.log")).unwrap();
    append(&logs.join("denied.log"), "denied\n");
    fs::set_permissions(logs.join("denied.log"), fs::Permissions::from_mode(0o000)).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(logs.join("fifo.log")).status().unwrap().success());
    let agent = Agent::start(dir.path(), &indexer.url, files(dir.path(), "logs/*.log")).await;
    indexer.wait_for(1).await;
    let denied = fs::File::open(logs.join("denied.log")).is_err();
    if denied {
        assert!(agent.metric("heliograph_agent_unreadable_files_total") >= 1.0);
    }
    fs::set_permissions(logs.join("denied.log"), fs::Permissions::from_mode(0o600)).unwrap();
    indexer.wait_for(2).await;
    agent.stop().await;
    let found = records(&indexer, "team-a");
    let mut texts = texts(&found);
    texts.sort_unstable();
    assert_eq!(texts, ["denied", "good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_indexer_that_comes_late_gets_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("logs/app.log");
    let lines: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    append(&path, &lines);
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let agent = Agent::start(dir.path(), &format!("http://{gone}"), files(dir.path(), "logs/*.log")).await;
    agent.stop().await;
    let indexer = Indexer::start().await;
    let agent = Agent::start(dir.path(), &indexer.url, files(dir.path(), "logs/*.log")).await;
    indexer.wait_for(20_000).await;
    agent.stop().await;
    let found = records(&indexer, "team-a");
    let expected: Vec<String> = (0..20_000).map(|n| format!("line {n}")).collect();
    assert_eq!(texts(&found), expected);
}

#[tokio::test]
async fn mistakes_are_named_and_one_agent_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let run = |config| async {
        let (ready, _) = watch::channel(false);
        let registry = prometheus::Registry::new();
        heliograph_agent::run(config, Arc::new(Real), &registry, ready, CancellationToken::new())
            .await
            .unwrap_err()
            .to_string()
    };
    let error = run(config(dir.path(), "http://127.0.0.1:1", files(dir.path(), "[x.log"))).await;
    assert!(error.starts_with("invalid glob \""), "{error}");
    let error = run(config(dir.path(), "nonsense", vec![])).await;
    assert!(error.starts_with("invalid indexer \"nonsense\": "), "{error}");
    let agent = Agent::start(dir.path(), "http://127.0.0.1:1", vec![]).await;
    let error = run(config(dir.path(), "http://127.0.0.1:1", vec![])).await;
    assert!(error.ends_with("is in use by another agent"), "{error}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_beyond_its_byte_rate_waits_and_nobody_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let indexer = Indexer::start().await;
    let line = |n: usize| format!("2026-11-02T06:00:00Z stdout F {n:0>200}\n");
    let pods = dir.path().join("pods");
    // Twice what may be read at once.
    let lines = 2 << 20 >> 8;
    append(&pods.join("noisy_pod_1/main/0.log"), &(0..lines).map(line).collect::<String>());
    append(&pods.join("quiet_pod_2/main/0.log"), &line(7));
    let mut config = config(dir.path(), &indexer.url, vec![Input::Containers { root: pods }]);
    config.tenant_bytes_per_second = Some(256 << 10);
    let agent = Agent::start_with(config).await;
    indexer.wait_for(lines + 1).await;
    agent.stop().await;
    assert_eq!((records(&indexer, "noisy").len(), records(&indexer, "quiet").len()), (lines, 1));
    let arrived = indexer.indexed.lock();
    let quiet = arrived.records.iter().position(|(tenant, _)| tenant == "quiet").unwrap();
    // The last half of the noisy one's is read a second later and more.
    assert!(quiet < lines / 2 + 2_000, "{quiet}");
}
