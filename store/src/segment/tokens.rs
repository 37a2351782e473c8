//! The token index: which templates and which blocks may hold a word of a message, or of an attribute.
//!
//! Words of the *vocabulary* lie in a term dictionary of tantivy's, each with the templates that have it and the
//! blocks that have it as a variable or in a text that is kept whole. *Identifiers* (ids, hashes, counters: most
//! of the distinct tokens, and nearly all in one block only) lie in a bloom filter for each block, where they
//! cost two bytes instead of a dictionary's entry. Which of the two a token belongs to is a pure function of the
//! token, the same when writing and when asking. An answer may name a block too many, never one too few.

use std::collections::HashMap;

use heliograph_model::token;
use serde_json::Value;
use tantivy::directory::FileSlice;
use tantivy::postings::TermInfo;
use tantivy::termdict::{TermDictionary, TermDictionaryBuilder};

use super::blocks::Blocks;
use super::columns::{Cursor, Malformed, Parsed, put_varint};
use super::hashing::Seeded;
use super::identifiers::{FilterBuilder, addresses, is_identifier};
use super::texts::TextSink;

/// Most words looked up for one prefix; beyond that every block is looked into.
const PREFIX_TERMS_MAX: usize = 1 << 16;

/// Rising numbers, each as its distance from the one before.
#[derive(Default)]
struct List {
    /// The number after the newest one.
    next: u32,
    count: u32,
    bytes: Vec<u8>,
}

impl List {
    fn add(&mut self, number: u32) {
        if self.count == 0 || number >= self.next {
            put_varint(&mut self.bytes, (number - self.next).into());
            self.next = number + 1;
            self.count += 1;
        }
    }
}

#[derive(Default)]
struct Posting {
    templates: List,
    blocks: List,
}

/// Gathers tokens: first those of the templates, then block by block.
#[derive(Default)]
pub(super) struct TokensBuilder {
    block: u32,
    words: HashMap<Box<str>, usize, Seeded>,
    /// By the numbers in `words`.
    postings: Vec<Posting>,
    identifiers: FilterBuilder,
    /// Identifiers that stand in templates, which only other scripts' words can be.
    in_templates: HashMap<u32, Vec<Box<str>>>,
    filter_lengths: Vec<u8>,
    filters: Vec<u8>,
    scratch: String,
    /// Texts are JSON: what is escaped there is found as it reads, too.
    is_json: bool,
}

/// The token index as bytes: the sections of the same names.
pub(super) struct TokenSections {
    pub(super) terms: Vec<u8>,
    pub(super) postings: Vec<u8>,
    pub(super) filters: Vec<u8>,
}

impl TokensBuilder {
    /// A builder for texts that are JSON.
    pub(super) fn of_json() -> Self {
        Self { is_json: true, ..Self::default() }
    }

    /// Adds a template; numbers rise.
    pub(super) fn add_template(&mut self, number: u32, text: &str) {
        let mut scratch = std::mem::take(&mut self.scratch);
        token::for_each_token(text, &mut scratch, |token| {
            if is_identifier(token) {
                self.in_templates.entry(number).or_default().push(token.into());
            } else if let Some(posting) = self.posting(token) {
                posting.templates.add(number);
            }
        });
        self.scratch = scratch;
    }

    fn posting(&mut self, token: &str) -> Option<&mut Posting> {
        let number = match self.words.get(token) {
            Some(number) => *number,
            None => {
                self.postings.push(Posting::default());
                self.words.insert(token.into(), self.postings.len() - 1);
                self.postings.len() - 1
            }
        };
        self.postings.get_mut(number)
    }

    /// Notes that the present block has rows of a template.
    pub(super) fn use_template(&mut self, number: u32) {
        for identifier in self.in_templates.get(&number).into_iter().flatten() {
            self.identifiers.add(identifier);
        }
    }

    fn add(&mut self, token: &str) {
        if is_identifier(token) {
            self.identifiers.add(token);
        } else {
            let block = self.block;
            self.posting(token).into_iter().for_each(|posting| posting.blocks.add(block));
        }
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
        for (word, number) in words {
            let Some(posting) = self.postings.get(number) else { continue };
            let start = postings.len();
            posting.write(self.block, &mut postings);
            let postings_range = start..postings.len();
            terms.insert(
                word.as_bytes(),
                &TermInfo { doc_freq: posting.blocks.count, postings_range, positions_range: 0..0 },
            )?;
        }
        let mut filters = self.filter_lengths;
        filters.extend_from_slice(&self.filters);
        Ok(TokenSections { terms: terms.finish()?, postings, filters })
    }
}

impl TextSink for TokensBuilder {
    fn variable(&mut self, variable: &str) {
        if variable.is_ascii() {
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            scratch.push_str(variable);
            scratch.make_ascii_lowercase();
            self.add(&scratch);
            self.scratch = scratch;
        } else {
            self.add(&token::fold(variable));
        }
    }

    fn address(&mut self, address: &str) {
        self.identifiers.add(address);
    }

    fn whole(&mut self, text: &str) {
        let mut scratch = std::mem::take(&mut self.scratch);
        token::for_each_token(text, &mut scratch, |token| self.add(token));
        self.scratch = scratch;
        addresses(text, false).iter().for_each(|address| self.identifiers.add(address));
        if self.is_json && is_escaped(text) {
            // What cannot be read here has no values when it is looked at, either.
            serde_json::from_str(text).into_iter().for_each(|value| self.strings(&value));
        }
    }
}

/// Whether a JSON text may say something otherwise than it reads; such a text is kept whole.
pub(super) fn is_escaped(json: &str) -> bool {
    memchr::memchr(b'\\', json.as_bytes()).is_some()
}

impl TokensBuilder {
    fn strings(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                token::tokens(text).iter().for_each(|token| self.add(token));
                addresses(text, false).iter().for_each(|address| self.identifiers.add(address));
            }
            Value::Array(items) => items.iter().for_each(|item| self.strings(item)),
            Value::Object(map) => map.values().for_each(|value| self.strings(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

fn bitmap_bytes(blocks: u32) -> usize {
    blocks.div_ceil(8) as usize
}

impl Posting {
    /// Appends the number of templates and their list; then the list of blocks, or a bitmap of the segment's
    /// blocks where that is not longer: the length tells which.
    fn write(&self, blocks: u32, out: &mut Vec<u8>) {
        put_varint(out, self.templates.count.into());
        out.extend_from_slice(&self.templates.bytes);
        if self.blocks.bytes.len() < bitmap_bytes(blocks) {
            out.extend_from_slice(&self.blocks.bytes);
            return;
        }
        let mut bitmap = vec![0_u8; bitmap_bytes(blocks)];
        let mut from = Cursor::new(&self.blocks.bytes);
        let mut next = 0_u32;
        while let Ok(distance) = from.u32() {
            let block = next.saturating_add(distance);
            if let Some(byte) = bitmap.get_mut(block as usize / 8) {
                *byte |= 1 << (block % 8);
            }
            next = block.saturating_add(1);
        }
        out.extend_from_slice(&bitmap);
    }
}

/// Where a word stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// Templates that have it, rising.
    pub(super) templates: Vec<u32>,
    /// Blocks that have it in a text that is kept whole, or as a variable.
    pub(super) blocks: Blocks,
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

    fn add(&self, info: &TermInfo, out: &mut Places) -> std::io::Result<()> {
        let posting = self.postings.get(info.postings_range.clone()).unwrap_or_default();
        self.read(posting, out).map_err(|Malformed(reason)| std::io::Error::other(reason))
    }

    fn read(&self, posting: &[u8], out: &mut Places) -> Parsed<()> {
        let mut from = Cursor::new(posting);
        let mut next = 0_u32;
        for _ in 0..from.count(posting.len())? {
            let number = next.saturating_add(from.u32()?);
            out.templates.push(number);
            next = number.saturating_add(1);
        }
        if from.remaining() == bitmap_bytes(self.blocks) {
            for (at, byte) in (0_u32..).zip(from.bytes(from.remaining())?) {
                (0..8).filter(|bit| byte >> bit & 1 == 1).for_each(|bit| out.blocks.insert(at * 8 + bit));
            }
            return Ok(());
        }
        let mut next = 0_u32;
        while from.remaining() > 0 {
            let block = next.saturating_add(from.u32()?);
            out.blocks.insert(block);
            next = block.saturating_add(1);
        }
        Ok(())
    }

    fn none(&self) -> Places {
        Places { templates: Vec::new(), blocks: Blocks::none(self.blocks) }
    }

    /// Where a word stands.
    pub(super) fn with(&self, word: &str) -> std::io::Result<Places> {
        let mut out = self.none();
        if let Some(info) = self.terms.get(word)? {
            self.add(&info, &mut out)?;
        }
        Ok(out)
    }

    /// Where words stand that begin so; none where there are too many of them to look.
    pub(super) fn with_prefix(&self, prefix: &str) -> std::io::Result<Option<Places>> {
        let mut out = self.none();
        let mut stream = self.terms.range().ge(prefix).into_stream()?;
        let mut terms = 0;
        while let Some((word, info)) = stream.next() {
            if !word.starts_with(prefix.as_bytes()) {
                break;
            }
            terms += 1;
            if terms > PREFIX_TERMS_MAX {
                return Ok(None);
            }
            self.add(info, &mut out)?;
        }
        out.templates.sort_unstable();
        out.templates.dedup();
        Ok(Some(out))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::identifiers::Filters;
    use super::*;

    fn blocks_with(words: &Words, filters: &Filters, token: &str) -> Blocks {
        if is_identifier(token) { filters.with(token) } else { words.with(token).unwrap().blocks }
    }

    fn index(blocks: &[Vec<String>]) -> (Words, Filters) {
        let mut builder = TokensBuilder::default();
        for texts in blocks {
            texts.iter().for_each(|text| builder.whole(text));
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
        let wrong: u32 = (0..200).map(|n| blocks_with(&words, &filters, &format!("no{n:08x}")).len()).sum();
        assert!(wrong < 40, "{wrong} of 10,000 are false");
    }

    #[test]
    fn words_know_their_templates() {
        let mut builder = TokensBuilder::default();
        for (number, text) in (1..).zip(["took \u{11} ms", "a ms", "\u{11}", "Took"]) {
            builder.add_template(number, text);
        }
        builder.variable("12");
        builder.end_block();
        let sections = builder.finish().unwrap();
        let words = Words::open(sections.terms, sections.postings, 1).unwrap();
        assert_eq!(words.with("took").unwrap().templates, [1, 4]);
        assert_eq!(words.with("ms").unwrap(), Places { templates: vec![1, 2], blocks: Blocks::none(1) });
        assert_eq!(words.with("12").unwrap(), Places { templates: vec![], blocks: Blocks::all(1) });
        assert_eq!(words.with_prefix("").unwrap().unwrap().templates, [1, 2, 4]);
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
                    prop_assert!(blocks_with(&words, &filters, &token).contains(block), "{token}");
                    for (at, _) in token.char_indices() {
                        let prefix = token.get(..at).unwrap();
                        let found = words.with_prefix(prefix).unwrap().unwrap().blocks;
                        let found = match filters.with_prefix(prefix) {
                            Some(identifiers) => found.or(&identifiers),
                            None => continue,
                        };
                        prop_assert!(found.contains(block), "{prefix} of {token}");
                    }
                }
            }
        }
    }
}
