//! Which write-ahead objects are still needed, and by whom.
//!
//! An object is needed until every tenant in it is sealed through its commit. A damaged one is never let go: it
//! holds the only trace of what could not be read.

use std::collections::{BTreeMap, HashSet};

use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use heliograph_store::layout::ObjectId;
use parking_lot::Mutex;

use crate::metrics::Metrics;

/// The needed write-ahead objects of one indexer.
#[derive(Debug)]
pub(crate) struct Ledger {
    entries: Mutex<BTreeMap<CommitId, Entry>>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Entry {
    object: ObjectId,
    /// Tenants with records in it that are not sealed.
    waiting: HashSet<TenantId>,
    is_damaged: bool,
}

impl Ledger {
    /// An empty ledger.
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { entries: Mutex::default(), metrics }
    }

    /// A recorded commit, with the tenants whose records are in it and not sealed. To be called before the
    /// records become hot.
    pub(crate) fn enter(
        &self,
        commit: CommitId,
        object: ObjectId,
        waiting: HashSet<TenantId>,
        is_damaged: bool,
    ) {
        if self.entries.lock().insert(commit, Entry { object, waiting, is_damaged }).is_none() {
            self.metrics.wal_objects.inc();
        }
    }

    /// The objects of which nothing is needed once `tenant` is sealed through a commit.
    pub(crate) fn free_after(&self, tenant: &TenantId, through: CommitId) -> Vec<ObjectId> {
        let entries = self.entries.lock();
        let is_free = |(commit, entry): &(&CommitId, &Entry)| {
            let is_last = entry.waiting.len() == 1 && **commit <= through && entry.waiting.contains(tenant);
            !entry.is_damaged && (entry.waiting.is_empty() || is_last)
        };
        entries.iter().filter(is_free).map(|(_, entry)| entry.object).collect()
    }

    /// The objects of which nothing is needed.
    pub(crate) fn free(&self) -> Vec<ObjectId> {
        let entries = self.entries.lock();
        entries.values().filter(|e| !e.is_damaged && e.waiting.is_empty()).map(|e| e.object).collect()
    }

    /// A tenant is sealed through a commit.
    pub(crate) fn sealed(&self, tenant: &TenantId, through: CommitId) {
        for (_, entry) in self.entries.lock().range_mut(..=through) {
            entry.waiting.remove(tenant);
        }
    }

    /// The catalog has let objects go.
    pub(crate) fn released(&self, objects: &[ObjectId]) {
        let gone: HashSet<_> = objects.iter().collect();
        self.entries.lock().retain(|_, entry| {
            let is_kept = !gone.contains(&entry.object);
            if !is_kept {
                self.metrics.wal_objects.dec();
            }
            is_kept
        });
    }

    /// Whether only damaged objects are left.
    pub(crate) fn is_done(&self) -> bool {
        self.entries.lock().values().all(|entry| entry.is_damaged)
    }

    /// Whether some are damaged.
    pub(crate) fn has_damaged(&self) -> bool {
        self.entries.lock().values().any(|entry| entry.is_damaged)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.metrics.wal_objects.sub(i64::try_from(self.entries.get_mut().len()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use heliograph_store::layout::new_object_id;
    use prometheus::Registry;

    use super::*;

    #[test]
    fn an_object_is_free_when_its_last_tenant_is_sealed() {
        let ledger = Ledger::new(Metrics::new(&Registry::new()).unwrap());
        let [a, b] = ["a", "b"].map(|name| TenantId::parse(name).unwrap());
        let [one, two, three, four] = std::array::from_fn(|_| new_object_id());
        ledger.enter(CommitId(1), one, [a.clone(), b.clone()].into(), false);
        ledger.enter(CommitId(2), two, [a.clone()].into(), false);
        ledger.enter(CommitId(3), three, [a.clone()].into(), true);
        ledger.enter(CommitId(4), four, [a.clone()].into(), false);
        assert_eq!(ledger.free_after(&a, CommitId(3)), [two]);
        ledger.sealed(&a, CommitId(3));
        assert_eq!(ledger.free(), [two]);
        ledger.released(&[two]);
        assert_eq!(ledger.free_after(&b, CommitId(1)), [one]);
        assert_eq!(ledger.free_after(&a, CommitId(4)), [four]);
    }
}
