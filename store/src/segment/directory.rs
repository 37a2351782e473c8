//! The directory: where each block's pages and the lists of rows lie, and what is known of a block without reading
//! it.

use std::ops::Range;

use heliograph_model::time::Timestamp;

use super::columns::{Cursor, Malformed, Parsed, put_signed, put_varint};
use super::pages::Page;

/// Most records of a block; bounds what a count read from a file may make us allocate.
pub(super) const ROWS_MAX: usize = 1 << 16;
/// Least bytes that a block takes in the directory.
const ENTRY_BYTES_MIN: usize = 16;
/// Least bytes that a list of rows takes there.
const LIST_BYTES_MIN: usize = 6;

/// The groups of columns, each a page of its own: what one question needs lies together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Group {
    /// Times, levels, sources, fields and templates: what filters and counts need.
    Columns,
    /// Observed times, commits and positions: what a record needs besides.
    Order,
    /// The variables of messages, and messages that are kept whole.
    Messages,
    /// The same of attributes.
    Attributes,
}

impl Group {
    /// All, by index.
    pub(super) const ALL: [Self; 4] = [Self::Columns, Self::Order, Self::Messages, Self::Attributes];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Columns => "columns",
            Self::Order => "order",
            Self::Messages => "messages",
            Self::Attributes => "attributes",
        }
    }

    /// The number that a block's page is sealed under.
    pub(super) fn number(self, block: u32) -> u64 {
        u64::from(block) * 4 + self as u64
    }

    /// How errors name the page.
    pub(super) fn part(self, block: u32) -> String {
        format!("block {block} {}", self.name())
    }
}

/// A block, as the directory knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// How many records.
    pub(super) rows: u32,
    /// Earliest event time.
    pub(super) first: Timestamp,
    /// Latest event time.
    pub(super) last: Timestamp,
    /// Records by level, as in [`heliograph_model::scan::Histogram`].
    pub(super) levels: [u32; 7],
    /// Lowest commit.
    pub(super) commit_first: i64,
    /// Highest commit.
    pub(super) commit_last: i64,
    /// Numbers of its sources.
    pub(super) sources: Range<u32>,
    /// Its pages, by group; without attributes there is no such page.
    pub(super) pages: [Page; 4],
}

impl Entry {
    pub(super) fn page(&self, group: Group) -> &Page {
        &self.pages[group as usize]
    }
}

/// What the directory says.
pub(super) struct Directory {
    pub(super) entries: Vec<Entry>,
    /// Pages of [row lists](super::row_lists), by number.
    pub(super) row_lists: Vec<Page>,
}

/// The directory's bytes.
pub(super) fn to_bytes(entries: &[Entry], row_lists: &[Page]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, entries.len() as u64);
    let (mut time, mut commit, mut source) = (0_i64, 0_i64, 0_u32);
    for entry in entries {
        put_varint(&mut out, entry.rows.into());
        put_signed(&mut out, entry.first.as_nanos().wrapping_sub(time));
        put_varint(&mut out, entry.last.as_nanos().wrapping_sub(entry.first.as_nanos()).cast_unsigned());
        entry.levels.iter().for_each(|n| put_varint(&mut out, (*n).into()));
        put_signed(&mut out, entry.commit_first.wrapping_sub(commit));
        put_varint(&mut out, entry.commit_last.wrapping_sub(entry.commit_first).cast_unsigned());
        put_signed(&mut out, i64::from(entry.sources.start) - i64::from(source));
        put_varint(&mut out, (entry.sources.len()) as u64);
        for page in &entry.pages {
            put_varint(&mut out, page.stored.into());
            put_varint(&mut out, page.plain.into());
        }
        (time, commit) = (entry.first.as_nanos(), entry.commit_first);
        source = entry.sources.start;
    }
    put_varint(&mut out, row_lists.len() as u64);
    for page in row_lists {
        put_varint(&mut out, page.stored.into());
        put_varint(&mut out, page.plain.into());
    }
    // Checksums do not compress: apart, so that the rest does.
    for page in entries.iter().flat_map(|e| &e.pages).filter(|p| !p.is_none()).chain(row_lists) {
        out.extend_from_slice(&page.crc.to_le_bytes());
    }
    out
}

/// Reads [`to_bytes`]. The pages of a block but for its columns lie one after the other from `start`; the
/// columns of all blocks follow behind them, then the lists of rows, up to `end`.
pub(super) fn read(bytes: &[u8], start: u64, end: u64) -> Parsed<Directory> {
    let mut from = Cursor::new(bytes);
    let count = from.count(bytes.len() / ENTRY_BYTES_MIN)?;
    let mut entries = Vec::with_capacity(count);
    let mut before = (0_i64, 0_i64, 0_u32);
    for _ in 0..count {
        let entry = entry(&mut from, before)?;
        before = (entry.first.as_nanos(), entry.commit_first, entry.sources.start);
        entries.push(entry);
    }
    let lists = from.count(bytes.len() / LIST_BYTES_MIN)?;
    let mut row_lists = vec![Page::default(); lists];
    for page in &mut row_lists {
        (page.stored, page.plain) = (from.u32()?, from.u32()?);
    }
    let mut offset = start;
    let columns = |g: &Group| *g == Group::Columns;
    for is_columns in [false, true] {
        for entry in &mut entries {
            for group in Group::ALL.into_iter().filter(|g| columns(g) == is_columns) {
                let page = &mut entry.pages[group as usize];
                page.offset = offset;
                offset = page.range().end;
            }
        }
    }
    for page in &mut row_lists {
        page.offset = offset;
        offset = page.range().end;
    }
    let of_blocks = entries.iter_mut().flat_map(|e| &mut e.pages).filter(|p| !p.is_none());
    for page in of_blocks.chain(&mut row_lists) {
        page.crc = from.u32_le()?;
    }
    from.finish()?;
    if offset == end {
        Ok(Directory { entries, row_lists })
    } else {
        Err(Malformed("its lengths do not add up"))
    }
}

fn entry(from: &mut Cursor<'_>, (time, commit, source): (i64, i64, u32)) -> Parsed<Entry> {
    let rows = u32::try_from(from.count(ROWS_MAX)?).map_err(|_| Malformed("a block is too long"))?;
    let first = time.wrapping_add(from.signed()?);
    let last = first.wrapping_add(from.varint()?.cast_signed());
    let mut levels = [0; 7];
    for count in &mut levels {
        *count = from.u32()?;
    }
    let commit_first = commit.wrapping_add(from.signed()?);
    let commit_last = commit_first.wrapping_add(from.varint()?.cast_signed());
    let source = u32::try_from(i64::from(source).saturating_add(from.signed()?))
        .map_err(|_| Malformed("a source is out of bounds"))?;
    let sources = source..source.saturating_add(from.u32()?);
    let mut pages = [Page::default(); 4];
    for page in &mut pages {
        (page.stored, page.plain) = (from.u32()?, from.u32()?);
    }
    if levels.iter().map(|n| u64::from(*n)).sum::<u64>() != u64::from(rows) || last < first {
        return Err(Malformed("a block's counts do not add up"));
    }
    let at = Timestamp::from_nanos;
    Ok(Entry { rows, first: at(first), last: at(last), levels, commit_first, commit_last, sources, pages })
}
