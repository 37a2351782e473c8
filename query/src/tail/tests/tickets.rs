//! Who may open a WebSocket by cookie: our own page, with a ticket that is used once.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::{Headers, connect};
use crate::access::tests::sign_in;
use crate::stage::Stage;

/// A ticket for whoever sends this cookie.
pub(super) async fn ticket(stage: &Stage, cookie: &str) -> String {
    let (status, body) = ask(stage, &[("cookie", cookie), ("origin", &stage.url)]).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["expires_in_seconds"], 30);
    format!("heliograph.v1, ticket.{}", body["ticket"].as_str().unwrap())
}

async fn ask(stage: &Stage, headers: Headers<'_>) -> (StatusCode, Value) {
    let mut request = stage.client.post(format!("{}/api/v1/tail/ticket", stage.url)).json(&json!({}));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// What an upgrade is answered.
async fn upgrade(stage: &Stage, headers: Headers<'_>) -> u16 {
    connect(stage, headers, "").await.map_or_else(|status| status.as_u16(), |_| 101)
}

#[tokio::test]
async fn a_page_of_another_origin_opens_no_tail_even_with_a_ticket() {
    let stage = Stage::new().await;
    let cookie = sign_in(&stage, "ann").await;
    let port = stage.addr.port();
    let check = async |origin: Option<&str>, expected: u16| {
        let protocol = ticket(&stage, &cookie).await;
        let mut headers = vec![("cookie", cookie.as_str()), ("sec-websocket-protocol", &protocol)];
        headers.extend(origin.map(|origin| ("origin", origin)));
        assert_eq!(upgrade(&stage, &headers).await, expected, "{origin:?}");
    };
    check(Some(&stage.url), 101).await;
    check(Some("https://logs.example.com"), 101).await;
    check(None, 403).await;
    for foreign in [
        "null",
        "",
        "https://evil.example",
        // A sub-domain, the domain above, a suffix, a name that ends alike.
        "https://sub.logs.example.com",
        "https://example.com",
        "https://logs.example.com.evil.com",
        "https://evillogs.example.com",
        // Case, port, scheme, and what is no origin.
        "https://LOGS.example.com",
        "HTTPS://logs.example.com",
        "https://logs.example.com:8443",
        "https://logs.example.com:443",
        "https://logs.example.com.",
        "https://logs.example.com/",
        "http://logs.example.com",
        "wss://logs.example.com",
        "https://user@logs.example.com",
        "https://logs.example.com https://evil.example",
        &format!("https://127.0.0.1:{}", port ^ 1),
        &format!("http://localhost:{port}"),
        &format!("http://127.0.0.1:{port}0"),
        "http://127.0.0.1",
        "file://",
    ] {
        check(Some(foreign), 403).await;
    }
    // Two are none, and what the browser says of the site counts, too.
    let protocol = ticket(&stage, &cookie).await;
    let own = [("cookie", cookie.as_str()), ("sec-websocket-protocol", &protocol), ("origin", &stage.url)];
    for more in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        assert_eq!(upgrade(&stage, &[own[0], own[1], own[2], more]).await, 403, "{more:?}");
    }
    assert_eq!(upgrade(&stage, &own).await, 101, "the ticket was not used by what was refused");
}

#[tokio::test]
async fn a_ticket_is_good_once_for_its_session_and_for_half_a_minute() {
    let stage = Stage::new().await;
    let (ann, other, bob) =
        (sign_in(&stage, "ann").await, sign_in(&stage, "ann").await, sign_in(&stage, "bob").await);
    let by = async |cookie: &str, protocol: &str| {
        let headers: Headers<'_> =
            &[("cookie", cookie), ("origin", &stage.url), ("sec-websocket-protocol", protocol)];
        upgrade(&stage, headers).await
    };
    let without: Headers<'_> = &[("cookie", &ann), ("origin", &stage.url)];
    assert_eq!(upgrade(&stage, without).await, 403, "none");
    for wrong in ["heliograph.v1", "ticket.", "ticket.AAAA", "heliograph.v1, ticket.nonsense"] {
        assert_eq!(by(&ann, wrong).await, 403, "{wrong}");
    }
    let first = ticket(&stage, &ann).await;
    assert_eq!(by(&bob, &first).await, 403, "another's");
    assert_eq!(by(&other, &first).await, 403, "another session's of the same person");
    let second = ticket(&stage, &ann).await;
    let both = format!("{first}, {}", second.rsplit(", ").next().unwrap());
    assert_eq!(by(&ann, &both).await, 403, "two");
    assert_eq!(by(&ann, &first).await, 101);
    assert_eq!(by(&ann, &first).await, 403, "used");
    stage.clock.advance(Duration::from_secs(30));
    assert_eq!(by(&ann, &second).await, 403, "too old");
    let third = ticket(&stage, &ann).await;
    stage.clock.advance(Duration::from_secs(29));
    assert_eq!(by(&ann, &third).await, 101);
}

#[tokio::test]
async fn only_our_own_page_is_given_a_ticket_and_who_sends_a_token_needs_none() {
    let stage = Stage::new().await;
    let cookie = sign_in(&stage, "ann").await;
    let (_, token) = stage.token("a", &[heliograph_store::catalog::Role::Viewer]).await;
    let bearer = format!("Bearer {token}");
    let check = async |headers: Headers<'_>, expected: u16| {
        let (status, body) = ask(&stage, headers).await;
        assert_eq!(status.as_u16(), expected, "{headers:?}: {body}");
    };
    check(&[], 401).await;
    check(&[("cookie", &cookie)], 403).await;
    check(&[("cookie", &cookie), ("origin", "https://evil.example")], 403).await;
    check(&[("cookie", &cookie), ("origin", &stage.url), ("sec-fetch-site", "same-site")], 403).await;
    check(&[("cookie", &cookie), ("origin", &stage.url), ("sec-fetch-site", "same-origin")], 200).await;
    check(&[("authorization", &bearer)], 200).await;
    assert_eq!(upgrade(&stage, &[("authorization", &bearer)]).await, 101);
    // With both, the cookie counts.
    let basic = format!("Basic {}", data_encoding::BASE64.encode(b"ann:correct horse"));
    let both: Headers<'_> = &[("authorization", &basic), ("cookie", &cookie), ("origin", &stage.url)];
    assert_eq!(upgrade(&stage, both).await, 403);
}

#[tokio::test]
async fn a_ticket_is_answered_to_nobody_and_stands_in_no_log() {
    let stage = Stage::new().await;
    let cookie = sign_in(&stage, "ann").await;
    let protocol = ticket(&stage, &cookie).await;
    let secret = protocol.rsplit('.').next().unwrap();
    let mut request = tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(
        format!("ws://{}/api/v1/tail", stage.addr),
    )
    .unwrap();
    for (name, value) in [("cookie", &cookie), ("origin", &stage.url), ("sec-websocket-protocol", &protocol)]
    {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (socket, answer) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "heliograph.v1");
    assert!(!format!("{:?}", answer.headers()).contains(secret));
    drop(socket);
    let recorded = loop {
        let rows = stage.store.catalog.audit_rows(0, 100).await.unwrap();
        if rows.iter().any(|row| row.action == "tail") {
            break rows;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(!format!("{recorded:?}").contains(secret), "{recorded:?}");
}
