//! Opened segments, kept while there is room, so that a search reads an index part once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use heliograph_model::tenant::TenantId;
use heliograph_store::Store;
use heliograph_store::catalog::SegmentMeta;
use heliograph_store::layout::ObjectId;
use heliograph_store::segment::{PageCache, Segment};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// Opened segments, whatever their size.
const SEGMENTS_MAX: usize = 4_096;
/// Segments that are opened before anybody asks, at most.
const WARM_MAX: u32 = 1_024;

type Key = (TenantId, ObjectId);

struct Entry {
    cell: Arc<OnceCell<Arc<Segment>>>,
    bytes: u64,
    used: u64,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<Key, Entry>,
    bytes: u64,
    uses: u64,
}

/// The cache. The key holds the tenant as a type: no name that came from outside can name another's segment.
pub(crate) struct Segments {
    store: Store,
    metrics: Metrics,
    pages: Arc<PageCache>,
    bytes_max: u64,
    kept: Mutex<Kept>,
}

impl Segments {
    /// An empty cache over a store.
    pub(crate) fn new(config: &Config, store: Store, metrics: Metrics) -> Self {
        let pages = PageCache::new(config.page_cache_bytes);
        Self { store, metrics, pages, bytes_max: config.index_cache_bytes as u64, kept: Mutex::default() }
    }

    /// The segment, opened now or before. Two who ask at once open it once. Safe to drop half-way.
    pub(crate) async fn open(&self, meta: &SegmentMeta) -> Result<Arc<Segment>> {
        let cell = self.cell(meta);
        let segment = cell
            .get_or_try_init(|| async {
                let tenant = self.store.tenants.get(&meta.tenant).await?;
                let (objects, pages) = (Arc::clone(&self.store.objects), Arc::clone(&self.pages));
                let opened = Segment::open(objects, tenant, meta.clone(), pages).await?;
                Ok::<_, heliograph_store::Error>(Arc::new(opened))
            })
            .await?;
        Ok(Arc::clone(segment))
    }

    /// Opens the newest segments, several side by side, as far as half the cache goes: the first questions are mostly
    /// about them. What cannot be opened is left for who asks for it.
    pub(crate) async fn warm(&self, side_by_side: usize) {
        let metas = match self.store.catalog.newest_segments(WARM_MAX).await {
            Ok(metas) => metas,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no segment is opened beforehand");
                return;
            }
        };
        let mut room = self.bytes_max / 2;
        let fits = |meta: &SegmentMeta| {
            let left = room.checked_sub(meta.bytes.saturating_sub(meta.index_offset));
            left.inspect(|left| room = *left).is_some()
        };
        let opening = stream::iter(metas.into_iter().take_while(fits)).map(|meta| async move {
            let warmed = async { Ok::<_, Error>(self.open(&meta).await?.warm().await?) };
            if let Err(error) = warmed.await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(segment = %meta.id, error, "a segment cannot be opened beforehand");
            }
        });
        opening.buffer_unordered(side_by_side).collect::<()>().await;
    }

    /// Drops all that is kept of other segments than these.
    pub(crate) fn keep_only(&self, listed: &HashSet<ObjectId>) {
        let mut kept = self.kept.lock();
        kept.entries.retain(|(_, id), _| listed.contains(id));
        kept.bytes = kept.entries.values().map(|entry| entry.bytes).sum();
        drop(kept);
        self.pages.keep_only(listed);
    }

    /// The segment, if it is open.
    pub(crate) fn opened(&self, meta: &SegmentMeta) -> Option<Arc<Segment>> {
        let mut kept = self.kept.lock();
        kept.uses += 1;
        let used = kept.uses;
        let entry = kept.entries.get_mut(&(meta.tenant.clone(), meta.id))?;
        entry.used = used;
        entry.cell.get().cloned()
    }

    fn cell(&self, meta: &SegmentMeta) -> Arc<OnceCell<Arc<Segment>>> {
        let mut kept = self.kept.lock();
        kept.uses += 1;
        let used = kept.uses;
        let key = (meta.tenant.clone(), meta.id);
        if let Some(entry) = kept.entries.get_mut(&key) {
            entry.used = used;
            return Arc::clone(&entry.cell);
        }
        let bytes = meta.bytes.saturating_sub(meta.index_offset);
        kept.make_room(bytes, self.bytes_max);
        let cell = Arc::new(OnceCell::new());
        kept.bytes += bytes;
        kept.entries.insert(key, Entry { cell: Arc::clone(&cell), bytes, used });
        self.metrics.segment_cache_bytes.set(i64::try_from(kept.bytes).unwrap_or(i64::MAX));
        self.metrics.page_cache_bytes.set(i64::try_from(self.pages.bytes()).unwrap_or(i64::MAX));
        self.metrics.segment_cache_segments.set(i64::try_from(kept.entries.len()).unwrap_or(i64::MAX));
        cell
    }
}

impl Kept {
    fn make_room(&mut self, bytes: u64, bytes_max: u64) {
        while !self.entries.is_empty()
            && (self.bytes + bytes > bytes_max || self.entries.len() >= SEGMENTS_MAX)
        {
            let oldest = self.entries.iter().min_by_key(|(_, e)| e.used).map(|(key, _)| key.clone());
            let Some(entry) = oldest.and_then(|key| self.entries.remove(&key)) else { return };
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use heliograph_store::layout;
    use object_store::ObjectStoreExt as _;
    use prometheus::Registry;

    use super::*;
    use crate::stage::{Stage, record, tenant};

    #[tokio::test]
    async fn the_newest_segments_are_opened_beforehand_and_a_damaged_one_is_left() {
        let mut config = None;
        let stage = Stage::with(|of_stage| config = Some(of_stage.clone())).await;
        for n in 1..4 {
            stage.indexer.commit(&tenant("a"), &[record(1, 1, i64::from(n), "a")]).await;
            stage.indexer.seal(&tenant("a")).await;
        }
        let mut all = stage.store.catalog.newest_segments(10).await.unwrap();
        let damaged = all.remove(1);
        let path = layout::segment(stage.store.tenants.get(&tenant("a")).await.unwrap().uid, damaged.id);
        stage
            .store
            .objects
            .put(&path, vec![0; usize::try_from(damaged.bytes).unwrap()].into())
            .await
            .unwrap();

        let opened = async |index_cache_bytes: usize| {
            let config = Config { index_cache_bytes, ..config.clone().unwrap() };
            let metrics = Metrics::new(&Registry::new()).unwrap();
            let segments = Segments::new(&config, stage.store.clone(), metrics);
            segments.warm(2).await;
            assert!(segments.opened(&damaged).is_none());
            all.iter().map(|meta| segments.opened(meta).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(opened(1 << 20).await, [true, true]);
        let one = usize::try_from(all[0].bytes - all[0].index_offset).unwrap();
        assert_eq!(opened(2 * one).await, [true, false], "half of the cache is for what is asked for");
    }
}
