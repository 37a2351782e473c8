//! When the agent's reading ends, and how long the rest may take.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Sidecar;
use crate::discover::wake::Wake;
use crate::error::{Error, Result};
use crate::spool::Spool;

/// How long a stop waits for what is spooled to be sent. What is not is sent at the next start.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// How often a sidecar looks for the marker of its container's end.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a sidecar that is stopped may go on: its directory will be gone with the pod. Less than a process has
/// to stop.
const STOPPED_FINISH_MAX: Duration = Duration::from_secs(5);

/// How reading ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// At once: what is not read is read at the next start.
    Stop,
    /// When all that is there is read; it must be acknowledged within this time.
    Finish(Duration),
}

/// Waits until reading is to end.
pub(crate) async fn ending(sidecar: Option<&Sidecar>, stop: &CancellationToken) -> Ending {
    let Some(sidecar) = sidecar else {
        stop.cancelled().await;
        return Ending::Stop;
    };
    let marker = sidecar.marker();
    match stop.run_until_cancelled(appears(&marker)).await {
        Some(()) => {
            tracing::info!(marker = %marker.display(), "the container has finished");
            Ending::Finish(sidecar.finish_within)
        }
        None => Ending::Finish(sidecar.finish_within.min(STOPPED_FINISH_MAX)),
    }
}

/// Until when what is spooled may be sent.
#[derive(Debug)]
pub(crate) struct Deadline {
    /// The moment.
    pub at: Instant,
    /// How long there was, where all must be sent by then.
    within: Option<Duration>,
}

impl Deadline {
    fn of_stop() -> Self {
        Self { at: Instant::now() + DRAIN_MAX, within: None }
    }

    /// What it came to.
    pub(crate) fn outcome(&self, sent: bool) -> Result<()> {
        match self.within {
            Some(within) if !sent => Err(Error::Unfinished { within }),
            None if !sent => {
                tracing::info!("not all batches were sent, the rest is at the next start");
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Runs the `chain` from reading to the spool until `ending`, or until it fails by itself. Gives what it came to,
/// and until when what is spooled may be sent.
pub(crate) async fn end(
    chain: impl Future<Output = Result<()>>,
    ending: impl Future<Output = Ending>,
    wake: &Wake,
    spool: &Spool,
) -> (Result<()>, Deadline) {
    let mut chain = std::pin::pin!(chain);
    // Threads do not end with a future that is dropped: this ends them.
    let halt = Halt { wake, spool };
    let ending = tokio::select! {
        ending = ending => ending,
        ended = &mut chain => return (ended, Deadline::of_stop()),
    };
    match ending {
        Ending::Stop => {
            drop(halt);
            let ended = chain.await;
            (ended, Deadline::of_stop())
        }
        Ending::Finish(within) => {
            let at = Instant::now() + within;
            wake.finish();
            let ended = match tokio::time::timeout_at(at, &mut chain).await {
                Ok(ended) => ended,
                Err(_) => {
                    drop(halt);
                    chain.await.and(Err(Error::Unfinished { within }))
                }
            };
            (ended, Deadline { at, within: Some(within) })
        }
    }
}

/// Ends reading when dropped, and whoever waits for room in the spool.
struct Halt<'a> {
    wake: &'a Wake,
    spool: &'a Spool,
}

impl Drop for Halt<'_> {
    fn drop(&mut self) {
        self.wake.stop();
        self.spool.close();
    }
}

async fn appears(marker: &Path) {
    let mut warned = false;
    loop {
        match tokio::fs::try_exists(marker).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) if !std::mem::replace(&mut warned, true) => {
                tracing::warn!(marker = %marker.display(), %error, "cannot look for the marker");
            }
            Err(_) => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
