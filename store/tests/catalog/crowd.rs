//! Many at once, through connections of their own.

use std::collections::HashMap;

use heliograph_model::scan::CommitId;
use heliograph_store::Error;
use heliograph_store::catalog::{Lease, NewCommit};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Place;
use crate::words::{INDEXER, a_commit, add_tenants, batch, name, producer, unnumbered};

/// Agents that send everything to everybody: each batch is stored by one indexer, in order, and no pair of
/// indexers keeps the other waiting.
pub(crate) async fn many_indexers_with_the_same_batches(place: &dyn Place) {
    const INDEXERS: u128 = 4;
    const PRODUCERS: [(&str, &str); 5] = [("a", "p"), ("b", "p"), ("a", "q"), ("b", "r"), ("a", "z")];
    const SEQUENCES: u64 = 12;
    let first = place.open().await;
    add_tenants(&*first, &["a", "b"]).await;
    let mut committing = JoinSet::new();
    for indexer in 0..INDEXERS {
        let catalog = place.open().await;
        committing.spawn(async move {
            let lease = Lease::embedded(Uuid::from_u128(indexer + 1));
            let mut next: Vec<_> = PRODUCERS.map(|(tenant, by)| (tenant, by, 1_u64)).into();
            // Each names them in another order.
            next.rotate_left(usize::try_from(indexer).unwrap());
            let mut stored = Vec::new();
            while !next.is_empty() {
                let batches: Vec<_> =
                    next.iter().map(|(tenant, by, sequence)| (*tenant, *by, 1, *sequence)).collect();
                let mine = a_commit(batches.iter().copied().map(batch).collect());
                match catalog.commit(&NewCommit { lease, ..mine }).await {
                    Ok(_) => {
                        stored.extend(next.iter().copied());
                        next.iter_mut().for_each(|n| n.2 += 1);
                    }
                    Err(Error::Sequence { .. }) => {
                        for (tenant, by, sequence) in &mut next {
                            let place = catalog.producer(&name(tenant), &producer(by)).await.unwrap();
                            *sequence = place.map_or(1, |(_, last)| last + 1);
                        }
                    }
                    Err(error) => panic!("{error:?}"),
                }
                next.retain(|n| n.2 <= SEQUENCES);
            }
            stored
        });
    }
    let mut times: HashMap<(&str, &str, u64), usize> = HashMap::new();
    for stored in committing.join_all().await.into_iter().flatten() {
        *times.entry(stored).or_default() += 1;
    }
    assert_eq!(times.len() as u64, PRODUCERS.len() as u64 * SEQUENCES);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    for (tenant, by) in PRODUCERS {
        assert_eq!(first.producer(&name(tenant), &producer(by)).await.unwrap(), Some((1, SEQUENCES)));
    }
}

/// Whoever follows an indexer's commits may forget those below the last one that it has seen.
pub(crate) async fn an_indexers_commits_are_seen_in_order(place: &dyn Place) {
    const WRITERS: usize = 4;
    const EACH: usize = 15;
    let first = place.open().await;
    add_tenants(&*first, &["a"]).await;
    let mut writing = JoinSet::new();
    for _ in 0..WRITERS {
        let catalog = place.open().await;
        writing.spawn(async move {
            for _ in 0..EACH {
                catalog.commit(&a_commit(vec![unnumbered("a")])).await.unwrap();
            }
        });
    }
    let mut seen: Vec<CommitId> = Vec::new();
    while seen.len() < WRITERS * EACH {
        let now: Vec<_> = first.wal_objects(INDEXER).await.unwrap().into_iter().map(|w| w.commit).collect();
        assert!(now.starts_with(&seen), "{now:?} after {seen:?}");
        seen = now;
        tokio::task::yield_now().await;
    }
    writing.join_all().await;
}
