//! A right that ends, ends what runs by it. What is looked at again every few seconds, tests look at again at once.

use std::time::Duration;

use data_encoding::BASE64;
use heliograph_model::time::Clock as _;
use heliograph_store::catalog::{Extent, Grant, NewTenantErasure, Role};
use sqlx::Connection as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use uuid::Uuid;

use super::tickets::ticket;
use super::{Client, Headers, connect, tail};
use crate::access::tests::sign_in;
use crate::stage::{PASSWORD, Stage, tenant};

async fn by_cookie(stage: &Stage, cookie: &str, query: &str) -> Client {
    let protocol = ticket(stage, cookie).await;
    let headers: Headers<'_> =
        &[("cookie", cookie), ("origin", &stage.url), ("sec-websocket-protocol", &protocol)];
    connect(stage, headers, query).await.unwrap()
}

#[tokio::test]
async fn a_session_that_ends_or_expires_ends_its_tail_and_no_other() {
    let stage = Stage::new().await;
    let (first, second) = (sign_in(&stage, "ann").await, sign_in(&stage, "ann").await);
    let mut ended = by_cookie(&stage, &first, "").await;
    let mut expires = by_cookie(&stage, &second, "").await;
    ended.settled().await;
    let out = stage.client.delete(format!("{}/api/v1/session", stage.url));
    let out = out.header("cookie", &first).header("origin", &stage.url).send().await.unwrap();
    assert_eq!(out.status(), 204);
    assert_eq!(ended.close_code().await, CloseCode::Policy);
    expires.settled().await;
    stage.clock.advance(Duration::from_secs(12 * 3600));
    assert_eq!(expires.close_code().await, CloseCode::Policy);
}

#[tokio::test]
async fn another_password_ends_the_tails_of_who_had_the_old_one() {
    let stage = Stage::new().await;
    let cookie = sign_in(&stage, "ann").await;
    let mut session = by_cookie(&stage, &cookie, "").await;
    let basic = format!("Basic {}", BASE64.encode(format!("ann:{PASSWORD}").as_bytes()));
    let mut basic = connect(&stage, &[("authorization", &basic)], "").await.unwrap();
    session.settled().await;
    basic.settled().await;
    let hash = crate::access::password::hash(&"another one".into()).unwrap();
    stage.store.catalog.set_password("ann", &hash).await.unwrap();
    assert_eq!(session.close_code().await, CloseCode::Policy);
    assert_eq!(basic.close_code().await, CloseCode::Policy);
}

#[tokio::test]
async fn a_grant_that_is_taken_ends_the_tails_that_read_by_it() {
    let stage = Stage::new().await;
    let over_b = Grant { user: "ann".to_owned(), extent: Extent::Tenant(tenant("b")), role: Role::Viewer };
    stage.store.catalog.grant(&over_b).await.unwrap();
    // Sessions end with any change of roles, passwords do not.
    let cookie = sign_in(&stage, "ann").await;
    let mut by_session = by_cookie(&stage, &cookie, "tenant=a").await;
    by_session.settled().await;
    let basic = format!("Basic {}", BASE64.encode(format!("ann:{PASSWORD}").as_bytes()));
    let by_password = async |query| connect(&stage, &[("authorization", &basic)], query).await.unwrap();
    let (mut of_all, mut of_b) = (by_password("").await, by_password("tenant=b").await);
    let mut of_a = by_password("tenant=a").await;
    for client in [&mut of_all, &mut of_b, &mut of_a] {
        client.settled().await;
    }
    // Another right over the same tenant is not the one to read.
    let operator = Grant { role: Role::Operator, ..over_b.clone() };
    stage.store.catalog.grant(&operator).await.unwrap();
    assert!(stage.store.catalog.revoke_grant(&over_b).await.unwrap());
    assert_eq!(of_b.close_code().await, CloseCode::Policy);
    assert_eq!(of_all.close_code().await, CloseCode::Policy);
    assert_eq!(by_session.close_code().await, CloseCode::Policy);
    of_a.settled().await;
}

#[tokio::test]
async fn a_token_that_is_revoked_or_expires_ends_its_tail() {
    let stage = Stage::new().await;
    let now = stage.clock.now();
    let (id, token) = stage.token("a", &[Role::Viewer]).await;
    let expires = Some(now.saturating_add_nanos(60_000_000_000));
    let (short, secret) =
        heliograph_store::token::issue(&tenant("a"), &[Role::Viewer], expires, now).unwrap();
    stage.store.catalog.create_token(&short).await.unwrap();
    let mut revoked = tail(&stage, &token, "").await;
    let mut expired = tail(&stage, secrecy::ExposeSecret::expose_secret(&secret), "").await;
    revoked.settled().await;
    expired.settled().await;
    stage.store.catalog.revoke_token(&id, now).await.unwrap();
    assert_eq!(revoked.close_code().await, CloseCode::Policy);
    expired.settled().await;
    stage.clock.advance(Duration::from_mins(1));
    assert_eq!(expired.close_code().await, CloseCode::Policy);
}

#[tokio::test]
async fn a_tenant_that_is_erased_ends_its_tails_also_those_of_administrators() {
    let stage = Stage::new().await;
    let cookie = sign_in(&stage, "root").await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let mut admin = by_cookie(&stage, &cookie, "tenant=a").await;
    let mut machine = tail(&stage, &token, "").await;
    let mut other = by_cookie(&stage, &cookie, "tenant=b").await;
    for client in [&mut admin, &mut machine, &mut other] {
        client.settled().await;
    }
    let at = stage.clock.now();
    let new = NewTenantErasure { id: Uuid::new_v4(), tenant: tenant("a"), by: "a test".to_owned(), at };
    stage.store.catalog.erase_tenant(&new).await.unwrap();
    // Another that has its name at once is another.
    stage.store.catalog.finish_erasure(new.id, at).await.unwrap();
    let workspace = heliograph_model::tenant::Workspace::parse("w").unwrap();
    stage.store.tenants.create(&tenant("a"), &workspace).await.unwrap();
    assert_eq!(admin.close_code().await, CloseCode::Policy);
    assert_eq!(machine.close_code().await, CloseCode::Policy);
    other.settled().await;
}

#[tokio::test]
async fn a_right_that_cannot_be_looked_at_does_not_hold_for_ever() {
    let stage = Stage::new().await;
    let cookie = sign_in(&stage, "ann").await;
    let mut client = by_cookie(&stage, &cookie, "").await;
    client.settled().await;
    let rename = async |sql: &'static str| {
        let url = format!("sqlite:{}", stage.catalog_file().display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    };
    rename("ALTER TABLE sessions RENAME TO away").await;
    // It may come back, and be right: not 1008.
    assert_eq!(client.close_code().await, CloseCode::Again);
    rename("ALTER TABLE away RENAME TO sessions").await;
    by_cookie(&stage, &cookie, "").await.settled().await;
}

/// A caller who has read the beginning of an answer, and has little room for more.
struct SlowReader(TcpStream);

impl SlowReader {
    async fn of(stage: &Stage, path: &str, header: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 << 10).unwrap();
        let mut stream = socket.connect(stage.unwatched).await.unwrap();
        let host = stage.unwatched;
        let request = format!("GET /api/v1/{path} HTTP/1.1\r\nHost: {host}\r\n{header}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut beginning = [0; 15];
        stream.read_exact(&mut beginning).await.unwrap();
        assert_eq!(&beginning, b"HTTP/1.1 200 OK");
        Self(stream)
    }

    /// Whether the answer comes to its end; how long it was.
    async fn end(mut self) -> (bool, usize) {
        let (mut all, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        while !all.ends_with(b"\r\n0\r\n\r\n") {
            match self.0.read(&mut piece).await {
                Ok(read @ 1..) => all.extend_from_slice(&piece[..read]),
                Ok(0) | Err(_) => return (false, all.len()),
            }
        }
        (true, all.len())
    }
}

#[tokio::test]
async fn an_export_and_a_streamed_search_break_off_when_their_right_ends() {
    let stage = Stage::new().await;
    let long = "x".repeat(20_000);
    for batch in 0..12 {
        let records: Vec<_> = (0..100).map(|n| crate::stage::record(1, batch * 100 + n, 1, &long)).collect();
        stage.indexer.commit(&tenant("a"), &records).await;
    }
    let (id, token) = stage.token("a", &[Role::Viewer]).await;
    let cookie = sign_in(&stage, "ann").await;
    let bearer = format!("Authorization: Bearer {token}");
    let (is_whole, bytes) = SlowReader::of(&stage, "export", &bearer).await.end().await;
    assert!(is_whole && bytes > 24_000_000, "{bytes}");
    let by_token = SlowReader::of(&stage, "export", &bearer).await;
    let by_cookie = SlowReader::of(&stage, "export", &format!("Cookie: {cookie}")).await;
    let lines = format!("{bearer}\r\nAccept: application/x-ndjson");
    let search = SlowReader::of(&stage, "search?limit=10000", &lines).await;
    stage.store.catalog.revoke_token(&id, stage.clock.now()).await.unwrap();
    let out = stage.client.delete(format!("{}/api/v1/session", stage.url));
    let out = out.header("cookie", &cookie).header("origin", &stage.url).send().await.unwrap();
    assert_eq!(out.status(), 204);
    tokio::time::sleep(crate::access::RECHECK * 2).await;
    for (name, answer) in [("by token", by_token), ("by cookie", by_cookie), ("search", search)] {
        let (is_whole, read) = answer.end().await;
        assert!(!is_whole && read < bytes, "{name} ended as if it were whole, after {read} bytes");
    }
}
