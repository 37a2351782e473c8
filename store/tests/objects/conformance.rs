//! What every store does alike.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use heliograph_store::layout;
use heliograph_store::objects::{self, Config, Patience};
use heliograph_testbed::s3;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _};
use uuid::Uuid;

use crate::on_s3;

/// More than goes in one part, and not a number of whole parts.
const LARGE: usize = (20 << 20) + 12_345;

fn content(seed: u8, bytes: usize) -> Bytes {
    (0..bytes).map(|n| seed ^ u8::try_from(n % 251).unwrap()).collect()
}

async fn read(store: &dyn ObjectStore, path: &Path) -> Bytes {
    store.get(path).await.unwrap().bytes().await.unwrap()
}

/// Creation: once, whole, and again only with the same content.
async fn creates(store: &Arc<dyn ObjectStore>) {
    for bytes in [0, 1, 300_000, LARGE] {
        let path = layout::segment(Uuid::new_v4(), layout::new_object_id());
        let missing = store.get(&path).await.map(|_| ()).unwrap_err();
        assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
        let (first, other) = (content(0, bytes), content(1, bytes.max(1)));
        objects::create(&**store, &path, first.clone()).await.unwrap();
        objects::create(&**store, &path, first.clone()).await.unwrap();
        let refused = objects::create(&**store, &path, other).await.unwrap_err();
        assert!(matches!(refused, Error::AlreadyExists { .. }), "{refused}");
        assert!(read(&**store, &path).await == first, "{bytes} bytes");
        assert_eq!(store.head(&path).await.unwrap().size, bytes as u64);
    }
}

async fn creates_side_by_side(store: &Arc<dyn ObjectStore>) {
    let (path, bytes) = (layout::wal(Uuid::nil(), layout::new_object_id()), content(7, 100_000));
    let all = (0..8).map(|_| objects::create(&**store, &path, bytes.clone()));
    for created in futures::future::join_all(all).await {
        created.unwrap();
    }
    assert_eq!(read(&**store, &path).await, bytes);
}

async fn reads_ranges(store: &Arc<dyn ObjectStore>) {
    let (path, bytes) = (layout::segment(Uuid::new_v4(), layout::new_object_id()), content(3, 100_000));
    objects::create(&**store, &path, bytes.clone()).await.unwrap();
    assert_eq!(store.get_range(&path, 10..99_990).await.unwrap(), bytes.slice(10..99_990));
    let ranges = [0..1, 50_000..50_100, 99_999..100_000];
    let expected: Vec<Bytes> = vec![bytes.slice(0..1), bytes.slice(50_000..50_100), bytes.slice(99_999..)];
    assert_eq!(store.get_ranges(&path, &ranges).await.unwrap(), expected);
}

async fn lists(store: &dyn ObjectStore, prefix: Option<&Path>) -> BTreeSet<Path> {
    let all: Vec<_> = store.list(prefix).map_ok(|meta| meta.location).try_collect().await.unwrap();
    let once: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!(once.len(), all.len(), "nothing is listed twice");
    once
}

async fn lists_and_deletes(store: &Arc<dyn ObjectStore>) {
    let [ours, other] = [Uuid::new_v4(), Uuid::new_v4()];
    let mut expected = BTreeSet::new();
    for indexer in [ours, other] {
        for _ in 0..30 {
            let path = layout::wal(indexer, layout::new_object_id());
            objects::create(&**store, &path, content(1, 100)).await.unwrap();
            if indexer == ours {
                expected.insert(path);
            }
        }
    }
    let prefix = layout::wal_prefix(ours);
    assert_eq!(lists(&**store, Some(&prefix)).await, expected);
    let gone = expected.pop_first().unwrap();
    store.delete(&gone).await.unwrap();
    assert!(matches!(store.delete(&gone).await, Ok(()) | Err(Error::NotFound { .. })));
    assert!(matches!(store.head(&gone).await, Err(Error::NotFound { .. })));
    assert_eq!(lists(&**store, Some(&prefix)).await, expected);
    assert_eq!(lists(&**store, Some(&layout::wal_prefix(other))).await.len(), 30);
}

async fn conforms(store: Arc<dyn ObjectStore>) {
    creates(&store).await;
    creates_side_by_side(&store).await;
    reads_ranges(&store).await;
    lists_and_deletes(&store).await;
}

#[tokio::test]
async fn a_folder_does() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::at(format!("file:{}", folder.path().display()));
    conforms(objects::open(&config).unwrap().0).await;
}

#[tokio::test]
async fn memory_does() {
    conforms(Arc::new(InMemory::new())).await;
}

#[tokio::test]
async fn s3_does() {
    let folder = tempfile::tempdir().unwrap();
    let server = s3::Server::start(folder.path()).await;
    // What is tested is not time, and the machine may be slow.
    let config = on_s3(format!("http://{}", server.address()));
    let config = Config { patience: Patience::default(), ..config };
    let (store, metrics) = objects::open(&config).unwrap();
    conforms(store).await;
    assert_eq!(server.unfinished_uploads(), 0, "what was refused is given up");
    let registry = prometheus::Registry::new();
    metrics.register(&registry).unwrap();
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let line = "heliograph_store_requests_total{operation=\"put\",outcome=\"exists\"} ";
    assert!(text.contains(line) && text.contains("heliograph_store_sent_bytes_total "), "{text}");
    assert!(folder.path().join(s3::BUCKET).join("some/prefix/w").is_dir(), "it keeps to its prefix");
}
