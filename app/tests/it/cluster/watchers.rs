//! Who look on while parts fail, and know what an answer must hold: a writer that knows what was acknowledged to
//! it, searches for that, counts of everything, and a tail.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::Child;
use tokio::task::JoinSet;

use super::{messages, send};
use crate::command::heliograph;
use crate::server::PATIENCE;

/// Pause after an answer, so that looking on is not all that the machine does.
const PAUSE: Duration = Duration::from_millis(100);

/// What all who look on know.
#[derive(Clone, Default)]
pub(super) struct Known {
    /// Probes 1 to this were acknowledged.
    pub(super) acknowledged: Arc<AtomicUsize>,
    /// So many lines of writers were in some complete answer.
    counted: Arc<AtomicUsize>,
    /// They are to end.
    pub(super) stop: Arc<AtomicBool>,
}

impl Known {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    pub(super) fn probes(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Sends numbered batches of one line each, one after the other, each until it is acknowledged by somebody. Half
    /// the time it is impatient: then a batch is often recorded here and acknowledged there.
    pub(super) async fn probe(self, urls: Vec<String>, pause: Duration) {
        let client = |patience| reqwest::Client::builder().timeout(patience).build().unwrap();
        let clients = [client(Duration::from_secs(3)), client(Duration::from_millis(200))];
        let mut is_under_way = false;
        for (url, client) in urls.iter().cycle().zip(clients.iter().cycle()) {
            // What was sent may be recorded, so it is brought to its end.
            if !is_under_way && !self.goes_on() {
                break;
            }
            let sequence = self.probes() + 1;
            let answer = send(client, url, "probe", sequence).await;
            is_under_way = !matches!(answer, Ok(200));
            match answer {
                Ok(200) => {
                    self.acknowledged.store(sequence, Ordering::SeqCst);
                    tokio::time::sleep(pause).await;
                }
                Ok(status) => {
                    assert!([429, 503].contains(&status), "probe {sequence}: {status}");
                    tokio::time::sleep(PAUSE).await;
                }
                // Gone, or too slow.
                Err(error) if error.is_timeout() => {}
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Searches for the probes again and again: a complete answer holds all that were acknowledged before it was
    /// asked for; none holds one twice.
    pub(super) async fn search(self, base: String, token: String) -> Counts {
        let mut counts = Counts::default();
        let url = format!("{base}/api/v1/search?q=probe&limit=10000");
        while self.goes_on() {
            let before = self.probes();
            if let Some(body) = counts.ask(&url, &token).await {
                let found = messages(&body);
                let distinct: BTreeSet<&str> = found.iter().copied().collect();
                assert_eq!(distinct.len(), found.len(), "a record was shown twice: {}", body["stats"]);
                if body["complete"] == true {
                    let missing: Vec<_> = (1..=before)
                        .map(|n| format!("probe {n}"))
                        .filter(|text| !distinct.contains(text.as_str()))
                        .collect();
                    assert_eq!(missing, [""; 0], "of {before} in a complete answer: {}", body["stats"]);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        counts
    }

    /// Counts the writers' lines again and again: a complete answer holds no fewer than any complete one before
    /// it at any node; none holds more than were written.
    pub(super) async fn count(self, base: String, token: String, written: Vec<Arc<AtomicUsize>>) -> Counts {
        let mut counts = Counts::default();
        let url = format!("{base}/api/v1/histogram?q=task&interval=1h");
        while self.goes_on() {
            let least = self.counted.load(Ordering::SeqCst);
            if let Some(body) = counts.ask(&url, &token).await {
                let found = total(&body);
                let most = written.iter().map(|lines| lines.load(Ordering::SeqCst)).sum();
                assert!(found <= most, "{found} lines of {most} that were written: {body}");
                if body["complete"] == true {
                    assert!(found >= least, "{found} lines, and {least} before: {body}");
                    self.counted.fetch_max(found, Ordering::SeqCst);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        counts
    }
}

/// How many records a histogram counts.
pub(super) fn total(body: &Value) -> usize {
    let buckets = body["buckets"].as_array().unwrap();
    usize::try_from(buckets.iter().map(|bucket| bucket["total"].as_u64().unwrap()).sum::<u64>()).unwrap()
}

/// How questions went.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) complete: usize,
    incomplete: usize,
    refused: usize,
    client: reqwest::Client,
}

impl Counts {
    /// Asks; the answer, unless the question was refused.
    async fn ask(&mut self, url: &str, token: &str) -> Option<Value> {
        let asked = async {
            let answer = self.client.get(url).bearer_auth(token).send().await?;
            Ok::<_, reqwest::Error>((answer.status(), answer.text().await?))
        };
        // A query node may be gone, or go in the middle.
        let Ok((status, body)) = asked.await else {
            self.refused += 1;
            return None;
        };
        if status != StatusCode::OK {
            assert!(status.is_server_error(), "{status}: {body}");
            self.refused += 1;
            return None;
        }
        let body: Value = serde_json::from_str(&body).unwrap();
        if body["complete"] == true {
            self.complete += 1;
        } else {
            assert!(body["stats"]["unreachable"].is_array(), "it says who is missing: {}", body["stats"]);
            self.incomplete += 1;
        }
        Some(body)
    }

    pub(super) fn said(&self) -> String {
        format!("{} complete, {} incomplete, {} refused", self.complete, self.incomplete, self.refused)
    }
}

/// A client that follows, as people do.
pub(super) struct Tail {
    _client: Child,
    heard: Arc<Mutex<Vec<String>>>,
    said: Arc<Mutex<Vec<String>>>,
    _hearing: JoinSet<()>,
}

impl Tail {
    /// Follows what a query finds of the last hour and from now on.
    pub(super) fn start(base: &str, token: &str, query: &str) -> Self {
        let mut client = heliograph()
            .args(["tail", query, "--since", "1h", "--json", "--url", base])
            .env("HELIOGRAPH_TOKEN", token)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (heard, said) = (Arc::default(), Arc::default());
        let mut hearing = JoinSet::new();
        hearing.spawn(keep(BufReader::new(client.stdout.take().unwrap()).lines(), Arc::clone(&heard)));
        hearing.spawn(keep(BufReader::new(client.stderr.take().unwrap()).lines(), Arc::clone(&said)));
        Self { _client: client, heard, said, _hearing: hearing }
    }

    /// Messages so far.
    pub(super) fn heard(&self) -> Vec<String> {
        let message = |line: &String| {
            let record: Value = serde_json::from_str(line).unwrap();
            record["message"].as_str().unwrap().to_owned()
        };
        self.heard.lock().unwrap().iter().map(message).collect()
    }

    /// What the client had to say beside records.
    pub(super) fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    /// Waits until it has shown `NAME 1` to `NAME count`, of each name, each line once; it must not have been told
    /// of a gap.
    pub(super) async fn has_all(&self, of: &[(String, usize)]) {
        let lines = |(name, count): &(String, usize)| {
            let name = name.clone();
            (1..=*count).map(move |n| format!("{name} {n}"))
        };
        let mut expected: Vec<String> = of.iter().flat_map(lines).collect();
        let deadline = Instant::now() + PATIENCE;
        while self.heard.lock().unwrap().len() < expected.len() && Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
        }
        let mut heard = self.heard();
        heard.sort_unstable();
        expected.sort_unstable();
        let twice: Vec<_> = heard.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
        let missing: Vec<_> = expected.iter().filter(|line| heard.binary_search(line).is_err()).collect();
        let none: [&String; 0] = [];
        assert!(missing == none && twice == none, "missing {missing:?}, twice {twice:?}:\n{}", self.said());
        assert_eq!(heard, expected);
        assert!(!self.said().contains("skipped"), "{}", self.said());
    }
}

async fn keep<R: tokio::io::AsyncRead + Unpin>(
    mut lines: Lines<BufReader<R>>,
    into: Arc<Mutex<Vec<String>>>,
) {
    while let Ok(Some(line)) = lines.next_line().await {
        into.lock().unwrap().push(line);
    }
}
