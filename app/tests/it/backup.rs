//! Promise: what was backed up beside a running server is found again elsewhere, every record once.

use serde_json::Value;

use crate::server::Place;

const LINES: usize = 500;

fn messages(found: &Value) -> Vec<String> {
    let records = found["records"].as_array().unwrap();
    let mut messages: Vec<_> = records.iter().map(|r| r["message"].as_str().unwrap().to_owned()).collect();
    messages.sort();
    messages
}

#[tokio::test]
async fn a_tenant_of_a_running_server_is_restored_elsewhere_under_another_name() {
    let here = Place::new();
    let text: String = (0..LINES).map(|n| format!("needle {n:04}\n")).collect();
    std::fs::write(here.logs().join("a.log"), text).unwrap();
    let server = here.up().await;
    let token = here.token("default", "viewer").await;
    server.wait_for(&token, "needle", LINES).await;

    let (of_tenant, of_catalog) = (here.logs().join("tenant"), here.logs().join("catalog"));
    let said = here.admin(&["backup", "--tenant", "default", "--to", of_tenant.to_str().unwrap()]).await;
    assert_eq!(said, format!("{LINES} records in 1 segments"), "nothing was sealed yet");
    here.admin(&["backup", "--to", of_catalog.to_str().unwrap()]).await;
    here.admin(&["tenant", "limits", "default", "--ingest", "5MiB", "--stored", "none"]).await;
    let usage = here.admin(&["usage"]).await;
    let row: Vec<_> = usage.lines().nth(1).unwrap().split_whitespace().collect();
    let bounds = ["none", "default", "default", "0", "5242880", "default", "default"];
    assert_eq!(row, [&["default", "0", "0", "0"][..], &bounds].concat());

    let there = Place::new();
    let key = here.data().join("master.key");
    let from = ["restore", "--from", of_tenant.to_str().unwrap(), "--master-key-file", key.to_str().unwrap()];
    let said = there.admin(&[&from[..], &["--as", "again"]].concat()).await;
    assert_eq!(said, format!("{LINES} records in 1 segments"));
    let other = there.up().await;
    let viewer = there.token("again", "viewer").await;
    other.wait_for(&viewer, "needle", LINES).await;
    let path = "/api/v1/search?q=needle&limit=1000";
    assert_eq!(messages(&other.get(&viewer, path).await), messages(&server.get(&token, path).await));
    other.stop().await;
    server.stop().await;

    let third = Place::new();
    third.admin(&["restore", "--from", of_catalog.to_str().unwrap()]).await;
    std::fs::copy(&key, third.data().join("master.key")).unwrap();
    assert!(third.admin(&["tenant", "list"]).await.contains("default"));
    assert!(third.admin(&["usage"]).await.contains("default"), "limits were set after the backup");
}
