//! The indexer's figures.

mod upkeep;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, exponential_buckets,
};

pub(crate) use upkeep::UpkeepMetrics;

/// Handles of all figures; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Batches by what became of them: stored, repeat, gap, refused, limited, busy, unavailable.
    pub(crate) batches: IntCounterVec,
    /// Requests whose sender was not proved, or may not send that, by what was wrong.
    pub(crate) credentials_refused: IntCounterVec,
    /// Questions to the authorization webhook, by what came of them.
    pub(crate) webhook_answers: IntCounterVec,
    /// Reviews of agents' tokens, by what came of them.
    pub(crate) token_reviews: IntCounterVec,
    /// Requests of tenants that had reached a limit, by the limit.
    pub(crate) limited: IntCounterVec,
    /// Secrets taken out of records that were made durable, by rule.
    pub(crate) redactions: IntCounterVec,
    /// Records made durable.
    pub(crate) lines: IntCounter,
    /// Bytes of bodies as they came.
    pub(crate) bytes: IntCounter,
    /// From the first batch's turn to the catalog's answer.
    pub(crate) commit_seconds: Histogram,
    /// Batches in one commit.
    pub(crate) commit_batches: Histogram,
    /// Commits that failed.
    pub(crate) commit_failures: IntCounter,
    /// Batches that wait for their commit.
    pub(crate) commit_queue: IntGauge,
    /// Memory held by records that are not sealed.
    pub(crate) hot_bytes: IntGauge,
    /// Records that are not sealed.
    pub(crate) hot_records: IntGauge,
    /// From taking the records to the catalog's answer.
    pub(crate) seal_seconds: Histogram,
    /// Segments published by sealing.
    pub(crate) segments: IntCounter,
    /// Seals that failed and are tried again.
    pub(crate) seal_failures: IntCounter,
    /// Write-ahead objects that are needed.
    pub(crate) wal_objects: IntGauge,
    /// Batches in write-ahead objects that could not be read again.
    pub(crate) wal_damaged: IntCounter,
    /// Indexers whose process was gone and whose records are looked after here.
    pub(crate) takeovers: IntCounter,
    /// Live tails.
    pub(crate) feed_subscribers: IntGauge,
    /// Records that slow tails were not given.
    pub(crate) feed_skipped: IntCounter,
    /// Open connections.
    pub(crate) connections: IntGauge,
    /// Rows of the audit log, by action.
    pub(crate) audit_events: IntCounterVec,
    /// Tries to write the audit log that failed.
    pub(crate) audit_failures: IntCounter,
    /// Rows that the audit log lacks, as there was no room to wait, or no time.
    pub(crate) audit_lost: IntCounter,
    /// Of merging and deleting.
    pub(crate) upkeep: UpkeepMetrics,
}

impl Metrics {
    /// Registers all figures.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let seconds = || exponential_buckets(0.001, 2.0, 15);
        Ok(Self {
            batches: counters(registry, "batches_total", "Batches by what became of them.", "outcome")?,
            credentials_refused: counters(
                registry,
                "credentials_refused_total",
                "Requests whose sender was not proved, or may not send that.",
                "reason",
            )?,
            webhook_answers: counters(
                registry,
                "webhook_answers_total",
                "Questions to the authorization webhook, by what came of them.",
                "outcome",
            )?,
            token_reviews: counters(
                registry,
                "token_reviews_total",
                "Reviews of agents' tokens, by what came of them.",
                "outcome",
            )?,
            limited: counters(registry, "limited_total", "Requests of tenants over a limit.", "limit")?,
            redactions: counters(
                registry,
                "redactions_total",
                "Secrets taken out of records, by rule.",
                "rule",
            )?,
            lines: counter(registry, "lines_total", "Records made durable.")?,
            bytes: counter(registry, "received_bytes_total", "Bytes of request bodies as they came.")?,
            commit_seconds: histogram(registry, "commit_seconds", "Duration of a group commit.", seconds()?)?,
            commit_batches: histogram(
                registry,
                "commit_batches",
                "Batches in one group commit.",
                exponential_buckets(1.0, 2.0, 12)?,
            )?,
            commit_failures: counter(registry, "commit_failures_total", "Group commits that failed.")?,
            commit_queue: gauge(registry, "commit_queue_batches", "Batches that wait for their commit.")?,
            hot_bytes: gauge(registry, "hot_bytes", "Memory of records that are not sealed.")?,
            hot_records: gauge(registry, "hot_records", "Records that are not sealed.")?,
            seal_seconds: histogram(registry, "seal_seconds", "Duration of sealing a segment.", seconds()?)?,
            segments: counter(registry, "segments_total", "Segments published.")?,
            seal_failures: counter(registry, "seal_failures_total", "Seals that failed, to be repeated.")?,
            wal_objects: gauge(registry, "wal_objects", "Write-ahead objects that are needed.")?,
            wal_damaged: counter(
                registry,
                "wal_damaged_total",
                "Damaged parts of write-ahead objects found when they were read again.",
            )?,
            takeovers: counter(
                registry,
                "takeovers_total",
                "Indexers taken over from a process that is gone.",
            )?,
            feed_subscribers: gauge(registry, "feed_subscribers", "Live feeds.")?,
            feed_skipped: counter(
                registry,
                "feed_skipped_lines_total",
                "Records that slow feeds were not given.",
            )?,
            connections: gauge(registry, "connections", "Open connections.")?,
            audit_events: counters(registry, "audit_events_total", "Rows of the audit log.", "action")?,
            audit_failures: counter(registry, "audit_failures_total", "Failed writes of the audit log.")?,
            audit_lost: counter(registry, "audit_lost_total", "Rows that the audit log lacks.")?,
            upkeep: UpkeepMetrics::new(registry)?,
        })
    }

    /// Counts a batch.
    pub(crate) fn batch(&self, outcome: &str) {
        self.batches.with_label_values(&[outcome]).inc();
    }
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn name(what: &str) -> String {
    format!("heliograph_indexer_{what}")
}

fn counter(registry: &Registry, what: &str, help: &str) -> prometheus::Result<IntCounter> {
    add(registry, IntCounter::new(name(what), help)?)
}

fn counters(registry: &Registry, what: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
    add(registry, IntCounterVec::new(Opts::new(name(what), help), &[label])?)
}

fn gauge(registry: &Registry, what: &str, help: &str) -> prometheus::Result<IntGauge> {
    add(registry, IntGauge::new(name(what), help)?)
}

fn histogram(
    registry: &Registry,
    what: &str,
    help: &str,
    buckets: Vec<f64>,
) -> prometheus::Result<Histogram> {
    add(registry, Histogram::with_opts(HistogramOpts::new(name(what), help).buckets(buckets))?)
}
