//! Which blocks have an identifier: a table of short fingerprints, each with its block.
//!
//! A quotient filter at rest (Bender et al., "Don't Thrash: How to Cache Your Hash on Flash", 2012). The entries of
//! all blocks lie sorted by their hashes in as many buckets as there are entries, so the place of an entry stands
//! for the upper part of its hash; a byte more of it is written beside its block. Where the buckets begin is written
//! as Elias and Fano do, two bits an entry. So one look at one place answers for all blocks, where filters of single
//! blocks would be asked one by one.

use std::collections::HashSet;

use super::bitset::BitSet;
use super::columns::{Cursor, Malformed, Parsed, put_varint};
use super::hashing::Seeded;

/// Bits of a block's number beside the part of a hash that is used: the upper 40 bits are enough for as many entries
/// as there can be.
const BLOCK_BITS: u32 = 24;
const HASH_BITS: u32 = u64::BITS - BLOCK_BITS;
/// Most blocks of a segment.
pub(super) const BLOCKS_MAX: u32 = 1 << BLOCK_BITS;
/// Of a fingerprint, beside the bucket: one in 256 that are not there seems to be, in some block.
const FINGERPRINT_BITS: u32 = 8;
/// Words of the bitmap of buckets from one whose zeros before it are known to the next.
const SAMPLE_WORDS: usize = 8;

/// Gathers hashes block by block.
#[derive(Default)]
pub(super) struct FingerprintsBuilder {
    /// The hashes are of the format, so that whoever writes lines can choose some that lie close to one another: where
    /// they lie in this set, nobody knows.
    block: HashSet<u64, Seeded>,
    /// The upper bits of a hash, then the number of its block.
    all: Vec<u64>,
}

impl FingerprintsBuilder {
    /// Adds a hash to the present block.
    pub(super) fn add(&mut self, hash: u64) {
        self.block.insert(hash);
    }

    /// Ends the present block, which has this number.
    pub(super) fn end_block(&mut self, block: u32) {
        let upper = u64::from(BLOCKS_MAX) - 1;
        self.all.extend(self.block.drain().map(|hash| hash & !upper | u64::from(block) & upper));
    }

    /// The table of so many blocks.
    pub(super) fn finish(mut self, blocks: u32) -> Vec<u8> {
        self.all.sort_unstable();
        self.all.dedup();
        let count = self.all.len();
        let mut buckets = vec![0_u8; (2 * count).div_ceil(8)];
        let mut fingerprints = Vec::with_capacity(count);
        let mut numbers = Vec::with_capacity((count * bits(blocks) as usize).div_ceil(8));
        let (mut waiting, mut waiting_bits) = (0_u64, 0);
        for (entry, of_entry) in self.all.iter().enumerate() {
            let (bucket, fingerprint) = place(*of_entry, count as u64);
            // Each bucket's entries as ones, then a zero.
            if let Some(byte) = buckets.get_mut((entry + bucket) / 8) {
                *byte |= 1 << ((entry + bucket) % 8);
            }
            fingerprints.push(fingerprint);
            waiting |= (of_entry & (u64::from(BLOCKS_MAX) - 1)) << waiting_bits;
            waiting_bits += bits(blocks);
            while waiting_bits >= 8 {
                numbers.push(low(waiting));
                (waiting, waiting_bits) = (waiting >> 8, waiting_bits - 8);
            }
        }
        numbers.extend((waiting_bits > 0).then(|| low(waiting)));
        let mut out = Vec::with_capacity(10 + buckets.len() + fingerprints.len() + numbers.len());
        put_varint(&mut out, count as u64);
        out.append(&mut buckets);
        out.append(&mut fingerprints);
        out.append(&mut numbers);
        out
    }
}

fn low(number: u64) -> u8 {
    let [low, ..] = number.to_le_bytes();
    low
}

/// Bits of a block's number.
fn bits(blocks: u32) -> u32 {
    u32::BITS - blocks.saturating_sub(1).leading_zeros()
}

/// The bucket of a hash among so many, and its fingerprint. Part of the format.
fn place(hash: u64, buckets: u64) -> (usize, u8) {
    let at = u128::from(hash >> BLOCK_BITS) * u128::from(buckets);
    let bucket = usize::try_from(at >> HASH_BITS).unwrap_or(usize::MAX);
    let [fingerprint, ..] = (at >> (HASH_BITS - FINGERPRINT_BITS)).to_le_bytes();
    (bucket, fingerprint)
}

/// The table of an opened segment.
pub(super) struct Fingerprints {
    bytes: Vec<u8>,
    count: usize,
    /// Where the buckets, the fingerprints and the numbers begin.
    starts: [usize; 3],
    /// Zeros before each [`SAMPLE_WORDS`]th word of the buckets.
    zeros: Vec<u32>,
    blocks: u32,
}

impl Fingerprints {
    /// Reads what [`FingerprintsBuilder::finish`] wrote.
    pub(super) fn read(bytes: Vec<u8>, blocks: u32) -> Parsed<Self> {
        let mut from = Cursor::new(&bytes);
        let count = from.count(bytes.len())?;
        let start = bytes.len() - from.remaining();
        let fingerprints = start + (2 * count).div_ceil(8);
        let numbers = fingerprints + count;
        if bytes.len() != numbers + (count * bits(blocks) as usize).div_ceil(8) {
            return Err(Malformed("its lengths do not add up"));
        }
        let mut table =
            Self { bytes, count, starts: [start, fingerprints, numbers], zeros: Vec::new(), blocks };
        let mut zeros = 0;
        for word in 0..(2 * count).div_ceil(64) {
            if word % SAMPLE_WORDS == 0 {
                table.zeros.push(zeros);
            }
            zeros += table.word(word).count_zeros();
        }
        // Those that fill the last word are no buckets.
        let filling = (2 * count).next_multiple_of(64) - 2 * count;
        if zeros as usize == count + filling {
            Ok(table)
        } else {
            Err(Malformed("its buckets do not add up"))
        }
    }

    /// The blocks that may have a hash.
    pub(super) fn blocks_with(&self, hash: u64) -> BitSet {
        let mut out = BitSet::none(self.blocks);
        if self.count == 0 {
            return out;
        }
        let (bucket, fingerprint) = place(hash, self.count as u64);
        let Some(mut at) = bucket.checked_sub(1).map_or(Some(0), |before| Some(self.zero(before)? + 1))
        else {
            return out;
        };
        while self.word(at / 64) >> (at % 64) & 1 == 1 {
            let entry = at - bucket;
            if self.bytes.get(self.starts[1] + entry) == Some(&fingerprint) {
                out.insert(self.block(entry));
            }
            at += 1;
        }
        out
    }

    /// 64 bits of the buckets, the first lowest; zeros behind the end.
    fn word(&self, word: usize) -> u64 {
        let bytes = self.bytes.get(self.starts[0]..self.starts[1]).unwrap_or_default();
        eight(bytes, 8 * word)
    }

    /// Where the zero is which so many others come before.
    fn zero(&self, before: usize) -> Option<usize> {
        let sample = self.zeros.partition_point(|zeros| *zeros as usize <= before).checked_sub(1)?;
        let mut left = before - *self.zeros.get(sample)? as usize;
        let mut word = sample * SAMPLE_WORDS;
        loop {
            let mut zeros = !self.word(word);
            let there = zeros.count_ones() as usize;
            if left < there {
                (0..left).for_each(|_| zeros &= zeros - 1);
                return Some(64 * word + zeros.trailing_zeros() as usize);
            }
            left -= there;
            word += 1;
        }
    }

    fn block(&self, entry: usize) -> u32 {
        let bits = bits(self.blocks);
        let at = entry * bits as usize;
        let bytes = self.bytes.get(self.starts[2]..).unwrap_or_default();
        let number = eight(bytes, at / 8) >> (at % 8) & ((1 << bits) - 1);
        u32::try_from(number).unwrap_or(u32::MAX)
    }
}

/// Eight bytes as a number; zeros behind the end.
fn eight(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..).unwrap_or_default();
    match bytes.first_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(of_blocks: &[Vec<u64>]) -> Fingerprints {
        let mut builder = FingerprintsBuilder::default();
        for (block, hashes) in (0..).zip(of_blocks) {
            hashes.iter().for_each(|hash| builder.add(*hash));
            builder.end_block(block);
        }
        let blocks = u32::try_from(of_blocks.len()).unwrap();
        Fingerprints::read(builder.finish(blocks), blocks).unwrap()
    }

    #[test]
    fn nothing_is_in_no_block() {
        assert!(table(&[]).blocks_with(7).is_empty());
        assert!(table(&[vec![], vec![]]).blocks_with(u64::MAX).is_empty());
    }

    /// A table takes the place of an entry from the lower bits of its hash, and tells neighbours apart by the upper ones.
    #[test]
    fn hashes_that_somebody_chose_are_spread_like_any_others() {
        use std::hash::BuildHasher;

        const KEYS: usize = 10_000;
        let spread = |hasher: &dyn Fn(u64) -> u64| {
            let mut places = std::collections::HashMap::<u64, usize>::new();
            // Only bits in the middle differ.
            for key in (0..KEYS as u64).map(|n| n << 32) {
                let hash = hasher(key);
                *places.entry(hash & 0x3fff | hash >> 57 << 14).or_default() += 1;
            }
            places.into_values().max().unwrap()
        };
        assert_eq!(spread(&|key| key), KEYS, "as they are, each is compared with all others");
        let builder = FingerprintsBuilder::default();
        let most = spread(&|key| builder.block.hasher().hash_one(key));
        assert!(most < 8, "{most} in one place");
        let other = FingerprintsBuilder::default();
        assert_ne!(builder.block.hasher().hash_one(7_u64), other.block.hasher().hash_one(7_u64), "each anew");
    }

    #[test]
    fn hashes_that_fall_into_one_bucket_cost_and_hide_no_others() {
        // The upper bits choose the bucket: 10,000 in one, and one beside them in another block.
        let chosen: Vec<u64> = (0..10_000_u64).map(|n| n << BLOCK_BITS).collect();
        let others: Vec<u64> = (1..200_u64).map(|n| n << 56).collect();
        let table = table(&[chosen, others.clone()]);
        for other in others {
            let found = table.blocks_with(other);
            assert!(found.contains(1) && found.len() == 1, "{other:x}");
        }
    }

    #[test]
    fn what_was_cut_is_refused() {
        let mut builder = FingerprintsBuilder::default();
        (0..100_u64).for_each(|n| builder.add(n << 57 | n));
        builder.end_block(3);
        let bytes = builder.finish(9);
        assert!((0..bytes.len()).all(|end| Fingerprints::read(bytes[..end].to_vec(), 9).is_err()));
        let mut bits = bytes.clone();
        bits[5] ^= 1;
        assert!(Fingerprints::read(bits, 9).is_err());
        assert!(Fingerprints::read(bytes, 9).is_ok());
    }

    proptest! {
        #[test]
        fn every_hash_is_found_and_few_others(
            // Few upper bits, so that some buckets are long and some fingerprints the same.
            of_blocks in proptest::collection::vec(
                proptest::collection::vec((any::<u16>(), 0_u8..24), 0..60), 1..40),
            others in proptest::collection::vec(any::<u64>(), 50),
        ) {
            let of_blocks: Vec<Vec<u64>> = of_blocks
                .iter()
                .map(|block| block.iter().map(|(n, shift)| u64::from(*n) << 48 >> shift).collect())
                .collect();
            let table = table(&of_blocks);
            for (block, hashes) in (0..).zip(&of_blocks) {
                for hash in hashes {
                    prop_assert!(table.blocks_with(*hash).contains(block));
                }
            }
            let wrong: u32 = others.iter().map(|hash| table.blocks_with(*hash).len()).sum();
            prop_assert!(wrong < 80, "{} of 50", wrong);
        }
    }
}
