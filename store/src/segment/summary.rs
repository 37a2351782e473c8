//! How many records of each level a segment has in each minute: what a histogram of everything asks, without any
//! block.

use heliograph_model::level::Level;
use heliograph_model::scan::Histogram;
use heliograph_model::time::Timestamp;

use super::columns::{Cursor, Malformed, Parsed, put_signed, put_varint};

/// A minute.
const INTERVAL_NANOS: i64 = 60_000_000_000;

/// Counts while a segment is written.
#[derive(Default)]
pub(super) struct SummaryBuilder {
    histogram: Histogram,
    /// The minute of the last records, with their counts: neighbours mostly share theirs.
    minute: i64,
    counts: [u64; 7],
}

impl SummaryBuilder {
    pub(super) fn add(&mut self, time: Timestamp, level: Option<Level>) {
        let minute = time.as_nanos().div_euclid(INTERVAL_NANOS);
        if minute != self.minute {
            self.flush();
            self.minute = minute;
        }
        self.counts[Histogram::slot(level)] += 1;
    }

    fn flush(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        if counts.iter().any(|n| *n > 0) {
            let minute = self.histogram.buckets.entry(self.minute).or_default();
            minute.iter_mut().zip(counts).for_each(|(all, n)| *all += n);
        }
    }

    /// The section's bytes: how many minutes; for each its distance from the one before, and the counts by level.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.flush();
        let mut out = Vec::new();
        put_varint(&mut out, self.histogram.buckets.len() as u64);
        let mut previous = 0;
        for (minute, counts) in &self.histogram.buckets {
            put_signed(&mut out, minute.wrapping_sub(previous));
            counts.iter().for_each(|n| put_varint(&mut out, *n));
            previous = *minute;
        }
        out
    }
}

/// The counts of an opened segment.
pub(super) struct Summary(Vec<(i64, [u64; 7])>);

impl Summary {
    /// Reads [`SummaryBuilder::into_bytes`].
    pub(super) fn read(bytes: &[u8], records: u64) -> Parsed<Self> {
        let mut from = Cursor::new(bytes);
        let count = from.count(bytes.len())?;
        let mut minutes = Vec::with_capacity(count);
        let (mut minute, mut sum) = (0_i64, 0_u64);
        for _ in 0..count {
            minute = minute.wrapping_add(from.signed()?);
            let mut counts = [0; 7];
            for count in &mut counts {
                *count = from.varint()?;
                sum = sum.saturating_add(*count);
            }
            minutes.push((minute, counts));
        }
        from.finish()?;
        if sum == records { Ok(Self(minutes)) } else { Err(Malformed("its counts do not add up")) }
    }

    /// The histogram of all records, where buckets are whole minutes. Without levels, all count as if they had none.
    pub(super) fn histogram(&self, interval_nanos: i64, by_level: bool) -> Option<Histogram> {
        if interval_nanos <= 0 || interval_nanos % INTERVAL_NANOS != 0 {
            return None;
        }
        let mut histogram = Histogram::default();
        for (minute, counts) in &self.0 {
            let bucket = minute.div_euclid(interval_nanos / INTERVAL_NANOS);
            let all = histogram.buckets.entry(bucket).or_default();
            if by_level {
                all.iter_mut().zip(counts).for_each(|(all, n)| *all += n);
            } else {
                all[Histogram::slot(None)] += counts.iter().sum::<u64>();
            }
        }
        Some(histogram)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn minutes_are_what_counting_gives(
            times in proptest::collection::vec((-5_000_i64..5_000, 0_u8..8), 0..60), minutes in 1_i64..90,
        ) {
            let interval = minutes * INTERVAL_NANOS;
            let (mut builder, mut expected) = (SummaryBuilder::default(), Histogram::default());
            for (seconds, level) in &times {
                let time = Timestamp::from_nanos(seconds * 1_000_000_007);
                builder.add(time, Level::from_code(*level));
                expected.add(interval, time, Level::from_code(*level), 1);
            }
            let bytes = builder.into_bytes();
            let read = Summary::read(&bytes, times.len() as u64).unwrap();
            prop_assert_eq!(read.histogram(interval, true).unwrap(), expected);
            prop_assert!(read.histogram(interval + 1, true).is_none());
            prop_assert!(Summary::read(&bytes, times.len() as u64 + 1).is_err());
        }
    }
}
