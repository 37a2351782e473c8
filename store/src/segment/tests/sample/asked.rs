//! Filters and scans whose texts come from the records, some of them.

use heliograph_model::filter::{Field, Filter, Test};
use heliograph_model::record::RecordKey;
use heliograph_model::scan::{CommitId, Order, Scan, Want};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};

use serde_json::Value;

use super::super::Committed;
use super::said::{PATHS, WORDS};
use super::{COMMITS, Random};

fn up_to(random: &mut Random, n: usize) -> usize {
    usize::try_from(random.below(n as u64 + 1)).unwrap()
}

/// A part of a text, whose ends may lie within words.
fn part(random: &mut Random, text: &str, most: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    let from = up_to(random, chars.len());
    let to = from + up_to(random, (chars.len() - from).min(most));
    chars[from..to].iter().collect()
}

/// A part of a text from the beginning of one word to the end of another.
fn phrase(random: &mut Random, text: &str) -> String {
    let is_word = heliograph_model::token::is_word_char;
    let chars: Vec<char> = text.chars().collect();
    let begins = |at: &usize| is_word(chars[*at]) && (*at == 0 || !is_word(chars[*at - 1]));
    let starts: Vec<usize> = (0..chars.len()).filter(begins).collect();
    if starts.is_empty() {
        return String::new();
    }
    let first = up_to(random, starts.len() - 1);
    let last = starts[(first + up_to(random, 3)).min(starts.len() - 1)];
    let end = (last..chars.len()).find(|at| !is_word(chars[*at])).unwrap_or(chars.len());
    chars[starts[first]..end].iter().collect()
}

fn prefix(random: &mut Random, text: &str) -> String {
    let chars = text.chars().count();
    text.chars().take(up_to(random, chars)).collect()
}

/// The text otherwise: in another case, with one character less, or with one that stands for another.
fn changed(random: &mut Random, text: String) -> String {
    let at = up_to(random, text.chars().count());
    let replaced = |with: Option<char>| -> String {
        text.chars().enumerate().filter_map(|(n, c)| if n == at { with } else { Some(c) }).collect()
    };
    match random.below(24) {
        0 => text.to_uppercase(),
        1 => text.to_lowercase(),
        2 => replaced(None),
        // What stands for a variable in a template.
        3 => replaced(Some('\u{11}')),
        4 => text.replace(|c: char| c.is_ascii_digit(), "\u{11}"),
        5 => replaced(Some(random.pick(&['0', ' ', 'k', 'İ', '"', '\\', '.']))),
        6 => text.replace(['k', 'K'], "\u{212a}"),
        7 => text.replace('i', "İ"),
        _ => text,
    }
}

fn value(random: &mut Random, field: &Field, records: &[Committed]) -> String {
    let mut values = Vec::new();
    let (_, record) = random.pick(records);
    heliograph_model::filter::values(&*record, field, |v| values.push(v.to_owned()));
    values.pop().unwrap_or_else(|| random.pick(&WORDS).to_owned())
}

/// A text that may stand in a field.
fn text(random: &mut Random, field: &Field, records: &[Committed]) -> String {
    let value = value(random, field, records);
    let text = match (random.below(8), *field == Field::Message) {
        (0 | 1, true) => part(random, &value, 12),
        (2, true) => part(random, &value, 60),
        (3 | 4, true) => phrase(random, &value),
        (0, false) => part(random, &value, 12),
        (5, _) => random.pick(&WORDS).to_owned(),
        (6, false) => random.pick(&["1", "1.0", "007", "1e0", "-1", "nan", "inf", "", "99.0"]).to_owned(),
        _ => value,
    };
    changed(random, text)
}

fn bound(random: &mut Random, text: &str) -> Option<(String, bool)> {
    (!random.one_in(3)).then(|| (text.to_owned(), random.one_in(2)))
}

/// Parts of a value in their order, sometimes with those of another between them.
fn wildcard(random: &mut Random, field: &Field, records: &[Committed]) -> Vec<String> {
    let chars: Vec<char> = value(random, field, records).chars().collect();
    let mut parts = Vec::new();
    let mut at = if random.one_in(2) { 0 } else { up_to(random, chars.len()) };
    for _ in 0..1 + random.below(4) {
        let end = at + up_to(random, (chars.len() - at).min(9));
        parts.push(chars[at..end].iter().collect());
        at = end + up_to(random, chars.len() - end);
    }
    if random.one_in(6) {
        let other = text(random, field, records);
        let place = up_to(random, parts.len());
        parts.insert(place, other);
    }
    if random.one_in(2) {
        parts.push(String::new());
    }
    if random.one_in(3) {
        parts.insert(0, String::new());
    }
    parts
}

/// A regular expression that a value may match: pieces of it as they are, as classes, repeated, among others.
fn regex(random: &mut Random, field: &Field, records: &[Committed]) -> String {
    let value = value(random, field, records);
    let chars: Vec<char> = value.chars().collect();
    let mut at = if random.one_in(3) { 0 } else { up_to(random, chars.len()) };
    let mut out = random.pick(&["", "", "", "(?i)", "^", r"\b", "(?s)", "(?m)^"]).to_owned();
    for _ in 0..1 + random.below(4) {
        let end = at + up_to(random, (chars.len() - at).min(8));
        let piece: String = chars[at..end].iter().collect();
        let plain = regex::escape(&piece);
        out.push_str(&match random.below(14) {
            0 => piece.chars().map(|c| if c.is_ascii_digit() { r"\d" } else { "." }).collect(),
            1 => format!("({plain}|{})", regex::escape(random.pick(&WORDS))),
            2 => format!("(?:{plain})+"),
            3 => format!("(?:{plain})?"),
            4 => format!("(?:{plain}){{1,2}}"),
            5 => format!("(?i:{plain})"),
            6 => r"\w+".to_owned(),
            7 => r"[^ ]*".to_owned(),
            8 => "[a-f0-9]+".to_owned(),
            9 => format!("{plain}.*"),
            _ => plain,
        });
        at = end;
    }
    out.push_str(random.pick(&["", "", "", "$", r"\b", ".?"]));
    out
}

/// All paths of keys in a value, from its top.
fn paths(value: &Value, before: &str, out: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| paths(item, before, out)),
        Value::Object(map) => {
            for (key, value) in map {
                let path = if before.is_empty() { key.clone() } else { format!("{before}.{key}") };
                paths(value, &path, out);
                out.push(path);
            }
        }
        _ => {}
    }
}

fn field(random: &mut Random, records: &[Committed]) -> Field {
    match random.below(12) {
        0..=4 => Field::Message,
        5 => Field::named(random.pick(&PATHS)),
        6 | 7 => {
            let (_, record) = random.pick(records);
            let mut all = vec!["a.b".to_owned()];
            if let Ok(value) = serde_json::from_str(record.attributes.as_json()) {
                paths(&value, "", &mut all);
            }
            Field::named(&random.pick(&all))
        }
        _ => random.pick(&Field::NAMED),
    }
}

fn leaf(random: &mut Random, records: &[Committed]) -> Filter {
    let field = field(random, records);
    let value = text(random, &field, records);
    let test = match (&field, random.below(14)) {
        (_, 0) => Test::Exists,
        (Field::Level | Field::Timestamp, 1..=5) | (_, 1) => {
            let other = text(random, &field, records);
            Test::Range { lower: bound(random, &value), upper: bound(random, &other) }
        }
        (_, 2 | 3) => Test::Prefix(prefix(random, &value)),
        (_, 4) => Test::Prefix(value),
        (_, 5 | 6) => Test::Contains(part(random, &value, 20)),
        (_, 7) => Test::Wildcard(wildcard(random, &field, records)),
        (_, 8 | 9) => Test::Regex(regex(random, &field, records)),
        _ => Test::Text(value),
    };
    Filter::Is(field, test)
}

fn filter(random: &mut Random, records: &[Committed], depth: u64) -> Filter {
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
        6 => Want::Values { field: field(random, records) },
        _ => Want::Fields,
    }
}

/// A scan of any kind.
pub(in super::super) fn scan(random: &mut Random, records: &[Committed]) -> Scan {
    let time = |random: &mut Random| random.pick(records).1.time;
    let range = match random.below(6) {
        0 => TimeRange { start: time(random), end: time(random) },
        1 => TimeRange { start: time(random), end: Timestamp::MAX },
        _ => TimeRange::ALL,
    };
    Scan {
        tenant: TenantId::parse("team-a").unwrap(),
        range,
        filter: if random.one_in(10) { Filter::All } else { filter(random, records, 2) },
        committed_after: random.one_in(8).then(|| CommitId(random.signed(COMMITS + 2) - 1)),
        committed_through: random.one_in(8).then(|| CommitId(random.signed(COMMITS + 2) - 1)),
        want: want(random, records),
    }
}
