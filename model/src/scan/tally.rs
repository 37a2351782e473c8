//! Counting record by record into buckets: neighbours mostly fall into the same one.

use super::Histogram;
use crate::level::Level;
use crate::time::Timestamp;

/// A histogram in the making.
#[derive(Debug, Default)]
pub(super) struct Tally {
    histogram: Histogram,
    /// The last bucket, and its moments: from and up to without; none at the beginning.
    bucket: i64,
    moments: (i64, i64),
    counts: [u64; 7],
}

impl Tally {
    /// Counts a record.
    pub(super) fn add(&mut self, interval_nanos: i64, time: Timestamp, level: Option<Level>) {
        let nanos = time.as_nanos();
        if nanos < self.moments.0 || nanos >= self.moments.1 {
            self.flush();
            let interval = interval_nanos.max(1);
            let start = nanos.div_euclid(interval).saturating_mul(interval);
            self.moments = (start, start.saturating_add(interval));
            if !(start..self.moments.1).contains(&nanos) {
                // At the ends of time a bucket has no bounds: it counts by itself.
                self.histogram.add(interval_nanos, time, level, 1);
                self.moments = (0, 0);
                return;
            }
            self.bucket = nanos.div_euclid(interval);
        }
        self.counts[Histogram::slot(level)] += 1;
    }

    fn flush(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        if counts.iter().any(|n| *n > 0) {
            let bucket = self.histogram.buckets.entry(self.bucket).or_default();
            bucket.iter_mut().zip(counts).for_each(|(all, n)| *all += n);
        }
    }

    /// Adds what is counted already.
    pub(super) fn merge(&mut self, part: &Histogram) {
        self.histogram.merge(part);
    }

    /// What was counted.
    pub(super) fn finish(mut self) -> Histogram {
        self.flush();
        self.histogram
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_tally_is_what_counting_each_gives(
            records in proptest::collection::vec((any::<i64>(), 0_u8..8, 0_u8..4), 0..50), shift in 0_u32..63,
        ) {
            let interval = [1, 1_000, i64::MAX, i64::MAX >> shift][shift as usize % 4];
            let (mut tally, mut expected) = (Tally::default(), Histogram::default());
            let mut last = 0;
            for (time, level, near) in records {
                last = if near == 0 { time } else { last.wrapping_add(time % 1_000) };
                let (time, level) = (Timestamp::from_nanos(last), Level::from_code(level));
                tally.add(interval, time, level);
                expected.add(interval, time, level, 1);
            }
            prop_assert_eq!(tally.finish(), expected);
        }
    }
}
