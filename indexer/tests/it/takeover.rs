//! Indexers that share a catalog: one dies, or is cut off, and another answers for it; nothing is lost or doubled.

use std::time::Duration;

use heliograph_indexer::{Config, Error};
use heliograph_model::scan::{HotHeads, Scans};
use heliograph_store::catalog::{Indexer, Lease};
use serde_json::json;
use uuid::Uuid;

use crate::bench::{CLUSTER, Server, all_of, config, once, records, until};

/// A member of a cluster; the bench puts its own address in.
fn shared() -> Config {
    Config { advertise: Some(String::new()), ..config() }
}

pub(crate) async fn join(folder: &std::path::Path) -> (Server, Lease) {
    let server = Server::start_with(folder, shared(), |store| store).await;
    let found = listed(&server).await;
    let own = found.iter().find(|indexer| indexer.address == server.url).unwrap();
    assert_eq!(own.lease.epoch, 1);
    (server, own.lease)
}

async fn listed(server: &Server) -> Vec<Indexer> {
    server.store.catalog.indexers().await.unwrap()
}

/// Which indexers a process answers for.
pub(crate) async fn answered(server: &Server, asked: &str) -> Vec<String> {
    let scans = Scans::from(all_of("t"));
    let response = server
        .post(&format!("/internal/v1/scan{asked}"))
        .bearer_auth(CLUSTER)
        .json(&scans)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let body = response.text().await.unwrap();
    let heads: Vec<HotHeads> = serde_json::from_str(body.lines().next().unwrap()).unwrap();
    heads.into_iter().map(|head| head.indexer).collect()
}

#[tokio::test]
async fn what_a_dead_indexer_holds_is_answered_for_sealed_and_let_go_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let (one, dead) = join(folder.path()).await;
    let (two, _) = join(folder.path()).await;
    assert_eq!(one.send("t", "p", 1, &records("a", 0..50)).await, 200);
    assert_eq!(two.send("t", "p", 2, &records("a", 50..60)).await, 200, "the sequence is everybody's");
    one.kill().await;
    // Instead of waiting for its end.
    two.store.catalog.renew_lease(&dead, Duration::ZERO).await.unwrap();
    let id = dead.indexer.to_string();
    until("it is answered for", || async { answered(&two, "").await.contains(&id) }).await;
    assert_eq!(
        answered(&two, &format!("?indexers={id},{}", Uuid::new_v4())).await,
        std::slice::from_ref(&id)
    );
    // A tail that goes on from before it died.
    let ask = json!({ "indexer": id, "tenant": "t", "filter": all_of("t").filter, "after": 0 });
    let mut feed = two.post("/internal/v1/feed").bearer_auth(CLUSTER).json(&ask).send().await.unwrap();
    assert_eq!(feed.status(), 200);
    let first = feed.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains(&id), "{first:?}");

    until("it is no more", || async { listed(&two).await.iter().all(|i| i.lease.indexer != dead.indexer) })
        .await;
    let marks = two.store.catalog.segments(&all_of("t").tenant, &all_of("t").range).await.unwrap();
    assert_eq!(marks.iter().map(|s| (s.indexer, s.records)).collect::<Vec<_>>(), [(dead.indexer, 50)]);
    assert_eq!(two.store.catalog.wal_objects(dead.indexer).await.unwrap(), []);
    until("nobody answers for it", || async { !answered(&two, "").await.contains(&id) }).await;
    assert!(two.figure("heliograph_indexer_takeovers_total") >= 1.0);
    assert_eq!(two.send("t", "p", 1, &records("a", 0..50)).await, 200, "a repeat");
    assert_eq!(two.send("t", "p", 3, &records("a", 60..70)).await, 200);
    two.stop().await;
}

#[tokio::test]
async fn who_was_taken_over_acknowledges_nothing_deletes_nothing_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (server, lease) = join(folder.path()).await;
    assert_eq!(server.send("t", "p", 1, &records("a", 0..10)).await, 200);
    let catalog = std::sync::Arc::clone(&server.store.catalog);
    catalog.renew_lease(&lease, Duration::ZERO).await.unwrap();
    let claimed = catalog.claim_indexer("http://elsewhere", Duration::from_mins(1), &[]).await.unwrap();
    assert_eq!(claimed, Some(Lease { epoch: 2, ..lease }));
    assert_ne!(server.send("t", "p", 2, &records("a", 10..20)).await, 200);
    let error = server.ended().await.unwrap_err();
    assert!(matches!(error, Error::Fenced { indexer } if indexer == lease.indexer), "{error}");

    let tenant = all_of("t").tenant;
    let producer = heliograph_model::batch::ProducerId::parse("p").unwrap();
    assert_eq!(catalog.producer(&tenant, &producer).await.unwrap(), Some((1, 1)));
    let needed = catalog.wal_objects(lease.indexer).await.unwrap();
    assert_eq!(needed.len(), 1);
    let folder = folder.path().join("objects/w");
    let files =
        std::fs::read_dir(&folder).unwrap().flat_map(|f| std::fs::read_dir(f.unwrap().path()).unwrap());
    let names: Vec<_> = files.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.contains(&needed[0].object.simple().to_string()), "{names:?}");
    // Its lease is the other's still.
    assert!(catalog.indexers().await.unwrap()[0].remaining > Duration::from_secs(30));
}

#[tokio::test]
async fn who_stops_in_order_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let (one, lease) = join(folder.path()).await;
    assert_eq!(one.send("t", "p", 1, &records("a", 0..10)).await, 200);
    let catalog = std::sync::Arc::clone(&one.store.catalog);
    one.stop().await;
    let left = catalog.indexers().await.unwrap();
    assert_eq!(left.iter().map(|i| (i.lease, i.remaining)).collect::<Vec<_>>(), [(lease, Duration::ZERO)]);
    let (two, _) = join(folder.path()).await;
    let id = lease.indexer;
    until("it is no more", || async { listed(&two).await.iter().all(|i| i.lease.indexer != id) }).await;
    let sealed = catalog.segments(&all_of("t").tenant, &all_of("t").range).await.unwrap();
    assert_eq!(sealed.iter().map(|s| s.records).sum::<u64>(), 10);
    two.stop().await;
}

#[tokio::test]
async fn what_embedded_mode_left_is_taken_over_too() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Server::start(folder.path()).await;
    assert_eq!(embedded.send("t", "p", 1, &records("a", 0..10)).await, 200);
    embedded.kill().await;
    let (server, _) = join(folder.path()).await;
    until("it is sealed", || async {
        let found = server.store.catalog.segments(&all_of("t").tenant, &all_of("t").range).await.unwrap();
        found.iter().map(|s| s.records).sum::<u64>() == 10
    })
    .await;
    until("it is no more", || async { listed(&server).await.len() == 1 }).await;
    server.stop().await;
    // And back again.
    let embedded = Server::start(folder.path()).await;
    assert_eq!(embedded.send("t", "p", 2, &records("a", 10..20)).await, 200);
    assert_eq!(embedded.scan(&all_of("t")).await.1.len(), 10);
    assert_eq!(once(&records("a", 10..20)).len(), 10);
    embedded.stop().await;
}
