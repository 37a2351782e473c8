//! What is acknowledged and not sealed yet, in memory and searchable.
//!
//! Invariant: for every tenant, hot holds exactly its indexer's records whose commit lies after the tenant's
//! `sealed_through`. A snapshot is taken under one lock, so that it is consistent with the [`HotHead`] that
//! comes with it; a record moves from hot to sealed for all askers at once.

mod search;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use heliograph_model::record::RecordRef;
use heliograph_model::rows::Rows;
use heliograph_model::scan::{CommitId, HotHead, HotHeads};
use heliograph_model::tenant::TenantId;
use parking_lot::RwLock;
use tokio::time::Instant;
use uuid::Uuid;

use crate::budget::{Budget, Room};
use crate::metrics::Metrics;

pub(crate) use search::{Answers, Found, Searcher};

/// A tenant's records of one commit, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Whose.
    pub(crate) tenant: TenantId,
    /// Which commit.
    pub(crate) commit: CommitId,
    /// The records, batch by batch.
    pub(crate) rows: Vec<Rows>,
    bytes: usize,
    since: Instant,
    /// Held as long as anybody holds the chunk, so that the bound is on memory and not on book-keeping.
    _room: Room,
}

impl Chunk {
    /// How many records.
    pub(crate) fn len(&self) -> usize {
        self.rows.iter().map(Rows::len).sum()
    }

    /// All records.
    pub(crate) fn records(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.rows.iter().flat_map(Rows::iter)
    }
}

/// A tenant's share of a commit, before the commit has its number.
#[derive(Debug)]
pub(crate) struct Share {
    /// Whose.
    pub(crate) tenant: TenantId,
    /// The records, batch by batch.
    pub(crate) rows: Vec<Rows>,
    /// Their room in memory.
    pub(crate) room: Room,
}

/// A tenant's hot records at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// What it stands on.
    pub(crate) head: HotHead,
    /// In the order of commits.
    pub(crate) chunks: Vec<Arc<Chunk>>,
}

/// What is to be sealed into one segment.
#[derive(Debug)]
pub(crate) struct Load {
    /// Up to where the tenant is sealed so far.
    pub(crate) after: CommitId,
    /// Up to where it is when this is published.
    pub(crate) through: CommitId,
    /// All between, in the order of commits.
    pub(crate) chunks: Vec<Arc<Chunk>>,
}

/// All tenants' hot records.
#[derive(Debug)]
pub(crate) struct Hot {
    indexer: Uuid,
    budget: Arc<Budget>,
    metrics: Metrics,
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    committed: CommitId,
    sealed: HashMap<TenantId, CommitId>,
    /// Only tenants that have something: an idle one costs nothing.
    tenants: HashMap<TenantId, Part>,
}

#[derive(Debug, Default)]
struct Part {
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
    /// To be sealed though it is neither large nor old.
    is_pressed: bool,
}

impl Part {
    /// The chunks of commits after `after`, or all.
    fn after(&self, after: Option<CommitId>) -> impl Iterator<Item = Arc<Chunk>> + '_ {
        let first = self.chunks.partition_point(|c| after.is_some_and(|after| c.commit <= after));
        self.chunks.range(first..).cloned()
    }
}

impl Inner {
    fn sealed_through(&self, tenant: &TenantId) -> CommitId {
        self.sealed.get(tenant).copied().unwrap_or_default()
    }
}

impl Hot {
    /// Nothing hot; `sealed` says where each tenant stands.
    pub(crate) fn new(
        indexer: Uuid,
        budget: Arc<Budget>,
        metrics: Metrics,
        sealed: HashMap<TenantId, CommitId>,
    ) -> Self {
        let committed = sealed.values().copied().max().unwrap_or_default();
        let inner = Inner { committed, sealed, tenants: HashMap::new() };
        Self { indexer, budget, metrics, inner: RwLock::new(inner) }
    }

    /// The memory that hot records share.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Whether no tenant has anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.inner.read().tenants.is_empty()
    }

    /// The newest commit.
    pub(crate) fn committed(&self) -> CommitId {
        self.inner.read().committed
    }

    /// Up to where a tenant is sealed.
    pub(crate) fn sealed_through(&self, tenant: &TenantId) -> CommitId {
        self.inner.read().sealed_through(tenant)
    }

    /// Takes a durable commit in: from here on every search finds its records. Commits come in their order.
    pub(crate) fn insert(&self, commit: CommitId, shares: Vec<Share>) -> Vec<Arc<Chunk>> {
        let since = Instant::now();
        let chunks: Vec<_> = shares
            .into_iter()
            .filter(|share| share.rows.iter().any(|rows| !rows.is_empty()))
            .map(|Share { tenant, rows, room }| {
                let bytes = rows.iter().map(Rows::memory_bytes).sum();
                Arc::new(Chunk { tenant, commit, rows, bytes, since, _room: room })
            })
            .collect();
        let mut inner = self.inner.write();
        inner.committed = inner.committed.max(commit);
        for chunk in &chunks {
            self.count(chunk, 1);
            let part = inner.tenants.entry(chunk.tenant.clone()).or_default();
            part.bytes += chunk.bytes;
            part.chunks.push_back(Arc::clone(chunk));
        }
        chunks
    }

    fn count(&self, chunk: &Chunk, sign: i64) {
        self.metrics.hot_bytes.add(sign * i64::try_from(chunk.bytes).unwrap_or(i64::MAX));
        self.metrics.hot_records.add(sign * i64::try_from(chunk.len()).unwrap_or(i64::MAX));
    }

    /// Several tenants' records at one moment, as [`Self::snapshot`] gives one's; chunks of one tenant follow one
    /// another, in the order of commits.
    pub(crate) fn snapshots(
        &self,
        tenants: &[TenantId],
        after: Option<CommitId>,
    ) -> (HotHeads, Vec<Arc<Chunk>>) {
        let inner = self.inner.read();
        let heads = HotHeads {
            indexer: self.indexer.to_string(),
            committed: inner.committed,
            sealed_through: tenants.iter().map(|tenant| inner.sealed_through(tenant)).collect(),
        };
        let parts = tenants.iter().filter_map(|tenant| inner.tenants.get(tenant));
        (heads, parts.flat_map(|part| part.after(after)).collect())
    }

    /// A tenant's records now, those of commits after `after` where given.
    pub(crate) fn snapshot(&self, tenant: &TenantId, after: Option<CommitId>) -> Snapshot {
        let inner = self.inner.read();
        let head = HotHead {
            indexer: self.indexer.to_string(),
            sealed_through: inner.sealed_through(tenant),
            committed: inner.committed,
        };
        let chunks = inner.tenants.get(tenant).map_or_else(Vec::new, |part| part.after(after).collect());
        Snapshot { head, chunks }
    }

    /// Memory of a tenant's records.
    pub(crate) fn bytes_of(&self, tenant: &TenantId) -> usize {
        self.inner.read().tenants.get(tenant).map_or(0, |part| part.bytes)
    }

    /// Has a tenant's records sealed as soon as can be.
    pub(crate) fn press(&self, tenant: &TenantId) {
        if let Some(part) = self.inner.write().tenants.get_mut(tenant) {
            part.is_pressed = true;
        }
    }

    /// Has everything sealed as soon as can be that came in up to a commit.
    pub(crate) fn press_through(&self, through: CommitId) {
        for part in self.inner.write().tenants.values_mut() {
            part.is_pressed |= part.chunks.front().is_some_and(|oldest| oldest.commit <= through);
        }
    }

    /// The tenants that are to be sealed, by bytes, by age, or pressed; and where memory is half full, the largest that hold a
    /// quarter of it together: with thousands of small tenants one at a time would not keep up.
    pub(crate) fn due(&self, bytes: usize, age: Duration) -> Vec<TenantId> {
        let is_due = |part: &Part| {
            part.is_pressed
                || part.bytes >= bytes
                || part.chunks.front().is_some_and(|oldest| oldest.since.elapsed() >= age)
        };
        let inner = self.inner.read();
        let mut due: Vec<_> = inner.tenants.iter().filter(|(_, part)| is_due(part)).collect();
        if due.is_empty() && self.budget.is_half_full() {
            let mut largest: Vec<_> = inner.tenants.iter().collect();
            largest.sort_unstable_by_key(|(_, part)| std::cmp::Reverse(part.bytes));
            let mut sum = 0;
            due.extend(largest.into_iter().take_while(|(_, part)| {
                let is_enough = sum > self.budget.used() / 4;
                sum += part.bytes;
                !is_enough
            }));
        }
        due.into_iter().map(|(tenant, _)| tenant.clone()).collect()
    }

    /// A tenant's oldest records, about `bytes` of them but at least one commit's. They stay hot until
    /// [`Self::sealed`].
    pub(crate) fn load(&self, tenant: &TenantId, bytes: usize) -> Option<Load> {
        let inner = self.inner.read();
        let part = inner.tenants.get(tenant)?;
        let mut sum = 0;
        let mut chunks = Vec::new();
        for chunk in &part.chunks {
            if sum >= bytes {
                break;
            }
            sum += chunk.bytes;
            chunks.push(Arc::clone(chunk));
        }
        let through = chunks.last()?.commit;
        Some(Load { after: inner.sealed_through(tenant), through, chunks })
    }

    /// The tenant's records up to a commit are published in a segment: drops them, for all searches at once.
    pub(crate) fn sealed(&self, tenant: &TenantId, through: CommitId) {
        let mut dropped = Vec::new();
        let mut inner = self.inner.write();
        let sealed = inner.sealed.entry(tenant.clone()).or_default();
        *sealed = (*sealed).max(through);
        if let Some(part) = inner.tenants.get_mut(tenant) {
            while part.chunks.front().is_some_and(|chunk| chunk.commit <= through) {
                dropped.extend(part.chunks.pop_front());
            }
            part.is_pressed = false;
            part.bytes -= dropped.iter().map(|chunk| chunk.bytes).sum::<usize>();
            if part.chunks.is_empty() {
                inner.tenants.remove(tenant);
            }
        }
        drop(inner);
        // Freeing much memory takes a while: not under the lock.
        dropped.iter().for_each(|chunk| self.count(chunk, -1));
    }
}

impl Drop for Hot {
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        let left: Vec<_> = inner.tenants.drain().flat_map(|(_, part)| part.chunks).collect();
        left.iter().for_each(|chunk| self.count(chunk, -1));
    }
}

#[cfg(test)]
mod tests {
    use heliograph_model::rows::RowsBuilder;
    use prometheus::Registry;

    use super::*;

    fn rows(bytes: usize) -> Rows {
        let record = heliograph_model::record::Record {
            time: Default::default(),
            observed: Default::default(),
            position: Default::default(),
            source: Arc::default(),
            level: None,
            stream: None,
            identity: Default::default(),
            message: "x".repeat(bytes).into(),
            attributes: Default::default(),
        };
        let mut rows = RowsBuilder::default();
        rows.push(record.as_ref()).unwrap();
        rows.finish()
    }

    #[test]
    fn where_memory_is_half_full_the_largest_are_sealed() {
        let budget = Budget::new(100_000);
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let hot = Hot::new(Uuid::nil(), Arc::clone(&budget), metrics, HashMap::new());
        let tenant = |n: usize| TenantId::parse(&format!("t{n}")).unwrap();
        let due = || hot.due(1 << 30, Duration::from_hours(1));
        for n in 1..=10 {
            let rows = vec![rows(n * 1_000)];
            let room = budget.reserve(rows.iter().map(Rows::memory_bytes).sum()).unwrap();
            hot.insert(CommitId(1), vec![Share { tenant: tenant(n), rows, room }]);
            if n == 8 {
                assert!(due().is_empty(), "{} of 100,000", budget.used());
            }
        }
        // A quarter of 55,000 and a little.
        assert_eq!(due(), [tenant(10), tenant(9)]);
    }
}
