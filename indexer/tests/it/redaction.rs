//! Secrets end at the door: in whatever form they come, nothing that stays or goes on has them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use heliograph_indexer::Config;
use heliograph_model::codec;
use heliograph_model::filter::Filter;
use heliograph_model::record::{Attributes, Record};
use heliograph_model::redact::{OwnRule, Redactor};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::TimeRange;
use heliograph_store::catalog::Role;
use heliograph_store::{layout, wal};
use serde_json::json;

use crate::bench::{REDACTOR, Server, config, records, until};
use crate::feeds::Tail;

/// In every secret below, so that one search finds them all.
const SECRET: &str = "k3J9xQ2mP7vL5nR8tW4y";

/// Three records with two secrets each, by each of the three ways in.
async fn send(server: &Server) {
    let mut batch = records("agent", 0..3);
    batch[1].message = format!("connected to postgres://airflow:{SECRET}@db/airflow").into();
    let attributes = format!(r#"{{"headers":{{"Authorization":"Bearer {SECRET}"}}}}"#);
    batch[1].attributes = Attributes::from_json(&attributes).unwrap();
    assert_eq!(server.send("t", "p", 1, &batch).await, 200);
    assert_eq!(server.send("t", "p", 1, &batch).await, 200, "sent again");

    let writer = server.token("t", &[Role::Writer]).await;
    let log = |message: &str| json!({"body": {"stringValue": message}});
    let bad = json!({
        "body": {"stringValue": format!("login with password={SECRET} failed")},
        "attributes": [{"key": "api_key", "value": {"stringValue": SECRET}}],
    });
    let otlp = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [log("a"), bad, log("b")]}]}]});
    let request = server.post("/v1/logs").bearer_auth(&writer).json(&otlp);
    assert_eq!(request.send().await.unwrap().status(), 200);

    let bulk = format!(
        "{{\"create\":{{}}}}\n{{\"message\":\"c\"}}\n\
         {{\"create\":{{}}}}\n{{\"message\":\"-----BEGIN PRIVATE KEY-----\\n{SECRET}{SECRET}\\n\",\"token\":\"{SECRET}\"}}\n\
         {{\"create\":{{}}}}\n{{\"message\":\"d\"}}\n"
    );
    let request = server.post("/_bulk").bearer_auth(&writer).body(bulk);
    let answer = request.send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("\"errors\":false") && !answer.contains(SECRET), "{answer}");
}

/// All that is in write-ahead objects, opened.
async fn written_ahead(server: &Server, folder: &Path) -> String {
    let tenant = server.store.tenants.find(&TenantId::parse("t").unwrap()).await.unwrap().unwrap();
    let mut all = String::new();
    for file in server.wal_files(folder) {
        let path = object_store::path::Path::from(
            file.strip_prefix(folder.join("objects")).unwrap().to_str().unwrap(),
        );
        let object = layout::wal_object(&path).unwrap();
        for batch in wal::read(object, std::fs::read(&file).unwrap().into()).unwrap() {
            let plain = codec::decompress(&batch.open(&tenant).unwrap(), 1 << 20).unwrap();
            all.push_str(&String::from_utf8_lossy(&plain));
        }
    }
    assert!(!all.is_empty(), "something was written ahead");
    all
}

/// Whether a file below a folder has a text in it, as it lies there.
fn lies_in_a_file(folder: &Path, text: &str) -> bool {
    // What is gone between the listing and the reading has nothing in it.
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().map(|entry| entry.path()).any(|path| {
        if path.is_dir() {
            return lies_in_a_file(&path, text);
        }
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|bytes| bytes == text.as_bytes())
    })
}

fn text_of(records: &[Record]) -> String {
    records.iter().map(|record| format!("{} {}\n", record.message, record.attributes.as_json())).collect()
}

async fn feed(tail: &mut Tail) -> String {
    let mut all = String::new();
    while !["agent line 2", "\"b\"", "\"d\""].iter().all(|last| all.contains(last)) {
        all.push_str(&tail.line().await.expect("the feed goes on"));
    }
    all
}

#[tokio::test]
async fn no_secret_reaches_search_feed_or_file_before_or_after_sealing_or_a_kill() {
    // Without redaction all of these find it, so that they would.
    for redactor in [None, Some(Arc::clone(&REDACTOR))] {
        let is_on = redactor.is_some();
        let folder = tempfile::tempdir().unwrap();
        let config = Config { redaction: redactor, ..config() };
        let server = Server::start_with(folder.path(), config.clone(), |store| store).await;
        let mut tail = Tail::open(&server, &Filter::All, None).await;
        send(&server).await;
        let check = |what: &str, text: &str| {
            assert_eq!(!text.contains(SECRET), is_on, "{what}: {text}");
            assert_eq!(text.contains("[redacted:"), is_on, "{what}: {text}");
        };
        check("feed", &feed(&mut tail).await);
        let hot = server.all_records("t").await;
        check("hot", &text_of(&hot));
        check("written ahead", &written_ahead(&server, folder.path()).await);
        drop(tail);
        server.kill().await;

        let server = Server::start_with(folder.path(), config.clone(), |store| store).await;
        assert_eq!(server.all_records("t").await, hot, "the same records with the same places");
        server.kill().await;

        let hasty = Config { seal_after: Duration::from_millis(1), ..config };
        let server = Server::start_with(folder.path(), hasty, |store| store).await;
        let tenant = TenantId::parse("t").unwrap();
        let is_sealed = || async {
            !server.store.catalog.segments(&tenant, &TimeRange::ALL).await.unwrap().is_empty()
                && server.wal_files(folder.path()).is_empty()
        };
        until("all is sealed", is_sealed).await;
        let mut sealed = server.all_records("t").await;
        sealed.sort_by_key(Record::key);
        let mut hot = hot;
        hot.sort_by_key(Record::key);
        assert_eq!(text_of(&sealed), text_of(&hot));
        server.stop().await;
        assert!(!lies_in_a_file(folder.path(), SECRET));
    }
}

#[tokio::test]
async fn secrets_are_counted_once_by_rule_and_own_rules_are_for_their_tenants() {
    let folder = tempfile::tempdir().unwrap();
    let own =
        OwnRule::new("line-number", r"line (?P<secret>\d+)", BTreeSet::from([TenantId::parse("t").unwrap()]));
    let disabled = BTreeSet::from(["url-password".to_owned()]);
    let redactor = Arc::new(Redactor::new(&disabled, vec![own.unwrap()]).unwrap());
    let names: BTreeSet<_> = redactor.names().map(str::to_owned).collect();
    let config = Config { redaction: Some(redactor), ..config() };
    let server = Server::start_with(folder.path(), config, |store| store).await;
    let counts = || {
        let families = server.registry.gather();
        let family = families.iter().find(|f| f.name() == "heliograph_indexer_redactions_total").unwrap();
        let count = |m: &prometheus::proto::Metric| {
            (m.get_label()[0].value().to_owned(), m.get_counter().get_value())
        };
        family.get_metric().iter().map(count).collect::<Vec<_>>()
    };
    assert_eq!(
        counts().into_iter().map(|(rule, _)| rule).collect::<BTreeSet<_>>(),
        names,
        "all of them from 0"
    );
    send(&server).await;
    assert_eq!(server.send("other", "p", 1, &records("x", 0..1)).await, 200);
    let expected: Vec<_> = [
        ("api-key", 1.0),
        ("authorization-header", 1.0),
        ("line-number", 2.0),
        ("password", 1.0),
        ("private-key", 1.0),
        ("token", 1.0),
    ]
    .into_iter()
    .map(|(rule, count)| (rule.to_owned(), count))
    .collect();
    assert_eq!(counts().into_iter().filter(|(_, count)| *count > 0.0).collect::<Vec<_>>(), expected);
    assert!(server.everything("other").await.contains_key("x line 0"));
    let found = server.everything("t").await;
    assert!(found.contains_key("agent line [redacted:line-number]"), "{found:?}");
    assert!(
        found.contains_key(&format!("connected to postgres://airflow:{SECRET}@db/airflow")),
        "its rule is off"
    );
    server.stop().await;
}
