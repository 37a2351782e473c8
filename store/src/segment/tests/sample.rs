//! Random records and filters that meet one another.

// Places are named, for the tests of query stand on these files, too.
#[path = "sample/asked.rs"]
mod asked;
#[path = "sample/said.rs"]
mod said;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use heliograph_model::airflow::Identity;
use heliograph_model::level::Level;
use heliograph_model::record::{Attributes, Record};
use heliograph_model::scan::CommitId;
use heliograph_model::source::{Component, Position, Source, SourceId, Stream};
use heliograph_model::time::Timestamp;

use super::Committed;
pub(super) use asked::scan;

/// A new seed for each run; tests print it.
pub(super) fn seed() -> u64 {
    RandomState::new().hash_one(0)
}

/// A small generator (splitmix64), so that a seed means the same on every machine.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()].clone()
    }

    pub(super) fn signed(&mut self, n: u64) -> i64 {
        i64::try_from(self.below(n)).unwrap()
    }
}

const DAGS: [&str; 6] = ["etl", "etl.daily", "größe", "2", "2.0", "report"];
const COMPONENTS: [&str; 3] = ["scheduler", "worker", "triggerer"];
const START: i64 = 1_795_471_396_000_000_000;
const COMMITS: u64 = 20;

fn source(random: &mut Random, id: u128) -> Arc<Source> {
    let boxed = |s: String| Some(s.into_boxed_str());
    Arc::new(Source {
        id: SourceId(id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
        component: (!random.one_in(4)).then(|| Component::parse(random.pick(&COMPONENTS)).unwrap()),
        namespace: boxed(format!("team-{}", random.below(2))),
        pod: if random.one_in(3) { None } else { boxed(format!("pod-{}", random.below(9))) },
        container: None,
        node: if random.one_in(2) { None } else { boxed("größe".to_owned()) },
        path: if random.one_in(2) { None } else { boxed(format!("/var/log/{id}.log")) },
    })
}

fn identity(random: &mut Random) -> Identity {
    let shared = |s: &str| Some(Arc::from(s));
    let n = random.below(5);
    let dag = random.pick(&DAGS);
    Identity {
        dag_id: if random.one_in(3) { None } else { shared(dag) },
        task_id: if random.one_in(3) { None } else { shared(&format!("t{n}")) },
        run_id: if random.one_in(3) { None } else { shared(&format!("manual__2026-11-2{n}T00:00:00+00:00")) },
        map_index: [None, Some(-1), Some(0), Some(12)][usize::try_from(random.below(4)).unwrap()],
        try_number: u32::try_from(random.below(4)).ok().filter(|n| *n > 0),
        log_id: if random.one_in(2) { None } else { shared(&format!("{dag}-t{n}-1")) },
        logger: if random.one_in(2) {
            None
        } else {
            shared(["airflow.task", "root"][usize::from(n.is_multiple_of(2))])
        },
    }
}

/// Records of some sources, most of them with times that rise in their source, shuffled.
pub(super) fn records(random: &mut Random, count: usize, sources: usize) -> Vec<Committed> {
    // Sources that speak at the same time, and ones that do not know of one another.
    let spread = random.pick(&[1, 1 << 20, 1 << 40]);
    let mut known: Vec<(Arc<Source>, Identity, u64, i64)> = (0..sources)
        .map(|n| {
            (
                source(random, n as u128),
                identity(random),
                random.below(1 << 50),
                START + random.signed(spread),
            )
        })
        .collect();
    let unit = random.pick(&[1, 1_000, 1_000_000, 1_000_000_000]);
    let mut out = Vec::with_capacity(count);
    for n in 0..count {
        // Every source once, then any.
        let at = if n < sources { n } else { usize::try_from(random.below(sources as u64)).unwrap() };
        let (source, common, position, time) = &mut known[at];
        *position += 1 + random.below(300);
        if !random.one_in(4) {
            *time += random.signed(5_000) * unit;
        }
        if random.one_in(200) {
            // The same source, described otherwise.
            *source = Arc::new(Source {
                pod: Some(format!("pod-{}", random.below(9)).into()),
                ..(**source).clone()
            });
        }
        if random.one_in(30) {
            *common = identity(random);
        }
        let back = if random.one_in(50) { random.signed(1 << 41) } else { 0 };
        let record = Record {
            time: Timestamp::from_nanos(*time - back),
            observed: Timestamp::from_nanos(*time + random.signed(1 << 30)),
            position: Position(*position),
            source: Arc::clone(source),
            level: random.below(9).try_into().ok().and_then(Level::from_code),
            stream: [None, Some(Stream::Stdout), Some(Stream::Stderr)]
                [usize::try_from(random.below(3)).unwrap()],
            identity: common.clone(),
            message: said::message(random).into(),
            attributes: Attributes::from_json(&said::attributes(random)).unwrap(),
        };
        out.push((CommitId(random.signed(COMMITS)), Arc::new(record)));
    }
    for n in (1..out.len()).rev() {
        out.swap(n, usize::try_from(random.below(n as u64 + 1)).unwrap());
    }
    out
}
