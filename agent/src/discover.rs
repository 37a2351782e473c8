//! Which log files exist, and whose they are.
//!
//! The scan is the truth: it lists each directory whose modification time has changed. Events only say where
//! to look at once. Opens no log file.

mod links;
pub(crate) mod scope;
mod volumes;
pub(crate) mod wake;
pub(crate) mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::config::Config;
use crate::error::Result;
use crate::metrics::Metrics;
use crate::pods::Pods;
use crate::pods::facts::Pod;
use crate::tail::names::rotated_from;
use crate::tenancy::Tenancy;
use scope::{Owner, Scope};
use wake::Wake;
use watch::{Watch, Woken};

/// How long a directory is listed anew after its modification time has changed: two changes may share one.
const UNSETTLED: Duration = Duration::from_secs(2);
/// Deepest directory below a root.
const DEPTH_MAX: usize = 32;
/// Directories that are watched and settled are looked at in one scan of so many: there, the scan only makes good what
/// events that were lost would have told.
const TURNS: u64 = 8;

/// A directory as just listed.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The directory.
    pub dir: PathBuf,
    /// Its log files.
    pub files: Vec<Listed>,
}

/// A log file, as a directory shows it.
#[derive(Debug)]
pub(crate) struct Listed {
    /// The file.
    pub path: PathBuf,
    /// Whose it is.
    pub owner: Arc<Owner>,
    /// Whether files lie beside it that rotation may have made of it.
    pub rotated: bool,
}

/// What is known of all inputs' directories.
#[derive(Debug)]
pub(crate) struct Discovery {
    scopes: Vec<Scope>,
    dirs: HashMap<Arc<Path>, Box<Dir>>,
    watch: Watch,
    /// Scans so far.
    scans: u64,
    /// Directories to look at in every scan: not watched, not settled, or not listed.
    restless: BTreeSet<Arc<Path>>,
    /// Whether the next scan looks at all of them.
    is_due: bool,
}

#[derive(Debug)]
struct Dir {
    /// Which scopes look here, how deep below their base.
    scopes: Vec<Look>,
    changed: Option<SystemTime>,
    /// Device and inode, to notice that it was made anew under its name.
    inode: (u64, u64),
    settled: Instant,
    subdirs: Arc<[Arc<Path>]>,
    /// Whether its changes are told.
    is_watched: bool,
    /// The scan that saw it last.
    scan: u64,
}

#[derive(Debug)]
struct Look {
    scope: usize,
    depth: usize,
    /// The subdirectories in which the scope looks on.
    below: Vec<Arc<Path>>,
}

/// A directory to visit.
struct Step {
    path: Arc<Path>,
    scope: usize,
    depth: usize,
}

/// Why directories are visited.
struct Visit<'a> {
    now: Instant,
    /// Whether those that seem unchanged are listed, too.
    lists_all: bool,
    /// Those listed so far: once is enough, whoever looks there.
    listed: BTreeSet<Arc<Path>>,
    listings: &'a mut Vec<Listing>,
}

impl Discovery {
    /// Checks the inputs. Nothing is listed yet.
    pub(crate) fn new(
        config: &Config,
        tenancy: &Arc<Tenancy>,
        metrics: Metrics,
        wake: Arc<Wake>,
    ) -> Result<Self> {
        let mut scopes: Vec<Scope> = vec![];
        for input in &config.inputs {
            let scope = Scope::new(input, config, tenancy)?;
            // The kubelet's logs and the links to them are the same files.
            if !scopes.iter().any(|s| s.is_same(&scope)) {
                scopes.push(scope);
            }
        }
        Ok(Self {
            scopes,
            dirs: HashMap::new(),
            watch: Watch::new(wake, metrics),
            scans: 0,
            restless: BTreeSet::new(),
            is_due: true,
        })
    }

    /// The same, going by these pods where paths do not say whose a file is.
    pub(crate) fn with_pods(mut self, pods: &Arc<Pods>) -> Self {
        self.scopes.iter_mut().for_each(|scope| scope.ask(pods));
        self
    }

    /// As where inotify is exhausted from the start.
    #[cfg(test)]
    pub(crate) fn without_events(&mut self, metrics: Metrics) {
        self.watch = Watch::without_events(self.watch.wake(), metrics);
    }

    /// Whose a path is, were it there.
    pub(crate) fn owner_of(&self, path: &Path) -> Option<Arc<Owner>> {
        self.scopes.iter().find_map(|s| s.owner(path)).map(Arc::new)
    }

    /// The log of an instance of a container, whether or not it is there, and whose it is.
    pub(crate) fn container_log(
        &self,
        pod: &Pod,
        container: &str,
        number: u32,
    ) -> Option<(PathBuf, Arc<Owner>)> {
        let paths = self.scopes.iter().filter_map(|s| s.container_log(pod, container, number));
        paths.into_iter().find_map(|path| self.owner_of(&path).map(|owner| (path, owner)))
    }

    /// Sleeps until something happens, or the time comes: see [`Watch::wait`].
    pub(crate) fn wait(&mut self, until: Instant, gathers: bool) -> Woken {
        self.watch.wait(until, gathers)
    }

    /// Keeps the kernel's queue of events short while there is much to read.
    pub(crate) fn take_events(&mut self) {
        self.watch.take_events();
    }

    /// Whether some directories' events are not to be had.
    pub(crate) fn is_polling(&self) -> bool {
        self.watch.is_polling()
    }

    /// Lets the next scan list every directory: whose their files are may have changed.
    pub(crate) fn forget_listings(&mut self) {
        self.dirs.values_mut().for_each(|dir| dir.changed = None);
        self.is_due = true;
    }

    /// Lists every directory that has changed since it was last listed. Those that are watched and settled are
    /// looked at now and then, unless `everything` is to be compared.
    pub(crate) fn scan(&mut self, now: Instant, everything: bool) -> Vec<Listing> {
        let mut listings = vec![];
        self.watch.retry();
        self.learn_pods();
        self.scans += 1;
        let base = |(scope, rules): (usize, &Scope)| Step { path: rules.base().into(), scope, depth: 0 };
        let mut todo: Vec<_> = self.scopes.iter().enumerate().map(base).collect();
        let restless = std::mem::take(&mut self.restless);
        let mut visit = Visit { now, lists_all: false, listed: BTreeSet::new(), listings: &mut listings };
        let is_due = std::mem::take(&mut self.is_due) || self.scans.is_multiple_of(TURNS);
        if !everything && !is_due {
            todo.extend(restless.iter().flat_map(|path| self.steps(path)));
            self.visit_new(todo, &mut visit);
            return listings;
        }
        while let Some(step) = todo.pop() {
            self.visit(step, &mut visit, &mut todo);
        }
        let gone = self.dirs.iter().filter(|(_, dir)| dir.scan != self.scans);
        let gone: Vec<_> = gone.map(|(path, _)| Arc::clone(path)).collect();
        gone.iter().for_each(|dir| self.remove(dir, &mut listings));
        listings
    }

    /// Where the pod of a volume has become known, its directory is listed anew.
    fn learn_pods(&mut self) {
        #[expect(
            clippy::disallowed_methods,
            reason = "compared with the times of directories, not a record's"
        )]
        let now = SystemTime::now();
        for scope in &mut self.scopes {
            if scope.refresh(now)
                && let Some(dir) = self.dirs.get_mut(scope.base())
            {
                dir.changed = None;
            }
        }
    }

    /// Lists these directories, and new ones below them.
    pub(crate) fn look(&mut self, paths: &BTreeSet<PathBuf>, now: Instant) -> Vec<Listing> {
        let mut listings = vec![];
        for path in paths {
            let todo = self.steps(path);
            let listed = BTreeSet::new();
            self.visit_new(todo, &mut Visit { now, lists_all: true, listed, listings: &mut listings });
        }
        listings
    }

    /// The visits to a directory, one for each scope that looks there.
    fn steps(&self, path: &Path) -> Vec<Step> {
        let Some((path, dir)) = self.dirs.get_key_value(path) else { return vec![] };
        let step = |look: &Look| Step { path: Arc::clone(path), scope: look.scope, depth: look.depth };
        dir.scopes.iter().map(step).collect()
    }

    /// Visits directories, and below them what was not there before.
    fn visit_new(&mut self, mut todo: Vec<Step>, visit: &mut Visit<'_>) {
        while let Some(step) = todo.pop() {
            let before = self.dirs.get(&step.path).map(|dir| Arc::clone(&dir.subdirs)).unwrap_or_default();
            let (listings, mut below) = (visit.listings.len(), vec![]);
            self.visit(step, visit, &mut below);
            // What was not listed has nothing new. There may be thousands below.
            if visit.listings.len() > listings {
                let known: HashSet<&Arc<Path>> = before.iter().collect();
                let is_new = |step: &Step| !known.contains(&step.path) || !self.dirs.contains_key(&step.path);
                todo.extend(below.into_iter().filter(is_new));
            }
        }
    }

    /// Lists a directory if it may have changed; adds the directories to visit below it.
    fn visit(&mut self, step: Step, visit: &mut Visit<'_>, todo: &mut Vec<Step>) {
        let path = Arc::clone(&step.path);
        self.visit_dir(step, visit, todo);
        if self.dirs.get(&path).is_some_and(|dir| dir.is_restless(visit.now)) {
            self.restless.insert(path);
        }
    }

    fn visit_dir(&mut self, step: Step, visit: &mut Visit<'_>, todo: &mut Vec<Step>) {
        let Step { path, scope, depth } = step;
        let (now, scans) = (visit.now, self.scans);
        if let Some(dir) = self.dirs.get_mut(&path) {
            dir.scan = scans;
        }
        let looked = std::fs::metadata(&path).and_then(|m| Ok((m.modified()?, (m.dev(), m.ino()))));
        let Ok((changed, inode)) = looked else {
            if self.dirs.contains_key(&path) {
                self.remove(&path, visit.listings);
            }
            return;
        };
        let dir = self.dirs.entry(Arc::clone(&path)).or_insert_with(|| {
            Box::new(Dir {
                // Nearly always the only one.
                scopes: Vec::with_capacity(1),
                changed: None,
                inode,
                settled: now,
                subdirs: Arc::default(),
                is_watched: self.watch.add(&path),
                scan: scans,
            })
        });
        if std::mem::replace(&mut dir.inode, inode) != inode {
            // A watch is on the directory, not on its name.
            self.watch.remove(&path);
            dir.is_watched = self.watch.add(&path);
        }
        let is_new_scope = !dir.scopes.iter().any(|look| (look.scope, look.depth) == (scope, depth));
        if is_new_scope {
            dir.scopes.push(Look { scope, depth, below: vec![] });
        }
        if dir.changed != Some(changed) {
            dir.changed = Some(changed);
            dir.settled = now + UNSETTLED;
        } else if !is_new_scope && !visit.lists_all && dir.settled <= now {
            dir.descend(scope, depth, todo);
            return;
        }
        let Some(rules) = self.scopes.get(scope) else { return };
        if visit.listed.insert(Arc::clone(&path)) || is_new_scope {
            match list(&path, rules) {
                Ok((subdirs, names)) => {
                    dir.subdirs = subdirs.into();
                    for look in &mut dir.scopes {
                        let rules = self.scopes.get(look.scope);
                        let deeper = |path: &&Arc<Path>| {
                            look.depth < DEPTH_MAX
                                && rules.is_some_and(|rules| rules.descends(path, look.depth))
                        };
                        look.below = dir.subdirs.iter().filter(deeper).cloned().collect();
                        look.below.shrink_to_fit();
                    }
                    let files = self.owned(&names);
                    visit.listings.push(Listing { dir: path.to_path_buf(), files });
                }
                Err(error) => {
                    dir.changed = None;
                    tracing::debug!(path = %path.display(), %error, "directory not listed");
                }
            }
        }
        if let Some(dir) = self.dirs.get(&path) {
            dir.descend(scope, depth, todo);
        }
    }

    /// A directory is gone, or not ours to see any more.
    fn remove(&mut self, dir: &Path, listings: &mut Vec<Listing>) {
        self.dirs.remove(dir);
        self.watch.remove(dir);
        listings.push(Listing { dir: dir.to_owned(), files: vec![] });
    }

    /// The files among `names` that an input owns, without those that rotation made of another one.
    fn owned(&self, names: &[PathBuf]) -> Vec<Listed> {
        let mut owners: BTreeMap<&OsStr, (&PathBuf, Arc<Owner>)> = BTreeMap::new();
        for path in names {
            if let (Some(name), Some(owner)) = (path.file_name(), self.owner_of(path)) {
                owners.insert(name, (path, owner));
            }
        }
        let mut rotated = BTreeSet::new();
        for name in names.iter().filter_map(|p| p.file_name()) {
            for base in rotated_from(name).into_iter().filter(|b| owners.contains_key(b)) {
                rotated.insert(base);
                rotated.insert(name);
            }
        }
        let made_by_rotation = |name: &OsStr| rotated_from(name).iter().any(|b| owners.contains_key(b));
        let own = owners.iter().filter(|(name, _)| !made_by_rotation(name));
        own.map(|(name, (path, owner))| Listed {
            path: (*path).clone(),
            owner: Arc::clone(owner),
            rotated: rotated.contains(name),
        })
        .collect()
    }
}

impl Dir {
    /// Whether it must be looked at soon again: its changes are not told, or two may share a time.
    fn is_restless(&self, now: Instant) -> bool {
        !self.is_watched || self.changed.is_none() || self.settled > now
    }

    /// Adds the directories below that a scope visits.
    fn descend(&self, scope: usize, depth: usize, todo: &mut Vec<Step>) {
        let look = self.scopes.iter().find(|look| (look.scope, look.depth) == (scope, depth));
        let step = |path: &Arc<Path>| Step { path: Arc::clone(path), scope, depth: depth + 1 };
        todo.extend(look.into_iter().flat_map(|look| &look.below).map(step));
    }
}

/// Directories and files of a directory. Links count as what they lead to where the scope allows links.
fn list(path: &Path, rules: &Scope) -> io::Result<(Vec<Arc<Path>>, Vec<PathBuf>)> {
    let (mut dirs, mut files) = (vec![], vec![]);
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let mut kind = entry.file_type()?;
        if kind.is_symlink() && rules.follows_links() {
            let Ok(meta) = std::fs::metadata(entry.path()) else { continue };
            kind = meta.file_type();
        }
        if kind.is_dir() {
            dirs.push(entry.path().into());
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok((dirs, files))
}

#[cfg(test)]
mod tests;
