//! What the reading thread makes of news about pods and namespaces: better records, other owners, and the ends of
//! containers as the last records of their logs.
//!
//! That an end was told is saved as a position of its log, in the same entry of the spool as the record itself. It
//! is remembered for as long as it may be offered again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_model::source::SourceId;
use heliograph_model::time::Timestamp;
use litemap::LiteMap;

use super::{Followed, Follower};
use crate::gather::{Closed, Move};
use crate::pods::Pods;
use crate::pods::facts::{ContainerEnd, Pod};
use crate::spool::positions::Saved;
use crate::tail::identity::FileIdentity;
use crate::tail::{Known, Step};

/// The number under which it is saved that an end was told: no file of a path ever has it.
const TOLD: u32 = u32::MAX;
/// How long after an end is known its log is given, at the least, for its last lines.
const LAST_LINES_WAIT: Duration = Duration::from_millis(500);

/// How long a vanished log's told end is remembered at the most: if not all pods can be listed, nobody says when it
/// is enough.
const TOLD_KEEP: Duration = Duration::from_secs(24 * 3600);

/// What is known of the end of the container whose log a source is.
#[derive(Debug, Default)]
pub(super) enum End {
    /// Nothing.
    #[default]
    None,
    /// It ended; the last lines come first.
    Pending { pod: Arc<Pod>, end: ContainerEnd, since: Instant },
    /// That was told.
    Told { uid: Box<str>, key: (Box<str>, u32) },
}

impl End {
    /// What was saved of it, taken out of the positions of a source's files.
    pub(super) fn of_saved(saved: &mut Saved, uid: Option<&str>) -> Self {
        match saved.generations.remove(&TOLD) {
            Some(_) => Self::told(saved, uid),
            None => Self::None,
        }
    }

    fn told(saved: &Saved, uid: Option<&str>) -> Self {
        let name =
            |path: Option<&std::ffi::OsStr>| path.and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        let number = name(saved.path.file_stem()).parse().unwrap_or_default();
        let container = name(saved.path.parent().and_then(|dir| dir.file_name()));
        Self::Told { uid: uid.unwrap_or_default().into(), key: (container.into(), number) }
    }

    /// Whether the source may be forgotten, whose log vanished so long ago.
    pub(super) fn may_be_forgotten(&self, pods: &Pods, vanished: Duration) -> bool {
        match self {
            Self::None => true,
            Self::Pending { .. } => false,
            Self::Told { uid, key } => !pods.may_offer(uid, key) || vanished > TOLD_KEEP,
        }
    }
}

impl Follower {
    /// Takes in what has become known of pods and namespaces.
    pub(super) fn learn(&mut self, now: Instant) -> Result<(), Closed> {
        let version = self.context.tenancy.version();
        if std::mem::replace(&mut self.tenancy_version, version) != version {
            self.reassign()?;
            self.discovery.forget_listings();
        }
        for followed in self.followed.values_mut() {
            followed.enricher.describe(&self.context.pods);
        }
        for (pod, end) in self.context.pods.untaken_ends() {
            self.expect_end(pod, end, now);
        }
        Ok(())
    }

    /// Asks anew whose the followed files are.
    fn reassign(&mut self) -> Result<(), Closed> {
        let ids: Vec<_> = self.followed.keys().copied().collect();
        for id in ids {
            let Some(followed) = self.followed.get_mut(&id) else { continue };
            let before = followed.enricher.owner();
            let owner = self.discovery.owner_of(&followed.path);
            if owner.as_ref().is_some_and(|owner| owner.tenant == before.tenant) {
                continue;
            }
            // Its positions go on in batches of another tenant, or of none: they must not be overtaken.
            self.gather.leave(&before.tenant.clone(), id)?;
            match owner {
                Some(owner) => followed.enricher.set_owner(owner),
                None => self.pause(id),
            }
        }
        Ok(())
    }

    /// Stops reading a source, and keeps its positions for when it may be read again.
    fn pause(&mut self, id: SourceId) {
        let Some(mut followed) = self.drop_followed(id) else { return };
        if let End::Pending { pod, end, .. } = &followed.end {
            self.context.pods.give_back_end(&pod.uid, end);
        }
        let mut generations = followed.tail.positions();
        if matches!(followed.end, End::Told { .. }) {
            generations.insert(TOLD, nothing());
        }
        let path = followed.path.to_path_buf();
        self.saved.insert(id, Saved { path, last: followed.enricher.last(), generations });
    }

    /// A container ended: the last record of its log will say so.
    fn expect_end(&mut self, pod: Arc<Pod>, end: ContainerEnd, now: Instant) {
        let Some((path, owner)) = self.discovery.container_log(&pod, &end.container, end.number) else {
            return;
        };
        self.context.pods.take_end(&pod.uid, &end);
        let id = SourceId::of(self.context.producer.as_str(), &path.to_string_lossy());
        if !self.followed.contains_key(&id) {
            let new = Saved { path, last: Timestamp::MIN, generations: LiteMap::new() };
            let saved = self.saved.remove(&id).unwrap_or(new);
            self.follow_path(id, owner, saved, true, now);
            // Where there is no such file (any more), listings tell when there is.
            self.failing.remove(&id);
        }
        if let Some(followed) = self.followed.get_mut(&id)
            && matches!(followed.end, End::None)
        {
            followed.end = End::Pending { pod, end, since: now };
        }
    }

    /// Tells the ends of containers whose logs are read to their ends.
    pub(super) fn tell_ends(&mut self, now: Instant) -> Result<(), Closed> {
        for followed in self.followed.values_mut() {
            let End::Pending { since, .. } = followed.end else { continue };
            if since + LAST_LINES_WAIT > now || !followed.has_rested(now) {
                continue;
            }
            let End::Pending { pod, end, .. } = std::mem::take(&mut followed.end) else { continue };
            followed.enricher.describe(&self.context.pods);
            let newest = followed.tail.newest_number();
            let record = followed.enricher.end(&end, newest, self.context.clock.now());
            let told = Move {
                source: followed.enricher.id(),
                path: Arc::clone(&followed.path),
                last: record.time,
                step: Some(Step { number: TOLD, known: nothing() }),
            };
            followed.end = End::Told { uid: pod.uid.clone(), key: end.key() };
            let tenant = followed.enricher.owner().tenant.clone();
            self.context.metrics.container_ends.inc();
            self.context.metrics.records.inc();
            self.gather.add(&tenant, vec![record], vec![told], now)?;
        }
        Ok(())
    }
}

impl Followed {
    /// Whether all there is has been read and let go.
    pub(super) fn has_rested(&mut self, now: Instant) -> bool {
        !self.queued && !self.tail.has_unread(now) && self.tail.deadline().is_none()
    }
}

/// A place in no file.
fn nothing() -> Known {
    let identity = FileIdentity { dev: 0, ino: 0, born: 0, head_len: 0, head_hash: 0 };
    Known { identity, offset: 0, before: 0, ended: false }
}
