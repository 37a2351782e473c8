//! Each fault of the HTTP proxy: whether the request arrived, and what the client saw.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what a test calls may end it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use heliograph_testbed::faults::http::{Fault, Proxy};

/// Says after its range what it was told; counts what arrives.
async fn server() -> (SocketAddr, Arc<AtomicUsize>) {
    let arrived = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&arrived);
    let echo = move |body: Bytes| async move {
        counted.fetch_add(1, Ordering::SeqCst);
        let range = format!("bytes 0-{}/{}", body.len() - 1, body.len());
        (StatusCode::PARTIAL_CONTENT, [("content-range", range)], body)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(echo);
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, arrived)
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Whole,
    Half,
    Status(u16, Option<String>),
    NoAnswer,
    BrokenOff,
    BrokenOffInBody,
}

const BODY: usize = 300_000;

async fn ask(client: &reqwest::Client, proxy: &Proxy) -> Seen {
    let body: Vec<u8> = (0..BODY).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let response = match client.put(proxy.url()).body(body.clone()).send().await {
        Ok(response) => response,
        Err(error) if error.is_timeout() => return Seen::NoAnswer,
        Err(_) => return Seen::BrokenOff,
    };
    if response.status() != StatusCode::PARTIAL_CONTENT {
        let after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        return Seen::Status(response.status().as_u16(), after);
    }
    match response.bytes().await {
        Ok(found) if found == body => Seen::Whole,
        Ok(found) if *found == body[..BODY / 2] => Seen::Half,
        Ok(found) => panic!("{} bytes", found.len()),
        Err(error) if error.is_timeout() => Seen::NoAnswer,
        Err(_) => Seen::BrokenOffInBody,
    }
}

#[tokio::test]
async fn each_fault_is_what_it_says() {
    let (address, arrived) = server().await;
    let proxy = Proxy::start(address).await;
    let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build().unwrap();
    let late = Duration::from_millis(300);
    let table = [
        (None, 1, Seen::Whole),
        (Some(Fault::Latency(late)), 1, Seen::Whole),
        (Some(Fault::ResetBefore), 0, Seen::BrokenOff),
        (Some(Fault::ResetInBody), 0, Seen::BrokenOff),
        (Some(Fault::ResetAfter), 1, Seen::BrokenOff),
        (Some(Fault::Hang), 0, Seen::NoAnswer),
        (Some(Fault::HangAfter), 1, Seen::NoAnswer),
        (Some(Fault::CutAnswer), 1, Seen::BrokenOffInBody),
        (Some(Fault::ShortAnswer), 1, Seen::Half),
        (Some(Fault::ServerError), 0, Seen::Status(500, None)),
        (Some(Fault::ServerErrorAfter), 1, Seen::Status(500, None)),
        (Some(Fault::SlowDown), 0, Seen::Status(503, Some("1".to_owned()))),
        (Some(Fault::Twice), 2, Seen::Whole),
        (None, 1, Seen::Whole),
    ];
    for (fault, arrivals, expected) in table {
        let (before, since) = (arrived.load(Ordering::SeqCst), Instant::now());
        proxy.faults().next(fault.into_iter().collect::<Vec<_>>());
        assert_eq!(ask(&client, &proxy).await, expected, "{fault:?}");
        assert_eq!(arrived.load(Ordering::SeqCst) - before, arrivals, "{fault:?}");
        if let Some(Fault::Latency(_)) = fault {
            assert!(since.elapsed() >= late);
        }
    }
    assert_eq!(proxy.faults().count(), 12);
    proxy.faults().set(100, [Fault::ServerError]);
    proxy.only(Method::GET);
    assert_eq!(ask(&client, &proxy).await, Seen::Whole, "another method is not struck");
    proxy.only(Method::PUT);
    assert_eq!(ask(&client, &proxy).await, Seen::Status(500, None));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_torn_connection_until_it_is() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let proxy = Proxy::start(nobody).await;
    assert_eq!(ask(&reqwest::Client::new(), &proxy).await, Seen::BrokenOff);
}
