//! `heliograph agent` as a sidecar, by its environment alone: it ends with its container.

use crate::command::{Said, heliograph};
use crate::direct::AGENT_TOKEN;
use crate::server::Place;

/// Runs a sidecar over the place's logs until it ends.
async fn sidecar(place: &Place, indexer: &str, finish_within: &str) -> Said {
    let data = place.data().join("sidecar");
    let environment = [
        ("HELIOGRAPH_AGENT__SIDECAR__DIRECTORY", place.logs().display().to_string()),
        ("HELIOGRAPH_AGENT__SIDECAR__TENANT", "team-s".to_owned()),
        ("HELIOGRAPH_AGENT__SIDECAR__COMPONENT", "worker".to_owned()),
        ("HELIOGRAPH_AGENT__SIDECAR__FINISH_WITHIN", finish_within.to_owned()),
        ("HELIOGRAPH_AGENT__INDEXERS", format!("[{indexer:?}]")),
        ("HELIOGRAPH_AGENT__DATA_DIR", data.display().to_string()),
        ("HELIOGRAPH_AGENT__STATUS_LISTEN", "127.0.0.1:0".to_owned()),
        ("HELIOGRAPH_AUTH__AGENT_TOKEN", AGENT_TOKEN.to_owned()),
    ];
    heliograph().arg("agent").envs(environment).output().await.unwrap().into()
}

#[tokio::test]
async fn it_ends_with_its_container_once_all_is_durable() {
    let place = Place::new();
    let server = place.up_with(&[], &[("HELIOGRAPH_AUTH__AGENT_TOKEN", AGENT_TOKEN)]).await;
    let task = place.logs().join("dag_id=etl/run_id=r/task_id=load");
    std::fs::create_dir_all(&task).unwrap();
    std::fs::write(task.join("attempt=1.log"), "one\ntwo without an end").unwrap();
    std::fs::write(place.logs().join("finished"), "").unwrap();
    sidecar(&place, &server.base("indexer.listen"), "90s").await.fine();
    let token = place.token("team-s", "viewer").await;
    let records = server.export(&token).await;
    let found: Vec<_> = records.iter().map(|r| (&r["message"], &r["task_id"], &r["component"])).collect();
    let load = |text: &'static str| (text.into(), "load".into(), "worker".into());
    let expected: [(serde_json::Value, serde_json::Value, serde_json::Value); 2] =
        [load("one"), load("two without an end")];
    assert_eq!(found, expected.iter().map(|(a, b, c)| (a, b, c)).collect::<Vec<_>>());
    server.stop().await;
}

#[tokio::test]
async fn it_says_so_where_no_indexer_takes_the_lines() {
    let place = Place::new();
    std::fs::create_dir_all(place.data()).unwrap();
    std::fs::write(place.logs().join("app.log"), "one\n").unwrap();
    std::fs::write(place.logs().join("finished"), "").unwrap();
    let said = sidecar(&place, "http://127.0.0.1:1", "1s").await;
    said.failed(1, &["agent: not all lines were acknowledged within 1s of the end"]);
}
