//! Connections: accepted, bounded, and ended in order.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Connections at the same time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4_096;
/// How long a client may take over its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Header fields of a request, at most.
const HEADERS_MAX: usize = 64;
/// Bytes of all header fields of an HTTP/2 request, at most.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// Requests side by side on one HTTP/2 connection.
const STREAMS_MAX: u32 = 100;
/// How long requests under way may take once we stop.
const DRAIN: Duration = Duration::from_secs(5);
/// After an accept that failed (out of file descriptors): the next would fail alike.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Serves until told to stop, then until what is under way has ended or [`DRAIN`] is over.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let cut = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let connection = connection(stream, peer, router.clone(), graceful.watcher());
        let cut = cut.clone();
        tracker.spawn(async move {
            tokio::select! {
                () = connection => {}
                () = cut.cancelled() => {}
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests under way were cut");
    }
    cut.cancel();
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<Accepted> {
    let place = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(error = &error as &dyn std::error::Error, "a socket takes no option");
            }
            Some((stream, peer, place))
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let has_asked = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&has_asked);
    let service = service_fn(move |request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let serving = builder().serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    let mut serving = std::pin::pin!(watcher.watch(serving));
    // While the protocol is being found out, hyper has no timer: a client that says nothing is ours to end.
    let served = tokio::select! {
        served = &mut serving => Some(served),
        () = tokio::time::sleep(HEAD_TIMEOUT + Duration::from_secs(1)) => None,
    };
    let served = match served {
        Some(served) => served,
        None if has_asked.load(Ordering::Relaxed) => serving.await,
        None => return,
    };
    if let Err(error) = served {
        tracing::debug!(error = &*error as &dyn std::error::Error, "a connection broke off");
    }
}
