//! Disks and databases that fail: nothing is acknowledged then, and it goes on by itself afterwards.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use heliograph_indexer::Config;
use heliograph_model::batch::{BatchId, ProducerId};
use heliograph_model::scan::{CommitId, Scans};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use heliograph_store::audit;
use heliograph_store::catalog::{
    Candidate, Catalog, CommittedBatch, Dump, ErasedObject, ErasedTenant, Erasure, Grant, Identity, Indexer,
    Invitation, Known, Lease, Mapped, NewCommit, NewErasure, NewTenantErasure, PendingErasure, Reason,
    Retired, Rewrite, SegmentMeta, Session, SignedIn, Tenant, TenantLimits, TenantUsage, Token, User,
    WalObject,
};
use heliograph_store::keyring::KeyId;
use heliograph_store::layout::ObjectId;
use heliograph_store::retention::OwnKeep;
use heliograph_store::{Error, Result, Store};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::bench::{CLUSTER, Server, all_of, config, once, records, until};
use crate::upkeep::{Point, Stop};

/// How many of the next calls fail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fault(Arc<AtomicUsize>);

impl Fault {
    pub(crate) fn set(&self, times: usize) {
        self.0.store(times, Ordering::SeqCst);
    }

    fn strikes(&self) -> bool {
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
    }
}

#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) inner: Arc<dyn ObjectStore>,
    pub(crate) full: Fault,
    /// Where writing and deleting a segment stops.
    pub(crate) stop: Arc<Stop>,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a disk that is full at times")
    }
}

#[async_trait]
impl ObjectStore for Disk {
    async fn put_opts(
        &self,
        to: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        if self.full.strikes() {
            return Err(object_store::Error::Generic {
                store: "disk",
                source: "no space left on device".into(),
            });
        }
        if !heliograph_store::layout::is_segment(to) {
            return self.inner.put_opts(to, payload, options).await;
        }
        self.stop.pass(Point::BeforePut).await;
        let done = self.inner.put_opts(to, payload, options).await;
        self.stop.pass(Point::AfterPut).await;
        done
    }
    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, options).await
    }
    async fn get_opts(&self, from: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(from, options).await
    }
    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        // Of write-ahead objects nothing is deleted any more when a test is about segments.
        let (before, after) = (Arc::clone(&self.stop), Arc::clone(&self.stop));
        let paths = paths.then(move |path| {
            let stop = Arc::clone(&before);
            async move {
                stop.pass(Point::BeforeDelete).await;
                path
            }
        });
        let deleted = self.inner.delete_stream(paths.boxed()).then(move |done| {
            let stop = Arc::clone(&after);
            async move {
                stop.pass(Point::AfterDelete).await;
                done
            }
        });
        deleted.boxed()
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A catalog whose answers get lost, before or after the work is done.
pub(crate) struct Database {
    inner: Arc<dyn Catalog>,
    commit_refused: Fault,
    commit_answer_lost: Fault,
    publish_refused: Fault,
    publish_answer_lost: Fault,
    pub(crate) audit_refused: Fault,
    /// Listing write-ahead objects waits for this.
    wal_listed: Semaphore,
    /// Where replacing and forgetting segments stops.
    stop: Arc<Stop>,
    /// The answer to a commit that is done waits for this.
    commit_answered: Semaphore,
}

fn lost() -> Error {
    Error::File { path: "catalog".to_owned(), source: std::io::ErrorKind::ConnectionReset.into() }
}

impl Database {
    fn wrap(inner: Arc<dyn Catalog>) -> Self {
        Self::stopping(inner, &Arc::default())
    }

    pub(crate) fn stopping(inner: Arc<dyn Catalog>, stop: &Arc<Stop>) -> Self {
        Self {
            inner,
            commit_refused: Fault::default(),
            commit_answer_lost: Fault::default(),
            publish_refused: Fault::default(),
            publish_answer_lost: Fault::default(),
            audit_refused: Fault::default(),
            wal_listed: Semaphore::new(1),
            stop: Arc::clone(stop),
            commit_answered: Semaphore::new(1),
        }
    }
}

macro_rules! through {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        #[async_trait]
        impl Catalog for Database {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$out> {
                self.inner.$name($($arg),*).await
            })*
            async fn commit(&self, commit: &NewCommit) -> Result<CommitId> {
                if self.commit_refused.strikes() {
                    return Err(lost());
                }
                let done = self.inner.commit(commit).await?;
                drop(self.commit_answered.acquire().await);
                if self.commit_answer_lost.strikes() { Err(lost()) } else { Ok(done) }
            }
            async fn wal_objects(&self, indexer: Uuid) -> Result<Vec<WalObject>> {
                drop(self.wal_listed.acquire().await);
                self.inner.wal_objects(indexer).await
            }
            async fn publish(&self, lease: &Lease, segment: &SegmentMeta, released: &[ObjectId]) -> Result<()> {
                if self.publish_refused.strikes() {
                    return Err(lost());
                }
                self.inner.publish(lease, segment, released).await?;
                if self.publish_answer_lost.strikes() { Err(lost()) } else { Ok(()) }
            }
            async fn append_audit(&self, key: &audit::HeadKey, events: &[audit::Event]) -> Result<()> {
                if self.audit_refused.strikes() {
                    return Err(lost());
                }
                self.inner.append_audit(key, events).await
            }
            async fn replace(&self, merged: &[ObjectId], by: &SegmentMeta, at: Timestamp) -> Result<()> {
                self.stop.pass(Point::BeforeReplace).await;
                let done = self.inner.replace(merged, by, at).await;
                self.stop.pass(Point::AfterReplace).await;
                done
            }
            async fn rewrite(&self, rewrite: &Rewrite) -> Result<()> {
                self.stop.pass(Point::BeforeReplace).await;
                let done = self.inner.rewrite(rewrite).await;
                self.stop.pass(Point::AfterReplace).await;
                done
            }
            async fn finish_erasure(&self, erasure: Uuid, at: Timestamp) -> Result<()> {
                self.stop.pass(Point::BeforeFinish).await;
                let done = self.inner.finish_erasure(erasure, at).await;
                self.stop.pass(Point::AfterFinish).await;
                done
            }
            async fn forget(&self, retired: &[ObjectId]) -> Result<()> {
                self.stop.pass(Point::BeforeForget).await;
                let done = self.inner.forget(retired).await;
                self.stop.pass(Point::AfterForget).await;
                done
            }
        }
    };
}

through! {
    create_tenant(tenant: &Tenant) -> ();
    tenant(name: &TenantId) -> Option<Tenant>;
    tenants() -> Vec<Tenant>;
    master_key() -> Option<KeyId>;
    set_master_key(key: KeyId) -> ();
    rewrap(tenant: Uuid, old: &[u8], new: &[u8]) -> bool;
    set_limits(tenant: &TenantId, limits: &TenantLimits) -> ();
    usage() -> Vec<TenantUsage>;
    usage_of(tenant: &TenantId) -> Option<TenantUsage>;
    dump() -> Dump;
    load(dump: &Dump) -> ();
    create_user(user: &User) -> ();
    user(name: &str) -> Option<User>;
    users() -> Vec<User>;
    set_password(name: &str, password_hash: &str) -> ();
    grant(grant: &Grant) -> ();
    revoke_grant(grant: &Grant) -> bool;
    grants(user: &str) -> Vec<Grant>;
    set_disabled(name: &str, disabled: bool) -> ();
    mapped_grants(user: &str) -> Vec<(String, Grant)>;
    known(issuer: &str, subject: &str) -> Option<Known>;
    create_known(identity: &Identity, user: &User) -> ();
    set_mapped(identity: &Identity, mapped: &Mapped) -> bool;
    create_invitation(invitation: &Invitation, now: Timestamp) -> ();
    invitations(now: Timestamp) -> Vec<Invitation>;
    revoke_invitation(id: &str) -> bool;
    accept_invitation(id: &str, user: &User, identity: Option<&Identity>, now: Timestamp) -> ();
    create_session(session: &Session) -> ();
    session_user(id_hash: &[u8; 32], now: Timestamp) -> Option<SignedIn>;
    touch_session(id_hash: &[u8; 32], idle_end: Timestamp) -> ();
    sessions(user: &str, now: Timestamp) -> Vec<Session>;
    end_session(id_hash: &[u8; 32], now: Timestamp) -> ();
    end_sessions(user: &str, but: Option<&[u8; 32]>) -> u64;
    spend(hash: &[u8; 32], until: Timestamp, now: Timestamp) -> bool;
    create_token(token: &Token) -> ();
    token(id: &str) -> Option<Token>;
    tokens(tenant: Option<&TenantId>) -> Vec<Token>;
    revoke_token(id: &str, at: Timestamp) -> ();
    embedded_indexer() -> Uuid;
    producer(tenant: &TenantId, producer: &ProducerId) -> Option<(u64, u64)>;
    sealed_through(indexer: Uuid) -> Vec<(TenantId, CommitId)>;
    register_indexer(indexer: Uuid, address: &str, lease_for: Duration) -> Lease;
    renew_lease(lease: &Lease, lease_for: Duration) -> ();
    indexers() -> Vec<Indexer>;
    claim_indexer(address: &str, lease_for: Duration, held: &[Uuid]) -> Option<Lease>;
    retire_indexer(lease: &Lease) -> bool;
    release(lease: &Lease, released: &[ObjectId]) -> ();
    segments(tenant: &TenantId, range: &TimeRange) -> Vec<SegmentMeta>;
    segments_of(tenants: &[TenantId], range: &TimeRange) -> Vec<SegmentMeta>;
    newest_segments(limit: u32) -> Vec<SegmentMeta>;
    merge_candidates(tenant: &TenantId) -> Vec<Candidate>;
    retire(tenant: &TenantId, segments: &[ObjectId], reason: Reason, at: Timestamp) -> Vec<ObjectId>;
    retired(limit: u32) -> Vec<Retired>;
    discard(objects: &[ObjectId], at: Timestamp) -> Vec<ObjectId>;
    request_erasure(new: &NewErasure) -> Erasure;
    erasures() -> Vec<Erasure>;
    pending_erasures() -> Vec<PendingErasure>;
    erasure_steps() -> u64;
    audit_head() -> audit::Head;
    audit_rows(after: u64, limit: u32) -> Vec<audit::Row>;
    audit_page(page: &audit::Page) -> Vec<audit::Row>;
    trim_audit(key: &audit::HeadKey, before: Timestamp, limit: u32) -> u64;
    load_audit(rows: &[audit::Row], head: Option<&audit::Head>) -> ();
    erase_tenant(new: &NewTenantErasure) -> Erasure;
    erased_tenants() -> Vec<ErasedTenant>;
    note_erased(erasure: Uuid, objects: &[ErasedObject]) -> ();
    erased(erasure: Uuid) -> Vec<ErasedObject>;
    set_erasure_trouble(erasure: Uuid, trouble: Option<&str>) -> ();
    set_retention(tenant: &TenantId, own: &OwnKeep) -> ();
    retentions() -> Vec<(TenantId, OwnKeep)>;
    advance_retention_clock(to: Option<Timestamp>) -> Option<Timestamp>;
}

pub(crate) async fn with_database(folder: &std::path::Path, config: Config) -> (Server, Arc<Database>) {
    let mut made = None;
    let server = Server::start_with(folder, config, |store| {
        let database = Arc::new(Database::wrap(Arc::clone(&store.catalog)));
        made = Some(Arc::clone(&database));
        Store { catalog: database, ..store }
    });
    let server = server.await;
    (server, made.unwrap())
}

/// The sender may have given up, and heard from another indexer that its batch is recorded: who searches then must
/// not be shown an answer without it.
#[tokio::test]
async fn a_scan_waits_for_a_commit_that_others_may_know_of() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Config { advertise: Some(String::new()), ..config() };
    let (server, database) = with_database(folder.path(), shared).await;
    assert_eq!(server.send("t", "p", 1, &records("a", 0..10)).await, 200);
    let (tenant, producer) = (all_of("t").tenant, ProducerId::parse("p").unwrap());
    let held = database.commit_answered.acquire().await.unwrap();
    let ask = async {
        until("it is recorded", || async {
            database.producer(&tenant, &producer).await.unwrap() == Some((1, 2))
        })
        .await;
        let answer = async {
            loop {
                let ask =
                    server.post("/internal/v1/scan").bearer_auth(CLUSTER).json(&Scans::from(all_of("t")));
                let text = ask.send().await.unwrap().text().await.unwrap();
                // Without a head the answer says by itself that something is missing.
                if !text.starts_with("[]") {
                    return text.lines().count() - 1;
                }
            }
        };
        let goes_on = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(held);
        };
        tokio::join!(answer, goes_on).0
    };
    let batch = records("a", 10..20);
    let (status, found) = tokio::join!(server.send("t", "p", 2, &batch), ask);
    assert_eq!((status, found), (200, 20));
    server.stop().await;
}

#[tokio::test]
async fn a_full_disk_is_503_and_mends_itself() {
    let folder = tempfile::tempdir().unwrap();
    let full = Fault::default();
    let server = Server::start_with(folder.path(), config(), |store| {
        let objects =
            Arc::new(Disk { inner: Arc::clone(&store.objects), full: full.clone(), stop: Arc::default() });
        Store { objects, ..store }
    });
    let server = server.await;
    assert_eq!(server.send("t", "p", 1, &records("a", 0..10)).await, 200);
    full.set(2);
    for _ in 0..2 {
        let request = server.agent("t", Some(("p", 1, 2)), &records("a", 10..20));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key("retry-after"));
        let text = response.text().await.unwrap();
        assert!(text.contains("storage is unavailable") && !text.contains("device"), "{text}");
    }
    assert_eq!(server.everything("t").await, once(&records("a", 0..10)), "nothing refused is shown");
    assert_eq!(server.send("t", "p", 2, &records("a", 10..20)).await, 200);
    assert_eq!(server.everything("t").await, once(&records("a", 0..20)));
    server.kill().await;
    let server = Server::start(folder.path()).await;
    assert_eq!(server.everything("t").await, once(&records("a", 0..20)));
    server.stop().await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_neither_lost_nor_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let (server, database) = with_database(folder.path(), config()).await;
    // Asked again at once, it says what it did.
    database.commit_answer_lost.set(1);
    assert_eq!(server.send("t", "p", 1, &records("a", 0..10)).await, 200);
    database.commit_refused.set(1);
    assert_eq!(server.send("t", "p", 2, &records("a", 10..20)).await, 200);
    // Gone for longer: the sender is told to come again, and then it is there already.
    for (sequence, fault) in [(3, &database.commit_answer_lost), (4, &database.commit_refused)] {
        let batch = records("a", sequence * 10 - 10..sequence * 10);
        fault.set(5);
        assert_eq!(server.send("t", "p", sequence, &batch).await, 503);
        until("the database is back", || async { server.send("t", "p", sequence, &batch).await == 200 })
            .await;
        assert_eq!(server.everything("t").await, once(&records("a", 0..sequence * 10)));
    }
    server.kill().await;
    let server = Server::start(folder.path()).await;
    assert_eq!(server.everything("t").await, once(&records("a", 0..40)));
    server.stop().await;
}

#[tokio::test]
async fn a_seal_that_fails_is_done_again_and_a_lost_answer_does_not_double() {
    let folder = tempfile::tempdir().unwrap();
    let eager = Config { seal_bytes: 5_000, ..config() };
    let (server, database) = with_database(folder.path(), eager).await;
    database.publish_refused.set(1);
    assert_eq!(server.send("t", "p", 1, &records("a", 0..100)).await, 200);
    until("sealed after a failure", || async { server.figure("heliograph_indexer_hot_records") == 0.0 })
        .await;
    assert!(server.figure("heliograph_indexer_seal_failures_total") >= 1.0);
    database.publish_answer_lost.set(1);
    assert_eq!(server.send("t", "p", 2, &records("a", 100..200)).await, 200);
    until("sealed though the answer was lost", || async {
        server.figure("heliograph_indexer_hot_records") == 0.0
    })
    .await;
    until("no object is left", || async { server.wal_files(folder.path()).is_empty() }).await;
    assert_eq!(server.everything("t").await, once(&records("a", 0..200)));
    server.stop().await;
}

#[tokio::test]
async fn a_damaged_object_costs_its_own_batches_only_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for sequence in 1..=3_u64 {
        assert_eq!(
            server.send("t", "p", sequence, &records("a", sequence * 10 - 10..sequence * 10)).await,
            200
        );
    }
    let files = server.wal_files(folder.path());
    assert_eq!(files.len(), 3);
    server.kill().await;
    let mut bytes = std::fs::read(&files[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&files[1], bytes).unwrap();
    std::fs::write(files[0].with_file_name(Uuid::now_v7().simple().to_string()), b"an orphan").unwrap();

    let hasty = Config { seal_after: Duration::from_millis(1), ..config() };
    let server = Server::start_with(folder.path(), hasty, |store| store).await;
    assert!(server.figure("heliograph_indexer_wal_damaged_total") >= 1.0);
    let expected = once(records("a", 0..10).iter().chain(&records("a", 20..30)));
    assert_eq!(server.everything("t").await, expected);
    until("the rest is sealed", || async { server.wal_files(folder.path()) == [files[1].clone()] }).await;
    assert_eq!(server.everything("t").await, expected);
    assert_eq!(server.send("t", "p", 4, &records("a", 30..40)).await, 200);
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_let_in_before_the_replay_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    assert_eq!(server.send("t", "p", 1, &records("a", 0..10)).await, 200);
    server.kill().await;

    let mut made = None;
    let server = Server::launch(folder.path(), config(), |store| {
        let database = Arc::new(Database::wrap(Arc::clone(&store.catalog)));
        database.wal_listed.forget_permits(1);
        made = Some(Arc::clone(&database));
        Store { catalog: database, ..store }
    });
    let mut server = server.await;
    let batch = records("a", 10..20);
    let response = server.agent("t", Some(("p", 1, 2)), &batch).send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    let all = Scans::from(all_of("t"));
    let scan = server.post("/internal/v1/scan").bearer_auth(CLUSTER).json(&all).send().await.unwrap();
    assert_eq!(scan.status(), 503, "an answer now would leave out what was acknowledged");
    assert_eq!(server.client.get(format!("{}/healthz", server.url)).send().await.unwrap().status(), 200);
    assert!(!*server.ready.borrow());
    made.unwrap().wal_listed.add_permits(1);
    server.ready.wait_for(|ready| *ready).await.unwrap();
    assert_eq!(server.send("t", "p", 2, &batch).await, 200);
    assert_eq!(server.everything("t").await, once(&records("a", 0..20)));
    server.stop().await;
}

#[tokio::test]
async fn a_batch_whose_predecessors_another_indexer_took_is_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), config(), |store| store).await;
    assert_eq!(server.send("t", "p", 1, &records("a", 0..10)).await, 200);
    // For whom the next commit waits as long as it may: all others come meanwhile.
    assert_eq!(server.send("t", "late", 1, &[]).await, 200);
    server.store.catalog.commit(&elsewhere(&server, 2).await).await.unwrap();
    server.store.catalog.commit(&elsewhere(&server, 3).await).await.unwrap();
    let fourth = records("a", 30..40);
    assert_eq!(server.send("t", "p", 5, &fourth).await, 409, "this one is too early for everybody");
    assert_eq!(server.send("t", "p", 4, &fourth).await, 200);
    assert_eq!(server.send("t", "p", 3, &fourth).await, 200, "stored, if not here");
    assert_eq!(server.everything("t").await, once(records("a", 0..10).iter().chain(&fourth)));
    server.stop().await;
}

/// A batch of tenant `t` and producer `p` that another indexer takes.
async fn elsewhere(server: &Server, sequence: u64) -> NewCommit {
    let tenant = TenantId::parse("t").unwrap();
    NewCommit {
        lease: Lease::embedded(Uuid::new_v4()),
        object: Uuid::now_v7(),
        bytes: 1,
        at: Timestamp::from_nanos(0),
        batches: vec![CommittedBatch {
            uid: server.store.tenants.get(&tenant).await.unwrap().uid,
            tenant,
            id: Some(BatchId { producer: ProducerId::parse("p").unwrap(), epoch: 1, sequence }),
        }],
    }
}

#[tokio::test]
async fn a_batch_that_another_indexer_took_is_not_stored_again_and_takes_no_other_along() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Config { linger: Duration::from_millis(200), ..config() };
    let server = Server::start_with(folder.path(), shared, |store| store).await;
    assert_eq!(server.send("t", "p", 1, &records("a", 0..10)).await, 200);
    // For whom the next commit waits as long as it may: all others come meanwhile.
    assert_eq!(server.send("t", "late", 1, &[]).await, 200);
    server.store.catalog.commit(&elsewhere(&server, 2).await).await.unwrap();
    let (second, third) = (records("a", 10..20), records("a", 20..30));
    let other = records("b", 0..10);
    let sent = tokio::join!(
        server.send("t", "p", 2, &second),
        server.send("t", "p", 3, &third),
        server.send("t", "q", 1, &other),
    );
    assert_eq!(sent, (200, 200, 200));
    let (first, mine) = (records("a", 0..10), third.iter().chain(&other));
    assert_eq!(server.everything("t").await, once(first.iter().chain(mine)));
    assert_eq!(server.wal_files(folder.path()).len(), 2, "the object of the refused commit is gone");
    server.stop().await;
}
