//! Commits as indexers make them: one after the other by each, with the batches that have gathered meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::future::try_join_all;
use heliograph_model::batch::{BatchId, ProducerId};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;
use heliograph_store::catalog::{self, Catalog, CommittedBatch, Lease, NewCommit};
use heliograph_store::layout::new_object_id;
use uuid::Uuid;

use super::filled;
use crate::series::Series;

/// Commits after which the objects are released: as sealing does, so that the table stays as small as in life.
const RELEASE_AFTER: u32 = 100;

/// Milliseconds of each commit of so many indexers at once, each with connections of its own, and how long all took.
pub(super) async fn measure(
    url: &catalog::Url,
    indexers: usize,
    batches: usize,
    tenants: usize,
    time: Duration,
) -> anyhow::Result<(Series, f64)> {
    let all: Vec<_> = (0..indexers).map(|_| Indexer::new(url, batches, tenants)).collect();
    let mut all = try_join_all(all).await?;
    let begun = Instant::now();
    let millis = try_join_all(all.iter_mut().map(|indexer| indexer.commit_for(time))).await?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok((Series::new(millis.into_iter().flatten().collect()), seconds))
}

/// An indexer with producers of its own.
struct Indexer {
    catalog: Arc<dyn Catalog>,
    lease: Lease,
    producers: Vec<ProducerId>,
    /// By tenant and producer.
    sequences: HashMap<(usize, usize), u64>,
    tenants: Vec<(TenantId, Uuid)>,
    /// The next batch's tenant.
    turn: usize,
}

impl Indexer {
    async fn new(url: &catalog::Url, batches: usize, tenants: usize) -> anyhow::Result<Self> {
        let catalog = catalog::open(url, None).await?;
        let lease = Lease::embedded(Uuid::new_v4());
        let producer = |n| ProducerId::parse(&format!("{}-{n}", lease.indexer.simple()));
        let producers = (0..batches).map(producer).collect::<Result<_, _>>()?;
        let uids: HashMap<TenantId, Uuid> =
            catalog.tenants().await?.into_iter().map(|tenant| (tenant.name, tenant.uid)).collect();
        let named = |n| {
            let name = filled::tenant(n)?;
            let uid = uids.get(&name).copied().context("a tenant was not filled in")?;
            Ok((name, uid))
        };
        let tenants = (0..tenants).map(named).collect::<anyhow::Result<_>>()?;
        Ok(Self { catalog, lease, producers, sequences: HashMap::new(), tenants, turn: 0 })
    }

    async fn commit_for(&mut self, time: Duration) -> anyhow::Result<Vec<f64>> {
        let begun = Instant::now();
        let (mut millis, mut commits) = (Vec::new(), 0);
        while begun.elapsed() < time {
            let commit = self.next();
            let since = Instant::now();
            self.catalog.commit(&commit).await?;
            millis.push(since.elapsed().as_secs_f64() * 1_000.0);
            commits += 1;
            if commits % RELEASE_AFTER == 0 {
                let needed = self.catalog.wal_objects(self.lease.indexer).await?;
                self.catalog
                    .release(&self.lease, &needed.iter().map(|w| w.object).collect::<Vec<_>>())
                    .await?;
            }
        }
        Ok(millis)
    }

    /// A batch of each producer, over the tenants in turn.
    fn next(&mut self) -> NewCommit {
        let mut batches = Vec::with_capacity(self.producers.len());
        for (by, producer) in self.producers.iter().enumerate() {
            self.turn = (self.turn + 1) % self.tenants.len().max(1);
            let Some((tenant, uid)) = self.tenants.get(self.turn) else { continue };
            let sequence = self.sequences.entry((self.turn, by)).or_default();
            *sequence += 1;
            let id = BatchId { producer: producer.clone(), epoch: 1, sequence: *sequence };
            batches.push(CommittedBatch { tenant: tenant.clone(), uid: *uid, id: Some(id) });
        }
        NewCommit { lease: self.lease, object: new_object_id(), bytes: 1_000, at: Timestamp::MIN, batches }
    }
}
