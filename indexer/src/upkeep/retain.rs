//! Takes segments out of what is searched when a tenant is to keep them no longer; `heliograph_store::retention` tells
//! which. Their objects are deleted later, as those of all retired segments.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use heliograph_model::tenant::TenantId;
use heliograph_model::time::{Clock, TimeRange, Timestamp};
use heliograph_store::Store;
use heliograph_store::catalog::{Reason, SegmentMeta, TenantUsage};
use heliograph_store::layout::ObjectId;
use heliograph_store::retention::{Keep, LateClock, OwnKeep, expired};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::metrics::UpkeepMetrics;

/// How often each tenant is looked at for the age of its segments; one that has too many bytes at every look.
const AGES_EVERY: Duration = Duration::from_mins(10);
/// Segments that tell how late it is at least, where nobody has noted that.
const NEWEST: u32 = 1_000;
/// Tenants whose bytes are shown by name; the others are shown together.
const TENANTS_SHOWN: usize = 200;

/// Ends what is kept too long.
pub(super) struct Retainer {
    /// Where it lies.
    pub(super) store: Store,
    /// The wall clock, which is not trusted.
    pub(super) clock: Arc<dyn Clock>,
    /// What is counted.
    pub(super) metrics: UpkeepMetrics,
    /// What tenants keep that have no bounds of their own.
    pub(super) keep: Keep,
    /// How often it looks.
    pub(super) look_every: Duration,
}

/// What is known from one look to the next.
struct Known {
    clock: LateClock,
    ticked: Instant,
    /// When the ages of a tenant's segments were looked at, under which bounds.
    ages: HashMap<TenantId, (Instant, Keep)>,
}

impl Retainer {
    /// Retires segments until stopped.
    pub(super) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.retain_on()).await;
    }

    async fn retain_on(&self) {
        let mut known = None;
        loop {
            if let Err(error) = self.look(&mut known).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "cannot see what is kept too long, will try again");
            }
            sleep(self.look_every).await;
        }
    }

    async fn look(&self, known: &mut Option<Known>) -> Result<()> {
        if known.is_none() {
            let ticked = Instant::now();
            *known = Some(Known { clock: self.late_clock().await?, ticked, ages: HashMap::new() });
        }
        let Some(known) = known else { return Ok(()) };
        let now = self.now(known).await?;
        let own: HashMap<TenantId, OwnKeep> = self.store.catalog.retentions().await?.into_iter().collect();
        let usage = self.store.catalog.usage().await?;
        self.show(&usage);
        let there: HashSet<&TenantId> = usage.iter().map(|usage| &usage.tenant).collect();
        known.ages.retain(|tenant, _| there.contains(tenant));
        for usage in usage.iter().filter(|usage| usage.segments > 0) {
            let keep = own.get(&usage.tenant).copied().unwrap_or_default().or(self.keep);
            let is_seen = |(at, under): &(Instant, Keep)| at.elapsed() < AGES_EVERY && *under == keep;
            let has_old = keep.age.is_some() && !known.ages.get(&usage.tenant).is_some_and(is_seen);
            if has_old || keep.bytes.is_some_and(|most| usage.stored_bytes > most) {
                self.retire(&usage.tenant, &keep, now).await?;
                known.ages.insert(usage.tenant.clone(), (Instant::now(), keep));
            }
        }
        Ok(())
    }

    async fn retire(&self, tenant: &TenantId, keep: &Keep, now: Timestamp) -> Result<()> {
        let segments = self.store.catalog.segments(tenant, &TimeRange::ALL).await?;
        let gone = expired(&segments, keep, now);
        for reason in [Reason::Age, Reason::Bytes] {
            let of_reason = |(id, why): &(ObjectId, Reason)| (*why == reason).then_some(*id);
            let ids: Vec<ObjectId> = gone.iter().filter_map(of_reason).collect();
            if ids.is_empty() {
                continue;
            }
            let retired = self.store.catalog.retire(tenant, &ids, reason, self.clock.now()).await?;
            let count = |of: fn(&SegmentMeta) -> u64| -> u64 {
                segments.iter().filter(|segment| retired.contains(&segment.id)).map(of).sum()
            };
            let (records, bytes) = (count(|segment| segment.records), count(|segment| segment.bytes));
            let reason = reason.as_str();
            tracing::info!(%tenant, reason, segments = retired.len(), records, bytes, "expired");
            self.metrics.expired_records.with_label_values(&[reason]).inc_by(records);
        }
        Ok(())
    }

    /// The clock as it was left, by whichever indexer. Where it never was, no later than the newest segment says.
    async fn late_clock(&self) -> Result<LateClock> {
        let wall = self.clock.now();
        if let Some(time) = self.store.catalog.advance_retention_clock(None).await? {
            return Ok(LateClock::new(time));
        }
        let newest = self.store.catalog.newest_segments(NEWEST).await?;
        let sealed = newest.iter().map(|segment| segment.created).filter(|created| *created <= wall).max();
        Ok(LateClock::new(if newest.is_empty() { wall } else { sealed.unwrap_or(Timestamp::MIN) }))
    }

    async fn now(&self, known: &mut Known) -> Result<Timestamp> {
        let (ticked, wall) = (Instant::now(), self.clock.now());
        let now = known.clock.tick(wall, ticked - known.ticked);
        known.ticked = ticked;
        self.store.catalog.advance_retention_clock(Some(known.clock.time())).await?;
        self.metrics.retention_clock_late.set(wall.nanos_since(now) / 1_000_000_000);
        Ok(now)
    }

    fn show(&self, usage: &[TenantUsage]) {
        let mut by_bytes: Vec<&TenantUsage> = usage.iter().filter(|usage| usage.segments > 0).collect();
        by_bytes.sort_unstable_by_key(|usage| std::cmp::Reverse(usage.stored_bytes));
        let (shown, others) = by_bytes.split_at(by_bytes.len().min(TENANTS_SHOWN));
        let gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        // Those of tenants that have nothing any more go.
        self.metrics.stored_bytes.reset();
        for usage in shown {
            let of = self.metrics.stored_bytes.with_label_values(&[usage.tenant.as_str()]);
            of.set(gauge(usage.stored_bytes));
        }
        self.metrics.stored_bytes_of_others.set(gauge(others.iter().map(|usage| usage.stored_bytes).sum()));
    }
}
