//! A block: records as columns, and columns as records again.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use heliograph_model::airflow::Identity;
use heliograph_model::filter::{Field, View};
use heliograph_model::level::Level;
use heliograph_model::record::{Attributes, Record, RecordKey, RecordRef};
use heliograph_model::scan::CommitId;
use heliograph_model::source::{Position, Stream};
use heliograph_model::time::Timestamp;

use super::columns::{
    Column, Cursor, Malformed, Parsed, beside, column, put_beside, put_column, put_times, put_varint, times,
};
use super::fields::{self, Fields, Numbers};
use super::sources::Sources;

/// A record with what the segment's dictionaries make of it.
pub(super) struct Row<'a> {
    pub(super) commit: CommitId,
    pub(super) record: &'a RecordRef<'a>,
    pub(super) source: u32,
    pub(super) fields: Numbers,
}

fn level_code(level: Option<Level>) -> u32 {
    level.map_or(0, |l| u32::from(l.code()) + 1)
}

fn level_of(code: u32) -> Option<Level> {
    code.checked_sub(1).and_then(|c| u8::try_from(c).ok()).and_then(Level::from_code)
}

/// The page of times, levels, sources and fields.
pub(super) fn put_columns(out: &mut Vec<u8>, rows: &[Row<'_>]) {
    put_times(out, &rows.iter().map(|r| r.record.time.as_nanos()).collect::<Vec<_>>());
    put_column(out, &rows.iter().map(|r| level_code(r.record.level)).collect::<Vec<_>>());
    put_column(out, &rows.iter().map(|r| r.source).collect::<Vec<_>>());
    for slot in 0..fields::FIELDS.len() {
        put_column(out, &field_column(rows, slot));
    }
}

/// One field's numbers, row by row.
pub(super) fn field_column(rows: &[Row<'_>], slot: usize) -> Vec<u32> {
    rows.iter().map(|r| r.fields.get(slot).copied().unwrap_or_default()).collect()
}

/// The page of observed times, commits and positions.
pub(super) fn put_order(out: &mut Vec<u8>, rows: &[Row<'_>]) {
    let times: Vec<i64> = rows.iter().map(|r| r.record.time.as_nanos()).collect();
    put_beside(out, &rows.iter().map(|r| r.record.observed.as_nanos()).collect::<Vec<_>>(), &times);
    put_times(out, &rows.iter().map(|r| r.commit.0).collect::<Vec<_>>());
    put_times(out, &rows.iter().map(|r| r.record.position.0.cast_signed()).collect::<Vec<_>>());
}

/// A page of texts: all of them, then their lengths, then where the lengths begin.
pub(super) fn put_texts<'a>(out: &mut Vec<u8>, texts: impl Iterator<Item = &'a str> + Clone) -> Option<()> {
    texts.clone().for_each(|text| out.extend_from_slice(text.as_bytes()));
    let length = u32::try_from(out.len()).ok()?;
    texts.for_each(|text| put_varint(out, text.len() as u64));
    out.extend_from_slice(&length.to_le_bytes());
    Some(())
}

/// The columns that filters and counts need.
pub(super) struct Columns {
    pub(super) times: Vec<i64>,
    levels: Column,
    pub(super) sources: Column,
    pub(super) fields: Vec<Column>,
}

impl Columns {
    /// Reads [`put_columns`].
    pub(super) fn read(bytes: &[u8], rows: usize) -> Parsed<Self> {
        let mut from = Cursor::new(bytes);
        let times = times(&mut from, rows)?;
        let levels = column(&mut from, rows)?;
        let sources = column(&mut from, rows)?;
        let fields = fields::FIELDS.iter().map(|_| column(&mut from, rows)).collect::<Parsed<_>>()?;
        from.finish()?;
        Ok(Self { times, levels, sources, fields })
    }

    pub(super) fn time(&self, row: usize) -> Timestamp {
        Timestamp::from_nanos(self.times.get(row).copied().unwrap_or_default())
    }

    pub(super) fn level(&self, row: usize) -> Option<Level> {
        level_of(self.levels.get(row))
    }

    fn field(&self, slot: usize, row: usize) -> u32 {
        self.fields.get(slot).map_or(0, |column| column.get(row))
    }
}

/// The columns that a record needs besides.
pub(super) struct Order {
    observed: Vec<i64>,
    commits: Vec<i64>,
    positions: Vec<i64>,
}

impl Order {
    /// Reads [`put_order`].
    pub(super) fn read(bytes: &[u8], columns: &Columns) -> Parsed<Self> {
        let mut from = Cursor::new(bytes);
        let rows = columns.times.len();
        let observed = beside(&mut from, &columns.times)?;
        let order = Self { observed, commits: times(&mut from, rows)?, positions: times(&mut from, rows)? };
        from.finish()?;
        Ok(order)
    }

    pub(super) fn commit(&self, row: usize) -> CommitId {
        CommitId(self.commits.get(row).copied().unwrap_or_default())
    }

    pub(super) fn position(&self, row: usize) -> Position {
        Position(self.positions.get(row).copied().unwrap_or_default().cast_unsigned())
    }

    fn observed(&self, row: usize) -> Timestamp {
        Timestamp::from_nanos(self.observed.get(row).copied().unwrap_or_default())
    }
}

/// Texts, one a row.
#[derive(Debug)]
pub(super) struct Texts {
    text: String,
    ends: Vec<u32>,
}

impl Texts {
    /// Reads [`put_texts`].
    pub(super) fn read(mut bytes: Vec<u8>, rows: usize) -> Parsed<Self> {
        let (rest, length) = bytes.split_last_chunk().ok_or(Malformed("it ends too early"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let (_, lengths) = rest.split_at_checked(length).ok_or(Malformed("it ends too early"))?;
        let mut from = Cursor::new(lengths);
        let (mut ends, mut end) = (Vec::with_capacity(rows), 0);
        for _ in 0..rows {
            end += from.count(length - end)?;
            ends.push(u32::try_from(end).map_err(|_| Malformed("its texts are too long"))?);
        }
        from.finish()?;
        if end != length {
            return Err(Malformed("its lengths do not add up"));
        }
        bytes.truncate(length);
        let text = String::from_utf8(bytes).map_err(|_| Malformed("a text is not UTF-8"))?;
        if ends.iter().all(|end| text.is_char_boundary(*end as usize)) {
            Ok(Self { text, ends })
        } else {
            Err(Malformed("a text is not UTF-8"))
        }
    }

    /// The text of a row.
    pub(super) fn get(&self, row: usize) -> &str {
        let end = self.ends.get(row).copied().unwrap_or_default() as usize;
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        self.text.get(start as usize..end).unwrap_or_default()
    }
}

/// A block under evaluation: its columns, and of the other pages those that were needed so far.
pub(super) struct Block<'a> {
    pub(super) sources: &'a Sources,
    pub(super) values: &'a Fields,
    pub(super) columns: Columns,
    pub(super) order: OnceCell<Order>,
    pub(super) messages: OnceCell<Texts>,
    /// Empty texts where the block has no such page.
    pub(super) attributes: OnceCell<Option<Texts>>,
}

/// One record of a block.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) block: &'a Block<'a>,
    pub(super) row: usize,
}

impl Line<'_> {
    fn field(&self, slot: usize) -> Option<&str> {
        self.block.values.text(slot, self.block.columns.field(slot, self.row))
    }

    fn named(&self, field: &Field) -> Option<&str> {
        fields::slot(field).and_then(|slot| self.field(slot))
    }

    /// The record's key; without the order page its position is 0.
    pub(super) fn key(&self) -> RecordKey {
        let source = self.block.columns.sources.get(self.row);
        RecordKey {
            time: self.time(),
            source: self.block.sources.id(source).unwrap_or_default(),
            position: self.block.order.get().map_or(Position(0), |o| o.position(self.row)),
        }
    }

    /// The record; all pages must be there.
    pub(super) fn record(&self) -> Record {
        let shared = |field: &Field| self.named(field).map(Arc::from);
        let key = self.key();
        Record {
            time: key.time,
            observed: self.block.order.get().map_or(key.time, |o| o.observed(self.row)),
            position: key.position,
            source: self.block.sources.source(self.block.columns.sources.get(self.row)).unwrap_or_default(),
            level: self.level(),
            stream: self.named(&Field::Stream).and_then(Stream::parse),
            identity: Identity {
                dag_id: shared(&Field::DagId),
                task_id: shared(&Field::TaskId),
                run_id: shared(&Field::RunId),
                map_index: self.named(&Field::MapIndex).and_then(|n| n.parse().ok()),
                try_number: self.named(&Field::TryNumber).and_then(|n| n.parse().ok()),
                log_id: shared(&Field::LogId),
                logger: shared(&Field::Logger),
            },
            message: self.message().into(),
            attributes: Attributes::from_trusted_json(self.attributes()),
        }
    }
}

impl View for Line<'_> {
    fn message(&self) -> &str {
        self.block.messages.get().map_or("", |texts| texts.get(self.row))
    }

    fn level(&self) -> Option<Level> {
        self.block.columns.level(self.row)
    }

    fn time(&self) -> Timestamp {
        self.block.columns.time(self.row)
    }

    fn text(&self, field: &Field) -> Option<Cow<'_, str>> {
        let source = self.block.columns.sources.get(self.row);
        self.named(field).or_else(|| self.block.sources.text(source, field)).map(Cow::Borrowed)
    }

    fn attributes(&self) -> &str {
        match self.block.attributes.get() {
            Some(Some(texts)) => texts.get(self.row),
            _ => "",
        }
    }
}
