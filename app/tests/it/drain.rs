//! Promise: a part of a cluster that is told to stop says that it is not ready, finishes what it has, and is gone
//! within ten seconds; senders and tails go on elsewhere without gap or repeat.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use rustix::process::Signal;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::command::{heliograph, run};
use crate::direct::{Direct, TENANT, sent};
use crate::server::{PASSWORD, PATIENCE, Place, Server, percent};
use crate::writer::assert_same;

/// How long a stop may take.
const STOP_MAX: Duration = Duration::from_secs(10);
const SENDERS: usize = 3;

async fn start(role: &str, config: &Path) -> Server {
    let mut command = heliograph();
    command
        .args([role, "--config"])
        .arg(config)
        .env("HELIOGRAPH_INDEXER__LISTEN", "127.0.0.1:0")
        .env("HELIOGRAPH_BOOTSTRAP__ADMIN_PASSWORD", PASSWORD);
    let mut server = Server::spawn(command, if role == "query" { "query.listen" } else { "indexer.listen" });
    server.wait_until_ready().await;
    server
}

/// A tail, over one query node after the other.
struct Tail {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    cursor: String,
    messages: Vec<String>,
}

impl Tail {
    async fn connect(
        query: &Server,
        token: &str,
        resume: &str,
    ) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
        let base = query.base("query.listen").replacen("http", "ws", 1);
        let mut request = format!("{base}/api/v1/tail?q=direct{resume}").into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        tokio_tungstenite::connect_async(request).await.unwrap().0
    }

    async fn begin(query: &Server, token: &str) -> Self {
        let socket = Self::connect(query, token, "").await;
        let mut tail = Self { socket, cursor: String::new(), messages: Vec::new() };
        while tail.cursor.is_empty() {
            assert_eq!(tail.next().await, None);
        }
        tail
    }

    async fn go_on(&mut self, query: &Server, token: &str) {
        self.socket = Self::connect(query, token, &format!("&resume={}", percent(&self.cursor))).await;
    }

    /// Reads a frame; the code with which it was closed, if it was.
    async fn next(&mut self) -> Option<CloseCode> {
        let next = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a frame in time");
        match next.expect("a close before the end").unwrap() {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                assert!(frame["type"] != "error" && frame["type"] != "skipped", "{frame}");
                self.cursor = frame["cursor"].as_str().unwrap_or(&self.cursor).to_owned();
                let records = frame["records"].as_array().into_iter().flatten();
                self.messages.extend(records.map(|r| r["message"].as_str().unwrap().to_owned()));
                None
            }
            Message::Close(close) => Some(close.expect("a code").code),
            _ => None,
        }
    }
}

/// Stops a server in order; from then on it is never ready again, and soon gone.
async fn drain(what: &str, mut server: Server, setting: &str) {
    let (base, http) = (server.base(setting), reqwest::Client::new());
    server.signal(Signal::TERM);
    let began = Instant::now();
    let mut was_ready = true;
    let watch = async {
        loop {
            let answer = http.get(format!("{base}/readyz")).send().await;
            let is_ready = answer.is_ok_and(|answer| answer.status().is_success());
            assert!(was_ready || !is_ready, "{what} is ready again");
            was_ready = is_ready;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let status = tokio::select! {
        status = server.ended() => status,
        () = watch => unreachable!("it watches on"),
    };
    eprintln!("drain: {what} ended after {:?}", began.elapsed());
    assert!(status.success(), "{status}: {}", server.said());
    assert!(!was_ready && began.elapsed() < STOP_MAX, "{}", server.said());
}

/// What happens while lines are sent.
async fn stop_one_after_the_other(
    config: &Path,
    token: &str,
    mut indexers: Vec<Server>,
    query: Server,
) -> (Tail, Vec<Server>, Server) {
    let mut tail = Tail::begin(&query, token).await;
    while tail.messages.len() < 300 {
        assert_eq!(tail.next().await, None);
    }
    // The one that all senders begin with.
    let first = indexers.remove(0);
    tokio::join!(drain("an indexer", first, "indexer.listen"), async {
        for _ in 0..20 {
            assert_eq!(tail.next().await, None);
        }
    });
    let closing = async {
        loop {
            if let Some(code) = tail.next().await {
                break code;
            }
        }
    };
    let (code, ()) = tokio::join!(closing, drain("a query node", query, "query.listen"));
    assert_eq!(code, CloseCode::Away);
    let query = start("query", config).await;
    tail.go_on(&query, token).await;
    let already = tail.messages.len();
    while tail.messages.len() < already + 300 {
        assert_eq!(tail.next().await, None);
    }
    (tail, indexers, query)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_indexer_of_three_and_a_query_node_drain_under_load() {
    let place = Place::new();
    let config = place.write_shared_config("[indexer]\nseal_after = \"300ms\"\n");
    let query = start("query", &config).await;
    let text = config.display().to_string();
    run(&["admin", "tenant", "create", TENANT, "--config", &text]).await.fine();
    let arguments = ["admin", "token", "create", "--tenant", TENANT, "--role", "viewer", "--config", &text];
    let token = run(&arguments).await.fine().trim().to_owned();
    let indexers: Vec<_> = futures::future::join_all((0..3).map(|_| start("indexer", &config))).await;
    let bases: Vec<_> = indexers.iter().map(|indexer| indexer.base("indexer.listen")).collect();

    let mut senders: Vec<_> = (0..SENDERS).map(|n| Direct::new(&format!("direct{n}"))).collect();
    let stop = AtomicBool::new(false);
    let sending = futures::future::join_all(senders.iter_mut().map(|sender| sender.send_over(&bases, &stop)));
    let script = async {
        let left = stop_one_after_the_other(&config, &token, indexers, query).await;
        stop.store(true, Ordering::Relaxed);
        left
    };
    let ((mut tail, indexers, query), _) = tokio::join!(Box::pin(script), sending);
    let total: usize = senders.iter().map(Direct::lines).sum();
    while tail.messages.len() < total {
        assert_eq!(tail.next().await, None);
    }
    let found = query.messages(&token).await;
    for (number, sender) in senders.iter().enumerate() {
        let (name, expected) = (format!("direct{number}"), sent(sender.lines()));
        assert_same(&name, &found[&name], &expected);
        let prefix = format!("{name} ");
        // From several indexers, whose batches overtake one another on the way.
        let mut tailed: Vec<_> =
            tail.messages.iter().filter_map(|m| m.strip_prefix(&prefix)).map(str::to_owned).collect();
        tailed.sort_by_key(|line| line.split(' ').next().unwrap().parse::<usize>().unwrap());
        assert_same(&format!("the tail of {name}"), &tailed, &expected);
    }
    for server in indexers.into_iter().chain([query]) {
        server.stop().await;
    }
}
