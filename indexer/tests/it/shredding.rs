//! A tenant that is erased with its key: nothing of it is left, nobody sends it back, and all others go on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use heliograph_indexer::{Config, Upkeep};
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_store::catalog::{ErasedAs, Erasure, NewTenantErasure};
use heliograph_store::erasure::{self, Left, Receipt};
use uuid::Uuid;

use crate::bench::{Server, clock, config, once, records, until};
use crate::takeover::{answered, join};
use crate::upkeep::{BATCHES, Point, Stop, busy, eager, fill_with, off};

fn name(tenant: &str) -> TenantId {
    TenantId::parse(tenant).unwrap()
}

async fn erase(server: &Server, tenant: &str) -> Erasure {
    let by = "a test".to_owned();
    let new = NewTenantErasure { id: Uuid::new_v4(), tenant: name(tenant), by, at: clock().now() };
    server.store.catalog.erase_tenant(&new).await.unwrap()
}

async fn done(server: &Server, asked: &Erasure) -> Receipt {
    until("it is erased", || async {
        let all = server.store.catalog.erased_tenants().await.unwrap();
        all.iter().any(|tenant| tenant.erasure == asked.id && tenant.done.is_some())
    })
    .await;
    erasure::receipt(&server.store, asked.id).await.unwrap()
}

/// Nothing is left of a tenant that was erased so often.
async fn is_nowhere(server: &Server, tenant: &str, erasures: u64) {
    let left = erasure::check_erased(&server.store, &name(tenant)).await.unwrap();
    assert_eq!(left, Left { erasures, ..Left::default() });
}

fn never_sealed() -> Config {
    Config { seal_after: Duration::from_hours(1), upkeep: busy(), ..config() }
}

#[tokio::test]
async fn what_is_hot_and_what_is_sealed_goes_and_another_tenant_has_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    fill_with(folder.path(), eager(off()), |sequence| records("a", sequence * 10 - 10..sequence * 10)).await;
    let server = Server::start_with(folder.path(), never_sealed(), |store| store).await;
    let hot = records("b", 0..30);
    assert_eq!(server.send("t", "q", 1, &hot).await, 200);
    let of_u = records("c", 0..40);
    assert_eq!(server.send("u", "q", 1, &of_u).await, 200);
    let old = server.store.tenants.get(&name("t")).await.unwrap().uid;
    assert_eq!(server.everything("t").await.len() as u64, BATCHES * 10 + 30);

    let asked = erase(&server, "t").await;
    assert_eq!((asked.waiting, asked.written_ahead), (2, 2), "of both tenants");
    assert_eq!(server.store.catalog.segments_of(&[name("t")], &asked.range).await.unwrap(), []);
    let response = server.agent("t", Some(("q", 1, 2)), &hot).send().await.unwrap();
    assert!([410, 503].contains(&response.status().as_u16()), "{}", response.status());
    let receipt = done(&server, &asked).await;
    is_nowhere(&server, "t", 1).await;
    assert!(server.wal_files(folder.path()).is_empty());
    assert!(!has_files(&folder.path().join("objects/t").join(old.simple().to_string()).join("s")));
    assert!(server.everything("t").await.is_empty());
    assert_eq!(server.everything("u").await, once(&of_u));
    let shredded = receipt.objects.iter().filter(|object| object.what == ErasedAs::Shredded).count() as u64;
    assert_eq!((receipt.state, receipt.records_removed), ("done", BATCHES * 10));
    assert!((1..=BATCHES).contains(&shredded), "as far as they are not merged: {shredded}");
    assert_eq!(receipt.key_destroyed, Some(asked.at));
    assert_eq!(server.figure("heliograph_indexer_wal_damaged_total"), 0.0);

    // Who still sends is told so once and for all, in words that no proxy says.
    for sequence in [1, 2] {
        let response = server.agent("t", Some(("q", 1, sequence)), &hot).send().await.unwrap();
        assert_eq!(response.status(), 410);
        let said: serde_json::Value = response.json().await.unwrap();
        assert_eq!((&said["erased"], &said["code"]), (&true.into(), &9.into()));
        assert_eq!(said["message"], "tenant t was erased: nothing more is taken for it");
    }
    // Another tenant of this name has nothing to do with it.
    server.store.tenants.create(&name("t"), &Workspace::parse("w").unwrap()).await.unwrap();
    let new = records("d", 0..20);
    assert_eq!(server.send("t", "q", 2, &new).await, 409, "nothing is known of its producer");
    assert_eq!(server.send("t", "q", 1, &new).await, 200);
    assert_eq!(server.everything("t").await, once(&new));
    all.extend(new);
    server.kill().await;
    let server = Server::start_with(folder.path(), eager(busy()), |store| store).await;
    until("it is sealed", || async { server.figure("heliograph_indexer_hot_records") == 0.0 }).await;
    assert_eq!(server.everything("t").await, once(&all));
    assert_ne!(server.store.tenants.get(&name("t")).await.unwrap().uid, old);
    is_nowhere(&server, "t", 1).await;
    server.stop().await;
}

fn has_files(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some())
}

#[tokio::test]
async fn killed_at_any_point_it_is_finished_by_the_next() {
    for point in [Point::BeforeDelete, Point::AfterDelete, Point::BeforeFinish, Point::AfterFinish] {
        println!("{point:?}");
        let folder = tempfile::tempdir().unwrap();
        let none = Upkeep { delete_after: Duration::from_hours(1), ..off() };
        fill_with(folder.path(), eager(none), |n| records("a", n * 10 - 10..n * 10)).await;
        let stop = Stop::at(point);
        let config = Config { upkeep: none, ..never_sealed() };
        let server = Server::start_with(folder.path(), config, |store| stop.wrap(store)).await;
        let of_u = records("c", 0..40);
        assert_eq!(server.send("u", "q", 1, &of_u).await, 200);
        let asked = erase(&server, "t").await;
        stop.is_reached().await;
        assert!(server.everything("t").await.is_empty(), "{point:?}");
        server.kill().await;
        let server = Server::start_with(folder.path(), eager(none), |store| store).await;
        let receipt = done(&server, &asked).await;
        is_nowhere(&server, "t", 1).await;
        assert_eq!(receipt.records_removed, BATCHES * 10, "{point:?}: each counts once");
        assert_eq!(server.everything("u").await, once(&of_u));
        server.stop().await;
    }
}

#[tokio::test]
async fn what_was_written_ahead_is_passed_over_by_who_starts_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        Config { upkeep: Upkeep { look_every: Duration::from_hours(1), ..busy() }, ..never_sealed() };
    let server = Server::start_with(folder.path(), config, |store| store).await;
    assert_eq!(server.send("t", "q", 1, &records("a", 0..30)).await, 200);
    let of_u = records("c", 0..40);
    assert_eq!(server.send("u", "q", 1, &of_u).await, 200);
    let catalog = Arc::clone(&server.store.catalog);
    server.kill().await;
    let by = "a test".to_owned();
    let new = NewTenantErasure { id: Uuid::new_v4(), tenant: name("t"), by, at: clock().now() };
    let asked = catalog.erase_tenant(&new).await.unwrap();
    drop(catalog);
    let server = Server::start_with(folder.path(), never_sealed(), |store| store).await;
    assert!(server.everything("t").await.is_empty());
    done(&server, &asked).await;
    is_nowhere(&server, "t", 1).await;
    assert_eq!(server.everything("u").await, once(&of_u));
    assert_eq!(server.figure("heliograph_indexer_wal_damaged_total"), 0.0, "nothing is wrong with it");
    server.stop().await;
}

#[tokio::test]
async fn beside_senders_seals_and_merges_all_of_it_goes_and_nothing_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = Arc::new(Server::start_with(folder.path(), eager(busy()), |store| store).await);
    let sending = async |producer: &str| {
        for sequence in 1..500_u64 {
            let batch = records(producer, sequence * 10 - 10..sequence * 10);
            match server.send("t", producer, sequence, &batch).await {
                200 => {}
                // Which batch is the next of a producer of whom nothing is known any more.
                503 | 409 => tokio::time::sleep(Duration::from_millis(20)).await,
                410 => return sequence,
                other => panic!("{other}"),
            }
        }
        panic!("it was never told");
    };
    let others = async {
        let mut sent = Vec::new();
        for sequence in 1..=60_u64 {
            let batch = records("o", sequence * 10 - 10..sequence * 10);
            assert_eq!(server.send("u", "o", sequence, &batch).await, 200, "others notice nothing");
            sent.extend(batch);
        }
        sent
    };
    let asking = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let asked = erase(&server, "t").await;
        done(&server, &asked).await
    };
    let (_, _, sent, receipt) = tokio::join!(sending("p"), sending("q"), others, asking);
    assert!(receipt.records_removed > 0);
    until("slow writers have taken back what they put", || async {
        erasure::check_erased(&server.store, &name("t")).await.unwrap().objects == 0
    })
    .await;
    is_nowhere(&server, "t", 1).await;
    assert_eq!(server.everything("u").await, once(&sent));
    Arc::into_inner(server).unwrap().stop().await;
}

#[tokio::test]
async fn a_writer_that_came_too_late_leaves_nothing_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let stop = Stop::at(Point::BeforePut);
    let slow = Config { seal_bytes: 1, ..never_sealed() };
    let server = Server::start_with(folder.path(), slow, |store| stop.wrap(store)).await;
    assert_eq!(server.send("t", "q", 1, &records("a", 0..30)).await, 200);
    stop.is_reached().await;
    let asked = erase(&server, "t").await;
    let all = || async { server.store.catalog.erased_tenants().await.unwrap() };
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        (all().await[0].waiting, all().await[0].done),
        (1, None),
        "who seals it may yet put something"
    );
    stop.go_on();
    done(&server, &asked).await;
    is_nowhere(&server, "t", 1).await;
    // As if it had been killed after it put its object: whoever sweeps next takes it away.
    let uid = all().await[0].uid;
    let path = heliograph_store::layout::segment(uid, Uuid::now_v7());
    heliograph_store::objects::create(&*server.store.objects, &path, "x".into()).await.unwrap();
    until("it is swept", || async {
        erasure::check_erased(&server.store, &name("t")).await.unwrap().objects == 0
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn a_dead_indexer_is_waited_for_and_its_heir_brings_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let (one, dead) = join(folder.path()).await;
    let (two, _) = join(folder.path()).await;
    assert_eq!(one.send("t", "p", 1, &records("a", 0..50)).await, 200);
    let of_u = records("c", 0..20);
    assert_eq!(one.send("u", "p", 1, &of_u).await, 200);
    one.kill().await;
    let asked = erase(&two, "t").await;
    two.store.catalog.renew_lease(&dead, Duration::ZERO).await.unwrap();
    let receipt = done(&two, &asked).await;
    assert_eq!((receipt.records_removed, receipt.write_ahead_objects_released), (0, 2));
    is_nowhere(&two, "t", 1).await;
    until("the dead one is no more", || async {
        two.store.catalog.indexers().await.unwrap().iter().all(|of| of.lease.indexer != dead.indexer)
    })
    .await;
    let id = dead.indexer.to_string();
    until("nobody answers for it", || async { !answered(&two, "").await.contains(&id) }).await;
    assert_eq!(two.everything("u").await, once(&of_u));
    two.stop().await;
}
