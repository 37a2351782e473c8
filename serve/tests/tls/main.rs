//! TLS as clients meet it, over real sockets: who is served, who is refused and how, and what a new certificate changes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod authority;
mod revoked;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::http::header;
use axum::routing::get;
use axum::{Extension, Router};
use heliograph_serve::{
    Bounds, ClientCertificates, Error, PeerCertificate, Port, Renewal, Tls, TlsFiles, TlsMetrics, serve,
};
use prometheus::{Registry, TextEncoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use authority::{Authority, Folder, Issued};

struct Server {
    address: SocketAddr,
    tls: Tls,
    registry: Registry,
    _serving: JoinSet<()>,
}

async fn open(files: TlsFiles, registry: &Registry) -> Result<Tls, Error> {
    Tls::open(files, "test", &TlsMetrics::new(registry).unwrap()).await
}

async fn start(files: TlsFiles, connections_max: usize) -> Server {
    let registry = Registry::new();
    let tls = open(files, &registry).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let port = Port::encrypted(listener, tls.clone());
    let host = async |request: Request| request.headers()[header::HOST].to_str().unwrap().to_owned();
    let who = async |peer: Option<Extension<PeerCertificate>>| match peer {
        Some(Extension(peer)) => format!("{}: {}", peer.subject, peer.dns_names.join(",")),
        None => "nobody".to_owned(),
    };
    let router = Router::new().route("/host", get(host)).route("/who", get(who));
    let router = port.guard(router).route("/healthz", get(|| async { "ok" }));
    let bounds = Bounds { connections_max, drain_max: Duration::from_secs(5), connections: None };
    let mut serving = JoinSet::new();
    serving.spawn(serve(port, router, bounds, CancellationToken::new()));
    Server { address, tls, registry, _serving: serving }
}

impl Server {
    /// What a client gets, or all that it says of why it got nothing.
    async fn get(&self, client: &reqwest::Client, path: &str) -> Result<String, String> {
        let answer = client.get(format!("https://{}{path}", self.address)).send().await;
        let answer = answer.map_err(|e| format!("{e:?}"))?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(|e| format!("{e:?}"))?;
        if status == 200 { Ok(text) } else { Err(format!("{status} {text}")) }
    }

    fn said(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap()
    }

    #[track_caller]
    fn shows(&self, metric: &str) {
        let text = self.said();
        assert!(text.lines().any(|line| line == metric), "no {metric} in {text}");
    }

    /// What comes back, up to the end of the connection, for these bytes.
    async fn raw(&self, said: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        got
    }
}

fn ours() -> (Authority, Folder) {
    let authority = Authority::new("ours");
    let folder = Folder::new(&authority.issue("127.0.0.1"));
    (authority, folder)
}

#[tokio::test]
async fn both_versions_of_tls_and_of_http_are_served() {
    let (authority, folder) = ours();
    let server = start(folder.files(None), 8).await;
    let one_two = reqwest::tls::Version::TLS_1_2;
    for client in [
        authority.client(None),
        authority.client(None).http1_only(),
        authority.client(None).tls_version_max(one_two),
    ] {
        let client = client.build().unwrap();
        assert_eq!(server.get(&client, "/host").await, Ok(server.address.to_string()));
        assert_eq!(server.get(&client, "/who").await, Ok("nobody".to_owned()));
    }
    let client = authority.client(None).build().unwrap();
    let answer = client.get(format!("https://{}/host", server.address)).send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
}

/// The first message of a client that offers this version of TLS at most; 1.2 is 3.
fn hello(version: u8) -> Vec<u8> {
    let mut body = vec![3, version];
    body.extend([7; 32]);
    // No session; one suite, for keys of another kind than ours; no compression; one way to sign.
    body.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    body.extend([0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let body_len = u8::try_from(body.len()).unwrap();
    let handshake = [&[1, 0, 0, body_len][..], &body].concat();
    let handshake_len = u8::try_from(handshake.len()).unwrap();
    [&[22, 3, 1, 0, handshake_len][..], &handshake].concat()
}

#[tokio::test]
async fn older_versions_and_plain_text_are_told_so_and_let_go() {
    let (_, folder) = ours();
    let server = start(folder.files(None), 8).await;
    // Alerts, level fatal: of the version; of the suites, if the version is right; and of what is no TLS at all.
    for (version, alert) in [(1, 70), (2, 70), (3, 40)] {
        let got = server.raw(&hello(version)).await;
        assert_eq!((got[0], &got[5..]), (21, &[2, alert][..]), "{got:?}");
    }
    let got = server.raw(b"GET /host HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((got.first(), got.len()), (Some(&21), 7), "{got:?}");
    server.shows("heliograph_tls_handshake_failures_total{role=\"test\"} 4");
}

#[tokio::test]
async fn a_client_that_trusts_others_says_nothing() {
    let (_, folder) = ours();
    let server = start(folder.files(None), 8).await;
    let client = Authority::new("theirs").client(None).build().unwrap();
    let refused = server.get(&client, "/who").await.unwrap_err();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
}

/// What a client with this certificate is told, first on a status route, then on another.
async fn check(who: ClientCertificates, own: impl Fn(&Authority) -> Option<Issued>, expected: [&str; 2]) {
    let (authority, folder) = ours();
    let server = start(folder.files(Some((&authority, who))), 8).await;
    for http1 in [false, true] {
        let builder = authority.client(own(&authority).as_ref());
        let client = if http1 { builder.http1_only() } else { builder }.build().unwrap();
        for (path, expected) in ["/healthz", "/who"].into_iter().zip(expected) {
            let got = server.get(&client, path).await.unwrap_or_else(|e| e);
            assert!(got.contains(expected), "{path}: {expected:?} is not in {got:?}");
        }
    }
}

fn good(authority: &Authority) -> Option<Issued> {
    Some(authority.issue("agent.example"))
}

fn foreign(_: &Authority) -> Option<Issued> {
    Some(Authority::new("theirs").issue("agent.example"))
}

fn expired(authority: &Authority) -> Option<Issued> {
    Some(authority.issue_until("agent.example", 1_000_000_000))
}

fn none(_: &Authority) -> Option<Issued> {
    None
}

const KNOWN: &str = "the agent.example: agent.example";

#[tokio::test]
async fn where_all_need_a_certificate_none_is_served_without_a_good_one() {
    let required = ClientCertificates::Required;
    check(required, good, ["ok", KNOWN]).await;
    check(required, none, ["CertificateRequired"; 2]).await;
    check(required, foreign, ["UnknownCA"; 2]).await;
    check(required, expired, ["CertificateExpired"; 2]).await;
}

#[tokio::test]
async fn where_only_status_goes_without_a_bad_certificate_is_still_none() {
    let except_status = ClientCertificates::ExceptStatus;
    check(except_status, good, ["ok", KNOWN]).await;
    check(except_status, none, ["ok", "403 {\"error\":{\"code\":\"certificate_required\""]).await;
    check(except_status, foreign, ["UnknownCA"; 2]).await;
    check(except_status, expired, ["CertificateExpired"; 2]).await;
}

#[tokio::test]
async fn where_nobody_needs_one_who_shows_one_is_known() {
    let optional = ClientCertificates::Optional;
    check(optional, good, ["ok", KNOWN]).await;
    check(optional, none, ["ok", "nobody"]).await;
    check(optional, foreign, ["UnknownCA"; 2]).await;
}

#[tokio::test]
async fn silent_clients_hold_nobody_up() {
    let (authority, folder) = ours();
    let server = start(folder.files(None), 6).await;
    // Nothing, a part of a record's head, and a head whose record never comes.
    let mut silent = Vec::new();
    for said in [&b""[..], &[22], &[22, 3, 1, 2, 0]] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        silent.push(stream);
    }
    for _ in 0..20 {
        let client = authority.client(None).build().unwrap();
        assert_eq!(server.get(&client, "/healthz").await, Ok("ok".to_owned()));
    }
}

// Time is paused: it leaps on where nobody has anything to do but wait.
#[tokio::test(start_paused = true)]
async fn silent_clients_are_let_go_and_their_places_are_free_again() {
    let (_, folder) = ours();
    let server = start(folder.files(None), 2).await;
    for said in [&b""[..], &[22], &[22, 3, 1, 2, 0], b"", b""] {
        assert_eq!(server.raw(said).await, b"", "{said:?}");
    }
    server.shows("heliograph_tls_handshake_failures_total{role=\"test\"} 5");
}

#[tokio::test]
async fn a_new_certificate_is_taken_under_load_without_one_failed_request() {
    let (old, folder) = ours();
    let new = Authority::new("new");
    let server = Arc::new(start(folder.files(None), 64).await);
    let both = [old.pem(), new.pem()].map(|pem| reqwest::Certificate::from_pem(pem.as_bytes()).unwrap());
    let (done, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = JoinSet::new();
    // Kept connections of both versions of HTTP, and a new one for each request.
    for (http1, idle) in [(true, 4), (false, 4), (true, 0), (false, 0)] {
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only(both.clone());
        let builder = if http1 { builder.http1_only() } else { builder };
        let client = builder.pool_max_idle_per_host(idle).build().unwrap();
        let (server, done, asked) = (Arc::clone(&server), Arc::clone(&done), Arc::clone(&asked));
        load.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(server.get(&client, "/healthz").await, Ok("ok".to_owned()));
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let go_on = async || {
        let before = asked.load(Ordering::Relaxed);
        while asked.load(Ordering::Relaxed) < before + 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    go_on().await;
    assert_eq!(server.tls.renew().await, Renewal::Same);
    for round in 0..6 {
        let issued = if round % 2 == 0 { new.issue("127.0.0.1") } else { old.issue("127.0.0.1") };
        // Half-way the two do not fit one another.
        folder.write("tls.crt", &issued.certificate);
        assert_eq!(server.tls.renew().await, Renewal::Refused { known: false });
        folder.write("tls.key", &issued.key);
        assert_eq!(server.tls.renew().await, Renewal::Renewed);
        go_on().await;
    }
    done.store(true, Ordering::Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
    server.shows("heliograph_tls_reload_failures_total{role=\"test\"} 6");
}

#[tokio::test]
async fn broken_files_keep_the_last_certificate_and_are_counted_once() {
    let (old, folder) = ours();
    let server = start(folder.files(None), 8).await;
    server.shows(&format!("heliograph_tls_certificate_expires_seconds{{role=\"test\"}} {}", u32::MAX));
    folder.write("tls.key", "-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----\n");
    for known in [false, true] {
        assert_eq!(server.tls.renew().await, Renewal::Refused { known });
    }
    std::fs::remove_file(folder.path("tls.crt")).unwrap();
    assert_eq!(server.tls.renew().await, Renewal::Refused { known: false });
    server.shows("heliograph_tls_reload_failures_total{role=\"test\"} 2");
    let of_old = old.client(None).build().unwrap();
    assert_eq!(server.get(&of_old, "/healthz").await, Ok("ok".to_owned()));

    let new = Authority::new("new");
    folder.put(&new.issue_until("127.0.0.1", 3_000_000_000));
    // Nobody asks for it: the port looks by itself.
    let line = "heliograph_tls_certificate_expires_seconds{role=\"test\"} 3000000000";
    while !server.said().contains(line) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let refused = server.get(&old.client(None).build().unwrap(), "/healthz").await.unwrap_err();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    let of_new = new.client(None).build().unwrap();
    assert_eq!(server.get(&of_new, "/healthz").await, Ok("ok".to_owned()));
}

#[tokio::test]
async fn clients_of_an_authority_that_is_taken_away_are_not_served_any_more() {
    let (authority, folder) = ours();
    let server = start(folder.files(Some((&authority, ClientCertificates::Required))), 8).await;
    let own = authority.issue("agent.example");
    // The second connection of this one would take up the session of the first.
    let client = authority.client(Some(&own)).pool_max_idle_per_host(0).http1_only().build().unwrap();
    assert_eq!(server.get(&client, "/who").await, Ok(KNOWN.to_owned()));
    assert_eq!(server.get(&client, "/who").await, Ok(KNOWN.to_owned()));
    folder.write("clients.crt", &Authority::new("other").pem());
    assert_eq!(server.tls.renew().await, Renewal::Renewed);
    let refused = server.get(&client, "/who").await.unwrap_err();
    assert!(refused.contains("UnknownCA"), "{refused}");
}

#[tokio::test]
async fn files_that_serve_nothing_are_refused_by_name_and_no_key_is_shown() {
    let (authority, folder) = ours();
    let other = authority.issue("127.0.0.1");
    let secret = other.key.lines().nth(1).unwrap();
    let check = async |expected: &str| {
        let files = folder.files(Some((&authority, ClientCertificates::Required)));
        let error = open(files, &Registry::new()).await.unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(said.contains(expected) && !said.contains(secret), "{said}");
    };
    folder.write("tls.key", &other.key);
    check("cert_file").await;
    check("does not serve with the key").await;
    folder.write("tls.key", "secret");
    check("key_file").await;
    folder.write("tls.key", &other.key);
    folder.write("tls.crt", "");
    check("it has no certificate: give PEM").await;
    std::fs::remove_file(folder.path("tls.crt")).unwrap();
    check("cert_file").await;

    folder.put(&other);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = Port::encrypted(listener, open(folder.files(None), &Registry::new()).await.unwrap());
    let shown = format!("{port:?}");
    assert!(shown.contains("tls.key") && !shown.contains(secret), "{shown}");
}
