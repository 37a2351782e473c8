//! Sends what is spooled: a tenant's batches in order, several of them under way at once, many tenants side by
//! side; frees the spool on an acknowledgement. Knows nothing of files.

mod answer;
mod certificates;
mod complaint;
mod credential;
mod endpoints;
mod quarantine;
mod sender;
mod stamp;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use heliograph_model::batch::ProducerId;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::spool::Spool;
use credential::Credential;
use endpoints::Endpoints;
pub(crate) use quarantine::Quarantine;

/// Requests under way at once, of all tenants. Whoever waits for its turn gets it in the order of asking, so
/// that a tenant with a long backlog does not keep another's fresh lines waiting.
const REQUESTS_MAX: usize = 16;
/// Bodies in memory at once, in KiB; a larger one goes alone. However much is spooled, sending it takes no more.
const BODIES_KIB_MAX: u32 = 8 << 10;
/// How often the spool's figures are set, since ages rise by themselves.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Sends batches.
pub(crate) struct Shipper {
    spool: Arc<Spool>,
    endpoints: Endpoints,
    credential: Credential,
    producer: ProducerId,
    requests: Semaphore,
    bodies: Semaphore,
    denied_logged: Mutex<Option<Instant>>,
    /// Erased tenants whose batches are thrown away.
    erased_told: complaint::Complaints,
    quarantine: Quarantine,
    metrics: Metrics,
}

impl Shipper {
    /// Checks the addresses, the credential and the certificates.
    pub(crate) async fn new(
        spool: Arc<Spool>,
        config: &Config,
        producer: ProducerId,
        quarantine: Quarantine,
        metrics: Metrics,
    ) -> Result<Self> {
        Ok(Self {
            spool,
            endpoints: Endpoints::new(&config.indexers, config.tls.clone()).await?,
            credential: Credential::open(config.token.clone()).await?,
            producer,
            requests: Semaphore::new(REQUESTS_MAX),
            bodies: Semaphore::new(BODIES_KIB_MAX as usize),
            denied_logged: Mutex::new(None),
            erased_told: complaint::Complaints::default(),
            quarantine,
            metrics,
        })
    }

    /// Sends until `drained` says that nothing more will be spooled and all is sent, or `stop`.
    pub(crate) async fn run(self: Arc<Self>, drained: CancellationToken, stop: CancellationToken) {
        let mut upkeep = JoinSet::new();
        let shipper = Arc::clone(&self);
        upkeep.spawn(async move { shipper.endpoints.keep_fresh().await });
        let mut senders = JoinSet::new();
        let mut busy = BTreeSet::new();
        let mut show = tokio::time::interval(SHOW_EVERY);
        show.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                _ = show.tick() => self.show(),
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

    fn show(&self) {
        self.spool.show();
        if let Some(expires) = self.endpoints.certificate_expires() {
            self.metrics.tls_certificate_expires.with_label_values(&["tls.cert_file"]).set(expires);
        }
    }
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
