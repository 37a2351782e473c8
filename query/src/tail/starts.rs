//! From where a tail's feeds begin of which the backlog could not read all: of an indexer for which nobody answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use parking_lot::Mutex;
use uuid::Uuid;

/// One tenant's records of one indexer.
pub(super) type Part = (TenantId, Uuid);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Its feed is open.
    Open,
    /// It is to bring all that was committed after this.
    After(CommitId),
}

/// What the backlog and the feeds of one tail agree on.
#[derive(Clone, Debug, Default)]
pub(super) struct Starts(Arc<Mutex<BTreeMap<Part, Start>>>);

impl Starts {
    /// From after which commit a feed is to begin, if that is told.
    pub(super) fn after(&self, part: &Part) -> Option<CommitId> {
        match self.0.lock().get(part) {
            Some(Start::After(commit)) => Some(*commit),
            Some(Start::Open) | None => None,
        }
    }

    /// Opens a feed that begins after a commit, or now; `false` if it was told to begin elsewhere meanwhile.
    pub(super) fn open(&self, part: Part, after: Option<CommitId>) -> bool {
        let mut starts = self.0.lock();
        let is_elsewhere = matches!(starts.get(&part), Some(Start::After(told)) if after != Some(*told));
        if !is_elsewhere {
            starts.insert(part, Start::Open);
        }
        !is_elsewhere
    }

    /// Tells feeds to begin after these commits; `false`, and nothing is told, if one of them is open.
    pub(super) fn tell(&self, parts: &BTreeMap<Part, CommitId>) -> bool {
        let mut starts = self.0.lock();
        let are_free = parts.keys().all(|part| starts.get(part) != Some(&Start::Open));
        if are_free {
            starts.extend(parts.iter().map(|(part, commit)| (part.clone(), Start::After(*commit))));
        }
        are_free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_opens_where_it_is_told_and_is_told_nothing_when_it_is_open() {
        let starts = Starts::default();
        let part = |n: u128| (TenantId::parse("t").unwrap(), Uuid::from_u128(n));
        assert!(starts.open(part(1), None));
        let told = |n, commit| BTreeMap::from([(part(n), CommitId(commit))]);
        assert!(!starts.tell(&told(1, 5)));
        assert_eq!(starts.after(&part(1)), None);
        assert!(starts.tell(&told(2, 5)));
        assert!(!starts.open(part(2), None), "it asked before it was told");
        assert!(!starts.open(part(2), Some(CommitId(9))));
        assert_eq!(starts.after(&part(2)), Some(CommitId(5)));
        assert!(starts.open(part(2), Some(CommitId(5))));
        assert!(!starts.tell(&told(2, 6)));
    }
}
