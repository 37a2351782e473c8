//! One tenant's sender.
//!
//! An indexer takes a producer's batches in the order of their sequences only, and lets one that overtook its
//! predecessor wait for it a moment. So several may be under way, to the same indexer, and an acknowledgement of
//! one holds for all before it. When one fails, nothing more is sent until all under way are answered: only then
//! it is decided how to go on, from the oldest that is not settled. Without that, an answer could be taken for
//! one to a later attempt, and a batch given a new number while its old one is still on the way.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use heliograph_model::batch::{EPOCH_HEADER, PRODUCER_HEADER, SEQUENCE_HEADER, TENANT_HEADER};
use heliograph_model::tenant::TenantId;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::answer::Answer;
use super::endpoints::Endpoint;
use super::{BODIES_KIB_MAX, Shipper, blocking};
use crate::error::{Error, Result};
use crate::spool::Spool;
use crate::spool::gap::Reason;
use crate::spool::outgoing::Pending;

/// A tenant's batches under way at once, while all is well: enough to fill an indexer's group commits. These
/// are not dropped when the spool is full.
const UNDER_WAY_MAX: usize = 4;
/// Batches until the choice of indexer and the credential are looked at again.
const ROUND_BATCHES_MAX: usize = 256;
/// Bounds of the wait after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How long a tenant is left alone whose batches are being dropped just now.
const HELD_WAIT: Duration = Duration::from_millis(20);
/// How often a refused credential is logged.
const DENIED_LOG_EVERY: Duration = Duration::from_secs(60);

/// How a tenant goes on.
enum Next {
    /// Nothing waits.
    Done,
    /// With what is the oldest now.
    Go,
    /// The same after this; `None` for the back-off's choice.
    Again(Option<Duration>),
}

/// What became of one attempt.
enum Outcome {
    Answered(Answer),
    /// The batch does not read back.
    Unreadable,
    /// The disk refused, or the attempt ended otherwise.
    Failed,
}

/// How fast a tenant's batches go.
struct Pace {
    /// How many may be under way. One until an indexer takes it: who is away need not be asked four times.
    window: usize,
    backoff: ExponentialBackoff,
}

impl Pace {
    /// As at the beginning, and whenever an indexer has taken a batch.
    fn new() -> Self {
        let (min, max) = BACKOFF;
        let backoff = ExponentialBuilder::new().with_min_delay(min).with_max_delay(max);
        Self { window: 1, backoff: backoff.with_jitter().without_max_times().build() }
    }

    /// Longer after each failure.
    fn wait(&mut self) -> Duration {
        self.backoff.next().unwrap_or(BACKOFF.1)
    }
}

impl Shipper {
    /// Sends a tenant's batches until none waits.
    pub(super) async fn send_all(self: &Arc<Self>, tenant: &TenantId) {
        let mut pace = Pace::new();
        loop {
            let wait = match self.round(tenant, &mut pace).await {
                Next::Done => return,
                Next::Go => continue,
                Next::Again(wait) => wait,
            };
            match wait {
                Some(Duration::ZERO) => {}
                // All agents are told the same time: they do not come back all at once.
                Some(wait) => {
                    let spread = pace.wait().min(wait.max(BACKOFF.0));
                    tokio::time::sleep(wait + spread).await;
                }
                None => self.endpoints.wait(pace.wait()).await,
            }
        }
    }

    /// Sends until nothing is left, for a while, or until one fails; all under way are answered then.
    async fn round(self: &Arc<Self>, tenant: &TenantId, pace: &mut Pace) -> Next {
        let Some(endpoint) = self.endpoints.choose(tenant) else { return Next::Again(None) };
        let authorization = self.credential.header().await;
        let mut under_way = JoinSet::new();
        let mut failed: Vec<(Pending, Outcome)> = vec![];
        let (mut after, mut handed_out, mut trouble) = (0, 0, false);
        loop {
            let may_go_on = failed.is_empty() && handed_out < ROUND_BATCHES_MAX;
            while may_go_on && !trouble && under_way.len() < pace.window {
                let next = match self.spool.next_at_hand(tenant, after) {
                    Some(next) => Some(next),
                    None => self.on_spool(tenant, move |spool, tenant| spool.next(tenant, after)).await,
                };
                match next {
                    Some(Some(pending)) => {
                        (after, handed_out) = (pending.ordinal, handed_out + 1);
                        let (shipper, tenant) = (Arc::clone(self), tenant.clone());
                        let (endpoint, authorization) = (Arc::clone(&endpoint), authorization.clone());
                        under_way.spawn(async move {
                            let outcome = shipper.attempt(&tenant, &pending, &endpoint, authorization).await;
                            (pending, outcome)
                        });
                    }
                    Some(None) => break,
                    None => trouble = true,
                }
            }
            match under_way.join_next().await {
                Some(Ok((pending, Outcome::Answered(Answer::Acknowledged)))) => {
                    *pace = Pace { window: UNDER_WAY_MAX, ..Pace::new() };
                    if self.spool.acknowledge(tenant, pending.ordinal) {
                        trouble |= self.on_spool(tenant, |spool, _| spool.free()).await.is_none();
                    }
                }
                Some(Ok(other)) => failed.push(other),
                Some(Err(error)) => {
                    tracing::error!(%tenant, %error, "request failed");
                    trouble = true;
                }
                None => break,
            }
        }
        pace.window = if trouble || !failed.is_empty() { 1 } else { pace.window };
        if !failed.is_empty() {
            return Box::pin(self.go_on(tenant, failed, &endpoint)).await;
        }
        if trouble {
            Next::Again(None)
        } else if self.spool.front(tenant).is_none() {
            Next::Done
        } else if self.spool.is_held(tenant) {
            Next::Again(Some(HELD_WAIT))
        } else {
            // Something came meanwhile, or the round was long enough.
            Next::Go
        }
    }

    /// One attempt at a batch.
    async fn attempt(
        &self,
        tenant: &TenantId,
        pending: &Pending,
        endpoint: &Endpoint,
        authorization: Option<HeaderValue>,
    ) -> Outcome {
        let Ok(_permit) = self.requests.acquire().await else { return Outcome::Failed };
        let kib = u32::try_from(pending.bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, BODIES_KIB_MAX);
        let Ok(_room) = self.bodies.acquire_many(kib).await else { return Outcome::Failed };
        let body = match pending.body() {
            Some(body) => Ok(body),
            None => {
                let (spool, wanted) = (Arc::clone(&self.spool), pending.clone());
                blocking(move || spool.load(&wanted)).await.map(Bytes::from)
            }
        };
        let body = match body {
            Ok(body) => body,
            Err(Error::Corrupt { .. }) => return Outcome::Unreadable,
            Err(error) => {
                tracing::error!(%tenant, %error, "spooled batch cannot be read");
                return Outcome::Failed;
            }
        };
        let request = endpoint
            .post()
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(CONTENT_ENCODING, "zstd")
            .header(TENANT_HEADER, tenant.as_str())
            .header(PRODUCER_HEADER, self.producer.as_str())
            .header(EPOCH_HEADER, pending.epoch)
            .header(SEQUENCE_HEADER, pending.sequence)
            .body(body);
        let request = match authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        };
        let answer = match request.send().await {
            Ok(response) => Answer::of(response, self.spool.now()).await,
            Err(error) => {
                endpoint.is_unreachable(error);
                Answer::Unreachable
            }
        };
        match answer {
            Answer::Unreachable => {}
            Answer::Unavailable(wait) => endpoint.is_away(wait),
            Answer::Unexpected(status, wait) => endpoint.is_odd(status, wait),
            Answer::Failed(_) => {
                endpoint.has_failed();
                self.endpoints.is_here(endpoint);
            }
            _ => self.endpoints.is_here(endpoint),
        }
        let Pending { sequence, records, .. } = *pending;
        self.metrics.batches.with_label_values(&[answer.label()]).inc();
        tracing::debug!(%tenant, sequence, records, answer = answer.label(), "batch sent");
        Outcome::Answered(answer)
    }

    /// What follows from failures, when nothing is under way any more.
    async fn go_on(
        &self,
        tenant: &TenantId,
        mut failed: Vec<(Pending, Outcome)>,
        endpoint: &Endpoint,
    ) -> Next {
        // What an indexer expects, it has all before of: acknowledgements were lost.
        for (pending, outcome) in &failed {
            if let Outcome::Answered(Answer::Expected { sequence, epoch }) = outcome
                && epoch.is_none_or(|epoch| epoch == pending.epoch)
            {
                let expected = *sequence;
                self.on_spool(tenant, move |spool, t| spool.acknowledge_below(t, expected)).await;
            }
        }
        failed.sort_by_key(|(pending, _)| pending.ordinal);
        let settled = self.spool.front(tenant).map_or(u64::MAX, |settled| settled.ordinal);
        let oldest = failed.into_iter().find(|(pending, _)| pending.ordinal > settled);
        let Some((pending, outcome)) = oldest else { return Next::Go };
        match outcome {
            Outcome::Answered(Answer::Acknowledged) => Next::Go,
            Outcome::Answered(Answer::Expected { sequence, epoch }) => {
                self.expected(tenant, &pending, sequence, epoch).await
            }
            Outcome::Answered(Answer::Busy(wait) | Answer::Failed(wait)) => Next::Again(wait),
            Outcome::Answered(Answer::Unavailable(wait) | Answer::Unexpected(_, wait))
                if !self.endpoints.has_other(endpoint) =>
            {
                Next::Again(wait)
            }
            Outcome::Answered(Answer::Unavailable(_) | Answer::Unexpected(..) | Answer::Unreachable) => {
                // Another one is asked at once.
                Next::Again(self.endpoints.has_other(endpoint).then_some(Duration::ZERO))
            }
            Outcome::Answered(Answer::Denied(status)) => {
                self.credential.is_refused();
                self.log_denied(tenant, status);
                Next::Again(None)
            }
            Outcome::Answered(Answer::Erased) => {
                if self.erased_told.is_due(tenant.as_str(), Instant::now()) {
                    tracing::warn!(%tenant, "tenant was erased, its batches are thrown away");
                }
                self.give_up(tenant, pending.ordinal, Reason::Erased).await
            }
            Outcome::Answered(Answer::Rejected(status)) => self.reject(tenant, pending, status).await,
            Outcome::Unreadable => self.give_up(tenant, pending.ordinal, Reason::Corrupt).await,
            Outcome::Failed => Next::Again(None),
        }
    }

    /// The indexer expects another sequence than that of the oldest batch.
    async fn expected(
        &self,
        tenant: &TenantId,
        pending: &Pending,
        expected: u64,
        expected_epoch: Option<u64>,
    ) -> Next {
        let Pending { epoch, sequence, front, .. } = *pending;
        let epoch_min = expected_epoch.unwrap_or(epoch);
        if epoch_min == epoch && (front..=sequence).contains(&expected) {
            // It waited for one that was under way then, or was asked too early.
            return if expected < sequence { Next::Go } else { Next::Again(None) };
        }
        tracing::error!(
            %tenant,
            expected,
            expected_epoch,
            epoch,
            sequence,
            "indexer expects a batch that is not in the spool, going on in a new epoch"
        );
        self.on_spool(tenant, move |spool, t| spool.renew(t, epoch_min)).await;
        // Whoever answers like this each time is not asked without end.
        Next::Again(None)
    }

    /// The batch itself is refused: it is kept for a look, and a gap takes its place.
    async fn reject(&self, tenant: &TenantId, pending: Pending, status: u16) -> Next {
        let Pending { ordinal, records, .. } = pending;
        tracing::error!(%tenant, status, records, "batch rejected for good, set aside");
        let Some(payload) = self.on_spool(tenant, move |spool, _| spool.load(&pending)).await else {
            return Next::Again(None);
        };
        self.quarantine.keep(tenant, payload).await;
        self.give_up(tenant, ordinal, Reason::Rejected).await
    }

    async fn give_up(&self, tenant: &TenantId, ordinal: u64, reason: Reason) -> Next {
        let given_up = self.on_spool(tenant, move |spool, t| spool.give_up(t, ordinal, reason)).await;
        given_up.map_or(Next::Again(None), |()| Next::Go)
    }

    /// Works on the spool, off the async threads. None when that failed, which is logged.
    async fn on_spool<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        work: impl FnOnce(&Spool, &TenantId) -> Result<T> + Send + 'static,
    ) -> Option<T> {
        let (spool, of) = (Arc::clone(&self.spool), tenant.clone());
        match blocking(move || work(&spool, &of)).await {
            Ok(done) => Some(done),
            Err(error) => {
                tracing::warn!(%tenant, %error, cause = ?std::error::Error::source(&error), "spool cannot be worked on, trying again");
                None
            }
        }
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
