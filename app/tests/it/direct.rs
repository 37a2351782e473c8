//! A sender without an agent: numbered batches straight to an indexer, each again until it is acknowledged.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::server::PATIENCE;

/// The agents' credential in tests that use this.
pub(crate) const AGENT_TOKEN: &str = "agent-of-the-tests";
/// Whose its lines are.
pub(crate) const TENANT: &str = "default";
/// Lines of a batch.
const BATCH_LINES: usize = 10;

/// A producer: what it sends is `NAME n of a direct sender`, n from 0 on.
pub(crate) struct Direct {
    name: String,
    http: reqwest::Client,
    acknowledged: u64,
}

impl Direct {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), http: reqwest::Client::new(), acknowledged: 0 }
    }

    /// What its lines begin with.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How many lines are acknowledged.
    pub(crate) fn lines(&self) -> usize {
        usize::try_from(self.acknowledged).unwrap() * BATCH_LINES
    }

    /// Sends the next batch once; the status, or 0 where none came.
    pub(crate) async fn try_send(&mut self, base: &str) -> u16 {
        let places = self.lines()..self.lines() + BATCH_LINES;
        let sent = self
            .http
            .post(format!("{base}/v1/logs"))
            .timeout(Duration::from_secs(10))
            .bearer_auth(AGENT_TOKEN)
            .header("x-heliograph-tenant", TENANT)
            .header("x-heliograph-producer", &self.name)
            .header("x-heliograph-epoch", 1)
            .header("x-heliograph-sequence", self.acknowledged + 1)
            .json(&self.body(places));
        let status = sent.send().await.map_or(0, |answer| answer.status().as_u16());
        if status == 200 {
            self.acknowledged += 1;
        }
        status
    }

    /// Sends the next batch until it is acknowledged.
    pub(crate) async fn send(&mut self, base: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_send(base).await {
                200 => return,
                // Nobody there, somebody who is starting, or one who cannot write now.
                0 | 429 | 503 => tokio::time::sleep(Duration::from_millis(20)).await,
                other => panic!("{} {}: {other}", self.name, self.acknowledged + 1),
            }
            assert!(Instant::now() < deadline, "{} {} is not taken", self.name, self.acknowledged + 1);
        }
    }

    /// Sends batches to one indexer until that does not take them, then to the next, until told to stop. The last one
    /// is acknowledged.
    pub(crate) async fn send_over(&mut self, bases: &[String], stop: &AtomicBool) {
        let mut at = 0;
        let mut is_taken = true;
        while !is_taken || !stop.load(Ordering::Relaxed) {
            is_taken = self.try_send(&bases[at % bases.len()]).await == 200;
            at += usize::from(!is_taken);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends batches until it is dropped.
    pub(crate) async fn send_on(&mut self, base: &str) {
        loop {
            self.send(base).await;
        }
    }

    fn body(&self, places: Range<usize>) -> serde_json::Value {
        let record = |n: usize| {
            let text = format!("{} {n} of a direct sender", self.name);
            json!({ "timeUnixNano": (1_764_000_000_000_000_000 + n as u64).to_string(), "body": { "stringValue": text } })
        };
        let records: Vec<_> = places.map(record).collect();
        json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": records }] }] })
    }
}

/// What `messages` must hold for a sender of so many lines.
pub(crate) fn sent(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{n} of a direct sender")).collect()
}
