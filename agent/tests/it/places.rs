//! Where a node's logs lie: the kubelet's files and the links to them, what it has rotated and compressed before the
//! agent came, and task files in pods' volumes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use heliograph_agent::Input;

use crate::flow::{Agent, append};
use crate::indexer::Indexer;

fn cri(text: &str) -> String {
    format!("2026-11-24T10:00:00.5Z stdout F {text}\n")
}

fn compressed(path: &Path, text: &str) {
    let mut encoder = GzEncoder::new(fs::File::create(path).unwrap(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap();
}

/// Message, pod and component of each record of a tenant, in file order.
fn records(indexer: &Indexer, tenant: &str) -> Vec<String> {
    let indexed = indexer.indexed.lock();
    let mut records: Vec<_> = indexed.records.iter().filter(|(t, _)| t == tenant).map(|(_, r)| r).collect();
    records.sort_by_key(|r| r.key());
    let text = |r: &&heliograph_model::record::Record| {
        let pod = r.source.pod.as_deref().unwrap_or("-");
        format!("{} {pod} {}", r.message, r.source.component.as_ref().unwrap().as_str())
    };
    records.iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_agent_reads_what_was_rotated_once_whatever_leads_there() {
    let dir = tempfile::tempdir().unwrap();
    let (links, pods) = (dir.path().join("containers"), dir.path().join("pods"));
    let log = pods.join("team-a_p-0_u-1/worker/0.log");
    append(&log.with_extension("log.20261124-090000"), "");
    compressed(&log.with_extension("log.20261124-080000.gz"), &(cri("one") + &cri("two")));
    compressed(&log.with_extension("log.20261124-083000.gz"), &cri("three"));
    append(&log.with_extension("log.20261124-090000"), &cri("four"));
    append(&log, &cri("five"));
    fs::create_dir(&links).unwrap();
    symlink(&log, links.join("p-0_team-a_worker-1.log")).unwrap();
    let indexer = Indexer::start().await;
    let inputs = || vec![Input::Containers { root: links.clone() }, Input::Containers { root: pods.clone() }];
    let agent = Agent::start(dir.path(), &indexer.url, inputs()).await;
    indexer.wait_for(5).await;
    agent.stop().await;
    // While it is away, the kubelet compresses what was read plain, and rotates.
    fs::remove_file(log.with_extension("log.20261124-090000")).unwrap();
    compressed(&log.with_extension("log.20261124-090000.gz"), &cri("four"));
    append(&log, &cri("six"));
    fs::rename(&log, log.with_extension("log.20261124-100000")).unwrap();
    append(&log, &cri("seven"));
    let agent = Agent::start(dir.path(), &indexer.url, inputs()).await;
    indexer.wait_for(7).await;
    append(&log, &cri("eight"));
    indexer.wait_for(8).await;
    agent.stop().await;
    let expected = ["one", "two", "three", "four", "five", "six", "seven", "eight"];
    assert_eq!(records(&indexer, "team-a"), expected.map(|text| format!("{text} p-0 worker")));
}

#[tokio::test(flavor = "multi_thread")]
async fn task_files_in_volumes_are_their_pods_also_if_it_becomes_known_late() {
    let dir = tempfile::tempdir().unwrap();
    let (root, pods) = (dir.path().join("kubelet"), dir.path().join("pods"));
    let task = "volumes/kubernetes.io~empty-dir/logs/dag_id=a.b/run_id=r/task_id=t";
    let early = root.join("u-1").join(task).join("attempt=1.log");
    let late = root.join("u-2").join(task).join("map_index=3/attempt=1.log");
    append(&early, "early\n");
    append(&late, "late\n");
    // Neither blocks, nor is read.
    let fifo = early.with_file_name("attempt=2.log");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    append(&dir.path().join("secret"), "secret\n");
    symlink(dir.path().join("secret"), early.with_file_name("attempt=3.log")).unwrap();
    fs::create_dir_all(pods.join("team-a_worker-0_u-1")).unwrap();
    let indexer = Indexer::start().await;
    let inputs = vec![Input::PodVolumes { root, pods: pods.clone() }];
    let agent = Agent::start(dir.path(), &indexer.url, inputs).await;
    indexer.wait_for(1).await;
    append(&late, "later\n");
    fs::create_dir_all(pods.join("team-b_worker-1_u-2")).unwrap();
    indexer.wait_for(3).await;
    agent.stop().await;
    assert_eq!(records(&indexer, "team-a"), ["early worker-0 worker"]);
    assert_eq!(records(&indexer, "team-b"), ["late worker-1 worker", "later worker-1 worker"]);
}
