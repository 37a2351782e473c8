//! Which master key wraps tenants' keys.

use heliograph_store::Error;
use heliograph_store::catalog::Tenant;
use heliograph_store::keyring::KeyId;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Place;
use crate::words::{add_tenants, name, tenant, uid};

const ONE: KeyId = KeyId(Uuid::from_u128(1));
const TWO: KeyId = KeyId(Uuid::from_u128(2));

/// A tenant whose key names the one that wraps it.
fn wrapped(of: &str, by: KeyId) -> Tenant {
    Tenant { wrapped_key: [&[2], &by.0.as_bytes()[..], &[7; 64]].concat(), ..tenant(of) }
}

pub(crate) async fn new_tenants_are_of_the_key_that_is_set(place: &dyn Place) {
    let catalog = &*place.open().await;
    assert_eq!(catalog.master_key().await.unwrap(), None);
    add_tenants(catalog, &["a"]).await;
    catalog.create_tenant(&wrapped("b", TWO)).await.unwrap();
    for key in [ONE, TWO, ONE] {
        catalog.set_master_key(key).await.unwrap();
        assert_eq!(catalog.master_key().await.unwrap(), Some(key));
    }
    for other in [wrapped("c", TWO), tenant("c")] {
        let refused = catalog.create_tenant(&other).await;
        assert!(matches!(refused, Err(Error::OtherKey { current: ONE })), "{refused:?}");
    }
    assert!(catalog.tenant(&name("c")).await.unwrap().is_none());
    catalog.create_tenant(&wrapped("c", ONE)).await.unwrap();
}

pub(crate) async fn a_key_is_wrapped_anew_if_it_is_still_the_one_that_was_read(place: &dyn Place) {
    let catalog = &*place.open().await;
    catalog.create_tenant(&wrapped("a", ONE)).await.unwrap();
    catalog.create_tenant(&wrapped("b", ONE)).await.unwrap();
    let (old, new) = (wrapped("a", ONE).wrapped_key, wrapped("a", TWO).wrapped_key);
    assert!(!catalog.rewrap(uid("a"), &new, &old).await.unwrap());
    assert!(catalog.rewrap(uid("a"), &old, &new).await.unwrap());
    assert!(!catalog.rewrap(uid("a"), &old, &new).await.unwrap());
    assert!(!catalog.rewrap(Uuid::new_v4(), &old, &new).await.unwrap());
    let key = async |of: &str| catalog.tenant(&name(of)).await.unwrap().unwrap().wrapped_key;
    assert_eq!((key("a").await, key("b").await), (new, old));
}

pub(crate) async fn no_tenant_is_of_the_old_key_once_another_is_set(place: &dyn Place) {
    let seed = place.open().await;
    seed.set_master_key(ONE).await.unwrap();
    for round in 0..8 {
        let (from, to) = if round % 2 == 0 { (ONE, TWO) } else { (TWO, ONE) };
        let mut all = JoinSet::new();
        for by in 0..6 {
            let catalog = place.open().await;
            all.spawn(async move {
                for n in 0.. {
                    if catalog.create_tenant(&wrapped(&format!("r{round}-{by}-{n}"), from)).await.is_err() {
                        break;
                    }
                }
            });
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        seed.set_master_key(to).await.unwrap();
        let there = seed.tenants().await.unwrap().len();
        all.join_all().await;
        assert_eq!(seed.tenants().await.unwrap().len(), there, "none comes after it");
    }
}
