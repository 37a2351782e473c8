//! Opening what lies at rest: what is made, for whom, and what is refused with which words.

#![expect(clippy::unwrap_used, reason = "what a test calls may end it")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::{Clock, Timestamp};
use heliograph_store::objects::{CacheConfig, Config as StorageConfig};
use heliograph_store::{Config, Result, Store, catalog};

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(12)
    }
}

fn config(folder: &Path) -> Config {
    Config {
        catalog_url: format!("sqlite:{}/catalog.db", folder.display()).into(),
        catalog_password: None,
        storage: StorageConfig::at(format!("file:{}/objects", folder.display())),
        master_key_file: folder.join("master.key"),
        cache: None,
    }
}

async fn open(folder: &Path) -> Result<Store> {
    Store::open(&config(folder), Arc::new(Noon)).await
}

async fn refused(folder: &Path) -> String {
    open(folder).await.map(drop).unwrap_err().to_string()
}

async fn add_tenant(store: &Store) {
    let (name, workspace) = (TenantId::parse("a").unwrap(), Workspace::parse("w").unwrap());
    store.tenants.create(&name, &workspace).await.unwrap();
}

#[tokio::test]
async fn all_is_made_for_the_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("deep/data");
    let store = open(&data).await.unwrap();
    add_tenant(&store).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm", "master.key"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    for path in [&data, &data.join("objects")] {
        assert_eq!(mode(path), 0o700, "{path:?}");
    }
    open(&data).await.unwrap();
}

#[tokio::test]
async fn many_openers_of_nothing_make_one_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let opened = futures::future::join_all((0..6).map(|_| open(folder.path()))).await;
    let mut indexers = Vec::new();
    for store in opened {
        indexers.push(store.unwrap().catalog.embedded_indexer().await.unwrap());
    }
    indexers.dedup();
    assert_eq!(indexers.len(), 1);
}

#[tokio::test]
async fn the_wrong_master_key_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("master.key");
    open(folder.path()).await.unwrap();
    std::fs::remove_file(&key).unwrap();
    // Without tenants there is nothing that a new key could not open.
    add_tenant(&open(folder.path()).await.unwrap()).await;

    std::fs::rename(&key, folder.path().join("old.key")).unwrap();
    let text = refused(folder.path()).await;
    assert!(
        text.starts_with("keys.master_key_file: ") && text.contains("master.key does not exist"),
        "{text}"
    );
    assert!(!key.try_exists().unwrap(), "no new key is put in the old one's place");

    std::fs::write(&key, [7; 32]).unwrap();
    let text = refused(folder.path()).await;
    assert!(text.contains("holds another master key"), "{text}");
    std::fs::rename(folder.path().join("old.key"), &key).unwrap();
    open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).await.unwrap();
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("catalog.db"));
    let pool = sqlx::SqlitePool::connect_with(file).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', TRUE, x'00', 1)",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let text = refused(folder.path()).await;
    assert!(text.starts_with("catalog.url: "), "{text}");
    assert!(
        text.contains("catalog.db has schema version 9999, this program knows versions up to "),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_not_a_catalog_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("catalog.db");
    std::fs::write(&file, "not a database, but longer than the head of one ".repeat(100)).unwrap();
    let text = refused(folder.path()).await;
    assert!(text.starts_with("catalog.url: ") && text.contains("catalog.db: "), "{text}");

    let check = async |url: &str, expected: &str| {
        let error = catalog::open(&url.into(), None).await.map(drop).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let below = format!("sqlite:{}/catalog.db", file.display());
    check(&below, &file.display().to_string()).await;
    check("sqlite:", "catalog.url: \"sqlite:\" names no file").await;
    check("sqlite::memory:", "names no file").await;
    check(
        "mysql://me:hunter2@db",
        "catalog.url: \"mysql:…\" is not a catalog: give sqlite:PATH or postgres://",
    )
    .await;
}

#[tokio::test]
async fn writers_wait_for_another_process_and_readers_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("catalog.db"));
    let other = sqlx::SqlitePool::connect_with(file).await.unwrap();
    let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    // Reading goes on while another process writes; writing waits for it.
    assert!(store.catalog.tenants().await.unwrap().is_empty());
    let writing =
        tokio::time::timeout(std::time::Duration::from_millis(50), store.catalog.embedded_indexer());
    assert!(writing.await.is_err());
    held.rollback().await.unwrap();
    store.catalog.embedded_indexer().await.unwrap();
}

#[tokio::test]
async fn a_cache_that_cannot_be_used_keeps_nobody_from_opening() {
    let folder = tempfile::tempdir().unwrap();
    let cache = |at: &str| CacheConfig { folder: folder.path().join(at), bytes_max: 1 << 20 };
    let with = |cache| Config { cache: Some(cache), ..config(folder.path()) };
    let store = Store::open(&with(cache("cache")), Arc::new(Noon)).await.unwrap();
    assert!(store.cache.is_some());
    let second = Store::open(&with(cache("cache")), Arc::new(Noon)).await.unwrap();
    assert!(second.cache.is_none(), "the folder is the first one's");
    let third = Store::open(&with(cache("master.key/cache")), Arc::new(Noon)).await.unwrap();
    assert!(third.cache.is_none());
}

#[tokio::test]
async fn what_an_unfinished_write_left_is_deleted_when_nobody_goes_on_with_it() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).await.unwrap();
    let objects = folder.path().join("objects/w/deep");
    std::fs::create_dir_all(&objects).unwrap();
    // (name, age in minutes, whether it stays)
    let files =
        [("a#1", 61, false), ("a#2", 59, true), ("a", 61, true), ("a#", 61, true), ("a#1b", 61, true)];
    let now = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(500_000);
    for (name, minutes, _) in files {
        let file = std::fs::File::create(objects.join(name)).unwrap();
        file.set_modified(now - std::time::Duration::from_mins(minutes)).unwrap();
    }
    struct Then;
    impl Clock for Then {
        fn now(&self) -> Timestamp {
            Timestamp::from_nanos(500_000 * 3_600_000_000_000)
        }
    }
    Store::open(&config(folder.path()), Arc::new(Then)).await.unwrap();
    for (name, _, stays) in files {
        assert_eq!(objects.join(name).try_exists().unwrap(), stays, "{name}");
    }
}
