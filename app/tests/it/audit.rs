//! Promise: what is done and asked can be told afterwards, by whoever did it and wherever.

use serde_json::Value;

use crate::command::run;
use crate::server::{Place, Server};

async fn rows(place: &Place, more: &[&str]) -> Vec<Value> {
    let lines = place.admin(&[&["audit", "export"], more].concat()).await;
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn search(server: &Server, token: &str, query: &str) {
    server.get(token, &format!("/api/v1/search?q={query}")).await;
}

#[tokio::test]
async fn the_log_is_whole_and_told_beside_a_running_server() {
    let place = Place::new();
    let server = place.up().await;
    place.admin(&["tenant", "create", "other"]).await;
    let token = place.token("other", "viewer").await;
    place.admin(&["tenant", "limits", "other", "--hot", "5MiB"]).await;
    search(&server, &token, "walnut").await;
    server.stop().await;

    let all = rows(&place, &[]).await;
    let told: Vec<_> = all
        .iter()
        .map(|row| {
            let text =
                |key: &str| row[key].as_str().unwrap_or_default().split(':').next().unwrap().to_owned();
            (text("actor"), text("action"), text("tenant"), text("outcome"))
        })
        .collect();
    let told: Vec<_> =
        told.iter().map(|(a, b, c, d)| (a.as_str(), b.as_str(), c.as_str(), d.as_str())).collect();
    assert_eq!(
        told,
        [
            ("service", "user.create", "", "done"),
            ("service", "service.start", "", "done"),
            ("uid", "tenant.create", "other", "done"),
            ("uid", "token.create", "other", "done"),
            ("uid", "limits.set", "other", "done"),
            ("token", "search", "other", "done"),
        ]
    );
    assert_eq!(all[5]["details"]["q"], "walnut");
    assert_eq!(all[4]["details"]["hot"], "5242880");
    let start = &all[1]["details"];
    assert_eq!(
        (start["role"].as_str(), start["settings_sha256"].as_str().map(str::len)),
        (Some("up"), Some(64))
    );
    assert!(start["settings"].as_str().unwrap().contains("query.listen"), "{start}");
    assert!(!format!("{all:?}").contains(token.rsplit('_').next().unwrap()));
    // Reading it is a row, too.
    let of_other = rows(&place, &["--tenant", "other", "--since", "1h"]).await;
    assert_eq!(of_other.len(), 4);
    assert_eq!(rows(&place, &["--until", "1h"]).await.len(), 0);
    let last = rows(&place, &[]).await.pop().unwrap();
    assert_eq!((last["action"].as_str(), last["seq"].as_u64()), (Some("audit.read"), Some(9)));

    let whole = place.admin(&["audit", "verify"]).await;
    assert!(whole.starts_with("whole: 10 rows from 1 on; the last is 10:"), "{whole}");
    let seen = whole.trim_end().rsplit(' ').next().unwrap();
    assert!(place.admin(&["audit", "verify", "--seen", seen]).await.starts_with("whole: "));
    let data = place.data();
    let verify = |seen: &'static str| ["admin", "audit", "verify", "--seen", seen, "--data-dir"];
    let wrong = [&verify("10:00")[..], &[data.to_str().unwrap()]].concat();
    let said = run(&wrong).await;
    assert!(said.out.contains("row 10 is not the one that was seen"), "{}", said.out);
    said.failed(1, &["the audit log was changed or is damaged"]);
    run(&[&verify("nine")[..], &[data.to_str().unwrap()]].concat())
        .await
        .failed(2, &["its number, a colon, its hash"]);
}
