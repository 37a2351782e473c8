//! Makes batches durable: the write-ahead object, then the catalog's transaction; and then hot and live.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use heliograph_model::batch::ProducerId;
use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Clock;
use heliograph_store::catalog::{CommittedBatch, NewCommit};
use heliograph_store::layout::{self, ObjectId};
use heliograph_store::wal::{self, WalBatch};
use heliograph_store::{Error as StoreError, Store, crash, objects};
use object_store::ObjectStoreExt;
use tokio::time::timeout;

use super::{Batch, Place};
use crate::error::{Error, Result};
use crate::feed::Feed;
use crate::hot::{Hot, Share};
use crate::lease::Held;
use crate::ledger::Ledger;
use crate::metrics::Metrics;

/// Pauses between attempts to record a commit.
const RECORD_PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];
/// Longest time of deleting one that nobody needs.
const DELETE_MAX: Duration = Duration::from_secs(5);

/// Writes commits of one indexer.
pub(crate) struct Writer {
    /// Where.
    pub(crate) store: Store,
    /// For whom, and by which right.
    pub(crate) held: Arc<Held>,
    /// When.
    pub(crate) clock: Arc<dyn Clock>,
    /// Where the records go then.
    pub(crate) hot: Arc<Hot>,
    /// Where the object is noted.
    pub(crate) ledger: Arc<Ledger>,
    /// Who is told.
    pub(crate) feed: Arc<Feed>,
    /// What is counted.
    pub(crate) metrics: Metrics,
}

/// A commit that the catalog has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded {
    commit: CommitId,
    object: ObjectId,
}

/// Why there is no commit.
#[derive(Debug)]
pub(super) enum Failure {
    /// A producer of this tenant is at another place than we thought; nothing is recorded.
    Sequence {
        /// Whose producer.
        tenant: TenantId,
    },
    /// This tenant was erased; nothing is recorded.
    Erased {
        /// Who.
        tenant: TenantId,
    },
    /// Nothing is recorded.
    NotDone,
    /// Another process writes for this indexer. It may be recorded by an earlier try, and then it is the other's.
    Fenced,
    /// The catalog may or may not have it.
    Unknown {
        /// What was to be recorded.
        commit: Box<NewCommit>,
    },
}

impl Writer {
    /// Makes batches durable, all or none.
    pub(super) async fn write<'a>(
        &self,
        batches: impl Iterator<Item = &'a Batch>,
    ) -> Result<Recorded, Failure> {
        let timer = self.metrics.commit_seconds.start_timer();
        let (sealed, named): (Vec<_>, Vec<_>) = batches
            .map(|b| {
                let (tenant, uid) = (b.tenant.name.clone(), b.tenant.uid);
                let named = CommittedBatch { tenant, uid, id: b.id.clone() };
                (WalBatch { tenant: Arc::clone(&b.tenant), payload: b.payload.clone() }, named)
            })
            .unzip();
        let number = named.len();
        let written = self.write_object(sealed, named).await;
        match &written {
            Ok(_) => {
                #[expect(clippy::cast_precision_loss, reason = "at most a few thousand batches")]
                self.metrics.commit_batches.observe(number as f64);
                timer.observe_duration();
            }
            Err(_) => {
                self.metrics.commit_failures.inc();
                timer.stop_and_discard();
            }
        }
        written
    }

    async fn write_object(
        &self,
        batches: Vec<WalBatch>,
        named: Vec<CommittedBatch>,
    ) -> Result<Recorded, Failure> {
        let object = layout::new_object_id();
        let bytes = match self.put(object, batches).await {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot write ahead");
                self.discard(object).await;
                return Err(Failure::NotDone);
            }
        };
        let commit =
            NewCommit { lease: self.held.lease(), object, bytes, at: self.clock.now(), batches: named };
        self.record(commit).await
    }

    /// Records a commit whose object is written. To be called again after [`Failure::Unknown`]: recording twice
    /// is the same as once.
    pub(super) async fn record(&self, commit: NewCommit) -> Result<Recorded, Failure> {
        let object = commit.object;
        self.held.commit_begins();
        let mut pauses = RECORD_PAUSES.into_iter();
        loop {
            // Never given up half-way: a transaction left alone may still be made.
            crash::point("commit.record.before");
            match self.store.catalog.commit(&commit).await {
                Ok(commit) => {
                    crash::point("commit.record.after");
                    return Ok(Recorded { commit, object });
                }
                Err(StoreError::Sequence { tenant, .. }) => {
                    self.held.commit_ends();
                    self.discard(object).await;
                    return Err(Failure::Sequence { tenant });
                }
                Err(StoreError::Erased { tenant }) => {
                    self.held.commit_ends();
                    self.discard(object).await;
                    return Err(Failure::Erased { tenant });
                }
                // Nothing is deleted: an earlier try may be recorded.
                Err(StoreError::Fenced { .. }) => {
                    self.held.lose();
                    return Err(Failure::Fenced);
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "cannot record a commit");
                    match pauses.next() {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => return Err(Failure::Unknown { commit: Box::new(commit) }),
                    }
                }
            }
        }
    }

    async fn put(&self, object: ObjectId, batches: Vec<WalBatch>) -> Result<u64> {
        let disk = self.store.disk.clone();
        let writing = move || {
            let bytes = wal::write(object, &batches)?;
            disk.map_or(Ok(()), |disk| disk.has_room(bytes.len() as u64))?;
            Ok::<_, Error>(bytes)
        };
        let bytes = tokio::task::spawn_blocking(writing).await??;
        let size = bytes.len() as u64;
        let path = layout::wal(self.held.indexer(), object);
        crash::point("commit.put.before");
        objects::create(&*self.store.objects, &path, bytes).await?;
        crash::point("commit.put.after");
        Ok(size)
    }

    /// Whether the catalog has the commit of an object.
    pub(super) async fn has(&self, object: ObjectId) -> heliograph_store::Result<bool> {
        Ok(self.store.catalog.wal_objects(self.held.indexer()).await?.iter().any(|w| w.object == object))
    }

    /// Deletes an object that no commit names. If that fails, the next start does it.
    pub(super) async fn discard(&self, object: ObjectId) {
        let path = layout::wal(self.held.indexer(), object);
        let deleted = timeout(DELETE_MAX, self.store.objects.delete(&path)).await;
        if !matches!(deleted, Ok(Ok(()) | Err(object_store::Error::NotFound { .. }))) {
            tracing::warn!(%object, "left a write-ahead object behind that no commit names");
        }
    }

    /// A producer's place on record.
    pub(super) async fn place(
        &self,
        tenant: &TenantId,
        producer: &ProducerId,
    ) -> heliograph_store::Result<Option<Place>> {
        self.store.catalog.producer(tenant, producer).await
    }

    /// The commit's records can be found and followed from here on.
    pub(super) fn make_hot(&self, recorded: &Recorded, batches: Vec<Batch>) {
        let mut shares: Vec<Share> = Vec::new();
        let mut at: HashMap<TenantId, usize> = HashMap::new();
        for Batch { tenant, rows, room, .. } in batches {
            if rows.is_empty() {
                continue;
            }
            self.metrics.lines.inc_by(rows.len() as u64);
            match at.get(&tenant.name).and_then(|i| shares.get_mut(*i)) {
                Some(share) => {
                    share.rows.push(rows);
                    share.room.join(room);
                }
                None => {
                    at.insert(tenant.name.clone(), shares.len());
                    shares.push(Share { tenant: tenant.name.clone(), rows: vec![rows], room });
                }
            }
        }
        let tenants = at.into_keys().collect();
        self.ledger.enter(recorded.commit, recorded.object, tenants, false);
        let chunks = self.hot.insert(recorded.commit, shares);
        self.held.commit_ends();
        self.feed.publish(recorded.commit, &chunks);
    }
}
