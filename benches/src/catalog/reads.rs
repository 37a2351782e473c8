//! What searches, limits and leases ask of a catalog, one call after the other.

use std::time::{Duration, Instant};

use anyhow::Context;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use heliograph_store::catalog::{Catalog, Session, User};
use uuid::Uuid;

use super::filled::{BEGIN, STEP_NANOS, tenant};
use crate::series::Series;

/// Longest time for one kind of call, once it was made twice.
const TIME: Duration = Duration::from_millis(500);
/// Calls of one kind at most.
const CALLS_MAX: usize = 300;
/// Of how many tenants a person sees the logs.
const SOME: usize = 100;
/// As a query node opens at its start.
const NEWEST: u32 = 64;
const LEASE_FOR: Duration = Duration::from_secs(8);

/// The names of the calls that [`measure`] makes.
pub(super) const NAMES: [&str; 9] = [
    "session of a request",
    "segments of a tenant, an hour",
    "segments of 100 tenants, an hour",
    "segments of all tenants, an hour",
    "newest 64 segments",
    "limits and use of a tenant",
    "use of all tenants",
    "all tenants",
    "renew a lease",
];

/// Median milliseconds of each call.
pub(super) async fn measure(
    catalog: &dyn Catalog,
    tenants: usize,
    segments: usize,
) -> anyhow::Result<Vec<f64>> {
    let names: Vec<TenantId> = (0..tenants).map(tenant).collect::<Result<_, _>>()?;
    let some = names.get(..SOME.min(names.len())).unwrap_or_default();
    let end = BEGIN + i64::try_from(segments)? * STEP_NANOS;
    let hour = TimeRange {
        start: Timestamp::from_nanos(end - 3_600_000_000_000),
        end: Timestamp::from_nanos(end + 1),
    };
    let user = User {
        name: "ann".to_owned(),
        password_hash: "none".to_owned(),
        admin: true,
        disabled: false,
        created: Timestamp::MIN,
    };
    catalog.create_user(&user).await?;
    let session = Session {
        id_hash: [7; 32],
        user: user.name,
        created: Timestamp::MIN,
        expires: Timestamp::MAX,
        idle_end: Timestamp::MAX,
    };
    catalog.create_session(&session).await?;
    let lease = catalog.register_indexer(Uuid::new_v4(), "http://indexer:7710", LEASE_FOR).await?;

    let one = |nth: usize| names.get(nth % names.len().max(1)).context("no tenant");
    let now = Timestamp::from_nanos(BEGIN);
    Ok(vec![
        median(async |_| Ok(catalog.session_user(&session.id_hash, now).await?)).await?,
        median(async |nth| Ok(catalog.segments(one(nth * 7919)?, &hour).await?)).await?,
        median(async |_| Ok(catalog.segments_of(some, &hour).await?)).await?,
        median(async |_| Ok(catalog.segments_of(&names, &hour).await?)).await?,
        median(async |_| Ok(catalog.newest_segments(NEWEST).await?)).await?,
        median(async |nth| Ok(catalog.usage_of(one(nth * 7919)?).await?)).await?,
        median(async |_| Ok(catalog.usage().await?)).await?,
        median(async |_| Ok(catalog.tenants().await?)).await?,
        median(async |_| Ok(catalog.renew_lease(&lease, LEASE_FOR).await?)).await?,
    ])
}

async fn median<T>(call: impl AsyncFn(usize) -> anyhow::Result<T>) -> anyhow::Result<f64> {
    call(0).await?;
    let begun = Instant::now();
    let mut millis = Vec::new();
    while millis.is_empty() || (begun.elapsed() < TIME && millis.len() < CALLS_MAX) {
        let since = Instant::now();
        call(millis.len() + 1).await?;
        millis.push(since.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(Series::new(millis).median())
}
