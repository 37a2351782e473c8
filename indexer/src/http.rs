//! Routes, and nothing but routes: what a path means, in which form it is answered.

mod answer;
mod elasticsearch;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, Path, Query, State};
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};
use bytes::Bytes;
use futures::stream;
use heliograph_model::record::Record;
use heliograph_model::scan::{Answer, HotAnswer, Scans};
use heliograph_model::tenant::TenantId;
use heliograph_serve::PeerCertificate;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Uri};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use uuid::Uuid;

use crate::budget::Budget;
use crate::credential::Credentials;
use crate::error::{Error, Result};
use crate::feed;
use crate::holdings::Holdings;
use crate::hot::{Answers, Found, Searcher};
use crate::receive::{Format, Head, Intake, read_body};
use answer::Form;

/// Largest request of the query role: a filter with many words, and a thousand tenants' names.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Records that are written out in one go.
const LINES_AT_ONCE: usize = 256;

/// What the routes stand on.
pub(crate) struct App {
    pub(crate) intake: Intake,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) searcher: Searcher,
    pub(crate) holdings: Arc<Holdings>,
}

/// Empty until everything acknowledged earlier is searchable again.
type Doors = State<Arc<OnceLock<App>>>;

/// A request's head, with who is at the other end of the connection.
#[derive(FromRequestParts)]
struct Caller {
    certificate: Option<Extension<PeerCertificate>>,
    peer: ConnectInfo<SocketAddr>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Caller {
    fn head(&self) -> Head<'_> {
        Head {
            headers: &self.headers,
            certificate: self.certificate.as_ref().map(|Extension(certificate)| certificate),
            from: self.peer.0.ip(),
            method: &self.method,
            uri: &self.uri,
        }
    }
}

fn open(doors: &Doors) -> Result<&App> {
    doors.get().ok_or(Error::Unavailable { reason: "the indexer is starting" })
}

/// The indexer's own routes.
pub(crate) fn router(app: Arc<OnceLock<App>>) -> Router {
    Router::new()
        .route("/v1/logs", post(logs))
        .route("/_bulk", post(bulk).put(bulk))
        .route("/{index}/_bulk", post(bulk).put(bulk))
        .route("/internal/v1/scan", post(scan))
        .route("/internal/v1/feed", post(follow))
        .with_state(app)
        .layer(CatchPanicLayer::new())
}

async fn logs(doors: Doors, caller: Caller, mut body: Body) -> Response {
    // An answer has the form of its request; where that has none, it is JSON.
    let form = Format::of(&caller.headers).unwrap_or(Format::Json);
    let taken = match open(&doors) {
        Ok(app) => app.intake.take_otlp(caller.head(), &mut body).await,
        Err(error) => Err(error),
    };
    match taken {
        Ok(()) => answer::accepted(form),
        Err(error) => answer::refused(&error, Form::Otlp(form), body).await,
    }
}

async fn bulk(doors: Doors, index: Option<Path<String>>, caller: Caller, mut body: Body) -> Response {
    let began = Instant::now();
    let index = index.as_ref().map(|index| index.as_str());
    let taken = match open(&doors) {
        Ok(app) => app.intake.take_bulk(caller.head(), index, &mut body).await,
        Err(error) => Err(error),
    };
    match taken {
        Ok((items, room)) => elasticsearch::accepted(items, began.elapsed(), room),
        Err(error) => answer::refused(&error, Form::Elasticsearch, body).await,
    }
}

/// Which indexers are asked.
#[derive(Deserialize)]
struct Asked {
    /// Ids with commas between; without them all that this process answers for.
    indexers: Option<String>,
}

impl Asked {
    fn ids(&self) -> Result<Option<Vec<Uuid>>> {
        let bad = |e: uuid::Error| Error::invalid(format!("indexers: {e}"));
        let parse = |ids: &String| ids.split(',').map(|id| Uuid::parse_str(id).map_err(bad)).collect();
        self.indexers.as_ref().map(parse).transpose()
    }
}

async fn scan(doors: Doors, asked: Query<Asked>, caller: Caller, mut body: Body) -> Response {
    match scanned(&doors, &asked, &caller, &mut body).await {
        Ok(response) => response,
        Err(error) => answer::refused(&error, Form::Otlp(Format::Json), body).await,
    }
}

async fn scanned(doors: &Doors, asked: &Asked, caller: &Caller, body: &mut Body) -> Result<Response> {
    let app = open(doors)?;
    app.credentials.is_query(caller.head())?;
    let scans: Scans = json(&caller.headers, body).await?;
    let holdings = app.holdings.answering(asked.ids()?.as_deref()).await;
    let Found { heads, answer } = app.searcher.search(&holdings, &scans).await?;
    let mut first = Vec::new();
    line(&mut first, &heads)?;
    let counts = match answer {
        Answers::Records(records) if records.is_empty() => return ndjson(Body::from(first)),
        Answers::Records(records) => return ndjson(record_lines(first, records)),
        Answers::Counts(Answer::Histogram(histogram)) => HotAnswer::Histogram { histogram },
        Answers::Counts(Answer::Values(values)) => HotAnswer::Values { values },
        Answers::Counts(Answer::Fields(fields)) => HotAnswer::Fields { fields },
        Answers::Counts(Answer::Records(_)) => return Err(Error::invalid("records cannot be counted")),
    };
    line(&mut first, &counts)?;
    ndjson(Body::from(first))
}

/// The first line, then a line for each record, some at a time.
fn record_lines(first: Vec<u8>, records: Vec<(TenantId, Record)>) -> Body {
    let rest = stream::unfold(records.into_iter(), |mut records| async move {
        let mut lines = Vec::new();
        for (tenant, record) in records.by_ref().take(LINES_AT_ONCE) {
            if let Err(error) = line(&mut lines, &record.to_api(&tenant)) {
                return Some((Err(error), Vec::new().into_iter()));
            }
        }
        (!lines.is_empty()).then(|| (Ok(Bytes::from(lines)), records))
    });
    Body::from_stream(futures::StreamExt::chain(stream::iter([Ok(Bytes::from(first))]), rest))
}

async fn follow(doors: Doors, caller: Caller, mut body: Body) -> Response {
    match followed(&doors, &caller, &mut body).await {
        Ok(response) => response,
        Err(error) => answer::refused(&error, Form::Otlp(Format::Json), body).await,
    }
}

async fn followed(doors: &Doors, caller: &Caller, body: &mut Body) -> Result<Response> {
    let app = open(doors)?;
    app.credentials.is_query(caller.head())?;
    let request: feed::Request = json(&caller.headers, body).await?;
    let unheld = Error::Unavailable { reason: "this process does not answer for that indexer" };
    let frames = app.holdings.of(request.indexer).ok_or(unheld)?.feed.open(request)?;
    let lines = stream::unfold(frames, |mut frames| async move {
        let frame = frames.recv().await?;
        // The frame's room is given back here, when the connection takes the line.
        Some((Ok::<_, Error>(frame.line), frames))
    });
    ndjson(Body::from_stream(lines))
}

async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &mut Body) -> Result<T> {
    let (bytes, _room) =
        read_body(headers, body, REQUEST_BYTES_MAX, &[&Budget::new(REQUEST_BYTES_MAX)]).await?;
    serde_json::from_slice(&bytes).map_err(|e| Error::invalid(format!("cannot read the request: {e}")))
}

fn line(out: &mut Vec<u8>, value: &impl Serialize) -> Result<()> {
    serde_json::to_writer(&mut *out, value).map_err(|e| Error::invalid(e.to_string()))?;
    out.push(b'\n');
    Ok(())
}

fn ndjson(body: Body) -> Result<Response> {
    Response::builder()
        .header(CONTENT_TYPE, "application/x-ndjson")
        .body(body)
        .map_err(|e| Error::invalid(e.to_string()))
}
