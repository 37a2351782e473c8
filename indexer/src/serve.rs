//! Serves a router on a listener: bounded in connections and in the time that a client may take to say what it
//! wants, and drained at the end. Knows nothing of what is served.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Connections at the same time.
const CONNECTIONS_MAX: usize = 8192;
/// Longest time from the first to the last byte of a request's head; also of silence between requests.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Longest time that running requests have to end.
const DRAIN_MAX: Duration = Duration::from_secs(8);
/// Pause after an error of accepting, such as having no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How a connection of HTTP/2 begins.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves until `stop`; returns when all requests have ended, or were given up.
pub(crate) async fn serve(listener: TcpListener, router: Router, metrics: Metrics, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Some((stream, place)) = accepted else { continue };
        let connection = connection(stream, router.clone(), graceful.watcher(), stop.clone());
        metrics.connections.inc();
        let metrics = metrics.clone();
        connections.spawn(async move {
            connection.await;
            metrics.connections.dec();
            drop(place);
        });
    }
    drop(listener);
    drop(router);
    if timeout(DRAIN_MAX, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "gave up requests that did not end in time");
    }
    connections.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, router: Router, watcher: Watcher, stop: CancellationToken) {
    // Answers are small and waited for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let (mut input, output) = stream.into_split();
    // The builder below tells HTTP/1 and 2 apart without a bound on time, so the bytes it needs are read here.
    let begun = tokio::select! {
        () = stop.cancelled() => return,
        begun = timeout(HEAD_MAX, beginning(&mut input)) => begun,
    };
    let Ok(Ok(begun)) = begun else { return };
    let io = TokioIo::new(tokio::io::join(Cursor::new(begun).chain(input), output));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_MAX)
        .keep_alive_timeout(HEAD_MAX)
        .max_concurrent_streams(1024);
    let connection = builder.serve_connection(io, TowerToHyperService::new(router)).into_owned();
    // How a connection broke is the client's matter.
    drop(watcher.watch(connection).await);
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
