//! Serves a router on a port: encrypted where told so, bounded in connections and in the time that a client may take
//! to say what it wants, and drained at the end. Knows nothing of what is served.
//!
//! One place for every role's port, so that neither a limit nor TLS can be forgotten on one of them.

mod error;
mod patience;
mod port;
mod tls;
mod watched;

use std::convert::Infallible;
use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use prometheus::IntGauge;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use patience::Patient;
use tls::Agreed;

pub use error::{Error, Result};
pub use port::Port;
pub use tls::{ClientCertificates, Clients, PeerCertificate, Tls, TlsFiles, TlsMetrics, certificates_expire};
pub use watched::{RENEW_EVERY, Renewal, Watched};

/// Longest time from the first to the last byte of a request's head; also of silence between requests.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Longest time in which a client takes no byte of what it is sent; a live tail gives up its own reader before that.
const UNREAD_MAX: Duration = Duration::from_secs(90);
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
/// Each request carries its [`ConnectInfo`], and its [`PeerCertificate`] if the client has proved one. A connection
/// that was upgraded (a WebSocket) belongs to its handler. Certificates are read anew meanwhile.
pub async fn serve(port: Port, router: Router, bounds: Bounds, stop: CancellationToken) {
    let Port { listener, tls } = port;
    let places = Arc::new(Semaphore::new(bounds.connections_max));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut renewing = std::pin::pin!(keep_fresh(tls.as_ref()));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            never = &mut renewing => match never {},
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let answering = Answering { router: router.clone(), peer, certificate: None };
        let connection = connection(stream, tls.clone(), answering, graceful.watcher(), stop.clone());
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

async fn keep_fresh(tls: Option<&Tls>) -> Infallible {
    match tls {
        Some(tls) => tls.keep_fresh().await,
        None => std::future::pending().await,
    }
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

/// What requests of one connection are answered with.
struct Answering {
    router: Router,
    peer: SocketAddr,
    certificate: Option<PeerCertificate>,
}

async fn connection(
    stream: TcpStream,
    tls: Option<Tls>,
    mut answering: Answering,
    watcher: Watcher,
    stop: CancellationToken,
) {
    // Answers are small and waited for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let Some(tls) = tls else {
        let (input, output) = stream.into_split();
        return speak(input, output, answering, watcher, stop).await;
    };
    let peer = answering.peer;
    let agreed = tokio::select! {
        () = stop.cancelled() => return,
        agreed = tls.handshake(stream) => agreed,
    };
    let Some(Agreed { stream, certificate, standing }) = agreed else { return };
    answering.certificate = certificate;
    let (input, output) = tokio::io::split(stream);
    tokio::select! {
        () = speak(input, output, answering, watcher, stop) => {}
        () = standing.lost() => tracing::info!(%peer, "a connection ends: its client's certificate does not hold any more"),
    }
}

/// Answers what comes on a connection, until it ends.
async fn speak(
    mut input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
    answering: Answering,
    watcher: Watcher,
    stop: CancellationToken,
) {
    // The builder tells HTTP/1 and 2 apart without a bound on time, so the bytes it needs are read here.
    let begun = tokio::select! {
        () = stop.cancelled() => return,
        begun = timeout(HEAD_MAX, beginning(&mut input)) => begun,
    };
    let Ok(Ok(begun)) = begun else { return };
    let output = Patient::new(output, UNREAD_MAX);
    let io = TokioIo::new(tokio::io::join(Cursor::new(begun).chain(input), output));
    let Answering { router, peer, certificate } = answering;
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        if let Some(certificate) = &certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        name_host(&mut request);
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let connection = builder().serve_connection_with_upgrades(io, service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        // How a connection broke is the client's matter.
        tracing::debug!(error = &*error as &dyn std::error::Error, "a connection broke off");
    }
}

/// HTTP/2 names the host beside the headers; whoever asks for it looks in one place.
fn name_host(request: &mut Request<Body>) {
    if request.headers().contains_key(header::HOST) {
        return;
    }
    let host = request.uri().authority().and_then(|name| HeaderValue::from_str(name.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
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
