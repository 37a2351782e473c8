//! Writes what waits, and tries again until it can.

use std::sync::Arc;
use std::time::Duration;

use heliograph_store::audit::{Action, Details, Event, Log, Outcome, Subject};
use heliograph_store::{Result, Store};
use serde_json::Map;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::sums::Sum;
use super::{Refusal, Shared};
use crate::metrics::Metrics;

/// How long the first that comes waits for others; also how often it is looked whether more is due.
const LINGER: Duration = Duration::from_secs(1);
/// Pauses between tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long it is tried when we stop.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// Owns what is being written.
pub(crate) struct Writer {
    pub(super) store: Store,
    pub(super) shared: Arc<Shared>,
    /// The recorder is gone: nothing more comes.
    pub(super) end: CancellationToken,
    pub(super) metrics: Metrics,
}

impl Writer {
    /// Runs until the recorder is gone and all is written; then it does not try for long.
    pub(crate) async fn run(self) {
        loop {
            self.end.run_until_cancelled(self.shared.woken.notified()).await;
            while !self.is_idle() {
                self.end.run_until_cancelled(sleep(LINGER)).await;
                self.write(self.take()).await;
            }
            if self.end.is_cancelled() {
                return;
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.shared.made.lock().is_empty() && self.shared.refused.lock().are_written()
    }

    /// What is to be written now; all, when nothing more comes.
    fn take(&self) -> Batch {
        let made = std::mem::take(&mut *self.shared.made.lock());
        let mut refused = self.shared.refused.lock();
        let refused = if self.end.is_cancelled() { refused.all() } else { refused.due(Instant::now()) };
        Batch { made, refused }
    }

    async fn write(&self, batch: Batch) {
        let (mut pause, mut stopped) = (PAUSES.0, None);
        while let Err(error) = self.append(&batch).await {
            self.metrics.audit_failures.inc();
            if self.end.is_cancelled() && stopped.get_or_insert_with(Instant::now).elapsed() > STOP_WITHIN {
                let events = batch.made.len() + batch.refused.len();
                self.metrics.audit_lost.inc_by(events as u64);
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, events, "the audit log lacks the last events");
                return;
            }
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the audit log cannot be written: refusals and new tenants wait for it"
            );
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
        for (action, count) in
            [(Action::TenantCreate, batch.made.len()), (Action::IngestRefused, batch.refused.len())]
        {
            self.metrics.audit_events.with_label_values(&[action.as_str()]).inc_by(count as u64);
        }
    }

    async fn append(&self, batch: &Batch) -> Result<()> {
        let mut events = batch.made.clone();
        for (refusal, sum) in &batch.refused {
            events.push(self.event(refusal, sum).await?);
        }
        Log::of(&self.store).append(&events).await
    }

    /// A sum as a row: of the tenant, if there is one of that name, so that those see it whom it is about.
    async fn event(&self, refusal: &Refusal, sum: &Sum) -> Result<Event> {
        let mut details = Map::from_iter([("reason".to_owned(), refusal.reason.into())]);
        details.insert("count".to_owned(), sum.count.into());
        if sum.count > 1 {
            details.insert("since".to_owned(), sum.first.to_string().into());
        }
        let found = match &refusal.tenant {
            Some(name) => self.store.catalog.tenant(name).await?,
            None => None,
        };
        let subject = match found {
            Some(tenant) => Subject::Tenant { name: tenant.name, uid: tenant.uid },
            None => {
                details.extend(refusal.tenant.iter().map(|name| ("tenant".to_owned(), name.as_str().into())));
                Subject::Platform
            }
        };
        Ok(Event {
            at: sum.last,
            actor: refusal.actor.clone(),
            action: Action::IngestRefused,
            subject,
            from: refusal.from,
            outcome: Outcome::Refused,
            details: Details::new(details),
        })
    }
}

/// What is being written.
struct Batch {
    made: Vec<Event>,
    refused: Vec<(Refusal, Sum)>,
}
