//! Pods and namespaces from the API server: what they add to records, and that nothing is ever lost or held up by
//! them but what must be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use heliograph_agent::{Config, Input, NamespaceSelection, Otherwise, Rights, TenantRules};
use heliograph_model::level::Level;
use heliograph_model::record::Record;
use serde_json::{Value, json};

use crate::api_server::ApiServer;
use crate::flow::{Agent, append, records, texts};
use crate::indexer::{Indexer, config};

const AT: &str = "2026-11-23T22:03:16.012523008Z";

/// A test's directory, its indexer and its API server.
pub(crate) struct Site {
    pub dir: tempfile::TempDir,
    pub indexer: Indexer,
    pub api: ApiServer,
}

impl Site {
    pub(crate) async fn new(api: ApiServer) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), indexer: Indexer::start().await, api }
    }

    pub(crate) fn config(&self, rights: Rights) -> Config {
        let inputs = vec![Input::Containers { root: self.dir.path().join("pods") }];
        std::fs::create_dir_all(self.dir.path().join("pods")).unwrap();
        let mut config = config(self.dir.path(), &self.indexer.url, inputs);
        config.kubernetes = Some(self.api.access(self.dir.path(), rights));
        config
    }

    /// Tenants by the namespace label `h/tenant`, and no other rule.
    fn labelled(&self) -> Config {
        let tenants = TenantRules { label: Some("h/tenant".into()), ..TenantRules::default() };
        Config { tenants, ..self.config(Rights::Cluster) }
    }

    async fn start(&self) -> Agent {
        Agent::start_with(self.config(Rights::Cluster)).await
    }

    fn log(&self, path: &str, line: &str) {
        append(&self.log_path(path), &format!("{AT} stdout F {line}\n"));
    }

    fn log_path(&self, path: &str) -> PathBuf {
        self.dir.path().join("pods").join(path)
    }

    /// Writes lines until one of them becomes such a record.
    async fn until(&self, tenant: &str, path: &str, is_such: impl Fn(&Record) -> bool) -> Record {
        for n in 0..1500 {
            self.log(path, &format!("try {n}"));
            tokio::time::sleep(Duration::from_millis(10)).await;
            if let Some(found) = records(&self.indexer, tenant).into_iter().find(&is_such) {
                return found;
            }
        }
        panic!("no such record came");
    }
}

async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..1500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come true");
}

/// A pod of the KubernetesExecutor on `node-1`.
pub(crate) fn executor_pod(uid: &str) -> Value {
    json!({
        "metadata": {
            "name": "etl-load-1", "namespace": "team-b", "uid": uid,
            "labels": {
                "tier": "airflow", "component": "worker", "release": "air", "airflow_version": "3.1.0",
                "kubernetes_executor": "True", "dag_id": "etl", "task_id": "load", "try_number": "2",
                "run_id": "manual__2026-11-23T220313.0000000000-95bc4ab60",
            },
            "annotations": {"run_id": "manual__2026-11-23T22:03:13+00:00"},
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "base"}, {"name": "git-sync"}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "base", "image": "i", "imageID": "i", "ready": true, "restartCount": 0, "state": {"running": {}}},
        ]},
    })
}

fn namespace(name: &str, tenant: Option<&str>) -> Value {
    let labels = tenant.map_or(json!({}), |tenant| json!({"h/tenant": tenant}));
    json!({"metadata": {"name": name, "uid": format!("uid-of-{name}"), "labels": labels}})
}

/// With the container `base` terminated.
fn ended(mut pod: Value, restarts: u32, reason: &str, exit_code: i32) -> Value {
    pod["status"]["containerStatuses"][0]["restartCount"] = restarts.into();
    pod["status"]["containerStatuses"][0]["state"] = json!({"terminated": {
        "exitCode": exit_code, "reason": reason, "finishedAt": "2026-11-23T22:03:16Z",
    }});
    pod
}

fn component(record: &Record) -> &str {
    record.source.component.as_ref().unwrap().as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_come_late_improve_later_records() {
    let site = Site::new(ApiServer::start_away().await).await;
    let path = "team-b_etl-load-1_u1/base/0.log";
    site.log(path, "early");
    site.log("team-b_etl-load-1_u1/git-sync/0.log", "synced");
    let agent = site.start().await;
    site.indexer.wait_for(2).await;
    site.api.put("pods", executor_pod("u1"));
    site.api.come_back();
    let late = site.until("team-b", path, |r| component(r) == "worker").await;
    site.log(path, "{\"event\":\"of another\",\"level\":\"info\",\"dag_id\":\"other\",\"task_id\":\"load\"}");
    site.log("team-b_etl-load-1_u1/git-sync/0.log", "synced again");
    wait_until("the last lines", || {
        let found = records(&site.indexer, "team-b");
        ["of another", "synced again"].iter().all(|text| texts(&found).contains(text))
    })
    .await;
    wait_until("one pod shown", || agent.metric("heliograph_agent_pods_known") == 1.0).await;
    agent.stop().await;
    let found = records(&site.indexer, "team-b");
    let early = found.iter().find(|r| &*r.message == "early").unwrap();
    assert_eq!((component(early), &early.identity.dag_id), ("base", &None));
    assert_eq!(early.source.id, late.source.id);
    let identity = &late.identity;
    let texts = [&identity.dag_id, &identity.task_id, &identity.run_id].map(|id| id.as_deref().unwrap());
    assert_eq!(texts, ["etl", "load", "manual__2026-11-23T22:03:13+00:00"]);
    assert_eq!((identity.try_number, identity.map_index), (Some(2), None));
    let other = found.iter().find(|r| &*r.message == "of another").unwrap();
    assert_eq!((other.identity.dag_id.as_deref(), &other.identity.run_id), (Some("other"), &None));
    let sidecar = found.iter().find(|r| &*r.message == "synced again").unwrap();
    assert_eq!((component(sidecar), sidecar.identity.dag_id.as_deref()), ("git-sync", Some("etl")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_known_after_its_deletion_and_after_a_restart_without_the_api_server() {
    let site = Site::new(ApiServer::start().await).await;
    site.api.put("pods", executor_pod("u1"));
    site.api.put("pods", json!({
        "metadata": {"name": "elsewhere", "namespace": "team-b", "uid": "u9"}, "spec": {"nodeName": "node-2"},
    }));
    let agent = site.start().await;
    site.until("team-b", "team-b_etl-load-1_u1/base/0.log", |r| component(r) == "worker").await;
    site.api.delete("pods", "u1");
    site.api.put("pods", executor_pod("u2"));
    // What follows the deletion has arrived, so it has too.
    site.until("team-b", "team-b_etl-load-1_u2/base/0.log", |r| {
        component(r) == "worker" && r.source.path.as_deref().unwrap().contains("u2")
    })
    .await;
    site.log("team-b_etl-load-1_u1/base/1.log", "last line");
    wait_until("the last line", || texts(&records(&site.indexer, "team-b")).contains(&"last line")).await;
    wait_until("two pods shown", || agent.metric("heliograph_agent_pods_known") == 2.0).await;
    agent.stop().await;
    site.api.go_away();
    let agent = site.start().await;
    site.log("team-b_etl-load-1_u1/base/2.log", "after the restart");
    wait_until("the line after", || texts(&records(&site.indexer, "team-b")).contains(&"after the restart"))
        .await;
    agent.stop().await;
    for text in ["last line", "after the restart"] {
        let found = records(&site.indexer, "team-b");
        let record = found.iter().find(|r| &*r.message == text).unwrap();
        assert_eq!((component(record), record.identity.dag_id.as_deref()), ("worker", Some("etl")), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_server_every_line_arrives_by_its_path() {
    let site = Site::new(ApiServer::start_away().await).await;
    let agent = site.start().await;
    for n in 0..100 {
        site.log(&format!("team-b_p{}_u{}/base/0.log", n % 10, n % 10), &format!("line {n}"));
    }
    site.indexer.wait_for(100).await;
    wait_until("a failed watch", || agent.metric("heliograph_agent_watch_restarts_total") >= 1.0).await;
    agent.stop().await;
    let found = records(&site.indexer, "team-b");
    assert_eq!(found.len(), 100);
    assert!(found.iter().all(|r| r.source.namespace.as_deref() == Some("team-b") && component(r) == "base"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_api_server_delays_neither_lines_nor_the_stop() {
    let site = Site::new(ApiServer::start().await).await;
    site.api.fall_silent();
    let agent = site.start().await;
    site.log("team-b_p_u1/base/0.log", "one");
    site.indexer.wait_for(1).await;
    wait_until("asked", || !site.api.asked().is_empty()).await;
    agent.stop().await;
    assert_eq!(texts(&records(&site.indexer, "team-b")), ["one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oom_kill_is_the_last_record_of_its_log_exactly_once() {
    let site = Site::new(ApiServer::start().await).await;
    let path = "team-b_etl-load-1_u1/base/0.log";
    site.api.put("pods", executor_pod("u1"));
    let agent = site.start().await;
    site.log(path, "working");
    site.log(path, "still working");
    site.api.put("pods", ended(executor_pod("u1"), 0, "OOMKilled", 137));
    site.indexer.wait_for(3).await;
    assert_eq!(agent.metric("heliograph_agent_container_ends_total"), 1.0);
    agent.stop().await;
    // Over a restart with all it knows, over one without its pods, and when the status comes anew.
    let agent = site.start().await;
    site.api.compact();
    agent.stop().await;
    std::fs::remove_file(site.dir.path().join("data/pods")).unwrap();
    let agent = site.start().await;
    let mut again = ended(executor_pod("u1"), 0, "OOMKilled", 137);
    again["metadata"]["labels"]["new"] = "label".into();
    site.api.put("pods", again);
    site.log("team-b_other_u5/base/0.log", "of another");
    site.indexer.wait_for(4).await;
    // The next instance of the container runs and ends too.
    site.log("team-b_etl-load-1_u1/base/1.log", "once more");
    let mut twice = ended(executor_pod("u1"), 1, "Completed", 0);
    twice["status"]["containerStatuses"][0]["lastState"] =
        json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-11-23T22:03:16Z"}});
    site.api.put("pods", twice);
    site.indexer.wait_for(6).await;
    // What would come twice would come now.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(agent.metric("heliograph_agent_container_ends_total"), 1.0);
    agent.stop().await;

    let found = records(&site.indexer, "team-b");
    let (first, second): (Vec<_>, Vec<_>) = found
        .into_iter()
        .filter(|r| r.source.pod.as_deref() == Some("etl-load-1"))
        .partition(|r| r.source.path.as_deref().unwrap().ends_with("0.log"));
    assert_eq!(texts(&first), ["working", "still working", "container base ended: OOMKilled, exit code 137"]);
    assert_eq!(texts(&second), ["once more", "container base ended: Completed, exit code 0"]);
    let end = first.last().unwrap();
    assert_eq!((end.level, component(end)), (Some(Level::Error), "worker"));
    assert!(first.iter().all(|r| r.source.id == end.source.id && r.position <= end.position));
    assert_eq!(end.identity.dag_id.as_deref(), Some("etl"));
    let attributes: Value = serde_json::from_str(end.attributes.as_json()).unwrap();
    assert_eq!(
        attributes,
        json!({"event": "container_end", "exit_code": 137, "reason": "OOMKilled", "restart_count": 0,
            "pod_phase": "Running", "release": "air", "airflow_version": "3.1.0"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_a_pod_that_is_gone_is_told_once_and_kept_no_longer_than_needed() {
    let site = Site::new(ApiServer::start().await).await;
    site.api.put("pods", executor_pod("u1"));
    let agent = site.start().await;
    site.log("team-b_etl-load-1_u1/base/0.log", "only line");
    site.indexer.wait_for(1).await;
    site.api.put("pods", ended(executor_pod("u1"), 0, "Error", 1));
    site.api.delete("pods", "u1");
    std::fs::remove_dir_all(site.log_path("team-b_etl-load-1_u1")).unwrap();
    site.indexer.wait_for(2).await;
    agent.stop().await;
    let agent = site.start().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    agent.stop().await;
    let found = records(&site.indexer, "team-b");
    assert_eq!(texts(&found), ["only line", "container base ended: Error, exit code 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_never_seen_waits_and_then_arrives_whole() {
    let site = Site::new(ApiServer::start_away().await).await;
    site.log("team-b_p_u1/base/0.log", "one");
    append(&site.log_path("team-b_p_u1/base/0.log.20261123-220000"), &format!("{AT} stdout F zero\n"));
    let agent = Agent::start_with(site.labelled()).await;
    site.log("team-b_p_u1/base/0.log", "two");
    wait_until("held back", || agent.metric("heliograph_agent_namespaces_held_back") == 1.0).await;
    site.log("team-b_p_u1/base/0.log", "three");
    assert_eq!(site.indexer.indexed.lock().records.len(), 0);
    site.api.put("namespaces", namespace("team-b", Some("blue")));
    site.api.put("namespaces", namespace("team-c", None));
    site.api.come_back();
    site.indexer.wait_for(4).await;
    site.log("team-b_p_u1/base/0.log", "four");
    site.log("team-c_p_u2/base/0.log", "nobody's");
    site.indexer.wait_for(5).await;
    wait_until("none held back", || agent.metric("heliograph_agent_namespaces_held_back") == 0.0).await;
    agent.stop().await;
    // The answer holds over a restart without the API server.
    site.api.go_away();
    let agent = Agent::start_with(site.labelled()).await;
    site.log("team-b_p_u1/base/0.log", "five");
    site.indexer.wait_for(6).await;
    agent.stop().await;
    assert_eq!(texts(&records(&site.indexer, "blue")), ["zero", "one", "two", "three", "four", "five"]);
    assert_eq!(site.indexer.indexed.lock().records.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_changes_moves_later_lines_and_one_that_goes_stops_them() {
    let site = Site::new(ApiServer::start().await).await;
    let path = "team-b_p_u1/base/0.log";
    site.api.put("namespaces", namespace("team-b", Some("blue")));
    let agent = Agent::start_with(site.labelled()).await;
    site.log(path, "first");
    site.indexer.wait_for(1).await;
    site.api.put("namespaces", namespace("team-b", Some("red")));
    let moved = site.until("red", path, |_| true).await;
    site.api.put("namespaces", namespace("team-b", None));
    site.api.put("namespaces", namespace("team-c", Some("green")));
    site.until("green", "team-c_p_u2/base/0.log", |_| true).await;
    site.log(path, "in between");
    tokio::time::sleep(Duration::from_millis(500)).await;
    site.api.put("namespaces", namespace("team-b", Some("blue")));
    wait_until("the rest", || texts(&records(&site.indexer, "blue")).contains(&"in between")).await;
    agent.stop().await;
    let (blue, red) = (records(&site.indexer, "blue"), records(&site.indexer, "red"));
    assert!(!texts(&red).contains(&"in between"));
    assert_eq!(blue.first().unwrap().source.id, moved.source.id);
    // Every line once, whoever's it was.
    let mut all: Vec<String> = blue.iter().chain(&red).map(|r| r.message.to_string()).collect();
    let written = std::fs::read_to_string(site.log_path(path)).unwrap();
    let mut written: Vec<_> = written.lines().map(|l| l.rsplit_once("F ").unwrap().1.to_owned()).collect();
    all.sort();
    written.sort();
    assert_eq!(all, written);
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_go_on_after_disconnects_and_gone() {
    let site = Site::new(ApiServer::start().await).await;
    let agent = site.start().await;
    for (n, trouble) in [ApiServer::disconnect, ApiServer::compact, ApiServer::disconnect].iter().enumerate()
    {
        trouble(&site.api);
        let uid = format!("u{n}");
        site.api.put("pods", executor_pod(&uid));
        let path = format!("team-b_etl-load-1_{uid}/base/0.log");
        let is_this = |r: &Record| r.source.path.as_deref().unwrap().contains(&uid);
        site.until("team-b", &path, |r| is_this(r) && component(r) == "worker").await;
    }
    assert!(agent.metric("heliograph_agent_watch_restarts_total") >= 1.0);
    assert!(agent.metric("heliograph_agent_api_contact_age_seconds") < 60.0);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_cluster_wide_rights_only_the_listed_namespaces_are_asked_about() {
    let site = Site::new(ApiServer::start().await).await;
    site.api.put("pods", executor_pod("u1"));
    let list: std::collections::BTreeSet<_> = ["team-b".to_owned(), "team-c".to_owned()].into();
    let mut config = site.config(Rights::Namespaces(list.clone()));
    config.namespaces = NamespaceSelection::Listed(list);
    config.tenants = TenantRules { otherwise: Otherwise::SameName, ..TenantRules::default() };
    let agent = Agent::start_with(config).await;
    site.until("team-b", "team-b_etl-load-1_u1/base/0.log", |r| component(r) == "worker").await;
    site.log("team-d_p_u2/base/0.log", "of no listed namespace");
    wait_until("both asked", || site.api.asked().len() >= 4).await;
    agent.stop().await;
    let mut asked = site.api.asked();
    asked.sort();
    asked.dedup();
    assert_eq!(asked, ["/api/v1/namespaces/team-b/pods", "/api/v1/namespaces/team-c/pods"]);
    assert_eq!(records(&site.indexer, "team-d").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_kubeconfig_is_named() {
    let site = Site::new(ApiServer::start().await).await;
    let mut config = site.config(Rights::Cluster);
    let missing = Path::new("/nowhere/kubeconfig");
    config.kubernetes.as_mut().unwrap().access = heliograph_agent::ApiAccess::Kubeconfig(missing.into());
    let (ready, _) = tokio::sync::watch::channel(false);
    let (registry, stop) = (prometheus::Registry::new(), tokio_util::sync::CancellationToken::new());
    let clock = std::sync::Arc::new(crate::indexer::Real);
    let error = heliograph_agent::run(config, clock, &registry, ready, stop).await.unwrap_err().to_string();
    assert!(error.starts_with("invalid kubeconfig \"/nowhere/kubeconfig\": "), "{error}");
}
