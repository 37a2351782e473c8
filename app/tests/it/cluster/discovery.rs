//! Indexers come and go, and query nodes learn of it from the catalog alone.

use std::time::Duration;

use reqwest::Client;
use tokio::task::JoinSet;

use super::watchers::Known;
use super::{Cluster, acknowledged, search, until_found};
use crate::postgres_server;

async fn cluster() -> Cluster {
    let postgres = tokio::task::spawn_blocking(postgres_server::shared).await.unwrap();
    Cluster::new(postgres.new_database(None).await, 2, "seal_after = \"1h\"\n").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_is_seen_and_who_leaves_in_order_takes_nothing_along() {
    let cluster = cluster().await;
    let (stays, query, urls) = (cluster.indexer(0).await, cluster.query(0).await, cluster.urls());
    let client = Client::new();
    for n in 1..=10 {
        acknowledged(&client, &urls[0], "line", n).await;
    }
    until_found(&query, &cluster.token, "line", 10).await;

    // Both take probes from here on, and searches look for them all the time.
    let known = Known::default();
    let (mut probing, mut searching) = (JoinSet::new(), JoinSet::new());
    probing.spawn(known.clone().probe(urls.clone(), Duration::from_millis(20)));
    searching.spawn(known.clone().search(query.base("query.listen"), cluster.token.clone()));
    let leaves = cluster.indexer(1).await;
    // The very next search must ask it: nobody has told the query node of it.
    for n in 11..=20 {
        acknowledged(&client, &urls[1], "line", n).await;
        let (is_complete, found) = search(&query, &cluster.token, "line").await;
        assert!(!is_complete || found.len() == n, "{n} of {found:?}");
    }
    until_found(&query, &cluster.token, "line", 20).await;

    leaves.stop().await;
    until_found(&query, &cluster.token, "line", 20).await;
    let probes = known.probes();
    // Those that only the other one takes now.
    let go_on = async {
        while known.probes() < probes + 10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::server::PATIENCE, go_on).await.expect("probes go on");
    known.stop.store(true, std::sync::atomic::Ordering::SeqCst);
    probing.join_all().await;
    for asked in searching.join_all().await {
        eprintln!("discovery: asked: {}", asked.said());
        assert!(asked.complete > 0);
    }
    until_found(&query, &cluster.token, "probe", known.probes()).await;
    stays.stop().await;
    query.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_indexer_is_missed_until_another_answers_for_it() {
    let cluster = cluster().await;
    let (dying, query, urls) = (cluster.indexer(0).await, cluster.query(0).await, cluster.urls());
    let client = Client::new();
    for n in 1..=20 {
        acknowledged(&client, &urls[0], "line", n).await;
    }
    until_found(&query, &cluster.token, "line", 20).await;
    dying.kill().await;
    // There is nobody who could take over, so this holds for as long as anybody likes to look.
    for _ in 0..10 {
        let body = query.get(&cluster.token, "/api/v1/search?q=line").await;
        assert_eq!(body["complete"], false, "{body}");
        assert_eq!(body["stats"]["unreachable"].as_array().unwrap().len(), 1, "{body}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let heir = cluster.indexer(1).await;
    until_found(&query, &cluster.token, "line", 20).await;
    heir.stop().await;
    query.stop().await;
}
