//! Backups, read back elsewhere: between both engines, from files to S3 and back.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what a test calls may end it")]
#![allow(
    dead_code,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "of the PostgreSQL server that tests share"
)]

#[path = "support/postgres.rs"]
mod postgres_server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use heliograph_model::batch::{BatchId, ProducerId};
use heliograph_model::codec;
use heliograph_model::filter::{Filter, Matcher};
use heliograph_model::record::{Attributes, Record};
use heliograph_model::rows::Rows;
use heliograph_model::scan::{Answer, Collector, CommitId, Order, Scan, Want};
use heliograph_model::source::{Position, Source, SourceId};
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::{Clock, TimeRange, Timestamp};
use heliograph_store::catalog::{
    Bound, CommittedBatch, Extent, Grant, Lease, NewCommit, Role, TenantLimits, User,
};
use heliograph_store::objects::Config as StorageConfig;
use heliograph_store::retention::{Own, OwnKeep};
use heliograph_store::segment::{self, PageCache, ScanStats, Segment};
use heliograph_store::wal::{self, WalBatch};
use heliograph_store::{Config, Store, audit, backup, keyring, layout, objects, token};
use heliograph_testbed::s3;
use secrecy::ExposeSecret;
use uuid::Uuid;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(12)
    }
}

const NOW: Timestamp = Timestamp::from_nanos(77);
const KEPT: OwnKeep = OwnKeep { age: Own::Limit(Duration::from_secs(9)), bytes: Own::Unlimited };

/// Where one installation lies.
struct Place {
    folder: tempfile::TempDir,
    config: Config,
    _s3: Option<s3::Server>,
}

impl Place {
    async fn new(is_scaled: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let catalog_url = match is_scaled {
            true => postgres_server::shared().new_database(None).await.as_str().into(),
            false => format!("sqlite:{}", at("catalog.db")).into(),
        };
        let mut storage = StorageConfig::at(format!("file:{}", at("objects")));
        let mut server = None;
        if is_scaled {
            std::fs::create_dir(folder.path().join("s3")).unwrap();
            let s3 = s3::Server::start(&folder.path().join("s3")).await;
            storage = StorageConfig::at(format!("s3://{}/here", s3::BUCKET));
            storage.endpoint = Some(format!("http://{}", s3.address()));
            storage.environment = [
                ("AWS_ACCESS_KEY_ID".to_owned(), s3::ACCESS_KEY.into()),
                ("AWS_SECRET_ACCESS_KEY".to_owned(), s3::SECRET_KEY.into()),
            ]
            .into();
            server = Some(s3);
        }
        let config = Config {
            catalog_url,
            catalog_password: None,
            storage,
            master_key_file: folder.path().join("master.key"),
            cache: None,
        };
        Self { folder, config, _s3: server }
    }

    async fn open(&self) -> Store {
        Store::open(&self.config, Arc::new(Noon)).await.unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn name(tenant: &str) -> TenantId {
    TenantId::parse(tenant).unwrap()
}

fn records(of: &str, places: std::ops::Range<u64>) -> Vec<Record> {
    let source = Arc::new(Source { id: SourceId::of("test", of), ..Source::default() });
    places
        .map(|place| Record {
            time: Timestamp::from_nanos(1_800_000_000_000_000_000 + place.cast_signed()),
            observed: Timestamp::from_nanos(1_800_000_000_000_000_000),
            position: Position(place),
            source: Arc::clone(&source),
            level: None,
            stream: None,
            identity: Default::default(),
            message: format!("{of} line {place}").into(),
            attributes: Attributes::default(),
        })
        .collect()
}

/// Two tenants: of `a` 300 records are sealed and 200 not, of `b` 50 lie in the same write-ahead object.
async fn fill(store: &Store) -> String {
    let indexer = store.catalog.embedded_indexer().await.unwrap();
    let lease = Lease::embedded(indexer);
    let workspace = Workspace::parse("w").unwrap();
    let a = store.tenants.create(&name("a"), &workspace).await.unwrap();
    let b = store.tenants.create(&name("b"), &workspace).await.unwrap();
    let user = User {
        name: "ann".to_owned(),
        password_hash: "$argon2id$x".to_owned(),
        admin: true,
        disabled: false,
        created: NOW,
    };
    store.catalog.create_user(&user).await.unwrap();
    for extent in [Extent::Tenant(name("a")), Extent::Workspace(workspace)] {
        let grant = Grant { user: "ann".to_owned(), extent, role: Role::Viewer };
        store.catalog.grant(&grant).await.unwrap();
    }
    let (entry, secret) = token::issue(&name("b"), &[Role::Writer], None, NOW).unwrap();
    store.catalog.create_token(&entry).await.unwrap();
    let limits =
        TenantLimits { hot: Some(Bound::new(9)), stored: Some(Bound::Unbounded), ..Default::default() };
    store.catalog.set_limits(&name("a"), &limits).await.unwrap();
    store.catalog.set_retention(&name("a"), &KEPT).await.unwrap();

    let rows = |records: &[Record]| Rows::try_from(records).unwrap();
    let sealed = rows(&records("a", 0..300));
    let write = async |sequence, batches: Vec<(&Arc<_>, Vec<Record>)>| {
        let object = layout::new_object_id();
        let payloads = batches.iter().map(|(tenant, records)| WalBatch {
            tenant: Arc::clone(tenant),
            payload: codec::compress(&codec::encode(records), 1).unwrap().into(),
        });
        let bytes = wal::write(object, &payloads.collect::<Vec<_>>()).unwrap();
        let size = bytes.len() as u64;
        objects::create(&*store.objects, &layout::wal(indexer, object), bytes).await.unwrap();
        let producer = ProducerId::parse("p").unwrap();
        let named = |tenant: &TenantId| CommittedBatch {
            tenant: tenant.clone(),
            uid: if *tenant == a.name { a.uid } else { b.uid },
            // The first batch of each tenant is its first, whenever it comes.
            id: Some(BatchId {
                producer: producer.clone(),
                epoch: 1,
                sequence: if tenant.as_str() == "a" { sequence } else { 1 },
            }),
        };
        let mut seen = Vec::new();
        for (tenant, _) in &batches {
            if !seen.contains(&tenant.name) {
                seen.push(tenant.name.clone());
            }
        }
        let batches = seen.iter().map(named).collect();
        let commit = NewCommit { lease, object, bytes: size, at: NOW, batches };
        store.catalog.commit(&commit).await.unwrap()
    };
    let first: CommitId = write(1, vec![(&a, records("a", 0..300))]).await;
    let id = layout::new_object_id();
    let built = segment::build(&a, id, &[(first, &sealed)]).unwrap();
    objects::create(&*store.objects, &layout::segment(a.uid, id), built.bytes.clone()).await.unwrap();
    let meta = built.meta(&a.name, id, indexer, (CommitId(0), first), NOW);
    store.catalog.publish(&lease, &meta, &[]).await.unwrap();
    write(2, vec![(&a, records("a", 300..450)), (&b, records("b", 0..50)), (&a, records("a", 450..500))])
        .await;
    secret.expose_secret().splitn(3, '_').nth(2).unwrap().to_owned()
}

/// Every record of a tenant's segments; one that is there twice counts twice.
async fn everything(store: &Store, tenant: &str) -> BTreeMap<String, usize> {
    let scan = Scan {
        tenant: name(tenant),
        range: TimeRange::ALL,
        filter: Filter::All,
        committed_after: None,
        committed_through: None,
        want: Want::Records { order: Order::Asc, limit: 1_000_000, after: None },
    };
    let open = store.tenants.get(&name(tenant)).await.unwrap();
    let mut found = BTreeMap::new();
    for meta in store.catalog.segments(&name(tenant), &TimeRange::ALL).await.unwrap() {
        let (objects, pages) = (Arc::clone(&store.objects), PageCache::new(0));
        let segment = Segment::open(objects, Arc::clone(&open), meta, pages).await.unwrap();
        let matcher = Arc::new(Matcher::new(&scan.filter).unwrap());
        let mut stats = ScanStats::default();
        let collector = segment.scan(&scan, &matcher, Collector::new(&scan), &mut stats).await.unwrap();
        let Answer::Records(records) = collector.finish() else { panic!("records were wanted") };
        for record in records {
            *found.entry(record.message.to_string()).or_default() += 1;
        }
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

async fn a_catalog_comes_back(is_scaled: bool, is_scaled_then: bool) {
    let from = Place::new(is_scaled).await;
    let store = from.open().await;
    let secret = fill(&store).await;
    let folder = from.path("backup");
    let log = audit::Log::of(&store);
    let event = |subject| audit::Event {
        at: NOW,
        actor: audit::Actor::CommandLine(7),
        action: audit::Action::LimitsSet,
        subject,
        from: None,
        outcome: audit::Outcome::Done,
        details: audit::Details::default(),
    };
    let of_a =
        audit::Subject::Tenant { name: name("a"), uid: store.tenants.get(&name("a")).await.unwrap().uid };
    log.append(&[event(of_a), event(audit::Subject::Platform)]).await.unwrap();
    backup::back_up_catalog(&*store.catalog, None, &folder, NOW).await.unwrap();
    let key = std::fs::read(&from.config.master_key_file).unwrap();
    for file in files(&folder) {
        let bytes = std::fs::read(&file).unwrap();
        for secret in [secret.as_bytes(), key.trim_ascii()] {
            assert!(
                !bytes.windows(secret.len()).any(|w| w == secret),
                "a secret stands in {}",
                file.display()
            );
        }
    }
    let again = backup::back_up_catalog(&*store.catalog, None, &folder, NOW).await.unwrap_err();
    assert!(again.to_string().contains("folder that is not empty"), "{again}");

    let to = Place::new(is_scaled_then).await;
    let there = heliograph_store::catalog::open(&to.config.catalog_url, None).await.unwrap();
    let key_file = &to.config.master_key_file;
    assert!(!backup::restore_catalog(&*there, key_file, &folder).await.unwrap(), "no key is there yet");
    assert!(!key_file.try_exists().unwrap());
    let (was, is) = (store.catalog.dump().await.unwrap().to_lines(), there.dump().await.unwrap().to_lines());
    assert_eq!(sorted(&was), sorted(&is));
    let twice = backup::restore_catalog(&*there, key_file, &folder).await.unwrap_err();
    assert!(twice.to_string().contains("catalog that is not empty"), "{twice}");

    std::fs::write(key_file, key).unwrap();
    // The records lie where they lay.
    let restored = Store { catalog: there, ..store.clone() };
    let restored_log = audit::Log::of(&restored);
    assert_eq!(restored_log.rows(0, 10).await.unwrap(), log.rows(0, 10).await.unwrap());
    let whole = restored_log.verify(None).await.unwrap();
    assert!(whole.is_whole() && whole.rows == 2, "{whole:?}");
    assert_eq!(everything(&restored, "a").await, everything(&store, "a").await);
    let batches = vec![CommittedBatch {
        tenant: name("a"),
        uid: store.tenants.get(&name("a")).await.unwrap().uid,
        id: None,
    }];
    let lease = Lease::embedded(restored.catalog.embedded_indexer().await.unwrap());
    let commit = NewCommit { lease, object: Uuid::new_v4(), bytes: 1, at: NOW, batches };
    let (old, new) =
        (store.catalog.commit(&commit).await.unwrap(), restored.catalog.commit(&commit).await.unwrap());
    assert_eq!(old, new, "ordinals go on");
    restored.tenants.create(&name("c"), &Workspace::parse("w").unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_catalog_comes_back_on_sqlite() {
    a_catalog_comes_back(false, false).await;
}

#[tokio::test]
async fn a_catalog_moves_to_postgres() {
    a_catalog_comes_back(false, true).await;
}

#[tokio::test]
async fn a_catalog_moves_to_sqlite() {
    a_catalog_comes_back(true, false).await;
}

#[tokio::test]
async fn a_catalog_comes_back_on_postgres() {
    a_catalog_comes_back(true, true).await;
}

#[tokio::test]
async fn the_master_key_comes_only_if_asked_for_and_replaces_none() {
    let from = Place::new(false).await;
    let store = from.open().await;
    fill(&store).await;
    let folder = from.path("backup");
    let key_file = &from.config.master_key_file;
    backup::back_up_catalog(&*store.catalog, Some(key_file), &folder, NOW).await.unwrap();

    let to = Place::new(false).await;
    let there = heliograph_store::catalog::open(&to.config.catalog_url, None).await.unwrap();
    let other = keyring::KeyRing::open(&to.path("other.key")).unwrap();
    let refused = backup::restore_catalog(&*there, &to.path("other.key"), &folder).await.unwrap_err();
    assert!(refused.to_string().contains("another master key"), "{refused}");
    assert!(there.tenants().await.unwrap().is_empty());
    drop(other);
    assert!(backup::restore_catalog(&*there, &to.config.master_key_file, &folder).await.unwrap());
    drop(to.open().await.tenants.get(&name("a")).await.unwrap());
}

async fn a_tenant_comes_back(is_scaled: bool, is_scaled_then: bool) {
    let from = Place::new(is_scaled).await;
    let store = from.open().await;
    fill(&store).await;
    let folder = from.path("backup");
    let made = backup::back_up_tenant(&store, &name("a"), &folder, NOW).await.unwrap();
    assert_eq!((made.segments, made.records), (2, 500));

    let to = Place::new(is_scaled_then).await;
    let there = to.open().await;
    there.tenants.create(&name("a"), &Workspace::parse("w").unwrap()).await.unwrap();
    let source = keyring::KeyRing::read(&from.config.master_key_file).unwrap().unwrap();
    let taken = backup::restore_tenant(&there, Some(&source), None, &folder).await.unwrap_err();
    assert_eq!(taken.to_string(), "tenant \"a\" exists already");
    let foreign = backup::restore_tenant(&there, None, Some(&name("a2")), &folder).await.unwrap_err();
    assert!(foreign.to_string().contains("does not open with this key"), "{foreign}");
    assert!(everything(&there, "a").await.is_empty());

    let back = backup::restore_tenant(&there, Some(&source), Some(&name("a2")), &folder).await.unwrap();
    let restored = there.catalog.segments(&name("a2"), &TimeRange::ALL).await.unwrap();
    // An erasure here is about all that was committed before it.
    assert!(!restored.is_empty() && restored.iter().all(|segment| segment.commits_after < CommitId(0)));
    assert_eq!(back, made);
    let all: BTreeMap<_, _> = records("a", 0..500).iter().map(|r| (r.message.to_string(), 1)).collect();
    // Opened anew: by this place's own master key.
    assert_eq!(everything(&to.open().await, "a2").await, all);
    let limits = there.catalog.usage_of(&name("a2")).await.unwrap().unwrap().limits;
    assert_eq!((limits.hot, limits.stored), (Some(Bound::new(9)), Some(Bound::Unbounded)));
    assert_eq!(there.catalog.retentions().await.unwrap(), [(name("a2"), KEPT)]);
    let twice = backup::restore_tenant(&there, Some(&source), Some(&name("a3")), &folder).await.unwrap_err();
    assert_eq!(twice.to_string(), "tenant \"a2\" exists already");
}

#[tokio::test]
async fn a_tenant_comes_back_from_files_to_files() {
    a_tenant_comes_back(false, false).await;
}

#[tokio::test]
async fn a_tenant_moves_from_files_to_s3() {
    a_tenant_comes_back(false, true).await;
}

#[tokio::test]
async fn a_tenant_moves_from_s3_to_files() {
    a_tenant_comes_back(true, false).await;
}

#[tokio::test]
async fn a_torn_or_altered_backup_is_refused_by_name_and_restores_nothing() {
    let from = Place::new(false).await;
    let store = from.open().await;
    fill(&store).await;
    let to = Place::new(false).await;
    let there = to.open().await;
    let source = keyring::KeyRing::read(&from.config.master_key_file).unwrap().unwrap();
    for kind in ["catalog", "tenant"] {
        let folder = from.path(kind);
        match kind {
            "tenant" => drop(backup::back_up_tenant(&store, &name("a"), &folder, NOW).await.unwrap()),
            _ => backup::back_up_catalog(&*store.catalog, None, &folder, NOW).await.unwrap(),
        }
        for file in files(&folder) {
            let good = std::fs::read(&file).unwrap();
            let mut changed = good.clone();
            changed[good.len() / 2] ^= 1;
            for bad in [None, Some(changed), Some(good[..good.len() - 2].to_vec()), Some(Vec::new())] {
                match &bad {
                    None => std::fs::remove_file(&file).unwrap(),
                    Some(bytes) => std::fs::write(&file, bytes).unwrap(),
                }
                let error = match kind {
                    "tenant" => backup::restore_tenant(&there, Some(&source), None, &folder).await.map(drop),
                    _ => backup::restore_catalog(&*there.catalog, &to.path("k"), &folder).await.map(drop),
                };
                let said = error.unwrap_err().to_string();
                let named = file.file_name().unwrap().to_str().unwrap();
                assert!(said.contains(named) && said.contains("is damaged"), "{}: {said}", file.display());
            }
            std::fs::write(&file, good).unwrap();
        }
    }
    assert!(there.catalog.tenants().await.unwrap().is_empty());
    let wrong =
        backup::restore_catalog(&*there.catalog, &to.path("k"), &from.path("tenant")).await.unwrap_err();
    assert!(wrong.to_string().contains("a backup of a Tenant, not of a Catalog"), "{wrong}");
}
