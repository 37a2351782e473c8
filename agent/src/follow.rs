//! The reading thread: which file is read when. Owns all followed paths, without a lock.
//!
//! Files are read in turns of one buffer each, so that a busy one starves nobody. Events say where to read at
//! once; the scan compares every file with what was read of it, and is the truth.

pub(crate) mod budget;
mod finish;
mod lag;
mod learn;
mod turns;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_model::batch::ProducerId;
use heliograph_model::source::SourceId;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{Clock, Timestamp};
use tokio::sync::watch as signal;

use crate::discover::scope::Owner;
use crate::discover::watch::{Wake, Woken};
use crate::discover::{Discovery, Listed, Listing};
use crate::enrich::Enricher;
use crate::gather::{Closed, Gather, Move};
use crate::metrics::Metrics;
use crate::pods::Pods;
use crate::spool::positions::Saved;
use crate::tail::survey::Found;
use crate::tail::{Progress, Run, Tail};
use crate::tenancy::Tenancy;
use budget::UnlinkedMax;
use lag::Lag;
use learn::End;
use turns::Turns;

/// Bytes of one turn. Bounds how long one file keeps the others waiting, and how far a batch overshoots.
const TURN_BYTES: usize = 256 << 10;
/// How long a vanished path is remembered whose directory is still there: it may be created again.
const VANISHED_KEEP: Duration = Duration::from_secs(3600);

/// Reads all files.
pub(crate) struct Follower {
    discovery: Discovery,
    followed: BTreeMap<SourceId, Followed>,
    by_path: BTreeMap<PathBuf, SourceId>,
    /// Which sources have files with this inode.
    inodes: HashMap<u64, BTreeSet<SourceId>>,
    /// Positions of sources that are not followed, or not for now.
    saved: BTreeMap<SourceId, Saved>,
    /// What whose files are was last asked of.
    tenancy_version: u64,
    /// Whose turn it is.
    turns: Turns,
    /// Tenants with files, at the last scan.
    tenants: BTreeSet<TenantId>,
    /// Sources in which something is due at a time.
    held: BTreeMap<SourceId, Instant>,
    /// Paths that could not be opened.
    failing: BTreeSet<SourceId>,
    gather: Gather,
    buffer: Vec<u8>,
    context: Context,
}

/// What the reading thread is given.
pub(crate) struct Context {
    /// Part of the sources' names.
    pub producer: ProducerId,
    /// The present, for lines without a time.
    pub clock: Arc<dyn Clock>,
    /// Where it sleeps.
    pub wake: Arc<Wake>,
    /// How often it scans.
    pub scan_every: Duration,
    /// Most bytes a second that are read of a tenant's files; none without a bound.
    pub tenant_bytes_per_second: Option<u64>,
    /// How much of the disk deleted files may hold.
    pub unlinked_max: UnlinkedMax,
    /// What is known of pods.
    pub pods: Arc<Pods>,
    /// Whose the namespaces' logs are.
    pub tenancy: Arc<Tenancy>,
    /// Its figures.
    pub metrics: Metrics,
}

struct Followed {
    tail: Tail,
    enricher: Enricher,
    path: Arc<Path>,
    queued: bool,
    inodes: BTreeSet<u64>,
    warned: BTreeSet<&'static str>,
    vanished: Option<Instant>,
    end: End,
}

impl Follower {
    /// Resumes from the saved positions.
    pub(crate) fn new(
        discovery: Discovery,
        saved: BTreeMap<SourceId, Saved>,
        gather: Gather,
        context: Context,
    ) -> Self {
        Self {
            discovery,
            followed: BTreeMap::new(),
            by_path: BTreeMap::new(),
            inodes: HashMap::new(),
            saved,
            tenancy_version: context.tenancy.version(),
            turns: Turns::new(TURN_BYTES, context.tenant_bytes_per_second),
            tenants: BTreeSet::new(),
            held: BTreeMap::new(),
            failing: BTreeSet::new(),
            gather,
            buffer: vec![0; TURN_BYTES],
            context,
        }
    }

    /// Reads until stopped, or until the spool takes nothing any more.
    pub(crate) fn run(mut self, ready: &signal::Sender<bool>) {
        if self.follow(ready).is_ok() && self.gather.flush_all().is_err() {
            tracing::debug!("spool closed before the last batch: its lines will be read again");
        }
    }

    fn follow(&mut self, ready: &signal::Sender<bool>) -> Result<(), Closed> {
        self.adopt_saved(Instant::now());
        self.learn(Instant::now())?;
        let mut next_scan = Instant::now();
        let mut everything = false;
        loop {
            let now = Instant::now();
            if next_scan <= now {
                self.scan(now, std::mem::take(&mut everything));
                self.tell_ends(now)?;
                ready.send_replace(true);
                next_scan = Instant::now() + self.context.scan_every;
            }
            if self.gather.pass_on(&self.context.wake)? {
                self.turns()?;
                self.gather.flush_due(Instant::now())?;
            }
            let until = if !self.gather.pass_on(&self.context.wake)? {
                // Reading waits. Looking for new files does not: they may be gone before there is room.
                next_scan
            } else if self.turns.len() == 0 {
                let due = self.held.values().copied().min();
                let times = [self.gather.deadline(), due, self.turns.deadline()];
                times.into_iter().flatten().fold(next_scan, Instant::min)
            } else {
                Instant::now()
            };
            // What is written while a batch waits is read when that is due: it goes with it.
            let woken = self.context.wake.wait(until, self.gather.deadline().is_some());
            if woken.stop {
                return Ok(());
            }
            if woken.finish {
                return self.finish();
            }
            if woken.learned {
                let version = self.tenancy_version;
                self.learn(Instant::now())?;
                if version != self.tenancy_version {
                    next_scan = Instant::now();
                }
            }
            if woken.rescan {
                self.context.metrics.rescans.inc();
                (next_scan, everything) = (Instant::now(), true);
            }
            self.look(woken);
        }
    }

    /// What events told.
    fn look(&mut self, woken: Woken) {
        let now = Instant::now();
        for path in &woken.written {
            if let Some(id) = self.by_path.get(path) {
                self.enqueue(*id);
            }
        }
        if !woken.changed.is_empty() {
            let listings = self.discovery.look(&woken.changed, now);
            self.adopt(listings, now);
        }
        let due: Vec<_> = self.held.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for id in due {
            self.held.remove(&id);
            self.enqueue(id);
        }
    }

    fn enqueue(&mut self, id: SourceId) {
        if let Some(followed) = self.followed.get_mut(&id)
            && !std::mem::replace(&mut followed.queued, true)
        {
            self.turns.push(&followed.enricher.owner().tenant, id, Instant::now());
        }
    }

    /// One turn for each file that has something to read.
    fn turns(&mut self) -> Result<(), Closed> {
        // One at least: of those that waited for their quota, some may read again.
        for _ in 0..self.turns.len().max(1) {
            if self.gather.is_stuck() {
                break;
            }
            let Some(id) = self.turns.next(Instant::now()) else { break };
            self.turn(id)?;
        }
        Ok(())
    }

    fn turn(&mut self, id: SourceId) -> Result<(), Closed> {
        let now = Instant::now();
        let Some(followed) = self.followed.get_mut(&id) else { return Ok(()) };
        followed.queued = false;
        let progress = followed.tail.turn(&mut self.buffer, now);
        let read = if let Ok(Progress::Read(n)) = &progress { *n } else { 0 };
        self.turns.spent(&followed.enricher.owner().tenant, read);
        let again = match &progress {
            Ok(Progress::Read(_)) => {
                self.context.metrics.bytes.inc_by(read as u64);
                true
            }
            Ok(Progress::Idle) | Err(_) => false,
            Ok(Progress::Displaced) => self.reconcile(id, now),
        };
        if let Err(error) = progress {
            self.warn(id, &error);
        }
        if again {
            self.enqueue(id);
        }
        self.let_go(id, now)?;
        match self.followed.get(&id).and_then(|f| f.tail.deadline()) {
            Some(due) if !again => drop(self.held.insert(id, due.max(now))),
            _ => drop(self.held.remove(&id)),
        }
        Ok(())
    }

    /// Passes on what a source has finished.
    fn let_go(&mut self, id: SourceId, now: Instant) -> Result<(), Closed> {
        let Some(followed) = self.followed.get_mut(&id) else { return Ok(()) };
        let metrics = &self.context.metrics;
        let tally = followed.tail.tally();
        metrics.lines.inc_by(tally.lines);
        metrics.cut_lines.inc_by(tally.cut);
        metrics.replaced.inc_by(tally.replaced);
        metrics.empty_lines.inc_by(tally.empty);
        metrics.odd_lines.inc_by(tally.odd);
        let Some(Run { events, steps }) = followed.tail.take_run() else { return Ok(()) };
        let clock_now = self.context.clock.now();
        let records: Vec<_> =
            events.into_iter().map(|event| followed.enricher.record(event, clock_now)).collect();
        metrics.records.inc_by(records.len() as u64);
        let last = followed.enricher.last();
        let change = |step| Move { source: id, path: Arc::clone(&followed.path), last, step: Some(step) };
        let moves = steps.into_iter().map(change).collect();
        let tenant = followed.enricher.owner().tenant.clone();
        self.gather.add(&tenant, records, moves, now)
    }

    /// Compares what there is with what was read; directories that are watched by turns, unless `everything`.
    fn scan(&mut self, now: Instant, everything: bool) {
        let listings = self.discovery.scan(now, everything);
        self.adopt(listings, now);
        for id in std::mem::take(&mut self.failing) {
            self.reconcile(id, now);
        }
        let (mut unread, mut displaced, mut over) = (vec![], vec![], vec![]);
        let (mut lag, mut open) = (Lag::default(), 0);
        let clock_now = self.context.clock.now();
        let mut tenants = BTreeSet::new();
        for (id, followed) in &mut self.followed {
            if followed.tail.is_link() && followed.tail.is_displaced() {
                displaced.push(*id);
            }
            if followed.tail.has_unread(now) {
                let (tenant, last) = (&followed.enricher.owner().tenant, followed.enricher.last());
                lag.add(tenant, followed.tail.lag_bytes(), last, clock_now);
                if !followed.queued {
                    unread.push(*id);
                }
            }
            open += followed.tail.open_count();
            if !tenants.contains(&followed.enricher.owner().tenant) {
                tenants.insert(followed.enricher.owner().tenant.clone());
            }
            self.context.metrics.lost_rests.inc_by(followed.tail.take_lost_rests());
            if !followed.tail.is_over() {
                followed.vanished = None;
            } else if followed.may_be_forgotten(now, &self.context.pods) {
                over.push(*id);
            }
        }
        for id in displaced {
            self.reconcile(id, now);
            self.enqueue(id);
        }
        self.context.metrics.reconcile_repairs.inc_by(unread.len() as u64);
        unread.into_iter().for_each(|id| self.enqueue(id));
        over.into_iter().for_each(|id| self.forget(id, now));
        self.keep_within_budget(now);
        let metrics = &self.context.metrics;
        lag.show(&tenants, metrics);
        self.tenants.difference(&tenants).for_each(|tenant| Lag::end(tenant, metrics));
        self.tenants = tenants;
        metrics.throttled_tenants.set(i64::try_from(self.turns.parked()).unwrap_or(i64::MAX));
        self.turns.tidy(now);
        metrics.open_files.set(i64::try_from(open).unwrap_or(i64::MAX));
        metrics.followed_files.set(i64::try_from(self.followed.len()).unwrap_or(i64::MAX));
    }

    /// Paths that were read before, whether or not they are there now.
    fn adopt_saved(&mut self, now: Instant) {
        for (id, saved) in std::mem::take(&mut self.saved) {
            match self.discovery.owner_of(&saved.path) {
                Some(owner) => self.follow_path(id, owner, saved, true, now),
                // Nobody's for now: where it is somebody's again, it goes on there.
                None => drop(self.saved.insert(id, saved)),
            }
        }
    }

    fn adopt(&mut self, listings: Vec<Listing>, now: Instant) {
        for Listing { dir, files } in listings {
            for Listed { path, owner, rotated } in files {
                match self.by_path.get(&path).copied() {
                    None if self.is_renamed(&path, &owner) => {}
                    None => {
                        let id = SourceId::of(self.context.producer.as_str(), &path.to_string_lossy());
                        let new =
                            Saved { path: path.clone(), last: Timestamp::MIN, generations: BTreeMap::new() };
                        let saved = self.saved.remove(&id).unwrap_or(new);
                        self.follow_path(id, owner, saved, rotated, now);
                    }
                    Some(id) => {
                        let surveyed = self.followed.get(&id).is_none_or(|f| f.tail.is_surveyed());
                        if rotated && !surveyed {
                            self.reconcile(id, now);
                            self.enqueue(id);
                        }
                    }
                }
            }
            let here = self.by_path.range(dir.clone()..).take_while(|(path, _)| path.starts_with(&dir));
            let here: Vec<_> = here.filter(|(p, _)| p.parent() == Some(&dir)).map(|(_, id)| *id).collect();
            for id in here {
                if self.followed.get(&id).is_some_and(|f| f.tail.wants_look()) {
                    self.reconcile(id, now);
                    self.enqueue(id);
                }
            }
        }
    }

    /// Whether the path names a file that another source reads or has read: then it was only renamed.
    fn is_renamed(&self, path: &Path, owner: &Owner) -> bool {
        let Ok(meta) = owner.reach.look(path) else { return false };
        let Some(sources) = self.inodes.get(&std::os::unix::fs::MetadataExt::ino(&meta)) else {
            return false;
        };
        let Ok(found) = Found::open(&owner.reach, path, true) else { return false };
        let others = sources.iter().filter_map(|id| self.followed.get(id));
        others.into_iter().any(|f| f.tail.has(&found))
    }

    fn follow_path(
        &mut self,
        id: SourceId,
        owner: Arc<Owner>,
        mut saved: Saved,
        rotated: bool,
        now: Instant,
    ) {
        let end = End::of_saved(&mut saved, owner.pod_uid.as_deref());
        let Saved { path, last, generations } = saved;
        let mut tail = Tail::new(path.clone(), owner.reach.clone(), owner.form, generations);
        let opened = tail.open(rotated, now);
        let mut enricher = Enricher::new(owner, id, last);
        enricher.describe(&self.context.pods);
        let followed = Followed {
            tail,
            enricher,
            path: path.as_path().into(),
            queued: false,
            inodes: BTreeSet::new(),
            warned: BTreeSet::new(),
            vanished: None,
            end,
        };
        self.by_path.insert(path, id);
        self.followed.insert(id, followed);
        if opened.is_ok_and(|done| done) {
            self.claim(id);
        } else {
            self.reconcile(id, now);
        }
        self.enqueue(id);
    }

    /// Brings a source up to what its directory holds; says whether that worked.
    fn reconcile(&mut self, id: SourceId, now: Instant) -> bool {
        let Some(mut followed) = self.followed.remove(&id) else { return false };
        let foreign = |found: &Found| {
            let sources = self.inodes.get(&found.identity.ino);
            let others = sources.into_iter().flatten().filter_map(|other| self.followed.get(other));
            others.into_iter().any(|f| f.tail.has(found))
        };
        let done = followed.tail.reconcile(now, &foreign);
        self.followed.insert(id, followed);
        self.claim(id);
        match done {
            Ok(()) => true,
            Err(error) => {
                self.warn(id, &error);
                self.failing.insert(id);
                false
            }
        }
    }

    /// Notes which inodes are a source's.
    fn claim(&mut self, id: SourceId) {
        let Some(followed) = self.followed.get_mut(&id) else { return };
        let inodes = followed.tail.inodes();
        let before = std::mem::replace(&mut followed.inodes, inodes.clone());
        for ino in before.difference(&inodes) {
            if let Some(sources) = self.inodes.get_mut(ino) {
                sources.remove(&id);
                if sources.is_empty() {
                    self.inodes.remove(ino);
                }
            }
        }
        for ino in inodes {
            self.inodes.entry(ino).or_default().insert(id);
        }
    }

    /// Says once for a file and reason that it cannot be read.
    fn warn(&mut self, id: SourceId, error: &io::Error) {
        let reason = match error.kind() {
            io::ErrorKind::PermissionDenied => "denied",
            io::ErrorKind::InvalidInput => "not_regular",
            io::ErrorKind::NotFound => return,
            _ if error.raw_os_error() == Some(ELOOP) => "not_regular",
            _ if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => "too_many_open",
            _ => "other",
        };
        if let Some(followed) = self.followed.get_mut(&id)
            && followed.warned.insert(reason)
        {
            self.context.metrics.unreadable.with_label_values(&[reason]).inc();
            let path = followed.path.display();
            tracing::warn!(%path, reason, %error, "file cannot be followed, the others go on");
        }
    }

    /// Takes a source out of all that is kept of it here.
    fn drop_followed(&mut self, id: SourceId) -> Option<Followed> {
        let followed = self.followed.remove(&id)?;
        self.by_path.remove(&*followed.path);
        self.held.remove(&id);
        self.failing.remove(&id);
        for ino in &followed.inodes {
            if let Some(sources) = self.inodes.get_mut(ino) {
                sources.remove(&id);
            }
        }
        self.inodes.retain(|_, sources| !sources.is_empty());
        Some(followed)
    }

    fn forget(&mut self, id: SourceId, now: Instant) {
        let Some(followed) = self.drop_followed(id) else { return };
        let (path, last) = (Arc::clone(&followed.path), followed.enricher.last());
        let change = Move { source: followed.enricher.id(), path, last, step: None };
        let tenant = &followed.enricher.owner().tenant;
        if self.gather.add(tenant, vec![], vec![change], now).is_err() {
            tracing::debug!("spool closed: a vanished path stays remembered");
        }
    }
}

/// A link where none is allowed.
const ELOOP: i32 = 40;
/// Descriptors are used up, in this process …
const EMFILE: i32 = 24;
/// … or on the machine.
const ENFILE: i32 = 23;

impl Followed {
    /// What its deleted files count for.
    fn container(&self) -> Arc<Path> {
        match (&self.enricher.owner().source.container, self.path.parent()) {
            (Some(_), Some(dir)) => dir.into(),
            _ => Arc::clone(&self.path),
        }
    }

    /// Whether a vanished path will not come back: its directory is gone, or it has been away for long.
    fn may_be_forgotten(&mut self, now: Instant, pods: &Pods) -> bool {
        let gone = |path: &Path| std::fs::symlink_metadata(path).is_err_and(|e| is_gone(&e));
        if !gone(&self.path) {
            return false;
        }
        let since = *self.vanished.get_or_insert(now);
        let lost = self.path.parent().is_some_and(gone) || since + VANISHED_KEEP <= now;
        lost && self.end.may_be_forgotten(pods, now.saturating_duration_since(since))
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests;
