//! Producers that each send one batch after the other, and what that takes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::future::try_join_all;
use heliograph_model::batch::{EPOCH_HEADER, PRODUCER_HEADER, SEQUENCE_HEADER, TENANT_HEADER};
use reqwest::Client;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::place::{AGENT_TOKEN, Indexer};
use crate::batches::Batches;
use crate::series::Series;

/// Batches go round tenants: so many.
const TENANTS: usize = 10;

/// How long a measurement goes on, and how much it sends at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) time: Duration,
    pub(super) bytes: u64,
}

impl Bound {
    /// Whether another `bytes` may go, after so many.
    pub(super) fn allows(&self, since: Instant, sent: &AtomicU64, bytes: u64) -> bool {
        since.elapsed() < self.time && sent.fetch_add(bytes, Ordering::Relaxed) < self.bytes
    }
}

/// Requests that were done.
pub(super) struct Done {
    /// Of each, from its first byte to the answer.
    pub(super) millis: Series,
    pub(super) seconds: f64,
}

impl Done {
    /// All of several that ran at the same time.
    pub(super) fn of(millis: Vec<Vec<f64>>, since: Instant) -> Self {
        let millis = millis.into_iter().flatten().collect();
        Self { millis: Series::new(millis), seconds: since.elapsed().as_secs_f64() }
    }

    /// How many a second.
    #[expect(clippy::cast_precision_loss, reason = "at most millions")]
    pub(super) fn rate(&self) -> f64 {
        self.millis.len() as f64 / self.seconds
    }
}

/// Milliseconds since a moment.
pub(super) fn millis_since(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1_000.0
}

/// Producers of one indexer.
pub(super) struct Producers<'a> {
    indexer: &'a Indexer,
    batches: &'a Batches,
    number: usize,
    client: Client,
}

impl<'a> Producers<'a> {
    /// So many, each of which has sent its first batch: its tenant and its place are known, its connection is open.
    pub(super) async fn start(
        indexer: &'a Indexer,
        batches: &'a Batches,
        number: usize,
    ) -> anyhow::Result<Self> {
        let client = Client::builder().no_proxy().tcp_nodelay(true).build()?;
        let all = Self { indexer, batches, number, client };
        try_join_all((0..number).map(|producer| all.send(producer, 1))).await?;
        Ok(all)
    }

    /// Sends until the bound is reached.
    pub(super) async fn send_all(&self, bound: Bound) -> anyhow::Result<Done> {
        let (begun, sent) = (Instant::now(), AtomicU64::new(0));
        let sent = &sent;
        let sending = (0..self.number).map(|producer| async move {
            let mut millis = Vec::new();
            let mut sequence = 2;
            while bound.allows(begun, sent, self.batches.bytes) {
                let since = Instant::now();
                self.send(producer, sequence).await?;
                millis.push(millis_since(since));
                sequence += 1;
            }
            anyhow::Ok(millis)
        });
        Ok(Done::of(try_join_all(sending).await?, begun))
    }

    async fn send(&self, producer: usize, sequence: usize) -> anyhow::Result<()> {
        let which = (producer + sequence * self.number) % self.batches.bodies.len().max(1);
        let body =
            self.batches.bodies.get(which).context("no batches of this size: make the corpus larger")?;
        let answer = self
            .client
            .post(format!("{}/v1/logs", self.indexer.base))
            .bearer_auth(AGENT_TOKEN)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(CONTENT_ENCODING, "zstd")
            .header(TENANT_HEADER, format!("team-{}", producer % TENANTS))
            .header(PRODUCER_HEADER, format!("bench-{producer}"))
            .header(EPOCH_HEADER, 1)
            .header(SEQUENCE_HEADER, sequence)
            .body(body.clone())
            .send()
            .await
            .with_context(|| self.indexer.process.last_words())?;
        let status = answer.status();
        let said = answer.text().await?;
        if !status.is_success() {
            bail!("WRONG: a batch was answered with {status}: {said:.200}");
        }
        Ok(())
    }
}
