//! Promise: data that an earlier version wrote is read by this one, and an older program refuses what a newer wrote.
//!
//! A data folder of each format lies in `app/tests/fixtures`: a killed server's, with its key, a sealed segment and
//! what was written ahead. `scripts/make-data-fixture` makes one from the program as it is.

use std::path::PathBuf;
use std::process::Command;

use sqlx::Connection as _;

use crate::command::run;
use crate::direct::{AGENT_TOKEN, Direct};
use crate::server::{Place, files_below};

fn fixtures() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let mut found: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|e| e == "gz"));
    found.sort();
    found
}

#[tokio::test]
async fn data_of_every_earlier_version_opens_is_found_and_goes_on() {
    assert!(!fixtures().is_empty());
    for fixture in fixtures() {
        assert!(fixture.metadata().unwrap().len() < 300 << 10, "{fixture:?}");
        let place = Place::new();
        let root = place.data().parent().unwrap().to_owned();
        let unpacked = Command::new("tar").arg("xzf").arg(&fixture).arg("-C").arg(&root).status().unwrap();
        assert!(unpacked.success());
        let kinds = ["/objects/w/", "/objects/t/"];
        for kind in kinds {
            let has = files_below(&place.data()).iter().any(|path| path.to_string_lossy().contains(kind));
            assert!(has, "{fixture:?} has nothing in {kind}");
        }
        let environment = [("HELIOGRAPH_AUTH__AGENT_TOKEN", AGENT_TOKEN)];
        let server = place.up_with(&[], &environment).await;
        let token = place.token("fixture", "viewer").await;
        let said = |text: &str| (0..50).map(|n| format!("{n} of the fixture, {text}")).collect::<Vec<_>>();
        let found = server.messages(&token).await;
        assert_eq!(found["sealed"], said("sealed"));
        assert_eq!(found["ahead"], said("written ahead"));
        assert_eq!(found.len(), 2);
        let search = server.get(&token, "/api/v1/search?q=ahead%20AND%2049").await;
        assert_eq!(search["records"].as_array().unwrap().len(), 1, "{search}");
        // The administrator's password and the producers' places are as they were.
        let sign_in = serde_json::json!({ "user": "admin", "password": "fixture-password-1" });
        let session = server
            .api(reqwest::Method::POST, "/api/v1/session")
            .header("origin", server.base("query.listen"))
            .json(&sign_in);
        assert!(session.send().await.unwrap().status().is_success());
        let mut direct = Direct::new("direct");
        direct.send(&server.base("indexer.listen")).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn a_program_refuses_what_a_newer_one_wrote_and_changes_nothing() {
    let place = Place::new();
    let server = place.up().await;
    server.stop().await;
    let catalog = place.data().join("catalog.sqlite");
    let database = format!("sqlite:{}", catalog.display());
    let mut newer = sqlx::SqliteConnection::connect(&database).await.unwrap();
    let migration = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                     VALUES (99999, 'of a newer program', TRUE, x'00', 0)";
    sqlx::query(migration).execute(&mut newer).await.unwrap();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut newer).await.unwrap();
    newer.close().await.unwrap();
    let read = || files_below(&place.data()).into_iter().map(|file| std::fs::read(file).unwrap());
    let before: Vec<_> = read().collect();
    let data = place.data();
    let data = data.to_str().unwrap();
    let said = ["schema version 99999, this program knows versions up to", "use the program that wrote it"];
    for words in [&["up", "--data-dir", data][..], &["admin", "tenant", "list", "--data-dir", data]] {
        run(words).await.failed(2, &said);
        assert_eq!(read().collect::<Vec<_>>(), before);
    }
}
