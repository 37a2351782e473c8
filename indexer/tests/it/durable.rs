//! Nothing acknowledged is lost or doubled.

use std::sync::Arc;

use futures::future::join_all;
use heliograph_model::record::Record;

use crate::bench::{Server, config, once, records};

#[tokio::test]
async fn the_same_batch_from_many_sides_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let all = records("a", 0..100);
    for sequence in 1..=5 {
        let batch = &all[(usize::try_from(sequence).unwrap() - 1) * 20..][..20];
        let answers = join_all((0..8).map(|_| server.send("t", "p", sequence, batch))).await;
        assert_eq!(answers, [200; 8]);
    }
    assert_eq!(server.everything("t").await, once(&all));
    server.stop().await;
}

#[tokio::test]
async fn producers_and_tenants_count_apart() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let [a, b, c] = [records("a", 0..60), records("b", 0..60), records("c", 0..60)];
    let send = async |tenant: &str, producer: &str, records: &[Record]| {
        for (sequence, batch) in (1..).zip(records.chunks(10)) {
            assert_eq!(server.send(tenant, producer, sequence, batch).await, 200);
        }
    };
    tokio::join!(send("one", "p", &a), send("one", "q", &b), send("two", "p", &c));
    assert_eq!(server.everything("one").await, once(a.iter().chain(&b)));
    assert_eq!(server.everything("two").await, once(&c));
    server.stop().await;
}

/// A producer that sends until it is told, and keeps what was acknowledged.
async fn produce(server: &Server, name: &str, from: u64, until: u64) -> u64 {
    let mut sequence = from;
    while sequence <= until {
        let batch = records(name, sequence * 10..sequence * 10 + 10);
        match server.send("t", name, sequence, &batch).await {
            200 => sequence += 1,
            0 | 503 | 429 => break,
            other => panic!("{name} {sequence}: {other}"),
        }
    }
    sequence
}

#[tokio::test]
async fn what_was_acknowledged_survives_every_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut next = [1_u64; 4];
    for round in 0..4_u64 {
        let mut server = Some(Server::start(folder.path()).await);
        let live = Arc::new(server.take().unwrap());
        let producers = join_all((0..4).map(|i| {
            let live = Arc::clone(&live);
            let from = next[i];
            async move { produce(&live, &format!("p{i}"), from, from + 7 + round).await }
        }));
        next.clone_from_slice(&producers.await);
        // One more of each is on its way when everything stops.
        let late = next.map(|n| records("late", n..n + 1));
        let on_the_way = (0..4).map(|i| live.agent("t", Some(("late", round + 1, 1)), &late[i]).send());
        let cut = tokio::time::timeout(std::time::Duration::from_millis(3), join_all(on_the_way));
        drop(cut.await);
        Arc::into_inner(live).unwrap().kill().await;
    }
    let server = Server::start(folder.path()).await;
    let mut found = server.everything("t").await;
    assert!(found.values().all(|count| *count == 1), "{found:?}");
    found.retain(|message, _| !message.starts_with("late"));
    let expected: Vec<_> = (0..4).flat_map(|i| records(&format!("p{i}"), 10..next[i] * 10)).collect();
    assert_eq!(found, once(&expected));
    // The producers' places are remembered, too.
    for (i, next) in next.iter().enumerate() {
        let name = format!("p{i}");
        assert_eq!(server.send("t", &name, next - 1, &records(&name, next * 10 - 10..next * 10)).await, 200);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_stop_under_load_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let sending = join_all((0..4).map(|i| {
        let server = &server;
        async move { produce(server, &format!("p{i}"), 1, 1_000_000).await }
    }));
    let stopping = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        server.stop.cancel();
        let mut ready = server.ready.clone();
        ready.wait_for(|ready| !*ready).await.unwrap();
    };
    let (next, ()) = tokio::join!(sending, stopping);
    server.stop().await;

    let server = Server::start_with(folder.path(), config(), |store| store).await;
    let found = server.everything("t").await;
    assert!(found.values().all(|count| *count == 1));
    for (i, next) in next.iter().enumerate() {
        for record in records(&format!("p{i}"), 10..next * 10) {
            assert!(found.contains_key(&*record.message), "{} of {next}", record.message);
        }
    }
    assert!(next.iter().sum::<u64>() > 8, "something was sent: {next:?}");
    server.stop().await;
}
