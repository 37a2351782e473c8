//! A lease that this process holds: renewed long before it ends, and not relied on when that fails.
//!
//! The catalog counts a lease by its own clock. Here only its length is counted, on the monotonic clock and from
//! before a renewal is sent: so this process stops relying on it before the catalog lets another have it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heliograph_store::catalog::{Catalog, LISTED_WITHIN, Lease};
use heliograph_store::{Error as StoreError, crash};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::{Error, Result};

/// How long a lease runs. What a killed process has not sealed is out of sight for so long, and the time that an
/// heir needs to read it; a catalog that is away for longer costs takeovers.
pub(crate) const LEASE_FOR: Duration = Duration::from_secs(8);
/// By how much it is relied on for less.
const MARGIN: Duration = Duration::from_secs(1);
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How soon again after a failure.
const RENEW_AGAIN: Duration = Duration::from_millis(500);
/// Longest time of one renewal.
const RENEW_MAX: Duration = Duration::from_secs(2);
/// From registering to the first batch: no reader has an older list then, which would not name this indexer.
const JOIN_WAIT: Duration = LISTED_WITHIN.saturating_add(Duration::from_millis(500));
/// A commit that takes longer is one whose sender may have tried elsewhere.
const COMMIT_PATIENCE: Duration = Duration::from_secs(1);

/// A lease, and how far it can be relied on.
#[derive(Debug)]
pub(crate) struct Held {
    lease: Lease,
    /// None where nobody can take it over.
    times: Option<Mutex<Times>>,
    /// Since when a commit has been under way that the catalog may have and hot has not.
    committing: watch::Sender<Option<Instant>>,
    is_fenced: AtomicBool,
    end: CancellationToken,
}

#[derive(Debug)]
struct Times {
    sure_until: Instant,
    /// Batches are taken from here on.
    commits_from: Instant,
    /// When a renewal failed last.
    failed: Option<Instant>,
}

impl Held {
    /// The one of embedded mode, which never ends.
    pub(crate) fn embedded(indexer: Uuid, stop: &CancellationToken) -> Self {
        Self::of(Lease::embedded(indexer), None, stop)
    }

    /// The first one of a new indexer, which is to be [registered](Self::register).
    pub(crate) fn of_new_indexer(stop: &CancellationToken) -> Self {
        let lease = Lease { indexer: Uuid::new_v4(), epoch: 1 };
        let now = Instant::now();
        Self::of(lease, Some(Times { sure_until: now, commits_from: now, failed: None }), stop)
    }

    /// One that was claimed by a call that began then.
    pub(crate) fn claimed(lease: Lease, began: Instant, stop: &CancellationToken) -> Self {
        let times = Times { sure_until: began + LEASE_FOR - MARGIN, commits_from: began, failed: None };
        Self::of(lease, Some(times), stop)
    }

    fn of(lease: Lease, times: Option<Times>, stop: &CancellationToken) -> Self {
        Self {
            lease,
            times: times.map(Mutex::new),
            committing: watch::Sender::default(),
            is_fenced: AtomicBool::new(false),
            end: stop.child_token(),
        }
    }

    /// What is shown to the catalog.
    pub(crate) fn lease(&self) -> Lease {
        self.lease
    }

    /// Which indexer.
    pub(crate) fn indexer(&self) -> Uuid {
        self.lease.indexer
    }

    /// Cancelled when the lease is lost, or all stops.
    pub(crate) fn end(&self) -> &CancellationToken {
        &self.end
    }

    /// Whether another process has it.
    pub(crate) fn is_fenced(&self) -> bool {
        self.is_fenced.load(Ordering::Acquire)
    }

    /// The catalog says that another process has it.
    pub(crate) fn lose(&self) {
        if !self.is_fenced.swap(true, Ordering::AcqRel) {
            tracing::error!(
                indexer = %self.lease.indexer,
                epoch = self.lease.epoch,
                "another process has taken this indexer over"
            );
        }
        self.end.cancel();
    }

    /// Whether nobody else can have it at this moment.
    pub(crate) fn is_sure(&self) -> bool {
        let is_running = |times: &Mutex<Times>| Instant::now() < times.lock().sure_until;
        !self.is_fenced() && self.times.as_ref().is_none_or(is_running)
    }

    /// Whether batches may be committed by it.
    pub(crate) fn may_commit(&self) -> bool {
        let has_joined = |times: &Mutex<Times>| Instant::now() >= times.lock().commits_from;
        self.is_sure() && self.times.as_ref().is_none_or(has_joined)
    }

    /// Whether what is hot is all that is acknowledged and not sealed, and was acknowledged before this call. While
    /// a commit is under way that need not be so: its sender may have heard from another indexer by now that it is
    /// recorded. So its end is waited for, if it comes soon. Safe to drop.
    pub(crate) async fn is_whole(&self) -> bool {
        if self.times.is_none() {
            return true;
        }
        let under_way = *self.committing.borrow();
        if let Some(since) = under_way {
            let mut committing = self.committing.subscribe();
            // A later one is no matter: nobody can have heard of it before this call.
            let has_ended = committing.wait_for(|now| *now != Some(since));
            if !matches!(timeout_at(since + COMMIT_PATIENCE, has_ended).await, Ok(Ok(_))) {
                return false;
            }
        }
        self.is_sure()
    }

    /// Whether the catalog was there for long enough that other holders could renew theirs, too.
    pub(crate) fn is_steady(&self) -> bool {
        let is_over = |failed: Instant| failed.elapsed() > LEASE_FOR;
        self.is_sure() && self.times.as_ref().is_none_or(|times| times.lock().failed.is_none_or(is_over))
    }

    /// The catalog is asked to record a commit.
    pub(crate) fn commit_begins(&self) {
        self.committing.send_if_modified(|since| {
            let begins = since.is_none();
            since.get_or_insert_with(Instant::now);
            begins
        });
    }

    /// It is hot, or known not to be recorded.
    pub(crate) fn commit_ends(&self) {
        self.committing.send_replace(None);
    }

    fn extend(&self, began: Instant) {
        if let Some(times) = &self.times {
            let mut times = times.lock();
            times.sure_until = times.sure_until.max(began + LEASE_FOR - MARGIN);
        }
    }

    fn failed(&self) {
        if let Some(times) = &self.times {
            times.lock().failed = Some(Instant::now());
        }
    }

    /// Registers the new indexer under an address, however long the catalog does not answer; returns when batches
    /// may be taken, `false` if stopped before that.
    pub(crate) async fn register(&self, catalog: &dyn Catalog, address: &str) -> Result<bool> {
        loop {
            let began = Instant::now();
            crash::point("lease.register.before");
            match catalog.register_indexer(self.lease.indexer, address, LEASE_FOR).await {
                Ok(_) => {
                    crash::point("lease.register.after");
                    let joined = Instant::now() + JOIN_WAIT;
                    if let Some(times) = &self.times {
                        times.lock().commits_from = joined;
                    }
                    self.extend(began);
                    tracing::info!(indexer = %self.lease.indexer, address, "registered");
                    let waiting = tokio::time::sleep_until(joined);
                    return Ok(self.end.run_until_cancelled(waiting).await.is_some());
                }
                Err(error @ StoreError::Exists { .. }) => return Err(error.into()),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "cannot register with the catalog, will try again");
                }
            }
            self.failed();
            if self.end.run_until_cancelled(tokio::time::sleep(RENEW_AGAIN)).await.is_none() {
                return Ok(false);
            }
        }
    }

    /// Renews it until told otherwise, or until another process has it.
    pub(crate) async fn keep(&self, catalog: &dyn Catalog, until: &CancellationToken) {
        let mut pause = RENEW_EVERY;
        while until.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            let began = Instant::now();
            crash::point("lease.renew.before");
            // A renewal that is given up may still be done: that only makes the lease longer.
            match timeout(RENEW_MAX, catalog.renew_lease(&self.lease, LEASE_FOR)).await {
                Ok(Ok(())) => {
                    crash::point("lease.renew.after");
                    self.extend(began);
                    pause = RENEW_EVERY;
                    continue;
                }
                Ok(Err(StoreError::Fenced { .. })) => return self.lose(),
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, indexer = %self.lease.indexer, "cannot renew a lease");
                }
                Err(_) => tracing::warn!(indexer = %self.lease.indexer, "cannot renew a lease in time"),
            }
            self.failed();
            pause = RENEW_AGAIN;
        }
    }

    /// Ends it, so that another process need not wait.
    pub(crate) async fn hand_over(&self, catalog: &dyn Catalog) {
        if self.times.is_none() || self.is_fenced() {
            return;
        }
        crash::point("lease.end.before");
        match timeout(RENEW_MAX, catalog.renew_lease(&self.lease, Duration::ZERO)).await {
            Ok(Ok(())) => {
                crash::point("lease.end.after");
                tracing::info!(indexer = %self.lease.indexer, "left to others");
            }
            Ok(Err(StoreError::Fenced { .. })) => {}
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(indexer = %self.lease.indexer, "others will have to wait for a lease's end");
            }
        }
    }

    /// Why the process has to end, if it has.
    pub(crate) fn verdict(&self) -> Result<()> {
        if self.is_fenced() { Err(Error::Fenced { indexer: self.lease.indexer }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_relied_on_for_less_than_it_runs() {
        let lease = Lease { indexer: Uuid::new_v4(), epoch: 2 };
        let held = Held::claimed(lease, Instant::now(), &CancellationToken::new());
        assert!(held.is_sure() && held.is_whole().await && held.may_commit() && held.is_steady());
        tokio::time::advance(LEASE_FOR - MARGIN - Duration::from_millis(1)).await;
        assert!(held.is_sure());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!held.is_sure() && !held.is_whole().await && !held.may_commit() && !held.is_steady());
        held.extend(Instant::now());
        assert!(held.is_sure());
        held.lose();
        assert!(!held.is_sure() && held.end().is_cancelled());
        assert!(matches!(held.verdict(), Err(Error::Fenced { indexer }) if indexer == lease.indexer));
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_in_doubt_makes_hot_less_than_whole() {
        let lease = Lease { indexer: Uuid::new_v4(), epoch: 2 };
        let held = Held::claimed(lease, Instant::now(), &CancellationToken::new());
        held.commit_begins();
        let end = async {
            tokio::time::sleep(COMMIT_PATIENCE / 2).await;
            held.commit_ends();
            held.commit_begins();
        };
        let began = Instant::now();
        let (is_whole, ()) = tokio::join!(held.is_whole(), end);
        assert!(is_whole, "a commit is waited for, and not the one after it");
        assert_eq!(began.elapsed(), COMMIT_PATIENCE / 2);
        assert!(!held.is_whole().await && held.may_commit());
        assert_eq!(began.elapsed(), COMMIT_PATIENCE * 3 / 2, "for so long after its beginning");
        held.commit_begins();
        assert!(!held.is_whole().await, "it is the same one again");
        held.commit_ends();
        assert!(held.is_whole().await);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_others_have_time_to_renew_theirs() {
        let lease = Lease { indexer: Uuid::new_v4(), epoch: 2 };
        let held = Held::claimed(lease, Instant::now(), &CancellationToken::new());
        held.failed();
        for _ in 0..4 {
            assert!(!held.is_steady());
            tokio::time::advance(LEASE_FOR / 4).await;
            held.extend(Instant::now());
        }
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(held.is_steady());
    }
}
