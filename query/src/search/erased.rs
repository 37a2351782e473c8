//! What was erased is dropped from what is kept of it here.
//!
//! No search finds what was erased, for no list names its segment; but its bytes may still be here: opened, or in the
//! cache on disk. So whenever an erasure is done, or a tenant is erased, all that is not listed goes, and erased
//! tenants' keys.

use std::collections::{HashMap, HashSet};

use heliograph_model::tenant::TenantId;
use heliograph_store::catalog::LISTED_WITHIN;
use heliograph_store::layout;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Search;
use crate::error::Result;

impl Search {
    /// Heeds erasures until `stop`. At the start, too: what is on disk may be from before one.
    pub(crate) async fn drop_erased(&self, stop: CancellationToken) {
        stop.run_until_cancelled(self.drop_on()).await;
    }

    async fn drop_on(&self) {
        let mut heeded = 0;
        // A search that began before may keep something once more, up to its own end.
        let mut again: Option<Instant> = None;
        loop {
            let looked = async {
                let steps = self.store.catalog.erasure_steps().await?;
                let is_over = again.is_some_and(|at| at <= Instant::now());
                if steps != heeded || is_over {
                    self.keep_listed().await?;
                    again = (steps != heeded).then(|| Instant::now() + self.timeout);
                    heeded = steps;
                }
                Ok::<_, crate::Error>(())
            };
            if let Err(error) = looked.await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "cannot see what was erased, will try again");
            }
            sleep(LISTED_WITHIN).await;
        }
    }

    /// Drops all that is kept of segments that are not searched.
    async fn keep_listed(&self) -> Result<()> {
        self.lists.forget_all();
        let catalog = &self.store.catalog;
        let erased = catalog.erased_tenants().await?;
        self.store.tenants.forget(&erased.iter().map(|tenant| tenant.uid).collect());
        let listed = catalog.newest_segments(u32::MAX).await?;
        self.segments.keep_only(&listed.iter().map(|segment| segment.id).collect::<HashSet<_>>());
        if let Some(cache) = &self.store.cache {
            let tenants = catalog.tenants().await?;
            let uids: HashMap<&TenantId, Uuid> = tenants.iter().map(|of| (&of.name, of.uid)).collect();
            let path = |of: &heliograph_store::catalog::SegmentMeta| {
                Some(layout::segment(*uids.get(&of.tenant)?, of.id))
            };
            cache.keep_only(listed.iter().filter_map(path)).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use heliograph_model::filter::Filter;
    use heliograph_model::time::TimeRange;
    use heliograph_store::catalog::{NewErasure, NewTenantErasure, Reason, Role};
    use prometheus::Registry;

    use super::*;
    use crate::hot::Client;
    use crate::metrics::Metrics;
    use crate::segments::Segments;
    use crate::stage::{Stage, record, tenant};

    #[tokio::test]
    async fn after_an_erasure_nothing_is_kept_that_is_not_listed() {
        let mut config = None;
        let stage = Stage::with(|of_stage| {
            of_stage.page_cache_bytes = 1 << 20;
            config = Some(of_stage.clone());
        })
        .await;
        let a = tenant("a");
        for n in 1..3 {
            stage.indexer.commit(&a, &[record(1, n, 1, "a word")]).await;
            stage.indexer.seal(&a).await;
        }
        let cache = tempfile::tempdir().unwrap();
        let cached =
            heliograph_store::objects::CacheConfig { folder: cache.path().to_owned(), bytes_max: 64 << 20 };
        let cached = heliograph_store::objects::cached(&stage.store.objects, &cached).await.unwrap();
        let store = heliograph_store::Store {
            objects: std::sync::Arc::new(cached.clone()),
            cache: Some(cached.clone()),
            ..stage.store.clone()
        };
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let config = config.unwrap();
        let client = Client::open(&config.tls).await.unwrap();
        let search = Search::new(&config, store, client, metrics);
        let all = stage.store.catalog.segments(&a, &TimeRange::ALL).await.unwrap();
        let is_open =
            |segments: &Segments| all.iter().map(|s| segments.opened(s).is_some()).collect::<Vec<_>>();
        search.warm(Duration::from_secs(60)).await;
        assert_eq!(is_open(&search.segments), [true, true]);
        let full = cached.counts().bytes;
        assert!(full > 0);

        let stop = CancellationToken::new();
        let dropping = search.drop_erased(stop.clone());
        let erasing = async {
            let new = NewErasure {
                id: Uuid::new_v4(),
                tenant: a.clone(),
                query: "word".to_owned(),
                filter: Filter::All,
                range: TimeRange::ALL,
                by: "a test".to_owned(),
                at: record(1, 1, 1, "").time,
            };
            stage.store.catalog.request_erasure(&new).await.unwrap();
            stage.store.catalog.retire(&a, &[all[0].id], Reason::Erased, new.at).await.unwrap();
            sleep(2 * LISTED_WITHIN).await;
            assert_eq!(is_open(&search.segments), [true, true], "not done yet");
            stage.store.catalog.finish_erasure(new.id, new.at).await.unwrap();
            for _ in 0..200 {
                if is_open(&search.segments) == [false, true] && cached.counts().bytes < full {
                    break;
                }
                sleep(Duration::from_millis(50)).await;
            }
            assert_eq!((is_open(&search.segments), cached.counts().bytes), (vec![false, true], full / 2));
            stop.cancel();
        };
        tokio::join!(dropping, erasing);
        let (_, token) = stage.token("a", &[Role::Viewer]).await;
        assert_eq!(stage.messages(&token, "/api/v1/search").await.len(), 1);
    }

    #[tokio::test]
    async fn an_erased_tenants_key_and_segments_are_let_go() {
        let mut config = None;
        let stage = Stage::with(|of_stage| config = Some(of_stage.clone())).await;
        let (a, b) = (tenant("a"), tenant("b"));
        for of in [&a, &b] {
            stage.indexer.commit(of, &[record(1, 1, 1, "a word")]).await;
            stage.indexer.seal(of).await;
        }
        let config = config.unwrap();
        let client = Client::open(&config.tls).await.unwrap();
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let search = Search::new(&config, stage.store.clone(), client, metrics);
        search.warm(Duration::from_secs(60)).await;
        let metas = stage.store.catalog.segments_of(&[a.clone(), b.clone()], &TimeRange::ALL).await.unwrap();
        let is_open = |of: &TenantId| {
            let meta = metas.iter().find(|meta| meta.tenant == *of).unwrap();
            search.segments.opened(meta).is_some()
        };
        assert!(is_open(&a) && is_open(&b));
        let stop = CancellationToken::new();
        let erasing = async {
            let at = record(1, 1, 1, "").time;
            let new = NewTenantErasure { id: Uuid::new_v4(), tenant: a.clone(), by: "a test".to_owned(), at };
            stage.store.catalog.erase_tenant(&new).await.unwrap();
            assert!(search.store.tenants.find(&a).await.unwrap().is_some(), "it is remembered");
            for _ in 0..200 {
                if !is_open(&a) && search.store.tenants.find(&a).await.unwrap().is_none() {
                    break;
                }
                sleep(Duration::from_millis(50)).await;
            }
            assert!(!is_open(&a) && search.store.tenants.find(&a).await.unwrap().is_none());
            assert!(is_open(&b) && search.store.tenants.find(&b).await.unwrap().is_some());
            stop.cancel();
        };
        tokio::join!(search.drop_erased(stop.clone()), erasing);
    }
}
