//! Which paths are followed: those that are found come, those that are gone for good go.

use std::collections::BTreeSet;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_model::source::SourceId;
use heliograph_model::time::Timestamp;
use litemap::LiteMap;

use super::learn::End;
use super::{Followed, Follower};
use crate::discover::scope::Owner;
use crate::discover::{Listed, Listing};
use crate::enrich::Enricher;
use crate::gather::Move;
use crate::pods::Pods;
use crate::spool::positions::Saved;
use crate::tail::Tail;
use crate::tail::survey::Found;

/// How long a vanished path is remembered whose directory is still there: it may be created again.
const VANISHED_KEEP: Duration = Duration::from_secs(3600);
/// A link where none is allowed.
const ELOOP: i32 = 40;
/// Descriptors are used up, in this process …
const EMFILE: i32 = 24;
/// … or on the machine.
const ENFILE: i32 = 23;

impl Follower {
    /// Paths that were read before, whether or not they are there now.
    pub(super) fn adopt_saved(&mut self, now: Instant) {
        for (id, saved) in std::mem::take(&mut self.saved) {
            match self.discovery.owner_of(&saved.path) {
                Some(owner) => self.follow_path(id, owner, saved, true, now),
                // Nobody's for now: where it is somebody's again, it goes on there.
                None => drop(self.saved.insert(id, saved)),
            }
        }
    }

    pub(super) fn adopt(&mut self, listings: Vec<Listing>, now: Instant) {
        for Listing { dir, files } in listings {
            for Listed { path, owner, rotated } in files {
                match self.by_path.get(path.as_path()).copied() {
                    None if self.is_renamed(&path, &owner) => {}
                    None => {
                        let id = SourceId::of(self.context.producer.as_str(), &path.to_string_lossy());
                        let new =
                            Saved { path: path.clone(), last: Timestamp::MIN, generations: LiteMap::new() };
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
            let from = (Bound::Included(dir.as_path()), Bound::Unbounded);
            let here = self.by_path.range::<Path, _>(from).take_while(|(path, _)| path.starts_with(&dir));
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

    pub(super) fn follow_path(
        &mut self,
        id: SourceId,
        owner: Arc<Owner>,
        mut saved: Saved,
        rotated: bool,
        now: Instant,
    ) {
        let end = End::of_saved(&mut saved, owner.pod_uid.as_deref());
        let Saved { path, last, generations } = saved;
        let path: Arc<Path> = path.into();
        let mut tail = Tail::new(Arc::clone(&path), owner.reach.clone(), owner.form, generations);
        let opened = tail.open(rotated, now);
        let mut enricher = Enricher::new(owner, id, last);
        enricher.describe(&self.context.pods);
        let followed = Followed {
            tail,
            enricher,
            path: Arc::clone(&path),
            queued: false,
            inodes: vec![],
            warned: BTreeSet::new(),
            vanished: None,
            end,
        };
        self.by_path.insert(path, id);
        self.followed.insert(id, Box::new(followed));
        if opened.is_ok_and(|done| done) {
            self.claim(id);
        } else {
            self.reconcile(id, now);
        }
        self.enqueue(id);
    }

    /// Brings a source up to what its directory holds; says whether that worked.
    pub(super) fn reconcile(&mut self, id: SourceId, now: Instant) -> bool {
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
        let inodes: Vec<u64> = followed.tail.inodes().into_iter().collect();
        let before = std::mem::replace(&mut followed.inodes, inodes.clone());
        self.release(id, before.iter().filter(|ino| inodes.binary_search(ino).is_err()));
        for ino in inodes.iter().filter(|ino| before.binary_search(ino).is_err()) {
            // Nearly always the only one: room for four would be most of what is kept of a quiet file here.
            let sources = self.inodes.entry(*ino).or_insert_with(|| Vec::with_capacity(1));
            sources.push(id);
        }
    }

    /// Notes which inodes are a source's no more.
    fn release<'a>(&mut self, id: SourceId, inodes: impl Iterator<Item = &'a u64>) {
        for ino in inodes {
            if let Some(sources) = self.inodes.get_mut(ino) {
                sources.retain(|source| *source != id);
                if sources.is_empty() {
                    self.inodes.remove(ino);
                }
            }
        }
    }

    /// Says once for a file and reason that it cannot be read.
    pub(super) fn warn(&mut self, id: SourceId, error: &io::Error) {
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
    pub(super) fn drop_followed(&mut self, id: SourceId) -> Option<Followed> {
        let followed = self.followed.remove(&id)?;
        self.by_path.remove(&*followed.path);
        self.held.remove(&id);
        self.failing.remove(&id);
        self.release(id, followed.inodes.iter());
        Some(*followed)
    }

    pub(super) fn forget(&mut self, id: SourceId, now: Instant) {
        let Some(followed) = self.drop_followed(id) else { return };
        let (path, last) = (Arc::clone(&followed.path), followed.enricher.last());
        let change = Move { source: followed.enricher.id(), path, last, step: None };
        let tenant = &followed.enricher.owner().tenant;
        if self.gather.add(tenant, vec![], vec![change], now).is_err() {
            tracing::debug!("spool closed: a vanished path stays remembered");
        }
    }
}

impl Followed {
    /// What its deleted files count for.
    pub(super) fn container(&self) -> Arc<Path> {
        match (&self.enricher.owner().source.container, self.path.parent()) {
            (Some(_), Some(dir)) => dir.into(),
            _ => Arc::clone(&self.path),
        }
    }

    /// Whether a vanished path will not come back: its directory is gone, or it has been away for long.
    pub(super) fn may_be_forgotten(&mut self, now: Instant, pods: &Pods) -> bool {
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
