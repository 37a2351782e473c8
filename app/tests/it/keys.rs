//! Promise: the master key is changed under load, killed at any step or not, and costs no line; an old key goes only when
//! nothing needs it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::command::{Said, run, run_with};
use crate::direct::AGENT_TOKEN;
use crate::server::{Place, Server};

/// Passed by a change of the master key, in this order.
#[cfg(debug_assertions)]
pub(crate) const POINTS: [(&str, &str); 6] = [
    ("add", "key.replace.before"),
    ("add", "key.replace.after"),
    ("rotate", "rotate.set.before"),
    ("rotate", "rotate.set.after"),
    ("rotate", "rotate.wrap.before"),
    ("rotate", "rotate.wrap.after"),
];

const SETTINGS: [(&str, &str); 2] =
    [("HELIOGRAPH_AUTH__AGENT_TOKEN", AGENT_TOKEN), ("HELIOGRAPH_INDEXER__SEAL_AFTER", "200ms")];

/// Sends a record of each of many new tenants until told to stop; how many there are.
async fn send_of_new_tenants(server: &Server, stop: &AtomicBool) -> usize {
    let mut count = 0;
    while !stop.load(Ordering::SeqCst) {
        let record = json!({ "body": { "stringValue": format!("line of t{count}") } });
        let sent = server
            .ingest(Method::POST, "/v1/logs")
            .bearer_auth(AGENT_TOKEN)
            .header("x-heliograph-tenant", format!("t{count}"))
            .json(&json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] }));
        let status = sent.send().await.unwrap().status();
        assert_eq!(status, 200, "t{count}");
        count += 1;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    count
}

async fn key(place: &Place, word: &str, environment: &[(&str, &str)]) -> Said {
    let data = place.data();
    run_with(&["admin", "key", word, "--data-dir", data.to_str().unwrap()], environment).await
}

async fn assert_all_there(place: &Place, server: &Server, tenants: usize) {
    for n in 0..tenants {
        let token = place.token(&format!("t{n}"), "viewer").await;
        let found = server.get(&token, "/api/v1/search?q=line").await;
        let records = found["records"].as_array().unwrap();
        assert_eq!((records.len(), &records[0]["message"]), (1, &json!(format!("line of t{n}"))), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_key_is_changed_under_load() {
    let place = Place::new();
    let server = place.up_with(&[], &SETTINGS).await;
    let file = place.data().join("master.key");
    let first = std::fs::read(&file).unwrap();
    let stop = AtomicBool::new(false);
    let changing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        #[cfg(debug_assertions)]
        for (word, point) in POINTS {
            let said = key(&place, word, &[("HELIOGRAPH_CRASH_AT", point)]).await;
            assert_eq!(said.code, None, "it was not killed at {point}: {}", said.err);
        }
        key(&place, "add", &[]).await.fine();
        key(&place, "forget", &[])
            .await
            .failed(1, &["are wrapped by a master key that would go", "key rotate"]);
        key(&place, "rotate", &[]).await.fine();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let again = key(&place, "rotate", &[]).await.fine();
        assert!(again.starts_with("0 tenants' keys were wrapped anew"), "{again}");
        key(&place, "forget", &[]).await.fine();
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.store(true, Ordering::SeqCst);
    };
    let (tenants, ()) = tokio::join!(send_of_new_tenants(&server, &stop), changing);
    assert!(tenants > 10, "{tenants}");
    assert_all_there(&place, &server, tenants).await;
    let listed = key(&place, "list", &[]).await.fine();
    let rows: Vec<_> = listed.lines().skip(1).collect();
    assert!(rows.len() == 1 && rows[0].contains("new tenants"), "{listed}");
    // The audit log goes on under the new key, and tells of the change.
    let whole = place.admin(&["audit", "verify"]).await;
    assert!(whole.starts_with("whole: "), "{whole}");
    let told = place.admin(&["audit", "export"]).await;
    for action in ["key.add", "key.rotate", "key.forget"] {
        assert!(told.contains(&format!("\"action\":\"{action}\"")), "{action}: {told}");
    }
    server.kill().await;

    // The old key opens nothing any more, and is told so at the start.
    let new = std::fs::read(&file).unwrap();
    assert_ne!(new, first);
    std::fs::write(&file, &first).unwrap();
    let data = place.data();
    let up = ["up", "--data-dir", data.to_str().unwrap()];
    run(&up).await.failed(2, &["keys.master_key_file", "holds another master key"]);
    // Beside the new one it does no harm.
    std::fs::write(&file, [&new[..], &first].concat()).unwrap();
    let server = place.up_with(&[], &SETTINGS).await;
    assert_all_there(&place, &server, tenants).await;
    server.stop().await;
}

#[tokio::test]
async fn a_key_for_a_secret_is_only_printed() {
    let place = Place::new();
    place.up().await.stop().await;
    let file = place.data().join("master.key");
    let before = std::fs::read_to_string(&file).unwrap();
    let data = place.data();
    let printed = run(&["admin", "key", "add", "--print", "--data-dir", data.to_str().unwrap()]).await.fine();
    assert_eq!((printed.len(), std::fs::read_to_string(&file).unwrap()), (45, before.clone()));
    // Whoever keeps the Secret puts it first.
    std::fs::write(&file, format!("{printed}{before}")).unwrap();
    let said = key(&place, "rotate", &[]).await.fine();
    assert!(said.starts_with("2 tenants' keys were wrapped anew"), "{said}");
    std::fs::write(&file, &printed).unwrap();
    place.up().await.stop().await;
}
