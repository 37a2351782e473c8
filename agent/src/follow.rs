//! The reading thread: which file is read when. Owns all followed paths, without a lock.
//!
//! Files are read in turns of one buffer each, so that a busy one starves nobody. Events say where to read at
//! once; the scan compares every file with what was read of it, and is the truth.

pub(crate) mod budget;
mod finish;
mod lag;
mod learn;
mod paths;
mod turns;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_model::batch::ProducerId;
use heliograph_model::source::SourceId;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Clock;
use tokio::sync::watch as signal;

use crate::discover::Discovery;
use crate::discover::wake::Wake;
use crate::discover::watch::Woken;
use crate::enrich::Enricher;
use crate::gather::{Closed, Gather, Move};
use crate::metrics::Metrics;
use crate::pods::Pods;
use crate::spool::positions::Saved;
use crate::tail::{Progress, Run, Tail};
use crate::tenancy::Tenancy;
use budget::UnlinkedMax;
use lag::Lag;
use learn::End;
use turns::Turns;

/// Bytes of one turn. Bounds how long one file keeps the others waiting, and how far a batch overshoots.
const TURN_BYTES: usize = 256 << 10;

/// How long a batch that is due waits for files that are still to be read: what is read of them goes with it.
const READ_ON: Duration = Duration::from_millis(10);

/// A file to which nobody has written for long is looked at in one scan of so many, where events would tell of it.
const QUIET_TURNS: usize = 4;

/// Reads all files.
pub(crate) struct Follower {
    discovery: Discovery,
    followed: BTreeMap<SourceId, Box<Followed>>,
    by_path: BTreeMap<Arc<Path>, SourceId>,
    /// Which sources have files with this inode; mostly one.
    inodes: HashMap<u64, Vec<SourceId>>,
    /// Positions of sources that are not followed, or not for now.
    saved: BTreeMap<SourceId, Saved>,
    /// What whose files are was last asked of.
    tenancy_version: u64,
    /// Whose turn it is.
    turns: Turns,
    /// Tenants with files, at the last scan.
    tenants: BTreeSet<TenantId>,
    /// Scans so far.
    scans: usize,
    /// Sources in which something is due at a time.
    held: BTreeMap<SourceId, Instant>,
    /// Paths that could not be opened.
    failing: BTreeSet<SourceId>,
    gather: Gather,
    /// What is written while nothing is to be done is read at this time, all at once, and sent then.
    paused_until: Option<Instant>,
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
    /// How long a line may wait for others to be sent with.
    pub flush_after: Duration,
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
    /// Inodes of its files, rising.
    inodes: Vec<u64>,
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
            scans: 0,
            held: BTreeMap::new(),
            failing: BTreeSet::new(),
            gather,
            paused_until: None,
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
            let pause = self.paused_until.filter(|until| now < *until);
            if pause.is_none() && self.gather.pass_on(&self.context.wake)? {
                self.turns()?;
                self.flush_due()?;
            }
            let until = if let Some(pause) = pause {
                pause.min(next_scan)
            } else if !self.gather.pass_on(&self.context.wake)? {
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
            let gathers = pause.is_some() || self.gather.deadline().is_some();
            let woken = self.discovery.wait(until, gathers);
            if woken.told.stop {
                return Ok(());
            }
            if woken.told.finish {
                return self.finish();
            }
            if woken.told.learned {
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
        let is_idle = self.turns.len() == 0 && self.gather.deadline().is_none();
        for path in &woken.written {
            if let Some(id) = self.by_path.get(path.as_path()) {
                self.enqueue(*id);
            }
        }
        if is_idle && self.turns.len() > 0 {
            self.paused_until = Some(now + self.context.flush_after);
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

    /// When records are sent at the latest that are read now. After a pause they have waited already.
    fn due(&self, now: Instant) -> Instant {
        let after = self.context.flush_after;
        self.paused_until.filter(|until| now < *until + after).unwrap_or(now + after)
    }

    /// Sends what is due, once all is read or it cannot wait any longer.
    fn flush_due(&mut self) -> Result<(), Closed> {
        let now = Instant::now();
        let reads_on = self.turns.len() > 0 && !self.gather.is_stuck();
        self.gather.flush_due(now.checked_sub(READ_ON).filter(|_| reads_on).unwrap_or(now))
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
            self.discovery.take_events();
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
        self.gather.add(&tenant, records, moves, self.due(now))
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
        self.scans += 1;
        let by_turns = !everything && !self.discovery.is_polling();
        for (at, (id, followed)) in (self.scans..).zip(&mut self.followed) {
            if followed.tail.is_link() && followed.tail.is_displaced() {
                displaced.push(*id);
            }
            let may_wait = by_turns && at % QUIET_TURNS != 0 && followed.tail.is_quiet(now);
            if !may_wait && followed.tail.has_unread(now) {
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
}

#[cfg(test)]
mod tests;
