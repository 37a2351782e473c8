//! A set of numbers below a bound: of a segment's blocks, or of its records.

use super::columns::{Cursor, Malformed, Parsed, put_varint};

/// Which of so many are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BitSet {
    words: Vec<u64>,
    count: u32,
}

impl BitSet {
    pub(super) fn none(count: u32) -> Self {
        Self { words: vec![0; count.div_ceil(64) as usize], count }
    }

    pub(super) fn all(count: u32) -> Self {
        Self::none(count).not()
    }

    /// Those for which `holds` says so.
    pub(super) fn of(count: u32, mut holds: impl FnMut(u32) -> bool) -> Self {
        let mut out = Self::none(count);
        (0..count).filter(|n| holds(*n)).for_each(|n| out.insert(n));
        out
    }

    /// Adds a number; one beyond the bound is left out.
    pub(super) fn insert(&mut self, number: u32) {
        if number < self.count
            && let Some(word) = self.words.get_mut(number as usize / 64)
        {
            *word |= 1 << (number % 64);
        }
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        self.words.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
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

    /// How many of the numbers from `start` up to `end` are in the set.
    pub(super) fn len_between(&self, start: u32, end: u32) -> u32 {
        let end = end.min(self.count);
        if start >= end {
            return 0;
        }
        let (first, last) = (start as usize / 64, (end - 1) as usize / 64);
        let words = self.words.get(first..=last).unwrap_or_default();
        let (below, above) = (u64::MAX << (start % 64), u64::MAX >> (63 - (end - 1) % 64));
        let mask = |n: usize| {
            let from = if n == 0 { below } else { u64::MAX };
            from & if first + n == last { above } else { u64::MAX }
        };
        words.iter().enumerate().map(|(n, word)| (word & mask(n)).count_ones()).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0_u32..).step_by(64).zip(&self.words).flat_map(|(first, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(first + bit)
            })
        })
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
        // What lies beyond the bound stays out.
        if let Some(last) = self.words.last_mut()
            && !self.count.is_multiple_of(64)
        {
            *last &= (1 << (self.count % 64)) - 1;
        }
        self
    }

    /// Adds what [`put`](List::put_set) wrote of numbers below the same bound, to the end of `from`.
    pub(super) fn read(&mut self, from: &mut Cursor<'_>) -> Parsed<()> {
        let bytes = from.bytes(from.remaining())?;
        if bytes.len() == bitmap_bytes(self.count) {
            for (word, bytes) in self.words.iter_mut().zip(bytes.chunks(8)) {
                let mut of_word = [0; 8];
                of_word.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
                *word |= u64::from_le_bytes(of_word);
            }
            let is_beyond = |last: &u64| !self.count.is_multiple_of(64) && last >> (self.count % 64) != 0;
            return match self.words.last().is_some_and(is_beyond) {
                true => Err(Malformed("a number is beyond its bound")),
                false => Ok(()),
            };
        }
        let (mut from, mut next) = (Cursor::new(bytes), 0_u32);
        while from.remaining() > 0 {
            let number = next.saturating_add(from.u32()?);
            self.insert(number);
            next = number.saturating_add(1);
        }
        Ok(())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }
}

fn bitmap_bytes(count: u32) -> usize {
    count.div_ceil(8) as usize
}

/// Rising numbers, each as its distance from the one before.
#[derive(Default)]
pub(super) struct List {
    /// The number after the newest one.
    next: u32,
    count: u32,
    bytes: Vec<u8>,
}

impl List {
    /// Of numbers that rise.
    pub(super) fn of(numbers: &[u32]) -> Self {
        let mut list = Self::default();
        numbers.iter().for_each(|number| list.add(*number));
        list
    }

    /// Adds a number; one that is not above the newest is there already.
    pub(super) fn add(&mut self, number: u32) {
        if self.count == 0 || number >= self.next {
            put_varint(&mut self.bytes, (number - self.next).into());
            self.next = number + 1;
            self.count += 1;
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.count
    }

    /// Appends how many there are, and each.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.count.into());
        out.extend_from_slice(&self.bytes);
    }

    /// Appends each, or a bitmap of all numbers below `count` where that is not longer: the length, which is not
    /// written, tells which.
    pub(super) fn put_set(&self, count: u32, out: &mut Vec<u8>) {
        if self.bytes.len() < bitmap_bytes(count) {
            out.extend_from_slice(&self.bytes);
            return;
        }
        let mut bitmap = vec![0_u8; bitmap_bytes(count)];
        let (mut from, mut next) = (Cursor::new(&self.bytes), 0_u32);
        while let Ok(distance) = from.u32() {
            let number = next.saturating_add(distance);
            if let Some(byte) = bitmap.get_mut(number as usize / 8) {
                *byte |= 1 << (number % 8);
            }
            next = number.saturating_add(1);
        }
        out.extend_from_slice(&bitmap);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sets_come_back_and_count_their_parts(
            count in 1_u32..300,
            numbers in proptest::collection::btree_set(0_u32..300, 0..300),
            part in (0_u32..310, 0_u32..310),
        ) {
            let numbers: Vec<u32> = numbers.into_iter().filter(|n| *n < count).collect();
            let mut out = Vec::new();
            List::of(&numbers).put_set(count, &mut out);
            prop_assert!(out.len() <= bitmap_bytes(count));
            let mut set = BitSet::none(count);
            set.read(&mut Cursor::new(&out)).unwrap();
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), numbers.clone());
            let between = numbers.iter().filter(|n| (part.0..part.1).contains(n)).count();
            prop_assert_eq!(set.len_between(part.0, part.1) as usize, between);
        }
    }
}
