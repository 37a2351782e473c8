//! Directory watches, as a wake-up; and the wake-up itself, which never grows and never blocks who rings it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::{Condvar, Mutex};

use crate::metrics::Metrics;

/// Most paths that a wake-up names; beyond that, a scan finds them.
const PATHS_MAX: usize = 8192;

/// What happened since the last look.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    /// Files that were written to.
    pub written: BTreeSet<PathBuf>,
    /// Directories in which files appeared, vanished or were renamed.
    pub changed: BTreeSet<PathBuf>,
    /// Something was missed: all must be compared.
    pub rescan: bool,
    /// The spool takes batches again.
    pub room: bool,
    /// Something is known now of pods or namespaces that was not.
    pub learned: bool,
    /// Nothing more will be written: what is there is read to its end, and that is all.
    pub finish: bool,
    /// No more reading.
    pub stop: bool,
    /// Whether who waits reads at its time anyway, and need not be told before of what is only written.
    gathers: bool,
}

impl Woken {
    fn is_quiet(&self) -> bool {
        let is_written = !self.gathers && !self.written.is_empty();
        let told = self.rescan || self.room || self.learned || self.finish || self.stop;
        !is_written && self.changed.is_empty() && !told
    }
}

/// Where the reading thread sleeps.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    state: Mutex<Woken>,
    rung: Condvar,
    wants_room: AtomicBool,
}

impl Wake {
    /// Waits until something happens or the time comes; with `gathers`, what is written is no reason to wake up
    /// before. `stop` stays set.
    pub(crate) fn wait(&self, until: Instant, gathers: bool) -> Woken {
        let mut state = self.state.lock();
        state.gathers = gathers;
        while state.is_quiet() {
            if self.rung.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        let stop = state.stop;
        std::mem::replace(&mut *state, Woken { stop, ..Woken::default() })
    }

    /// Ends the reading.
    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.rung.notify_all();
    }

    /// While it is held, no event is taken.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> parking_lot::MutexGuard<'_, Woken> {
        self.state.lock()
    }

    /// Lets [`Self::made_room`] ring.
    pub(crate) fn want_room(&self) {
        self.wants_room.store(true, Ordering::SeqCst);
    }

    /// The spool has taken a batch.
    pub(crate) fn made_room(&self) {
        if self.wants_room.swap(false, Ordering::SeqCst) {
            self.ring(|w| w.room = true);
        }
    }

    /// Pods or namespaces are known better than before.
    pub(crate) fn learned(&self) {
        self.ring(|w| w.learned = true);
    }

    /// Ends the reading once all that is there is read.
    pub(crate) fn finish(&self) {
        self.ring(|w| w.finish = true);
    }

    /// Whether reading is to end at once.
    pub(crate) fn is_stopped(&self) -> bool {
        self.state.lock().stop
    }

    fn ring(&self, change: impl FnOnce(&mut Woken)) {
        let mut state = self.state.lock();
        change(&mut state);
        if state.written.len() + state.changed.len() > PATHS_MAX {
            state.written.clear();
            state.changed.clear();
            state.rescan = true;
        }
        if !state.is_quiet() {
            self.rung.notify_all();
        }
    }

    fn event(&self, event: notify::Result<Event>) {
        match event {
            Ok(event) if event.need_rescan() => self.ring(|w| w.rescan = true),
            Ok(event) => match event.kind {
                EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => {}
                EventKind::Modify(ModifyKind::Data(_)) => self.ring(|w| w.written.extend(event.paths)),
                EventKind::Create(_)
                | EventKind::Remove(_)
                | EventKind::Modify(_)
                | EventKind::Any
                | EventKind::Other => self.ring(|w| {
                    w.changed.extend(event.paths.iter().filter_map(|p| p.parent()).map(Path::to_owned));
                }),
            },
            Err(error) => {
                tracing::debug!(%error, "file events interrupted");
                self.ring(|w| w.rescan = true);
            }
        }
    }
}

/// The one inotify instance.
#[derive(Debug)]
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    /// Directories for which there was no watch left.
    missed: BTreeSet<PathBuf>,
    metrics: Metrics,
    warned: bool,
}

impl Watch {
    /// Begins to watch nothing. Without inotify, the scans find everything.
    pub(crate) fn new(wake: Arc<Wake>, metrics: Metrics) -> Self {
        Self::of(notify::recommended_watcher(move |event| wake.event(event)), metrics)
    }

    /// With this instance, if there is one.
    pub(super) fn of(watcher: notify::Result<RecommendedWatcher>, metrics: Metrics) -> Self {
        let mut watch = Self { watcher: None, missed: BTreeSet::new(), metrics, warned: false };
        match watcher {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => watch.exhausted(&error),
        }
        watch
    }

    /// Watches a directory, not what is below it; says whether that worked.
    pub(crate) fn add(&mut self, dir: &Path) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        match watcher.watch(dir, RecursiveMode::NonRecursive) {
            Ok(()) => true,
            // It vanished again: the scan notices.
            Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => false,
            Err(error) => {
                self.missed.insert(dir.to_owned());
                self.exhausted(&error);
                false
            }
        }
    }

    /// Whether scans must find what events would tell.
    pub(crate) fn is_polling(&self) -> bool {
        self.watcher.is_none() || !self.missed.is_empty()
    }

    /// Tries the directories again for which there was no watch left: others may have given theirs up.
    pub(crate) fn retry(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        while let Some(dir) = self.missed.first() {
            match watcher.watch(dir, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
                Err(_) => return,
            }
            self.missed.pop_first();
            if self.missed.is_empty() {
                self.metrics.polling.set(0);
                self.warned = false;
            }
        }
    }

    /// The directory is gone.
    pub(crate) fn remove(&mut self, dir: &Path) {
        if !self.missed.remove(dir)
            && let Some(watcher) = &mut self.watcher
            && let Err(error) = watcher.unwatch(dir)
        {
            // The kernel ends the watch of a removed directory itself.
            tracing::trace!(%error, "watch was gone");
        }
    }

    fn exhausted(&mut self, error: &notify::Error) {
        self.metrics.polling.set(1);
        if !self.warned {
            self.warned = true;
            tracing::warn!(%error, "file events are not to be had, polling instead");
        }
    }
}
