//! Chance that is the same for the same seed on every machine and for ever, so that a corpus is named by its seed.

/// SplitMix64: small, quick, and good enough for log lines.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 where `n` is 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(n)) >> 64).unwrap_or(0)
    }

    /// A number from `low` up to, but without, `high`.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low))
    }

    /// Mostly small, seldom near `n`: how often things of one kind are met in life.
    pub(crate) fn skewed(&mut self, n: u64) -> u64 {
        let most = self.below(n) + 1;
        let most = self.below(most) + 1;
        self.below(most)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// An index into `len` things.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// An index into `len` things, the first ones often.
    pub(crate) fn skewed_index(&mut self, len: usize) -> usize {
        usize::try_from(self.skewed(len as u64)).unwrap_or(0)
    }

    pub(crate) fn word(&mut self, words: &[&'static str]) -> &'static str {
        words.get(self.index(words.len())).copied().unwrap_or_default()
    }

    /// So many hexadecimal digits, at most 32.
    pub(crate) fn hex(&mut self, digits: usize) -> String {
        let mut text = format!("{:016x}{:016x}", self.next(), self.next());
        text.truncate(digits);
        text
    }

    pub(crate) fn uuid(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            0x8000 | (b >> 50),
            b & 0xffff_ffff_ffff
        )
    }

    /// A private address of one of a few thousand hosts.
    pub(crate) fn host_address(&mut self) -> String {
        let host = self.skewed(4_000);
        format!("10.{}.{}.{}", 20 + host % 7, host / 250, 1 + host % 250)
    }

    /// So many words of running text, without digits.
    pub(crate) fn sentence(&mut self, words: u64) -> String {
        let mut out = String::new();
        for n in 0..words {
            if n > 0 {
                out.push(' ');
            }
            out.push_str(self.word(&super::words::TEXT));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_its_numbers() {
        let mut rng = Rng::new(1);
        assert_eq!([rng.below(1_000), rng.below(1_000), rng.skewed(1_000)], {
            let mut again = Rng::new(1);
            [again.below(1_000), again.below(1_000), again.skewed(1_000)]
        });
        assert_eq!(Rng::new(7).uuid().len(), 36);
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut rng = Rng::new(3);
        assert!((0..1_000).all(|_| rng.below(7) < 7));
        assert!((0..1_000).all(|_| rng.skewed(7) < 7));
        assert!((0..1_000).all(|_| (5..9).contains(&rng.range(5, 9))));
        assert_eq!(rng.below(0), 0);
    }
}
