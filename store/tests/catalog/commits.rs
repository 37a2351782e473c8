//! What is recorded, and which batches are the next.

use std::collections::HashMap;

use heliograph_model::scan::CommitId;
use heliograph_store::Error;
use heliograph_store::catalog::Catalog;
use uuid::Uuid;

use crate::Place;
use crate::words::{LEASE, Numbered, a_commit, add_tenants, batch, name, needed, producer, unnumbered};

/// Commits batches: `Err((epoch, expected))` if they are not the next.
async fn commit(catalog: &dyn Catalog, batches: &[Numbered<'_>]) -> Result<CommitId, (u64, u64)> {
    match catalog.commit(&a_commit(batches.iter().copied().map(batch).collect())).await {
        Ok(id) => Ok(id),
        Err(Error::Sequence { tenant, epoch, expected }) => {
            assert!(batches.iter().any(|b| b.0 == tenant.as_str()));
            Err((epoch, expected))
        }
        Err(error) => panic!("{error:?}"),
    }
}

async fn check(catalog: &dyn Catalog, batches: &[Numbered<'_>], expected: Result<(), (u64, u64)>) {
    assert_eq!(commit(catalog, batches).await.map(drop), expected, "{batches:?}");
}

async fn on_record(catalog: &dyn Catalog, tenant: &str, by: &str) -> Option<(u64, u64)> {
    catalog.producer(&name(tenant), &producer(by)).await.unwrap()
}

pub(crate) async fn an_indexer_has_one_id(place: &dyn Place) {
    let (one, two) = (place.open().await, place.open().await);
    let id = one.embedded_indexer().await.unwrap();
    assert_eq!(id, two.embedded_indexer().await.unwrap());
    assert_eq!(id, one.embedded_indexer().await.unwrap());
    assert!(!id.is_nil());
}

pub(crate) async fn sequences_rise_one_by_one(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a", "b"]).await;
    assert_eq!(on_record(catalog, "a", "p").await, None);
    check(catalog, &[("a", "p", 5, 2)], Err((5, 1))).await;
    check(catalog, &[("a", "p", 5, 1)], Ok(())).await;
    check(catalog, &[("a", "p", 5, 2)], Ok(())).await;
    check(catalog, &[("a", "p", 5, 2)], Err((5, 3))).await;
    check(catalog, &[("a", "p", 5, 1)], Err((5, 3))).await;
    check(catalog, &[("a", "p", 5, 4)], Err((5, 3))).await;
    assert_eq!(on_record(catalog, "a", "p").await, Some((5, 2)));
    // Other producers, and the same one of another tenant, count for themselves.
    check(catalog, &[("a", "q", 5, 1), ("b", "p", 9, 1)], Ok(())).await;
    assert_eq!(on_record(catalog, "b", "p").await, Some((9, 1)));
    assert_eq!(on_record(catalog, "a", "p").await, Some((5, 2)));
}

pub(crate) async fn a_new_epoch_begins_at_one(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a"]).await;
    check(catalog, &[("a", "p", 5, 1), ("a", "p", 5, 2)], Ok(())).await;
    check(catalog, &[("a", "p", 6, 3)], Err((6, 1))).await;
    check(catalog, &[("a", "p", 4, 1)], Err((5, 3))).await;
    check(catalog, &[("a", "p", 4, 3)], Err((5, 3))).await;
    check(catalog, &[("a", "p", 8, 1)], Ok(())).await;
    check(catalog, &[("a", "p", 5, 3)], Err((8, 2))).await;
    check(catalog, &[("a", "p", 8, 2)], Ok(())).await;
    assert_eq!(on_record(catalog, "a", "p").await, Some((8, 2)));
}

pub(crate) async fn two_batches_of_a_producer_in_one_commit(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a", "b"]).await;
    check(catalog, &[("a", "p", 1, 1), ("b", "p", 1, 1), ("a", "p", 1, 2)], Ok(())).await;
    check(catalog, &[("a", "p", 1, 3), ("a", "p", 1, 3)], Err((1, 3))).await;
    check(catalog, &[("a", "p", 1, 4), ("a", "p", 1, 3)], Err((1, 3))).await;
    check(catalog, &[("a", "p", 1, 3), ("a", "p", 2, 1), ("a", "p", 2, 2)], Ok(())).await;
    assert_eq!(on_record(catalog, "a", "p").await, Some((2, 2)));
}

pub(crate) async fn a_refused_batch_leaves_no_trace(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a"]).await;
    check(catalog, &[("a", "p", 1, 1)], Ok(())).await;
    let before = needed(catalog).await;
    check(catalog, &[("a", "p", 1, 2), ("a", "new", 1, 1), ("a", "q", 1, 7)], Err((1, 1))).await;
    assert_eq!(on_record(catalog, "a", "p").await, Some((1, 1)));
    assert_eq!(on_record(catalog, "a", "new").await, None);
    assert_eq!(needed(catalog).await, before);
    check(catalog, &[("a", "p", 1, 2)], Ok(())).await;
}

pub(crate) async fn unnumbered_batches_are_always_taken(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a"]).await;
    for _ in 0..2 {
        catalog.commit(&a_commit(vec![unnumbered("a"), unnumbered("a")])).await.unwrap();
    }
    assert_eq!(needed(catalog).await.len(), 2);
}

pub(crate) async fn a_commit_of_an_unknown_tenant_is_refused(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a"]).await;
    let both = a_commit(vec![batch(("a", "p", 1, 1)), batch(("no", "p", 1, 1))]);
    assert!(matches!(catalog.commit(&both).await, Err(Error::Erased { tenant }) if tenant == name("no")));
    let unnumbered = a_commit(vec![batch(("a", "p", 1, 1)), unnumbered("no")]);
    assert!(matches!(catalog.commit(&unnumbered).await, Err(Error::Erased { .. })));
    assert_eq!(on_record(catalog, "a", "p").await, None);
    assert_eq!(on_record(catalog, "no", "p").await, None);
}

pub(crate) async fn recording_again_is_harmless(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a"]).await;
    for batches in [vec![batch(("a", "p", 1, 1))], vec![unnumbered("a")], vec![]] {
        let same = a_commit(batches);
        let id = catalog.commit(&same).await.unwrap();
        assert_eq!(catalog.commit(&same).await.unwrap(), id);
    }
    assert_eq!(needed(catalog).await.len(), 3);
    assert_eq!(on_record(catalog, "a", "p").await, Some((1, 1)));
}

pub(crate) async fn ordinals_rise_and_are_not_given_twice(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a"]).await;
    let mut newest = CommitId(0);
    for round in 0..4 {
        let mine = a_commit(vec![unnumbered("a")]);
        let id = catalog.commit(&mine).await.unwrap();
        assert!(id > newest, "round {round}: {id:?} after {newest:?}");
        newest = id;
        let [object] = catalog.wal_objects(mine.lease.indexer).await.unwrap().try_into().unwrap();
        assert_eq!((object.commit, object.object), (id, mine.object));
        assert_eq!(catalog.wal_objects(Uuid::from_bytes([8; 16])).await.unwrap(), []);
        // Even the highest ordinal, released, is not given again.
        catalog.release(&LEASE, &[mine.object]).await.unwrap();
        catalog.release(&LEASE, &[mine.object]).await.unwrap();
        catalog.release(&LEASE, &[]).await.unwrap();
        assert!(needed(catalog).await.is_empty());
    }
}

pub(crate) async fn numbers_beyond_the_engine_are_refused(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a"]).await;
    let beyond = a_commit(vec![batch(("a", "p", u64::MAX, 1))]);
    assert!(matches!(catalog.commit(&beyond).await, Err(Error::Invalid(_))));
    let largest = i64::MAX.unsigned_abs();
    check(catalog, &[("a", "p", largest, 1)], Ok(())).await;
    assert_eq!(on_record(catalog, "a", "p").await, Some((largest, 1)));
}

pub(crate) async fn two_handles_at_once(place: &dyn Place) {
    const EACH: u64 = 40;
    let (one, two) = (place.open().await, place.open().await);
    add_tenants(&*one, &["a", "b"]).await;
    let write = |catalog: std::sync::Arc<dyn Catalog>, tenant: &'static str| async move {
        let mut ids = Vec::new();
        for sequence in 1..=EACH {
            ids.push(commit(&*catalog, &[(tenant, "p", 1, sequence)]).await.unwrap());
        }
        ids
    };
    let (a, b) = tokio::join!(write(one.clone(), "a"), write(two.clone(), "b"));
    assert!(a.is_sorted() && b.is_sorted());
    let mut all: Vec<_> = a.into_iter().chain(b).collect();
    all.sort_unstable();
    all.dedup();
    let recorded: Vec<_> =
        two.wal_objects(crate::words::INDEXER).await.unwrap().iter().map(|w| w.commit).collect();
    assert_eq!(recorded, all);
    assert_eq!(u64::try_from(all.len()).unwrap(), 2 * EACH);
}

pub(crate) async fn racing_for_one_sequence(place: &dyn Place) {
    let (one, two) = (place.open().await, place.open().await);
    add_tenants(&*one, &["a"]).await;
    for sequence in 1..=20 {
        let batches = [("a", "p", 1, sequence)];
        let (first, second) = tokio::join!(commit(&*one, &batches), commit(&*two, &batches));
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        assert_eq!(first.and(second), Err((1, sequence + 1)));
    }
    assert_eq!(needed(&*one).await.len(), 20);
}

/// Random batches against the rule told in four lines.
pub(crate) async fn random_histories(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a", "b"]).await;
    let seed = Uuid::new_v4().as_u64_pair().0;
    println!("seed {seed}");
    let mut state = seed;
    let mut roll = |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    let mut model: HashMap<(&str, &str), (u64, u64)> = HashMap::new();
    for step in 0..300 {
        let mut after = model.clone();
        let mut is_next = true;
        let mut batches = Vec::new();
        for _ in 0..=roll(3) {
            let key = (["a", "b"][usize::from(roll(2) > 0)], ["p", "q"][usize::from(roll(2) > 0)]);
            let (epoch, last) = after.get(&key).copied().unwrap_or((0, 0));
            // Mostly the next, else somewhere near it.
            let (e, s) = match roll(6) {
                0 => ((epoch + roll(3)).saturating_sub(1), (last + roll(4)).saturating_sub(1)),
                1 => (epoch + 1, 1),
                _ => (epoch, last + 1),
            };
            is_next &= (e > epoch || !after.contains_key(&key)) && s == 1 || e == epoch && s == last + 1;
            after.insert(key, (e, s));
            batches.push((key.0, key.1, e, s));
        }
        assert_eq!(
            commit(catalog, &batches).await.is_ok(),
            is_next,
            "step {step} of seed {seed}: {batches:?}"
        );
        if is_next {
            model = after;
        }
    }
    for ((tenant, by), expected) in model {
        assert_eq!(on_record(catalog, tenant, by).await, Some(expected), "seed {seed}");
    }
}
