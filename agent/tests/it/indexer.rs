//! An indexer that keeps each batch once, and the config of an agent that sends to it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::Listener;
use heliograph_agent::{Config, Input, NamespaceSelection, Otherwise, TenantRules, Tls, Token, WhenFull};
use heliograph_model::batch::{EPOCH_HEADER, PRODUCER_HEADER, SEQUENCE_HEADER, TENANT_HEADER};
use heliograph_model::codec;
use heliograph_model::record::Record;
use heliograph_model::time::{Clock, Timestamp};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use tokio::task::JoinSet;

/// The real clock.
pub(crate) struct Real;

impl Clock for Real {
    #[expect(clippy::disallowed_methods, reason = "this is the real clock of the test's agent")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap())
    }
}

/// What the indexer keeps.
#[derive(Default)]
pub(crate) struct Indexed {
    last: HashMap<(String, String, u64), u64>,
    /// Tenant and record, in the order of arrival.
    pub records: Vec<(String, Record)>,
    /// How often it was asked.
    pub requests: usize,
    /// The `Authorization` that it takes; all, without one.
    pub token: Option<String>,
    /// What it answers instead of keeping a batch.
    pub refuses: Option<u16>,
}

/// The indexer, and the tasks that serve it.
pub(crate) struct Indexer {
    /// Its address.
    pub url: String,
    /// What it keeps.
    pub indexed: Arc<Mutex<Indexed>>,
    _tasks: JoinSet<std::io::Result<()>>,
}

impl Indexer {
    /// On a free port.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self::start_on(listener, url)
    }

    /// On a listener with this address.
    pub(crate) fn start_on<L: Listener>(listener: L, url: String) -> Self
    where
        L::Addr: std::fmt::Debug,
    {
        let indexed = Arc::new(Mutex::new(Indexed::default()));
        let app = Router::new()
            .route("/v1/logs", post(receive))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&indexed));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await });
        Self { url, indexed, _tasks: tasks }
    }

    /// Waits until it keeps that many records, for at most a minute.
    pub(crate) async fn wait_for(&self, records: usize) {
        for _ in 0..6000 {
            if self.indexed.lock().records.len() >= records {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Every seventh batch is kept without saying so.
async fn receive(State(indexed): State<Arc<Mutex<Indexed>>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    let number = |name: &str| text(name).parse::<u64>().unwrap();
    let records = codec::decode(&codec::decompress(&body, 64 << 20).unwrap()).unwrap().to_records();
    let mut indexed = indexed.lock();
    let indexed = &mut *indexed;
    indexed.requests += 1;
    if let Some(status) = indexed.refuses {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    if indexed.token.as_ref().is_some_and(|token| text("authorization") != *token) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let tenant = text(TENANT_HEADER);
    let key = (tenant.clone(), text(PRODUCER_HEADER), number(EPOCH_HEADER));
    let last = indexed.last.entry(key).or_default();
    match number(SEQUENCE_HEADER) {
        n if n <= *last => return StatusCode::OK.into_response(),
        n if n == *last + 1 => *last = n,
        _ => return (StatusCode::CONFLICT, format!("{{\"expected\":{}}}", *last + 1)).into_response(),
    }
    indexed.records.extend(records.into_iter().map(|record| (tenant.clone(), record)));
    let lost = indexed.requests.is_multiple_of(7);
    if lost { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }.into_response()
}

/// An agent's config with its data below `dir`.
pub(crate) fn config(dir: &Path, url: &str, inputs: Vec<Input>) -> Config {
    Config {
        data_dir: dir.join("data"),
        node: "node-1".into(),
        inputs,
        indexers: vec![url.to_owned()],
        token: Token::Fixed("sesame".into()),
        tls: Tls::default(),
        tenants: TenantRules { otherwise: Otherwise::SameName, ..TenantRules::default() },
        namespaces: NamespaceSelection::All,
        kubernetes: None,
        sidecar: None,
        spool_bytes_max: 64 << 20,
        spool_when_full: WhenFull::DropOldest { patience: Duration::from_secs(30) },
        batch_bytes_max: 64 << 10,
        flush_after: Duration::from_millis(10),
        scan_every: Duration::from_millis(200),
        tenant_bytes_per_second: None,
        unlinked_bytes_max: 1 << 30,
        unlinked_container_bytes_max: 256 << 20,
    }
}
