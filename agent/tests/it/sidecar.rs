//! The agent beside one container: everything, then the end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use heliograph_agent::{Config, Error, Sidecar};
use heliograph_model::source::Component;
use heliograph_model::tenant::TenantId;
use tokio_util::sync::CancellationToken;

use crate::flow::{append, records, texts};
use crate::indexer::{Indexer, Real, config};

fn sidecar(dir: &Path, url: &str) -> Config {
    let mut config = config(dir, url, vec![]);
    config.sidecar = Some(Sidecar {
        directory: dir.join("logs [x]"),
        tenant: TenantId::parse("team-s").unwrap(),
        component: Component::parse("worker").ok(),
        namespace: Some("ns-1".into()),
        pod: Some("pod-1".into()),
        finished_file: "finished".into(),
        finish_within: Duration::from_secs(60),
    });
    config
}

async fn run(config: Config, stop: CancellationToken) -> Result<(), Error> {
    let (ready, _) = tokio::sync::watch::channel(false);
    heliograph_agent::run(config, Arc::new(Real), &prometheus::Registry::new(), ready, stop).await
}

const TASK: &str = "dag_id=etl/run_id=manual__1/task_id=load.x/map_index=2/attempt=3.log";

#[tokio::test(flavor = "multi_thread")]
async fn all_is_acknowledged_and_then_it_ends() {
    let (dir, indexer) = (tempfile::tempdir().unwrap(), Indexer::start().await);
    let logs = dir.path().join("logs [x]");
    let lines: String = (0..5_000).map(|n| format!("line {n}\n")).collect();
    append(&logs.join(TASK), &lines);
    let running = run(sidecar(dir.path(), &indexer.url), CancellationToken::new());
    let mut running = std::pin::pin!(running);
    tokio::select! {
        ended = &mut running => panic!("ended before the container: {ended:?}"),
        () = indexer.wait_for(5_000) => {}
    }
    // All at once: a rotated file, a new one, a traceback and a last line without a line end; then the marker.
    std::fs::create_dir_all(logs.join("deep/er")).unwrap();
    append(&logs.join("deep/er/app.log.1"), "old\n");
    append(&logs.join("deep/er/app.log"), "new\n");
    append(&logs.join(TASK), "Traceback (most recent call last):\n  File \"x\", line 1\nValueError: bad");
    append(&logs.join("finished"), "");
    running.await.unwrap();
    let found = records(&indexer, "team-s");
    assert_eq!(found.len(), 5_003);
    let (task, plain): (Vec<_>, Vec<_>) = found.into_iter().partition(|r| r.identity.dag_id.is_some());
    assert_eq!(texts(&plain), ["old", "new"]);
    let last = task.last().unwrap();
    assert!(last.message.ends_with("ValueError: bad"), "{}", last.message);
    assert_eq!((last.identity.task_id.as_deref(), last.identity.try_number), (Some("load.x"), Some(3)));
    for record in [last, plain.last().unwrap()] {
        let source = &record.source;
        assert_eq!((source.namespace.as_deref(), source.pod.as_deref()), (Some("ns-1"), Some("pod-1")));
        assert_eq!(source.component.as_ref().unwrap().as_str(), "worker");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_finished_before_is_enough() {
    let (dir, indexer) = (tempfile::tempdir().unwrap(), Indexer::start().await);
    append(&dir.path().join("logs [x]/app.log"), "short life");
    append(&dir.path().join("logs [x]/finished"), "");
    run(sidecar(dir.path(), &indexer.url), CancellationToken::new()).await.unwrap();
    assert_eq!(texts(&records(&indexer, "team-s")), ["short life"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_an_error_where_the_indexer_stays_away() {
    let dir = tempfile::tempdir().unwrap();
    append(&dir.path().join("logs [x]/app.log"), "one\n");
    append(&dir.path().join("logs [x]/finished"), "");
    let mut config = sidecar(dir.path(), "http://127.0.0.1:1");
    config.sidecar.as_mut().unwrap().finish_within = Duration::from_millis(700);
    let error = run(config, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, Error::Unfinished { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "not all lines were acknowledged within 700ms of the end: is an indexer reachable?"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_without_a_marker_it_sends_what_is_there() {
    let (dir, indexer) = (tempfile::tempdir().unwrap(), Indexer::start().await);
    append(&dir.path().join("logs [x]/app.log"), "one\nhalf a line");
    let stop = CancellationToken::new();
    stop.cancel();
    run(sidecar(dir.path(), &indexer.url), stop).await.unwrap();
    assert_eq!(texts(&records(&indexer, "team-s")), ["one", "half a line"]);
}
