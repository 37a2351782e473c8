//! The token index: which blocks may hold a word of a message.
//!
//! Words of the *vocabulary* lie in a term dictionary of tantivy's with the blocks of each. *Identifiers* (ids,
//! hashes, counters: most of the distinct tokens, and nearly all in one block only) lie in a bloom filter for
//! each block, where they cost two bytes instead of a dictionary's entry. Which of the two a token belongs to is
//! a pure function of the token, the same when writing and when asking. An answer may name a block too many,
//! never one too few.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use heliograph_model::token;
use tantivy::directory::FileSlice;
use tantivy::postings::TermInfo;
use tantivy::termdict::{TermDictionary, TermDictionaryBuilder};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::blocks::Blocks;
use super::columns::{Cursor, put_varint};
use super::identifiers::{FilterBuilder, Filters, is_identifier};

/// Most words looked up for one prefix; beyond that every block is looked into.
const PREFIX_TERMS_MAX: usize = 1 << 16;
/// Hashes short texts fast, with a seed that a sender of log lines cannot know.
struct Seeded(u64);

struct SeededHasher(u64);

impl Hasher for SeededHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl BuildHasher for Seeded {
    type Hasher = SeededHasher;

    fn build_hasher(&self) -> SeededHasher {
        SeededHasher(self.0)
    }
}

impl Default for Seeded {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

#[derive(Default)]
struct Posting {
    /// The block after the newest one.
    next: u32,
    blocks: u32,
    /// Each block as its distance from the one before.
    list: Vec<u8>,
}

/// Gathers tokens block by block.
#[derive(Default)]
pub(super) struct TokensBuilder {
    block: u32,
    words: HashMap<Box<str>, Posting, Seeded>,
    identifiers: FilterBuilder,
    filter_lengths: Vec<u8>,
    filters: Vec<u8>,
    scratch: String,
}

/// The token index as bytes: the sections of the same names.
pub(super) struct TokenSections {
    pub(super) terms: Vec<u8>,
    pub(super) postings: Vec<u8>,
    pub(super) filters: Vec<u8>,
}

impl TokensBuilder {
    /// Adds a message of the present block.
    pub(super) fn add(&mut self, message: &str) {
        let Self { block, words, identifiers, scratch, .. } = self;
        token::for_each_token(message, scratch, |token| {
            if is_identifier(token) {
                identifiers.add(token);
            } else if let Some(posting) = words.get_mut(token) {
                posting.add(*block);
            } else {
                let mut posting = Posting::default();
                posting.add(*block);
                words.insert(token.into(), posting);
            }
        });
    }

    /// Ends the present block.
    pub(super) fn end_block(&mut self) {
        let filter = self.identifiers.finish();
        put_varint(&mut self.filter_lengths, filter.len() as u64);
        self.filters.extend_from_slice(&filter);
        self.block += 1;
    }

    /// The sections.
    pub(super) fn finish(self) -> std::io::Result<TokenSections> {
        let mut words: Vec<_> = self.words.into_iter().collect();
        words.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut terms = TermDictionaryBuilder::create(Vec::new())?;
        let mut postings = Vec::new();
        for (word, posting) in words {
            let start = postings.len();
            posting.write(self.block, &mut postings);
            let postings_range = start..postings.len();
            terms.insert(
                word.as_bytes(),
                &TermInfo { doc_freq: posting.blocks, postings_range, positions_range: 0..0 },
            )?;
        }
        let mut filters = self.filter_lengths;
        filters.extend_from_slice(&self.filters);
        Ok(TokenSections { terms: terms.finish()?, postings, filters })
    }
}

fn bitmap_bytes(blocks: u32) -> usize {
    blocks.div_ceil(8) as usize
}

impl Posting {
    fn add(&mut self, block: u32) {
        if self.blocks == 0 || block >= self.next {
            put_varint(&mut self.list, (block - self.next).into());
            self.next = block + 1;
            self.blocks += 1;
        }
    }

    /// Appends the list, or a bitmap of the segment's blocks where that is not longer: the length tells which.
    fn write(&self, blocks: u32, out: &mut Vec<u8>) {
        if self.list.len() < bitmap_bytes(blocks) {
            out.extend_from_slice(&self.list);
            return;
        }
        let mut bitmap = vec![0_u8; bitmap_bytes(blocks)];
        for_each_in_list(&self.list, |block| {
            if let Some(byte) = bitmap.get_mut(block as usize / 8) {
                *byte |= 1 << (block % 8);
            }
        });
        out.extend_from_slice(&bitmap);
    }
}

fn for_each_in_list(list: &[u8], mut each: impl FnMut(u32)) {
    let mut from = Cursor::new(list);
    let mut next = 0_u32;
    while from.remaining() > 0 {
        let Ok(distance) = from.u32() else { return };
        let block = next.saturating_add(distance);
        each(block);
        next = block.saturating_add(1);
    }
}

/// The vocabulary of an opened segment.
pub(super) struct Words {
    terms: TermDictionary,
    postings: Vec<u8>,
    blocks: u32,
}

impl Words {
    pub(super) fn open(terms: Vec<u8>, postings: Vec<u8>, blocks: u32) -> std::io::Result<Self> {
        Ok(Self { terms: TermDictionary::open(FileSlice::from(terms))?, postings, blocks })
    }

    fn add(&self, info: &TermInfo, out: &mut Blocks) {
        let posting = self.postings.get(info.postings_range.clone()).unwrap_or_default();
        if posting.len() == bitmap_bytes(self.blocks) {
            for (at, byte) in (0_u32..).zip(posting) {
                (0..8).filter(|bit| byte >> bit & 1 == 1).for_each(|bit| out.insert(at * 8 + bit));
            }
        } else {
            for_each_in_list(posting, |block| out.insert(block));
        }
    }

    fn with(&self, word: &str) -> std::io::Result<Blocks> {
        let mut out = Blocks::none(self.blocks);
        if let Some(info) = self.terms.get(word)? {
            self.add(&info, &mut out);
        }
        Ok(out)
    }

    fn with_prefix(&self, prefix: &str) -> std::io::Result<Blocks> {
        let mut out = Blocks::none(self.blocks);
        let mut stream = self.terms.range().ge(prefix).into_stream()?;
        let mut terms = 0;
        while let Some((word, info)) = stream.next() {
            if !word.starts_with(prefix.as_bytes()) {
                break;
            }
            terms += 1;
            if terms > PREFIX_TERMS_MAX {
                return Ok(Blocks::all(self.blocks));
            }
            self.add(info, &mut out);
            if out.is_all() {
                break;
            }
        }
        Ok(out)
    }
}

/// The blocks whose messages may hold a token.
pub(super) fn blocks_with(words: &Words, filters: &Filters, token: &str) -> std::io::Result<Blocks> {
    if is_identifier(token) { Ok(filters.with(token)) } else { words.with(token) }
}

/// The blocks whose messages may hold a token that begins so.
pub(super) fn blocks_with_prefix(words: &Words, filters: &Filters, prefix: &str) -> std::io::Result<Blocks> {
    match filters.with_prefix(prefix) {
        Some(identifiers) => Ok(words.with_prefix(prefix)?.or(&identifiers)),
        None => Ok(Blocks::all(words.blocks)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index(blocks: &[Vec<String>]) -> (Words, Filters) {
        let mut builder = TokensBuilder::default();
        for messages in blocks {
            messages.iter().for_each(|m| builder.add(m));
            builder.end_block();
        }
        let count = u32::try_from(blocks.len()).unwrap();
        let sections = builder.finish().unwrap();
        let words = Words::open(sections.terms, sections.postings, count).unwrap();
        (words, Filters::read(sections.filters, count).unwrap())
    }

    #[test]
    fn a_missing_identifier_is_in_few_blocks() {
        let ids = |n: u32| (0..2_000).map(|i| format!("id{:08x}", n * 10_000 + i)).collect();
        let (words, filters) = index(&(0..50).map(ids).collect::<Vec<_>>());
        let wrong: u32 =
            (0..200).map(|n| blocks_with(&words, &filters, &format!("no{n:08x}")).unwrap().len()).sum();
        assert!(wrong < 40, "{wrong} of 10,000 are false");
    }

    proptest! {
        #[test]
        fn every_token_and_every_beginning_is_found(
            blocks in proptest::collection::vec(
                proptest::collection::vec("[a-cA-Ö0-9_ .é]{0,30}|[a-z]{3,5}[0-9]{1,4}|[a-z]{45}", 0..6), 1..20),
        ) {
            let (words, filters) = index(&blocks);
            for (block, messages) in (0_u32..).zip(&blocks) {
                for token in messages.iter().flat_map(|m| token::tokens(m)) {
                    prop_assert!(blocks_with(&words, &filters, &token).unwrap().contains(block), "{token}");
                    for (at, _) in token.char_indices() {
                        let prefix = token.get(..at).unwrap();
                        prop_assert!(
                            blocks_with_prefix(&words, &filters, prefix).unwrap().contains(block),
                            "{prefix} of {token}"
                        );
                    }
                }
            }
        }
    }
}
