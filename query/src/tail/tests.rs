//! Tails over real sockets: joined without gap or repeat, resumed exactly, ended when they must be.

mod rights;
mod tickets;

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use heliograph_model::record::Record;
use heliograph_model::time::{TimeRange, Timestamp};
use heliograph_store::catalog::{NewErasure, Role};
use heliograph_store::{erasure, layout};
use http::StatusCode;
use object_store::ObjectStoreExt as _;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use uuid::Uuid;

use crate::stage::{Stage, record, tenant};

/// Longest that anything here may take; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

type Headers<'a> = &'a [(&'static str, &'a str)];

struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    cursor: Option<String>,
    /// Frames beside records and heartbeats.
    others: Vec<Value>,
}

async fn connect(stage: &Stage, headers: Headers<'_>, query: &str) -> Result<Client, StatusCode> {
    let mut request = format!("ws://{}/api/v1/tail?{query}", stage.addr).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((socket, _)) => Ok(Client { socket, cursor: None, others: Vec::new() }),
        Err(WsError::Http(response)) => Err(StatusCode::from_u16(response.status().as_u16()).unwrap()),
        Err(error) => panic!("{error}"),
    }
}

async fn tail(stage: &Stage, token: &str, query: &str) -> Client {
    connect(stage, &[("authorization", &format!("Bearer {token}"))], query).await.unwrap()
}

impl Client {
    async fn next(&mut self) -> Option<Value> {
        loop {
            match tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a frame in time") {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(text.as_str()).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next frame's messages; notes its cursor.
    async fn messages(&mut self) -> Vec<String> {
        let frame = self.next().await.expect("an open socket");
        if let Some(cursor) = frame["cursor"].as_str() {
            self.cursor = Some(cursor.to_owned());
        }
        match frame["type"].as_str().unwrap() {
            "records" => crate::stage::messages(&frame),
            "heartbeat" => Vec::new(),
            _ => {
                self.others.push(frame);
                Vec::new()
            }
        }
    }

    /// Messages up to the one that is awaited.
    async fn until(&mut self, last: &str) -> Vec<String> {
        let mut all = Vec::new();
        while all.last().is_none_or(|m| m != last) {
            all.extend(self.messages().await);
        }
        all
    }

    /// Reads until a cursor is known that covers all that was read.
    async fn settled(&mut self) -> String {
        self.cursor = None;
        while self.cursor.is_none() {
            assert_eq!(self.messages().await, [""; 0]);
        }
        self.cursor.clone().unwrap()
    }

    async fn say(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn close_code(&mut self) -> CloseCode {
        loop {
            match tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a close in time") {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code,
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn lines(from: u64, to: u64) -> Vec<Record> {
    (from..to).map(|n| record(1, n, i64::try_from(n).unwrap(), &format!("line {n}"))).collect()
}

fn names(from: u64, to: u64) -> Vec<String> {
    (from..to).map(|n| format!("line {n}")).collect()
}

async fn stage() -> (Stage, String) {
    let stage = Stage::new().await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    (stage, token)
}

#[tokio::test]
async fn backlog_and_live_lines_join_without_gap_or_repeat() {
    let (stage, token) = stage().await;
    let a = tenant("a");
    stage.indexer.commit(&a, &lines(0, 50)).await;
    stage.indexer.seal(&a).await;
    stage.indexer.commit(&a, &lines(50, 150)).await;
    // One comes after the feed is open and before the backlog is searched: both bring it.
    *stage.indexer.commits_after_open.lock() = Some((a.clone(), lines(150, 151).remove(0)));
    let mut client = tail(&stage, &token, "").await;
    assert_eq!(client.until("line 150").await, names(51, 151), "the last 100");
    for n in 151..160 {
        stage.indexer.commit(&a, &lines(n, n + 1)).await;
    }
    stage.indexer.commit(&tenant("b"), &[record(1, 1, 1, "foreign")]).await;
    stage.indexer.commit(&a, &lines(160, 161)).await;
    assert_eq!(client.until("line 160").await, names(151, 161));
    assert!(client.cursor.is_some());
}

#[tokio::test]
async fn a_backlog_since_a_moment_and_a_filter() {
    let (stage, token) = stage().await;
    let a = tenant("a");
    stage.indexer.commit(&a, &lines(0, 20)).await;
    let mut client = tail(&stage, &token, "since=2026-11-24T10:00:10Z&q=level:error").await;
    assert_eq!(client.until("line 19").await, ["line 11", "line 13", "line 15", "line 17", "line 19"]);
    stage.indexer.commit(&a, &lines(20, 24)).await;
    assert_eq!(client.until("line 23").await, ["line 21", "line 23"]);
}

#[tokio::test]
async fn a_cursor_resumes_exactly_over_sealing() {
    let (stage, token) = stage().await;
    let a = tenant("a");
    stage.indexer.commit(&a, &lines(0, 10)).await;
    let mut client = tail(&stage, &token, "").await;
    assert_eq!(client.until("line 9").await, names(0, 10));
    let cursor = client.settled().await;
    drop(client);
    // Nothing new: nothing comes but what follows.
    let mut client = tail(&stage, &token, &format!("resume={cursor}")).await;
    stage.indexer.commit(&a, &lines(10, 12)).await;
    assert_eq!(client.until("line 11").await, names(10, 12));
    let cursor = client.settled().await;
    drop(client);
    // Some sealed in the meantime, in two segments, one of which begins before the cursor; some hot.
    stage.indexer.commit(&a, &lines(12, 14)).await;
    stage.indexer.seal(&a).await;
    stage.indexer.commit(&a, &lines(14, 17)).await;
    stage.indexer.seal(&a).await;
    stage.indexer.commit(&a, &lines(17, 20)).await;
    let mut client = tail(&stage, &token, &format!("resume={cursor}")).await;
    assert_eq!(client.until("line 19").await, names(12, 20));
    stage.indexer.commit(&a, &lines(20, 21)).await;
    assert_eq!(client.until("line 20").await, names(20, 21));
}

#[tokio::test]
async fn a_long_sealed_stretch_resumes_in_its_middle() {
    let (stage, token) = stage().await;
    let a = tenant("a");
    stage.indexer.commit(&a, &lines(0, 1)).await;
    let mut client = tail(&stage, &token, "").await;
    client.until("line 0").await;
    let cursor = client.settled().await;
    drop(client);
    stage.indexer.commit(&a, &lines(1, 3_500)).await;
    stage.indexer.seal(&a).await;
    stage.indexer.commit(&a, &lines(3_500, 3_502)).await;
    let (mut all, mut cursor) = (Vec::new(), cursor);
    // A new connection after each frame with lines.
    while all.last().is_none_or(|m| m != "line 3501") {
        let mut client = tail(&stage, &token, &format!("resume={cursor}")).await;
        loop {
            let messages = client.messages().await;
            if !messages.is_empty() {
                all.extend(messages);
                cursor = client.cursor.take().unwrap();
                break;
            }
        }
    }
    // Not printed whole.
    assert!(all == names(1, 3_502), "{} lines, from {:?}", all.len(), all.first());
}

#[tokio::test]
async fn a_cursor_resumes_exactly_over_merging() {
    let (stage, token) = stage().await;
    let a = tenant("a");
    stage.indexer.commit(&a, &lines(0, 5)).await;
    stage.indexer.seal(&a).await;
    stage.indexer.commit(&a, &lines(5, 10)).await;
    let mut client = tail(&stage, &token, "").await;
    client.until("line 9").await;
    let mut cursor = client.settled().await;
    drop(client);
    stage.indexer.commit(&a, &lines(10, 1_500)).await;
    stage.indexer.seal(&a).await;
    let (mut all, mut written) = (Vec::new(), 1_500);
    // A new connection after each frame with lines; meanwhile more is sealed and all of it merged, so that the one
    // segment reaches behind what the cursor is reading.
    while all.last().is_none_or(|m| m != "line 3499") {
        let mut client = tail(&stage, &token, &format!("resume={cursor}")).await;
        loop {
            let messages = client.messages().await;
            if !messages.is_empty() {
                all.extend(messages);
                cursor = client.cursor.take().unwrap();
                break;
            }
        }
        drop(client);
        if written < 3_500 {
            stage.indexer.commit(&a, &lines(written, written + 500)).await;
            written += 500;
            stage.indexer.seal(&a).await;
            stage.indexer.merge(&a, |_| true).await;
        }
    }
    assert!(all == names(10, 3_500), "{} lines, from {:?}", all.len(), all.first());
}

#[tokio::test]
async fn a_feed_that_breaks_goes_on_where_it_was() {
    let (stage, token) = stage().await;
    let a = tenant("a");
    stage.indexer.commit(&a, &lines(0, 2)).await;
    let mut client = tail(&stage, &token, "").await;
    client.until("line 1").await;
    stage.indexer.is_down.store(true, Ordering::SeqCst);
    stage.indexer.break_feeds();
    stage.indexer.commit(&a, &lines(2, 4)).await;
    stage.indexer.seal(&a).await;
    stage.indexer.commit(&a, &lines(4, 6)).await;
    stage.indexer.is_down.store(false, Ordering::SeqCst);
    assert_eq!(client.until("line 5").await, names(2, 6));
}

#[tokio::test]
async fn pausing_keeps_the_place_and_a_query_changes_what_follows() {
    let (stage, token) = stage().await;
    let a = tenant("a");
    let mut client = tail(&stage, &token, "").await;
    client.settled().await;
    client.say(json!({"type": "pause"})).await;
    client.say(json!({"type": "nonsense"})).await;
    while client.others.is_empty() {
        client.messages().await;
    }
    assert_eq!(client.others.remove(0)["error"]["code"], "invalid");
    stage.indexer.commit(&a, &lines(0, 3)).await;
    stage.indexer.seal(&a).await;
    stage.indexer.commit(&a, &lines(3, 5)).await;
    client.say(json!({"type": "resume"})).await;
    assert_eq!(client.until("line 4").await, names(0, 5));

    client.say(json!({"type": "query", "q": "a \"b"})).await;
    while client.others.is_empty() {
        client.messages().await;
    }
    let error = &client.others.remove(0)["error"];
    assert_eq!((&error["code"], &error["position"]), (&json!("syntax"), &json!(2)));
    stage.indexer.commit(&a, &lines(5, 6)).await;
    assert_eq!(client.until("line 5").await, names(5, 6), "the old query goes on");
    client.say(json!({"type": "query", "q": "level:error"})).await;
    client.settled().await;
    stage.indexer.commit(&a, &lines(6, 10)).await;
    let after = client.until("line 9").await;
    assert!(after.ends_with(&["line 7".to_owned(), "line 9".to_owned()]), "{after:?}");
}

#[tokio::test]
async fn what_the_indexer_skipped_is_passed_on() {
    let (stage, token) = stage().await;
    let mut client = tail(&stage, &token, "").await;
    client.settled().await;
    stage.indexer.skip(7).await;
    while client.others.is_empty() {
        client.messages().await;
    }
    let frame = &client.others[0];
    assert_eq!((&frame["type"], &frame["count"]), (&json!("skipped"), &json!(7)));
    assert!(frame["cursor"].is_string() && frame["from"].is_string());
}

#[tokio::test]
async fn stopping_says_goodbye() {
    let (mut stage, token) = stage().await;
    let mut client = tail(&stage, &token, "").await;
    client.settled().await;
    stage.stop.cancel();
    assert_eq!(client.close_code().await, CloseCode::Away);
    drop(client);
    let ended = tokio::time::timeout(PATIENCE, stage.running.join_next()).await.unwrap();
    ended.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn foreign_pages_and_tenants_are_refused_before_the_upgrade() {
    let (stage, token) = stage().await;
    let cookie = crate::access::tests::sign_in(&stage, "ann").await;
    let check = async |headers: Headers<'_>, query: &str, expected: u16| {
        let status = connect(&stage, headers, query).await.map_or_else(|status| status.as_u16(), |_| 101);
        assert_eq!(status, expected, "{headers:?} {query}");
    };
    let bearer = format!("Bearer {token}");
    check(&[], "", 401).await;
    check(&[("authorization", &bearer)], "tenant=b", 403).await;
    check(&[("authorization", &bearer)], "tenant=unknown", 403).await;
    check(&[("authorization", &bearer)], "q=%22", 400).await;
    check(&[("authorization", &bearer)], "resume=AAAA", 400).await;
    check(&[("authorization", &bearer)], "tennant=a", 400).await;
    check(&[("authorization", &bearer), ("origin", "https://evil.example")], "", 403).await;
    check(&[("cookie", &cookie)], "", 403).await;
    check(&[("cookie", &cookie), ("origin", &stage.url)], "tenant=b", 403).await;
    let protocol = tickets::ticket(&stage, &cookie).await;
    let with_ticket: Headers<'_> =
        &[("cookie", &cookie), ("origin", &stage.url), ("sec-websocket-protocol", &protocol)];
    check(with_ticket, "tenant=b", 403).await;
}

#[tokio::test]
async fn a_page_is_told_on_the_socket_what_is_wrong() {
    let (stage, _) = stage().await;
    let cookie = crate::access::tests::sign_in(&stage, "ann").await;
    for (query, code) in [("q=%22", "syntax"), ("resume=AAAA", "invalid_cursor")] {
        let protocol = tickets::ticket(&stage, &cookie).await;
        let headers: Headers<'_> =
            &[("cookie", &cookie), ("origin", &stage.url), ("sec-websocket-protocol", &protocol)];
        let mut client = connect(&stage, headers, query).await.unwrap();
        let frame = client.next().await.unwrap();
        assert_eq!((&frame["type"], &frame["error"]["code"]), (&json!("error"), &json!(code)));
        assert_eq!(client.close_code().await, CloseCode::Policy);
    }
}

#[tokio::test]
async fn another_callers_cursor_is_worth_nothing() {
    let (stage, token) = stage().await;
    let (_, other) = stage.token("a", &[Role::Viewer]).await;
    let mut client = tail(&stage, &token, "").await;
    let cursor = client.settled().await;
    let bearer = format!("Bearer {other}");
    let refused = connect(&stage, &[("authorization", &bearer)], &format!("resume={cursor}")).await;
    assert_eq!(refused.err(), Some(StatusCode::BAD_REQUEST));
}

#[tokio::test]
async fn more_tails_than_allowed_are_told_to_come_back() {
    let stage = Stage::with(|config| config.tails_max = 1).await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let mut first = tail(&stage, &token, "").await;
    first.settled().await;
    let bearer = format!("Bearer {token}");
    let refused = connect(&stage, &[("authorization", &bearer)], "").await;
    assert_eq!(refused.err(), Some(StatusCode::SERVICE_UNAVAILABLE));
}

#[tokio::test]
async fn what_was_erased_is_in_no_search_by_an_older_list_and_in_no_tail_that_resumes() {
    let (stage, token) = stage().await;
    let (a, catalog) = (tenant("a"), &stage.store.catalog);
    stage.indexer.commit(&a, &lines(0, 50)).await;
    stage.indexer.seal(&a).await;
    let mut client = tail(&stage, &token, "").await;
    client.until("line 49").await;
    let cursor = client.settled().await;
    drop(client);
    stage.indexer.commit(&a, &lines(50, 60)).await;
    stage.indexer.seal(&a).await;
    let all = "/api/v1/search?order=asc&limit=1000";
    assert_eq!(stage.messages(&token, all).await, names(0, 60));

    let new = NewErasure {
        id: Uuid::new_v4(),
        tenant: a.clone(),
        query: "55".to_owned(),
        filter: crate::parse_query("55", Timestamp::MIN).unwrap(),
        range: TimeRange::ALL,
        by: "a test".to_owned(),
        at: Timestamp::from_nanos(1),
    };
    catalog.request_erasure(&new).await.unwrap();
    let pending = catalog.pending_erasures().await.unwrap().remove(0);
    let mut removed = 0;
    for old in catalog.segments(&a, &TimeRange::ALL).await.unwrap() {
        let id = layout::new_object_id();
        let done = erasure::rewrite(&stage.store, &pending, &old, id, new.at).await.unwrap();
        let Some(rewrite) = done else { continue };
        removed += rewrite.removed;
        let uid = stage.store.tenants.get(&a).await.unwrap().uid;
        stage.store.objects.delete(&layout::segment(uid, old.id)).await.unwrap();
    }
    assert_eq!(removed, 1);
    let without = |from, to| names(from, to).into_iter().filter(|name| name != "line 55").collect::<Vec<_>>();
    let (status, found) = stage.get(&token, all).await;
    assert_eq!((status, &found["complete"]), (StatusCode::OK, &json!(true)));
    assert_eq!(crate::stage::messages(&found), without(0, 60));
    let mut client = tail(&stage, &token, &format!("resume={cursor}")).await;
    assert_eq!(client.until("line 59").await, without(50, 60));
}
