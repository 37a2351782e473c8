//! What tests stand on: a store in a temporary folder, an indexer that speaks the internal API, a server, a
//! clock that tests set.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Json, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::StreamExt;
use heliograph_model::airflow::Identity;
use heliograph_model::filter::{Filter, Matcher};
use heliograph_model::level::Level;
use heliograph_model::record::{Attributes, Record};
use heliograph_model::rows::Rows;
use heliograph_model::scan::{Answer, Collector, CommitId, FeedFrame, HotAnswer, HotHead, Scan};
use heliograph_model::source::{Position, Source, SourceId};
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::{Clock, Timestamp};
use heliograph_store::Store;
use heliograph_store::catalog::{Extent, Grant, Role, SegmentMeta, User};
use http::{HeaderMap, StatusCode};
use object_store::ObjectStoreExt;
use parking_lot::Mutex;
use prometheus::Registry;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::access::password;
use crate::{Config, Error};

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

#[derive(Default)]
struct Hot {
    tenants: HashMap<TenantId, Vec<(CommitId, Arc<Record>)>>,
    sealed: HashMap<TenantId, CommitId>,
    committed: i64,
    feeds: Vec<(TenantId, Arc<Matcher>, mpsc::Sender<String>)>,
}

/// An indexer as far as query sees one.
pub(crate) struct FakeIndexer {
    pub(crate) id: Uuid,
    store: Store,
    hot: Mutex<Hot>,
    /// Seals between the next answer to a scan and whatever the asker does then.
    pub(crate) seals_after_scan: AtomicBool,
    /// Commits a record between the next opening of a feed and whatever the asker does then.
    pub(crate) commits_after_open: Mutex<Option<(TenantId, Record)>>,
    pub(crate) is_down: AtomicBool,
    /// Scans wait while a test holds it.
    pub(crate) hold: Arc<tokio::sync::RwLock<()>>,
}

#[derive(Deserialize)]
struct FeedRequest {
    tenant: TenantId,
    filter: Filter,
    after: Option<CommitId>,
}

fn line(value: &impl serde::Serialize) -> String {
    format!("{}\n", serde_json::to_string(value).unwrap())
}

impl FakeIndexer {
    /// Makes records durable and hot, and gives them to the feeds.
    pub(crate) async fn commit(&self, tenant: &TenantId, records: &[Record]) -> CommitId {
        let (commit, sends) = {
            let mut hot = self.hot.lock();
            hot.committed += 1;
            let commit = CommitId(hot.committed);
            let part = hot.tenants.entry(tenant.clone()).or_default();
            part.extend(records.iter().map(|r| (commit, Arc::new(r.clone()))));
            let sends: Vec<_> = hot
                .feeds
                .iter()
                .map(|(of, matcher, out)| {
                    let meant: Vec<_> = records.iter().filter(|r| matcher.matches(*r)).collect();
                    let frame = if of == tenant && !meant.is_empty() {
                        FeedFrame::Records {
                            commit,
                            records: meant.iter().map(|r| r.to_api(tenant)).collect(),
                        }
                    } else {
                        FeedFrame::Heartbeat { commit }
                    };
                    (out.clone(), line(&frame))
                })
                .collect();
            (commit, sends)
        };
        for (out, text) in sends {
            drop(out.send(text).await);
        }
        commit
    }

    /// Says to all feeds that records were skipped.
    pub(crate) async fn skip(&self, count: u64) {
        let (commit, feeds) = {
            let hot = self.hot.lock();
            (CommitId(hot.committed), hot.feeds.iter().map(|f| f.2.clone()).collect::<Vec<_>>())
        };
        let at = Timestamp::parse(NOW).unwrap();
        for out in feeds {
            drop(out.send(line(&FeedFrame::Skipped { count, from: at, to: at, commit })).await);
        }
    }

    /// Ends all feeds, as a restart does.
    pub(crate) fn break_feeds(&self) {
        self.hot.lock().feeds.clear();
    }

    /// Seals all hot records of a tenant into a segment.
    pub(crate) async fn seal(&self, name: &TenantId) {
        let (records, after, through) = {
            let mut hot = self.hot.lock();
            let records = hot.tenants.remove(name).unwrap_or_default();
            let after = hot.sealed.get(name).copied().unwrap_or_default();
            let through = CommitId(hot.committed);
            (records, after, through)
        };
        if records.is_empty() {
            return;
        }
        let open = self.store.tenants.get(name).await.unwrap();
        let id = heliograph_store::layout::new_object_id();
        let parts: Vec<(CommitId, Rows)> =
            records.iter().map(|(c, r)| (*c, Rows::try_from(std::slice::from_ref(&**r)).unwrap())).collect();
        let parts: Vec<_> = parts.iter().map(|(commit, rows)| (*commit, rows)).collect();
        let built = heliograph_store::segment::build(&open, id, &parts).unwrap();
        let path = heliograph_store::layout::segment(open.uid, id);
        let meta = SegmentMeta {
            id,
            tenant: name.clone(),
            bytes: u64::try_from(built.bytes.len()).unwrap(),
            index_offset: built.index_offset,
            records: built.records,
            raw_bytes: built.raw_bytes,
            first: built.first,
            last: built.last,
            indexer: self.id,
            commits_after: after,
            commits_through: through,
            created: Timestamp::parse(NOW).unwrap(),
        };
        self.store.objects.put(&path, built.bytes.into()).await.unwrap();
        self.store.catalog.publish(&meta, &[]).await.unwrap();
        self.hot.lock().sealed.insert(name.clone(), through);
    }

    fn head(hot: &Hot, id: Uuid, tenant: &TenantId) -> HotHead {
        HotHead {
            indexer: id.to_string(),
            sealed_through: hot.sealed.get(tenant).copied().unwrap_or_default(),
            committed: CommitId(hot.committed),
        }
    }

    fn is_refused(&self, headers: &HeaderMap) -> bool {
        let bearer = format!("Bearer {CLUSTER_TOKEN}");
        self.is_down.load(Ordering::SeqCst)
            || headers.get("authorization").is_none_or(|v| v.as_bytes() != bearer.as_bytes())
    }
}

async fn scan(State(this): State<Arc<FakeIndexer>>, headers: HeaderMap, Json(scan): Json<Scan>) -> Response {
    if this.is_refused(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    drop(this.hold.read().await);
    let matcher = Matcher::new(&scan.filter).unwrap();
    let mut collector = Collector::new(&scan);
    let head = {
        let hot = this.hot.lock();
        for (commit, record) in hot.tenants.get(&scan.tenant).into_iter().flatten() {
            let is_late = scan.committed_after.is_none_or(|after| *commit > after);
            if is_late && scan.range.contains(record.time) && matcher.matches(&**record) {
                collector.offer(record.key(), &**record, || (**record).clone());
            }
        }
        FakeIndexer::head(&hot, this.id, &scan.tenant)
    };
    if this.seals_after_scan.swap(false, Ordering::SeqCst) {
        this.seal(&scan.tenant).await;
    }
    let mut text = line(&head);
    match collector.finish() {
        Answer::Records(records) => records.iter().for_each(|r| text += &line(&r.to_api(&scan.tenant))),
        Answer::Histogram(histogram) => text += &line(&HotAnswer::Histogram { histogram }),
        Answer::Values(values) => text += &line(&HotAnswer::Values { values }),
        Answer::Fields(fields) => text += &line(&HotAnswer::Fields { fields }),
    }
    text.into_response()
}

async fn feed(
    State(this): State<Arc<FakeIndexer>>,
    headers: HeaderMap,
    Json(ask): Json<FeedRequest>,
) -> Response {
    if this.is_refused(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let (out, lines) = mpsc::channel(1024);
    let matcher = Arc::new(Matcher::new(&ask.filter).unwrap());
    let mut first = String::new();
    {
        let mut hot = this.hot.lock();
        let HotHead { indexer, sealed_through, committed } = FakeIndexer::head(&hot, this.id, &ask.tenant);
        first += &line(&FeedFrame::Open { indexer, committed, sealed_through });
        if let Some(after) = ask.after {
            for (commit, record) in hot.tenants.get(&ask.tenant).into_iter().flatten() {
                if *commit > after && matcher.matches(&**record) {
                    let records = vec![record.to_api(&ask.tenant)];
                    first += &line(&FeedFrame::Records { commit: *commit, records });
                }
            }
            first += &line(&FeedFrame::Heartbeat { commit: committed });
        }
        hot.feeds.push((ask.tenant.clone(), matcher, out));
    }
    let late = this.commits_after_open.lock().take();
    if let Some((tenant, record)) = late {
        this.commit(&tenant, &[record]).await;
    }
    let live = futures::stream::unfold(lines, |mut lines| async { lines.recv().await.map(|l| (l, lines)) });
    let all = futures::stream::iter([first]).chain(live).map(Ok::<_, std::convert::Infallible>);
    Body::from_stream(all).into_response()
}

/// A server with a fake indexer behind it.
pub(crate) struct Stage {
    pub(crate) url: String,
    pub(crate) addr: SocketAddr,
    pub(crate) store: Store,
    pub(crate) clock: TestClock,
    pub(crate) indexer: Arc<FakeIndexer>,
    pub(crate) client: reqwest::Client,
    pub(crate) registry: Registry,
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinSet<Result<(), Error>>,
    _others: JoinSet<()>,
    _folder: tempfile::TempDir,
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
            catalog_url: format!("sqlite:{}", at("catalog")),
            storage_url: format!("file:{}", at("objects")),
            master_key_file: folder.path().join("key"),
        };
        let clock = TestClock::new();
        let store = Store::open(&config, Arc::new(clock.clone())).await.unwrap();
        people(&store, clock.now()).await;

        let mut others = JoinSet::new();
        let indexer = Arc::new(FakeIndexer {
            id: Uuid::new_v4(),
            store: store.clone(),
            hot: Mutex::default(),
            seals_after_scan: AtomicBool::new(false),
            commits_after_open: Mutex::new(None),
            is_down: AtomicBool::new(false),
            hold: Arc::default(),
        });
        let routes = Router::new()
            .route("/internal/v1/scan", post(scan))
            .route("/internal/v1/feed", post(feed))
            .with_state(Arc::clone(&indexer));
        let internal = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let indexer_url = format!("http://{}", internal.local_addr().unwrap());
        others.spawn(async move { axum::serve(internal, routes).await.unwrap() });

        let mut config = Config {
            indexers: vec![indexer_url],
            cluster_token: CLUSTER_TOKEN.into(),
            public_urls: vec!["https://logs.example.com".to_owned()],
            session_ttl: Duration::from_secs(12 * 3600),
            secure_cookies: false,
            search_concurrency: 4,
            search_timeout: Duration::from_secs(30),
            tails_max: 8,
        };
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (registry, stop) = (Registry::new(), CancellationToken::new());
        let (ready, _) = watch::channel(false);
        let mut running = JoinSet::new();
        let (running_store, running_clock) = (store.clone(), Arc::new(clock.clone()));
        let (running_registry, running_stop) = (registry.clone(), stop.clone());
        running.spawn(async move {
            let status = Router::new().route("/healthz", axum::routing::get(|| async { "ok" }));
            let (store, clock, stop) = (running_store, running_clock, running_stop);
            crate::run(config, listener, store, clock, &running_registry, status, ready, stop).await
        });
        Self {
            url: format!("http://{addr}"),
            addr,
            store,
            clock,
            indexer,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            registry,
            stop,
            running,
            _others: others,
            _folder: folder,
        }
    }

    /// A token of a tenant.
    pub(crate) async fn token(&self, name: &str, roles: &[Role]) -> (String, String) {
        let now = self.clock.now();
        let (token, secret) = heliograph_store::token::issue(&tenant(name), roles, None, now).unwrap();
        self.store.catalog.create_token(&token).await.unwrap();
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
        let user = User { name: name.to_owned(), password_hash: password_hash.clone(), admin, created: now };
        store.catalog.create_user(&user).await.unwrap();
    }
    for (user, extent) in [("ann", Extent::Tenant(tenant("a"))), ("bob", Extent::Workspace(workspace))] {
        let grant = Grant { user: user.to_owned(), extent, role: Role::Viewer };
        store.catalog.grant(&grant).await.unwrap();
    }
}
