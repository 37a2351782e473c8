//! A bound on bytes that many parties share: each holds a [`Room`] for as long as it holds the memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// So many bytes may be held at once.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
    freed: Notify,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max, freed: Notify::new() })
    }

    /// Bytes held now.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether nothing more fits.
    pub(crate) fn is_full(&self) -> bool {
        self.used() >= self.max
    }

    /// Room for `bytes`, if they fit.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let mut room = Room { budget: Arc::clone(self), bytes: 0 };
        room.grow(bytes).then_some(room)
    }

    /// Whether more than half is held: time to let go of something.
    pub(crate) fn is_half_full(&self) -> bool {
        self.used() > self.max / 2
    }

    /// Room for `bytes` as soon as they fit, if that is soon enough.
    pub(crate) async fn reserve_within(self: &Arc<Self>, bytes: usize, patience: Duration) -> Option<Room> {
        let deadline = Instant::now() + patience;
        loop {
            // Before the look, so that what is freed between is heard.
            let freed = self.freed.notified();
            if let Some(room) = self.reserve(bytes) {
                return Some(room);
            }
            timeout_at(deadline, freed).await.ok()?;
        }
    }

    /// Room for `bytes` that are held already, whether or not they fit.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Room {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Room { budget: Arc::clone(self), bytes }
    }

    /// Room for `bytes` if anything is left at all: for parties that must get on one at a time, however large
    /// the one is.
    pub(crate) fn take_unless_full(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        (!self.is_full()).then(|| self.take(bytes))
    }
}

/// A part of a [`Budget`], given back when dropped.
#[derive(Debug)]
pub(crate) struct Room {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Room {
    /// Makes the room larger, if that fits.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let fits = self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= self.budget.max)
        });
        if fits.is_ok() {
            self.bytes += bytes;
        }
        fits.is_ok()
    }

    /// Puts another room of the same budget into this one.
    pub(crate) fn join(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.budget, &other.budget), "rooms of one budget");
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // An empty room frees nothing: one who waits for room makes one at each look.
        if self.bytes > 0 {
            self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
            self.budget.freed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_who_waits_gets_what_is_freed() {
        let budget = Budget::new(10);
        let room = budget.reserve(8).unwrap();
        assert!(budget.reserve_within(3, Duration::from_secs(1)).await.is_none());
        let free = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            drop(room);
        };
        let (waited, ()) = tokio::join!(budget.reserve_within(3, Duration::from_secs(1)), free);
        assert!(waited.is_some() && budget.used() == 3 && !budget.is_half_full());
    }

    #[test]
    fn what_is_dropped_is_free_again() {
        let budget = Budget::new(10);
        let mut a = budget.reserve(6).unwrap();
        assert!(budget.reserve(5).is_none());
        assert!(!a.grow(5) && a.grow(3));
        let b = budget.take_unless_full(100).unwrap();
        assert!(budget.is_full() && budget.take_unless_full(1).is_none());
        a.join(b);
        assert_eq!(budget.used(), 109);
        drop(a);
        assert_eq!(budget.used(), 0);
    }
}
