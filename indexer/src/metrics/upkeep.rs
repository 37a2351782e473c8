//! The figures of merging, erasing and deleting.
//!
//! Write amplification is `sealed_bytes_total` and `merge_written_bytes_total` together by the first: at most 1 and
//! [`MERGES_MAX`](heliograph_store::compaction::MERGES_MAX).

use prometheus::{
    Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, exponential_buckets,
};

use super::{add, counter, gauge, histogram, name};

/// Handles of these figures; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct UpkeepMetrics {
    /// Stored bytes of sealed segments.
    pub(crate) sealed_bytes: IntCounter,
    /// Segments that were merged into others.
    pub(crate) merged_segments: IntCounter,
    /// Merges that failed and are tried again.
    pub(crate) merge_failures: IntCounter,
    /// Stored bytes that merges read.
    pub(crate) merge_read_bytes: IntCounter,
    /// Stored bytes that merges wrote.
    pub(crate) merge_written_bytes: IntCounter,
    /// From choosing the segments to the catalog's answer.
    pub(crate) merge_seconds: Histogram,
    /// Records that expired, by reason.
    pub(crate) expired_records: IntCounterVec,
    /// Stored bytes of searched segments, of the tenants that have the most.
    pub(crate) stored_bytes: IntGaugeVec,
    /// The same of all others together.
    pub(crate) stored_bytes_of_others: IntGauge,
    /// How far the clock of retention is behind the wall clock.
    pub(crate) retention_clock_late: IntGauge,
    /// Segments that are no longer searched, and not deleted yet.
    pub(crate) retired_segments: IntGauge,
    /// Deleted segments, by reason.
    pub(crate) deleted_segments: IntCounterVec,
    /// Their stored bytes, by reason.
    pub(crate) deleted_bytes: IntCounterVec,
    /// Deleted objects that were never published.
    pub(crate) abandoned_objects: IntCounter,
    /// What is erased.
    pub(crate) erasures: ErasureMetrics,
}

/// What is erased.
#[derive(Clone, Debug)]
pub(crate) struct ErasureMetrics {
    /// Erasures that are not done.
    pub(crate) pending: IntGauge,
    /// Records that erasures took out of segments.
    pub(crate) records: IntCounter,
    /// Erasures that failed and are tried again.
    pub(crate) failures: IntCounter,
}

impl ErasureMetrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            pending: gauge(registry, "erasures_pending", "Erasures that are not done.")?,
            records: counter(
                registry,
                "erased_records_total",
                "Records that erasures took out of segments.",
            )?,
            failures: counter(registry, "erasure_failures_total", "Erasures that failed, to be repeated.")?,
        })
    }
}

impl UpkeepMetrics {
    /// Registers all figures.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let by_reason = |what: &str, help: &str| {
            add(registry, IntCounterVec::new(Opts::new(name(what), help), &["reason"])?)
        };
        Ok(Self {
            sealed_bytes: counter(registry, "sealed_bytes_total", "Stored bytes of sealed segments.")?,
            merged_segments: counter(
                registry,
                "merged_segments_total",
                "Segments that were merged into others.",
            )?,
            merge_failures: counter(registry, "merge_failures_total", "Merges that failed, to be repeated.")?,
            merge_read_bytes: counter(
                registry,
                "merge_read_bytes_total",
                "Stored bytes of segments that were merged into others.",
            )?,
            merge_written_bytes: counter(
                registry,
                "merge_written_bytes_total",
                "Stored bytes of segments made by merging; by sealed_bytes_total: how often a byte is rewritten.",
            )?,
            merge_seconds: histogram(
                registry,
                "merge_seconds",
                "Duration of a merge.",
                exponential_buckets(0.01, 2.0, 15)?,
            )?,
            expired_records: by_reason("expired_records_total", "Records that expired, by reason.")?,
            stored_bytes: add(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        name("tenant_stored_bytes"),
                        "Stored bytes of segments, of the 200 tenants with the most.",
                    ),
                    &["tenant"],
                )?,
            )?,
            stored_bytes_of_others: gauge(
                registry,
                "other_tenants_stored_bytes",
                "Stored bytes of segments, of all other tenants.",
            )?,
            retention_clock_late: gauge(
                registry,
                "retention_clock_late_seconds",
                "How far the time by which records expire is behind the clock.",
            )?,
            retired_segments: gauge(
                registry,
                "retired_segments",
                "Segments that are no longer searched and not deleted yet.",
            )?,
            deleted_segments: by_reason("deleted_segments_total", "Deleted segments, by reason.")?,
            deleted_bytes: by_reason("deleted_bytes_total", "Stored bytes of deleted segments, by reason.")?,
            abandoned_objects: counter(
                registry,
                "abandoned_objects_total",
                "Deleted objects that were never published.",
            )?,
            erasures: ErasureMetrics::new(registry)?,
        })
    }
}
