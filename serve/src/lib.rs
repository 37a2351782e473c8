//! Serves a router on a listener: bounded in connections and in the time that a client may take to say what it
//! wants, and drained at the end. Knows nothing of what is served.
//!
//! One place for every role's port, so that a limit (and later TLS) cannot be forgotten on one of them.

use std::convert::Infallible;
use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use prometheus::IntGauge;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Longest time from the first to the last byte of a request's head; also of silence between requests.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Header fields of a request.
const HEADERS_MAX: usize = 64;
/// Bytes of all header fields of an HTTP/2 request.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// Requests side by side on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// Pause after an error of accepting, such as having no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How a connection of HTTP/2 begins.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What differs between ports.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Connections at the same time; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Longest time that requests under way have to end once `stop` has come.
    pub drain_max: Duration,
    /// Shows how many connections there are.
    pub connections: Option<IntGauge>,
}

/// Serves until `stop`; returns when all requests have ended, or were given up.
///
/// Each request carries its [`ConnectInfo`]. A connection that was upgraded (a WebSocket) belongs to its handler.
pub async fn serve(listener: TcpListener, router: Router, bounds: Bounds, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(bounds.connections_max));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let connection = connection(stream, peer, router.clone(), graceful.watcher(), stop.clone());
        let shown = bounds.connections.clone();
        shown.iter().for_each(IntGauge::inc);
        connections.spawn(async move {
            connection.await;
            shown.iter().for_each(IntGauge::dec);
            drop(place);
        });
    }
    drop(listener);
    drop(router);
    if timeout(bounds.drain_max, graceful.shutdown()).await.is_err() && !bounds.drain_max.is_zero() {
        tracing::warn!(connections = connections.len(), "gave up requests that did not end in time");
    }
    connections.shutdown().await;
}

type Accepted = (TcpStream, SocketAddr, OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<Accepted> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_MAX)
        .keep_alive_timeout(HEAD_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX);
    builder
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    watcher: Watcher,
    stop: CancellationToken,
) {
    // Answers are small and waited for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let (mut input, output) = stream.into_split();
    // The builder tells HTTP/1 and 2 apart without a bound on time, so the bytes it needs are read here.
    let begun = tokio::select! {
        () = stop.cancelled() => return,
        begun = timeout(HEAD_MAX, beginning(&mut input)) => begun,
    };
    let Ok(Ok(begun)) = begun else { return };
    let io = TokioIo::new(tokio::io::join(Cursor::new(begun).chain(input), output));
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let connection = builder().serve_connection_with_upgrades(io, service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        // How a connection broke is the client's matter.
        tracing::debug!(error = &*error as &dyn std::error::Error, "a connection broke off");
    }
}

/// The first bytes, as many as tell the version of HTTP.
async fn beginning(input: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut begun = Vec::with_capacity(PREFACE.len());
    let mut buffer = [0; PREFACE.len()];
    loop {
        let wanted = buffer.get_mut(..PREFACE.len() - begun.len()).unwrap_or_default();
        let count = input.read(wanted).await?;
        begun.extend_from_slice(wanted.get(..count).unwrap_or_default());
        if count == 0 || begun.len() == PREFACE.len() || !PREFACE.starts_with(&begun) {
            return Ok(begun);
        }
    }
}
