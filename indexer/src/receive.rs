//! From a request to a checked batch: whose it is, which one it is, and its records.
//!
//! Knows nothing of durability: hands the batch to [`crate::commit`] and waits for what becomes of it.

mod body;
mod bulk;
mod encoding;
mod envelope;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod otlp;
mod redaction;
mod weight;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use heliograph_model::redact::Redactor;
use heliograph_model::rows::Rows;
use heliograph_model::source::Position;
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::{Clock, Timestamp};
use heliograph_serve::PeerCertificate;
use heliograph_store::Error as StoreError;
use heliograph_store::catalog::Catalog;
use heliograph_store::tenants::Tenants;
use http::{HeaderMap, Method, Uri};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::budget::{Budget, Room};
use crate::commit::{Batch, Outcome, Pending};
use crate::config::Config;
use crate::credential::{Credentials, Sender};
use crate::error::{Error, Result};
use crate::hot::Hot;
use crate::metrics::Metrics;
use crate::quota::{Admission, Quotas};
use encoding::Limits;
use envelope::Envelope;
use otlp::Origin;
use redaction::{Counters, Redaction, Taken};

pub(crate) use body::read as read_body;
pub(crate) use bulk::Items;
pub(crate) use otlp::Format;

/// How long a request waits for memory before its sender is told to come again.
const ROOM_WAIT: Duration = Duration::from_secs(2);
/// How long a sender's proof lasts while its body comes.
const PROOF_AGE_MAX: Duration = Duration::from_secs(1);
/// Bodies that are being received, all together.
const BODIES_BYTES_MAX: usize = 256 << 20;

/// Takes requests in.
pub(crate) struct Intake {
    credentials: Arc<Credentials>,
    tenants: Tenants,
    workspace: Workspace,
    clock: Arc<dyn Clock>,
    bodies: Arc<Budget>,
    hot: Arc<Budget>,
    quotas: Quotas,
    decoders: Arc<Semaphore>,
    limits: Limits,
    redactor: Option<Arc<Redactor>>,
    redactions: Counters,
    positions: Arc<Positions>,
    commits: mpsc::Sender<Pending>,
    metrics: Metrics,
}

/// What is known of a request before its body.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    /// Its headers.
    pub(crate) headers: &'a HeaderMap,
    /// Who is at the other end of its connection, if that has shown a certificate.
    pub(crate) certificate: Option<&'a PeerCertificate>,
    /// The address of the other end.
    pub(crate) from: IpAddr,
    /// What is called …
    pub(crate) method: &'a Method,
    /// … and where.
    pub(crate) uri: &'a Uri,
}

/// A body taken apart.
#[derive(Debug)]
struct Decoded {
    /// The body's size before compression.
    expanded_bytes: usize,
    /// Its records, without secrets.
    rows: Rows,
    /// How many secrets there were.
    taken: Taken,
    /// Zstd of what [`heliograph_model::codec::decode`] reads as the same records.
    payload: Bytes,
}

/// Gives records of foreign producers their place: rising, over restarts too unless the clock is set back.
#[derive(Debug, Default)]
pub(crate) struct Positions(AtomicU64);

impl Positions {
    /// The first of so many places that follow one another.
    fn take(&self, now: Timestamp, count: u64) -> Position {
        let now = now.as_nanos().max(0).cast_unsigned();
        let first = |last: u64| now.max(last.saturating_add(1));
        let rise = |last: u64| Some(first(last).saturating_add(count.saturating_sub(1)));
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rise).unwrap_or_else(|l| l);
        Position(first(last))
    }
}

impl Intake {
    /// Takes requests in for whoever reads the other end of `commits`.
    #[expect(clippy::too_many_arguments, reason = "each is one thing that the indexer owns and shares")]
    pub(crate) fn new(
        config: &Config,
        credentials: Arc<Credentials>,
        catalog: Arc<dyn Catalog>,
        tenants: Tenants,
        clock: Arc<dyn Clock>,
        hot: Arc<Hot>,
        commits: mpsc::Sender<Pending>,
        metrics: Metrics,
    ) -> Self {
        let decoders = std::thread::available_parallelism().map_or(2, usize::from);
        let bodies = BODIES_BYTES_MAX.max(config.body_bytes_max);
        let budget = Arc::clone(hot.budget());
        let quotas =
            Quotas::new(config.tenant_bounds, bodies, config.body_bytes_max, catalog, hot, metrics.clone());
        Self {
            credentials,
            tenants,
            workspace: config.workspace.clone(),
            clock,
            bodies: Budget::new(bodies),
            hot: budget,
            quotas,
            decoders: Arc::new(Semaphore::new(decoders)),
            limits: Limits { body: config.body_bytes_max, expanded: config.expanded_bytes_max },
            redactor: config.redaction.clone(),
            redactions: Counters::new(config.redaction.as_deref(), &metrics),
            positions: Arc::default(),
            commits,
            metrics,
        }
    }

    /// Takes an OTLP request in; `Ok` means that its records are durable.
    pub(crate) async fn take_otlp(&self, head: Head<'_>, body: &mut Body) -> Result<()> {
        let outcome = self.otlp(head, body).await;
        self.count(outcome.as_ref());
        outcome.map(drop)
    }

    /// Takes an Elasticsearch bulk request in; `Ok` means that all documents are durable whose items say so.
    /// `index` is the one that the path names.
    pub(crate) async fn take_bulk(
        &self,
        head: Head<'_>,
        index: Option<&str>,
        body: &mut Body,
    ) -> Result<(Items, Room)> {
        let taken = self.bulk(head, index, body).await;
        self.count(taken.as_ref().map(|(outcome, ..)| outcome));
        taken.map(|(_, items, room)| (items, room))
    }

    fn count(&self, outcome: Result<&Outcome, &Error>) {
        self.metrics.batch(match outcome {
            Ok(Outcome::Stored) => "stored",
            Ok(Outcome::Repeat) => "repeat",
            Err(Error::Gap { .. }) => "gap",
            Err(Error::Full { .. }) => "busy",
            Err(Error::Limit { .. }) => "limited",
            Err(e) if e.status().is_server_error() => "unavailable",
            Err(_) => "refused",
        });
    }

    async fn otlp(&self, head: Head<'_>, body: &mut Body) -> Result<Outcome> {
        let (headers, began) = (head.headers, Instant::now());
        let sender = self.credentials.sender(head).await?;
        let format = Format::of(headers)?;
        let envelope = Envelope::of(headers, sender)?;
        self.credentials.may_ship(head, &envelope.sender, &envelope.tenant).await?;
        let mut admission = self.quotas.admit(&envelope.tenant, body::announced(headers)).await?;
        let (bytes, _rooms) = self.receive(headers, body, &admission).await?;
        self.may_still(head, &envelope, began).await?;
        let origin = self.origin(&envelope, format);
        let (encoding, limits, redaction) =
            (envelope.encoding, self.limits, self.redaction(&envelope.tenant));
        let decode = move || otlp::decode(origin, format, encoding, &bytes, limits, &redaction);
        let decoded = self.on_a_thread(decode).await?;
        self.store(head, envelope, decoded, &mut admission).await
    }

    async fn bulk(
        &self,
        head: Head<'_>,
        index: Option<&str>,
        body: &mut Body,
    ) -> Result<(Outcome, Items, Room)> {
        let (headers, began) = (head.headers, Instant::now());
        let sender = self.credentials.sender(head).await?;
        // Whatever content type: clients send several, some send JSON's, and the body says what it is.
        let envelope = Envelope::of(headers, sender)?;
        self.credentials.may_ship(head, &envelope.sender, &envelope.tenant).await?;
        let index = bulk::index(index)?;
        let mut admission = self.quotas.admit(&envelope.tenant, body::announced(headers)).await?;
        let (bytes, _rooms) = self.receive(headers, body, &admission).await?;
        self.may_still(head, &envelope, began).await?;
        let (encoding, limits, positions) = (envelope.encoding, self.limits, Arc::clone(&self.positions));
        let batch = bulk::Batch {
            tenant: envelope.tenant.clone(),
            producer: envelope.producer(),
            received: self.clock.now(),
            index,
        };
        let redaction = self.redaction(&envelope.tenant);
        let decode = move || bulk::decode(&batch, &positions, encoding, &bytes, limits, &redaction);
        let (decoded, items) = self.on_a_thread(decode).await?;
        // Before anything is stored: afterwards the answer must be given.
        let full = Error::Full { what: "memory for requests" };
        let room = self.bodies.reserve(items.bytes.len()).ok_or(full)?;
        Ok((self.store(head, envelope, decoded, &mut admission).await?, items, room))
    }

    /// A body may take minutes: whose credential ends meanwhile has sent nothing.
    async fn may_still(&self, head: Head<'_>, envelope: &Envelope, began: Instant) -> Result<()> {
        if began.elapsed() < PROOF_AGE_MAX {
            return Ok(());
        }
        let sender = self.credentials.sender(head).await?;
        self.credentials.may_ship(head, &sender, &envelope.tenant).await
    }

    async fn receive(
        &self,
        headers: &HeaderMap,
        body: &mut Body,
        admission: &Admission<'_>,
    ) -> Result<(Bytes, Vec<Room>)> {
        // Waiting here is cheaper for all than being told to come again: sealing takes well under a second.
        let full = Error::Full { what: "memory for fresh records" };
        drop(self.hot.reserve_within(1, ROOM_WAIT).await.ok_or(full)?);
        let received =
            read_body(headers, body, self.limits.body, &[admission.bodies(), &self.bodies]).await?;
        self.metrics.bytes.inc_by(received.0.len() as u64);
        Ok(received)
    }

    fn origin(&self, envelope: &Envelope, format: Format) -> Origin {
        if matches!(envelope.sender, Sender::Agent { .. }) && format == Format::Protobuf {
            return Origin::Agent;
        }
        let received = self.clock.now();
        let (positions, clock) = (Arc::clone(&self.positions), Arc::clone(&self.clock));
        let next_position = Box::new(move || positions.take(clock.now(), 1));
        Origin::Foreign { producer: envelope.producer(), received, next_position }
    }

    fn redaction(&self, tenant: &TenantId) -> Redaction {
        Redaction { redactor: self.redactor.clone(), tenant: tenant.clone() }
    }

    /// Does CPU work, at most as much at a time as there are CPUs.
    async fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let closed = |_| Error::Unavailable { reason: "the indexer is stopping" };
        let permit = Arc::clone(&self.decoders).acquire_owned().await.map_err(closed)?;
        // The permit goes along: work that nobody waits for any more counts as well.
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        })
        .await?
    }

    /// Makes the records durable and searchable, within the bound on memory.
    async fn store(
        &self,
        head: Head<'_>,
        envelope: Envelope,
        decoded: Decoded,
        admission: &mut Admission<'_>,
    ) -> Result<Outcome> {
        let Decoded { expanded_bytes, rows, taken, payload } = decoded;
        admission.expanded(expanded_bytes);
        if rows.is_empty() && envelope.batch_id.is_none() {
            return Ok(Outcome::Stored);
        }
        admission.hold(rows.memory_bytes())?;
        let full = Error::Full { what: "memory for fresh records" };
        let room = self.hot.reserve_within(rows.memory_bytes(), ROOM_WAIT).await.ok_or(full)?;
        // Only now, so that a request that is wrong makes no tenant.
        let found = match self.tenants.find_or_create(&envelope.tenant, &self.workspace).await {
            Err(StoreError::Erased { tenant } | StoreError::BeingErased { tenant }) => {
                return Err(Error::Erased { tenant });
            }
            found => found?,
        };
        let tenant = found.tenant;
        if found.is_new {
            self.credentials.made(&tenant, &self.workspace, &envelope.sender, head.from);
        }
        self.metrics.commit_queue.inc();
        let (id, former) = (envelope.batch_id, envelope.former);
        let outcome = self.commit(Batch { tenant, id, former, payload, rows, room }).await;
        self.metrics.commit_queue.dec();
        // Not those of a batch that was stored before.
        if let (Ok(Outcome::Stored), Some(taken)) = (&outcome, taken) {
            self.redactions.add(&taken);
        }
        outcome
    }

    async fn commit(&self, batch: Batch) -> Result<Outcome> {
        let stopping = || Error::Unavailable { reason: "the indexer is stopping" };
        let (answer, outcome) = oneshot::channel();
        self.commits.send(Pending::new(batch, answer)).await.map_err(|_| stopping())?;
        outcome.await.map_err(|_| stopping())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_rise_whatever_the_clock_does() {
        let positions = Positions::default();
        let mut last = Position(0);
        for (now, count) in [(5, 1), (5, 3), (4, 1), (100, 10), (-7, 0), (100, 2)] {
            let first = positions.take(Timestamp::from_nanos(now), count);
            assert!(first > last, "{first:?} after {last:?}");
            last = Position(first.0 + count.max(1) - 1);
        }
    }
}
