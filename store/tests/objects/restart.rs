//! A store that is away for a while.

use bytes::Bytes;
use heliograph_store::{layout, objects};
use heliograph_testbed::faults::http::Proxy;
use heliograph_testbed::s3;
use object_store::ObjectStoreExt as _;
use uuid::Uuid;

use crate::on_s3;

#[tokio::test]
async fn what_was_created_is_there_after_the_server_was_away() {
    let folder = tempfile::tempdir().unwrap();
    let server = s3::Server::start(folder.path()).await;
    let address = server.address();
    let (store, _) = objects::open(&on_s3(format!("http://{address}"))).unwrap();
    let [before, during] = [(); 2].map(|()| layout::wal(Uuid::nil(), layout::new_object_id()));
    objects::create(&*store, &before, Bytes::from_static(b"before")).await.unwrap();
    server.stop().await;
    let creating = objects::create(&*store, &during, Bytes::from_static(b"during"));
    let starting = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        s3::Server::start_on(folder.path(), address).await
    };
    let (created, _server) = tokio::join!(creating, starting);
    created.unwrap();
    for (path, expected) in [(before, "before"), (during, "during")] {
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_store_that_is_gone_is_an_error_in_bounded_tries_and_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let server = s3::Server::start(folder.path()).await;
    let proxy = Proxy::start(server.address()).await;
    server.stop().await;
    let (store, metrics) = objects::open(&on_s3(proxy.url())).unwrap();
    let registry = prometheus::Registry::new();
    metrics.register(&registry).unwrap();
    let path = layout::wal(Uuid::nil(), layout::new_object_id());
    let error = objects::create(&*store, &path, Bytes::from_static(b"x")).await.unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(!told.contains(s3::SECRET_KEY), "{told}");
    let retries: f64 = registry
        .gather()
        .iter()
        .filter(|family| family.name() == "heliograph_store_retries_total")
        .flat_map(|family| family.get_metric().iter().map(|m| m.get_counter().get_value()))
        .sum();
    assert!((1.0..=7.0).contains(&retries), "{retries}");
}
