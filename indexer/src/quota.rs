//! What each tenant may use here. Who is over a bound is told to come later, before the request is read; others
//! do not notice.
//!
//! Bounds come from the catalog, at most [`KEPT_FOR`] old; while it does not answer, the last known ones hold.

mod bucket;

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use heliograph_model::tenant::TenantId;
use heliograph_store::catalog::{Bound, Catalog, TenantUsage};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::budget::Budget;
use crate::config::TenantBounds;
use crate::error::{Error, Result};
use crate::hot::Hot;
use crate::metrics::Metrics;
use bucket::Bucket;

/// How old bounds and stored bytes may be: a change acts within this time.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// Longest time that a request waits for the catalog to say its tenant's bounds.
const ASK_MAX: Duration = Duration::from_secs(2);
/// Tenants remembered at most, unless more send at the same time.
const TENANTS_MAX: usize = 10_000;
/// The burst of a tenant for which none is set, in seconds of its rate: agents send what gathered meanwhile.
const BURST_SECONDS: u64 = 10;
/// Of the memory for bodies one tenant may take one part of so many.
const BODIES_SHARE: usize = 4;
/// Over the hot bound its records are sealed at once, which takes a moment …
const HOT_AFTER: Duration = Duration::from_secs(1);
/// … and room for segments comes by retention or by an administrator.
const STORED_AFTER: Duration = Duration::from_secs(30);
/// Longest wait that a sender is asked for.
const AFTER_MAX: Duration = Duration::from_secs(60);

/// All tenants' bounds, and how far each is used.
pub(crate) struct Quotas {
    for_all: TenantBounds,
    bodies_max: usize,
    catalog: Arc<dyn Catalog>,
    hot: Arc<Hot>,
    metrics: Metrics,
    tenants: Mutex<HashMap<TenantId, Arc<Quota>>>,
}

/// One tenant's.
struct Quota {
    /// Its bodies that are being received and decoded.
    bodies: Arc<Budget>,
    state: Mutex<State>,
}

struct State {
    /// When the catalog was asked last.
    asked: Option<Instant>,
    bounds: TenantBounds,
    stored_bytes: u64,
    ingest: Option<Bucket>,
    /// Memory of records that are on their way to hot.
    arriving: usize,
}

/// A request that is let in. What it holds is given back when dropped.
pub(crate) struct Admission<'a> {
    quotas: &'a Quotas,
    tenant: TenantId,
    quota: Arc<Quota>,
    charged: u64,
    arriving: usize,
}

impl Quotas {
    /// Bounds for tenants that have none of their own; `bodies` is the memory of all tenants' bodies.
    pub(crate) fn new(
        for_all: TenantBounds,
        bodies: usize,
        body_bytes_max: usize,
        catalog: Arc<dyn Catalog>,
        hot: Arc<Hot>,
        metrics: Metrics,
    ) -> Self {
        let bodies_max = (bodies / BODIES_SHARE).max(body_bytes_max);
        Self { for_all, bodies_max, catalog, hot, metrics, tenants: Mutex::default() }
    }

    /// Lets a request in whose body comes with so many bytes, as far as it says. They count at once, so that many
    /// requests at the same time are no way around the bound.
    pub(crate) async fn admit(&self, tenant: &TenantId, announced: Option<u64>) -> Result<Admission<'_>> {
        let quota = self.quota(tenant);
        self.ask(tenant, &quota).await;
        let charged = announced.unwrap_or(0);
        self.check(tenant, &quota, charged)?;
        Ok(Admission { quotas: self, tenant: tenant.clone(), quota, charged, arriving: 0 })
    }

    fn check(&self, tenant: &TenantId, quota: &Quota, bytes: u64) -> Result<()> {
        let hot_bytes = self.hot.bytes_of(tenant);
        let mut state = quota.state.lock();
        if let Some(max) = state.bounds.stored_bytes.filter(|max| state.stored_bytes >= max.get()) {
            return Err(self.over("stored_bytes", max, STORED_AFTER));
        }
        if let Some(max) = state.bounds.hot_bytes
            && (hot_bytes + state.arriving) as u64 >= max.get()
        {
            self.hot.press(tenant);
            return Err(self.over("hot_bytes", max, HOT_AFTER));
        }
        if let Some(bucket) = &mut state.ingest
            && let Err(after) = bucket.take(bytes, Instant::now())
        {
            return Err(self.over("ingest_bytes_per_second", bucket.rate(), after));
        }
        Ok(())
    }

    fn over(&self, limit: &'static str, bound: NonZeroU64, after: Duration) -> Error {
        self.metrics.limited.with_label_values(&[limit]).inc();
        Error::Limit { limit, bound: bound.get(), after: after.min(AFTER_MAX) }
    }

    fn quota(&self, tenant: &TenantId) -> Arc<Quota> {
        let mut tenants = self.tenants.lock();
        if let Some(quota) = tenants.get(tenant) {
            return Arc::clone(quota);
        }
        if tenants.len() >= TENANTS_MAX {
            // Those that have not sent for a while, and owe nothing.
            tenants.retain(|_, quota| Arc::strong_count(quota) > 1 || quota.state.lock().is_in_use());
        }
        let state = State { asked: None, bounds: self.for_all, stored_bytes: 0, ingest: None, arriving: 0 };
        let quota = Arc::new(Quota { bodies: Budget::new(self.bodies_max), state: Mutex::new(state) });
        tenants.insert(tenant.clone(), Arc::clone(&quota));
        quota
    }

    /// Asks the catalog, unless somebody has just done so.
    async fn ask(&self, tenant: &TenantId, quota: &Quota) {
        {
            let mut state = quota.state.lock();
            if state.asked.is_some_and(|asked| asked.elapsed() < KEPT_FOR) {
                return;
            }
            if state.asked.replace(Instant::now()).is_none() {
                state.hold(self.for_all);
            }
        }
        match timeout(ASK_MAX, self.catalog.usage_of(tenant)).await {
            Ok(Ok(usage)) => {
                let mut state = quota.state.lock();
                state.stored_bytes = usage.as_ref().map_or(0, |usage| usage.stored_bytes);
                state.hold(self.bounds(usage.as_ref()));
            }
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%tenant, error, "a tenant's limits are not known anew: the last ones hold");
            }
            Err(_) => tracing::warn!(%tenant, "a tenant's limits did not come in time: the last ones hold"),
        }
    }

    fn bounds(&self, usage: Option<&TenantUsage>) -> TenantBounds {
        let Some(own) = usage.map(|usage| usage.limits) else { return self.for_all };
        let for_all = self.for_all;
        TenantBounds {
            ingest_bytes_per_second: Bound::or(own.ingest_per_second, for_all.ingest_bytes_per_second),
            ingest_burst_bytes: Bound::or(own.ingest_burst, for_all.ingest_burst_bytes),
            hot_bytes: Bound::or(own.hot, for_all.hot_bytes),
            stored_bytes: Bound::or(own.stored, for_all.stored_bytes),
        }
    }
}

impl State {
    fn hold(&mut self, bounds: TenantBounds) {
        self.bounds = bounds;
        let now = Instant::now();
        self.ingest = bounds.ingest_bytes_per_second.map(|rate| {
            let usual = rate.saturating_mul(NonZeroU64::MIN.saturating_add(BURST_SECONDS - 1));
            let burst = bounds.ingest_burst_bytes.unwrap_or(usual);
            match self.ingest.take() {
                Some(bucket) => bucket.with(rate, burst, now),
                None => Bucket::new(rate, burst, now),
            }
        });
    }

    fn is_in_use(&mut self) -> bool {
        let now = Instant::now();
        self.asked.is_some_and(|asked| asked.elapsed() < KEPT_FOR)
            || self.ingest.as_mut().is_some_and(|bucket| !bucket.is_full(now))
    }
}

impl Admission<'_> {
    /// The memory that this tenant's bodies share.
    pub(crate) fn bodies(&self) -> &Arc<Budget> {
        &self.quota.bodies
    }

    /// The body has so many bytes before compression: what counts.
    pub(crate) fn expanded(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        if let Some(bucket) = &mut self.quota.state.lock().ingest {
            bucket.correct(self.charged, bytes);
        }
        self.charged = bytes;
    }

    /// The records take so much memory. Refused if that is more than the tenant may have; a request that alone is
    /// more gets in while there is nothing else, for it would never.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<()> {
        let hot_bytes = self.quotas.hot.bytes_of(&self.tenant);
        let mut state = self.quota.state.lock();
        let held = hot_bytes + state.arriving;
        if let Some(max) = state.bounds.hot_bytes
            && held > 0
            && (held + bytes) as u64 > max.get()
        {
            self.quotas.hot.press(&self.tenant);
            return Err(self.quotas.over("hot_bytes", max, HOT_AFTER));
        }
        state.arriving += bytes;
        self.arriving += bytes;
        Ok(())
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.quota.state.lock().arriving -= self.arriving;
    }
}
