//! From a request to a checked batch: whose it is, which one it is, and its records.
//!
//! Knows nothing of durability: hands the batch to [`crate::commit`] and waits for what becomes of it.

mod body;
mod otlp;
mod weight;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use heliograph_model::batch::{
    BatchId, EPOCH_HEADER, PRODUCER_HEADER, ProducerId, SEQUENCE_HEADER, TENANT_HEADER,
};
use heliograph_model::source::Position;
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::{Clock, Timestamp};
use heliograph_store::tenants::Tenants;
use http::HeaderMap;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::budget::Budget;
use crate::commit::{Batch, Outcome, Pending};
use crate::config::Config;
use crate::credential::{Credentials, Sender};
use crate::error::{Error, Result};
use crate::metrics::Metrics;

pub(crate) use body::read as read_body;
pub(crate) use otlp::{Encoding, Format, Limits, Origin};

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
    decoders: Arc<Semaphore>,
    limits: Limits,
    positions: Arc<Positions>,
    commits: mpsc::Sender<Pending>,
    metrics: Metrics,
}

/// Gives records of foreign producers their place: rising, over restarts too unless the clock is set back.
#[derive(Debug, Default)]
pub(crate) struct Positions(AtomicU64);

impl Positions {
    /// The next place.
    fn next(&self, now: Timestamp) -> Position {
        let now = now.as_nanos().max(0).cast_unsigned();
        let rise = |last: u64| Some(now.max(last.saturating_add(1)));
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rise).unwrap_or_else(|l| l);
        Position(now.max(last.saturating_add(1)))
    }
}

impl Intake {
    /// Takes requests in for whoever reads the other end of `commits`.
    pub(crate) fn new(
        config: &Config,
        credentials: Arc<Credentials>,
        tenants: Tenants,
        clock: Arc<dyn Clock>,
        hot: Arc<Budget>,
        commits: mpsc::Sender<Pending>,
        metrics: Metrics,
    ) -> Self {
        let decoders = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            credentials,
            tenants,
            workspace: config.workspace.clone(),
            clock,
            bodies: Budget::new(BODIES_BYTES_MAX.max(config.body_bytes_max)),
            hot,
            decoders: Arc::new(Semaphore::new(decoders)),
            limits: Limits { body: config.body_bytes_max, expanded: config.expanded_bytes_max },
            positions: Arc::default(),
            commits,
            metrics,
        }
    }

    /// Takes an OTLP request in; `Ok` means that its records are durable.
    pub(crate) async fn take_otlp(&self, headers: &HeaderMap, body: &mut Body) -> Result<()> {
        let outcome = self.take(headers, body).await;
        self.metrics.batch(match &outcome {
            Ok(Outcome::Stored) => "stored",
            Ok(Outcome::Repeat) => "repeat",
            Err(Error::Gap { .. }) => "gap",
            Err(Error::Full { .. }) => "busy",
            Err(e) if e.status().is_server_error() => "unavailable",
            Err(_) => "refused",
        });
        outcome.map(drop)
    }

    async fn take(&self, headers: &HeaderMap, body: &mut Body) -> Result<Outcome> {
        let sender = self.credentials.sender(headers).await?;
        let format = Format::of(headers)?;
        let named = named_tenant(headers)?;
        let batch_id = batch_id(headers, &sender)?;
        let encoding = Encoding::of(headers)?;
        let tenant = match (&sender, named) {
            (Sender::Agent, Some(named)) => named,
            (Sender::Agent, None) => {
                return Err(Error::invalid(format!("header {TENANT_HEADER} is missing")));
            }
            (Sender::Token { tenant, .. }, Some(named)) if named != *tenant => {
                return Err(Error::Forbidden {
                    reason: "the token is for another tenant than the header names",
                });
            }
            (Sender::Token { tenant, .. }, _) => tenant.clone(),
        };
        if self.hot.is_full() {
            return Err(Error::Full { what: "memory for fresh records" });
        }
        let (bytes, _room) = read_body(headers, body, self.limits.body, &self.bodies).await?;
        self.metrics.bytes.inc_by(bytes.len() as u64);
        let origin = self.origin(sender, format);
        let decoded = self.decode(origin, format, encoding, bytes).await?;
        if decoded.rows.is_empty() && batch_id.is_none() {
            return Ok(Outcome::Stored);
        }
        let full = Error::Full { what: "memory for fresh records" };
        let room = self.hot.reserve(decoded.rows.memory_bytes()).ok_or(full)?;
        // Only now, so that a request that is wrong makes no tenant.
        let tenant = self.tenants.find_or_create(&tenant, &self.workspace).await?;
        self.metrics.commit_queue.inc();
        let outcome =
            self.commit(Batch { tenant, id: batch_id, payload: decoded.payload, rows: decoded.rows, room });
        let outcome = outcome.await;
        self.metrics.commit_queue.dec();
        outcome
    }

    fn origin(&self, sender: Sender, format: Format) -> Origin {
        let received = self.clock.now();
        match (sender, format) {
            (Sender::Agent, Format::Protobuf) => Origin::Agent,
            (sender, _) => {
                let producer = match sender {
                    Sender::Agent => "agent".to_owned(),
                    Sender::Token { id, .. } => format!("token:{id}"),
                };
                let (positions, clock) = (Arc::clone(&self.positions), Arc::clone(&self.clock));
                let next_position = Box::new(move || positions.next(clock.now()));
                Origin::Foreign { producer, received, next_position }
            }
        }
    }

    async fn decode(
        &self,
        origin: Origin,
        format: Format,
        encoding: Encoding,
        bytes: bytes::Bytes,
    ) -> Result<otlp::Decoded> {
        let closed = |_| Error::Unavailable { reason: "the indexer is stopping" };
        let permit = Arc::clone(&self.decoders).acquire_owned().await.map_err(closed)?;
        let limits = self.limits;
        // The permit goes along: work that nobody waits for any more counts as well.
        tokio::task::spawn_blocking(move || {
            let decoded = otlp::decode(origin, format, encoding, &bytes, limits);
            drop(permit);
            decoded
        })
        .await?
    }

    async fn commit(&self, batch: Batch) -> Result<Outcome> {
        let gone = |_| Error::Unavailable { reason: "the indexer is stopping" };
        let (answer, outcome) = oneshot::channel();
        self.commits
            .send(Pending::new(batch, answer))
            .await
            .map_err(|_| Error::Unavailable { reason: "the indexer is stopping" })?;
        outcome.await.map_err(gone)?
    }
}

/// A header's text, if it is there.
fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::invalid(format!("header {name} is given twice")));
    }
    value.to_str().map(Some).map_err(|_| Error::invalid(format!("header {name} is not plain text")))
}

fn named_tenant(headers: &HeaderMap) -> Result<Option<TenantId>> {
    Ok(text(headers, TENANT_HEADER)?.map(TenantId::parse).transpose()?)
}

/// The batch's name: all three headers, or none.
fn batch_id(headers: &HeaderMap, sender: &Sender) -> Result<Option<BatchId>> {
    let parts = [PRODUCER_HEADER, EPOCH_HEADER, SEQUENCE_HEADER];
    let [producer, epoch, sequence] = parts.map(|name| text(headers, name));
    let (producer, epoch, sequence) = match (producer?, epoch?, sequence?) {
        (None, None, None) => return Ok(None),
        (Some(producer), Some(epoch), Some(sequence)) => (producer, epoch, sequence),
        (p, e, s) => {
            let missing: Vec<_> =
                parts.into_iter().zip([p, e, s]).filter(|(_, v)| v.is_none()).map(|(n, _)| n).collect();
            return Err(Error::invalid(format!("header {} is missing", missing.join(", "))));
        }
    };
    let id = BatchId {
        producer: ProducerId::parse(producer)?,
        epoch: number(EPOCH_HEADER, epoch, 0)?,
        sequence: number(SEQUENCE_HEADER, sequence, 1)?,
    };
    Ok(Some(match sender {
        Sender::Agent => id,
        // A token must not move an agent's sequences on, nor another token's.
        Sender::Token { id: token, .. } => BatchId { producer: within_token(token, &id.producer)?, ..id },
    }))
}

fn number(name: &'static str, value: &str, lowest: u64) -> Result<u64> {
    value
        .parse::<u64>()
        .ok()
        // What the catalog can hold.
        .filter(|n| *n >= lowest && i64::try_from(*n).is_ok())
        .ok_or_else(|| Error::invalid(format!("header {name} is {value:?}, not a number from {lowest} on")))
}

fn within_token(token: &str, producer: &ProducerId) -> Result<ProducerId> {
    let digest = digest(&SHA256, format!("{token}\0{producer}").as_bytes());
    let hex: String = digest.as_ref().iter().take(20).map(|b| format!("{b:02x}")).collect();
    Ok(ProducerId::parse(&format!("token.{hex}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_rise_whatever_the_clock_does() {
        let positions = Positions::default();
        let mut last = Position(0);
        for now in [5, 5, 4, 100, -7, 100] {
            let next = positions.next(Timestamp::from_nanos(now));
            assert!(next > last, "{next:?} after {last:?}");
            last = next;
        }
    }

    #[test]
    fn producers_of_tokens_are_apart_from_agents() {
        let producer = ProducerId::parse(&"p".repeat(64)).unwrap();
        let a = within_token("a", &producer).unwrap();
        assert_ne!(a, within_token("b", &producer).unwrap());
        assert_ne!(a, producer);
    }
}
