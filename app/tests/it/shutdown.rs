//! Promise: a stop in order is short, tells tails, and loses nothing.

use std::time::Duration;

use futures::StreamExt;
use rustix::process::Signal;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::server::Place;
use crate::writer::{Writers, assert_same, expected};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_under_load_it_closes_tails_and_loses_nothing() {
    let place = Place::new();
    let writers = Writers::start(&place.logs(), 4, Some(500));
    let mut server = place.up().await;
    let token = place.token("default", "viewer").await;
    server.wait_for(&token, "writer3", 1).await;

    let url = format!("{}/api/v1/tail?q=writer0", server.base("query.listen").replacen("http", "ws", 1));
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let (mut tail, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let mut received = 0;
    while received == 0 {
        let Some(Ok(Message::Text(frame))) = tail.next().await else { panic!("the tail ended early") };
        received += serde_json::from_str::<serde_json::Value>(&frame).unwrap()["records"]
            .as_array()
            .map_or(0, Vec::len);
    }

    server.signal(Signal::TERM);
    let close = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            match tail.next().await {
                Some(Ok(Message::Close(frame))) => break frame,
                Some(Ok(_)) => {}
                other => panic!("the tail ended without a close: {other:?}"),
            }
        }
    });
    let (close, status) = tokio::join!(close, server.ended());
    assert_eq!(close.expect("a close in time").expect("a close code").code, CloseCode::Away);
    assert!(status.success(), "{status}: {}", server.said());

    let server = place.up().await;
    let written = writers.finish();
    for (name, count) in &written {
        server.wait_for(&token, &format!("{name} \"{}\"", count - 1), 1).await;
    }
    let found = server.messages(&token).await;
    for (name, count) in written {
        assert_same(&name, &found[&name], &expected(count));
    }
    server.stop().await;
}

#[tokio::test]
async fn an_idle_server_stops_on_ctrl_c() {
    let place = Place::new();
    let mut server = place.up().await;
    server.signal(Signal::INT);
    assert!(server.ended().await.success());
}
