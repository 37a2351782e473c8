//! What the API server tells of this node's pods, kept past their deletion and over restarts.
//!
//! Nothing waits for it: whose a line is follows from its path, and what is known later improves later records.
//! The watches write here, the reading thread reads; the lock is held for a look-up or a change, never for I/O.

pub(crate) mod cache;
pub(crate) mod client;
pub(crate) mod facts;
mod naming;
mod upkeep;
mod watch;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use heliograph_model::time::Timestamp;
use parking_lot::Mutex;

use facts::{ContainerEnd, Pod};

pub(crate) use upkeep::Watching;

/// Deleted pods that are remembered: their last lines and their containers' ends may still be on their way.
const GONE_MAX: usize = 2048;
/// How long a deleted pod is remembered.
const GONE_KEEP_NANOS: i64 = 3600 * 1_000_000_000;

/// The pods known.
#[derive(Debug)]
pub(crate) struct Pods {
    state: Mutex<State>,
    /// When the API server last answered.
    contact: Mutex<Option<Instant>>,
    /// Whether an API server is asked at all.
    asked: bool,
}

#[derive(Debug, Default)]
struct State {
    /// By the uid that stands in paths.
    pods: HashMap<Box<str>, Known>,
    /// Rises with every pod that becomes known.
    edition: u64,
    /// Whether all pods have been listed since the start.
    listed: bool,
    /// Whether there is something that the file at rest lacks …
    unsaved: bool,
    /// … and whether that is an end, which the API server may soon show no longer.
    unsaved_end: bool,
}

#[derive(Debug)]
struct Known {
    pod: Arc<Pod>,
    gone: Option<Timestamp>,
    /// Ends that the reading thread has taken over: container and ordinal.
    taken: BTreeSet<(Box<str>, u32)>,
    /// On its way out: not in the next file at rest, forgotten once that is written.
    leaving: bool,
}

impl Known {
    fn new(pod: Pod, gone: Option<Timestamp>) -> Self {
        Self { pod: Arc::new(pod), gone, taken: BTreeSet::new(), leaving: false }
    }
}

impl Pods {
    /// None known. `asked` says whether an API server will be.
    pub(crate) fn new(asked: bool) -> Self {
        Self { state: Mutex::default(), contact: Mutex::new(None), asked }
    }

    /// The pod with this uid, alive or remembered.
    pub(crate) fn by_uid(&self, uid: &str) -> Option<Arc<Pod>> {
        self.state.lock().pods.get(uid).map(|known| Arc::clone(&known.pod))
    }

    /// Another number for every pod that becomes known.
    pub(crate) fn edition(&self) -> u64 {
        self.state.lock().edition
    }

    /// How many are known, remembered ones included.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().pods.len()
    }

    /// Takes what the API server says of a pod; says whether it is news.
    pub(crate) fn apply(&self, pod: &k8s_openapi::api::core::v1::Pod) -> bool {
        let Some(mut facts) = Pod::read(pod) else { return false };
        let mut state = self.state.lock();
        let state = &mut *state;
        if let Some(known) = state.pods.get_mut(&facts.uid) {
            if let Some(status) = &pod.status {
                facts = facts.with_lost_instances(&known.pod, status);
            }
            let facts = facts.after(&known.pod, |end| known.taken.contains(&end.key()));
            known.leaving = false;
            let was_gone = known.gone.take().is_some();
            state.unsaved |= was_gone;
            if *known.pod == facts {
                return false;
            }
            state.unsaved_end |= known.pod.ends != facts.ends;
            known.pod = Arc::new(facts);
        } else {
            state.unsaved_end |= !facts.ends.is_empty();
            state.edition += 1;
            state.pods.insert(facts.uid.clone(), Known::new(facts, None));
        }
        state.unsaved = true;
        true
    }

    /// The pod was deleted.
    pub(crate) fn gone(&self, uid: &str, now: Timestamp) {
        let mut state = self.state.lock();
        if let Some(known) = state.pods.get_mut(uid)
            && known.gone.is_none()
        {
            known.gone = Some(now);
            state.unsaved = true;
        }
    }

    /// A whole list has been read: of the namespace's pods (of all, without one), those not in `present` were
    /// deleted while nobody looked.
    pub(crate) fn present(&self, namespace: Option<&str>, present: &BTreeSet<Box<str>>, now: Timestamp) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let missing = |known: &&mut Known| {
            known.gone.is_none()
                && namespace.is_none_or(|ns| *known.pod.namespace == *ns)
                && !present.contains(&known.pod.uid)
        };
        for known in state.pods.values_mut().filter(missing) {
            known.gone = Some(now);
            state.unsaved = true;
        }
    }

    /// All watches have read a whole list.
    pub(crate) fn listed(&self) {
        self.state.lock().listed = true;
    }

    /// Ends of containers that nobody has taken over.
    pub(crate) fn untaken_ends(&self) -> Vec<(Arc<Pod>, ContainerEnd)> {
        let state = self.state.lock();
        let untaken = state.pods.values().flat_map(|known| {
            let left = known.pod.ends.iter().filter(|end| !known.taken.contains(&end.key()));
            left.map(|end| (Arc::clone(&known.pod), end.clone()))
        });
        untaken.collect()
    }

    /// Somebody sees to an end of this run's: it is not offered again.
    pub(crate) fn take_end(&self, uid: &str, end: &ContainerEnd) {
        if let Some(known) = self.state.lock().pods.get_mut(uid) {
            known.taken.insert(end.key());
        }
    }

    /// Whoever took an end cannot see to it for now: it is offered again.
    pub(crate) fn give_back_end(&self, uid: &str, end: &ContainerEnd) {
        if let Some(known) = self.state.lock().pods.get_mut(uid) {
            known.taken.remove(&end.key());
        }
    }

    /// Whether this end may be offered again, in this run or after a restart: who has told it must remember so.
    pub(crate) fn may_offer(&self, uid: &str, key: &(Box<str>, u32)) -> bool {
        let state = self.state.lock();
        let offers = |known: &Known| known.pod.ends.iter().any(|end| end.key() == *key);
        self.asked && (!state.listed || state.pods.get(uid).is_some_and(offers))
    }

    /// The API server has answered.
    pub(crate) fn note_contact(&self) {
        *self.contact.lock() = Some(Instant::now());
    }

    /// When the API server last answered.
    fn contact(&self) -> Option<Instant> {
        *self.contact.lock()
    }

    /// Takes over what was known before a restart.
    fn remember(&self, pods: Vec<(Pod, Option<Timestamp>)>) {
        let mut state = self.state.lock();
        for (pod, gone) in pods {
            state.edition += 1;
            state.pods.insert(pod.uid.clone(), Known::new(pod, gone));
        }
    }

    /// What to keep over a restart, without the deleted pods that are too old or too many; none where the file
    /// at rest has it all, unless something else of it has `changed`.
    fn to_save(&self, now: Timestamp, changed: bool) -> Option<Vec<(Arc<Pod>, Option<Timestamp>)>> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut gone: Vec<_> = state.pods.values().filter_map(|k| Some((k.gone?, &k.pod.uid))).collect();
        gone.sort_unstable();
        let over = gone.len().saturating_sub(GONE_MAX);
        let old = gone.iter().enumerate();
        let old = old.filter(|(n, (gone, _))| *n < over || now.nanos_since(*gone) > GONE_KEEP_NANOS);
        let old: BTreeSet<Box<str>> = old.map(|(_, (_, uid))| (*uid).clone()).collect();
        for uid in old {
            if let Some(known) = state.pods.get_mut(&uid) {
                known.leaving = true;
                state.unsaved = true;
            }
        }
        state.unsaved_end = false;
        if !(std::mem::take(&mut state.unsaved) || changed) {
            return None;
        }
        let kept = state.pods.values().filter(|k| !k.leaving);
        Some(kept.map(|k| (Arc::clone(&k.pod), k.gone)).collect())
    }

    /// Whether there are ends that the file at rest lacks.
    fn has_unsaved_end(&self) -> bool {
        self.state.lock().unsaved_end
    }

    /// The file at rest is written, or could not be.
    fn saved(&self, written: bool) {
        let mut state = self.state.lock();
        if written {
            state.pods.retain(|_, known| !known.leaving);
        } else {
            state.unsaved = true;
        }
    }
}

#[cfg(test)]
mod tests;
