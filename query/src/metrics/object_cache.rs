//! What the store's cache counts, as metrics: read when they are asked for.

use heliograph_store::objects::{CacheCounts, DiskCache};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge};

type Read = fn(&CacheCounts) -> u64;

/// Name, help, and where it is read.
const COUNTERS: [(&str, &str, Read); 4] = [
    ("hits_total", "Pieces given from disk.", |counts| counts.hits),
    ("misses_total", "Pieces read from the storage.", |counts| counts.misses),
    ("damaged_total", "Files that were not what was written.", |counts| counts.damaged),
    ("disk_errors_total", "Reads, writes and removals that the disk refused.", |counts| counts.disk_errors),
];

fn name(rest: &str) -> String {
    format!("heliograph_query_object_cache_{rest}")
}

fn counter(rest: &str, help: &str, value: u64) -> prometheus::Result<IntCounter> {
    let counter = IntCounter::new(name(rest), help)?;
    counter.inc_by(value);
    Ok(counter)
}

fn gauge(value: u64) -> prometheus::Result<IntGauge> {
    let gauge = IntGauge::new(name("bytes"), "Room that the cache of objects takes on disk.")?;
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    Ok(gauge)
}

/// Shows a cache's counts.
pub(super) struct ObjectCache {
    cache: DiskCache,
    /// What they are called; their values are made anew for each who asks.
    bytes: IntGauge,
    counters: Vec<IntCounter>,
}

impl ObjectCache {
    /// Of this cache.
    pub(super) fn new(cache: DiskCache) -> prometheus::Result<Self> {
        let counters = COUNTERS.into_iter().map(|(rest, help, _)| counter(rest, help, 0));
        Ok(Self { cache, bytes: gauge(0)?, counters: counters.collect::<prometheus::Result<_>>()? })
    }
}

impl Collector for ObjectCache {
    fn desc(&self) -> Vec<&Desc> {
        self.counters.iter().flat_map(IntCounter::desc).chain(self.bytes.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let counts = self.cache.counts();
        let bytes = gauge(counts.bytes).into_iter().flat_map(|gauge| gauge.collect());
        let counters = COUNTERS
            .into_iter()
            .filter_map(|(rest, help, read)| Some(counter(rest, help, read(&counts)).ok()?.collect()));
        bytes.chain(counters.flatten()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use heliograph_store::objects::CacheConfig;
    use object_store::memory::InMemory;
    use prometheus::{Registry, TextEncoder};

    use super::*;

    #[test]
    fn what_it_counts_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let config = CacheConfig { folder: folder.path().to_owned(), bytes_max: 1 << 20 };
        let cache = DiskCache::open(Arc::new(InMemory::new()), &config).unwrap();
        let registry = Registry::new();
        registry.register(Box::new(ObjectCache::new(cache).unwrap())).unwrap();
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for line in ["hits_total 0", "misses_total 0", "damaged_total 0", "disk_errors_total 0", "bytes 0"] {
            assert!(text.contains(&format!("\nheliograph_query_object_cache_{line}\n")), "{text}");
        }
    }
}
