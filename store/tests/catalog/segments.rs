//! What is sealed, and what of it a range touches.

use heliograph_model::scan::CommitId;
use heliograph_model::time::TimeRange;
use heliograph_store::Error;
use heliograph_store::catalog::{Catalog, Lease, SegmentMeta};

use crate::Place;
use crate::words::{
    INDEXER, LEASE, a_commit, add_tenants, at, batch, name, needed, segment, unnumbered, user,
};

async fn all(catalog: &dyn Catalog, tenant: &str) -> Vec<SegmentMeta> {
    catalog.segments(&name(tenant), &TimeRange::ALL).await.unwrap()
}

async fn sealed(catalog: &dyn Catalog) -> Vec<(String, i64)> {
    let marks = catalog.sealed_through(INDEXER).await.unwrap();
    marks.into_iter().map(|(tenant, through)| (tenant.to_string(), through.0)).collect()
}

pub(crate) async fn publishing_is_all_or_nothing(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a", "b"]).await;
    let mine = a_commit(vec![unnumbered("a"), unnumbered("b")]);
    let id = catalog.commit(&mine).await.unwrap();
    let theirs = a_commit(vec![unnumbered("b")]);
    catalog.commit(&theirs).await.unwrap();

    let nobodys = segment("no", (0, id.0), (1, 2));
    let refused = catalog.publish(&LEASE, &nobodys, &[mine.object]).await;
    assert!(matches!(refused, Err(Error::Erased { .. })));
    assert_eq!(needed(catalog).await, [mine.object, theirs.object]);
    assert_eq!(sealed(catalog).await, []);

    let of_a = segment("a", (0, id.0), (1, 2));
    catalog.publish(&LEASE, &of_a, &[mine.object]).await.unwrap();
    assert_eq!(needed(catalog).await, [theirs.object]);
    assert_eq!(sealed(catalog).await, [("a".to_owned(), id.0)]);
    assert_eq!(all(catalog, "a").await, [of_a]);
    assert_eq!(all(catalog, "b").await, []);

    let of_b = SegmentMeta { bytes: u64::MAX, ..segment("b", (0, id.0), (1, 2)) };
    assert!(matches!(catalog.publish(&LEASE, &of_b, &[theirs.object]).await, Err(Error::Invalid(_))));
    assert_eq!(needed(catalog).await, [theirs.object]);
    assert_eq!(sealed(catalog).await.len(), 1);
}

pub(crate) async fn publishing_again_is_harmless(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a"]).await;
    let one = segment("a", (0, 3), (1, 2));
    catalog.publish(&LEASE, &one, &[]).await.unwrap();
    let two = segment("a", (3, 5), (3, 4));
    catalog.publish(&LEASE, &two, &[]).await.unwrap();
    catalog.publish(&LEASE, &one, &[]).await.unwrap();
    assert_eq!(sealed(catalog).await, [("a".to_owned(), 5)], "the mark does not go back");
    assert_eq!(all(catalog, "a").await, [two, one]);
}

pub(crate) async fn nothing_is_sealed_twice(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a", "b"]).await;
    catalog.publish(&LEASE, &segment("a", (2, 5), (1, 2)), &[]).await.unwrap();
    for overlap in [(0, 5), (0, 3), (4, 6), (4, 5), (0, 9)] {
        let mine = a_commit(vec![unnumbered("a")]);
        catalog.commit(&mine).await.unwrap();
        let refused = catalog.publish(&LEASE, &segment("a", overlap, (1, 2)), &[mine.object]).await;
        assert!(matches!(refused, Err(Error::Exists { .. })), "{overlap:?}");
        assert_eq!(needed(catalog).await, [mine.object]);
        catalog.release(&LEASE, &[mine.object]).await.unwrap();
    }
    // Other tenants and other indexers have marks of their own; commits without records may be left out.
    catalog.publish(&LEASE, &segment("b", (0, 4), (1, 2)), &[]).await.unwrap();
    let elsewhere = SegmentMeta { indexer: uuid::Uuid::from_bytes([8; 16]), ..segment("a", (0, 4), (1, 2)) };
    catalog.publish(&Lease::embedded(elsewhere.indexer), &elsewhere, &[]).await.unwrap();
    catalog.publish(&LEASE, &segment("a", (7, 9), (1, 2)), &[]).await.unwrap();
    assert_eq!(all(catalog, "a").await.len(), 3);
    assert_eq!(sealed(catalog).await, [("a".to_owned(), 9), ("b".to_owned(), 4)]);
}

pub(crate) async fn segments_of_a_range_newest_first(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a", "b"]).await;
    let spans = [(10, 20), (15, 40), (-30, -5), (25, 25), (0, 100)];
    for (number, span) in (0..).zip(spans) {
        catalog.publish(&LEASE, &segment("a", (number, number + 1), span), &[]).await.unwrap();
        catalog.publish(&LEASE, &segment("b", (number, number + 1), span), &[]).await.unwrap();
    }
    for (start, end) in
        [(0, 10), (10, 11), (20, 21), (21, 25), (25, 26), (-5, 0), (101, 200), (i64::MIN, i64::MAX)]
    {
        let range = TimeRange { start: at(start), end: at(end) };
        let found: Vec<_> =
            catalog.segments(&name("a"), &range).await.unwrap().iter().map(|s| (s.first, s.last)).collect();
        let mut expected: Vec<_> = spans.iter().map(|(f, l)| (at(*f), at(*l))).collect();
        expected.retain(|(first, last)| range.touches(*first, *last));
        expected.sort_by_key(|(_, last)| std::cmp::Reverse(*last));
        assert_eq!(found, expected, "{range:?}");
    }
    assert_eq!(catalog.segments(&name("no"), &TimeRange::ALL).await.unwrap(), []);
    let newest = catalog.newest_segments(3).await.unwrap();
    assert_eq!(newest.iter().map(|s| s.last).collect::<Vec<_>>(), [at(100), at(100), at(40)]);
}

pub(crate) async fn segments_of_several_tenants(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a", "b", "c", "d"]).await;
    for (number, tenant) in (0..).zip(["a", "b", "c", "b", "a", "c"]) {
        catalog
            .publish(&LEASE, &segment(tenant, (number, number + 1), (10 * number, 10 * number + 5)), &[])
            .await
            .unwrap();
    }
    let found = async |tenants: &[&str], (start, end): (i64, i64)| {
        let tenants: Vec<_> = tenants.iter().copied().map(name).collect();
        let range = TimeRange { start: at(start), end: at(end) };
        let found = catalog.segments_of(&tenants, &range).await.unwrap();
        let mut each = Vec::new();
        for tenant in &tenants {
            each.extend(catalog.segments(tenant, &range).await.unwrap());
        }
        each.sort_by_key(|segment| std::cmp::Reverse((segment.last, segment.id)));
        each.dedup();
        assert_eq!(found, each, "as each of them by itself");
        found.iter().map(|segment| (segment.tenant.to_string(), segment.commits_after.0)).collect::<Vec<_>>()
    };
    let of = |all: &[(&str, i64)]| all.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<Vec<_>>();
    let ever = (i64::MIN, i64::MAX);
    assert_eq!(found(&[], ever).await, []);
    assert_eq!(found(&["d", "no"], ever).await, []);
    assert_eq!(found(&["a"], ever).await, of(&[("a", 4), ("a", 0)]));
    assert_eq!(found(&["b", "a", "no"], ever).await, of(&[("a", 4), ("b", 3), ("b", 1), ("a", 0)]));
    assert_eq!(found(&["b", "b"], ever).await, of(&[("b", 3), ("b", 1)]), "named twice");
    assert_eq!(found(&["a", "b", "c"], (15, 31)).await, of(&[("b", 3), ("c", 2), ("b", 1)]));
}

pub(crate) async fn everything_lasts(place: &dyn Place) {
    let catalog = place.open().await;
    add_tenants(&*catalog, &["a"]).await;
    catalog.create_user(&user("u")).await.unwrap();
    let indexer = catalog.embedded_indexer().await.unwrap();
    let mine = a_commit(vec![batch(("a", "p", 3, 1))]);
    let id = catalog.commit(&mine).await.unwrap();
    let published = segment("a", (0, id.0), (1, 2));
    catalog.publish(&LEASE, &published, &[]).await.unwrap();
    drop(catalog);

    let again = &*place.open().await;
    assert_eq!(again.tenants().await.unwrap().len(), 1);
    assert_eq!(again.users().await.unwrap().len(), 1);
    assert_eq!(again.embedded_indexer().await.unwrap(), indexer);
    assert_eq!(again.producer(&name("a"), &crate::words::producer("p")).await.unwrap(), Some((3, 1)));
    assert_eq!(needed(again).await, [mine.object]);
    assert_eq!(again.sealed_through(INDEXER).await.unwrap(), [(name("a"), id)]);
    assert_eq!(all(again, "a").await, [published]);
    let next = again.commit(&a_commit(vec![batch(("a", "p", 3, 2))])).await.unwrap();
    assert!(next > id && id > CommitId(0));
}
