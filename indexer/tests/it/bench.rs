//! A running indexer with its folder, senders for it, and the eyes of a query role.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use heliograph_indexer::{Config, TenantBounds, Upkeep};
use heliograph_model::airflow::Identity;
use heliograph_model::codec;
use heliograph_model::filter::{Filter, Matcher};
use heliograph_model::level::Level;
use heliograph_model::record::{ApiRecord, Attributes, Record};
use heliograph_model::redact::Redactor;
use heliograph_model::scan::{Answer, Collector, HotHead, HotHeads, Order, Scan, Scans, Want};
use heliograph_model::source::{Component, Position, Source, SourceId};
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::{Clock, TimeRange, Timestamp};
use heliograph_serve::Port;
use heliograph_store::catalog::Role;
use heliograph_store::segment::{PageCache, ScanStats, Segment};
use heliograph_store::{Store, objects};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const AGENT: &str = "agent-secret";
pub(crate) const CLUSTER: &str = "cluster-secret";

/// A clock that moves on by a microsecond each time it is read, and jumps when told to.
pub(crate) struct Ticks(AtomicI64);

impl Ticks {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_800_000_000_000_000_000)))
    }

    pub(crate) fn jump(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_nanos()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for Ticks {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.fetch_add(1_000, Ordering::Relaxed))
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Ticks::new()
}

/// The default rules: compiled once for all servers.
pub(crate) static REDACTOR: LazyLock<Arc<Redactor>> =
    LazyLock::new(|| Arc::new(Redactor::new(&BTreeSet::new(), Vec::new()).unwrap()));

pub(crate) fn config() -> Config {
    Config {
        agent_token: Some(AGENT.into()),
        nodes: Vec::new(),
        authorization_webhook: None,
        token_review: None,
        cluster_token: CLUSTER.into(),
        workspace: Workspace::parse("default").unwrap(),
        advertise: None,
        linger: Duration::from_millis(2),
        body_bytes_max: 1 << 20,
        expanded_bytes_max: 4 << 20,
        hot_bytes_max: 64 << 20,
        seal_bytes: 1 << 40,
        seal_after: Duration::from_secs(3600),
        redaction: Some(Arc::clone(&REDACTOR)),
        tenant_bounds: TenantBounds::default(),
        upkeep: Upkeep::default(),
    }
}

/// Where objects lie if nothing else is said.
pub(crate) fn near(folder: &Path) -> objects::Config {
    objects::Config::at(format!("file:{}", folder.join("objects").display()))
}

pub(crate) async fn open_store(folder: &Path, storage: objects::Config) -> Store {
    let config = heliograph_store::Config {
        catalog_url: format!("sqlite:{}", folder.join("catalog.db").display()).into(),
        catalog_password: None,
        storage,
        master_key_file: folder.join("master.key"),
        cache: None,
    };
    Store::open(&config, clock()).await.unwrap()
}

/// An indexer on a runtime of its own, so that it can be torn away like a killed process.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) store: Store,
    pub(crate) ready: watch::Receiver<bool>,
    pub(crate) registry: prometheus::Registry,
    pub(crate) stop: CancellationToken,
    pub(crate) client: reqwest::Client,
    pub(crate) clock: Arc<Ticks>,
    runtime: Option<Runtime>,
    running: JoinHandle<heliograph_indexer::Result<()>>,
}

impl Server {
    pub(crate) async fn start(folder: &Path) -> Self {
        Self::start_with(folder, config(), |store| store).await
    }

    pub(crate) async fn start_with(
        folder: &Path,
        config: Config,
        change: impl FnOnce(Store) -> Store,
    ) -> Self {
        let mut server = Self::launch(folder, config, change).await;
        server.ready.wait_for(|ready| *ready).await.unwrap();
        server
    }

    /// Starts with its objects elsewhere.
    pub(crate) async fn start_over(folder: &Path, storage: objects::Config, config: Config) -> Self {
        let mut server = Self::launch_by(folder, storage, config, |store| store, Ticks::new()).await;
        server.ready.wait_for(|ready| *ready).await.unwrap();
        server
    }

    /// Starts when it is so much later.
    pub(crate) async fn start_later(folder: &Path, config: Config, by: Duration) -> Self {
        let clock = Ticks::new();
        clock.jump(by);
        let mut server = Self::launch_by(folder, near(folder), config, |store| store, clock).await;
        server.ready.wait_for(|ready| *ready).await.unwrap();
        server
    }

    /// Starts without waiting until it is ready.
    pub(crate) async fn launch(folder: &Path, config: Config, change: impl FnOnce(Store) -> Store) -> Self {
        Self::launch_by(folder, near(folder), config, change, Ticks::new()).await
    }

    async fn launch_by(
        folder: &Path,
        storage: objects::Config,
        mut config: Config,
        change: impl FnOnce(Store) -> Store,
        clock: Arc<Ticks>,
    ) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = folder.to_owned();
        let opened = runtime.spawn(async move {
            (open_store(&folder, storage).await, TcpListener::bind("127.0.0.1:0").await.unwrap())
        });
        let (store, listener) = opened.await.unwrap();
        let store = change(store);
        let url = format!("http://{}", listener.local_addr().unwrap());
        let port = Port::plain(listener);
        // Known only now.
        config.advertise = config.advertise.map(|_| url.clone());
        let registry = prometheus::Registry::new();
        let (ready, is_ready) = watch::channel(false);
        let stop = CancellationToken::new();
        let running = {
            let (store, registry, stop) = (store.clone(), registry.clone(), stop.clone());
            let clock: Arc<dyn Clock> = Arc::<Ticks>::clone(&clock);
            runtime.spawn(async move {
                let status = axum::Router::new().route("/healthz", axum::routing::get(|| async { "ok" }));
                Box::pin(heliograph_indexer::run(config, port, store, clock, &registry, status, ready, stop))
                    .await
            })
        };
        Self {
            url,
            store,
            ready: is_ready,
            registry,
            stop,
            client: reqwest::Client::new(),
            clock,
            runtime: Some(runtime),
            running,
        }
    }

    /// Everything stops where it is.
    pub(crate) async fn kill(mut self) {
        let runtime = self.runtime.take().unwrap();
        // Waits only for what runs on threads: a real kill lets the kernel finish its calls, too.
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(20))).await.unwrap();
    }

    /// What it says when it ends by itself.
    pub(crate) async fn ended(mut self) -> heliograph_indexer::Result<()> {
        let ended = (&mut self.running).await.unwrap();
        self.kill().await;
        ended
    }

    /// Stops as told by the supervisor.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.running).await.unwrap().unwrap();
        self.kill().await;
    }

    pub(crate) async fn token(&self, tenant: &str, roles: &[Role]) -> String {
        let tenant = TenantId::parse(tenant).unwrap();
        let workspace = Workspace::parse("default").unwrap();
        drop(self.store.tenants.find_or_create(&tenant, &workspace).await.unwrap());
        let (token, secret) = heliograph_store::token::issue(&tenant, roles, None, clock().now()).unwrap();
        self.store.catalog.create_token(&token).await.unwrap();
        let secret: SecretString = secret;
        secret.expose_secret().to_owned()
    }

    pub(crate) fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(format!("{}{path}", self.url))
    }

    /// A batch as an agent sends it.
    pub(crate) fn agent(
        &self,
        tenant: &str,
        batch: Option<(&str, u64, u64)>,
        records: &[Record],
    ) -> reqwest::RequestBuilder {
        let body = codec::compress(&codec::encode(records), 1).unwrap();
        let request = self
            .post("/v1/logs")
            .bearer_auth(AGENT)
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", "zstd")
            .header("x-heliograph-tenant", tenant)
            .body(body);
        match batch {
            None => request,
            Some((producer, epoch, sequence)) => request
                .header("x-heliograph-producer", producer)
                .header("x-heliograph-epoch", epoch)
                .header("x-heliograph-sequence", sequence),
        }
    }

    /// Sends a batch; the status.
    pub(crate) async fn send(&self, tenant: &str, producer: &str, sequence: u64, records: &[Record]) -> u16 {
        let sent = self.agent(tenant, Some((producer, 1, sequence)), records).send().await;
        sent.map_or(0, |response| response.status().as_u16())
    }

    pub(crate) async fn scan(&self, scan: &Scan) -> (HotHead, Vec<Record>) {
        let (heads, records) = self.scans(&scan.clone().into()).await;
        assert!(records.iter().all(|(tenant, _)| *tenant == scan.tenant));
        (heads.of(0).unwrap(), records.into_iter().map(|(_, record)| record).collect())
    }

    pub(crate) async fn scans(&self, scans: &Scans) -> (HotHeads, Vec<(TenantId, Record)>) {
        let response = self.post("/internal/v1/scan").bearer_auth(CLUSTER).json(scans).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.text().await.unwrap();
        let mut lines = body.lines();
        let heads: Vec<HotHeads> = serde_json::from_str(lines.next().unwrap()).unwrap();
        let [heads] = heads.try_into().unwrap();
        let record = |line| {
            let record: ApiRecord<'_> = serde_json::from_str(line).unwrap();
            (record.tenant.clone(), record.into_record().unwrap())
        };
        (heads, lines.map(record).collect())
    }

    /// The messages of all of a tenant's records. One that is there twice counts twice.
    pub(crate) async fn everything(&self, tenant: &str) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for record in self.all_records(tenant).await {
            *found.entry(record.message.to_string()).or_default() += 1;
        }
        found
    }

    /// All of a tenant's records as a query finds them: hot, and of the segments what hot says is not in it.
    pub(crate) async fn all_records(&self, tenant: &str) -> Vec<Record> {
        let scan = all_of(tenant);
        let (head, mut found) = self.scan(&scan).await;
        let segments = self.store.catalog.segments(&scan.tenant, &TimeRange::ALL).await.unwrap();
        let open = self.store.tenants.find(&scan.tenant).await.unwrap();
        let sealed = Scan { committed_through: Some(head.sealed_through), ..scan.clone() };
        for meta in segments {
            let is_own = meta.indexer.to_string() == head.indexer;
            if is_own && meta.commits_after >= head.sealed_through {
                continue;
            }
            let scan = if is_own { &sealed } else { &scan };
            let open = Arc::clone(open.as_ref().unwrap());
            let segment =
                Segment::open(Arc::clone(&self.store.objects), open, meta, PageCache::new(0)).await.unwrap();
            let matcher = Arc::new(Matcher::new(&scan.filter).unwrap());
            let collector = Collector::new(scan);
            let mut stats = ScanStats::default();
            let answer = segment.scan(scan, &matcher, collector, &mut stats).await.unwrap().finish();
            let Answer::Records(records) = answer else { panic!("records were wanted") };
            found.extend(records);
        }
        found
    }

    pub(crate) fn figure(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|f| f.name() == name).expect(name);
        let metric = &family.get_metric()[0];
        if metric.get_counter().get_value() > 0.0 {
            metric.get_counter().get_value()
        } else {
            metric.get_gauge().get_value()
        }
    }

    /// Objects of segments on disk; their names.
    pub(crate) fn segment_files(&self, folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for tenant in std::fs::read_dir(folder.join("objects/t")).into_iter().flatten() {
            let files = std::fs::read_dir(tenant.unwrap().path().join("s")).into_iter().flatten();
            found.extend(files.map(|f| f.unwrap().file_name().into_string().unwrap()));
        }
        found.sort();
        found
    }

    /// Objects on disk under the write-ahead prefix.
    pub(crate) fn wal_files(&self, folder: &Path) -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        for indexer in std::fs::read_dir(folder.join("objects/w")).into_iter().flatten() {
            let files = std::fs::read_dir(indexer.unwrap().path()).unwrap();
            found.extend(files.map(|f| f.unwrap().path()));
        }
        found.sort();
        found
    }
}

pub(crate) fn all_of(tenant: &str) -> Scan {
    Scan {
        tenant: TenantId::parse(tenant).unwrap(),
        range: TimeRange::ALL,
        filter: Filter::All,
        committed_after: None,
        committed_through: None,
        want: Want::Records { order: Order::Asc, limit: 1_000_000, after: None },
    }
}

/// Records of one source with these messages, at these places.
pub(crate) fn records(source: &str, places: std::ops::Range<u64>) -> Vec<Record> {
    let of = Arc::new(Source {
        id: SourceId::of("test", source),
        component: Some(Component::parse("scheduler").unwrap()),
        pod: Some("pod-1".into()),
        ..Source::default()
    });
    places
        .map(|place| Record {
            time: Timestamp::from_nanos(1_800_000_000_000_000_000 + place.cast_signed()),
            observed: Timestamp::from_nanos(1_800_000_000_000_000_000),
            position: Position(place),
            source: Arc::clone(&of),
            level: Some(if place % 10 == 0 { Level::Error } else { Level::Info }),
            stream: None,
            identity: Identity::default(),
            message: format!("{source} line {place}").into(),
            attributes: Attributes::default(),
        })
        .collect()
}

/// What [`Server::everything`] gives if all of these are there once.
pub(crate) fn once<'a>(records: impl IntoIterator<Item = &'a Record>) -> BTreeMap<String, usize> {
    records.into_iter().map(|r| (r.message.to_string(), 1)).collect()
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until<F: Future<Output = bool>>(
    what: &str,
    mut is_so: impl FnMut() -> F,
) -> impl Future<Output = ()> {
    let what = what.to_owned();
    async move {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while !is_so().await {
            assert!(tokio::time::Instant::now() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
