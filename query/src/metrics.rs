//! The query role's metrics.

mod object_cache;

use heliograph_store::objects::DiskCache;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    exponential_buckets,
};

use crate::error::{Error, Result};

/// Handles of all metrics, registered once.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Requests by route and class of status.
    pub(crate) requests: IntCounterVec,
    /// Duration of searches, counts and contexts.
    pub(crate) search_seconds: Histogram,
    /// How long searches waited for their turn.
    pub(crate) search_wait_seconds: Histogram,
    /// Searches that wait for their turn, as of the last that got one.
    pub(crate) search_waiting: IntGauge,
    /// Records given to searches, exports and contexts.
    pub(crate) records: IntCounter,
    /// Answers that lack a part, because an indexer or a segment could not be read.
    pub(crate) incomplete: IntCounter,
    /// Live tails.
    pub(crate) tail_clients: IntGauge,
    /// Records sent to live tails.
    pub(crate) tail_records: IntCounter,
    /// Records that live tails were told they missed.
    pub(crate) tail_skipped: IntCounter,
    /// Bytes of exports, before compression.
    pub(crate) export_bytes: IntCounter,
    /// Sign-ins by outcome.
    pub(crate) sign_ins: IntCounterVec,
    /// Calls whose caller was not proved, by what was wrong.
    pub(crate) credentials_refused: IntCounterVec,
    /// Questions to the authorization webhook, by what came of them.
    pub(crate) webhook_answers: IntCounterVec,
    /// Events in the audit log by action; one over several tenants counts once.
    pub(crate) audit_events: IntCounterVec,
    /// Calls that have a place in the audit log's queue.
    pub(crate) audit_queue: IntGauge,
    /// Tries to write the audit log that failed.
    pub(crate) audit_failures: IntCounter,
    /// Refused credentials that were too many of one address to be recorded one by one.
    pub(crate) audit_refusals_left_out: IntCounter,
    /// Changed files of certificates for indexers that could not be used.
    pub(crate) tls_reload_failures: IntCounter,
    /// When the certificate expires by which indexers know us, in seconds since 1970, by the setting that names its file.
    pub(crate) tls_certificate_expires: IntGaugeVec,
    /// Memory held by opened segments' index parts.
    pub(crate) segment_cache_bytes: IntGauge,
    pub(crate) page_cache_bytes: IntGauge,
    /// Opened segments.
    pub(crate) segment_cache_segments: IntGauge,
}

impl Metrics {
    /// Registers all.
    pub(crate) fn new(registry: &Registry) -> Result<Self> {
        Self::register(registry).map_err(|e| Error::server("registering metrics", e))
    }

    /// Shows what the cache of the object store counts.
    pub(crate) fn watch(registry: &Registry, cache: &DiskCache) -> Result<()> {
        object_cache::ObjectCache::new(cache.clone())
            .and_then(|shown| registry.register(Box::new(shown)))
            .map_err(|e| Error::server("registering metrics", e))
    }

    #[expect(clippy::too_many_lines, reason = "one entry for each figure")]
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("heliograph_query_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            prometheus::Result::Ok(counter)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(format!("heliograph_query_{name}"), help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            prometheus::Result::Ok(counters)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("heliograph_query_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        let gauges = |name: &str, help: &str, label: &str| {
            let gauges = IntGaugeVec::new(Opts::new(format!("heliograph_query_{name}"), help), &[label])?;
            registry.register(Box::new(gauges.clone()))?;
            prometheus::Result::Ok(gauges)
        };
        let seconds = |name: &str, help: &str| {
            // 1 ms to 33 s: the bound on a search is 30 s.
            let opts = HistogramOpts::new(format!("heliograph_query_{name}"), help)
                .buckets(exponential_buckets(0.001, 2.0, 16)?);
            let seconds = Histogram::with_opts(opts)?;
            registry.register(Box::new(seconds.clone()))?;
            prometheus::Result::Ok(seconds)
        };
        Ok(Self {
            requests: counters(
                "requests_total",
                "Requests by route and class of status.",
                &["route", "status"],
            )?,
            search_seconds: seconds("search_seconds", "Duration of searches and counts.")?,
            search_wait_seconds: seconds("search_wait_seconds", "How long searches waited for their turn.")?,
            search_waiting: gauge("search_waiting", "Searches that wait for their turn.")?,
            records: counter("records_total", "Records given to searches, exports and contexts.")?,
            incomplete: counter("incomplete_answers_total", "Answers that lack an unreadable part.")?,
            tail_clients: gauge("tail_clients", "Live tails.")?,
            tail_records: counter("tail_records_total", "Records sent to live tails.")?,
            tail_skipped: counter("tail_skipped_records_total", "Records that live tails missed.")?,
            export_bytes: counter("export_bytes_total", "Bytes of exports, before compression.")?,
            sign_ins: counters("sign_ins_total", "Sign-ins by outcome.", &["outcome"])?,
            credentials_refused: counters(
                "credentials_refused_total",
                "Calls whose caller was not proved.",
                &["reason"],
            )?,
            webhook_answers: counters(
                "webhook_answers_total",
                "Questions to the authorization webhook, by what came of them.",
                &["outcome"],
            )?,
            audit_events: counters("audit_events_total", "Events in the audit log.", &["action"])?,
            audit_queue: gauge("audit_queue", "Calls with a place in the audit log's queue.")?,
            audit_failures: counter("audit_failures_total", "Failed tries to write the audit log.")?,
            audit_refusals_left_out: counter(
                "audit_refusals_left_out_total",
                "Refused credentials beyond those that are recorded one by one.",
            )?,
            tls_reload_failures: counter(
                "tls_reload_failures_total",
                "Changed files of certificates for indexers that could not be used.",
            )?,
            tls_certificate_expires: gauges(
                "tls_certificate_expires_seconds",
                "When the certificate for indexers that is in use expires, in seconds since 1970.",
                "file",
            )?,
            segment_cache_bytes: gauge("segment_cache_bytes", "Memory of opened segments' index parts.")?,
            page_cache_bytes: gauge("page_cache_bytes", "Memory of segments' opened pages.")?,
            segment_cache_segments: gauge("segment_cache_segments", "Opened segments.")?,
        })
    }
}
