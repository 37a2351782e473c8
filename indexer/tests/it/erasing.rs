//! What is erased is nowhere: not hot, not written ahead, in no segment and no object; and nothing else is missing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use heliograph_indexer::Config;
use heliograph_model::filter::{Field, Filter, Test};
use heliograph_model::record::Record;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::TimeRange;
use heliograph_store::catalog::{Erasure, NewErasure};
use heliograph_store::erasure::{self, Receipt};
use uuid::Uuid;

use crate::bench::{Server, clock, config, once, records, until};
use crate::upkeep::{BATCHES, Point, Stop, busy, eager, fill_with, off, segments};

/// Nothing else has this.
const CANARY: &str = "kea7q0zx9vd2m";

/// Every seventh of these is to be erased.
fn with_canaries(source: &str, places: std::ops::Range<u64>) -> Vec<Record> {
    let mut all = records(source, places);
    for record in all.iter_mut().filter(|record| record.position.0 % 7 == 3) {
        record.message = format!("{} of {CANARY}", record.message).into();
    }
    all
}

fn is_canary(message: &str) -> bool {
    message.contains(CANARY)
}

fn rest(records: &[Record]) -> BTreeMap<String, usize> {
    once(records.iter().filter(|record| !is_canary(&record.message)))
}

async fn ask(server: &Server, tenant: &str) -> Erasure {
    let new = NewErasure {
        id: Uuid::new_v4(),
        tenant: TenantId::parse(tenant).unwrap(),
        query: CANARY.to_owned(),
        filter: Filter::Is(Field::Message, Test::Text(CANARY.to_owned())),
        range: TimeRange::ALL,
        by: "a test".to_owned(),
        at: clock().now(),
    };
    server.store.catalog.request_erasure(&new).await.unwrap()
}

async fn done(server: &Server, asked: &Erasure) -> Receipt {
    until("it is erased", || async {
        let all = server.store.catalog.erasures().await.unwrap();
        all.iter().any(|erasure| erasure.id == asked.id && erasure.done.is_some())
    })
    .await;
    erasure::receipt(&server.store, asked.id).await.unwrap()
}

/// Every record of every object that there is, by its key and without an index: none of it is to be erased, and no
/// object is left of what was.
async fn is_nowhere(server: &Server, tenant: &str) {
    let filter = Filter::Is(Field::Message, Test::Contains(CANARY.to_owned()));
    let checked = erasure::check(&server.store, &TenantId::parse(tenant).unwrap(), &filter).await.unwrap();
    assert_eq!((checked.found, checked.other_objects), (0, 0), "{checked:?}");
}

#[tokio::test]
async fn what_is_hot_and_what_is_sealed_is_erased_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let server =
        Server::start_with(folder.path(), Config { upkeep: busy(), ..config() }, |store| store).await;
    let (of_t, of_u) = (with_canaries("a", 0..100), with_canaries("a", 0..50));
    assert_eq!(server.send("t", "p", 1, &of_t).await, 200);
    assert_eq!(server.send("u", "p", 1, &of_u).await, 200);
    let asked = ask(&server, "t").await;
    assert_eq!((asked.waiting, asked.written_ahead), (2, 2), "of both tenants, nothing is sealed yet");
    let receipt = done(&server, &asked).await;
    assert_eq!(server.everything("t").await, rest(&of_t));
    assert_eq!(server.everything("u").await, once(&of_u), "another tenant's records stay");
    is_nowhere(&server, "t").await;
    assert!(server.wal_files(folder.path()).is_empty());
    assert_eq!(
        (receipt.state, receipt.records_removed, receipt.write_ahead_objects_released),
        ("done", 14, 2)
    );
    assert_eq!((receipt.rewritten().count(), receipt.query), (1, None));
    assert_eq!(server.figure("heliograph_indexer_erased_records_total"), 14.0);

    // The same batch again is known, and not stored again; a new one with the same text is not meant.
    assert_eq!(server.send("t", "p", 1, &of_t).await, 200);
    assert_eq!(server.everything("t").await, rest(&of_t));
    let late = with_canaries("b", 0..10);
    assert_eq!(server.send("t", "q", 1, &late).await, 200);
    assert_eq!(server.everything("t").await.len(), 86 + 10);
    // Of one that has nothing else, nothing stays.
    let asked = ask(&server, "t").await;
    assert_eq!(done(&server, &asked).await.records_removed, 1);
    assert_eq!(server.everything("t").await.len(), 86 + 9);
    server.stop().await;
}

/// As many small segments as batches, of a tenant that has canaries in most of them.
async fn filled(folder: &Path) -> Vec<Record> {
    let all = with_canaries("a", 0..BATCHES * 10);
    fill_with(folder, eager(off()), |sequence| with_canaries("a", sequence * 10 - 10..sequence * 10)).await;
    all
}

#[tokio::test]
async fn killed_at_any_point_it_is_finished_by_the_next() {
    let points = [
        Point::BeforePut,
        Point::AfterPut,
        Point::BeforeReplace,
        Point::AfterReplace,
        Point::BeforeDelete,
        Point::AfterDelete,
        Point::BeforeForget,
        Point::AfterForget,
        Point::BeforeFinish,
        Point::AfterFinish,
    ];
    for point in points {
        println!("{point:?}");
        let folder = tempfile::tempdir().unwrap();
        let all = filled(folder.path()).await;
        let stop = Stop::at(point);
        let server = Server::start_with(folder.path(), eager(off()), |store| stop.wrap(store)).await;
        let asked = ask(&server, "t").await;
        stop.is_reached().await;
        let found = server.everything("t").await;
        assert!(found.values().all(|count| *count == 1), "{point:?}");
        let others: BTreeMap<_, _> = found.into_iter().filter(|(message, _)| !is_canary(message)).collect();
        assert_eq!(others, rest(&all), "{point:?}");
        server.kill().await;
        let server = Server::start_with(folder.path(), eager(off()), |store| store).await;
        let receipt = done(&server, &asked).await;
        assert_eq!(server.everything("t").await, rest(&all), "{point:?}");
        is_nowhere(&server, "t").await;
        let removed = all.iter().filter(|record| is_canary(&record.message)).count() as u64;
        assert_eq!(receipt.records_removed, removed, "{point:?}: each counts once, whoever removed it");
        server.stop().await;
    }
}

#[tokio::test]
async fn beside_merges_and_new_records_all_that_was_asked_for_goes() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = filled(folder.path()).await;
    let server = Arc::new(Server::start_with(folder.path(), eager(busy()), |store| store).await);
    let sending = async {
        let mut sent = Vec::new();
        for sequence in 1..=60_u64 {
            let batch = records("b", sequence * 10 - 10..sequence * 10);
            assert_eq!(server.send("t", "q", sequence, &batch).await, 200);
            sent.extend(batch);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        sent
    };
    let asking = async {
        let asked = ask(&server, "t").await;
        done(&server, &asked).await
    };
    let (sent, receipt) = tokio::join!(sending, asking);
    all.extend(sent);
    assert_eq!(receipt.records_removed, BATCHES * 10 / 7 + 1);
    until("merging goes on afterwards", || async { segments(&server).await.len() < 30 }).await;
    assert_eq!(server.everything("t").await, rest(&all));
    let filter = Filter::Is(Field::Message, Test::Contains(CANARY.to_owned()));
    let checked = erasure::check(&server.store, &TenantId::parse("t").unwrap(), &filter).await.unwrap();
    assert_eq!(checked.found, 0, "{checked:?}");
    Arc::into_inner(server).unwrap().stop().await;
}

#[tokio::test]
async fn several_indexers_seal_and_one_erases() {
    let folder = tempfile::tempdir().unwrap();
    let shared = || Config { advertise: Some(String::new()), upkeep: busy(), ..config() };
    let one = Server::start_with(folder.path(), shared(), |store| store).await;
    let two = Server::start_with(folder.path(), shared(), |store| store).await;
    let (of_one, of_two) = (with_canaries("a", 0..50), with_canaries("b", 0..50));
    until("both have joined", || async {
        one.send("t", "p", 1, &of_one).await == 200 && two.send("t", "q", 1, &of_two).await == 200
    })
    .await;
    let asked = ask(&two, "t").await;
    let receipt = done(&one, &asked).await;
    let figure = |server: &Server| server.figure("heliograph_indexer_erased_records_total");
    assert_eq!((receipt.records_removed, figure(&one) + figure(&two)), (14, 14.0));
    assert!(figure(&one) == 0.0 || figure(&two) == 0.0, "one of them did it");
    let found = one.everything("t").await;
    assert_eq!(found, rest(&of_one.into_iter().chain(of_two).collect::<Vec<_>>()));
    is_nowhere(&one, "t").await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_keeps_an_erasure_from_being_done_and_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    assert_eq!(server.send("t", "p", 1, &with_canaries("a", 0..10)).await, 200);
    let file = server.wal_files(folder.path()).remove(0);
    server.kill().await;
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&file, bytes).unwrap();
    let server =
        Server::start_with(folder.path(), Config { upkeep: busy(), ..config() }, |store| store).await;
    assert_eq!(server.send("t", "p", 2, &with_canaries("b", 0..10)).await, 200);
    let asked = ask(&server, "t").await;
    until("what can be read is sealed", || async { server.figure("heliograph_indexer_hot_records") == 0.0 })
        .await;
    let receipt = erasure::receipt(&server.store, asked.id).await.unwrap();
    assert_eq!((receipt.state, receipt.write_ahead_objects_left), ("waiting", 1));
    server.stop().await;
}
