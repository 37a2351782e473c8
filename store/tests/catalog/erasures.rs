//! Requests to remove records.

use heliograph_model::filter::{Field, Filter, Test};
use heliograph_model::scan::CommitId;
use heliograph_model::time::TimeRange;
use heliograph_store::Error;
use heliograph_store::catalog::{ErasedAs, ErasedObject, NewErasure, Reason, Rewrite, SegmentMeta};
use heliograph_store::layout::new_object_id;
use uuid::Uuid;

use crate::Place;
use crate::upkeep::{ids, published, retired, searched, union};
use crate::words::{LEASE, a_commit, add_tenants, at, name, segment, unnumbered};

pub(crate) fn asked(tenant: &str) -> NewErasure {
    NewErasure {
        id: Uuid::new_v4(),
        tenant: name(tenant),
        query: "ada".to_owned(),
        filter: Filter::Is(Field::Message, Test::Text("ada".to_owned())),
        range: TimeRange { start: at(-5), end: at(1 << 60) },
        by: "user:root".to_owned(),
        at: at(9),
    }
}

/// In place of a segment one that has one record less.
fn without_one(erasure: Uuid, old: &SegmentMeta) -> Rewrite {
    let by = SegmentMeta { id: new_object_id(), records: old.records - 1, bytes: 5, ..old.clone() };
    Rewrite { erasure, old: old.id, by: Some(by), removed: 1, at: at(12) }
}

pub(crate) async fn a_request_says_what_it_waits_for(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a", "b"]).await;
    let first = catalog.request_erasure(&asked("b")).await.unwrap();
    assert_eq!((first.through, first.waiting, first.written_ahead), (CommitId(0), 0, 0));
    let commits = [a_commit(vec![unnumbered("b")]), a_commit(vec![unnumbered("a")])];
    let mut last = CommitId(0);
    for commit in &commits {
        last = catalog.commit(commit).await.unwrap();
    }
    // What is released before the request is sealed.
    catalog.release(&LEASE, &[commits[1].object]).await.unwrap();
    let new = asked("a");
    for _ in 0..2 {
        let made = catalog.request_erasure(&new).await.unwrap();
        assert_eq!((made.through, made.waiting, made.written_ahead), (last, 1, 1));
        assert_eq!((made.id, made.query.as_deref(), made.range), (new.id, Some("ada"), new.range));
        assert_eq!((made.by.as_str(), made.at, made.done, made.trouble), ("user:root", at(9), None, None));
        catalog.commit(&a_commit(vec![unnumbered("a")])).await.unwrap();
    }
    let pending = catalog.pending_erasures().await.unwrap();
    let of_a = pending.iter().find(|erasure| erasure.id == new.id).unwrap();
    assert_eq!((pending.len(), of_a.waiting, of_a.through), (2, 1, last));
    assert_eq!((&of_a.tenant, &of_a.filter, of_a.range), (&new.tenant, &new.filter, new.range));
    catalog.set_erasure_trouble(new.id, Some("a disk is full")).await.unwrap();
    catalog.release(&LEASE, &[commits[0].object]).await.unwrap();
    let all = catalog.erasures().await.unwrap();
    let of_a = all.iter().find(|erasure| erasure.id == new.id).unwrap();
    assert_eq!((of_a.waiting, of_a.written_ahead, of_a.trouble.as_deref()), (0, 1, Some("a disk is full")));
    assert_eq!(catalog.erasure_steps().await.unwrap(), 0);
    for moment in [30, 31] {
        catalog.finish_erasure(new.id, at(moment)).await.unwrap();
    }
    let all = catalog.erasures().await.unwrap();
    let of_a = all.iter().find(|erasure| erasure.id == new.id).unwrap();
    assert_eq!((of_a.done, &of_a.query, &of_a.trouble), (Some(at(30)), &None, &None));
    assert_eq!(of_a.query_hash[..4], [0xfd, 0xee, 0x43, 0x0d], "SHA-256 of the text");
    assert_eq!(catalog.pending_erasures().await.unwrap().len(), 1);
    assert_eq!(catalog.erasure_steps().await.unwrap(), 1);
    let unknown = catalog.request_erasure(&asked("no")).await;
    assert!(matches!(unknown, Err(Error::Missing { what: "tenant", .. })), "{unknown:?}");
}

pub(crate) async fn a_rewritten_segment_takes_the_old_ones_place(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a"]).await;
    let all = published(catalog, "a", 4).await;
    let merged = union(&all[..2]);
    catalog.replace(&ids(&all[..2]), &merged, at(1)).await.unwrap();
    let new = catalog.request_erasure(&asked("a")).await.unwrap();
    let rewrite = without_one(new.id, &merged);
    let by = rewrite.by.clone().unwrap();
    let gone = Rewrite { erasure: new.id, old: all[2].id, by: None, removed: 3, at: at(13) };
    for _ in 0..2 {
        catalog.rewrite(&rewrite).await.unwrap();
        catalog.rewrite(&gone).await.unwrap();
        assert_eq!(searched(catalog, "a").await, [by.id, all[3].id]);
    }
    // By another process, which made another object of the same segment.
    let other = catalog.rewrite(&without_one(new.id, &merged)).await;
    assert!(matches!(other, Err(Error::Replaced { segment }) if segment == merged.id), "{other:?}");
    let why: Vec<_> = retired(catalog).await.into_iter().filter(|(_, why)| *why == Reason::Erased).collect();
    assert_eq!(why.len(), 2);
    let candidates = catalog.merge_candidates(&name("a")).await.unwrap();
    let found = candidates.iter().find(|candidate| candidate.meta.id == by.id).unwrap();
    assert_eq!((&found.meta, found.merges), (&by, 1), "erasing is not merging");

    let retired =
        ErasedObject { object: all[0].id, what: ErasedAs::Retired, bytes: 8, removed: 0, successor: None };
    // What is noted already stays as it is.
    let again = ErasedObject { object: merged.id, ..retired.clone() };
    catalog.note_erased(new.id, &[retired.clone(), again]).await.unwrap();
    let object = |object, removed, successor| ErasedObject {
        object,
        what: ErasedAs::Rewritten,
        bytes: 1 << 40,
        removed,
        successor,
    };
    let mut expected = vec![object(merged.id, 1, Some(by.id)), object(all[2].id, 3, None), retired];
    expected.sort_by_key(|erased| erased.object);
    assert_eq!(catalog.erased(new.id).await.unwrap(), expected);
    catalog.finish_erasure(new.id, at(40)).await.unwrap();
    let late = catalog.rewrite(&without_one(new.id, &all[3])).await;
    assert!(matches!(late, Err(Error::Missing { what: "pending erasure", .. })), "{late:?}");
    assert_eq!(catalog.erased(new.id).await.unwrap(), expected, "the receipt lasts");
}

pub(crate) async fn a_rewrite_is_all_or_nothing(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a", "b"]).await;
    let all = published(catalog, "a", 2).await;
    let of_b = published(catalog, "b", 3).await.remove(2);
    let new = catalog.request_erasure(&asked("a")).await.unwrap();
    let good = without_one(new.id, &all[0]);
    let by = good.by.clone().unwrap();
    let with = |by: SegmentMeta| Rewrite { by: Some(by), ..good.clone() };
    let wrong = [
        Rewrite { removed: 2, ..good.clone() },
        Rewrite { removed: 0, ..with(SegmentMeta { records: 3, ..by.clone() }) },
        with(SegmentMeta { commits_through: CommitId(9), ..by.clone() }),
        with(SegmentMeta { commits_after: CommitId(-1), ..by.clone() }),
        with(SegmentMeta { indexer: Uuid::new_v4(), ..by.clone() }),
        Rewrite { by: None, ..good.clone() },
    ];
    for wrong in wrong {
        let refused = catalog.rewrite(&wrong).await;
        assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?} of {wrong:?}");
    }
    let foreign = catalog.rewrite(&without_one(new.id, &of_b)).await;
    assert!(matches!(foreign, Err(Error::Replaced { .. })), "{foreign:?}");
    let unknown = catalog.rewrite(&Rewrite { erasure: Uuid::new_v4(), ..good.clone() }).await;
    assert!(matches!(unknown, Err(Error::Missing { .. })), "{unknown:?}");
    catalog.discard(&[by.id], at(3)).await.unwrap();
    let given_up = catalog.rewrite(&good).await;
    assert!(matches!(given_up, Err(Error::Discarded { object }) if object == by.id), "{given_up:?}");
    assert_eq!(searched(catalog, "a").await, ids(&all));
    assert_eq!((retired(catalog).await, catalog.erased(new.id).await.unwrap()), (vec![], vec![]));
}

pub(crate) async fn rewrites_and_merges_race(place: &dyn Place) {
    let (one, two) = (place.open().await, place.open().await);
    add_tenants(&*one, &["a"]).await;
    let new = one.request_erasure(&asked("a")).await.unwrap();
    for n in 0..10 {
        let parts = [(2 * n, 2 * n + 1), (2 * n + 1, 2 * n + 2)].map(|span| segment("a", span, (0, 9)));
        for part in &parts {
            one.publish(&LEASE, part, &[]).await.unwrap();
        }
        let (merged, rewrite) = (union(&parts), without_one(new.id, &parts[1]));
        let inputs = ids(&parts);
        let (merging, rewriting) = tokio::join!(one.replace(&inputs, &merged, at(1)), two.rewrite(&rewrite));
        assert_eq!(u8::from(merging.is_ok()) + u8::from(rewriting.is_ok()), 1, "{merging:?} {rewriting:?}");
        let refused = merging.and(rewriting).unwrap_err();
        assert!(matches!(refused, Error::Replaced { segment } if segment == parts[1].id), "{refused}");
    }
}

/// Whatever has an ordinal up to the request's is recorded by then, or was taken back.
pub(crate) async fn requests_and_commits_at_once(place: &dyn Place) {
    let (one, two) = (place.open().await, place.open().await);
    add_tenants(&*one, &["a"]).await;
    let committing = async {
        let mut ordinals = Vec::new();
        for _ in 0..40 {
            ordinals.push(one.commit(&a_commit(vec![unnumbered("a")])).await.unwrap());
        }
        ordinals
    };
    let asking = async {
        let mut made = Vec::new();
        for _ in 0..10 {
            made.push(two.request_erasure(&asked("a")).await.unwrap());
            tokio::task::yield_now().await;
        }
        made
    };
    let (ordinals, made) = tokio::join!(committing, asking);
    for erasure in made {
        let before = ordinals.iter().filter(|ordinal| **ordinal <= erasure.through).count() as u64;
        assert_eq!((erasure.written_ahead, erasure.waiting), (before, before));
    }
}
