//! FAULTS.md R7 at the store: a fifth of all requests meets a fault, and nothing is lost, doubled or changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::stream::{self, StreamExt as _};
use heliograph_store::{layout, objects};
use heliograph_testbed::faults::http::{Fault, Proxy};
use heliograph_testbed::s3;
use http::Method;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _};
use uuid::Uuid;

use crate::on_s3;

struct Stage {
    server: s3::Server,
    proxy: Proxy,
    store: Arc<dyn ObjectStore>,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = s3::Server::start(folder.path()).await;
        let proxy = Proxy::start(server.address()).await;
        let (store, _) = objects::open(&on_s3(proxy.url())).unwrap();
        Self { server, proxy, store, _folder: folder }
    }

    async fn read(&self, path: &Path) -> object_store::Result<Bytes> {
        self.store.get(path).await?.bytes().await
    }
}

fn content(seed: usize, bytes: usize) -> Bytes {
    (0..bytes).map(|n| u8::try_from((seed + n * 7) % 251).unwrap()).collect()
}

#[tokio::test]
async fn each_fault_is_survived_by_each_request() {
    let stage = Stage::start().await;
    let faults = stage.proxy.faults();
    let all = Fault::all();
    for (number, fault) in all.into_iter().enumerate() {
        let path = layout::segment(Uuid::new_v4(), layout::new_object_id());
        let bytes = content(number, 200_000);
        faults.next([fault]);
        objects::create(&*stage.store, &path, bytes.clone()).await.expect("created");
        faults.next([fault]);
        assert_eq!(stage.read(&path).await.expect("read"), bytes, "{fault:?}");
        faults.next([fault]);
        let range = stage.store.get_range(&path, 1_000..150_000).await.expect("read in part");
        assert_eq!(range, bytes.slice(1_000..150_000), "{fault:?}");
        faults.next([fault]);
        stage.store.delete(&path).await.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        faults.clear();
        assert!(matches!(stage.store.head(&path).await, Err(Error::NotFound { .. })), "{fault:?}");
    }
}

#[tokio::test]
async fn a_large_object_survives_each_fault_at_each_of_its_requests() {
    let stage = Stage::start().await;
    let bytes = content(1, 17 << 20);
    let kinds = [
        Fault::ResetInBody,
        Fault::ResetAfter,
        Fault::ServerErrorAfter,
        Fault::HangAfter,
        Fault::Twice,
        Fault::CutAnswer,
    ];
    for fault in kinds {
        // A look, the beginning, three parts, the end: the first is struck three times, any of them now and then. One is
        // tried seven times: that all of those are struck does not happen.
        stage.proxy.faults().next([fault; 3]);
        stage.proxy.faults().set(10, [fault]);
        let path = layout::segment(Uuid::new_v4(), layout::new_object_id());
        let created = objects::create(&*stage.store, &path, bytes.clone()).await;
        created.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        stage.proxy.faults().clear();
        assert!(stage.read(&path).await.unwrap() == bytes, "{fault:?}");
        assert_eq!(stage.server.parts_left(), 0, "{fault:?}");
    }
}

#[tokio::test]
async fn an_upload_that_fails_leaves_no_part() {
    let stage = Stage::start().await;
    let path = layout::segment(Uuid::new_v4(), layout::new_object_id());
    // Every part arrives, and none is known to.
    stage.proxy.only(Method::PUT);
    stage.proxy.faults().set(100, [Fault::ServerErrorAfter]);
    objects::create(&*stage.store, &path, content(1, 17 << 20)).await.unwrap_err();
    assert!(stage.proxy.faults().count() > 3, "it was tried again");
    assert!(matches!(stage.store.head(&path).await, Err(Error::NotFound { .. })));
    assert_eq!((stage.server.parts_left(), stage.server.unfinished_uploads()), (0, 0));
}

/// Creates under new names until it is done, as the indexer does; the names that failed, and the one that did not.
async fn create(store: &dyn ObjectStore, bytes: &Bytes) -> (Vec<Path>, Path) {
    let mut failed = Vec::new();
    loop {
        let path = layout::segment(Uuid::nil(), layout::new_object_id());
        match objects::create(store, &path, bytes.clone()).await {
            Ok(()) => return (failed, path),
            Err(_) => failed.push(path),
        }
        assert!(failed.len() < 20, "it never works");
    }
}

#[tokio::test]
async fn nothing_is_lost_doubled_or_changed_at_a_fifth_of_faults() {
    const OBJECTS: usize = 300;
    let stage = Stage::start().await;
    stage.proxy.faults().set(20, Fault::all());
    let sizes = |n: usize| if n.is_multiple_of(100) { 17 << 20 } else { 1 + n * 331 % 150_000 };
    let created: Vec<_> = stream::iter(0..OBJECTS)
        .map(|n| {
            let store = Arc::clone(&stage.store);
            async move { (n, create(&*store, &content(n, sizes(n))).await) }
        })
        .buffer_unordered(16)
        .collect()
        .await;
    let mut may_be_there = BTreeSet::new();
    let mut must_be_there = BTreeMap::new();
    for (n, (failed, path)) in created {
        may_be_there.extend(failed);
        assert!(must_be_there.insert(path, n).is_none());
    }
    let reading = stream::iter(&must_be_there).for_each_concurrent(16, |(path, n)| {
        let (store, expected) = (Arc::clone(&stage.store), content(*n, sizes(*n)));
        async move {
            let range = 0..expected.len() as u64;
            let found = until_read(&*store, path, range).await;
            assert!(found == expected, "{path} is not what was acknowledged");
        }
    });
    reading.await;
    let (gone, kept): (Vec<_>, Vec<_>) =
        must_be_there.keys().cloned().enumerate().partition(|(n, _)| n % 2 == 0);
    for (_, path) in gone {
        while stage.store.delete(&path).await.is_err() {}
    }
    assert!(stage.proxy.faults().struck().len() == Fault::all().len(), "{:?}", stage.proxy.faults().struck());
    stage.proxy.faults().clear();
    let listed: Vec<Path> = stage.store.list(None).map_ok(|m| m.location).try_collect().await.unwrap();
    let once: BTreeSet<Path> = listed.iter().cloned().collect();
    assert_eq!(once.len(), listed.len(), "nothing is there twice");
    let kept: BTreeSet<Path> = kept.into_iter().map(|(_, path)| path).collect();
    assert!(once.is_superset(&kept), "nothing is lost");
    assert!(
        once.difference(&kept).all(|path| may_be_there.contains(path)),
        "nothing that was deleted is back"
    );
    assert_eq!(stage.server.parts_left(), 0);
}

async fn until_read(store: &dyn ObjectStore, path: &Path, range: std::ops::Range<u64>) -> Bytes {
    for _ in 0..20 {
        if let Ok(found) = store.get_range(path, range.clone()).await {
            return found;
        }
    }
    panic!("{path} cannot be read")
}
