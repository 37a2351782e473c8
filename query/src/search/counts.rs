//! Counts: per bucket of time, per value of a field, and which fields there are.

use heliograph_model::filter::{Field, Filter};
use heliograph_model::level::Level;
use heliograph_model::scan::{Answer, Histogram, Order, Pursuit, ValueCounts, Want};
use heliograph_model::time::{TimeRange, Timestamp};

use super::run::{Parts, Run};
use super::{Outcome, Question, Search};
use crate::access::Scope;
use crate::error::{Error, Result};

const SECOND_NANOS: i64 = 1_000_000_000;
/// Buckets that an automatic width aims at, at most: about as many as a strip of bars has room for.
const BUCKETS_AIMED: i64 = 60;
/// Most buckets of a width that the caller chose.
const BUCKETS_MAX: i64 = 10_000;
/// Widths that people read easily, in milliseconds.
const STEPS_MS: [i64; 28] = [
    1,
    10,
    100,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    15_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    172_800_000,
    604_800_000,
    1_209_600_000,
    2_592_000_000,
    7_776_000_000,
    31_536_000_000,
];

/// How wide a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// A round one that gives about sixty.
    Auto,
    /// So many nanoseconds.
    Nanos(i64),
}

/// Counts per bucket, without gaps from the first to the last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Bucketed {
    /// Width of a bucket.
    pub(crate) interval_nanos: i64,
    /// Begin and counts by level, as in [`Histogram`].
    pub(crate) buckets: Vec<(Timestamp, [u64; 7])>,
}

impl Search {
    /// Counts per bucket over the question's range; an open end is where the records end.
    pub(crate) async fn histogram(
        &self,
        scope: &Scope,
        question: &Question,
        width: Width,
        by_level: bool,
    ) -> Result<(Bucketed, Outcome)> {
        let (range, mut outcome) = self.bounded(scope, question).await?;
        let interval_nanos = interval(&range, width)?;
        if range.is_empty() {
            return Ok((Bucketed { interval_nanos, buckets: Vec::new() }, outcome));
        }
        let question = Question { range, ..question.clone() };
        let want = Want::Histogram { interval_nanos, by_level };
        let (answer, cost) = self.count(scope, &question, &want).await?;
        outcome.merge(cost);
        let Answer::Histogram(histogram) = answer else { return Ok((Bucketed::default(), outcome)) };
        Ok((spread(&histogram, &range, interval_nanos), outcome))
    }

    /// Counts per value of a field.
    pub(crate) async fn values(
        &self,
        scope: &Scope,
        question: &Question,
        field: &Field,
    ) -> Result<(ValueCounts, Outcome)> {
        let want = Want::Values { field: field.clone() };
        match self.count(scope, question, &want).await? {
            (Answer::Values(counts), outcome) => Ok((counts, outcome)),
            (_, outcome) => Ok((ValueCounts::default(), outcome)),
        }
    }

    /// Names of attributes, with how many records have them.
    pub(crate) async fn fields(&self, scope: &Scope, question: &Question) -> Result<(ValueCounts, Outcome)> {
        match self.count(scope, question, &Want::Fields).await? {
            (Answer::Fields(counts), outcome) => Ok((counts, outcome)),
            (_, outcome) => Ok((ValueCounts::default(), outcome)),
        }
    }

    /// How many records there are.
    pub(crate) async fn total(&self, scope: &Scope, question: &Question) -> Result<u64> {
        let want = Want::Histogram { interval_nanos: i64::MAX, by_level: false };
        match self.count(scope, question, &want).await? {
            (Answer::Histogram(h), _) => Ok(h.buckets.values().flatten().sum()),
            _ => Ok(0),
        }
    }

    async fn count(&self, scope: &Scope, question: &Question, want: &Want) -> Result<(Answer, Outcome)> {
        let count = async || {
            let pursuit = Pursuit::new(want);
            let _ends = pursuit.ends_when_dropped();
            let run = Run::new(self, question, scope.tenants(), want.clone(), None, &pursuit);
            let mut outcome = Outcome::default();
            let parts = if run.is_empty() { Parts::default() } else { run.parts(&mut outcome).await? };
            let answer = run.counted(parts, &mut outcome).await?;
            Ok((answer, outcome))
        };
        let (answer, outcome) = self.again_if_gone(scope.tenants(), count).await?;
        self.counted(&outcome, 0);
        Ok((answer, outcome))
    }

    /// The question's range with ends: those of the records where it has none.
    async fn bounded(&self, scope: &Scope, question: &Question) -> Result<(TimeRange, Outcome)> {
        let mut range = question.range.intersect(&question.filter.time_bounds());
        let mut outcome = Outcome::default();
        let everything = Question::new(range, Filter::All)?;
        if range.start == Timestamp::MIN {
            let first = self.records(scope, &everything, Order::Asc, 1, None).await?;
            range.start = first.records.first().map_or(range.end, |(_, r)| r.time);
            outcome.merge(first.outcome);
        }
        if range.end == Timestamp::MAX && !range.is_empty() {
            let last = self.records(scope, &everything, Order::Desc, 1, None).await?;
            range.end = last.records.first().map_or(range.start, |(_, r)| r.time.saturating_add_nanos(1));
            outcome.merge(last.outcome);
        }
        Ok((range, outcome))
    }
}

pub(super) fn interval(range: &TimeRange, width: Width) -> Result<i64> {
    let span = range.end.nanos_since(range.start).max(0);
    match width {
        Width::Nanos(nanos) if nanos >= SECOND_NANOS / 1_000 && span / nanos < BUCKETS_MAX => Ok(nanos),
        Width::Nanos(nanos) => Err(Error::invalid_hint(
            format!("an interval of {} ms gives too many buckets", nanos / 1_000_000),
            format!("at most {BUCKETS_MAX} buckets are counted: choose a wider interval or a shorter time"),
        )),
        Width::Auto => {
            let nanos = STEPS_MS.into_iter().map(|ms| ms * 1_000_000);
            let widest = STEPS_MS[STEPS_MS.len() - 1] * 1_000_000;
            Ok(nanos.into_iter().find(|nanos| span / nanos < BUCKETS_AIMED).unwrap_or(widest))
        }
    }
}

fn spread(histogram: &Histogram, range: &TimeRange, interval_nanos: i64) -> Bucketed {
    let number = |t: Timestamp| t.as_nanos().div_euclid(interval_nanos);
    let (first, last) = (number(range.start), number(range.end.saturating_add_nanos(-1)));
    let buckets = (first..=last)
        .map(|n| {
            let counts = histogram.buckets.get(&n).copied().unwrap_or_default();
            (Timestamp::from_nanos(n.saturating_mul(interval_nanos)), counts)
        })
        .collect();
    Bucketed { interval_nanos, buckets }
}

/// The name under which a histogram's slot is given.
pub(crate) fn slot_name(slot: usize) -> &'static str {
    Level::ALL.get(slot).map_or("none", |level| level.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(seconds: i64) -> TimeRange {
        TimeRange { start: Timestamp::from_nanos(0), end: Timestamp::from_nanos(seconds * SECOND_NANOS) }
    }

    #[track_caller]
    fn check(seconds: i64, expected_ms: i64) {
        assert_eq!(interval(&range(seconds), Width::Auto).unwrap(), expected_ms * 1_000_000);
    }

    #[test]
    fn automatic_widths_are_round() {
        check(0, 1);
        check(60, 2_000);
        check(15 * 60, 30_000);
        check(3_600, 120_000);
        check(86_400, 1_800_000);
        check(7 * 86_400, 10_800_000);
        check(292 * 365 * 86_400 / 10, 31_536_000_000);
    }

    #[test]
    fn a_chosen_width_has_a_bound() {
        assert_eq!(interval(&range(60), Width::Nanos(SECOND_NANOS)).unwrap(), SECOND_NANOS);
        assert!(interval(&range(86_400), Width::Nanos(SECOND_NANOS)).is_err());
        assert!(interval(&range(0), Width::Nanos(0)).is_err());
    }

    #[test]
    fn buckets_have_no_gaps() {
        let mut histogram = Histogram::default();
        histogram.add(SECOND_NANOS, Timestamp::from_nanos(2 * SECOND_NANOS), Some(Level::Error), 3);
        let spread = spread(&histogram, &range(4), SECOND_NANOS);
        let totals: Vec<u64> = spread.buckets.iter().map(|(_, c)| c.iter().sum()).collect();
        assert_eq!(totals, [0, 0, 3, 0]);
    }
}
