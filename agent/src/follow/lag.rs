//! How far reading is behind, by tenant.

use std::collections::{BTreeMap, BTreeSet};

use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;

use crate::metrics::Metrics;

/// The lag of all files, as one scan finds it.
#[derive(Debug, Default)]
pub(crate) struct Lag(BTreeMap<TenantId, OfTenant>);

#[derive(Debug, Default)]
struct OfTenant {
    bytes: u64,
    seconds: i64,
}

impl Lag {
    /// A file has so many unread bytes; the newest record read of it is of `last`.
    pub(crate) fn add(&mut self, tenant: &TenantId, bytes: u64, last: Timestamp, now: Timestamp) {
        let lag = match self.0.get_mut(tenant) {
            Some(lag) => lag,
            None => self.0.entry(tenant.clone()).or_default(),
        };
        lag.bytes += bytes;
        // Of a file of which nothing was read it is not known how old its lines are.
        if last != Timestamp::MIN {
            lag.seconds = lag.seconds.max(now.nanos_since(last) / 1_000_000_000);
        }
    }

    /// Shows it; `tenants` are all that have files, those without lag at zero.
    pub(crate) fn show(&self, tenants: &BTreeSet<TenantId>, metrics: &Metrics) {
        let as_i64 = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        metrics.lag_bytes.set(as_i64(self.0.values().map(|lag| lag.bytes).sum()));
        for tenant in tenants {
            let lag = self.0.get(tenant);
            let label = [tenant.as_str()];
            let bytes = as_i64(lag.map_or(0, |lag| lag.bytes));
            metrics.tenant_lag_bytes.with_label_values(&label).set(bytes);
            metrics.tenant_lag_seconds.with_label_values(&label).set(lag.map_or(0, |lag| lag.seconds));
        }
    }

    /// A tenant has no files any more.
    pub(crate) fn end(tenant: &TenantId, metrics: &Metrics) {
        let label = [tenant.as_str()];
        for gauge in [&metrics.tenant_lag_bytes, &metrics.tenant_lag_seconds] {
            if let Err(error) = gauge.remove_label_values(&label) {
                tracing::trace!(%error, "a tenant's lag was not shown");
            }
        }
    }
}
