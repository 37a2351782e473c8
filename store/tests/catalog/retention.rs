//! What tenants keep.

use std::time::Duration;

use heliograph_store::Error;
use heliograph_store::retention::{Own, OwnKeep};

use crate::Place;
use crate::words::{add_tenants, at, name};

pub(crate) async fn a_tenants_own_bounds(place: &dyn Place) {
    let catalog = place.open().await;
    add_tenants(&*catalog, &["b", "a", "c"]).await;
    assert_eq!(catalog.retentions().await.unwrap(), []);
    let of_a = OwnKeep { age: Own::Limit(Duration::from_secs(86_400)), bytes: Own::Unlimited };
    let of_b = OwnKeep { age: Own::Default, bytes: Own::Limit(1 << 40) };
    let none = OwnKeep::default();
    for (tenant, own) in [("b", of_a), ("b", of_b), ("a", of_a), ("c", of_b), ("c", none)] {
        catalog.set_retention(&name(tenant), &own).await.unwrap();
    }
    drop(catalog);
    let catalog = place.open().await;
    assert_eq!(catalog.retentions().await.unwrap(), [(name("a"), of_a), (name("b"), of_b)]);
    let unknown = catalog.set_retention(&name("no"), &of_a).await;
    assert!(matches!(unknown, Err(Error::Missing { what: "tenant", .. })));
    let too_long = OwnKeep { age: Own::Limit(Duration::MAX), bytes: Own::Default };
    assert!(matches!(catalog.set_retention(&name("a"), &too_long).await, Err(Error::Invalid(_))));
}

pub(crate) async fn the_clock_of_retention_does_not_go_back(place: &dyn Place) {
    let (one, two) = (place.open().await, place.open().await);
    assert_eq!(one.advance_retention_clock(None).await.unwrap(), None);
    assert_eq!(one.advance_retention_clock(Some(at(-5))).await.unwrap(), Some(at(-5)));
    assert_eq!(two.advance_retention_clock(None).await.unwrap(), Some(at(-5)));
    assert_eq!(two.advance_retention_clock(Some(at(7))).await.unwrap(), Some(at(7)));
    assert_eq!(one.advance_retention_clock(Some(at(6))).await.unwrap(), Some(at(7)));
}
