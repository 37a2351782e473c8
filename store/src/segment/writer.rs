//! Builds a segment: sorts records, cuts them into blocks, writes their pages and the index part.
//!
//! Two passes: the first numbers the values of fields, so that numbers are final when the second writes them.
//! Memory beyond the records and the output: one block, the distinct values and words, two bytes an identifier.

use bytes::Bytes;
use heliograph_model::record::RecordRef;
use heliograph_model::rows::Rows;
use heliograph_model::scan::{CommitId, Histogram};
use heliograph_model::time::Timestamp;

use super::Built;
use super::block::{Row, field_column, put_columns, put_order, put_texts};
use super::directory::{self, Entry, Group, ROWS_MAX};
use super::fields::{FIELDS, FieldsBuilder, FieldsWriter, Numbers};
use super::footer::{Footer, HEAD, Section};
use super::names::Names;
use super::pages::{Page, Pages};
use super::sources::SourcesBuilder;
use super::tokens::TokensBuilder;
use crate::error::{Error, Result};
use crate::layout::ObjectId;
use crate::tenants::OpenTenant;

/// A block ends when it is this large, or half of it where its source ends: large enough to compress well,
/// small enough to be read for one line.
pub(super) const BLOCK_BYTES: usize = 256 << 10;
/// What a record counts for beside its texts, so that short lines do not make long blocks.
const RECORD_BYTES: usize = 64;

type Committed<'a> = (CommitId, RecordRef<'a>);

/// Builds a segment from records in any order.
pub(super) fn build(tenant: &OpenTenant, id: ObjectId, parts: &[(CommitId, &Rows)]) -> Result<Built> {
    build_in_blocks(tenant, id, parts, BLOCK_BYTES)
}

/// The same with blocks of another size: readers take any, up to [`ROWS_MAX`] records.
pub(super) fn build_in_blocks(
    tenant: &OpenTenant,
    id: ObjectId,
    parts: &[(CommitId, &Rows)],
    block_bytes: usize,
) -> Result<Built> {
    let mut records: Vec<Committed<'_>> =
        parts.iter().flat_map(|(commit, rows)| rows.iter().map(|record| (*commit, record))).collect();
    records.sort_unstable_by_key(|(commit, r)| (r.source.id, r.position, r.time, *commit));
    let mut builder = FieldsBuilder::default();
    let numbers: Vec<Numbers> = records.iter().map(|(_, r)| builder.numbers(r)).collect();
    let mut writer = Writer::new(Pages::new(tenant, id)?, builder.sort());
    let mut rest = records.as_slice();
    let mut numbers = numbers.as_slice();
    while !rest.is_empty() {
        let rows = block_rows(rest, block_bytes);
        let (block, later) = rest.split_at(rows);
        let (block_numbers, later_numbers) = numbers.split_at(rows);
        writer.add_block(block, block_numbers)?;
        (rest, numbers) = (later, later_numbers);
    }
    writer.finish(records.len() as u64)
}

/// How many of the records the next block takes.
fn block_rows(records: &[Committed<'_>], block_bytes: usize) -> usize {
    let mut bytes = 0;
    for (row, (_, record)) in records.iter().enumerate().take(ROWS_MAX) {
        bytes += RECORD_BYTES + record.text_bytes();
        let next = records.get(row + 1);
        let is_source_end = next.is_none_or(|(_, next)| next.source.id != record.source.id);
        if bytes >= block_bytes || (is_source_end && bytes >= block_bytes / 2) {
            return row + 1;
        }
    }
    records.len().min(ROWS_MAX)
}

struct Writer {
    pages: Pages,
    /// The head, then order, messages and attributes of each block.
    out: Vec<u8>,
    /// The columns of each block; they go behind all else, so that a count reads one run of bytes.
    columns: Vec<u8>,
    entries: Vec<Entry>,
    sources: SourcesBuilder,
    fields: FieldsWriter,
    tokens: TokensBuilder,
    names: Names,
    raw_bytes: u64,
    scratch: Vec<u8>,
}

impl Writer {
    fn new(pages: Pages, fields: FieldsWriter) -> Self {
        Self {
            pages,
            out: HEAD.to_vec(),
            columns: Vec::new(),
            entries: Vec::new(),
            sources: SourcesBuilder::default(),
            fields,
            tokens: TokensBuilder::default(),
            names: Names::default(),
            raw_bytes: 0,
            scratch: Vec::new(),
        }
    }

    fn add_block(&mut self, records: &[Committed<'_>], numbers: &[Numbers]) -> Result<()> {
        let block = u32::try_from(self.entries.len()).map_err(|_| too_large())?;
        let mut rows = Vec::with_capacity(records.len());
        for ((commit, record), numbers) in records.iter().zip(numbers) {
            let source = self.sources.number(record.source);
            let fields = self.fields.last_numbers(*numbers);
            rows.push(Row { commit: *commit, record, source, fields });
            self.tokens.add(record.message);
            self.names.add(record.attributes);
            self.raw_bytes += record.text_bytes() as u64;
        }
        self.tokens.end_block();
        for slot in 0..FIELDS.len() {
            self.fields.add_block(block, slot, &field_column(&rows, slot));
        }
        let mut entry = entry(&rows)?;
        for group in Group::ALL {
            entry.pages[group as usize] = self.put_page(block, group, &rows)?;
        }
        self.entries.push(entry);
        Ok(())
    }

    fn put_page(&mut self, block: u32, group: Group, rows: &[Row<'_>]) -> Result<Page> {
        let plain = &mut self.scratch;
        plain.clear();
        match group {
            Group::Columns => put_columns(plain, rows),
            Group::Order => put_order(plain, rows),
            Group::Messages => {
                put_texts(plain, rows.iter().map(|r| r.record.message)).ok_or_else(too_large)?;
            }
            Group::Attributes if rows.iter().all(|r| r.record.attributes.is_empty()) => {
                return Ok(Page::default());
            }
            Group::Attributes => {
                put_texts(plain, rows.iter().map(|r| r.record.attributes)).ok_or_else(too_large)?;
            }
        }
        let out = if group == Group::Columns { &mut self.columns } else { &mut self.out };
        // Offsets are not written: they follow from the lengths.
        self.pages.seal(group.number(block), plain, 0, out)
    }

    fn finish(self, records: u64) -> Result<Built> {
        let Self { pages, mut out, columns, entries, sources, fields, tokens, names, raw_bytes, .. } = self;
        let (Some(first), Some(last)) =
            (entries.iter().map(|e| e.first).min(), entries.iter().map(|e| e.last).max())
        else {
            let reason = "there are none".to_owned();
            return Err(heliograph_model::Error::Decode { what: "a segment's records", reason }.into());
        };
        out.extend_from_slice(&columns);
        drop(columns);
        let index_offset = out.len() as u64;
        let tokens = tokens.finish().map_err(|e| pages.corrupt("terms", e.to_string()))?;
        let mut footer = Footer {
            index_offset,
            bytes: 0,
            records,
            blocks: u32::try_from(entries.len()).map_err(|_| too_large())?,
            sections: [Page::default(); Section::ALL.len()],
        };
        let mut put = |section: Section, plain: &[u8], out: &mut Vec<u8>| -> Result<()> {
            footer.sections[section as usize] = pages.seal(section.number(), plain, 0, out)?;
            Ok(())
        };
        put(Section::Directory, &directory::to_bytes(&entries), &mut out)?;
        put(Section::Sources, &sources.to_bytes(), &mut out)?;
        put(Section::Fields, &fields.into_bytes(), &mut out)?;
        put(Section::Terms, &tokens.terms, &mut out)?;
        put(Section::Postings, &tokens.postings, &mut out)?;
        put(Section::Filters, &tokens.filters, &mut out)?;
        put(Section::Names, &names.to_bytes(), &mut out)?;
        footer.bytes = (out.len() + super::footer::FOOTER_BYTES) as u64;
        out.extend_from_slice(&footer.to_bytes(&pages)?);
        Ok(Built { bytes: Bytes::from(out), index_offset, records, raw_bytes, first, last })
    }
}

fn too_large() -> Error {
    heliograph_model::Error::TooLarge { what: "a block", limit: super::pages::PAGE_BYTES_MAX }.into()
}

/// What the directory says of a block, but for its pages.
fn entry(rows: &[Row<'_>]) -> Result<Entry> {
    let mut levels = [0; 7];
    let (mut first, mut last) = (Timestamp::MAX, Timestamp::MIN);
    let (mut commit_first, mut commit_last) = (i64::MAX, i64::MIN);
    let (mut source_first, mut source_end) = (u32::MAX, 0);
    for row in rows {
        (first, last) = (first.min(row.record.time), last.max(row.record.time));
        (commit_first, commit_last) = (commit_first.min(row.commit.0), commit_last.max(row.commit.0));
        source_first = source_first.min(row.source);
        source_end = source_end.max(row.source.saturating_add(1));
        levels[Histogram::slot(row.record.level)] += 1;
    }
    let rows = u32::try_from(rows.len()).map_err(|_| too_large())?;
    let sources = source_first..source_end;
    Ok(Entry { rows, first, last, levels, commit_first, commit_last, sources, pages: [Page::default(); 4] })
}
