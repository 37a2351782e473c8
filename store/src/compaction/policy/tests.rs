//! The policy against days of sealing, with every bound that it promises.

use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const POLICY: Policy = Policy { target_bytes: 64 << 20 };
const MINUTE: i64 = 60_000_000_000;

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_nanos(minutes * MINUTE)
}

/// A segment sealed at a minute, with the records of the ten minutes before it.
fn sealed(number: i64, minute: i64, weight: u64) -> Candidate {
    let records = weight / (2 * RECORD_BYTES);
    let meta = SegmentMeta {
        id: Uuid::from_u128(number.unsigned_abs().into()),
        tenant: TenantId::parse("t").unwrap(),
        bytes: weight / 10,
        index_offset: 0,
        records,
        raw_bytes: weight - records * RECORD_BYTES,
        first: at(minute - 10),
        last: at(minute),
        indexer: Uuid::nil(),
        commits_after: CommitId(number - 1),
        commits_through: CommitId(number),
        created: at(minute),
    };
    Candidate { meta, merges: 0 }
}

/// What is there, as merges change it.
#[derive(Default)]
struct World {
    all: Vec<Candidate>,
    sealed_bytes: u64,
    rewritten_bytes: u64,
    most_merged: u64,
}

impl World {
    fn seal(&mut self, candidate: Candidate) {
        self.sealed_bytes += weight(&candidate.meta);
        self.all.push(candidate);
    }

    /// Merges until all is well.
    fn settle(&mut self, now: Timestamp) {
        while let Some(inputs) = POLICY.choose(&self.all, now) {
            assert!(inputs.len() > 1, "one segment need not be merged");
            let is_input = |c: &Candidate| inputs.iter().any(|input| input.id == c.meta.id);
            let (merged, rest): (Vec<_>, Vec<_>) = self.all.drain(..).partition(is_input);
            assert_eq!(merged.len(), inputs.len());
            let of = |value: fn(&SegmentMeta) -> i64| merged.iter().map(move |c| value(&c.meta));
            let meta = SegmentMeta {
                records: merged.iter().map(|c| c.meta.records).sum(),
                raw_bytes: merged.iter().map(|c| c.meta.raw_bytes).sum(),
                first: Timestamp::from_nanos(of(|m| m.first.as_nanos()).min().unwrap()),
                last: Timestamp::from_nanos(of(|m| m.last.as_nanos()).max().unwrap()),
                commits_after: CommitId(of(|m| m.commits_after.0).min().unwrap()),
                commits_through: CommitId(of(|m| m.commits_through.0).max().unwrap()),
                created: merged.iter().map(|c| c.meta.created).max().unwrap(),
                ..merged[0].meta.clone()
            };
            assert_eq!(merged.iter().map(|c| window(&c.meta)).max(), Some(window(&merged[0].meta)));
            assert!(weight(&meta) < POLICY.target_bytes + POLICY.target_bytes / 2, "bounded in memory");
            let merges = merged.iter().map(|c| c.merges).max().unwrap() + 1;
            self.rewritten_bytes += weight(&meta);
            self.most_merged = self.most_merged.max(merges.into());
            self.all = rest;
            self.all.push(Candidate { meta, merges });
            self.all.sort_by_key(|c| (c.meta.commits_after, c.meta.id));
        }
        assert!(self.rewritten_bytes <= u64::from(MERGES_MAX) * self.sealed_bytes);
        assert!(self.most_merged <= MERGES_MAX.into());
    }
}

#[test]
fn a_quiet_tenant_has_few_segments_by_day_and_one_in_the_end() {
    let mut world = World::default();
    for n in 1..=144 {
        world.seal(sealed(n, n * 10 - 1, 20_000));
        world.settle(at(n * 10));
        assert!(world.all.len() < 2 * COUNT, "{} after {n}", world.all.len());
    }
    world.settle(at(24 * 60 + 30));
    assert_eq!(world.all.len(), 9, "the day is over, but late ones may come");
    world.settle(at(25 * 60 + 10));
    assert_eq!(world.all.len(), 1);
    assert_eq!(world.rewritten_bytes, 2 * world.sealed_bytes);
}

#[test]
fn what_is_large_is_left_and_what_is_middling_is_rewritten_once() {
    let mut world = World::default();
    for n in 1..=20 {
        world.seal(sealed(n, n * 10, 40 << 20));
        world.settle(at(n * 10));
    }
    assert_eq!((world.all.len(), world.rewritten_bytes), (20, 0));
    let mut world = World::default();
    for n in 1..=20 {
        world.seal(sealed(n, n * 10, 16 << 20));
        world.settle(at(n * 10));
    }
    assert_eq!((world.all.len(), world.rewritten_bytes), (5, world.sealed_bytes));
}

#[test]
fn nothing_is_merged_where_that_is_turned_off() {
    let all: Vec<_> = (1..99).map(|n| sealed(n, n, 1_000)).collect();
    assert!(POLICY.choose(&all, at(9_999)).is_some());
    assert_eq!(Policy { target_bytes: 0 }.choose(&all, at(9_999)), None);
}

#[test]
fn days_and_wide_segments_are_apart() {
    let mut world = World::default();
    for n in 1..=8 {
        world.seal(sealed(n, 100 * n + 5, 1_000));
        let mut wide = sealed(100 + n, 100 * n + 7, 1_000);
        wide.meta.first = at(-9_999);
        world.seal(wide);
        world.seal(sealed(200 + n, 24 * 60 + 100 * n, 1_000));
    }
    world.all.sort_by_key(|c| c.meta.commits_after);
    world.settle(at(99_999));
    assert_eq!(world.all.len(), 3);
}

proptest! {
    /// Segments of any size, of any time, sealed at any time, under a clock that jumps.
    #[test]
    fn no_record_is_rewritten_more_often_than_promised(
        steps in proptest::collection::vec((0_i64..5_000, -5_000_i64..5_000, 1_u64..40_000_000, any::<bool>()), 1..400),
    ) {
        let mut world = World::default();
        for (n, (minute, jump, weight, settles)) in (1..).zip(steps) {
            let mut candidate = sealed(n, minute, weight);
            candidate.meta.created = at(minute + jump);
            world.seal(candidate);
            if settles {
                world.settle(at(minute - jump));
            }
        }
        world.settle(Timestamp::MAX);
        let mut left: BTreeMap<Window, usize> = BTreeMap::new();
        world.all.iter().filter(|c| POLICY.is_open(c)).for_each(|c| *left.entry(window(&c.meta)).or_default() += 1);
        prop_assert!(left.values().all(|n| *n <= 1), "{left:?}");
    }
}
