//! Builds a segment: sorts records, cuts them into blocks, writes their pages and the index part.
//!
//! Two passes: the first numbers the values of fields and counts the templates of texts, so that numbers are
//! final when the second writes them. Memory beyond the records and the output: one block, the distinct values,
//! templates and words, two bytes an identifier, four a variable.

use bytes::Bytes;
use heliograph_model::record::RecordRef;
use heliograph_model::rows::Rows;
use heliograph_model::scan::{CommitId, Histogram};
use heliograph_model::time::Timestamp;

use super::Built;
use super::block::{Row, field_column, put_columns, put_order};
use super::contents::Contents;
use super::directory::{self, Entry, Group, ROWS_MAX};
use super::fields::{FIELDS, FieldsBuilder, FieldsWriter, Numbers};
use super::fingerprints::BLOCKS_MAX;
use super::footer::{Footer, HEAD, Section};
use super::names::NamesBuilder;
use super::pages::{LEVEL_MERGED, LEVEL_SEALED, Page, Pages};
use super::row_lists::{self, Frequent};
use super::sources::SourcesBuilder;
use super::summary::SummaryBuilder;
use super::templates::{TemplatesBuilder, TemplatesWriter, Variables};
use super::texts::{TextColumn, put_texts};
use super::tokens::{TokensBuilder, is_escaped};
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
    build_as(tenant, id, parts, Shape::SEALED)
}

/// What a writer may choose: readers take any.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// About how large blocks are, of up to [`ROWS_MAX`] records.
    pub(super) block_bytes: usize,
    /// The words whose rows are listed.
    pub(super) frequent: Frequent,
    /// zstd's level.
    pub(super) level: i32,
}

impl Shape {
    pub(super) const SEALED: Self =
        Self { block_bytes: BLOCK_BYTES, frequent: Frequent::DEFAULT, level: LEVEL_SEALED };
    pub(super) const MERGED: Self = Self { level: LEVEL_MERGED, ..Self::SEALED };
}

/// The same in a shape of one's own.
pub(super) fn build_as(
    tenant: &OpenTenant,
    id: ObjectId,
    parts: &[(CommitId, &Rows)],
    shape: Shape,
) -> Result<Built> {
    let records = parts.iter().flat_map(|(commit, rows)| rows.iter().map(|record| (*commit, record)));
    build_of(tenant, id, records.collect(), shape)
}

/// Builds a segment from records that were read back from others.
pub(super) fn merge(tenant: &OpenTenant, id: ObjectId, parts: &[Contents], shape: Shape) -> Result<Built> {
    build_of(tenant, id, parts.iter().flat_map(Contents::records).collect(), shape)
}

fn build_of(
    tenant: &OpenTenant,
    id: ObjectId,
    mut records: Vec<Committed<'_>>,
    shape: Shape,
) -> Result<Built> {
    // Records of one source mostly come in order: a sort that takes runs as they are.
    records.sort_by_key(|(commit, r)| (r.source.id, r.position, r.time, *commit));
    let mut counted = Counted::default();
    let numbers: Vec<RowNumbers> = records.iter().map(|(_, record)| counted.add(record)).collect();
    let mut writer = Writer::new(Pages::new(tenant, id)?.at_level(shape.level), counted);
    let mut rest = records.as_slice();
    let mut numbers = numbers.as_slice();
    while !rest.is_empty() {
        let rows = block_rows(rest, shape.block_bytes);
        let (block, later) = rest.split_at(rows);
        let (block_numbers, later_numbers) = numbers.split_at(rows);
        writer.add_block(block, block_numbers)?;
        (rest, numbers) = (later, later_numbers);
    }
    writer.finish(records.len() as u64, shape.frequent)
}

/// The first pass: numbers what records share.
#[derive(Default)]
struct Counted {
    fields: FieldsBuilder,
    messages: TemplatesBuilder,
    attributes: TemplatesBuilder,
}

/// Preliminary numbers of what a record shares.
#[derive(Clone, Copy)]
struct RowNumbers {
    fields: Numbers,
    message: u32,
    attributes: u32,
}

impl Counted {
    fn add(&mut self, record: &RecordRef<'_>) -> RowNumbers {
        RowNumbers {
            fields: self.fields.numbers(record),
            message: self.messages.number(record.message),
            attributes: match is_escaped(record.attributes) {
                true => self.attributes.pass_over(),
                false => self.attributes.number(record.attributes),
            },
        }
    }
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
    attribute_tokens: TokensBuilder,
    messages: TemplatesWriter,
    attributes: TemplatesWriter,
    /// Of all records' messages and attributes.
    variables: [Variables; 2],
    names: NamesBuilder,
    summary: SummaryBuilder,
    /// How many are written.
    records: usize,
    raw_bytes: u64,
    scratch: Vec<u8>,
}

/// A block's rows with the final numbers of their templates.
struct Prepared<'a> {
    /// The number of its first row among all.
    first: usize,
    rows: Vec<Row<'a>>,
    fields: [Vec<u32>; FIELDS.len()],
    messages: Vec<u32>,
    message_column: TextColumn,
    attributes: Vec<u32>,
    attribute_column: TextColumn,
}

impl Writer {
    fn new(pages: Pages, counted: Counted) -> Self {
        let (messages, of_messages) = counted.messages.sort();
        let (attributes, of_attributes) = counted.attributes.sort();
        let (mut tokens, mut attribute_tokens) = (TokensBuilder::default(), TokensBuilder::of_json());
        messages.texts().for_each(|(number, text)| tokens.add_template(number, text));
        attributes.texts().for_each(|(number, text)| attribute_tokens.add_template(number, text));
        Self {
            pages,
            out: HEAD.to_vec(),
            columns: Vec::new(),
            entries: Vec::new(),
            sources: SourcesBuilder::default(),
            fields: counted.fields.sort(),
            tokens,
            attribute_tokens,
            messages,
            attributes,
            variables: [of_messages, of_attributes],
            names: NamesBuilder::default(),
            summary: SummaryBuilder::default(),
            records: 0,
            raw_bytes: 0,
            scratch: Vec::new(),
        }
    }

    fn add_block(&mut self, records: &[Committed<'_>], numbers: &[RowNumbers]) -> Result<()> {
        let block = u32::try_from(self.entries.len()).ok().filter(|block| *block < BLOCKS_MAX);
        let block = block.ok_or_else(too_large)?;
        let prepared = self.prepare(records, numbers);
        for (number, rows) in prepared.message_column.counts(records.len()) {
            self.messages.add_use(number, block, rows);
            self.tokens.use_template(number);
        }
        for (number, rows) in prepared.attribute_column.counts(records.len()) {
            self.attributes.add_use(number, block, rows);
            self.attribute_tokens.use_template(number);
        }
        for (slot, column) in prepared.fields.iter().enumerate() {
            self.fields.add_block(block, slot, column);
        }
        let mut entry = entry(&prepared.rows)?;
        for group in Group::ALL {
            entry.pages[group as usize] = self.put_page(block, group, &prepared)?;
        }
        self.tokens.end_block(entry.rows);
        self.attribute_tokens.end_block(entry.rows);
        self.entries.push(entry);
        Ok(())
    }

    fn prepare<'a>(&mut self, records: &'a [Committed<'a>], numbers: &[RowNumbers]) -> Prepared<'a> {
        let mut rows = Vec::with_capacity(records.len());
        for ((commit, record), numbers) in records.iter().zip(numbers) {
            let source = self.sources.number(record.source);
            let fields = self.fields.last_numbers(numbers.fields);
            rows.push(Row { commit: *commit, record, source, fields });
            self.summary.add(record.time, record.level);
            self.raw_bytes += record.text_bytes() as u64;
        }
        let messages: Vec<u32> = numbers.iter().map(|n| self.messages.number(n.message)).collect();
        let attributes: Vec<u32> = numbers.iter().map(|n| self.attributes.number(n.attributes)).collect();
        for (row, number) in rows.iter().zip(&attributes) {
            self.names.add(row.record.attributes, *number);
        }
        let (message_column, attribute_column) = (TextColumn::new(&messages), TextColumn::new(&attributes));
        let fields = std::array::from_fn(|slot| field_column(&rows, slot));
        let first = self.records;
        self.records += rows.len();
        Prepared { first, rows, fields, messages, message_column, attributes, attribute_column }
    }

    fn put_page(&mut self, block: u32, group: Group, prepared: &Prepared<'_>) -> Result<Page> {
        let Self { scratch: plain, variables: [of_messages, of_attributes], .. } = self;
        let (rows, first) = (&prepared.rows, prepared.first);
        plain.clear();
        match group {
            Group::Columns => {
                let texts = [&prepared.message_column, &prepared.attribute_column];
                put_columns(plain, rows, &prepared.fields, texts);
            }
            Group::Order => put_order(plain, rows),
            Group::Messages => {
                let text = |row: usize| rows.get(row).map_or("", |r| r.record.message);
                let split = |row: usize| (text(row), of_messages.of(first + row));
                put_texts(plain, split, &prepared.messages, &mut self.tokens).ok_or_else(too_large)?;
            }
            Group::Attributes if rows.iter().all(|r| r.record.attributes.is_empty()) => {
                return Ok(Page::default());
            }
            Group::Attributes => {
                let text = |row: usize| rows.get(row).map_or("", |r| r.record.attributes);
                let split = |row: usize| (text(row), of_attributes.of(first + row));
                put_texts(plain, split, &prepared.attributes, &mut self.attribute_tokens)
                    .ok_or_else(too_large)?;
            }
        }
        let out = if group == Group::Columns { &mut self.columns } else { &mut self.out };
        // Offsets are not written: they follow from the lengths.
        self.pages.seal(group.number(block), plain, 0, out)
    }

    fn finish(self, records: u64, frequent: Frequent) -> Result<Built> {
        let Self { pages, mut out, columns, entries, sources, fields, tokens, names, raw_bytes, .. } = self;
        let (messages, attributes) = (self.messages, self.attributes);
        let (attribute_tokens, summary) = (self.attribute_tokens, self.summary);
        let (Some(first), Some(last)) =
            (entries.iter().map(|e| e.first).min(), entries.iter().map(|e| e.last).max())
        else {
            let reason = "there are none".to_owned();
            return Err(heliograph_model::Error::Decode { what: "a segment's records", reason }.into());
        };
        out.extend_from_slice(&columns);
        drop(columns);
        let terms_fail = |e: std::io::Error| pages.corrupt("terms", e.to_string());
        let tokens = tokens.finish(frequent).map_err(terms_fail)?;
        let attribute_tokens = attribute_tokens.finish(frequent).map_err(terms_fail)?;
        let row_lists = (0..).zip(&tokens.row_lists);
        let row_lists = row_lists.map(|(n, list)| pages.seal(row_lists::page_number(n), list, 0, &mut out));
        let row_lists: Vec<Page> = row_lists.collect::<Result<_>>()?;
        let index_offset = out.len() as u64;
        let mut footer = Footer {
            index_offset,
            bytes: 0,
            records,
            blocks: u32::try_from(entries.len()).map_err(|_| too_large())?,
            sections: [Page::default(); Section::ALL.len()],
        };
        let mut sizes: Vec<(&'static str, u64)> = Group::ALL
            .into_iter()
            .map(|group| (group.name(), entries.iter().map(|e| u64::from(e.page(group).stored)).sum()))
            .chain([("row lists", row_lists.iter().map(|page| u64::from(page.stored)).sum())])
            .collect();
        let mut put = |section: Section, plain: &[u8], out: &mut Vec<u8>| -> Result<()> {
            let page = pages.seal(section.number(), plain, 0, out)?;
            footer.sections[section as usize] = page;
            sizes.push((section.part(), page.stored.into()));
            Ok(())
        };
        let whole_messages = messages.rows_kept_whole();
        put(Section::Directory, &directory::to_bytes(&entries, &row_lists), &mut out)?;
        put(Section::Sources, &sources.to_bytes(), &mut out)?;
        put(Section::Fields, &fields.into_bytes(), &mut out)?;
        put(Section::Terms, &tokens.terms, &mut out)?;
        put(Section::Postings, &tokens.postings, &mut out)?;
        put(Section::Identifiers, &tokens.identifiers, &mut out)?;
        put(Section::Names, &names.finish().to_bytes(), &mut out)?;
        put(Section::Templates, &messages.into_bytes(), &mut out)?;
        put(Section::AttributeTemplates, &attributes.into_bytes(), &mut out)?;
        put(Section::Summary, &summary.into_bytes(), &mut out)?;
        put(Section::AttributeTerms, &attribute_tokens.terms, &mut out)?;
        put(Section::AttributePostings, &attribute_tokens.postings, &mut out)?;
        put(Section::AttributeIdentifiers, &attribute_tokens.identifiers, &mut out)?;
        footer.bytes = (out.len() + super::footer::FOOTER_BYTES) as u64;
        sizes.push(("head and footer", (HEAD.len() + super::footer::FOOTER_BYTES) as u64));
        out.extend_from_slice(&footer.to_bytes(&pages)?);
        let bytes = Bytes::from(out);
        Ok(Built { bytes, index_offset, records, raw_bytes, first, last, sizes, whole_messages })
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
