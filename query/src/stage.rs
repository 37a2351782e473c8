//! What tests stand on: a store in a temporary folder, an indexer that speaks the internal API, a server, a
//! clock that tests set.

mod indexer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use heliograph_model::airflow::Identity;
use heliograph_model::level::Level;
use heliograph_model::record::{Attributes, Record};
use heliograph_model::scan::CommitId;
use heliograph_model::source::{Position, Source, SourceId};
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::{Clock, Timestamp};
use heliograph_serve::Port;
use heliograph_store::Store;
use heliograph_store::catalog::{Extent, Grant, Role, SegmentMeta, User};
use heliograph_testbed::watch::{Canaries, Watch};
use http::StatusCode;
use object_store::ObjectStoreExt;
use prometheus::Registry;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::access::password;
use crate::{Config, Discovery, Error, Tls};
pub(crate) use indexer::FakeIndexer;

/// Users and the tenants whose records they may read; `c` is of bob's workspace where a test makes it.
const READERS: [(&str, &[&str]); 3] = [("root", &["*"]), ("ann", &["a"]), ("bob", &["a", "b", "c"])];

pub(crate) const CLUSTER_TOKEN: &str = "cluster";
pub(crate) const PASSWORD: &str = "correct horse";

/// The moment at which tests begin.
pub(crate) const NOW: &str = "2026-11-24T10:00:00Z";

#[derive(Clone)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(Timestamp::parse(NOW).unwrap().as_nanos())))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_nanos()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

/// A record `seconds` after [`NOW`].
pub(crate) fn record(source: u128, position: u64, seconds: i64, message: &str) -> Record {
    let time = Timestamp::parse(NOW).unwrap().saturating_add_nanos(seconds * 1_000_000_000);
    Record {
        time,
        observed: time,
        position: Position(position),
        source: Arc::new(Source { id: SourceId(source), ..Source::default() }),
        level: Some(if position.is_multiple_of(2) { Level::Info } else { Level::Error }),
        stream: None,
        identity: Identity { dag_id: Some(format!("dag{source}").into()), ..Identity::default() },
        message: message.into(),
        attributes: Attributes::from_json(&format!(r#"{{"n":{position}}}"#)).unwrap(),
    }
}

/// A segment of these event times, in nanoseconds, as the catalog would name it.
pub(crate) fn segment(first: i64, last: i64) -> SegmentMeta {
    SegmentMeta {
        id: Uuid::nil(),
        tenant: tenant("t"),
        bytes: 0,
        index_offset: 0,
        records: 0,
        raw_bytes: 0,
        first: Timestamp::from_nanos(first),
        last: Timestamp::from_nanos(last),
        indexer: Uuid::nil(),
        commits_after: CommitId(0),
        commits_through: CommitId(1),
        created: Timestamp::from_nanos(0),
    }
}

/// A server with a fake indexer behind it. All that it answers is watched: every record that is committed has its tenant's
/// canary, and whoever gets one without the right to it fails the test.
pub(crate) struct Stage {
    pub(crate) url: String,
    pub(crate) addr: SocketAddr,
    /// Past the watch, whose connections have room of their own: for tests of who does not read on.
    pub(crate) unwatched: SocketAddr,
    pub(crate) store: Store,
    pub(crate) clock: TestClock,
    pub(crate) indexer: Arc<FakeIndexer>,
    pub(crate) client: reqwest::Client,
    pub(crate) registry: Registry,
    /// What the server was told.
    pub(crate) config: Config,
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinSet<Result<(), Error>>,
    watch: Watch,
    _others: JoinSet<()>,
    folder: tempfile::TempDir,
}

impl Stage {
    /// With tenants `a` and `b` in workspace `w`, an administrator `root` and users `ann` (reads `a`) and `bob`
    /// (reads workspace `w`), all with [`PASSWORD`].
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let config = heliograph_store::Config {
            catalog_url: format!("sqlite:{}", at("catalog")).into(),
            catalog_password: None,
            storage: heliograph_store::objects::Config::at(format!("file:{}", at("objects"))),
            master_key_file: folder.path().join("key"),
            cache: None,
        };
        let clock = TestClock::new();
        let store = Store::open(&config, Arc::new(clock.clone())).await.unwrap();
        people(&store, clock.now()).await;

        let mut others = JoinSet::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let unwatched = listener.local_addr().unwrap();
        let watch = Watch::start(unwatched);
        let addr = watch.address();
        for (user, tenants) in READERS {
            tenants.iter().for_each(|name| watch.canaries().allow(user, name));
        }
        let indexer = FakeIndexer::new(store.clone(), watch.canaries().clone());
        let routes = FakeIndexer::routes(&indexer);
        let internal = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let indexer_url = format!("http://{}", internal.local_addr().unwrap());
        others.spawn(async move { axum::serve(internal, routes).await.unwrap() });

        let mut config = config_over(indexer_url);
        change(&mut config);
        let (registry, stop) = (Registry::new(), CancellationToken::new());
        let (ready, _) = watch::channel(false);
        let told = config.clone();
        let mut running = JoinSet::new();
        let (running_store, running_clock) = (store.clone(), Arc::new(clock.clone()));
        let (running_registry, running_stop) = (registry.clone(), stop.clone());
        running.spawn(async move {
            let status = Router::new().route("/healthz", axum::routing::get(|| async { "ok" }));
            let (store, clock, stop) = (running_store, running_clock, running_stop);
            crate::run(config, Port::plain(listener), store, clock, &running_registry, status, ready, stop)
                .await
        });
        Self {
            url: format!("http://{addr}"),
            addr,
            unwatched,
            store,
            clock,
            indexer,
            client: client(),
            registry,
            config: told,
            stop,
            running,
            watch,
            _others: others,
            folder,
        }
    }

    /// Who may read whose records: to be told of each credential that is not made by [`Self::token`].
    pub(crate) fn canaries(&self) -> &Canaries {
        self.watch.canaries()
    }

    /// What comes with this credential may read what this user may.
    pub(crate) fn reads_as(&self, credential: &str, user: &str) {
        let of = READERS.iter().find(|(name, _)| *name == user);
        of.iter().flat_map(|(_, tenants)| *tenants).for_each(|name| self.canaries().allow(credential, name));
    }

    /// The catalog's file.
    pub(crate) fn catalog_file(&self) -> std::path::PathBuf {
        self.folder.path().join("catalog")
    }

    /// Damages the first blocks of a segment, behind its head; its index stays as it is.
    pub(crate) async fn damage(&self, meta: &SegmentMeta) {
        let open = self.store.tenants.get(&meta.tenant).await.unwrap();
        let path = heliograph_store::layout::segment(open.uid, meta.id);
        let mut bytes = self.store.objects.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
        let blocks = usize::try_from(meta.index_offset).unwrap();
        bytes[blocks / 2..blocks].fill(0);
        self.store.objects.put(&path, bytes.into()).await.unwrap();
    }

    /// A token of a tenant.
    pub(crate) async fn token(&self, name: &str, roles: &[Role]) -> (String, String) {
        let now = self.clock.now();
        let (token, secret) = heliograph_store::token::issue(&tenant(name), roles, None, now).unwrap();
        self.store.catalog.create_token(&token).await.unwrap();
        if roles.contains(&Role::Viewer) {
            self.canaries().allow(secret.expose_secret(), name);
        }
        (token.id, secret.expose_secret().to_owned())
    }

    /// A call with a bearer token.
    pub(crate) async fn get(&self, token: &str, path: &str) -> (StatusCode, serde_json::Value) {
        let response =
            self.client.get(format!("{}{path}", self.url)).bearer_auth(token).send().await.unwrap();
        let status = response.status();
        (status, response.json().await.unwrap_or_default())
    }

    /// Messages of the records of an answer.
    pub(crate) async fn messages(&self, token: &str, path: &str) -> Vec<String> {
        let (status, body) = self.get(token, path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        messages(&body)
    }
}

/// The settings that tests run with.
fn config_over(indexer_url: String) -> Config {
    Config {
        indexers: Discovery::Embedded(indexer_url),
        tls: Tls::default(),
        cluster_token: CLUSTER_TOKEN.into(),
        public_urls: vec!["https://logs.example.com".to_owned()],
        session_ttl: Duration::from_secs(12 * 3600),
        session_idle: Duration::from_secs(12 * 3600),
        providers: Vec::new(),
        secure_cookies: false,
        search_concurrency: 4,
        index_cache_bytes: 8 << 20,
        // So that what happens to an object is noticed.
        page_cache_bytes: 0,
        search_timeout: Duration::from_secs(30),
        tails_max: 8,
        audit_keep: None,
        forward_auth: None,
        authorization_webhook: None,
    }
}

fn client() -> reqwest::Client {
    // Idle connections are left before the server ends them, which it does after 10 s.
    reqwest::Client::builder().no_proxy().pool_idle_timeout(Duration::from_secs(4)).build().unwrap()
}

pub(crate) fn messages(body: &serde_json::Value) -> Vec<String> {
    let records = body["records"].as_array().unwrap();
    records.iter().map(|r| r["message"].as_str().unwrap().to_owned()).collect()
}

async fn people(store: &Store, now: Timestamp) {
    let workspace = Workspace::parse("w").unwrap();
    for name in ["a", "b"] {
        store.tenants.create(&tenant(name), &workspace).await.unwrap();
    }
    let password_hash = password::hash(&SecretString::from(PASSWORD)).unwrap();
    for (name, admin) in [("root", true), ("ann", false), ("bob", false), ("nobody", false)] {
        let user = User {
            name: name.to_owned(),
            password_hash: password_hash.clone(),
            admin,
            disabled: false,
            created: now,
        };
        store.catalog.create_user(&user).await.unwrap();
    }
    for (user, extent) in [("ann", Extent::Tenant(tenant("a"))), ("bob", Extent::Workspace(workspace))] {
        let grant = Grant { user: user.to_owned(), extent, role: Role::Viewer };
        store.catalog.grant(&grant).await.unwrap();
    }
}
