//! A browser's ticket over several query nodes: given by one, taken by another, and by none a second time.

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::command::heliograph;
use crate::server::{PASSWORD, Place, Server};

/// What a node answers to an upgrade by this cookie with this ticket.
async fn upgrade(node: &Server, cookie: &str, ticket: &str) -> u16 {
    let base = node.base("query.listen");
    let url = format!("{}/api/v1/tail", base.replacen("http", "ws", 1));
    let mut request = url.into_client_request().unwrap();
    let protocols = format!("heliograph.v1, ticket.{ticket}");
    for (name, value) in
        [("cookie", cookie), ("origin", base.as_str()), ("sec-websocket-protocol", &protocols)]
    {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((_, answer)) => answer.status().as_u16(),
        Err(Error::Http(answer)) => answer.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_ticket_of_one_node_is_taken_by_another_and_then_by_none() {
    let place = Place::new();
    let config = place.write_shared_config("[telemetry]\nlog_filter = \"debug\"\n");
    let start = async || {
        let mut command = heliograph();
        command.args(["query", "--config", config.to_str().unwrap()]);
        command.env("HELIOGRAPH_BOOTSTRAP__ADMIN_PASSWORD", PASSWORD);
        let mut node = Server::spawn(command, "query.listen");
        node.wait_until_ready().await;
        node
    };
    let (first, second) = (start().await, start().await);
    let credentials = json!({ "user": "admin", "password": PASSWORD });
    let signed_in = first.api(Method::POST, "/api/v1/session").json(&credentials).send().await.unwrap();
    assert_eq!(signed_in.status(), StatusCode::OK);
    let cookie =
        signed_in.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let mut tickets = Vec::new();
    for _ in 0..2 {
        let ask = first.api(Method::POST, "/api/v1/tail/ticket").json(&json!({}));
        let ask = ask.header("cookie", &cookie).header("origin", first.base("query.listen"));
        let given: Value = ask.send().await.unwrap().json().await.unwrap();
        tickets.push(given["ticket"].as_str().unwrap().to_owned());
    }
    assert_eq!(upgrade(&second, &cookie, &tickets[0]).await, 101);
    for node in [&first, &second] {
        assert_eq!(upgrade(node, &cookie, &tickets[0]).await, 403, "it was used");
    }
    assert_eq!(upgrade(&first, &cookie, &tickets[1]).await, 101);
    assert_eq!(upgrade(&second, &cookie, &tickets[1]).await, 403, "it was used");
    for node in [&first, &second] {
        assert!(tickets.iter().all(|ticket| !node.said().contains(ticket.as_str())), "it stands in our log");
    }
    first.stop().await;
    second.stop().await;
}
