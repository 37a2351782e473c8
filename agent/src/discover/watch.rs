//! Directory watches, and the sleep of the reading thread, which they end.
//!
//! The thread itself takes the events from the kernel. One in between would be woken for each line that is written,
//! and cost more than all the rest at a hundred lines a second; here, events are left in the kernel's queue (which
//! keeps equal ones once) while the line that they tell of is read in a moment anyway.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::wake::{Told, Wake};
use crate::metrics::Metrics;

/// Most paths that are kept; beyond that, a scan finds them.
const PATHS_MAX: usize = 8192;
/// How often events are taken while nothing is to be done for a line that is written: how late the first of new files
/// is opened at most.
const TAKE_EVERY: Duration = Duration::from_millis(25);
/// How long events end the sleep at once after files came, went or were renamed: more of that may follow, and may
/// not wait.
const STIRRED_FOR: Duration = Duration::from_secs(1);
/// Bytes of events that are taken at once: some hundred.
const EVENTS_BYTES: usize = 16 << 10;

/// What happened since the last look.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    /// Files that were written to.
    pub written: BTreeSet<PathBuf>,
    /// Directories in which files appeared, vanished or were renamed.
    pub changed: BTreeSet<PathBuf>,
    /// Something was missed: all must be compared.
    pub rescan: bool,
    /// What other threads told.
    pub told: Told,
}

/// The one inotify instance.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: Option<OwnedFd>,
    /// The watched directories, by the kernel's number for the watch, …
    dirs: HashMap<i32, Arc<Path>>,
    /// … and the other way round.
    numbers: HashMap<Arc<Path>, i32>,
    /// Directories for which there was no watch left.
    missed: BTreeSet<PathBuf>,
    /// What the events taken so far tell.
    events: Woken,
    /// When files last came, went or were renamed.
    stirred: Option<Instant>,
    wake: Arc<Wake>,
    metrics: Metrics,
    warned: bool,
}

/// Why a directory has no watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// It is not there.
    Gone,
    /// There is no watch left, or the like.
    Exhausted(Errno),
}

impl Watch {
    /// Begins to watch nothing. Without inotify, the scans find everything.
    pub(crate) fn new(wake: Arc<Wake>, metrics: Metrics) -> Self {
        Self::of(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK), wake, metrics)
    }

    /// As where inotify is exhausted from the start.
    #[cfg(test)]
    pub(super) fn without_events(wake: Arc<Wake>, metrics: Metrics) -> Self {
        Self::of(Err(Errno::MFILE), wake, metrics)
    }

    fn of(inotify: rustix::io::Result<OwnedFd>, wake: Arc<Wake>, metrics: Metrics) -> Self {
        let mut watch = Self {
            inotify: None,
            dirs: HashMap::new(),
            numbers: HashMap::new(),
            missed: BTreeSet::new(),
            events: Woken::default(),
            stirred: None,
            wake,
            metrics,
            warned: false,
        };
        match inotify {
            Ok(inotify) => watch.inotify = Some(inotify),
            Err(error) => watch.exhausted(error),
        }
        watch
    }

    /// The bell that ends the sleep.
    #[cfg(test)]
    pub(super) fn wake(&self) -> Arc<Wake> {
        Arc::clone(&self.wake)
    }

    /// Watches a directory, not what is below it; says whether that worked.
    pub(crate) fn add(&mut self, dir: &Path) -> bool {
        match self.try_add(dir) {
            Ok(()) => true,
            // It vanished again: the scan notices.
            Err(Refused::Gone) => false,
            Err(Refused::Exhausted(error)) => {
                if self.inotify.is_some() {
                    self.missed.insert(dir.to_owned());
                    self.exhausted(error);
                }
                false
            }
        }
    }

    fn try_add(&mut self, dir: &Path) -> Result<(), Refused> {
        let inotify = self.inotify.as_ref().ok_or(Refused::Exhausted(Errno::MFILE))?;
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        match inotify::add_watch(inotify, dir, flags) {
            Ok(number) => {
                let dir: Arc<Path> = dir.into();
                self.dirs.insert(number, Arc::clone(&dir));
                self.numbers.insert(dir, number);
                Ok(())
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Err(Refused::Gone),
            Err(error) => Err(Refused::Exhausted(error)),
        }
    }

    /// Whether scans must find what events would tell.
    pub(crate) fn is_polling(&self) -> bool {
        self.inotify.is_none() || !self.missed.is_empty()
    }

    /// Tries the directories again for which there was no watch left: others may have given theirs up.
    pub(crate) fn retry(&mut self) {
        while let Some(dir) = self.missed.pop_first() {
            if let Err(Refused::Exhausted(_)) = self.try_add(&dir) {
                self.missed.insert(dir);
                return;
            }
            if self.missed.is_empty() {
                self.metrics.polling.set(0);
                self.warned = false;
            }
        }
    }

    /// The directory is gone.
    pub(crate) fn remove(&mut self, dir: &Path) {
        self.missed.remove(dir);
        let Some(number) = self.numbers.remove(dir) else { return };
        // Another name of the same directory may have its watch now.
        if self.dirs.get(&number).is_some_and(|of| **of == *dir) {
            self.dirs.remove(&number);
            let Some(inotify) = &self.inotify else { return };
            if let Err(error) = inotify::remove_watch(inotify, number) {
                // The kernel ends the watch of a removed directory itself.
                tracing::trace!(%error, "watch was gone");
            }
        }
    }

    /// Sleeps until something happens or the time comes; with `gathers`, who sleeps reads at its time anyway, and
    /// what is only written to is no reason to wake up before.
    pub(crate) fn wait(&mut self, until: Instant, gathers: bool) -> Woken {
        loop {
            self.take_events();
            let told = self.wake.take();
            let is_written = !gathers && !self.events.written.is_empty();
            let has_events = self.events.rescan || !self.events.changed.is_empty() || is_written;
            let now = Instant::now();
            let left = until.saturating_duration_since(now);
            if self.events.rescan || !self.events.changed.is_empty() {
                self.stirred = Some(now);
            }
            if has_events || told.is_something() || left.is_zero() {
                return Woken { told, ..std::mem::take(&mut self.events) };
            }
            let is_stirred = self.stirred.is_some_and(|at| now < at + STIRRED_FOR);
            self.sleep(left, gathers && !is_stirred);
        }
    }

    /// Sleeps until told something, or until there are events; if `deaf`, these are looked for now and then.
    fn sleep(&self, time: Duration, deaf: bool) {
        let time = if deaf { time.min(TAKE_EVERY) } else { time };
        let events = self.inotify.as_ref().filter(|_| !deaf);
        let descriptor = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut awaited = [self.wake.bell(), self.wake.bell()].map(descriptor);
        if let (Some(inotify), [_, second]) = (events, &mut awaited) {
            *second = PollFd::new(inotify, PollFlags::IN);
        }
        let Ok(time) = Timespec::try_from(time) else { return };
        if let Err(error) = poll(&mut awaited, Some(&time))
            && error != Errno::INTR
        {
            tracing::warn!(%error, "cannot wait for events");
            std::thread::park_timeout(TAKE_EVERY);
        }
        if awaited.first().is_some_and(|bell| !bell.revents().is_empty()) {
            self.wake.hush();
        }
    }

    /// Takes what the kernel has queued, so that its queue does not run over while files are read.
    pub(crate) fn take_events(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        let mut buffer = [const { MaybeUninit::uninit() }; EVENTS_BYTES];
        let mut queued = Reader::new(inotify, &mut buffer);
        loop {
            match queued.next() {
                Ok(event) => {
                    let flags = event.events();
                    if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                        self.events.rescan = true;
                        continue;
                    }
                    let Some(dir) = self.dirs.get(&event.wd()) else { continue };
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    self.events.take(dir, name, flags);
                    if flags.contains(ReadFlags::IGNORED) {
                        self.dirs.remove(&event.wd());
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    tracing::debug!(%error, "file events interrupted");
                    self.events.rescan = true;
                    break;
                }
            }
        }
        self.events.bound();
    }

    fn exhausted(&mut self, error: Errno) {
        self.metrics.polling.set(1);
        if !self.warned {
            self.warned = true;
            tracing::warn!(%error, "file events are not to be had, polling instead");
        }
    }
}

impl Woken {
    /// An event in a directory, or of itself.
    fn take(&mut self, dir: &Path, name: Option<&OsStr>, flags: ReadFlags) {
        match name {
            Some(name) if flags.contains(ReadFlags::MODIFY) => drop(self.written.insert(dir.join(name))),
            Some(_) if self.changed.contains(dir) => {}
            Some(_) => drop(self.changed.insert(dir.to_owned())),
            // It is gone, or has another name: its parent tells.
            None => drop(dir.parent().map(|parent| self.changed.insert(parent.to_owned()))),
        }
    }

    fn bound(&mut self) {
        if self.written.len() + self.changed.len() > PATHS_MAX {
            self.written.clear();
            self.changed.clear();
            self.rescan = true;
        }
    }
}
