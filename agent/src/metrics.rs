//! The agent's figures, registered on the registry that `run` is given.

use heliograph_model::tenant::TenantId;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::error::{Error, Result};

/// All handles. Labels come from closed sets, or are the tenants that have files on the node.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Lines read from files.
    pub lines: IntCounter,
    /// Bytes read from files.
    pub bytes: IntCounter,
    /// Records made.
    pub records: IntCounter,
    /// Batches by what became of sending them: `answer` = acked, sequence, busy, unavailable, failed, rejected,
    /// erased, denied, unexpected, unreachable.
    pub batches: IntCounterVec,
    /// Bytes in followed files that are not read yet, at the last scan.
    pub lag_bytes: IntGauge,
    /// The same by tenant.
    pub tenant_lag_bytes: IntGaugeVec,
    /// Seconds since the newest record read of a file that has unread bytes, the most of each tenant's.
    pub tenant_lag_seconds: IntGaugeVec,
    /// Tenants that wait for their quota, at the last scan.
    pub throttled_tenants: IntGauge,
    /// Descriptors held.
    pub open_files: IntGauge,
    /// Paths followed.
    pub followed_files: IntGauge,
    /// Bytes of the spool on disk.
    pub spool_bytes: IntGauge,
    /// Batches in the spool that are not acknowledged.
    pub spool_batches: IntGauge,
    /// Seconds since the oldest of these was spooled.
    pub spool_oldest_seconds: IntGauge,
    /// Bytes on disk of a tenant's batches that are not acknowledged; the tenants are those of the node.
    pub tenant_spool_bytes: IntGaugeVec,
    /// How many these are …
    pub tenant_spool_batches: IntGaugeVec,
    /// … and how long ago the oldest of them was spooled.
    pub tenant_spool_oldest_seconds: IntGaugeVec,
    /// Times that the spool had no room, so that reading waited.
    pub spool_full: IntCounter,
    /// Spool entries that could not be read back.
    pub spool_corrupt: IntCounter,
    /// Starts with read positions that did not read back, so that files were read anew.
    pub checkpoints_damaged: IntCounter,
    /// Times that events were lost, so that everything was compared.
    pub rescans: IntCounter,
    /// Files with unread bytes that only the scan found.
    pub reconcile_repairs: IntCounter,
    /// Lines cut at the limit.
    pub cut_lines: IntCounter,
    /// Sequences of bytes that were not UTF-8, each now one replacement character.
    pub replaced: IntCounter,
    /// Empty lines that became no record.
    pub empty_lines: IntCounter,
    /// Container lines that are not in CRI form.
    pub odd_lines: IntCounter,
    /// When the certificate expires by which indexers know us, in seconds since 1970, by the setting that names its file.
    pub tls_certificate_expires: IntGaugeVec,
    /// Lines given up: `reason` = spool_full, rejected, corrupt, erased (as far as it is known how many).
    pub dropped: IntCounterVec,
    /// Batches given up: `reason` as above.
    pub dropped_batches: IntCounterVec,
    /// Rejected batches kept for a look, and their bytes.
    pub quarantine_batches: IntGauge,
    /// Bytes of these.
    pub quarantine_bytes: IntGauge,
    /// Rejected batches that were not kept, for there is no room.
    pub quarantine_full: IntCounter,
    /// Files that could not be followed: `reason` = denied, not_regular, too_many_open, other.
    pub unreadable: IntCounterVec,
    /// Truncations and rotations whose unread rest was gone, or may have been.
    pub lost_rests: IntCounter,
    /// Bytes of deleted files that were let go unread, because too much of the disk was held.
    pub gap_bytes: IntCounter,
    /// Bytes of deleted files that are held open, at the last scan.
    pub unlinked_bytes: IntGauge,
    /// 1 while files are found by polling because inotify is exhausted.
    pub polling: IntGauge,
    /// Pods known, deleted ones that are remembered included.
    pub pods_known: IntGauge,
    /// Failures after which a watch was begun again: `resource` = pods, namespaces.
    pub watch_restarts: IntCounterVec,
    /// Seconds since the API server last answered, or since the start.
    pub api_contact_age: IntGauge,
    /// Namespaces with files that wait for their labels.
    pub namespaces_held_back: IntGauge,
    /// Ends of containers that became records.
    pub container_ends: IntCounter,
}

impl Metrics {
    /// Registers all handles.
    #[expect(clippy::too_many_lines, reason = "one entry for each figure")]
    pub(crate) fn new(registry: &Registry) -> Result<Self> {
        let r = Registrar(registry);
        Ok(Self {
            lines: r.counter("heliograph_agent_lines_total", "Lines read from files")?,
            bytes: r.counter("heliograph_agent_read_bytes_total", "Bytes read from files")?,
            records: r.counter("heliograph_agent_records_total", "Records made of lines")?,
            batches: r.counters("heliograph_agent_batches_total", "Sent batches by answer", "answer")?,
            lag_bytes: r.gauge("heliograph_agent_lag_bytes", "Bytes in followed files not read yet")?,
            tenant_lag_bytes: r.gauges(
                "heliograph_agent_tenant_lag_bytes",
                "Bytes in a tenant's files not read yet",
                "tenant",
            )?,
            tenant_lag_seconds: r.gauges(
                "heliograph_agent_tenant_lag_seconds",
                "Seconds since the newest record read of a tenant's file that has unread bytes",
                "tenant",
            )?,
            throttled_tenants: r
                .gauge("heliograph_agent_throttled_tenants", "Tenants that wait for their byte rate")?,
            open_files: r.gauge("heliograph_agent_open_files", "Descriptors of followed files")?,
            followed_files: r.gauge("heliograph_agent_followed_files", "Paths followed")?,
            spool_bytes: r.gauge("heliograph_agent_spool_bytes", "Bytes of the spool on disk")?,
            spool_batches: r.gauge("heliograph_agent_spool_batches", "Batches spooled, not acknowledged")?,
            spool_oldest_seconds: r.gauge(
                "heliograph_agent_spool_oldest_seconds",
                "Seconds since the oldest batch that is not acknowledged was spooled",
            )?,
            tenant_spool_bytes: r.gauges(
                "heliograph_agent_tenant_spool_bytes",
                "Bytes on disk of batches that are not acknowledged",
                "tenant",
            )?,
            tenant_spool_batches: r.gauges(
                "heliograph_agent_tenant_spool_batches",
                "Batches spooled, not acknowledged, by tenant",
                "tenant",
            )?,
            tenant_spool_oldest_seconds: r.gauges(
                "heliograph_agent_tenant_spool_oldest_seconds",
                "Seconds since the tenant's oldest batch was spooled",
                "tenant",
            )?,
            spool_full: r
                .counter("heliograph_agent_spool_full_total", "Times that reading waited for the spool")?,
            spool_corrupt: r
                .counter("heliograph_agent_spool_corrupt_total", "Spool entries that did not read back")?,
            checkpoints_damaged: r.counter(
                "heliograph_agent_checkpoints_damaged_total",
                "Starts with read positions that did not read back: lines may have come twice",
            )?,
            rescans: r.counter(
                "heliograph_agent_rescans_total",
                "Times that file events were lost and everything was compared",
            )?,
            reconcile_repairs: r.counter(
                "heliograph_agent_reconcile_repairs_total",
                "Files with unread bytes that only the scan found",
            )?,
            cut_lines: r.counter("heliograph_agent_cut_lines_total", "Lines cut at the limit")?,
            replaced: r.counter(
                "heliograph_agent_replaced_bytes_total",
                "Places that were not UTF-8, replaced by U+FFFD",
            )?,
            empty_lines: r.counter("heliograph_agent_empty_lines_total", "Empty lines passed over")?,
            odd_lines: r.counter("heliograph_agent_odd_lines_total", "Container lines not in CRI form")?,
            tls_certificate_expires: r.gauges(
                "heliograph_agent_tls_certificate_expires_seconds",
                "When the certificate for indexers that is in use expires, in seconds since 1970",
                "file",
            )?,
            dropped: r.counters("heliograph_agent_dropped_total", "Lines given up, by reason", "reason")?,
            dropped_batches: r.counters(
                "heliograph_agent_dropped_batches_total",
                "Batches given up, by reason",
                "reason",
            )?,
            quarantine_batches: r
                .gauge("heliograph_agent_quarantine_batches", "Rejected batches kept for a look")?,
            quarantine_bytes: r.gauge("heliograph_agent_quarantine_bytes", "Bytes of rejected batches")?,
            quarantine_full: r.counter(
                "heliograph_agent_quarantine_full_total",
                "Rejected batches that there was no room to keep",
            )?,
            unreadable: r.counters(
                "heliograph_agent_unreadable_files_total",
                "Files that could not be followed, by reason",
                "reason",
            )?,
            lost_rests: r.counter(
                "heliograph_agent_lost_rests_total",
                "Files whose unread rest was gone before it was read",
            )?,
            gap_bytes: r.counter(
                "heliograph_agent_gap_bytes_total",
                "Bytes of deleted files let go unread over the budget",
            )?,
            unlinked_bytes: r
                .gauge("heliograph_agent_unlinked_bytes", "Bytes of deleted files that are held open")?,
            polling: r.gauge("heliograph_agent_polling", "1 while inotify is exhausted")?,
            pods_known: r.gauge("heliograph_agent_pods_known", "Pods known, deleted ones included")?,
            watch_restarts: r.counters(
                "heliograph_agent_watch_restarts_total",
                "Failures after which a watch was begun again, by resource",
                "resource",
            )?,
            api_contact_age: r.gauge(
                "heliograph_agent_api_contact_age_seconds",
                "Seconds since the API server last answered",
            )?,
            namespaces_held_back: r.gauge(
                "heliograph_agent_namespaces_held_back",
                "Namespaces with files that wait for their labels",
            )?,
            container_ends: r
                .counter("heliograph_agent_container_ends_total", "Ends of containers that became records")?,
        })
    }

    /// Sets a tenant's figures of the spool.
    pub(crate) fn show_tenant(&self, tenant: &TenantId, bytes: u64, batches: usize, oldest_seconds: u64) {
        let set = |gauge: &IntGaugeVec, value: u64| {
            gauge.with_label_values(&[tenant.as_str()]).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.tenant_spool_bytes, bytes);
        set(&self.tenant_spool_batches, batches as u64);
        set(&self.tenant_spool_oldest_seconds, oldest_seconds);
    }
}

struct Registrar<'a>(&'a Registry);

impl Registrar<'_> {
    fn counter(&self, name: &'static str, help: &'static str) -> Result<IntCounter> {
        self.add(name, IntCounter::new(name, help))
    }

    fn gauge(&self, name: &'static str, help: &'static str) -> Result<IntGauge> {
        self.add(name, IntGauge::new(name, help))
    }

    fn counters(&self, name: &'static str, help: &'static str, label: &str) -> Result<IntCounterVec> {
        self.add(name, IntCounterVec::new(Opts::new(name, help), &[label]))
    }

    fn gauges(&self, name: &'static str, help: &'static str, label: &str) -> Result<IntGaugeVec> {
        self.add(name, IntGaugeVec::new(Opts::new(name, help), &[label]))
    }

    fn add<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        name: &'static str,
        made: prometheus::Result<C>,
    ) -> Result<C> {
        made.and_then(|c| self.0.register(Box::new(c.clone())).map(|()| c))
            .map_err(|e| Error::Unavailable { what: "register metrics", reason: format!("{name}: {e}") })
    }
}
