//! Connections as clients meet them: answered, timed, bounded, drained.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use heliograph_serve::{Bounds, Port, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    /// A request to `/slow` has begun.
    begun: Arc<Notify>,
    /// Lets it end.
    end: Arc<Notify>,
    serving: JoinHandle<()>,
}

async fn start(connections_max: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (begun, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begun_inside, end_inside) = (Arc::clone(&begun), Arc::clone(&end));
    let slow = move || async move {
        begun_inside.notify_one();
        end_inside.notified().await;
        "slow"
    };
    let router = Router::new()
        .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }))
        .route("/slow", get(slow));
    let stop = CancellationToken::new();
    let bounds = Bounds { connections_max, drain_max: Duration::from_secs(5), connections: None };
    #[expect(clippy::disallowed_methods, reason = "the test holds the handle")]
    let serving = tokio::spawn(serve(Port::plain(listener), router, bounds, stop.clone()));
    Server { address, stop, begun, end, serving }
}

/// Sends, and reads until the server closes or `until` has come.
async fn talk(stream: &mut TcpStream, send: &str, until: &str) -> String {
    stream.write_all(send.as_bytes()).await.unwrap();
    let (mut got, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        let n = stream.read(&mut buffer).await.unwrap_or(0);
        got.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&got).into_owned();
        if n == 0 || (!until.is_empty() && text.contains(until)) {
            return text;
        }
    }
}

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.address).await.unwrap()
}

#[tokio::test]
async fn a_request_knows_its_peer_and_a_connection_serves_several() {
    let server = start(8).await;
    let mut stream = connect(&server).await;
    for _ in 0..2 {
        let answer = talk(&mut stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "127.0.0.1").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

// Time is paused: it leaps on where nobody has anything to do but wait.
#[tokio::test(start_paused = true)]
async fn clients_that_say_nothing_or_too_little_are_let_go() {
    let server = start(8).await;
    for said in ["", "G", "PRI * HT", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let answer = talk(&mut connect(&server).await, said, "").await;
        assert!(!answer.contains("200"), "{said:?} got {answer:?}");
    }
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let server = start(8).await;
    let headers: String = (0..65).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer =
        talk(&mut connect(&server).await, &format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n"), "").await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn over_the_bound_a_client_waits_for_its_turn() {
    let server = start(1).await;
    // The first says nothing; when it is let go, the second is served.
    let _silent = connect(&server).await;
    let answer = talk(&mut connect(&server).await, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "127.0.0.1").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_stop_lets_requests_end_and_takes_no_more() {
    let server = start(8).await;
    let mut stream = connect(&server).await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    server.begun.notified().await;
    server.stop.cancel();
    server.end.notify_one();
    let answer = talk(&mut stream, "", "").await;
    assert!(answer.ends_with("slow"), "{answer}");
    server.serving.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_stop_gives_up_what_does_not_end() {
    let server = start(8).await;
    let mut stream = connect(&server).await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    server.begun.notified().await;
    server.stop.cancel();
    server.serving.await.unwrap();
    assert_eq!(talk(&mut stream, "", "").await, "");
}
