//! Rows of frequent words: which of a segment's records have a word as a variable, or in a message that is kept
//! whole. With them a count of a word reads no message.
//!
//! A word's list is a page of its own, apart from the index part, since few questions ask for any.

mod builder;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use heliograph_model::filter::{Field, Filter, Test};
use heliograph_model::scan::{Scan, Want};
use heliograph_model::token::{self, Run};
use object_store::ObjectStore;
use object_store::path::Path;

use super::bitset::BitSet;
use super::cache::Page;
use super::columns::Cursor;
use super::identifiers::is_identifier;
use super::postings::has_holders;
use super::reader::{Index, Kind};
use super::scan::{blocking, fetch_pages};
use super::{Opened, ScanStats};
use crate::error::Result;

pub(super) use builder::RowListsBuilder;

/// How many records have a word that gets a list.
#[derive(Clone, Copy)]
pub(super) struct Frequent {
    /// At least so many, …
    pub(super) rows_min: usize,
    /// … and so many times the segment's blocks.
    pub(super) rows_a_block: usize,
}

impl Frequent {
    /// Rarer words are found nearly as quickly by reading their blocks, and there are many more of them.
    pub(super) const DEFAULT: Self = Self { rows_min: 64, rows_a_block: 4 };

    /// The least number of rows in a segment of so many blocks.
    pub(super) fn rows(self, blocks: u32) -> usize {
        self.rows_min.max(self.rows_a_block.saturating_mul(blocks as usize))
    }
}

/// The number of the first list's page: beyond those of any block, and below those of sections.
const PAGES: u64 = 1 << 61;

/// The number that a list's page is sealed under.
pub(super) fn page_number(list: u32) -> u64 {
    PAGES | u64::from(list)
}

/// How errors name a list's page.
pub(super) fn part(list: u32) -> String {
    format!("row list {list}")
}

/// The lists that a scan has at hand, by number.
#[derive(Debug, Default)]
pub(super) struct RowLists(HashMap<u32, Arc<BitSet>>);

impl RowLists {
    /// The rows that have a text which is a word and nothing else, where the template has it not; none without a
    /// list.
    pub(super) fn of(&self, index: &Index, text: &str) -> Result<Option<Arc<BitSet>>> {
        let Some(word) = word(text).filter(|_| !self.0.is_empty()) else { return Ok(None) };
        Ok(number(index, &word)?.and_then(|number| self.0.get(&number).cloned()))
    }

    /// The lists that a scan can use, of those that are in memory. CPU work.
    pub(super) fn kept(of: &Opened, scan: &Scan) -> Result<Self> {
        Ok(Self::split(of, &words(scan))?.0)
    }

    /// The lists of words that are in memory, and the numbers of the others.
    fn split(of: &Opened, words: &BTreeSet<String>) -> Result<(Self, Vec<u32>)> {
        let (mut kept, mut missing) = (Self::default(), vec![]);
        for list in words.iter().filter_map(|word| number(&of.index, word).transpose()) {
            let list = list?;
            match of.cache.get(&of.key(page_number(list))) {
                Some(Page::Rows(rows)) => drop(kept.0.insert(list, rows)),
                _ => missing.push(list),
            }
        }
        Ok((kept, missing))
    }

    /// The lists that a scan can use.
    pub(super) async fn read(
        objects: &Arc<dyn ObjectStore>,
        path: &Path,
        of: &Opened,
        scan: &Scan,
        stats: &mut ScanStats,
    ) -> Result<Self> {
        let words = words(scan);
        if words.is_empty() {
            return Ok(Self::default());
        }
        let opened = of.clone();
        let (mut lists, missing) = blocking(move || Self::split(&opened, &words)).await??;
        if missing.is_empty() {
            return Ok(lists);
        }
        let ranges: Vec<_> =
            missing.iter().filter_map(|list| Some(of.index.row_list(*list)?.range())).collect();
        let pages = fetch_pages(objects, path, &of.index, &ranges, stats).await?;
        let opened = of.clone();
        blocking(move || {
            for (list, sealed) in missing.into_iter().zip(pages) {
                let sealed = sealed.ok_or_else(|| opened.index.cut_off(&part(list)))?;
                let rows = Arc::new(opened.index.open_row_list(list, &sealed)?);
                opened.cache.put(opened.key(page_number(list)), Page::Rows(Arc::clone(&rows)));
                lists.0.insert(list, rows);
            }
            Ok(lists)
        })
        .await?
    }
}

/// The word that a text is, if it is one that may have a list.
fn word(text: &str) -> Option<String> {
    let mut tokens = token::tokens(text);
    let word = tokens.pop().filter(|_| tokens.is_empty())?;
    let may_have = Run::whole(text).folded() == word && !is_identifier(&word) && has_holders(word.as_bytes());
    may_have.then_some(word)
}

/// The words whose lists spare a scan the messages: those of which it wants no records.
fn words(scan: &Scan) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    match scan.want {
        Want::Records { .. } | Want::Around { .. } => {}
        Want::Histogram { .. } | Want::Values { .. } | Want::Fields => words_of(&scan.filter, &mut out),
    }
    out
}

fn words_of(filter: &Filter, out: &mut BTreeSet<String>) {
    match filter {
        Filter::All | Filter::None => {}
        Filter::And(parts) | Filter::Or(parts) => parts.iter().for_each(|part| words_of(part, out)),
        Filter::Not(inner) => words_of(inner, out),
        Filter::Is(Field::Message, Test::Text(text)) => out.extend(word(text)),
        Filter::Is(..) => {}
    }
}

/// The number of a word's list.
fn number(index: &Index, word: &str) -> Result<Option<u32>> {
    index.words(Kind::Messages)?.row_list(word).map_err(index.bad_terms(Kind::Messages))
}

/// Reads a list of a segment of so many records.
pub(super) fn read(bytes: &[u8], records: u32) -> super::columns::Parsed<BitSet> {
    let mut rows = BitSet::none(records);
    rows.read(&mut Cursor::new(bytes))?;
    Ok(rows)
}
