//! Shipping over TLS, to a server that asks for the agent's own certificate.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use heliograph_agent::{Config, Token};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::server::TlsStream;

use crate::authority::{Authority, Issued, Projected, der};
use crate::flow::{Agent, append, files, records, texts};
use crate::indexer::{Indexer, config};
use crate::log::Log;

/// What a server is told and sees of TLS.
struct Side {
    config: Arc<ServerConfig>,
    /// The certificates of clients whose handshakes were finished …
    known: Vec<CertificateDer<'static>>,
    /// … and what was wrong with the others.
    refused: Vec<String>,
}

type Shared = Arc<Mutex<Side>>;

struct Tls {
    tcp: TcpListener,
    side: Shared,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            let acceptor = TlsAcceptor::from(Arc::clone(&self.side.lock().config));
            match acceptor.accept(stream).into_fallible().await {
                Ok(stream) => {
                    let [certificate, ..] = stream.get_ref().1.peer_certificates().unwrap() else {
                        panic!("no certificate")
                    };
                    self.side.lock().known.push(certificate.clone().into_owned());
                    return (stream, address);
                }
                Err((error, mut stream)) => {
                    self.side.lock().refused.push(error.to_string());
                    // A close at once would take the alert with it.
                    let mut nowhere = tokio::io::sink();
                    let rest = tokio::io::copy(&mut stream, &mut nowhere);
                    drop(tokio::time::timeout(Duration::from_secs(1), rest).await);
                }
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

async fn serve(server: Arc<ServerConfig>) -> (Indexer, Shared) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let side = Arc::new(Mutex::new(Side { config: server, known: vec![], refused: vec![] }));
    let url = format!("https://{}", tcp.local_addr().unwrap());
    (Indexer::start_on(Tls { tcp, side: Arc::clone(&side) }, url), side)
}

/// An agent that proves itself with these files.
async fn agent(dir: &Path, url: &str, projected: &Projected, has_own: bool) -> Agent {
    let tls = projected.tls(has_own);
    let config = config(dir, url, files(dir, "logs/*.log"));
    Agent::start_with(Config { tls, token: Token::File(projected.token()), ..config }).await
}

/// The agent with `own` certificate, trusting `trusted`, ships nothing to `server`, and its log says `why`; lines wait
/// until it is given another certificate, and a server that it knows.
async fn check_refused(trusted: &Authority, own: Option<&Issued>, server: Arc<ServerConfig>, why: &str) {
    let log = Log::start();
    let dir = tempfile::tempdir().unwrap();
    let (indexer, side) = serve(server).await;
    append(&dir.path().join("logs/app.log"), "secret\n");
    let mut projected = Projected::new(&dir.path().join("pod"), trusted, own, "sesame");
    let refused = agent(dir.path(), &indexer.url, &projected, own.is_some()).await;
    while refused.batches("unreachable") < 2.0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    refused.stop().await;
    assert!(side.lock().known.is_empty() && side.lock().refused.len() >= 2, "{:?}", side.lock().refused);
    assert_eq!(indexer.indexed.lock().requests, 0);
    let said = log.lines("indexer cannot be reached");
    assert_eq!(said.len(), 1, "once a minute: {said:?}");
    assert!(said[0].contains(why) && !said[0].contains("secret"), "{said:?}");

    let right = Authority::new("right");
    side.lock().config = right.server("127.0.0.1", &right);
    projected.swap(&right, Some(&right.issue("agent")), "sesame");
    let mended = agent(dir.path(), &indexer.url, &projected, true).await;
    indexer.wait_for(1).await;
    mended.stop().await;
    assert_eq!(texts(&records(&indexer, "team-a")), ["secret"]);
}

#[tokio::test]
async fn records_arrive_where_both_sides_know_each_other() {
    let log = Log::start();
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let (indexer, side) = serve(authority.server("127.0.0.1", &authority)).await;
    append(&dir.path().join("logs/app.log"), "one\ntwo\n");
    let own = authority.issue("agent");
    let projected = Projected::new(&dir.path().join("pod"), &authority, Some(&own), "sesame");
    let agent = agent(dir.path(), &indexer.url, &projected, true).await;
    indexer.wait_for(2).await;
    agent.stop().await;
    assert_eq!(texts(&records(&indexer, "team-a")), ["one", "two"]);
    let side = side.lock();
    assert!(side.refused.is_empty(), "{:?}", side.refused);
    assert!(side.known.iter().all(|shown| *shown == der(&own.certificate)) && !side.known.is_empty());
    assert!(log.lines("").is_empty(), "{:?}", log.lines(""));
}

#[tokio::test]
async fn an_agent_without_a_certificate_ships_nothing_and_says_why() {
    let authority = Authority::new("ours");
    let server = authority.server("127.0.0.1", &authority);
    check_refused(&authority, None, server, "CertificateRequired").await;
}

#[tokio::test]
async fn an_agent_with_a_foreign_certificate_ships_nothing_and_says_why() {
    let (authority, foreign) = (Authority::new("ours"), Authority::new("theirs"));
    let server = authority.server("127.0.0.1", &authority);
    check_refused(&authority, Some(&foreign.issue("agent")), server, "UnknownCA").await;
}

#[tokio::test]
async fn a_server_with_a_foreign_certificate_gets_no_byte() {
    let (authority, foreign) = (Authority::new("ours"), Authority::new("theirs"));
    let server = foreign.server("127.0.0.1", &authority);
    check_refused(&authority, Some(&authority.issue("agent")), server, "UnknownIssuer").await;
}

#[tokio::test]
async fn a_server_of_another_name_gets_no_byte() {
    let authority = Authority::new("ours");
    let server = authority.server("indexer.elsewhere", &authority);
    check_refused(&authority, Some(&authority.issue("agent")), server, "not valid for name").await;
}

#[tokio::test]
async fn certificates_and_token_are_renewed_while_the_agent_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (indexer, side) = serve(old.server("127.0.0.1", &old)).await;
    indexer.indexed.lock().token = Some("Bearer early".to_owned());
    let path = dir.path().join("logs/app.log");
    let mut projected = Projected::new(&dir.path().join("pod"), &old, Some(&old.issue("agent")), "early\n");
    let agent = agent(dir.path(), &indexer.url, &projected, true).await;
    append(&path, "0\n");
    indexer.wait_for(1).await;
    // The server's side first: connections that are there go on, new ones need the new certificates.
    side.lock().config = new.server("127.0.0.1", &new);
    let own = new.issue("agent");
    projected.swap(&new, Some(&own), "late\n");
    let mut lines = 1;
    while !side.lock().known.contains(&der(&own.certificate)) {
        append(&path, &format!("{lines}\n"));
        lines += 1;
        indexer.wait_for(lines).await;
    }
    // And the token: a refusal lets the agent look at once.
    indexer.indexed.lock().token = Some("Bearer late".to_owned());
    append(&path, "last\n");
    indexer.wait_for(lines + 1).await;
    agent.stop().await;
    let mut expected: Vec<_> = (0..lines).map(|n| n.to_string()).collect();
    expected.push("last".to_owned());
    assert_eq!(texts(&records(&indexer, "team-a")), expected);
}
