//! The token index: which templates and which blocks may hold a word of a message, or of an attribute.
//!
//! Words of the *vocabulary* lie in a term dictionary of tantivy's, each with the templates that have it, and with
//! the templates and the blocks in which it is a variable or stands in a text that is kept whole. *Identifiers* (ids, hashes, counters: most
//! of the distinct tokens, and nearly all in one block only) lie in a table of fingerprints, where they cost
//! two bytes instead of a dictionary's entry. Which of the two a token belongs to is a pure function of the
//! token, the same when writing and when asking. An answer may name a block too many, never one too few.

use std::collections::HashMap;
use std::ops::Range;

use heliograph_model::token;
use serde_json::Value;
use tantivy::directory::FileSlice;
use tantivy::postings::TermInfo;
use tantivy::termdict::{TermDictionary, TermDictionaryBuilder};

use super::columns::Malformed;
use super::hashing::Seeded;
use super::identifiers::{IdentifiersBuilder, addresses, is_identifier};
use super::pairs::{for_each_joined, put_pair};
use super::postings::{Places, Posting};
use super::row_lists::{Frequent, RowListsBuilder};
use super::template::Class;
use super::texts::TextSink;

/// Most words looked up for one prefix; beyond that every block is looked into.
const PREFIX_TERMS_MAX: usize = 1 << 16;

/// Gathers tokens: first those of the templates, then block by block.
#[derive(Default)]
pub(super) struct TokensBuilder {
    block: u32,
    /// Whose variables come, or that texts come which are kept whole.
    template: u32,
    words: HashMap<Box<str>, usize, Seeded>,
    /// By the numbers in `words`.
    postings: Vec<Posting>,
    /// Of words, by their numbers in `words`.
    rows: RowListsBuilder,
    /// The number of the block's first row.
    first_row: u32,
    /// The word that was told last, if its rows are to be listed.
    listed: Option<u32>,
    identifiers: IdentifiersBuilder,
    /// Identifiers that stand in templates, which only other scripts' words can be.
    in_templates: HashMap<u32, Vec<Box<str>>>,
    scratch: String,
    /// Texts are JSON: what is escaped there is found as it reads, too.
    is_json: bool,
}

/// The token index as bytes: the sections of the same names.
pub(super) struct TokenSections {
    pub(super) terms: Vec<u8>,
    pub(super) postings: Vec<u8>,
    pub(super) identifiers: Vec<u8>,
    /// The [row lists](super::row_lists), by number.
    pub(super) row_lists: Vec<Vec<u8>>,
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
            } else if let Some((_, posting)) = self.posting(token) {
                posting.add_template(number);
            }
        });
        self.scratch = scratch;
    }

    /// A word's number and posting.
    fn posting(&mut self, token: &str) -> Option<(usize, &mut Posting)> {
        let number = match self.words.get(token) {
            Some(number) => *number,
            None => {
                self.postings.push(Posting::default());
                self.words.insert(token.into(), self.postings.len() - 1);
                self.postings.len() - 1
            }
        };
        Some((number, self.postings.get_mut(number)?))
    }

    /// Notes that the present block has rows of a template.
    pub(super) fn use_template(&mut self, number: u32) {
        for identifier in self.in_templates.get(&number).into_iter().flatten() {
            self.identifiers.add(identifier);
        }
    }

    fn add(&mut self, token: &str) {
        if is_identifier(token) {
            self.listed = None;
            self.identifiers.add(token);
        } else {
            self.add_word(token);
        }
    }

    fn add_word(&mut self, word: &str) {
        let (template, block) = (self.template, self.block);
        let of_word = self.posting(word);
        let listed =
            of_word.and_then(|(number, posting)| posting.add(word, template, block).then_some(number));
        self.listed = listed.filter(|_| !self.is_json).and_then(|number| u32::try_from(number).ok());
    }

    /// Ends the present block, which has so many rows.
    pub(super) fn end_block(&mut self, rows: u32) {
        self.first_row += rows;
        self.identifiers.end_block(self.block);
        self.block += 1;
    }

    /// The sections; frequent words get a list of their rows.
    pub(super) fn finish(self, frequent: Frequent) -> std::io::Result<TokenSections> {
        let rows = self.rows.finish(self.words.len(), frequent.rows(self.block));
        let mut row_lists = Vec::new();
        let mut words: Vec<_> = self.words.into_iter().collect();
        words.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut terms = TermDictionaryBuilder::create(Vec::new())?;
        let mut postings = Vec::new();
        for (word, number) in words {
            let Some(posting) = self.postings.get(number) else { continue };
            let start = postings.len();
            posting.write(&word, self.block, &mut postings);
            let postings_range = start..postings.len();
            let list = row_lists.len();
            row_lists.extend(rows.list(number, self.first_row));
            let positions_range = list..row_lists.len();
            let doc_freq = posting.blocks();
            terms.insert(word.as_bytes(), &TermInfo { doc_freq, postings_range, positions_range })?;
        }
        let identifiers = self.identifiers.finish(self.block);
        Ok(TokenSections { terms: terms.finish()?, postings, identifiers, row_lists })
    }
}

impl TextSink for TokensBuilder {
    fn begin(&mut self, template: u32) {
        self.template = template;
    }

    fn variable(&mut self, variable: &str, class: Class) {
        if class == Class::Other {
            self.add(&token::fold(variable));
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.push_str(variable);
        scratch.make_ascii_lowercase();
        match class {
            Class::Identifier => {
                self.listed = None;
                self.identifiers.add(&scratch);
            }
            Class::Word | Class::Number | Class::Other => self.add_word(&scratch),
        }
        self.scratch = scratch;
    }

    fn address(&mut self, address: &str) {
        self.identifiers.add(address);
    }

    fn pair(&mut self, pair: &str) {
        self.scratch.clear();
        self.scratch.push_str(pair);
        self.scratch.make_ascii_lowercase();
        self.identifiers.add_whole(&self.scratch);
    }

    fn row(&mut self, row: u32) {
        if let Some(word) = self.listed {
            self.rows.add(word, self.first_row + row);
        }
    }

    fn whole(&mut self, text: &str, row: u32) {
        let mut scratch = std::mem::take(&mut self.scratch);
        token::for_each_token(text, &mut scratch, |token| {
            self.add(token);
            self.row(row);
        });
        self.scratch = scratch;
        self.add_joined(text);
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
    /// Adds the addresses and pairs of a text.
    fn add_joined(&mut self, text: &str) {
        addresses(text, false).iter().for_each(|address| self.identifiers.add(address));
        let Self { scratch, identifiers, .. } = self;
        for_each_joined(text, |first, joiner, second| {
            let of = |range: Range<usize>| text.get(range).unwrap_or_default();
            scratch.clear();
            if put_pair(of(first), joiner, of(second), scratch) {
                identifiers.add_whole(scratch);
            }
        });
    }

    fn strings(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                token::tokens(text).iter().for_each(|token| self.add(token));
                self.add_joined(text);
            }
            Value::Array(items) => items.iter().for_each(|item| self.strings(item)),
            Value::Object(map) => map.values().for_each(|value| self.strings(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
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

    fn add(&self, word: &[u8], info: &TermInfo, out: &mut Places) -> std::io::Result<()> {
        let posting = self.postings.get(info.postings_range.clone()).unwrap_or_default();
        out.add(word, posting).map_err(|Malformed(reason)| std::io::Error::other(reason))
    }

    /// Where a word stands.
    pub(super) fn with(&self, word: &str) -> std::io::Result<Places> {
        let mut out = Places::none(self.blocks);
        if let Some(info) = self.terms.get(word)? {
            self.add(word.as_bytes(), &info, &mut out)?;
        }
        Ok(out)
    }

    /// The number of a word's [row list](super::row_lists), if it has one.
    pub(super) fn row_list(&self, word: &str) -> std::io::Result<Option<u32>> {
        let lists = self.terms.get(word)?.map(|info| info.positions_range).filter(|lists| !lists.is_empty());
        Ok(lists.and_then(|lists| u32::try_from(lists.start).ok()))
    }

    /// Where words stand that begin so; none where there are too many of them to look.
    pub(super) fn with_prefix(&self, prefix: &str) -> std::io::Result<Option<Places>> {
        let mut out = Places::none(self.blocks);
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
            self.add(word, info, &mut out)?;
        }
        Ok(Some(out.sorted()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::bitset::BitSet;
    use super::super::identifiers::Identifiers;
    use super::super::templates::WHOLE;
    use super::*;

    fn blocks_with(words: &Words, identifiers: &Identifiers, token: &str) -> BitSet {
        let places = words.with(token).unwrap();
        if is_identifier(token) { identifiers.with(token) } else { places.blocks }
    }

    fn index(blocks: &[Vec<String>]) -> (Words, Identifiers) {
        let mut builder = TokensBuilder::default();
        for texts in blocks {
            builder.begin(WHOLE);
            (0..).zip(texts).for_each(|(row, text)| builder.whole(text, row));
            builder.end_block(u32::try_from(texts.len()).unwrap());
        }
        let count = u32::try_from(blocks.len()).unwrap();
        let sections = builder.finish(Frequent::DEFAULT).unwrap();
        let words = Words::open(sections.terms, sections.postings, count).unwrap();
        (words, Identifiers::read(sections.identifiers, count).unwrap())
    }

    #[test]
    fn a_missing_identifier_is_in_few_blocks() {
        let ids = |n: u32| (0..2_000).map(|i| format!("id{:08x}", n * 10_000 + i)).collect();
        let (words, identifiers) = index(&(0..50).map(ids).collect::<Vec<_>>());
        let wrong: u32 =
            (0..200).map(|n| blocks_with(&words, &identifiers, &format!("no{n:08x}")).len()).sum();
        assert!(wrong < 20, "{wrong} of 10,000 are false");
    }

    #[test]
    fn words_know_their_templates() {
        let mut builder = TokensBuilder::default();
        for (number, text) in (1..).zip(["took \u{11} ms", "a ms", "\u{11}", "Took"]) {
            builder.add_template(number, text);
        }
        builder.begin(2);
        builder.variable("12", Class::Number);
        builder.variable("Took", Class::Word);
        builder.end_block(1);
        builder.begin(1);
        builder.variable("took", Class::Word);
        builder.end_block(1);
        let sections = builder.finish(Frequent::DEFAULT).unwrap();
        let words = Words::open(sections.terms, sections.postings, 2).unwrap();
        let places = |templates: &[u32], holders: Option<Vec<u32>>, blocks: &[u32]| Places {
            templates: templates.to_vec(),
            holders,
            blocks: BitSet::of(2, |block| blocks.contains(&block)),
        };
        assert_eq!(words.with("took").unwrap(), places(&[1, 4], Some(vec![1, 2]), &[0, 1]));
        assert_eq!(words.with("ms").unwrap(), places(&[1, 2], Some(vec![]), &[]));
        assert_eq!(words.with("12").unwrap(), places(&[], None, &[0]));
        assert_eq!(words.with("nix").unwrap(), places(&[], Some(vec![]), &[]));
        assert_eq!(words.with_prefix("").unwrap().unwrap().templates, [1, 2, 4]);
    }

    proptest! {
        #[test]
        fn every_token_and_every_beginning_is_found(
            blocks in proptest::collection::vec(
                proptest::collection::vec("[a-cA-Ö0-9_ .é]{0,30}|[a-z]{3,5}[0-9]{1,4}|[a-z]{45}", 0..6), 1..20),
        ) {
            let (words, identifiers) = index(&blocks);
            for (block, messages) in (0_u32..).zip(&blocks) {
                for token in messages.iter().flat_map(|m| token::tokens(m)) {
                    prop_assert!(blocks_with(&words, &identifiers, &token).contains(block), "{token}");
                    for (at, _) in token.char_indices() {
                        let prefix = token.get(..at).unwrap();
                        let found = words.with_prefix(prefix).unwrap().unwrap().blocks;
                        let found = match identifiers.with_prefix(prefix) {
                            Some(begun) => found.or(&begun),
                            None => continue,
                        };
                        prop_assert!(found.contains(block), "{prefix} of {token}");
                    }
                }
            }
        }
    }
}
