//! Random records and filters that meet one another.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use heliograph_model::airflow::Identity;
use heliograph_model::filter::{Field, Filter, Test};
use heliograph_model::level::Level;
use heliograph_model::record::{Attributes, Record, RecordKey};
use heliograph_model::scan::{CommitId, Order, Scan, Want};
use heliograph_model::source::{Component, Position, Source, SourceId, Stream};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};

use super::Committed;

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

    fn signed(&mut self, n: u64) -> i64 {
        i64::try_from(self.below(n)).unwrap()
    }
}

const WORDS: [&str; 26] = [
    "Task",
    "failed",
    "task_1",
    "exception",
    "Exception42",
    "Größe",
    "GRÖSSE",
    "10.0.0.7",
    "10.0.0.70",
    "s3",
    "200",
    "200ms",
    "deadbeef01",
    "try",
    "(try",
    "ValueError:",
    "İstanbul",
    "Straße",
    "ſmall",
    "K",
    "éxİ",
    "éxi",
    "日本語",
    "2026-11-24",
    "a_very_long_word_that_is_beyond_forty_bytes_in_all",
    "x",
];
const PARTS: [&str; 8] = [" ", " ", " ", ": ", "-", ".", "\n", ""];
const DAGS: [&str; 6] = ["etl", "etl.daily", "größe", "2", "2.0", "report"];
const COMPONENTS: [&str; 3] = ["scheduler", "worker", "triggerer"];
const START: i64 = 1_795_471_396_000_000_000;
const COMMITS: u64 = 20;

/// What a program would say: the same words again and again, with other numbers and ids in them.
fn said(random: &mut Random) -> String {
    let (n, id) = (random.below(400), random.next());
    match random.below(8) {
        0 => format!("Task task_{n} took {} ms on 10.0.0.{n}", random.below(50)),
        1 => format!("exception in deadbeef{id:08x}-beef-{n}: ValueError: s3"),
        2 => format!("Größe {n} Kelvin K9 GRÖSSE{n}"),
        3 => format!("{n}"),
        4 => "try failed try".to_owned(),
        5 => format!("(try {n}) a_very_long_word_that_is_beyond_forty_bytes_in_all"),
        6 => format!("mark \u{11} {n}"),
        _ => format!("x{n}x {} x", random.pick(&["Task", "failed"])),
    }
}

fn message(random: &mut Random) -> String {
    if random.one_in(2) {
        return said(random);
    }
    let mut out = String::new();
    for _ in 0..random.below(8) {
        match random.below(12) {
            0 => out.push_str(&format!("id{:06x}", random.below(1 << 24))),
            1 => out.push_str(&random.below(5_000).to_string()),
            _ => out.push_str(random.pick(&WORDS)),
        }
        out.push_str(random.pick(&PARTS));
    }
    out
}

fn attributes(random: &mut Random) -> Attributes {
    let json = match random.below(9) {
        0 => format!(r#"{{"lineno":{},"filename":"dag.py"}}"#, random.below(9)),
        1 => format!(r#"{{"a":{{"b":"v{}"}},"x.y":["1",{},null]}}"#, random.below(3), random.below(3)),
        3..=5 => {
            format!(r#"{{"lineno":{},"user":"u{}","a":{{"b":"v"}}}}"#, random.below(99), random.below(9))
        }
        2 => r#"{"ünï\"code":"\u0000 \" 😀","ok":true}"#.to_owned(),
        _ => String::new(),
    };
    Attributes::from_json(&json).unwrap()
}

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
    let mut known: Vec<(Arc<Source>, Identity, u64, i64)> = (0..sources)
        .map(|n| {
            (
                source(random, n as u128),
                identity(random),
                random.below(1 << 50),
                START + random.signed(1 << 40),
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
        *time += random.signed(5_000) * unit;
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
            message: message(random).into(),
            attributes: attributes(random),
        };
        out.push((CommitId(random.signed(COMMITS)), Arc::new(record)));
    }
    for n in (1..out.len()).rev() {
        out.swap(n, usize::try_from(random.below(n as u64 + 1)).unwrap());
    }
    out
}

fn text(random: &mut Random, field: &Field, records: &[Committed]) -> String {
    let (_, record) = random.pick(records);
    let mut values = Vec::new();
    heliograph_model::filter::values(&*record, field, |v| values.push(v.to_owned()));
    let value = values.pop().unwrap_or_else(|| random.pick(&WORDS).to_owned());
    let chars: Vec<char> = value.chars().collect();
    let cut = |random: &mut Random, n: usize| usize::try_from(random.below(n as u64 + 1)).unwrap();
    match random.below(4) {
        // A part, whose ends may lie within words.
        0 | 1 if *field == Field::Message => {
            let from = cut(random, chars.len());
            let to = from + cut(random, (chars.len() - from).min(12));
            chars[from..to].iter().collect()
        }
        0 => random.pick(&WORDS).to_owned(),
        1 => value.to_uppercase(),
        _ if *field == Field::Message => random.pick(&WORDS).to_owned(),
        _ => value,
    }
}

fn prefix(random: &mut Random, text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    chars[..usize::try_from(random.below(chars.len() as u64 + 1)).unwrap()].iter().collect()
}

fn bound(random: &mut Random, text: &str) -> Option<(String, bool)> {
    (!random.one_in(3)).then(|| (text.to_owned(), random.one_in(2)))
}

const ATTRIBUTES: [&str; 8] = ["lineno", "a.b", "x.y", "a", "ok", "filename", "user", "nothing.here"];

fn field(random: &mut Random) -> Field {
    match random.below(10) {
        0..=3 => Field::Message,
        4 => Field::named(random.pick(&ATTRIBUTES)),
        _ => random.pick(&Field::NAMED),
    }
}

fn leaf(random: &mut Random, records: &[Committed]) -> Filter {
    let field = field(random);
    let value = text(random, &field, records);
    let other = text(random, &field, records);
    let test = match (&field, random.below(12)) {
        (_, 0) => Test::Exists,
        (Field::Level | Field::Timestamp, 1..=5) => {
            Test::Range { lower: bound(random, &value), upper: bound(random, &other) }
        }
        (_, 1) => Test::Range { lower: bound(random, &value), upper: bound(random, &other) },
        (_, 2 | 3) => Test::Prefix(prefix(random, &value)),
        (_, 4) => Test::Contains(prefix(random, &value)),
        (_, 5) => Test::Wildcard(vec![prefix(random, &value), String::new()]),
        (_, 6) => Test::Regex(format!("{}.?", regex::escape(&prefix(random, &value)))),
        _ => Test::Text(value),
    };
    Filter::Is(field, test)
}

/// A filter whose texts come from the records, some of them.
pub(super) fn filter(random: &mut Random, records: &[Committed], depth: u64) -> Filter {
    let parts = |random: &mut Random| -> Vec<Filter> {
        (0..random.below(4)).map(|_| filter(random, records, depth.saturating_sub(1))).collect()
    };
    match random.below(if depth == 0 { 8 } else { 16 }) {
        0 if random.one_in(3) => Filter::All,
        0 if random.one_in(3) => Filter::None,
        0..=7 => leaf(random, records),
        8..=10 => Filter::And(parts(random)),
        11..=13 => Filter::Or(parts(random)),
        _ => Filter::Not(Box::new(filter(random, records, depth.saturating_sub(1)))),
    }
}

fn key(random: &mut Random, records: &[Committed]) -> RecordKey {
    let mut key = random.pick(records).1.key();
    if random.one_in(4) {
        key.position.0 = key.position.0.wrapping_add(1);
    }
    key
}

fn want(random: &mut Random, records: &[Committed]) -> Want {
    let limit = |random: &mut Random| usize::try_from(random.pick(&[0, 1, 3, 10, 50, 100_000])).unwrap();
    match random.below(8) {
        0..=2 => Want::Records {
            order: random.pick(&[Order::Asc, Order::Desc]),
            limit: limit(random),
            after: random.one_in(3).then(|| key(random, records)),
        },
        3 => Want::Around { key: key(random, records), before: limit(random), after: limit(random) },
        4 | 5 => Want::Histogram {
            interval_nanos: random.pick(&[1, 1_000_000_000, 60_000_000_000, 3_600_000_000_000, i64::MAX]),
            by_level: random.one_in(2),
        },
        6 => Want::Values { field: field(random) },
        _ => Want::Fields,
    }
}

/// A scan of any kind.
pub(super) fn scan(random: &mut Random, records: &[Committed]) -> Scan {
    let time = |random: &mut Random| random.pick(records).1.time;
    let range = match random.below(4) {
        0 => TimeRange { start: time(random), end: time(random) },
        1 => TimeRange { start: time(random), end: Timestamp::MAX },
        _ => TimeRange::ALL,
    };
    Scan {
        tenant: TenantId::parse("team-a").unwrap(),
        range,
        filter: if random.one_in(4) { Filter::All } else { filter(random, records, 3) },
        committed_after: random.one_in(5).then(|| CommitId(random.signed(COMMITS + 2) - 1)),
        want: want(random, records),
    }
}
