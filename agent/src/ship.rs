//! Sends what is spooled, one batch of a tenant after the other, many tenants at once; frees the spool on an
//! acknowledgement. Knows nothing of files.

mod answer;
mod quarantine;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use heliograph_model::batch::{EPOCH_HEADER, PRODUCER_HEADER, ProducerId, SEQUENCE_HEADER, TENANT_HEADER};
use heliograph_model::tenant::TenantId;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::spool::{Pending, Spool};
use answer::Answer;
use quarantine::Quarantine;

/// Requests under way at once.
const REQUESTS_MAX: usize = 16;
/// How long a connection may take: an indexer is near, or away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an answer may take; then the batch is sent again, and recognised.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bounds of the wait after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Longest `Retry-After` that is honoured.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// How long an indexer that cannot be reached is passed over, where there are others.
const AWAY: Duration = Duration::from_secs(10);
/// How often a refused credential is logged.
const DENIED_LOG_EVERY: Duration = Duration::from_secs(60);

/// Sends batches.
pub(crate) struct Shipper {
    spool: Arc<Spool>,
    client: reqwest::Client,
    indexers: Vec<Indexer>,
    authorization: HeaderValue,
    producer: ProducerId,
    requests: Semaphore,
    denied_logged: Mutex<Option<Instant>>,
    quarantine: Quarantine,
    metrics: Metrics,
}

struct Indexer {
    url: String,
    away_until: Mutex<Option<Instant>>,
}

/// What follows from an answer.
enum Next {
    /// On with the next batch.
    Go,
    /// The same again, after this; `None` for the back-off's choice.
    Again(Option<Duration>),
}

impl Shipper {
    /// Checks the addresses and the credential.
    pub(crate) fn new(
        spool: Arc<Spool>,
        indexers: &[String],
        token: &SecretString,
        producer: ProducerId,
        quarantine: (PathBuf, heliograph_model::cipher::SecretKey),
        metrics: Metrics,
    ) -> Result<Self> {
        let bad = |what, value: &str, reason: String| Error::Config { what, value: value.to_owned(), reason };
        if indexers.is_empty() {
            return Err(bad("indexers", "[]", "at least one is needed".to_owned()));
        }
        for url in indexers {
            let parsed = reqwest::Url::parse(url).map_err(|e| bad("indexer", url, e.to_string()))?;
            if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
                return Err(bad("indexer", url, "give http://HOST:PORT or https://HOST:PORT".to_owned()));
            }
        }
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(|_| {
                bad("agent token", "(secret)", "it has characters that no header takes".to_owned())
            })?;
        authorization.set_sensitive(true);
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()
            .map_err(|e| Error::Unavailable { what: "make an HTTP client", reason: e.to_string() })?;
        let indexer = |url: &String| Indexer {
            url: format!("{}/v1/logs", url.trim_end_matches('/')),
            away_until: Mutex::new(None),
        };
        Ok(Self {
            spool,
            client,
            indexers: indexers.iter().map(indexer).collect(),
            authorization,
            producer,
            requests: Semaphore::new(REQUESTS_MAX),
            denied_logged: Mutex::new(None),
            quarantine: Quarantine::new(quarantine.0, quarantine.1),
            metrics,
        })
    }

    /// Sends until `drained` says that nothing more will be spooled and all is sent, or `stop`.
    pub(crate) async fn run(self: Arc<Self>, drained: CancellationToken, stop: CancellationToken) {
        let mut senders = JoinSet::new();
        let mut busy = BTreeSet::new();
        loop {
            let waiting = self.spool.tenants();
            if drained.is_cancelled() && waiting.is_empty() {
                break;
            }
            for tenant in waiting {
                if busy.insert(tenant.clone()) {
                    let (shipper, stop) = (Arc::clone(&self), stop.clone());
                    senders.spawn(async move {
                        stop.run_until_cancelled(shipper.send_all(&tenant)).await;
                        tenant
                    });
                }
            }
            tokio::select! {
                () = self.spool.appended.notified() => {}
                () = drained.cancelled(), if !drained.is_cancelled() => {}
                () = stop.cancelled() => break,
                Some(done) = senders.join_next() => match done {
                    Ok(tenant) => drop(busy.remove(&tenant)),
                    Err(error) => {
                        // A sender that panicked must not keep its tenant waiting for ever.
                        tracing::error!(%error, "sender failed");
                        busy.clear();
                        senders.abort_all();
                        while senders.join_next().await.is_some() {}
                    }
                },
            }
        }
        while senders.join_next().await.is_some() {}
    }

    /// Sends a tenant's batches, in order, until none waits.
    async fn send_all(&self, tenant: &TenantId) {
        let new_backoff = || {
            let (min, max) = BACKOFF;
            let backoff = ExponentialBuilder::new().with_min_delay(min).with_max_delay(max);
            backoff.with_jitter().without_max_times().build()
        };
        let mut backoff = new_backoff();
        while let Some(pending) = self.spool.first(tenant) {
            match self.send(tenant, pending).await {
                Next::Go => backoff = new_backoff(),
                Next::Again(wait) => {
                    let wait = wait.or_else(|| backoff.next()).unwrap_or(BACKOFF.1);
                    tokio::time::sleep(wait.min(RETRY_AFTER_MAX)).await;
                }
            }
        }
    }

    async fn send(&self, tenant: &TenantId, pending: Pending) -> Next {
        let spool = Arc::clone(&self.spool);
        let wanted = pending.clone();
        let (payload, records) = match blocking(move || spool.load(&wanted)).await {
            Ok(loaded) => loaded,
            Err(error @ Error::Corrupt { .. }) => {
                tracing::error!(%tenant, %error, "spooled batch does not read back and is given up");
                self.metrics.spool_corrupt.inc();
                self.metrics.dropped.with_label_values(&["corrupt"]).inc();
                return self.settled(tenant, |spool, tenant| spool.set_aside(tenant)).await;
            }
            Err(error) => {
                tracing::error!(%tenant, %error, "spooled batch cannot be read");
                return Next::Again(None);
            }
        };
        let payload = bytes::Bytes::from(payload);
        let answer = self.post(tenant, &pending, payload.clone()).await;
        self.metrics.batches.with_label_values(&[answer.label()]).inc();
        tracing::debug!(%tenant, sequence = pending.sequence, records, answer = answer.label(), "batch sent");
        match answer {
            Answer::Acknowledged => self.settled(tenant, |spool, t| spool.acknowledge(t, 1)).await,
            Answer::Expected { sequence, epoch } => self.expected(tenant, &pending, sequence, epoch).await,
            Answer::Busy(wait) => Next::Again(wait),
            Answer::Rejected(status) => {
                tracing::error!(%tenant, status, records, "batch rejected for good, set aside");
                self.metrics.dropped.with_label_values(&["poison"]).inc();
                if !self.quarantine.keep(tenant, payload).await {
                    self.metrics.dropped.with_label_values(&["quarantine_full"]).inc();
                }
                self.settled(tenant, |spool, t| spool.set_aside(t)).await
            }
            Answer::Denied(status) => {
                self.log_denied(tenant, status);
                Next::Again(None)
            }
            Answer::Unreachable => Next::Again(None),
        }
    }

    /// The indexer expects another sequence than the batch's.
    async fn expected(
        &self,
        tenant: &TenantId,
        pending: &Pending,
        expected: u64,
        epoch: Option<u64>,
    ) -> Next {
        let epoch = epoch.unwrap_or(pending.epoch);
        let last = self.spool.last_sequence(tenant);
        let same_epoch = epoch == pending.epoch;
        if same_epoch && expected > pending.sequence && expected <= last.saturating_add(1) {
            // It has these batches: an acknowledgement was lost.
            let count = expected - pending.sequence;
            return self.settled(tenant, move |spool, t| spool.acknowledge(t, count)).await;
        }
        tracing::error!(
            %tenant,
            expected,
            expected_epoch = epoch,
            sequence = pending.sequence,
            last,
            "indexer expects a batch that is not in the spool, going on in a new epoch"
        );
        self.settled(tenant, move |spool, t| spool.renew(t, epoch)).await
    }

    /// Changes the spool, off the async threads.
    async fn settled(
        &self,
        tenant: &TenantId,
        change: impl FnOnce(&Spool, &TenantId) -> Result<()> + Send + 'static,
    ) -> Next {
        let (spool, tenant) = (Arc::clone(&self.spool), tenant.clone());
        match blocking(move || change(&spool, &tenant)).await {
            Ok(()) => Next::Go,
            Err(error) => {
                tracing::warn!(%error, cause = ?std::error::Error::source(&error), "spool could not be tidied");
                Next::Again(None)
            }
        }
    }

    async fn post(&self, tenant: &TenantId, pending: &Pending, payload: bytes::Bytes) -> Answer {
        let Ok(_permit) = self.requests.acquire().await else { return Answer::Unreachable };
        let Some(indexer) = self.choose(tenant) else { return Answer::Unreachable };
        let request = self
            .client
            .post(&indexer.url)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(CONTENT_ENCODING, "zstd")
            .header(AUTHORIZATION, self.authorization.clone())
            .header(TENANT_HEADER, tenant.as_str())
            .header(PRODUCER_HEADER, self.producer.as_str())
            .header(EPOCH_HEADER, pending.epoch)
            .header(SEQUENCE_HEADER, pending.sequence)
            .body(payload);
        match request.send().await {
            Ok(response) => {
                *indexer.away_until.lock() = None;
                Answer::of(response).await
            }
            Err(error) => {
                let was_away = indexer.away_until.lock().replace(Instant::now() + AWAY).is_some();
                if !was_away {
                    tracing::warn!(indexer = %indexer.url, error = %error.without_url(), "indexer cannot be reached, sending again");
                }
                Answer::Unreachable
            }
        }
    }

    /// The tenant's indexer: the first by rendezvous hashing that is not known to be away, else the first.
    fn choose(&self, tenant: &TenantId) -> Option<&Indexer> {
        let now = Instant::now();
        let is_away = |i: &Indexer| i.away_until.lock().is_some_and(|until| now < until);
        self.indexers.iter().max_by_key(|i| (!is_away(i), score(&i.url, tenant)))
    }

    fn log_denied(&self, tenant: &TenantId, status: u16) {
        let mut logged = self.denied_logged.lock();
        let now = Instant::now();
        if logged.is_none_or(|at| at + DENIED_LOG_EVERY <= now) {
            *logged = Some(now);
            tracing::error!(%tenant, status, "indexer refuses the agent's credential, batches wait");
        }
    }
}

/// How well an indexer suits a tenant: each tenant has its own order of indexers.
fn score(url: &str, tenant: &TenantId) -> u64 {
    let mut bytes = url.as_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(tenant.as_str().as_bytes());
    xxh3_64(&bytes)
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) => Err(Error::Unavailable { what: "finish file work", reason: e.to_string() }),
    }
}

#[cfg(test)]
mod tests;
