//! Identifiers: tokens that stand for one thing (ids, hashes, counters, stamps), and the table that knows in which
//! blocks they and their beginnings are.

use std::collections::HashSet;
use std::ops::Range;

use heliograph_model::token::is_word_char;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::bitset::BitSet;
use super::columns::Parsed;
use super::fingerprints::{Fingerprints, FingerprintsBuilder};
use super::hashing::Seeded;
use super::template::{WORD_BYTES_MAX, is_variable};

/// Up to this length a token with digits is still vocabulary (`s3`, `200`), as there are few of them.
pub(super) const SHORT_BYTES_MAX: usize = 3;
/// Numbers of an address.
pub(super) const ADDRESS_NUMBERS: usize = 4;
/// Characters of an identifier's beginning that the table knows, for prefix searches.
const HEAD_CHARS: usize = 4;
/// Seeds that keep whole identifiers and beginnings apart. Part of the format.
const WHOLE: u64 = 0;
const HEAD: u64 = 1;

/// Whether a token belongs to the identifiers and not to the vocabulary. Part of the format.
pub(super) fn is_identifier(token: &str) -> bool {
    token.len() > WORD_BYTES_MAX || (token.len() > SHORT_BYTES_MAX && is_variable(token))
}

/// Numbers of one to three digits with dots between, four in a row, as in an address: the table knows each such
/// four as one, since its numbers by themselves are everywhere. Part of the format.
///
/// With `is_open` the text's last number may go on.
pub(super) fn addresses(text: &str, is_open: bool) -> Vec<String> {
    let mut numbers: Vec<Range<usize>> = Vec::new();
    let mut out = Vec::new();
    let mut start = None;
    let end = text.char_indices().map(|(at, c)| (at, Some(c))).chain([(text.len(), None)]);
    let mut is_number = true;
    for (at, c) in end {
        if c.is_some_and(is_word_char) {
            is_number &= c.is_some_and(|c| c.is_ascii_digit());
            start = start.or(Some(at));
            continue;
        }
        if let Some(start) = start.take() {
            let is_short = is_number && at - start <= SHORT_BYTES_MAX && !(is_open && c.is_none());
            let follows = numbers.last().is_some_and(|last| text.get(last.end..start) == Some("."));
            if !follows || !is_short {
                numbers.clear();
            }
            if is_short {
                numbers.push(start..at);
                let first = numbers.len().checked_sub(ADDRESS_NUMBERS).and_then(|n| numbers.get(n));
                out.extend(first.and_then(|first| text.get(first.start..at)).map(str::to_owned));
            }
        }
        is_number = true;
    }
    out
}

/// What the table knows of an identifier's beginning: what comes before its first digit, up to four
/// characters. Part of the format.
fn head(token: &str) -> &str {
    let end = token
        .char_indices()
        .enumerate()
        .find(|(n, (_, c))| *n == HEAD_CHARS || c.is_ascii_digit())
        .map_or(token.len(), |(_, (at, _))| at);
    token.get(..end).unwrap_or_default()
}

/// The head of every identifier that begins so, where they all have the same.
fn head_of_prefix(prefix: &str) -> Option<&str> {
    let head = head(prefix);
    let is_known = head.len() < prefix.len() || head.chars().count() == HEAD_CHARS;
    (is_known && !head.is_empty()).then_some(head)
}

/// What stands for a text in the table. Part of the format.
fn hash(text: &str, seed: u64) -> u64 {
    xxh3_64_with_seed(text.as_bytes(), seed)
}

/// Gathers the identifiers of each block.
#[derive(Default)]
pub(super) struct IdentifiersBuilder {
    table: FingerprintsBuilder,
    /// Identifiers that the present block has, by hashes that nobody can choose texts for: one text must not pass for
    /// another whose beginning is then missed.
    seen: HashSet<u64, Seeded>,
}

impl IdentifiersBuilder {
    /// Adds an identifier of the present block, and its head.
    pub(super) fn add(&mut self, token: &str) {
        if !self.seen.insert(self.seen.hasher().of(token)) {
            return;
        }
        self.table.add(hash(token, WHOLE));
        let head = head(token);
        if !head.is_empty() {
            self.table.add(hash(head, HEAD));
        }
    }

    /// Adds what is asked for as a whole only.
    pub(super) fn add_whole(&mut self, text: &str) {
        self.table.add(hash(text, WHOLE));
    }

    /// Ends the present block, which has this number.
    pub(super) fn end_block(&mut self, block: u32) {
        self.table.end_block(block);
        self.seen.clear();
    }

    /// The section of a segment of so many blocks.
    pub(super) fn finish(self, blocks: u32) -> Vec<u8> {
        self.table.finish(blocks)
    }
}

/// The identifiers of an opened segment.
pub(super) struct Identifiers(Fingerprints);

impl Identifiers {
    pub(super) fn read(bytes: Vec<u8>, blocks: u32) -> Parsed<Self> {
        Fingerprints::read(bytes, blocks).map(Self)
    }

    /// The blocks that may have an identifier.
    pub(super) fn with(&self, token: &str) -> BitSet {
        self.0.blocks_with(hash(token, WHOLE))
    }

    /// The blocks that may have an identifier that begins so, where that is known.
    pub(super) fn with_prefix(&self, prefix: &str) -> Option<BitSet> {
        head_of_prefix(prefix).map(|head| self.0.blocks_with(hash(head, HEAD)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_told_by_themselves() {
        for word in ["failed", "s3", "200", "größe", "bad", ""] {
            assert!(!is_identifier(word), "{word}");
        }
        for id in ["2026", "task_1", "3fa9", "0x7f", "deadbeef", &"a".repeat(41)] {
            assert!(is_identifier(id), "{id}");
        }
    }

    /// The hash of the format is no secret, so that there are texts for any hash: here one that is another text's.
    #[test]
    fn a_text_with_another_ones_hash_hides_no_beginning() {
        let mut builder = IdentifiersBuilder::default();
        builder.table.add(hash("trace77", WHOLE));
        builder.add("trace77");
        builder.end_block(0);
        let read = Identifiers::read(builder.finish(1), 1).unwrap();
        assert!(read.with("trace77").contains(0));
        assert!(read.with_prefix("trace").unwrap().contains(0));
    }

    #[test]
    fn four_numbers_with_dots_are_one() {
        for (text, expected) in [
            ("from 10.0.0.7:80", &["10.0.0.7"][..]),
            ("1.2.3.4.5", &["1.2.3.4", "2.3.4.5"]),
            ("1.2.3", &[]),
            ("1.2.3.4567", &[]),
            ("v1.2.3.4", &[]),
            ("a 1.2..3.4 1.2.3 .4 ä1.2.3.4.5", &["2.3.4.5"]),
        ] {
            assert_eq!(addresses(text, false), expected, "{text}");
        }
        assert!(addresses("10.0.0.7", true).is_empty());
        assert_eq!(addresses("10.0.0.7:8", true), ["10.0.0.7"]);
    }

    #[test]
    fn heads_stand_for_beginnings() {
        for (token, expected) in [("task_1", "task"), ("ab12", "ab"), ("2026", ""), ("größe99", "größ")] {
            assert_eq!(head(token), expected);
        }
        for (prefix, expected) in
            [("tas", None), ("task_", Some("task")), ("ab1", Some("ab")), ("9", None), ("", None)]
        {
            assert_eq!(head_of_prefix(prefix), expected, "{prefix}");
        }
    }
}
