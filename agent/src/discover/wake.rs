//! What other threads tell the reading thread, which wakes it; never grows and never blocks who rings.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};

use crate::error::{Error, Result};

/// What was told since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// The spool takes batches again.
    pub room: bool,
    /// Something is known now of pods or namespaces that was not.
    pub learned: bool,
    /// Nothing more will be written: what is there is read to its end, and that is all.
    pub finish: bool,
    /// No more reading.
    pub stop: bool,
}

impl Told {
    /// Whether there is something to do.
    pub(super) fn is_something(self) -> bool {
        self.room || self.learned || self.finish || self.stop
    }
}

/// The bell of the reading thread.
#[derive(Debug)]
pub(crate) struct Wake {
    told: Mutex<Told>,
    bell: OwnedFd,
    wants_room: AtomicBool,
}

impl Wake {
    /// Nothing is told yet. Fails where the process has no descriptor left.
    pub(crate) fn new() -> Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| Error::Unavailable { what: "wake the reading thread", reason: e.to_string() })?;
        Ok(Self { told: Mutex::default(), bell, wants_room: AtomicBool::new(false) })
    }

    /// Ends the reading.
    pub(crate) fn stop(&self) {
        self.ring(|told| told.stop = true);
    }

    /// Whether reading is to end at once.
    pub(crate) fn is_stopped(&self) -> bool {
        self.told.lock().stop
    }

    /// Lets [`Self::made_room`] ring.
    pub(crate) fn want_room(&self) {
        self.wants_room.store(true, Ordering::SeqCst);
    }

    /// The spool has taken a batch.
    pub(crate) fn made_room(&self) {
        if self.wants_room.swap(false, Ordering::SeqCst) {
            self.ring(|told| told.room = true);
        }
    }

    /// Pods or namespaces are known better than before.
    pub(crate) fn learned(&self) {
        self.ring(|told| told.learned = true);
    }

    /// Ends the reading once all that is there is read.
    pub(crate) fn finish(&self) {
        self.ring(|told| told.finish = true);
    }

    fn ring(&self, tell: impl FnOnce(&mut Told)) {
        tell(&mut self.told.lock());
        if let Err(error) = rustix::io::write(&self.bell, &1_u64.to_ne_bytes()) {
            // It rings already, as often as can be counted.
            tracing::trace!(%error, "bell not rung");
        }
    }

    /// What was told since the last call; `stop` stays.
    pub(super) fn take(&self) -> Told {
        let mut told = self.told.lock();
        let stop = told.stop;
        std::mem::replace(&mut *told, Told { stop, ..Told::default() })
    }

    /// What can be waited for until something is told.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Makes [`Self::bell`] silent until the next call.
    pub(super) fn hush(&self) {
        if let Err(error) = rustix::io::read(&self.bell, &mut [0_u8; 8]) {
            tracing::trace!(%error, "bell was silent");
        }
    }

    /// While it is held, the reading thread does not come back from waiting.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> parking_lot::MutexGuard<'_, Told> {
        self.told.lock()
    }
}
