//! A catalog in a few maps: what any history of calls must answer.

use std::collections::{BTreeMap, HashMap};

use heliograph_model::scan::CommitId;
use heliograph_store::Error;
use heliograph_store::catalog::{Catalog, CommittedBatch, Lease, NewCommit, SegmentMeta};
use heliograph_store::layout::ObjectId;
use uuid::Uuid;

/// What a call answers, as far as it does not depend on the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Fenced,
    Missing,
    Exists,
    Sequence(u64, u64),
    Claimed(Option<Lease>),
    Retired(bool),
    /// The commit of this object.
    Commit(ObjectId),
}

impl Answer {
    /// The answer of a catalog; an error that no history should meet ends the test.
    pub(crate) fn of<T>(outcome: Result<T, Error>, told: impl FnOnce(T) -> Self) -> Self {
        match outcome {
            Ok(value) => told(value),
            Err(Error::Fenced { .. }) => Self::Fenced,
            Err(Error::Missing { .. } | Error::Erased { .. }) => Self::Missing,
            Err(Error::Exists { .. }) => Self::Exists,
            Err(Error::Sequence { epoch, expected, .. }) => Self::Sequence(epoch, expected),
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// The places of tenants' producers.
type Producers = BTreeMap<(String, String), (u64, u64)>;
/// Epoch and address of an indexer, and whether its lease has run out.
type Entry = (u64, String, bool);

/// Everything that the calls of a history can change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) producers: Producers,
    pub(crate) indexers: BTreeMap<Uuid, Entry>,
    /// Each indexer's objects, oldest first.
    pub(crate) wal: BTreeMap<Uuid, Vec<ObjectId>>,
    pub(crate) marks: BTreeMap<(Uuid, String), i64>,
    pub(crate) segments: BTreeMap<String, Vec<ObjectId>>,
}

impl State {
    /// With these tenants.
    pub(crate) fn new(tenants: &[&str]) -> Self {
        let segments = tenants.iter().map(|tenant| ((*tenant).to_owned(), Vec::new())).collect();
        Self { segments, ..Self::default() }
    }

    /// The epoch on record of an indexer; that of embedded mode where there is none.
    pub(crate) fn epoch(&self, indexer: Uuid) -> u64 {
        self.indexers.get(&indexer).map_or(0, |entry| entry.0)
    }

    fn holds(&self, lease: &Lease) -> bool {
        self.epoch(lease.indexer) == lease.epoch
    }

    pub(crate) fn register(&mut self, indexer: Uuid, address: &str) -> Answer {
        let entry = self.indexers.entry(indexer).or_insert_with(|| (1, address.to_owned(), false));
        if entry.0 != 1 || entry.1 != address {
            return Answer::Exists;
        }
        entry.2 = false;
        Answer::Done
    }

    pub(crate) fn renew(&mut self, lease: &Lease, is_over: bool) -> Answer {
        match self.indexers.get_mut(&lease.indexer) {
            Some(entry) if entry.0 == lease.epoch => {
                entry.2 = is_over;
                Answer::Done
            }
            _ => Answer::Fenced,
        }
    }

    /// At most one lease has run out at a time, so there is no choice.
    pub(crate) fn claim(&mut self, address: &str) -> Answer {
        let over = self.indexers.iter_mut().find(|(_, entry)| entry.2);
        Answer::Claimed(over.map(|(indexer, entry)| {
            *entry = (entry.0 + 1, address.to_owned(), false);
            Lease { indexer: *indexer, epoch: entry.0 }
        }))
    }

    pub(crate) fn retire(&mut self, lease: &Lease) -> Answer {
        if !self.indexers.contains_key(&lease.indexer) {
            return Answer::Retired(true);
        }
        if !self.holds(lease) {
            return Answer::Fenced;
        }
        if self.wal.get(&lease.indexer).is_some_and(|objects| !objects.is_empty()) {
            return Answer::Retired(false);
        }
        self.indexers.remove(&lease.indexer);
        self.marks.retain(|(indexer, _), _| *indexer != lease.indexer);
        Answer::Retired(true)
    }

    pub(crate) fn commit(&mut self, commit: &NewCommit) -> Answer {
        if !self.holds(&commit.lease) {
            return Answer::Fenced;
        }
        let known = self.wal.values().flatten().any(|object| *object == commit.object);
        match self.moved(&commit.batches) {
            _ if known => {}
            Err(refusal) => return refusal,
            Ok(producers) => {
                self.producers = producers;
                self.wal.entry(commit.lease.indexer).or_default().push(commit.object);
            }
        }
        Answer::Commit(commit.object)
    }

    fn moved(&self, batches: &[CommittedBatch]) -> Result<Producers, Answer> {
        let mut producers = self.producers.clone();
        for batch in batches {
            let tenant = batch.tenant.to_string();
            if !self.segments.contains_key(&tenant) {
                return Err(Answer::Missing);
            }
            let Some(id) = &batch.id else { continue };
            let producer = (tenant, id.producer.as_str().to_owned());
            let begins = id.sequence == 1;
            let is_next = match producers.get(&producer) {
                None => begins,
                Some((epoch, last)) => {
                    (id.epoch == *epoch && id.sequence == last + 1) || (id.epoch > *epoch && begins)
                }
            };
            if !is_next {
                return Err(match self.producers.get(&producer) {
                    Some((epoch, last)) if *epoch >= id.epoch => Answer::Sequence(*epoch, last + 1),
                    _ => Answer::Sequence(id.epoch, 1),
                });
            }
            producers.insert(producer, (id.epoch, id.sequence));
        }
        Ok(producers)
    }

    pub(crate) fn publish(&mut self, lease: &Lease, segment: &SegmentMeta, released: &[ObjectId]) -> Answer {
        if !self.holds(lease) {
            return Answer::Fenced;
        }
        let tenant = segment.tenant.to_string();
        let Some(segments) = self.segments.get_mut(&tenant) else { return Answer::Missing };
        if segments.contains(&segment.id) {
            return Answer::Done;
        }
        let (after, through) = (segment.commits_after.0, segment.commits_through.0);
        let mark = (segment.indexer, tenant);
        if self.marks.get(&mark).is_some_and(|mark| *mark > after || *mark >= through) {
            return Answer::Exists;
        }
        segments.push(segment.id);
        self.marks.insert(mark, through);
        self.forget(lease, released);
        Answer::Done
    }

    pub(crate) fn release(&mut self, lease: &Lease, released: &[ObjectId]) -> Answer {
        if !self.holds(lease) {
            return Answer::Fenced;
        }
        self.forget(lease, released);
        Answer::Done
    }

    fn forget(&mut self, lease: &Lease, released: &[ObjectId]) {
        if let Some(objects) = self.wal.get_mut(&lease.indexer) {
            objects.retain(|object| !released.contains(object));
        }
    }

    /// What a catalog says of itself, in the same words.
    pub(crate) async fn of(catalog: &dyn Catalog, indexers: &[Uuid], producers: &[(String, String)]) -> Self {
        let mut state = Self::default();
        for (tenant, by) in producers {
            let (of, named) = (crate::words::name(tenant), crate::words::producer(by));
            if let Some(place) = catalog.producer(&of, &named).await.unwrap() {
                state.producers.insert((tenant.clone(), by.clone()), place);
            }
        }
        for entry in catalog.indexers().await.unwrap() {
            let value = (entry.lease.epoch, entry.address, entry.remaining.is_zero());
            state.indexers.insert(entry.lease.indexer, value);
        }
        for indexer in indexers {
            let objects = catalog.wal_objects(*indexer).await.unwrap();
            if !objects.is_empty() {
                state.wal.insert(*indexer, objects.into_iter().map(|w| w.object).collect());
            }
            for (tenant, CommitId(through)) in catalog.sealed_through(*indexer).await.unwrap() {
                state.marks.insert((*indexer, tenant.to_string()), through);
            }
        }
        let all = heliograph_model::time::TimeRange::ALL;
        for tenant in catalog.tenants().await.unwrap() {
            let mut found = catalog.segments(&tenant.name, &all).await.unwrap();
            found.sort_by_key(|s| s.id);
            state.segments.insert(tenant.name.to_string(), found.into_iter().map(|s| s.id).collect());
        }
        state
    }

    /// The same, in the order in which [`State::of`] tells it.
    pub(crate) fn told(mut self) -> Self {
        self.wal.retain(|_, objects| !objects.is_empty());
        self.segments.values_mut().for_each(|segments| segments.sort());
        self
    }
}

/// The ordinals that a catalog has given, by object; each new one above all before it of the same indexer.
#[derive(Default)]
pub(crate) struct Ordinals {
    given: HashMap<ObjectId, (Uuid, CommitId)>,
}

impl Ordinals {
    pub(crate) fn check(&mut self, commit: &NewCommit, is_known: bool, id: CommitId) {
        let indexer = commit.lease.indexer;
        if is_known {
            assert_eq!(self.given.get(&commit.object).map(|(_, id)| *id), Some(id), "recorded before");
            return;
        }
        let newest = self.given.values().filter(|(of, _)| *of == indexer).map(|(_, id)| *id).max();
        assert!(newest.is_none_or(|newest| newest < id), "{id:?} after {newest:?}");
        self.given.insert(commit.object, (indexer, id));
    }
}
