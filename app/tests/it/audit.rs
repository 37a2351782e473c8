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

    let mut all = rows(&place, &[]).await;
    let count = all.len();
    // Of the neighbour, which comes into being when it likes.
    all.retain(|row| row["actor"] != "agent");
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
            ("service", "tenant.create", "default", "done"),
            ("uid", "tenant.create", "other", "done"),
            ("uid", "token.create", "other", "done"),
            ("uid", "limits.set", "other", "done"),
            ("token", "search", "other", "done"),
        ]
    );
    assert_eq!(all[6]["details"]["q"], "walnut");
    assert_eq!(all[5]["details"]["hot"], "5242880");
    let start = &all[1]["details"];
    assert_eq!(
        (start["role"].as_str(), start["settings_sha256"].as_str().map(str::len)),
        (Some("up"), Some(64))
    );
    assert!(start["settings"].as_str().unwrap().contains("query.listen"), "{start}");
    assert!(!format!("{all:?}").contains(token.splitn(3, '_').last().unwrap()));
    // Reading it is a row, too.
    let of_other = rows(&place, &["--tenant", "other", "--since", "1h"]).await;
    assert_eq!(of_other.len(), 4);
    assert_eq!(rows(&place, &["--until", "1h"]).await.len(), 0);
    let last = rows(&place, &[]).await.pop().unwrap();
    assert_eq!((last["action"].as_str(), &last["seq"]), (Some("audit.read"), &(count + 3).into()));

    let whole = place.admin(&["audit", "verify"]).await;
    let count = count + 4;
    assert!(whole.starts_with(&format!("whole: {count} rows from 1 on; the last is {count}:")), "{whole}");
    let seen = whole.trim_end().rsplit(' ').next().unwrap();
    assert!(place.admin(&["audit", "verify", "--seen", seen]).await.starts_with("whole: "));
    let data = place.data();
    let verify = async |seen: &str| {
        run(&["admin", "audit", "verify", "--seen", seen, "--data-dir", data.to_str().unwrap()]).await
    };
    let said = verify(&format!("{count}:00")).await;
    assert!(said.out.contains(&format!("row {count} is not the one that was seen")), "{}", said.out);
    said.failed(1, &["the audit log was changed or is damaged"]);
    verify("nine").await.failed(2, &["its number, a colon, its hash"]);
}
