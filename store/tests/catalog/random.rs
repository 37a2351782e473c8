//! Random histories: both engines answer as a few maps in memory do, and end in the same state.

use std::sync::Arc;
use std::time::Duration;

use heliograph_model::scan::CommitId;
use heliograph_store::catalog::{Catalog, CommittedBatch, Lease, NewCommit, SegmentMeta};
use proptest::prelude::*;
use proptest::sample::Index;
use uuid::Uuid;

use crate::model::{Answer, Ordinals, State};
use crate::postgres_server::shared;
use crate::words::{a_commit, add_tenants, batch, segment, unnumbered};
use crate::{Database, Place, SqliteFile};

/// Histories of a run, unless `PROPTEST_CASES` says another number: each has a database of its own to make.
const CASES: u32 = 24;
const TENANTS: [&str; 2] = ["a", "b"];
/// The last of these is not there.
const NAMED: [&str; 3] = ["a", "b", "no"];
const PRODUCERS: [&str; 2] = ["p", "q"];
/// The first never registers: it is embedded mode's.
const INDEXERS: u128 = 3;
const LONG: Duration = Duration::from_mins(30);

/// A batch by where it stands to its producer's place.
#[derive(Clone, Copy, Debug)]
enum Step {
    Next,
    Repeat,
    Gap,
    NewEpoch,
    OldEpoch,
    Unnumbered,
}

#[derive(Clone, Debug)]
enum Call {
    Register { who: u128, elsewhere: bool },
    Renew { who: u128, skew: u64, ends: bool },
    Claim,
    Retire { who: u128, skew: u64 },
    Commit { who: u128, skew: u64, batches: Vec<(usize, usize, Step)> },
    CommitAgain(Index),
    Publish { who: u128, skew: u64, tenant: usize, after: i64, length: i64, released: Index },
    PublishAgain(Index),
    Release { who: u128, skew: u64, released: Index },
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let step = prop_oneof![
        8 => Just(Step::Next), 1 => Just(Step::Repeat), 1 => Just(Step::Gap), 1 => Just(Step::NewEpoch),
        1 => Just(Step::OldEpoch), 1 => Just(Step::Unnumbered),
    ];
    let tenant = || prop_oneof![6 => 0_usize..2, 1 => Just(2)];
    let batches = prop::collection::vec((tenant(), 0_usize..2, step), 0..5);
    // Mostly the lease on record, else one before or after it.
    let skew = || prop_oneof![6 => Just(1_u64), 1 => Just(0), 1 => Just(2)];
    let who = || 0_u128..INDEXERS;
    let call = prop_oneof![
        2 => (1..INDEXERS, prop::bool::weighted(0.2))
            .prop_map(|(who, elsewhere)| Call::Register { who, elsewhere }),
        2 => (1..INDEXERS, skew(), any::<bool>()).prop_map(|(who, skew, ends)| Call::Renew { who, skew, ends }),
        2 => Just(Call::Claim),
        1 => (1..INDEXERS, skew()).prop_map(|(who, skew)| Call::Retire { who, skew }),
        8 => (who(), skew(), batches).prop_map(|(who, skew, batches)| Call::Commit { who, skew, batches }),
        2 => any::<Index>().prop_map(Call::CommitAgain),
        4 => (who(), skew(), tenant(), 0_i64..9, 0_i64..4, any::<Index>()).prop_map(
            |(who, skew, tenant, after, length, released)| Call::Publish {
                who, skew, tenant, after, length, released
            }
        ),
        1 => any::<Index>().prop_map(Call::PublishAgain),
        2 => (who(), skew(), any::<Index>())
            .prop_map(|(who, skew, released)| Call::Release { who, skew, released }),
    ];
    prop::collection::vec(call, 1..40)
}

fn indexer(who: u128) -> Uuid {
    Uuid::from_u128(who + 1)
}

/// A history under way: the model, and what was said before and can be said again.
struct History {
    state: State,
    commits: Vec<NewCommit>,
    published: Vec<(Lease, SegmentMeta, Vec<Uuid>)>,
    engines: Vec<(Arc<dyn Catalog>, Ordinals)>,
}

impl History {
    fn lease(&self, who: u128, skew: u64) -> Lease {
        let epoch = (self.state.epoch(indexer(who)) + skew).saturating_sub(1);
        Lease { indexer: indexer(who), epoch }
    }

    fn object(&self, at: Index) -> Vec<Uuid> {
        if self.commits.is_empty() { Vec::new() } else { vec![at.get(&self.commits).object] }
    }

    fn batches(&self, steps: &[(usize, usize, Step)]) -> Vec<CommittedBatch> {
        let mut places = self.state.producers.clone();
        let mut batches = Vec::new();
        for (tenant, by, step) in steps {
            let (tenant, by) = (NAMED[*tenant], PRODUCERS[*by]);
            let place = places.entry((tenant.to_owned(), by.to_owned())).or_insert((3, 0));
            let (epoch, last) = *place;
            let (epoch, sequence) = match step {
                Step::Unnumbered => {
                    batches.push(unnumbered(tenant));
                    continue;
                }
                Step::Next => (epoch, last + 1),
                Step::Repeat => (epoch, last.max(1)),
                Step::Gap => (epoch, last + 2),
                Step::NewEpoch => (epoch + 1, 1),
                Step::OldEpoch => (epoch - 1, 1),
            };
            *place = (epoch, sequence);
            batches.push(batch((tenant, by, epoch, sequence)));
        }
        batches
    }

    async fn make(&mut self, call: Call) {
        match call {
            Call::Register { who, elsewhere } => {
                let (id, address) = (indexer(who), if elsewhere { "x" } else { "one" });
                let expected = self.state.register(id, address);
                for (engine, _) in &self.engines {
                    let answer = engine.register_indexer(id, address, LONG).await;
                    assert_eq!(Answer::of(answer, |_| Answer::Done), expected);
                }
            }
            Call::Renew { who, skew, ends } => {
                let lease = self.lease(who, skew);
                // Of two that have run out, which comes first would be up to the clocks.
                let ends = ends && !self.state.indexers.values().any(|entry| entry.2);
                let expected = self.state.renew(&lease, ends);
                for (engine, _) in &self.engines {
                    let answer = engine.renew_lease(&lease, if ends { Duration::ZERO } else { LONG }).await;
                    assert_eq!(Answer::of(answer, |()| Answer::Done), expected);
                }
            }
            Call::Claim => {
                let expected = self.state.claim("two");
                for (engine, _) in &self.engines {
                    let answer = engine.claim_indexer("two", LONG, &[]).await;
                    assert_eq!(Answer::of(answer, Answer::Claimed), expected);
                }
            }
            Call::Retire { who, skew } => {
                let lease = self.lease(who, skew);
                let expected = self.state.retire(&lease);
                for (engine, _) in &self.engines {
                    assert_eq!(Answer::of(engine.retire_indexer(&lease).await, Answer::Retired), expected);
                }
            }
            Call::Commit { who, skew, batches } => {
                let commit = NewCommit { lease: self.lease(who, skew), ..a_commit(self.batches(&batches)) };
                self.commits.push(commit.clone());
                self.commit(commit).await;
            }
            Call::CommitAgain(at) if !self.commits.is_empty() => {
                let commit = at.get(&self.commits).clone();
                self.commit(commit).await;
            }
            Call::Publish { who, skew, tenant, after, length, released } => {
                let lease = self.lease(who, skew);
                let made = segment(NAMED[tenant], (after, after + length), (after, after + 5));
                let made = SegmentMeta { indexer: lease.indexer, ..made };
                self.published.push((lease, made, self.object(released)));
                self.publish(self.published.len() - 1).await;
            }
            Call::PublishAgain(at) if !self.published.is_empty() => {
                self.publish(at.index(self.published.len())).await;
            }
            Call::Release { who, skew, released } => {
                let (lease, released) = (self.lease(who, skew), self.object(released));
                let expected = self.state.release(&lease, &released);
                for (engine, _) in &self.engines {
                    let answer = engine.release(&lease, &released).await;
                    assert_eq!(Answer::of(answer, |()| Answer::Done), expected);
                }
            }
            Call::CommitAgain(_) | Call::PublishAgain(_) => {}
        }
    }

    async fn commit(&mut self, commit: NewCommit) {
        let is_known = self.state.wal.values().flatten().any(|object| *object == commit.object);
        let expected = self.state.commit(&commit);
        for (engine, ordinals) in &mut self.engines {
            let answer = engine.commit(&commit).await;
            if let Ok(id) = &answer {
                ordinals.check(&commit, is_known, *id);
            }
            assert_eq!(
                Answer::of(answer, |_: CommitId| Answer::Commit(commit.object)),
                expected,
                "{commit:?}"
            );
        }
    }

    async fn publish(&mut self, number: usize) {
        let (lease, made, released) = &self.published[number];
        let expected = self.state.publish(lease, made, released);
        for (engine, _) in &self.engines {
            let answer = engine.publish(lease, made, released).await;
            assert_eq!(Answer::of(answer, |()| Answer::Done), expected, "{made:?}");
        }
    }
}

async fn live_through(calls: Vec<Call>) {
    let file = SqliteFile(tempfile::tempdir().unwrap());
    let database = Database(shared().new_database(Some("model")).await);
    let mut engines = Vec::new();
    for catalog in [file.open().await, database.open().await] {
        add_tenants(&*catalog, &TENANTS).await;
        engines.push((catalog, Ordinals::default()));
    }
    let state = State::new(&TENANTS);
    let mut history = History { state, commits: Vec::new(), published: Vec::new(), engines };
    for call in calls {
        history.make(call).await;
    }
    let indexers: Vec<_> = (0..INDEXERS).map(indexer).collect();
    let producers: Vec<_> = TENANTS
        .iter()
        .flat_map(|tenant| PRODUCERS.iter().map(|by| ((*tenant).to_owned(), (*by).to_owned())))
        .collect();
    let expected = history.state.told();
    for (engine, _) in &history.engines {
        assert_eq!(State::of(&**engine, &indexers, &producers).await, expected);
    }
}

#[test]
fn both_engines_answer_as_the_model_does() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a number of cases of our own, unless the environment has one"
    )]
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        // Copied for each history: faster than making its tables anew.
        let template = shared().named_database("model").await;
        drop(Database(template).open().await);
    });
    proptest!(ProptestConfig::with_cases(cases), |(calls in calls())| {
        runtime.block_on(live_through(calls));
    });
}
