//! Writes what is in the queue, and drops what is older than the log is kept for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heliograph_model::time::{Clock, Timestamp};
use heliograph_store::audit::{Action, Actor, Details, Event, Log, Outcome, Subject};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Entry;
use crate::metrics::Metrics;

/// How long the first of a batch waits for others: at most two syncs of the disk a second.
const LINGER: Duration = Duration::from_millis(500);
/// Events of one batch.
const BATCH_EVENTS: usize = 256;
/// Pauses between tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long it is tried when we stop.
const STOP_WITHIN: Duration = Duration::from_secs(3);
/// How often old rows are dropped.
const TRIM_EVERY: Duration = Duration::from_hours(1);

/// Owns the queue.
pub(crate) struct Writer {
    pub(super) log: Log,
    pub(super) entries: mpsc::Receiver<Entry>,
    pub(super) is_behind: Arc<AtomicBool>,
    /// How long rows are kept; without, without end.
    pub(super) keep: Option<Duration>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
}

impl Writer {
    /// Runs until the last recorder is gone and all is written; after `stop` it does not try for long.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut trims = tokio::time::interval(TRIM_EVERY);
        trims.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let first = tokio::select! {
                entry = self.entries.recv() => entry,
                _ = trims.tick() => {
                    self.trim().await;
                    continue;
                }
            };
            let Some(first) = first else { return };
            let batch = self.batch(first).await;
            self.write(batch, &stop).await;
        }
    }

    /// What comes within the linger; at once where somebody waits.
    async fn batch(&mut self, first: Entry) -> Vec<Entry> {
        let deadline = Instant::now() + LINGER;
        let mut is_awaited = first.written.is_some();
        let mut batch = vec![first];
        while batch.len() < BATCH_EVENTS {
            let next = match is_awaited {
                true => self.entries.try_recv().ok(),
                false => tokio::time::timeout_at(deadline, self.entries.recv()).await.ok().flatten(),
            };
            let Some(next) = next else { break };
            is_awaited |= next.written.is_some();
            batch.push(next);
        }
        batch
    }

    async fn write(&self, batch: Vec<Entry>, stop: &CancellationToken) {
        let events: Vec<Event> = batch.iter().flat_map(events).collect();
        let (mut pause, mut stopped) = (PAUSES.0, None);
        while let Err(error) = self.log.append(&events).await {
            self.is_behind.store(true, Ordering::Relaxed);
            self.metrics.audit_failures.inc();
            let gives_up =
                stop.is_cancelled() && stopped.get_or_insert_with(Instant::now).elapsed() > STOP_WITHIN;
            if gives_up {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, events = events.len(), "the audit log lacks the last events");
                return;
            }
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the audit log cannot be written: nothing is changed until it can, and reads wait to be recorded"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
        self.is_behind.store(false, Ordering::Relaxed);
        for Entry { happened, written } in batch {
            self.metrics.audit_queue.dec();
            self.metrics.audit_events.with_label_values(&[happened.action.as_str()]).inc();
            if let Some(written) = written
                && written.send(()).is_err()
            {
                tracing::debug!("nobody waits any more for an event to be recorded");
            }
        }
    }

    async fn trim(&self) {
        let Some(keep) = self.keep else { return };
        let now = self.clock.now();
        let before = now.saturating_add_nanos(-i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX));
        match self.dropped(before, now).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "dropped old rows of the audit log"),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "old rows of the audit log could not be dropped, will try again");
            }
        }
    }

    /// Drops what is older, and notes how much.
    async fn dropped(&self, before: Timestamp, now: Timestamp) -> heliograph_store::Result<u64> {
        let rows = self.log.trim(before).await?;
        if rows > 0 {
            let event = Event {
                at: now,
                actor: Actor::Service,
                action: Action::AuditTrim,
                subject: Subject::Platform,
                from: None,
                outcome: Outcome::Done,
                details: Details::new(Map::from_iter([("rows".to_owned(), Value::from(rows))])),
            };
            self.log.append(&[event]).await?;
            self.metrics.audit_events.with_label_values(&[Action::AuditTrim.as_str()]).inc();
        }
        Ok(rows)
    }
}

fn events(entry: &Entry) -> impl Iterator<Item = Event> {
    let happened = &entry.happened;
    happened.subjects.iter().map(|subject| Event {
        at: happened.at,
        actor: happened.actor.clone(),
        action: happened.action,
        subject: subject.clone(),
        from: Some(happened.from),
        outcome: happened.outcome,
        details: happened.details.clone(),
    })
}
