//! A bound on bytes that many parties share: each holds a [`Room`] for as long as it holds the memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many bytes may be held at once.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
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
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
