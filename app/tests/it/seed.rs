//! Random choices that can be made again: each test prints its seed, `HELIOGRAPH_TEST_SEED` sets it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A small generator (splitmix64); tests need no better one.
pub(crate) struct Random(u64);

impl Random {
    /// A new sequence, from the clock or the environment; says which.
    #[expect(clippy::disallowed_methods, reason = "a seed is what differs from run to run")]
    pub(crate) fn new(test: &str) -> Self {
        let seed = std::env::var("HELIOGRAPH_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            u64::from(now.subsec_nanos()) << 20 | now.as_secs() & 0xf_ffff
        });
        eprintln!("{test}: HELIOGRAPH_TEST_SEED={seed}");
        Self::seeded(seed)
    }

    /// The sequence of this seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A time from `from` up to `to` milliseconds.
    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}
