//! What tenants may use, and what they have stored.

use heliograph_store::Error;
use heliograph_store::catalog::{Bound, SegmentMeta, TenantLimits, TenantUsage};

use crate::Place;
use crate::words::{LEASE, add_tenants, name, segment};

fn nothing(of: &str) -> TenantUsage {
    TenantUsage {
        tenant: name(of),
        segments: 0,
        records: 0,
        stored_bytes: 0,
        raw_bytes: 0,
        limits: TenantLimits::default(),
    }
}

pub(crate) async fn limits_are_set_and_taken_back(place: &dyn Place) {
    let catalog = place.open().await;
    add_tenants(&*catalog, &["b", "a"]).await;
    assert_eq!(catalog.usage().await.unwrap(), [nothing("a"), nothing("b")]);
    assert_eq!(catalog.usage_of(&name("no")).await.unwrap(), None);

    let some = TenantLimits {
        ingest_per_second: Some(Bound::new(1 << 40)),
        stored: Some(Bound::Unbounded),
        ..TenantLimits::default()
    };
    catalog.set_limits(&name("b"), &some).await.unwrap();
    let other = place.open().await;
    assert_eq!(other.usage_of(&name("b")).await.unwrap().unwrap().limits, some);
    assert_eq!(other.usage_of(&name("a")).await.unwrap(), Some(nothing("a")), "others keep theirs");

    let others =
        TenantLimits { hot: Some(Bound::new(1)), ingest_burst: Some(Bound::new(7)), ..Default::default() };
    catalog.set_limits(&name("b"), &others).await.unwrap();
    assert_eq!(other.usage().await.unwrap()[1].limits, others, "in place of what was set");
    catalog.set_limits(&name("b"), &TenantLimits::default()).await.unwrap();
    assert_eq!(other.usage().await.unwrap(), [nothing("a"), nothing("b")]);

    let refused = catalog.set_limits(&name("no"), &some).await.unwrap_err();
    assert_eq!(refused.to_string(), "there is no tenant \"no\"");
    let beyond = TenantLimits { stored: Some(Bound::new(u64::MAX)), ..Default::default() };
    assert!(matches!(catalog.set_limits(&name("a"), &beyond).await, Err(Error::Invalid(_))));
}

pub(crate) async fn usage_is_what_is_in_segments(place: &dyn Place) {
    let catalog = place.open().await;
    add_tenants(&*catalog, &["a", "b", "c"]).await;
    let limits = TenantLimits { hot: Some(Bound::new(5)), ..TenantLimits::default() };
    catalog.set_limits(&name("a"), &limits).await.unwrap();
    let large = SegmentMeta { bytes: 1 << 50, raw_bytes: 1 << 55, ..segment("a", (0, 1), (1, 2)) };
    let small = SegmentMeta { bytes: 7, raw_bytes: 9, records: 1, ..segment("a", (1, 2), (1, 2)) };
    for published in [&large, &small, &segment("c", (0, 1), (5, 5))] {
        catalog.publish(&LEASE, published, &[]).await.unwrap();
    }
    let of_a = TenantUsage {
        segments: 2,
        records: 4,
        stored_bytes: (1 << 50) + 7,
        raw_bytes: (1 << 55) + 9,
        limits,
        ..nothing("a")
    };
    let of_c = TenantUsage { segments: 1, records: 3, stored_bytes: 1 << 40, raw_bytes: 500, ..nothing("c") };
    assert_eq!(catalog.usage().await.unwrap(), [of_a.clone(), nothing("b"), of_c]);
    assert_eq!(catalog.usage_of(&name("a")).await.unwrap(), Some(of_a));
}
