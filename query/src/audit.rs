//! Records what callers do: a bounded queue, and the task that owns it and writes it to the audit log in batches.
//!
//! Whoever is to be recorded takes a [`Slot`] before anything is done, and fills it before the answer goes out. A read's
//! row is on disk at most a second after that; a change waits for its own. While the log cannot be written, nothing is
//! changed, and reads go on as long as there are slots: a full disk must not hide from anybody what went wrong.

mod writer;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heliograph_model::time::{Clock, Timestamp};
use heliograph_store::audit::{Action, Actor, Details, Log, Outcome, Subject};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};
use crate::metrics::Metrics;

pub(crate) use writer::Writer;

/// Events that wait to be written, of some hundred bytes each: those of minutes and hours in which a disk is full.
const QUEUE_EVENTS: usize = 16_384;
/// How long a request waits for a slot.
const SLOT_WAIT: Duration = Duration::from_secs(2);
/// How long a change waits until it is on disk.
const WRITTEN_WAIT: Duration = Duration::from_secs(10);

/// Something that happened, about any number of tenants.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    pub(crate) at: Timestamp,
    pub(crate) actor: Actor,
    pub(crate) action: Action,
    /// One row for each.
    pub(crate) subjects: Arc<[Subject]>,
    pub(crate) from: IpAddr,
    pub(crate) outcome: Outcome,
    pub(crate) details: Details,
}

/// An event on its way, and who waits for it to be on disk.
struct Entry {
    happened: Happened,
    written: Option<oneshot::Sender<()>>,
}

/// Takes what is to be recorded. Cheap to clone; the writer ends when the last one is gone.
#[derive(Clone)]
pub(crate) struct Recorder {
    queue: mpsc::Sender<Entry>,
    /// Whether the last try to write failed.
    is_behind: Arc<AtomicBool>,
    metrics: Metrics,
}

/// A place in the queue that is nobody else's.
pub(crate) struct Slot {
    permit: mpsc::OwnedPermit<Entry>,
    metrics: Metrics,
}

/// A recorder, and the writer behind it, to be run.
pub(crate) fn recorder(
    log: Log,
    keep: Option<Duration>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
) -> (Recorder, Writer) {
    let (queue, entries) = mpsc::channel(QUEUE_EVENTS);
    let is_behind = Arc::new(AtomicBool::new(false));
    let recorder = Recorder { queue, is_behind: Arc::clone(&is_behind), metrics: metrics.clone() };
    (recorder, Writer { log, entries, is_behind, keep, clock, metrics })
}

impl Recorder {
    /// A slot for what is on disk before its answer; [`Error::Unrecorded`] if the log cannot be written.
    pub(crate) async fn slot_of_change(&self) -> Result<Slot> {
        if self.is_behind.load(Ordering::Relaxed) {
            return Err(Error::Unrecorded);
        }
        self.slot().await
    }

    /// Waits a while for room; [`Error::Unrecorded`] if there is none.
    pub(crate) async fn slot(&self) -> Result<Slot> {
        match tokio::time::timeout(SLOT_WAIT, self.queue.clone().reserve_owned()).await {
            Ok(Ok(permit)) => {
                self.metrics.audit_queue.inc();
                Ok(Slot { permit, metrics: self.metrics.clone() })
            }
            Ok(Err(_)) | Err(_) => Err(Error::Unrecorded),
        }
    }
}

impl Slot {
    /// Fills it: soon it is on disk.
    pub(crate) fn record(self, happened: Happened) {
        self.permit.send(Entry { happened, written: None });
    }

    /// Fills it, and waits until it is on disk. After [`Error::Unrecorded`] it is still tried.
    pub(crate) async fn write(self, happened: Happened) -> Result<()> {
        let (written, is_written) = oneshot::channel();
        self.permit.send(Entry { happened, written: Some(written) });
        match tokio::time::timeout(WRITTEN_WAIT, is_written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::Unrecorded),
        }
    }

    /// Gives it back: there is nothing to record.
    pub(crate) fn leave(self) {
        self.metrics.audit_queue.dec();
    }
}

#[cfg(test)]
mod tests;
