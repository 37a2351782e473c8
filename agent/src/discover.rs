//! Which log files exist, and whose they are.
//!
//! The scan is the truth: it lists each directory whose modification time has changed. Events only say where
//! to look at once. Opens no log file.

pub(crate) mod scope;
pub(crate) mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::config::Config;
use crate::error::Result;
use crate::metrics::Metrics;
use crate::tail::survey::rotated_from;
use scope::{Owner, Scope};
use watch::{Wake, Watch};

/// How long a directory is listed anew after its modification time has changed: two changes may share one.
const UNSETTLED: Duration = Duration::from_secs(2);
/// Deepest directory below a root.
const DEPTH_MAX: usize = 32;

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
    dirs: BTreeMap<PathBuf, Dir>,
    watch: Watch,
}

#[derive(Debug)]
struct Dir {
    /// Which scopes look here, how deep below their base.
    scopes: Vec<(usize, usize)>,
    changed: Option<SystemTime>,
    /// Device and inode, to notice that it was made anew under its name.
    inode: (u64, u64),
    settled: Instant,
    subdirs: Vec<PathBuf>,
}

impl Discovery {
    /// Checks the inputs. Nothing is listed yet.
    pub(crate) fn new(config: &Config, metrics: Metrics, wake: Arc<Wake>) -> Result<Self> {
        let scopes = config.inputs.iter().map(|i| Scope::new(i, config)).collect::<Result<_>>()?;
        Ok(Self { scopes, dirs: BTreeMap::new(), watch: Watch::new(wake, metrics) })
    }

    /// Whose a path is, were it there.
    pub(crate) fn owner_of(&self, path: &Path) -> Option<Arc<Owner>> {
        self.scopes.iter().find_map(|s| s.owner(path)).map(Arc::new)
    }

    /// Lists every directory that has changed since it was last listed.
    pub(crate) fn scan(&mut self, now: Instant) -> Vec<Listing> {
        let mut listings = vec![];
        let bases: Vec<_> = self.scopes.iter().map(|s| s.base().to_owned()).collect();
        let mut todo: Vec<_> = bases.into_iter().enumerate().map(|(at, base)| (base, at, 0)).collect();
        let mut seen = BTreeSet::new();
        while let Some((path, scope, depth)) = todo.pop() {
            let first = seen.insert(path.clone());
            let subdirs = self.visit(&path, scope, depth, now, first, false, &mut listings);
            todo.extend(subdirs.into_iter().map(|dir| (dir, scope, depth + 1)));
        }
        let gone: Vec<_> = self.dirs.keys().filter(|path| !seen.contains(*path)).cloned().collect();
        for dir in gone {
            self.remove(dir, &mut listings);
        }
        listings
    }

    /// Lists these directories, and new ones below them.
    pub(crate) fn look(&mut self, paths: &BTreeSet<PathBuf>, now: Instant) -> Vec<Listing> {
        let mut listings = vec![];
        for path in paths {
            let Some(dir) = self.dirs.get(path) else { continue };
            let mut todo: Vec<_> = dir.scopes.iter().map(|(s, d)| (path.clone(), *s, *d)).collect();
            let mut forced = BTreeSet::new();
            while let Some((path, scope, depth)) = todo.pop() {
                let first = forced.insert(path.clone());
                let known: BTreeSet<_> =
                    self.dirs.get(&path).map(|d| d.subdirs.iter().cloned().collect()).unwrap_or_default();
                let subdirs = self.visit(&path, scope, depth, now, first, true, &mut listings);
                let new = subdirs.into_iter().filter(|d| !known.contains(d) || !self.dirs.contains_key(d));
                todo.extend(new.map(|dir| (dir, scope, depth + 1)).collect::<Vec<_>>());
            }
        }
        listings
    }

    /// Lists a directory if it may have changed (at most once a scan: `first`); gives the directories to
    /// visit below it.
    #[expect(clippy::too_many_arguments, reason = "the state of one step of a walk")]
    fn visit(
        &mut self,
        path: &Path,
        scope: usize,
        depth: usize,
        now: Instant,
        first: bool,
        force: bool,
        listings: &mut Vec<Listing>,
    ) -> Vec<PathBuf> {
        let Some(rules) = self.scopes.get(scope) else { return vec![] };
        let looked = std::fs::metadata(path).and_then(|m| Ok((m.modified()?, (m.dev(), m.ino()))));
        let Ok((changed, inode)) = looked else {
            if self.dirs.contains_key(path) {
                self.remove(path.to_owned(), listings);
            }
            return vec![];
        };
        let dir = self.dirs.entry(path.to_owned()).or_insert_with(|| {
            self.watch.add(path);
            Dir { scopes: vec![], changed: None, inode, settled: now, subdirs: vec![] }
        });
        if std::mem::replace(&mut dir.inode, inode) != inode {
            // A watch is on the directory, not on its name.
            self.watch.remove(path);
            self.watch.add(path);
        }
        let new_scope = !dir.scopes.contains(&(scope, depth));
        if new_scope {
            dir.scopes.push((scope, depth));
        }
        if dir.changed != Some(changed) {
            dir.changed = Some(changed);
            dir.settled = now + UNSETTLED;
        } else if !new_scope && !force && dir.settled <= now {
            return descend(rules, &dir.subdirs, depth);
        }
        if first || new_scope {
            match list(path, rules) {
                Ok((subdirs, names)) => {
                    dir.subdirs = subdirs;
                    let files = self.owned(&names);
                    listings.push(Listing { dir: path.to_owned(), files });
                }
                Err(error) => {
                    dir.changed = None;
                    tracing::debug!(path = %path.display(), %error, "directory not listed");
                }
            }
        }
        let subdirs = self.dirs.get(path).map(|d| d.subdirs.clone()).unwrap_or_default();
        self.scopes.get(scope).map(|rules| descend(rules, &subdirs, depth)).unwrap_or_default()
    }

    /// A directory is gone, or not ours to see any more.
    fn remove(&mut self, dir: PathBuf, listings: &mut Vec<Listing>) {
        self.dirs.remove(&dir);
        self.watch.remove(&dir);
        listings.push(Listing { dir, files: vec![] });
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

/// The subdirectories in which a scope looks on.
fn descend(rules: &Scope, subdirs: &[PathBuf], depth: usize) -> Vec<PathBuf> {
    let deeper = |d: &&PathBuf| depth < DEPTH_MAX && rules.descends(d, depth);
    subdirs.iter().filter(deeper).cloned().collect()
}

/// Directories and files of a directory. Links count as what they lead to where the scope allows links.
fn list(path: &Path, rules: &Scope) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut dirs, mut files) = (vec![], vec![]);
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let mut kind = entry.file_type()?;
        if kind.is_symlink() && rules.follows_links() {
            let Ok(meta) = std::fs::metadata(entry.path()) else { continue };
            kind = meta.file_type();
        }
        if kind.is_dir() {
            dirs.push(entry.path());
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok((dirs, files))
}

#[cfg(test)]
mod tests;
