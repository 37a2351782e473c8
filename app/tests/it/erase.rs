//! Promise: what is erased is found by no search and in no file, and nothing else is missing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::command::run;
use crate::server::{Place, Server, files_below};

/// Nothing else has this.
const CANARY: &str = "kea7q0zx9vd2m";
const LINES: usize = 300;

async fn found(server: &Server, token: &str, query: &str) -> usize {
    let route = format!("/api/v1/search?limit=10000&q={query}");
    server.get(token, &route).await["records"].as_array().unwrap().len()
}

/// Searches all the time: each answer is whole, what is not erased is always in it, and the rest goes segment by
/// segment.
async fn look_on(server: &Server, token: &str, is_over: &AtomicBool) {
    let mut left = LINES / 10;
    while !is_over.load(Ordering::SeqCst) {
        let answer = server.get(token, "/api/v1/search?limit=10000&q=a").await;
        let records = answer["records"].as_array().unwrap();
        let erased =
            records.iter().filter(|record| record["message"].as_str().unwrap().contains(CANARY)).count();
        assert_eq!(records.len() - erased, LINES - LINES / 10);
        assert!(erased <= left, "{erased} came back of {left}");
        left = erased;
        assert_eq!(answer["complete"], true);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_is_erased_beside_a_running_server_is_nowhere() {
    let place = Place::new();
    let line = |n: usize| match n % 10 {
        3 => format!("a {n:04} {CANARY}\n"),
        _ => format!("a {n:04} other\n"),
    };
    std::fs::write(place.logs().join("a.log"), (0..LINES).map(line).collect::<String>()).unwrap();
    let server = place.up().await;
    let token = place.token("default", "viewer").await;
    server.wait_for(&token, "a", LINES).await;
    assert_eq!(found(&server, &token, CANARY).await, LINES / 10);

    let words = ["--tenant", "default", "--query", CANARY];
    let erase = |more: &[&'static str]| [&["erase"], &words[..], more].concat();
    let counted = place.admin(&erase(&["--dry-run"])).await;
    assert!(counted.starts_with("0 records"), "nothing is sealed yet: {counted}");
    let (words, is_over) = (erase(&["--json"]), AtomicBool::new(false));
    let erasing = async {
        let receipt = place.admin(&words).await;
        is_over.store(true, Ordering::SeqCst);
        receipt
    };
    let (receipt, ()) = tokio::join!(erasing, look_on(&server, &token, &is_over));
    let receipt: Value = serde_json::from_str(&receipt).unwrap();
    assert_eq!(receipt["records_removed"], LINES / 10);
    assert_eq!((receipt["state"].as_str(), receipt["query"].as_str()), (Some("done"), Some(CANARY)));
    assert_eq!(found(&server, &token, CANARY).await, 0);
    assert_eq!(found(&server, &token, "a").await, LINES - LINES / 10);
    let left = server.messages(&token).await.remove("a").unwrap();
    let expected: Vec<_> = (0..LINES).filter(|n| n % 10 != 3).map(|n| format!("{n:04} other")).collect();
    assert_eq!(left, expected, "in their order");
    let checked = place.admin(&["erase", "check", "--tenant", "default", "--query", CANARY]).await;
    assert!(checked.starts_with("0 of 270 records"), "{checked}");
    let id = receipt["id"].as_str().unwrap();
    assert!(place.admin(&["erase", "list"]).await.contains(id));
    let shown = place.admin(&["erase", "show", id]).await;
    assert!(shown.contains("30 records removed") && !shown.contains(CANARY), "{shown}");
    let data = place.data();
    let of_others = ["erase", "check", "--tenant", "default", "--query", "other"];
    let all = [&["admin"], &of_others[..], &["--data-dir", data.to_str().unwrap()]].concat();
    run(&all).await.failed(1, &["270 of 270 records"]);
    server.stop().await;
    for file in files_below(&place.data()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes()), "{}", file.display());
    }
}

#[tokio::test]
async fn an_erased_tenant_is_nowhere_and_its_lines_do_not_come_back() {
    let place = Place::new();
    let file = place.logs().join("a.log");
    let line = |n: usize| format!("a {n:04} {CANARY}\n");
    std::fs::write(&file, (0..LINES).map(line).collect::<String>()).unwrap();
    let server = place.up().await;
    let token = place.token("default", "viewer").await;
    server.wait_for(&token, "a", LINES).await;
    let data = place.data();
    let admin =
        |words: &[&'static str]| [&["admin"], words, &["--data-dir", data.to_str().unwrap()]].concat();
    let everything = ["erase", "--tenant", "default", "--everything"];
    run(&admin(&everything)).await.failed(2, &["nothing brings its records back", "--confirm default"]);
    let misspelt = [&everything[..], &["--confirm", "Default"]].concat();
    run(&admin(&misspelt)).await.failed(2, &["--confirm default"]);
    let both = [&everything[..], &["--query", "a"]].concat();
    run(&admin(&both)).await.failed(2, &["--query"]);
    let counted = place.admin(&[&everything[..], &["--dry-run"]].concat()).await;
    assert!(counted.contains("records in"), "{counted}");
    run(&admin(&["erase", "check", "--tenant", "default"])).await.failed(1, &["give --query"]);

    let receipt = place.admin(&[&everything[..], &["--confirm", "default", "--json"]].concat()).await;
    let receipt: Value = serde_json::from_str(&receipt).unwrap();
    assert_eq!((receipt["kind"].as_str(), receipt["state"].as_str()), (Some("tenant"), Some("done")));
    assert!(receipt["key_destroyed"].is_string() && receipt["query_sha256"].is_null(), "{receipt}");
    let checked = place.admin(&["erase", "check", "--tenant", "default"]).await;
    assert!(checked.starts_with("0 objects, 0 batches written ahead and 0 rows are left of 1"), "{checked}");
    let id = receipt["id"].as_str().unwrap();
    let shown = place.admin(&["erase", "show", id]).await;
    assert!(shown.contains("key destroyed") && shown.contains("backups of the catalog"), "{shown}");
    assert!(place.admin(&["erase", "list"]).await.contains(" tenant "));
    let listed = place.admin(&["tenant", "list"]).await;
    assert!(!listed.lines().any(|line| line.starts_with("default")), "{listed}");

    // The agent goes on reading, and what it sends is refused and thrown away, whoever started it again.
    let more = (LINES..2 * LINES).map(line).collect::<String>();
    let mut log = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
    std::io::Write::write_all(&mut log, more.as_bytes()).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let checked = place.admin(&["erase", "check", "--tenant", "default"]).await;
    assert!(checked.starts_with("0 objects, 0 batches"), "{checked}");

    place.admin(&["tenant", "create", "default"]).await;
    let token = place.token("default", "viewer").await;
    let news = (0..10).map(|n| format!("b {n:04} new\n")).collect::<String>();
    std::fs::write(place.logs().join("b.log"), news).unwrap();
    server.wait_for(&token, "b", 10).await;
    assert_eq!(found(&server, &token, CANARY).await, 0);
    server.stop().await;
    for file in files_below(&place.data()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes()), "{}", file.display());
    }
}
