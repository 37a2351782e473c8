//! Files in pods' volumes whose pods only the API server knows.

use std::time::Duration;

use heliograph_agent::{Input, Rights};

use crate::api_server::ApiServer;
use crate::flow::{Agent, append, records};
use crate::pods::{Site, executor_pod};

#[tokio::test(flavor = "multi_thread")]
async fn files_in_a_volume_are_of_the_pod_that_only_the_api_server_knows() {
    let site = Site::new(ApiServer::start_away().await).await;
    let volume = site.dir.path().join("kubelet/u1/volumes/kubernetes.io~empty-dir/logs");
    let of_dag = volume.join("dag_processor/2026-11-23/dags-folder/etl.py.log");
    append(&volume.join("dag_id=etl/run_id=r/task_id=load/attempt=2.log"), "of the task\n");
    let mut config = site.config(Rights::Cluster);
    let (root, pods) = (site.dir.path().join("kubelet"), site.dir.path().join("pods"));
    config.inputs = vec![Input::PodVolumes { root, pods }];
    let agent = Agent::start_with(config).await;
    append(&of_dag, "of the file\n");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(site.indexer.indexed.lock().records.len(), 0, "nobody knows whose it is");
    site.api.put("pods", executor_pod("u1"));
    site.api.come_back();
    site.indexer.wait_for(2).await;
    agent.stop().await;
    let found = records(&site.indexer, "team-b");
    assert!(found.iter().all(|r| r.source.pod.as_deref() == Some("etl-load-1")), "{found:?}");
    let record = |text: &str| found.iter().find(|r| &*r.message == text).unwrap();
    // The path knows the task best; what it leaves open, the pod's labels say.
    let (task, file) = (&record("of the task").identity, &record("of the file").identity);
    assert_eq!((task.run_id.as_deref(), task.try_number), (Some("r"), Some(2)));
    assert_eq!((file.dag_id.as_deref(), file.task_id.as_deref()), (Some("etl"), Some("load")));
}
