//! The right answers, counted while a corpus is made; knows nothing of either server.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use heliograph_model::level::Level;
use heliograph_model::record::Record;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::TimeRange;
use memchr::memmem::Finder;
use regex::Regex;

use crate::questions::{Question, Want};

/// The width of histograms.
pub(crate) const BUCKET_NANOS: i64 = 5 * 60 * 1_000_000_000;
/// Values that are asked for.
const TOP: usize = 10;

/// Whether a line is meant.
pub(crate) enum Test {
    Any,
    All(Vec<Self>),
    /// The message has this text, no word going on beyond its ends.
    Run(Box<Finder<'static>>),
    /// The message has this text, no word going on before it.
    Prefix(&'static str),
    /// The message has this text anywhere.
    Contains(&'static str),
    Regex(Regex),
    Level(Level),
    LogId(String),
    /// The value of the attribute `trace_id`.
    Trace(String),
}

impl Test {
    pub(crate) fn run(text: &str) -> Self {
        Self::Run(Box::new(Finder::new(text).into_owned()))
    }

    pub(crate) fn regex(pattern: &str) -> anyhow::Result<Self> {
        Ok(Self::Regex(Regex::new(pattern)?))
    }

    fn holds(&self, record: &Record) -> bool {
        let message = &*record.message;
        match self {
            Self::Any => true,
            Self::All(tests) => tests.iter().all(|test| test.holds(record)),
            Self::Run(finder) => finder.find_iter(message.as_bytes()).any(|at| {
                !goes_on_before(message, at) && !goes_on_after(message, at + finder.needle().len())
            }),
            Self::Prefix(text) => message.match_indices(text).any(|(at, _)| !goes_on_before(message, at)),
            Self::Contains(text) => message.contains(text),
            Self::Regex(regex) => regex.is_match(message),
            Self::Level(level) => record.level == Some(*level),
            Self::LogId(id) => record.identity.log_id.as_deref() == Some(id),
            Self::Trace(id) => record.attributes.as_json().contains(&format!("\"trace_id\":\"{id}\"")),
        }
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn goes_on_before(message: &str, at: usize) -> bool {
    message.get(..at).and_then(|before| before.chars().next_back()).is_some_and(is_of_word)
}

fn goes_on_after(message: &str, at: usize) -> bool {
    message.get(at..).and_then(|after| after.chars().next()).is_some_and(is_of_word)
}

/// What a server answers, in a form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The times of the lines, latest first.
    Lines(Vec<i64>),
    Count(u64),
    /// Counts by the begin of their five minutes.
    Histogram(BTreeMap<i64, u64>),
    /// The same by level as well; lines without one are left out.
    LevelHistogram(BTreeMap<(i64, String), u64>),
    /// The counts of the most frequent values, falling: values of the same count have no order.
    Top(Vec<u64>),
}

impl Answer {
    /// Lines or counts, in few words.
    pub(crate) fn summary(&self) -> String {
        match self {
            Self::Lines(times) => format!("{} lines", times.len()),
            Self::Count(n) => format!("{n} counted"),
            Self::Histogram(buckets) => {
                format!("{} in {} buckets", buckets.values().sum::<u64>(), buckets.len())
            }
            Self::LevelHistogram(buckets) => {
                format!("{} in {} buckets", buckets.values().sum::<u64>(), buckets.len())
            }
            Self::Top(counts) => format!("{} values, {} times", counts.len(), counts.iter().sum::<u64>()),
        }
    }

    /// From counts by value: the ten most frequent.
    pub(crate) fn top(counts: impl IntoIterator<Item = u64>) -> Self {
        let mut counts: Vec<u64> = counts.into_iter().collect();
        counts.sort_unstable_by_key(|n| Reverse(*n));
        counts.truncate(TOP);
        Self::Top(counts)
    }
}

/// All questions with what was counted for each.
pub(crate) struct Truth {
    pub(crate) asked: Vec<(Question, Tally)>,
    /// Has every line's time inside.
    pub(crate) range: TimeRange,
}

/// What was counted for one question.
#[derive(Default)]
pub(crate) struct Tally {
    count: u64,
    latest: BinaryHeap<Reverse<i64>>,
    buckets: BTreeMap<i64, u64>,
    levels: BTreeMap<(i64, Level), u64>,
    values: HashMap<String, u64>,
}

impl Truth {
    pub(crate) fn new(questions: Vec<Question>, range: TimeRange) -> Self {
        Self { asked: questions.into_iter().map(|q| (q, Tally::default())).collect(), range }
    }

    /// Takes a line into account.
    pub(crate) fn observe(&mut self, tenant: &TenantId, record: &Record) {
        for (question, tally) in &mut self.asked {
            if question.tenant.as_ref().is_none_or(|of| of == tenant) && question.test.holds(record) {
                tally.add(question.want, record);
            }
        }
    }
}

impl Tally {
    fn add(&mut self, want: Want, record: &Record) {
        let time = record.time.as_nanos();
        let bucket = time - time.rem_euclid(BUCKET_NANOS);
        self.count += 1;
        match want {
            Want::Latest(limit) => {
                self.latest.push(Reverse(time));
                if self.latest.len() > limit {
                    self.latest.pop();
                }
            }
            Want::Count => {}
            Want::Histogram => *self.buckets.entry(bucket).or_default() += 1,
            Want::LevelHistogram => {
                if let Some(level) = record.level {
                    *self.levels.entry((bucket, level)).or_default() += 1;
                }
            }
            Want::Top(field) => {
                if let Some(value) = value(record, field) {
                    match self.values.get_mut(value) {
                        Some(count) => *count += 1,
                        None => drop(self.values.insert(value.to_owned(), 1)),
                    }
                }
            }
        }
    }

    /// Lines that are meant, whether or not all are wanted.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The right answer.
    pub(crate) fn answer(&self, want: Want) -> Answer {
        match want {
            Want::Latest(_) => {
                let mut times: Vec<i64> = self.latest.iter().map(|Reverse(time)| *time).collect();
                times.sort_unstable_by_key(|time| Reverse(*time));
                Answer::Lines(times)
            }
            Want::Count => Answer::Count(self.count),
            Want::Histogram => Answer::Histogram(self.buckets.clone()),
            Want::LevelHistogram => Answer::LevelHistogram(
                self.levels.iter().map(|((at, level), n)| ((*at, level.as_str().to_owned()), *n)).collect(),
            ),
            Want::Top(_) => Answer::top(self.values.values().copied()),
        }
    }
}

fn value<'a>(record: &'a Record, field: &str) -> Option<&'a str> {
    match field {
        "level" => record.level.map(Level::as_str),
        "dag_id" => record.identity.dag_id.as_deref(),
        "logger" => record.identity.logger.as_deref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(test: &Test, message: &str, expected: bool) {
        let record = Record {
            time: heliograph_model::time::Timestamp::from_nanos(0),
            observed: heliograph_model::time::Timestamp::from_nanos(0),
            position: heliograph_model::source::Position(0),
            source: std::sync::Arc::default(),
            level: None,
            stream: None,
            identity: heliograph_model::airflow::Identity::default(),
            message: message.into(),
            attributes: heliograph_model::record::Attributes::default(),
        };
        assert_eq!(test.holds(&record), expected, "{message:?}");
    }

    #[test]
    fn runs_end_at_the_edges_of_words() {
        let test = Test::run("10.0.0.7");
        check(&test, "from 10.0.0.7:80", true);
        check(&test, "from 10.0.0.70", false);
        check(&test, "from 110.0.0.7 and 10.0.0.7", true);
        check(&Test::run("rows"), "Größerows", false);
        check(&Test::Prefix("blk_1"), "a blk_123", true);
        check(&Test::Prefix("blk_1"), "ablk_123", false);
    }
}
