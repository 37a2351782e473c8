//! A token bucket that lends: what is taken may be more than what is there, and is waited for afterwards.
//!
//! That is what a body needs, whose true size shows only when it is expanded: a bucket that gives no more than it
//! has (governor's) would have to refuse after the work, and would never let through what is larger than the burst.

use std::num::NonZeroU64;
use std::time::Duration;

use tokio::time::Instant;

/// So many bytes a second, and so many at once.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    rate: NonZeroU64,
    burst: NonZeroU64,
    /// Below 0: owed.
    balance: i128,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: NonZeroU64, burst: NonZeroU64, now: Instant) -> Self {
        Self { rate, burst, balance: burst.get().into(), at: now }
    }

    /// With other bounds; what is owed stays owed.
    pub(super) fn with(mut self, rate: NonZeroU64, burst: NonZeroU64, now: Instant) -> Self {
        self.fill(now);
        Self { rate, burst, balance: self.balance.min(burst.get().into()), at: self.at }
    }

    /// Bytes a second.
    pub(super) fn rate(&self) -> NonZeroU64 {
        self.rate
    }

    /// Takes `bytes` if there is anything; else says after which time there is.
    pub(super) fn take(&mut self, bytes: u64, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.balance > 0 {
            self.balance -= i128::from(bytes);
            return Ok(());
        }
        let missing = u64::try_from(1 - self.balance).unwrap_or(u64::MAX);
        Err(Duration::from_millis(missing.saturating_mul(1_000).div_ceil(self.rate.get())))
    }

    /// What was taken as `charged` is `found`.
    pub(super) fn correct(&mut self, charged: u64, found: u64) {
        let balance = self.balance + i128::from(charged) - i128::from(found);
        self.balance = balance.min(self.burst.get().into());
    }

    /// Whether nothing is taken.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.balance >= self.burst.get().into()
    }

    fn fill(&mut self, now: Instant) {
        const SECOND: u128 = 1_000_000_000;
        let rate = u128::from(self.rate.get());
        let passed = now.saturating_duration_since(self.at).as_nanos();
        let bytes = passed.saturating_mul(rate) / SECOND;
        // The time that these bytes took, so that parts of a byte are not lost over many short looks.
        let took = bytes.saturating_mul(SECOND).div_ceil(rate);
        self.at += Duration::from_nanos(u64::try_from(took).unwrap_or(u64::MAX));
        let more = i128::try_from(bytes).unwrap_or(i128::MAX);
        self.balance = self.balance.saturating_add(more).min(self.burst.get().into());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(n: u64) -> NonZeroU64 {
        NonZeroU64::new(n).unwrap()
    }

    #[test]
    fn what_is_lent_is_waited_for() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut bucket = Bucket::new(bytes(1_000), bytes(500), start);
        assert_eq!(bucket.take(400, start), Ok(()));
        assert_eq!(bucket.take(3_000, start), Ok(()), "larger than the burst, and than what is there");
        assert_eq!(bucket.take(1, start), Err(Duration::from_millis(2_901)));
        assert_eq!(bucket.take(1, after(2_900)), Err(Duration::from_millis(1)));
        assert_eq!(bucket.take(1, after(2_901)), Ok(()));
        assert!(!bucket.is_full(after(3_000)) && bucket.is_full(after(3_401)));
        assert_eq!(bucket.take(500, after(9_999_999)), Ok(()), "no more than the burst gathers");
        assert!(bucket.take(1, after(9_999_999)).is_err());
    }

    #[test]
    fn what_was_charged_is_corrected() {
        let start = Instant::now();
        let mut bucket = Bucket::new(bytes(10), bytes(100), start);
        bucket.take(50, start).unwrap();
        bucket.correct(50, 200);
        assert_eq!(bucket.take(1, start), Err(Duration::from_millis(10_100)));
        bucket.correct(200, 0);
        assert!(bucket.is_full(start));
        bucket.take(100, start).unwrap();
        let mut slower = bucket.with(bytes(1), bytes(5), start);
        assert_eq!(slower.take(1, start), Err(Duration::from_secs(1)), "what is owed stays owed");
    }

    proptest! {
        /// However often one looks: what got through is at most burst, rate and one request too many.
        #[test]
        fn no_more_than_the_rate_gets_through(
            rate in 1_u64..5_000, burst in 1_u64..5_000,
            looks in prop::collection::vec((0_u64..50_000_000, 1_u64..300), 1..200),
        ) {
            let start = Instant::now();
            let (mut now, mut through, mut most) = (start, 0, 0);
            let mut bucket = Bucket::new(bytes(rate), bytes(burst), start);
            for (nanos, size) in looks {
                now += Duration::from_nanos(nanos);
                most = most.max(size);
                if bucket.take(size, now).is_ok() {
                    through += size;
                }
            }
            let allowed = burst + u64::try_from((now - start).as_nanos() * u128::from(rate) / 1_000_000_000).unwrap();
            prop_assert!(through <= allowed + most, "{} of {}", through, allowed);
        }
    }
}
