//! Segments that take the place of others, and those that go.

use heliograph_model::scan::CommitId;
use heliograph_model::time::TimeRange;
use heliograph_store::Error;
use heliograph_store::catalog::{Catalog, Reason, SegmentMeta};
use heliograph_store::layout::{ObjectId, new_object_id};
use uuid::Uuid;

use crate::Place;
use crate::words::{INDEXER, LEASE, add_tenants, at, name, segment};

pub(crate) async fn searched(catalog: &dyn Catalog, tenant: &str) -> Vec<ObjectId> {
    let mut all = catalog.segments(&name(tenant), &TimeRange::ALL).await.unwrap();
    all.sort_by_key(|segment| segment.commits_through);
    all.iter().map(|segment| segment.id).collect()
}

pub(crate) async fn retired(catalog: &dyn Catalog) -> Vec<(ObjectId, Reason)> {
    catalog.retired(100).await.unwrap().iter().map(|segment| (segment.id, segment.reason)).collect()
}

pub(crate) fn ids(of: &[SegmentMeta]) -> Vec<ObjectId> {
    of.iter().map(|segment| segment.id).collect()
}

/// Segments of commits `0..=1`, `1..=2`, … of a tenant, published.
pub(crate) async fn published(catalog: &dyn Catalog, tenant: &str, count: i64) -> Vec<SegmentMeta> {
    let mut all = Vec::new();
    for n in 0..count {
        let one = segment(tenant, (n, n + 1), (10 * n, 10 * n + 9));
        catalog.publish(&LEASE, &one, &[]).await.unwrap();
        all.push(one);
    }
    all
}

/// What these are merged into.
pub(crate) fn union(of: &[SegmentMeta]) -> SegmentMeta {
    let span = (of[0].commits_after.0, of[of.len() - 1].commits_through.0);
    SegmentMeta { records: 3 * of.len() as u64, ..segment(of[0].tenant.as_str(), span, (0, 99)) }
}

pub(crate) async fn a_merged_segment_takes_the_place_of_its_inputs(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a"]).await;
    let all = published(catalog, "a", 4).await;
    let merged = union(&all[1..3]);
    for _ in 0..2 {
        catalog.replace(&ids(&all[1..3]), &merged, at(5)).await.unwrap();
        assert_eq!(searched(catalog, "a").await, [all[0].id, merged.id, all[3].id]);
        let mut gone = retired(catalog).await;
        gone.sort_by_key(|(id, _)| *id != all[1].id);
        assert_eq!(gone, [(all[1].id, Reason::Merged), (all[2].id, Reason::Merged)]);
    }
    let merges = async || {
        let of = catalog.merge_candidates(&name("a")).await.unwrap();
        of.iter().map(|candidate| (candidate.meta.id, candidate.merges)).collect::<Vec<_>>()
    };
    assert_eq!(merges().await, [(all[0].id, 0), (merged.id, 1), (all[3].id, 0)]);
    let again = SegmentMeta { records: 12, ..union(&all) };
    catalog.replace(&[all[0].id, merged.id, all[3].id], &again, at(6)).await.unwrap();
    assert_eq!(merges().await, [(again.id, 2)]);
    assert_eq!(catalog.segments(&name("a"), &TimeRange::ALL).await.unwrap(), [again]);
    assert_eq!(catalog.sealed_through(INDEXER).await.unwrap(), [(name("a"), CommitId(4))]);
    let next = segment("a", (4, 5), (1, 2));
    catalog.publish(&LEASE, &next, &[]).await.unwrap();
    // Sealed once, whatever became of the segment.
    assert!(matches!(catalog.publish(&LEASE, &all[1], &[]).await, Err(Error::Exists { .. })));
}

pub(crate) async fn a_merge_is_all_or_nothing(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a", "b"]).await;
    let all = published(catalog, "a", 3).await;
    let of_b = published(catalog, "b", 1).await;
    let merged = union(&all);
    let strangers = [new_object_id(), of_b[0].id];
    for stranger in strangers {
        let with = [ids(&all), vec![stranger]].concat();
        let refused = catalog.replace(&with, &merged, at(5)).await;
        assert!(matches!(refused, Err(Error::Replaced { segment }) if segment == stranger), "{refused:?}");
    }
    let elsewhere = SegmentMeta { indexer: Uuid::from_bytes([8; 16]), ..merged.clone() };
    assert!(matches!(catalog.replace(&ids(&all), &elsewhere, at(5)).await, Err(Error::Replaced { .. })));
    for wrong in [
        SegmentMeta { records: merged.records - 1, ..merged.clone() },
        SegmentMeta { commits_after: CommitId(-1), ..merged.clone() },
        SegmentMeta { commits_through: CommitId(4), ..merged.clone() },
    ] {
        let refused = catalog.replace(&ids(&all), &wrong, at(5)).await;
        assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
    }
    assert!(matches!(catalog.replace(&ids(&all[..2]), &merged, at(5)).await, Err(Error::Corrupt { .. })));
    assert!(matches!(catalog.replace(&[], &merged, at(5)).await, Err(Error::Corrupt { .. })));
    assert_eq!(searched(catalog, "a").await, ids(&all));
    assert_eq!(retired(catalog).await, []);
    catalog.replace(&ids(&all), &merged, at(5)).await.unwrap();
    assert_eq!((searched(catalog, "a").await, retired(catalog).await.len()), (vec![merged.id], 3));
}

pub(crate) async fn two_merges_of_one_segment(place: &dyn Place) {
    let (one, two) = (place.open().await, place.open().await);
    add_tenants(&*one, &["a"]).await;
    let all = published(&*one, "a", 3).await;
    let (left, right) = (union(&all[..2]), union(&all[1..]));
    let (left_ids, right_ids) = (ids(&all[..2]), ids(&all[1..]));
    let (first, second) =
        tokio::join!(one.replace(&left_ids, &left, at(1)), two.replace(&right_ids, &right, at(1)));
    assert_eq!(u8::from(first.is_ok()) + u8::from(second.is_ok()), 1, "{first:?} {second:?}");
    let refused = first.and(second).unwrap_err();
    assert!(matches!(refused, Error::Replaced { segment } if segment == all[1].id), "{refused}");
    assert_eq!(searched(&*one, "a").await.len(), 2);
}

pub(crate) async fn what_is_retired_is_not_searched(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a", "b"]).await;
    let all = published(catalog, "a", 3).await;
    published(catalog, "b", 1).await;
    let some = [all[0].id, all[2].id, new_object_id()];
    let mut gone = catalog.retire(&name("a"), &some, Reason::Age, at(8)).await.unwrap();
    gone.sort();
    assert_eq!(gone, [all[0].id, all[2].id]);
    assert!(catalog.retire(&name("a"), &some, Reason::Bytes, at(9)).await.unwrap().is_empty());
    assert!(catalog.retire(&name("b"), &[all[1].id], Reason::Age, at(9)).await.unwrap().is_empty());
    assert_eq!(searched(catalog, "a").await, [all[1].id]);
    assert_eq!(catalog.newest_segments(9).await.unwrap().len(), 2);
    let waiting = catalog.retired(9).await.unwrap();
    let told: Vec<_> = waiting.iter().map(|r| (r.tenant.clone(), r.bytes, r.reason, r.at)).collect();
    assert_eq!(told, vec![(name("a"), 1 << 40, Reason::Age, at(8)); 2]);
    assert_eq!(catalog.retired(1).await.unwrap().len(), 1);
    catalog.forget(&[all[0].id, all[1].id]).await.unwrap();
    assert_eq!(retired(catalog).await, [(all[2].id, Reason::Age)]);
    assert_eq!(searched(catalog, "a").await, [all[1].id], "what is searched is not forgotten");
    let none = catalog.retire(&name("no"), &some, Reason::Age, at(9)).await;
    assert!(matches!(none, Err(Error::Missing { what: "tenant", .. })));
}

pub(crate) async fn what_is_given_up_is_never_published(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a"]).await;
    let all = published(catalog, "a", 3).await;
    catalog.retire(&name("a"), &[all[2].id], Reason::Age, at(1)).await.unwrap();
    let (late, merged) = (segment("a", (3, 4), (1, 2)), union(&all[..2]));
    let listed = [all[0].id, all[2].id, late.id, merged.id];
    for _ in 0..2 {
        let mut given_up = catalog.discard(&listed, at(2)).await.unwrap();
        given_up.sort();
        let mut expected = [late.id, merged.id];
        expected.sort();
        assert_eq!(given_up, expected);
    }
    let refused = catalog.publish(&LEASE, &late, &[]).await;
    assert!(matches!(refused, Err(Error::Discarded { object }) if object == late.id), "{refused:?}");
    let refused = catalog.replace(&ids(&all[..2]), &merged, at(3)).await;
    assert!(matches!(refused, Err(Error::Discarded { object }) if object == merged.id), "{refused:?}");
    assert_eq!(searched(catalog, "a").await, ids(&all[..2]));
    assert_eq!(catalog.sealed_through(INDEXER).await.unwrap(), [(name("a"), CommitId(3))]);
    let anew = SegmentMeta { id: new_object_id(), ..late };
    catalog.publish(&LEASE, &anew, &[]).await.unwrap();
    assert_eq!(searched(catalog, "a").await.last(), Some(&anew.id));
}

pub(crate) async fn giving_up_races_with_publishing(place: &dyn Place) {
    let (writer, collector) = (place.open().await, place.open().await);
    add_tenants(&*writer, &["a"]).await;
    for n in 0..20 {
        let one = segment("a", (n, n + 1), (1, 2));
        let listed = [one.id];
        let (published, given_up) =
            tokio::join!(writer.publish(&LEASE, &one, &[]), collector.discard(&listed, at(n)));
        let is_there = searched(&*writer, "a").await.contains(&one.id);
        assert_eq!((published.is_ok(), given_up.unwrap().is_empty()), (is_there, is_there));
        if !is_there {
            writer.publish(&LEASE, &SegmentMeta { id: new_object_id(), ..one }, &[]).await.unwrap();
        }
    }
}

pub(crate) async fn usage_is_of_what_is_searched(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a", "b", "c"]).await;
    let of_b = published(catalog, "b", 3).await;
    published(catalog, "a", 1).await;
    catalog.retire(&name("b"), &[of_b[0].id], Reason::Bytes, at(1)).await.unwrap();
    let usage = catalog.usage().await.unwrap();
    let told: Vec<_> = usage
        .iter()
        .map(|u| (u.tenant.as_str(), u.segments, u.stored_bytes, u.records, u.raw_bytes))
        .collect();
    assert_eq!(told, [("a", 1, 1 << 40, 3, 500), ("b", 2, 2 << 40, 6, 1_000), ("c", 0, 0, 0, 0)]);
}
