//! At start and at a takeover: what is written ahead and not sealed becomes hot again, before anything else is let
//! in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use heliograph_model::codec;
use heliograph_model::rows::Rows;
use heliograph_model::tenant::TenantId;
use heliograph_store::catalog::WalObject;
use heliograph_store::layout::{self, ObjectId};
use heliograph_store::tenants::OpenTenant;
use heliograph_store::wal::{self, SealedBatch};
use heliograph_store::{Error as StoreError, Store, crash};
use object_store::ObjectStoreExt;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::hot::{Hot, Share};
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::seal::delete_wal;

/// Objects that are read and decoded ahead.
const AHEAD: usize = 4;
/// Pauses between attempts to read one.
const READ_PAUSE_MIN: Duration = Duration::from_millis(500);
const READ_PAUSE_MAX: Duration = Duration::from_secs(10);
/// A batch that was taken in is taken in again, whatever the bound on new ones is now.
const EXPANDED_BYTES_MAX: usize = 1 << 30;

/// What an indexer holds unsealed, as hot records and as the objects in which they lie. Waits where the store does
/// not answer; nothing if stopped meanwhile.
pub(crate) async fn replay(
    store: &Store,
    indexer: Uuid,
    budget: &Arc<Budget>,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Result<Option<(Arc<Hot>, Arc<Ledger>)>> {
    let sealed = store.catalog.sealed_through(indexer).await?.into_iter().collect();
    let hot = Arc::new(Hot::new(indexer, Arc::clone(budget), metrics.clone(), sealed));
    let ledger = Arc::new(Ledger::new(metrics.clone()));
    let (metrics, store) = (metrics.clone(), store.clone());
    let replay = Replay { store, indexer, hot: Arc::clone(&hot), ledger: Arc::clone(&ledger), metrics };
    Ok(replay.run(stop).await?.then_some((hot, ledger)))
}

/// What it needs.
struct Replay {
    /// Where it lies.
    store: Store,
    /// Whose.
    indexer: Uuid,
    /// Where it goes.
    hot: Arc<Hot>,
    /// Where objects are noted.
    ledger: Arc<Ledger>,
    /// What is counted.
    metrics: Metrics,
}

/// Tenants by the id that write-ahead objects name them by; none where one was erased.
type Tenants = HashMap<Uuid, Option<Arc<OpenTenant>>>;

/// A write-ahead object taken apart.
struct Opened {
    batches: Vec<(TenantId, Rows)>,
    damages: Vec<String>,
}

impl Replay {
    /// Makes hot what is not sealed, and deletes what the catalog does not name. Waits where the store does not
    /// answer; `false` if stopped meanwhile.
    async fn run(&self, stop: &CancellationToken) -> Result<bool> {
        let objects = self.store.catalog.wal_objects(self.indexer).await?;
        let tenants = self.tenants().await?;
        crash::point("replay.delete.before");
        self.delete_orphans(&objects).await;
        crash::point("replay.delete.after");
        let (count, mut records) = (objects.len(), 0_usize);
        let mut opened = stream::iter(objects)
            .map(|wal| {
                let tenants = &tenants;
                async move {
                    let opened = self.read_at_last(&wal, tenants, stop).await?;
                    Ok::<_, Error>((wal, opened))
                }
            })
            .buffered(AHEAD);
        while let Some((wal, opened)) = opened.try_next().await? {
            let Some(opened) = opened.filter(|_| !stop.is_cancelled()) else { return Ok(false) };
            records += self.take(&wal, opened);
        }
        crash::point("replay.after");
        if count > 0 {
            tracing::info!(objects = count, records, "replayed what was not sealed");
        }
        Ok(true)
    }

    async fn tenants(&self) -> Result<Tenants> {
        let mut tenants = Tenants::new();
        for tenant in self.store.catalog.tenants().await? {
            // It may be erased this moment, and another have its name.
            let open = self.store.tenants.find(&tenant.name).await?.filter(|open| open.uid == tenant.uid);
            tenants.insert(tenant.uid, open);
        }
        let erased = self.store.catalog.erased_tenants().await?;
        tenants.extend(erased.into_iter().map(|tenant| (tenant.uid, None)));
        Ok(tenants)
    }

    /// Objects of commits that were never recorded, or were released: nobody was told of them, or nobody needs
    /// them.
    async fn delete_orphans(&self, needed: &[WalObject]) {
        let needed: HashSet<ObjectId> = needed.iter().map(|w| w.object).collect();
        let prefix = layout::wal_prefix(self.indexer);
        let found: Vec<_> = self.store.objects.list(Some(&prefix)).collect().await;
        let mut orphans = Vec::new();
        for meta in found {
            match meta {
                Ok(meta) => {
                    let object = layout::wal_object(&meta.location);
                    orphans.extend(object.filter(|object| !needed.contains(object)));
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "cannot list write-ahead objects");
                }
            }
        }
        let failures = delete_wal(&self.store, self.indexer, &orphans).await;
        if !orphans.is_empty() {
            tracing::info!(
                objects = orphans.len(),
                failures,
                "deleted write-ahead objects that no commit names"
            );
        }
    }

    /// Reads an object, however long the store does not answer; nothing if stopped meanwhile.
    async fn read_at_last(
        &self,
        wal: &WalObject,
        tenants: &Tenants,
        stop: &CancellationToken,
    ) -> Result<Option<Opened>> {
        let mut pause = READ_PAUSE_MIN;
        loop {
            match self.read(wal, tenants).await {
                Err(Error::Objects(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, object = %wal.object, "cannot read what was written ahead, will try again");
                }
                read => return read.map(Some),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(READ_PAUSE_MAX),
                () = stop.cancelled() => return Ok(None),
            }
        }
    }

    /// Reads an object. What is damaged in it is reported, the rest is kept; a store that does not answer is an
    /// error, for what it holds is not lost.
    async fn read(&self, wal: &WalObject, tenants: &Tenants) -> Result<Opened> {
        let path = layout::wal(self.indexer, wal.object);
        let bytes = match self.store.objects.get(&path).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => {
                return Ok(Opened { batches: Vec::new(), damages: vec!["it is missing".to_owned()] });
            }
            Err(error) => return Err(error.into()),
        };
        let sealed = match wal::read(wal.object, bytes) {
            Ok(sealed) => sealed,
            Err(error @ StoreError::Corrupt { .. }) => {
                return Ok(Opened { batches: Vec::new(), damages: vec![error.to_string()] });
            }
            Err(error) => return Err(error.into()),
        };
        let needed: Vec<_> = sealed
            .into_iter()
            .filter_map(|batch| match tenants.get(&batch.tenant_uid) {
                None => Some((batch, None)),
                Some(None) => None,
                Some(Some(tenant)) => {
                    let is_needed = self.hot.sealed_through(&tenant.name) < wal.commit;
                    is_needed.then(|| (batch, Some(Arc::clone(tenant))))
                }
            })
            .collect();
        Ok(tokio::task::spawn_blocking(move || open(needed)).await?)
    }

    /// Makes an object's records hot; how many there were.
    fn take(&self, wal: &WalObject, opened: Opened) -> usize {
        for reason in &opened.damages {
            tracing::error!(object = %wal.object, commit = wal.commit.0, reason, "a write-ahead object is damaged");
            self.metrics.wal_damaged.inc();
        }
        let mut by_tenant: Vec<Share> = Vec::new();
        for (tenant, rows) in opened.batches.into_iter().filter(|(_, rows)| !rows.is_empty()) {
            let room = self.hot.budget().take(rows.memory_bytes());
            match by_tenant.iter_mut().find(|share| share.tenant == tenant) {
                Some(share) => {
                    share.rows.push(rows);
                    share.room.join(room);
                }
                None => by_tenant.push(Share { tenant, rows: vec![rows], room }),
            }
        }
        let waiting = by_tenant.iter().map(|share| share.tenant.clone()).collect();
        self.ledger.enter(wal.commit, wal.object, waiting, !opened.damages.is_empty());
        let count = by_tenant.iter().map(|share| share.rows.iter().map(Rows::len).sum::<usize>()).sum();
        self.hot.insert(wal.commit, by_tenant);
        count
    }
}

/// Opens and decodes batches. CPU work.
fn open(batches: Vec<(SealedBatch, Option<Arc<OpenTenant>>)>) -> Opened {
    let mut opened = Opened { batches: Vec::new(), damages: Vec::new() };
    for (number, (batch, tenant)) in batches.into_iter().enumerate() {
        let Some(tenant) = tenant else {
            opened.damages.push(format!("batch {number} is of an unknown tenant {}", batch.tenant_uid));
            continue;
        };
        match open_one(batch, &tenant) {
            Ok(rows) => opened.batches.push((tenant.name.clone(), rows)),
            // The text of a decoding error may hold content.
            Err(_) => opened.damages.push(format!("batch {number} of tenant {} does not open", tenant.name)),
        }
    }
    opened
}

fn open_one(batch: SealedBatch, tenant: &OpenTenant) -> Result<Rows> {
    let payload = batch.open(tenant)?;
    Ok(codec::decode(&codec::decompress(&payload, EXPANDED_BYTES_MAX)?)?)
}
