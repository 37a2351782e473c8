//! A set of a segment's blocks, by number.

/// Which of a segment's blocks are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    words: Vec<u64>,
    count: u32,
}

impl Blocks {
    pub(super) fn none(count: u32) -> Self {
        Self { words: vec![0; count.div_ceil(64) as usize], count }
    }

    pub(super) fn all(count: u32) -> Self {
        Self::none(count).not()
    }

    /// Those for which `holds` says so.
    pub(super) fn of(count: u32, mut holds: impl FnMut(u32) -> bool) -> Self {
        let mut out = Self::none(count);
        (0..count).filter(|b| holds(*b)).for_each(|b| out.insert(b));
        out
    }

    /// Adds a block; one beyond the segment is left out.
    pub(super) fn insert(&mut self, block: u32) {
        if block < self.count
            && let Some(word) = self.words.get_mut(block as usize / 64)
        {
            *word |= 1 << (block % 64);
        }
    }

    pub(super) fn contains(&self, block: u32) -> bool {
        self.words.get(block as usize / 64).is_some_and(|word| word >> (block % 64) & 1 == 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    pub(super) fn is_all(&self) -> bool {
        self.len() == self.count
    }

    pub(super) fn len(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.count).filter(|b| self.contains(*b))
    }

    pub(super) fn and(mut self, other: &Self) -> Self {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
        self
    }

    pub(super) fn or(mut self, other: &Self) -> Self {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
        self
    }

    pub(super) fn not(mut self) -> Self {
        self.words.iter_mut().for_each(|word| *word = !*word);
        // What lies beyond the last block stays out.
        if let Some(last) = self.words.last_mut()
            && !self.count.is_multiple_of(64)
        {
            *last &= (1 << (self.count % 64)) - 1;
        }
        self
    }
}
