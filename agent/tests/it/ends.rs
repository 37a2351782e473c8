//! kill -9, again and again, while containers end: each end once, behind the last line of its log.
//!
//! The agent runs in a process of its own: this test program, started again with the role in its environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use heliograph_agent::{ApiAccess, Input, Kubernetes, Rights};
use heliograph_model::record::Record;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::api_server::ApiServer;
use crate::flow::append;
use crate::indexer::{Indexer, Real, config};

const ROLE: &str = "HELIOGRAPH_TEST_POD_AGENT";
const PODS: usize = 3;
const KILLS: u32 = 8;
const LINES: usize = 50;

/// Not a test of its own: the agent's process.
#[test]
fn the_agent() {
    #[expect(clippy::disallowed_methods, reason = "the parent says so to its child")]
    let Ok(role) = std::env::var(ROLE) else { return };
    let (dir, url) = role.split_once(' ').unwrap();
    let dir = Path::new(dir);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut config = config(dir, url, vec![Input::Containers { root: dir.join("pods") }]);
    let access = ApiAccess::Kubeconfig(dir.join("kubeconfig"));
    config.kubernetes = Some(Kubernetes { access, rights: Rights::Cluster });
    let (ready, _) = tokio::sync::watch::channel(false);
    let (registry, stop) = (prometheus::Registry::new(), CancellationToken::new());
    runtime.block_on(heliograph_agent::run(config, Arc::new(Real), &registry, ready, stop)).unwrap();
}

fn start(dir: &Path, url: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ends::the_agent", "--nocapture"])
        .env(ROLE, format!("{} {url}", dir.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// A pod whose container has ended so often, or runs again after it did.
fn pod(n: usize, ends: u32, runs: bool) -> Value {
    let end = json!({"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": "2026-11-23T22:03:16Z"}});
    let (count, state) = if runs { (ends, json!({"running": {}})) } else { (ends - 1, end.clone()) };
    json!({
        "metadata": {"name": format!("p{n}"), "namespace": "team-b", "uid": format!("u{n}")},
        "spec": {"nodeName": "node-1", "containers": [{"name": "base"}]},
        "status": {"phase": "Running", "containerStatuses": [{
            "name": "base", "image": "i", "imageID": "i", "ready": true, "restartCount": count,
            "state": state, "lastState": if count > 0 { end } else { json!({}) },
        }]},
    })
}

fn log(dir: &Path, n: usize, instance: u32) -> PathBuf {
    dir.join(format!("pods/team-b_p{n}_u{n}/base/{instance}.log"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end_once_over_kills() {
    let dir = tempfile::tempdir().unwrap();
    let (indexer, api) = (Indexer::start().await, ApiServer::start().await);
    api.access(dir.path(), Rights::Cluster);
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = seed;
    let mut pause = |most: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis((random >> 33) % most))
    };
    for instance in 0..KILLS {
        let mut child = start(dir.path(), &indexer.url);
        pause(300).await;
        for n in 0..PODS {
            let line = |line| format!("2026-11-23T22:03:16.012523008Z stdout F line {line}\n");
            append(&log(dir.path(), n, instance), &(0..LINES).map(line).collect::<String>());
            api.put("pods", pod(n, instance + 1, false));
        }
        pause(2500).await;
        if instance % 2 == 1 {
            // The API server shows two instances: an end is lost that no agent outlives before the third.
            indexer.wait_for(PODS * (instance as usize + 1) * (LINES + 1)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        (0..PODS).for_each(|n| api.put("pods", pod(n, instance + 1, true)));
    }
    let mut child = start(dir.path(), &indexer.url);
    indexer.wait_for(PODS * KILLS as usize * (LINES + 1)).await;
    // What would come twice would come now.
    tokio::time::sleep(Duration::from_secs(2)).await;
    child.kill().unwrap();
    child.wait().unwrap();

    let mut found: Vec<Record> =
        std::mem::take(&mut indexer.indexed.lock().records).into_iter().map(|(_, record)| record).collect();
    found.sort_by_key(Record::key);
    let mut by_path: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in found {
        let path = record.source.path.as_deref().unwrap().to_owned();
        by_path.entry(path).or_default().push(record.message.to_string());
    }
    let mut expected: Vec<String> = (0..LINES).map(|line| format!("line {line}")).collect();
    expected.push("container base ended: Error, exit code 1".to_owned());
    for n in 0..PODS {
        for instance in 0..KILLS {
            let path = log(dir.path(), n, instance).display().to_string();
            assert_eq!(by_path.get(&path), Some(&expected), "seed {seed}: {path}");
        }
    }
}
