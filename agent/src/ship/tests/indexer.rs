//! An indexer of a few lines: it keeps each batch once, in order, and may be told to misbehave.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use heliograph_model::batch::{EPOCH_HEADER, PRODUCER_HEADER, SEQUENCE_HEADER, TENANT_HEADER};
use heliograph_model::codec;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use tokio::task::JoinSet;

/// What the indexer does with the next request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    /// Keeps it, and the answer is lost.
    KeepAndFail,
    /// Answers this.
    Answer(u16),
    /// Expects this sequence.
    Expect(u64),
    /// Says that the tenant was erased.
    Erased,
}

/// What it keeps and saw.
#[derive(Default)]
pub(super) struct Indexed {
    /// What to do with the next requests; then each is kept.
    pub told: VecDeque<Told>,
    /// By tenant: the last epoch and sequence.
    pub last: BTreeMap<String, (u64, u64)>,
    /// By tenant: the messages.
    pub kept: BTreeMap<String, Vec<String>>,
    /// Tenant, epoch and sequence of each request.
    pub seen: Vec<(String, u64, u64)>,
    /// What the requests call it.
    pub hosts: BTreeSet<String>,
    /// Requests without the right token.
    pub denied: usize,
    /// Whether a batch that comes too early is refused at once, and not after a moment.
    pub impatient: bool,
    /// Every so many of the kept ones, the answer is lost.
    pub lossy: Option<usize>,
    /// Requests that are being answered, and the most at once.
    pub under_way: (usize, usize),
}

pub(super) type Shared = Arc<Mutex<Indexed>>;

struct Request {
    tenant: String,
    epoch: u64,
    sequence: u64,
    messages: Vec<String>,
}

async fn receive(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    if text("authorization") != "Bearer sesame" {
        shared.lock().denied += 1;
        return StatusCode::UNAUTHORIZED.into_response();
    }
    assert_eq!(
        (text("content-type"), text("content-encoding"), text(PRODUCER_HEADER)),
        ("application/x-protobuf".into(), "zstd".into(), "agent-1".into())
    );
    let records = codec::decode(&codec::decompress(&body, 1 << 24).unwrap()).unwrap().to_records();
    let request = Request {
        tenant: text(TENANT_HEADER),
        epoch: text(EPOCH_HEADER).parse().unwrap(),
        sequence: text(SEQUENCE_HEADER).parse().unwrap(),
        messages: records.iter().map(|r| r.message.to_string()).collect(),
    };
    let told = {
        let mut indexed = shared.lock();
        indexed.under_way.0 += 1;
        indexed.under_way.1 = indexed.under_way.1.max(indexed.under_way.0);
        indexed.seen.push((request.tenant.clone(), request.epoch, request.sequence));
        indexed.hosts.insert(text("host"));
        indexed.told.pop_front()
    };
    // Some time passes until it is durable.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut waits = if shared.lock().impatient { 0 } else { 50 };
    let answer = loop {
        if let Some(answer) = shared.lock().judge(&request, told, waits == 0) {
            break answer;
        }
        waits -= 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    shared.lock().under_way.0 -= 1;
    answer
}

impl Indexed {
    /// The answer; none while a batch that came too early may wait for its predecessor.
    fn judge(&mut self, request: &Request, told: Option<Told>, is_last: bool) -> Option<Response> {
        let Request { tenant, epoch, sequence, messages } = request;
        let conflict = |body: String| Some((StatusCode::CONFLICT, body).into_response());
        if messages.iter().any(|message| message.starts_with("poison")) {
            return Some(StatusCode::BAD_REQUEST.into_response());
        }
        if let Some(Told::Answer(status)) = told {
            return Some((StatusCode::from_u16(status).unwrap(), [("retry-after", "0")]).into_response());
        }
        if let Some(Told::Erased) = told {
            return Some((StatusCode::GONE, r#"{"erased":true}"#).into_response());
        }
        if let Some((later, _)) = self.last.get(tenant).filter(|(last, _)| last > epoch) {
            return conflict(format!("{{\"expected\":1,\"epoch\":{}}}", later + 1));
        }
        if let Some(Told::Expect(n)) = told {
            return conflict(format!("{{\"expected\":{n}}}"));
        }
        let last = self.last.get(tenant).filter(|(last, _)| last == epoch).map_or(0, |(_, last)| *last);
        if *sequence > last + 1 {
            return if is_last { conflict(format!("{{\"expected\":{}}}", last + 1)) } else { None };
        }
        if *sequence == last + 1 {
            self.last.insert(tenant.clone(), (*epoch, *sequence));
            self.kept.entry(tenant.clone()).or_default().extend(messages.iter().cloned());
        }
        let lost = self.lossy.is_some_and(|every| self.seen.len().is_multiple_of(every));
        let answer = match told {
            Some(Told::KeepAndFail) => StatusCode::BAD_GATEWAY,
            _ if lost => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::OK,
        };
        Some(answer.into_response())
    }
}

/// Serves on a free port of 127.0.0.1.
pub(super) async fn serve(shared: Shared) -> SocketAddr {
    serve_on("127.0.0.1:0", shared).await
}

/// Serves at an address.
pub(super) async fn serve_on(address: &str, shared: Shared) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/v1/logs", post(receive)).with_state(shared);
    JOINED.with(|set| set.borrow_mut().spawn(async move { axum::serve(listener, app).await }));
    address
}

thread_local! {
    /// Servers live as long as their test's thread.
    static JOINED: std::cell::RefCell<JoinSet<std::io::Result<()>>> = std::cell::RefCell::new(JoinSet::new());
}
