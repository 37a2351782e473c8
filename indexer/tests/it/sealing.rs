//! A record moves from hot to sealed in no time: every look finds it exactly once.

use std::time::Duration;

use heliograph_indexer::Config;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::TimeRange;

use crate::bench::{Server, config, once, records, until};

fn eager() -> Config {
    Config { seal_bytes: 20_000, ..config() }
}

async fn segments(server: &Server, tenant: &str) -> usize {
    let tenant = TenantId::parse(tenant).unwrap();
    server.store.catalog.segments(&tenant, &TimeRange::ALL).await.unwrap().len()
}

#[tokio::test]
async fn every_look_while_sealing_finds_each_record_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), eager(), |store| store).await;
    let acknowledged = std::sync::atomic::AtomicU64::new(0);
    let order = std::sync::atomic::Ordering::SeqCst;
    let sending = async {
        for sequence in 1..=60_u64 {
            assert_eq!(
                server.send("t", "p", sequence, &records("a", sequence * 20 - 20..sequence * 20)).await,
                200
            );
            acknowledged.store(sequence * 20, order);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let looking = async {
        let mut looks = 0;
        loop {
            let before = acknowledged.load(order);
            let found = server.everything("t").await;
            let after = acknowledged.load(order) + 20;
            looks += 1;
            assert!(found.values().all(|count| *count == 1), "look {looks}: something is doubled");
            let count = found.len() as u64;
            assert!(before <= count && count <= after, "look {looks}: {before} <= {count} <= {after}");
            if before == 1200 && segments(&server, "t").await >= 3 {
                return looks;
            }
        }
    };
    let ((), looks) = tokio::join!(sending, looking);
    assert!(looks > 3);
    server.kill().await;

    let server = Server::start_with(folder.path(), eager(), |store| store).await;
    assert_eq!(server.everything("t").await, once(&records("a", 0..1200)));
    server.stop().await;
}

#[tokio::test]
async fn a_write_ahead_object_lives_until_its_last_tenant_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    // Long enough for both tenants' batches to share one commit.
    let shared = Config { linger: Duration::from_millis(300), seal_bytes: 50_000, ..config() };
    let server = Server::start_with(folder.path(), shared.clone(), |store| store).await;
    let (large, small) = (records("large", 0..1000), records("small", 0..10));
    let sent = tokio::join!(server.send("large", "p", 1, &large), server.send("small", "p", 1, &small));
    assert_eq!(sent, (200, 200));
    assert_eq!(server.wal_files(folder.path()).len(), 1, "one commit for both");
    until("the large one is sealed", || async { segments(&server, "large").await == 1 }).await;
    assert_eq!(server.wal_files(folder.path()).len(), 1);
    server.kill().await;

    let server = Server::start_with(folder.path(), shared, |store| store).await;
    assert_eq!(server.everything("large").await, once(&large));
    assert_eq!(server.everything("small").await, once(&small));
    server.stop().await;

    let hasty = Config { seal_after: Duration::from_millis(1), ..config() };
    let server = Server::start_with(folder.path(), hasty, |store| store).await;
    until("the small one is sealed", || async { segments(&server, "small").await == 1 }).await;
    until("the object is deleted", || async { server.wal_files(folder.path()).is_empty() }).await;
    assert_eq!(segments(&server, "large").await, 1);
    assert_eq!(server.everything("large").await, once(&large));
    assert_eq!(server.everything("small").await, once(&small));
    // A batch without records leaves its number, and no object.
    assert_eq!(server.send("small", "p", 2, &[]).await, 200);
    assert_eq!(server.send("small", "p", 3, &records("small", 10..11)).await, 200);
    until("nothing is left", || async { server.wal_files(folder.path()).is_empty() }).await;
    server.stop().await;
}

#[tokio::test]
async fn a_kill_while_sealing_neither_loses_nor_doubles() {
    let folder = tempfile::tempdir().unwrap();
    let all = records("a", 0..2_000);
    let mut sequence = 0;
    for round in 0..4_u64 {
        let server = Server::start_with(folder.path(), eager(), |store| store).await;
        for batch in all[sequence * 50..].chunks(50).take(10) {
            sequence += 1;
            assert_eq!(server.send("t", "p", sequence as u64, batch).await, 200);
        }
        // Somewhere between a record's load and its segment's publication.
        tokio::time::sleep(Duration::from_millis(150 + 60 * round)).await;
        server.kill().await;
    }
    let server = Server::start_with(folder.path(), eager(), |store| store).await;
    assert_eq!(server.everything("t").await, once(&all));
    server.stop().await;
}
