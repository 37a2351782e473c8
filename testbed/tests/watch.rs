//! The watch sees what it is there to see.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::io::Write as _;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::routing::{any, get};
use flate2::write::GzEncoder;
use futures::StreamExt;
use heliograph_testbed::watch::{Canaries, Watch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that gives everybody everything: at once, byte by byte, and echoed.
async fn careless(canaries: &Canaries) -> (Watch, tokio::task::JoinSet<()>) {
    let text = format!("before {} after", canaries.of("a"));
    let (whole, pieces) = (text.clone(), text.clone());
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(text.as_bytes(), 3).unwrap();
    let routes = Router::new()
        .route("/whole", any(move |_: String| async move { whole }))
        .route("/nothing", any(|_: HeaderMap| async { "nothing" }))
        .route("/gzip", get(move || async move { ([("content-encoding", "gzip")], gzip) }))
        .route("/zstd", get(move || async move { ([("content-encoding", "zstd")], zstd) }))
        .route(
            "/pieces",
            get(move || async move {
                let bytes: Vec<_> = pieces.into_bytes().chunks(3).map(<[u8]>::to_vec).collect();
                let slowly = futures::stream::iter(bytes).then(|bytes| async {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    Ok::<_, std::io::Error>(bytes)
                });
                Body::from_stream(slowly)
            }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let watch = Watch::over(listener.local_addr().unwrap(), canaries.clone());
    let mut running = tokio::task::JoinSet::new();
    running.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (watch, running)
}

/// The leaks of a watch that is let go with them.
fn leaks(watch: Watch) -> Vec<String> {
    let canaries = watch.canaries().clone();
    let dropped = std::thread::spawn(move || drop(watch)).join();
    assert_eq!(dropped.is_err(), !canaries.leaks().is_empty(), "a leak fails the test");
    canaries.leaks()
}

#[tokio::test]
async fn who_may_read_it_gets_it_and_others_are_told_of() {
    let canaries = Canaries::default();
    canaries.allow("token-of-a", "a");
    canaries.allow("root", "*");
    canaries.allow("token-of-b", "b");
    let (watch, _running) = careless(&canaries).await;
    let url = format!("http://{}", watch.address());
    let client = reqwest::Client::new();
    for path in ["whole", "pieces"] {
        let get = || client.get(format!("{url}/{path}"));
        for request in [
            get().bearer_auth("token-of-a"),
            get().basic_auth("root", Some("secret")),
            get().basic_auth("a", Some("token-of-a")),
            get().header("cookie", "other=1; session=token-of-a"),
            get().header("x-user", "root"),
        ] {
            assert!(request.send().await.unwrap().text().await.unwrap().contains("before"));
            assert_eq!(canaries.leaks(), Vec::<String>::new());
        }
    }
    assert!(canaries.watched().1 >= 10, "{:?}", canaries.watched());
    // One connection, one caller after the other, with bodies in between.
    let nothing =
        client.post(format!("{url}/nothing")).bearer_auth("token-of-a").body("GET / HTTP/1.1\r\n\r\n");
    nothing.send().await.unwrap();
    client.get(format!("{url}/pieces")).bearer_auth("token-of-b").send().await.unwrap().text().await.unwrap();
    assert_eq!(leaks(watch), ["GET /pieces was answered with data of a"]);
}

#[tokio::test]
async fn what_is_compressed_is_looked_through_and_so_is_what_follows_it() {
    for (path, expected) in [("gzip", "GET /gzip"), ("zstd", "GET /zstd")] {
        let canaries = Canaries::default();
        canaries.allow("token-of-a", "a");
        let (watch, _running) = careless(&canaries).await;
        let url = format!("http://{}", watch.address());
        let client = reqwest::Client::new();
        let get = |path: &str| client.get(format!("{url}/{path}"));
        get(path).bearer_auth("token-of-a").send().await.unwrap().bytes().await.unwrap();
        assert_eq!((canaries.watched().1, canaries.leaks()), (1, vec![]));
        get("nothing").send().await.unwrap().text().await.unwrap();
        get(path).send().await.unwrap().bytes().await.unwrap();
        get("whole").send().await.unwrap().text().await.unwrap();
        let mut expected = [expected, "GET /whole"].map(|line| format!("{line} was answered with data of a"));
        expected.sort();
        assert_eq!(leaks(watch), expected);
    }
}

#[tokio::test]
async fn nobody_is_known_by_a_credential_of_an_earlier_call() {
    for (request, expected) in [
        (
            "GET /whole HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            "GET /whole was answered with data of a",
        ),
        (
            "POST /whole?token-of-a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            "POST /whole was answered with data of a",
        ),
        (
            "POST /nothing HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer token-of-a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\nGET /whole HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            "GET /whole was answered with data of a",
        ),
    ] {
        let canaries = Canaries::default();
        canaries.allow("token-of-a", "a");
        let (watch, _running) = careless(&canaries).await;
        let mut socket = TcpStream::connect(watch.address()).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        assert!(String::from_utf8_lossy(&answer).contains("before"));
        assert_eq!(leaks(watch), [expected], "{request}");
    }
}
