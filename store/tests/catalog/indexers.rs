//! Who writes for an indexer: leases that run, run out, and are taken over.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use heliograph_store::Error;
use heliograph_store::catalog::{Catalog, Lease, NewCommit};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Place;
use crate::words::{a_commit, add_tenants, batch, name, producer, segment, unnumbered};

const LONG: Duration = Duration::from_mins(10);
/// A lease for no time has run out when it is given.
const OVER: Duration = Duration::ZERO;

fn fenced<T: std::fmt::Debug>(outcome: Result<T, Error>, lease: &Lease) {
    let error = outcome.unwrap_err();
    assert!(
        matches!(&error, Error::Fenced { indexer, epoch } if (*indexer, *epoch) == (lease.indexer, lease.epoch)),
        "{error:?}"
    );
}

async fn registered(catalog: &dyn Catalog, lease_for: Duration) -> Lease {
    catalog.register_indexer(Uuid::now_v7(), "http://one:7710", lease_for).await.unwrap()
}

async fn claim(catalog: &dyn Catalog) -> Option<Lease> {
    catalog.claim_indexer("http://two:7710", LONG, &[]).await.unwrap()
}

pub(crate) async fn indexers_are_found_by_those_who_share_the_catalog(place: &dyn Place) {
    let (one, two) = (place.open().await, place.open().await);
    assert_eq!(one.indexers().await.unwrap(), []);
    let running = registered(&*one, LONG).await;
    let over = registered(&*one, OVER).await;
    assert_eq!((running.epoch, over.epoch), (1, 1));
    let found = two.indexers().await.unwrap();
    assert_eq!(found.iter().map(|i| i.lease).collect::<Vec<_>>(), [running, over]);
    assert!(found.iter().all(|i| i.address == "http://one:7710"));
    assert!(found[0].remaining > LONG / 2 && found[0].remaining <= LONG, "{found:?}");
    assert_eq!(found[1].remaining, Duration::ZERO);

    let again = two.register_indexer(running.indexer, "http://one:7710", LONG).await.unwrap();
    assert_eq!(again, running, "the same call, made again");
    let taken = two.register_indexer(running.indexer, "http://three:7710", LONG).await;
    assert!(matches!(taken, Err(Error::Exists { what: "indexer", .. })), "{taken:?}");
    one.renew_lease(&running, Duration::MAX).await.unwrap();
    assert!(two.indexers().await.unwrap()[0].remaining <= Duration::from_hours(1), "no lease is for ever");
}

pub(crate) async fn a_lease_that_has_run_out_is_claimed_once(place: &dyn Place) {
    let catalog = &*place.open().await;
    let running = registered(catalog, LONG).await;
    assert_eq!(claim(catalog).await, None);
    let over = registered(catalog, OVER).await;
    assert_eq!(catalog.claim_indexer("x", LONG, &[running.indexer, over.indexer]).await.unwrap(), None);
    let claimed = claim(catalog).await.unwrap();
    assert_eq!(claimed, Lease { epoch: 2, ..over });
    assert_eq!(claim(catalog).await, None);
    let entry = catalog.indexers().await.unwrap().into_iter().find(|i| i.lease == claimed).unwrap();
    assert_eq!(entry.address, "http://two:7710");
    assert!(entry.remaining > LONG / 2);

    // Who has lost it cannot renew it, nor make it anew; who has it can, and can let go.
    fenced(catalog.renew_lease(&over, LONG).await, &over);
    let anew = catalog.register_indexer(over.indexer, "http://one:7710", LONG).await;
    assert!(matches!(anew, Err(Error::Exists { .. })), "{anew:?}");
    catalog.renew_lease(&claimed, OVER).await.unwrap();
    catalog.renew_lease(&claimed, LONG).await.unwrap();
    assert_eq!(claim(catalog).await, None, "renewed before anybody took it over");
    catalog.renew_lease(&running, OVER).await.unwrap();
    catalog.renew_lease(&claimed, OVER).await.unwrap();
    assert_eq!(
        claim(catalog).await.map(|l| l.indexer),
        Some(running.indexer),
        "the longest over comes first"
    );
    assert_eq!(claim(catalog).await, Some(Lease { epoch: 3, ..over }));
}

/// The one promise that all the rest stands on: stopped for a while, an indexer does nothing twice.
pub(crate) async fn who_was_taken_over_writes_nothing_any_more(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a"]).await;
    let old = registered(catalog, LONG).await;
    let mine = NewCommit { lease: old, ..a_commit(vec![batch(("a", "p", 1, 1))]) };
    let first = catalog.commit(&mine).await.unwrap();
    catalog.renew_lease(&old, OVER).await.unwrap();
    // Run out, but not taken over: nobody else writes, so it may.
    let second = NewCommit { lease: old, ..a_commit(vec![batch(("a", "p", 1, 2))]) };
    let through = catalog.commit(&second).await.unwrap();
    let new = claim(catalog).await.unwrap();

    let third = NewCommit { lease: old, ..a_commit(vec![batch(("a", "p", 1, 3))]) };
    fenced(catalog.commit(&third).await, &old);
    // Also what was done before: whether it was, only the holder can say now.
    fenced(catalog.commit(&mine).await, &old);
    let sealed = heliograph_store::catalog::SegmentMeta {
        indexer: old.indexer,
        ..segment("a", (0, through.0), (1, 2))
    };
    fenced(catalog.publish(&old, &sealed, &[mine.object]).await, &old);
    fenced(catalog.release(&old, &[mine.object]).await, &old);
    fenced(catalog.retire_indexer(&old).await, &old);
    assert_eq!(catalog.producer(&name("a"), &producer("p")).await.unwrap(), Some((1, 2)));

    // All that it had written is there for the other, who goes on from it.
    let objects = catalog.wal_objects(old.indexer).await.unwrap();
    assert_eq!(objects.iter().map(|w| w.commit).collect::<Vec<_>>(), [first, through]);
    assert!(!catalog.retire_indexer(&new).await.unwrap(), "it is still needed");
    catalog.publish(&new, &sealed, &[mine.object, second.object]).await.unwrap();
    assert_eq!(catalog.sealed_through(old.indexer).await.unwrap(), [(name("a"), through)]);
    for _ in 0..2 {
        assert!(catalog.retire_indexer(&new).await.unwrap());
    }
    assert_eq!(catalog.indexers().await.unwrap(), []);
    assert_eq!(catalog.sealed_through(old.indexer).await.unwrap(), []);
    for gone in [&old, &new] {
        fenced(catalog.commit(&NewCommit { lease: *gone, ..third.clone() }).await, gone);
        fenced(catalog.publish(gone, &sealed, &[]).await, gone);
        fenced(catalog.renew_lease(gone, LONG).await, gone);
    }
}

pub(crate) async fn an_indexer_lets_go_only_of_its_own(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a"]).await;
    let (one, two) = (registered(catalog, LONG).await, registered(catalog, LONG).await);
    let mine = NewCommit { lease: one, ..a_commit(vec![unnumbered("a")]) };
    catalog.commit(&mine).await.unwrap();
    catalog.release(&two, &[mine.object]).await.unwrap();
    assert_eq!(catalog.wal_objects(one.indexer).await.unwrap().len(), 1);
    // Embedded mode's lease is good for its own indexer alone.
    let embedded = Lease::embedded(one.indexer);
    fenced(catalog.release(&embedded, &[mine.object]).await, &embedded);
    catalog.release(&one, &[mine.object]).await.unwrap();
    assert_eq!(catalog.wal_objects(one.indexer).await.unwrap(), []);
}

pub(crate) async fn of_many_claimers_one_gets_it(place: &dyn Place) {
    const INDEXERS: usize = 6;
    let first = place.open().await;
    for _ in 0..INDEXERS {
        registered(&*first, OVER).await;
    }
    let mut claiming = JoinSet::new();
    for _ in 0..4 {
        let catalog = place.open().await;
        claiming.spawn(async move {
            let mut got = Vec::new();
            // One that another holds at this moment is passed over, so nothing may mean not now.
            for _ in 0..3 * INDEXERS {
                got.extend(claim(&*catalog).await);
            }
            got
        });
    }
    let got: Vec<Lease> = claiming.join_all().await.into_iter().flatten().collect();
    assert_eq!(got.len(), INDEXERS, "{got:?}");
    assert_eq!(got.iter().map(|l| l.indexer).collect::<HashSet<_>>().len(), INDEXERS);
    assert!(got.iter().all(|l| l.epoch == 2));
}

/// Commits go on while the indexer changes hands again and again: what a holder's commits were told is on record,
/// and nothing of an old holder comes after the first of a new one.
pub(crate) async fn commits_and_claims_at_once(place: &dyn Place) {
    const CLAIMS: u64 = 12;
    let catalog = place.open().await;
    add_tenants(&*catalog, &["a"]).await;
    let first = registered(&*catalog, OVER).await;
    let mut writing = JoinSet::new();
    let write = |catalog: Arc<dyn Catalog>, lease: Lease| async move {
        let mut recorded = Vec::new();
        loop {
            match catalog.commit(&NewCommit { lease, ..a_commit(vec![unnumbered("a")]) }).await {
                Ok(commit) => recorded.push(commit),
                Err(Error::Fenced { .. }) => return (lease.epoch, recorded),
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    writing.spawn(write(place.open().await, first));
    for _ in 0..CLAIMS {
        let lease = loop {
            // It is held for the length of a commit, again and again.
            match catalog.claim_indexer("x", OVER, &[]).await.unwrap() {
                Some(lease) => break lease,
                None => tokio::task::yield_now().await,
            }
        };
        let handle = place.open().await;
        writing.spawn(write(handle, lease));
    }
    while catalog.claim_indexer("x", LONG, &[]).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let mut by_holder = writing.join_all().await;
    by_holder.sort();
    let told: Vec<_> = by_holder.iter().flat_map(|(_, recorded)| recorded.iter().copied()).collect();
    assert!(told.is_sorted(), "of one holder after the other: {by_holder:?}");
    let on_record = catalog.wal_objects(first.indexer).await.unwrap();
    assert_eq!(on_record.iter().map(|w| w.commit).collect::<Vec<_>>(), told);
}
