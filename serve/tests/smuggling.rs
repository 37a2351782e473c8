//! Requests that two readers would cut differently: what one takes for a body must never become another's request.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, Uri};
use heliograph_serve::{Bounds, Port, serve};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What reached the routes: method, target and body.
type Reached = Arc<Mutex<Vec<String>>>;

async fn start(serving: &mut JoinSet<()>) -> (SocketAddr, Reached) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let reached = Reached::default();
    let seen = Arc::clone(&reached);
    let router = Router::new().fallback(move |method: Method, uri: Uri, body: Bytes| async move {
        seen.lock().push(format!("{method} {uri} {:?}", String::from_utf8_lossy(&body)));
    });
    let bounds = Bounds { connections_max: 64, drain_max: Duration::ZERO, connections: None };
    serving.spawn(serve(Port::plain(listener), router, bounds, CancellationToken::new()));
    (address, reached)
}

/// All that is answered to bytes after which nothing more comes.
async fn answers(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut got = Vec::new();
    // It may be reset over what was not read.
    drop(stream.read_to_end(&mut got).await);
    got
}

/// What follows a request that is cut in the wrong place.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn what_is_cut_in_two_ways_is_refused_and_ends_the_connection() {
    let mut serving = JoinSet::new();
    let (address, reached) = start(&mut serving).await;
    answers(address, format!("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx{HIDDEN}").as_bytes())
        .await;
    let both = std::mem::take(&mut *reached.lock());
    assert_eq!(both, ["POST /a \"x\"", "GET /hidden \"\""], "two right ones are two");
    for (what, headers, body) in [
        ("two lengths", "Content-Length: 1\r\nContent-Length: 2\r\n", "x"),
        ("a list of lengths", "Content-Length: 1, 2\r\n", "x"),
        ("a signed length", "Content-Length: +1\r\n", "x"),
        ("a negative length", "Content-Length: -1\r\n", ""),
        ("a length in hexadecimal", "Content-Length: 0x1\r\n", "x"),
        ("a length that overflows", "Content-Length: 18446744073709551617\r\n", "x"),
        ("an unknown coding", "Transfer-Encoding: xchunked\r\n", ""),
        (
            "an unknown coding beside a length",
            "Content-Length: 4\r\nTransfer-Encoding: xchunked\r\n",
            "0\r\n\r\n",
        ),
        ("chunked, but not last", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("a blank before the colon", "Content-Length : 1\r\n", "x"),
        ("a folded header", "X-A: b\r\n Content-Length: 1\r\n", ""),
        ("a folded coding", "Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
        ("NUL in a value", "X-A: b\0c\r\n", ""),
        ("a lone CR in a value", "X-A: b\rContent-Length: 1\r\n", ""),
        ("NUL in a name", "X\0A: b\r\n", ""),
        ("a chunk with a sign", "Transfer-Encoding: chunked\r\n", "+1\r\nx\r\n0\r\n\r\n"),
        ("a chunk that overflows", "Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\nx\r\n0\r\n\r\n"),
        ("a chunk without its end", "Transfer-Encoding: chunked\r\n", "1\r\nxyz\r\n0\r\n\r\n"),
    ] {
        let request = format!("POST /a HTTP/1.1\r\nHost: h\r\n{headers}\r\n{body}{HIDDEN}");
        let got = answers(address, request.as_bytes()).await;
        let got = String::from_utf8_lossy(&got);
        assert!(!got.contains("200 OK"), "{what}: {got}");
        assert!(reached.lock().is_empty(), "{what}: {:?}", reached.lock());
    }
}

#[tokio::test]
async fn a_coding_beats_a_length_whatever_their_order() {
    let mut serving = JoinSet::new();
    let (address, reached) = start(&mut serving).await;
    // RFC 9112, 6.3: may be answered by the coding alone. What the length would have taken along is no second body.
    for headers in [
        "Content-Length: 40\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    ] {
        reached.lock().clear();
        let request = format!("POST /a HTTP/1.1\r\nHost: h\r\n{headers}\r\n1\r\nx\r\n0\r\n\r\n{HIDDEN}");
        answers(address, request.as_bytes()).await;
        let reached = reached.lock().clone();
        assert_eq!(reached.first().map(String::as_str), Some("POST /a \"x\""), "{headers}");
        assert!(reached[1..].iter().all(|request| request == "GET /hidden \"\""), "{reached:?}");
    }
}

#[tokio::test]
async fn an_absolute_target_names_no_other_host() {
    let mut serving = JoinSet::new();
    let (address, reached) = start(&mut serving).await;
    answers(address, b"GET http://other/path HTTP/1.1\r\nHost: h\r\n\r\n").await;
    // Routes go by the path; nothing is ever fetched on somebody's behalf.
    assert_eq!(reached.lock().len(), 1);
    assert!(reached.lock()[0].contains("/path"));
}

/// A frame of HTTP/2 with the headers of a request, each a literal that is not indexed.
fn headers_frame(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    // END_STREAM and END_HEADERS, of stream 1.
    let mut frame = vec![0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 1];
    frame.extend_from_slice(&block);
    frame
}

#[tokio::test]
async fn http2_takes_no_framing_of_http1_and_no_odd_path() {
    let mut serving = JoinSet::new();
    let (address, reached) = start(&mut serving).await;
    let ask = async |fields: &[(&str, &str)]| {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        bytes.extend(headers_frame(fields));
        answers(address, &bytes).await
    };
    let right = [(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/a")];
    ask(&right).await;
    assert_eq!(std::mem::take(&mut *reached.lock()), ["GET http://h/a \"\""]);
    for (name, value) in [
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("keep-alive", "1"),
        ("upgrade", "websocket"),
        ("x-a", "b\r\nx-injected: 1"),
        ("x-a", "b\0"),
        ("X-Upper", "b"),
        ("content-length", "5"),
        (":path", "/twice"),
        (":unknown", "b"),
    ] {
        ask(&[&right[..], &[(name, value)]].concat()).await;
        assert!(reached.lock().is_empty(), "{name}: {value:?} reached {:?}", reached.lock());
    }
    for path in ["/a b", "/a\r\nGET /hidden HTTP/1.1", "/a\0", "", "a"] {
        ask(&[right[0], right[1], right[2], (":path", path)]).await;
        assert!(reached.lock().is_empty(), "{path:?} reached {:?}", reached.lock());
    }
    // What is behind `#` is never a part of a target.
    ask(&[right[0], right[1], right[2], (":path", "/a#/../b")]).await;
    assert!(reached.lock().iter().all(|reached| reached == "GET http://h/a \"\""), "{:?}", reached.lock());
}
