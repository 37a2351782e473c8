//! A block: records as columns, and columns as records again.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::sync::Arc;

use heliograph_model::airflow::Identity;
use heliograph_model::filter::{Field, View};
use heliograph_model::level::Level;
use heliograph_model::record::{Attributes, Record, RecordKey, RecordRef};
use heliograph_model::scan::CommitId;
use heliograph_model::source::{Position, Stream};
use heliograph_model::time::Timestamp;

use super::candidates::{Candidates, Search};
use super::columns::{
    Column, Cursor, Malformed, Parsed, beside, column, put_beside, put_column, put_times, put_varint, times,
};
use super::fields::{self, FIELDS, Fields, Numbers};
use super::reader::Kind;
use super::sources::Sources;
use super::templates::{Templates, WHOLE};
use super::texts::{TextColumn, Texts};
use super::verdict::{Known, Verdict};

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

/// The columns that filters and counts need, in the order of the page, as bits of a set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs(u16);

impl Needs {
    pub(super) const ALL: Self = Self(u16::MAX);
    pub(super) const TIMES: Self = Self(1);
    pub(super) const LEVELS: Self = Self(1 << 1);
    pub(super) const SOURCES: Self = Self(1 << 2);
    pub(super) const MESSAGES: Self = Self(1 << (3 + FIELDS.len()));
    pub(super) const ATTRIBUTES: Self = Self(1 << (4 + FIELDS.len()));

    /// The column of a field.
    pub(super) const fn field(slot: usize) -> Self {
        Self(1 << (3 + slot))
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn has(self, column: Self) -> bool {
        self.0 & column.0 != 0
    }
}

/// The page of times, levels, sources, fields and templates of messages and attributes: each column's length, then
/// its bytes.
pub(super) fn put_columns(
    out: &mut Vec<u8>,
    rows: &[Row<'_>],
    fields: &[Vec<u32>; FIELDS.len()],
    texts: [&TextColumn; 2],
) {
    let mut bytes = Vec::new();
    let mut put = |write: &dyn Fn(&mut Vec<u8>)| {
        bytes.clear();
        write(&mut bytes);
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(&bytes);
    };
    put(&|out| put_times(out, &rows.iter().map(|r| r.record.time.as_nanos()).collect::<Vec<_>>()));
    put(&|out| put_column(out, &rows.iter().map(|r| level_code(r.record.level)).collect::<Vec<_>>()));
    put(&|out| put_column(out, &rows.iter().map(|r| r.source).collect::<Vec<_>>()));
    fields.iter().for_each(|column| put(&|out| put_column(out, column)));
    texts.iter().for_each(|column| put(&|out| column.put(out)));
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

/// The columns that filters and counts need; those that were not asked for are as if all rows had none.
pub(super) struct Columns {
    pub(super) rows: usize,
    pub(super) times: Vec<i64>,
    levels: Column,
    pub(super) sources: Column,
    fields: [Column; FIELDS.len()],
    pub(super) messages: TextColumn,
    pub(super) attributes: TextColumn,
}

impl Columns {
    /// Reads of [`put_columns`] what is needed.
    pub(super) fn read(bytes: &[u8], rows: usize, needs: Needs) -> Parsed<Self> {
        let mut from = Cursor::new(bytes);
        let mut take = |column: Needs| -> Parsed<Option<Cursor<'_>>> {
            let length = from.count(from.remaining())?;
            let bytes = from.bytes(length)?;
            Ok(needs.has(column).then(|| Cursor::new(bytes)))
        };
        let times = take(Needs::TIMES)?.map_or(Ok(Vec::new()), |f| whole(f, |f| times(f, rows)))?;
        let small = |from: Option<Cursor<'_>>| {
            from.map_or(Ok(Column::default()), |from| whole(from, |from| column(from, rows)))
        };
        let levels = small(take(Needs::LEVELS)?)?;
        let sources = small(take(Needs::SOURCES)?)?;
        let mut fields: [Column; FIELDS.len()] = Default::default();
        for (slot, field) in fields.iter_mut().enumerate() {
            *field = small(take(Needs::field(slot))?)?;
        }
        let texts = |from: Option<Cursor<'_>>| {
            from.map_or(Ok(TextColumn::default()), |from| whole(from, |from| TextColumn::read(from, rows)))
        };
        let messages = texts(take(Needs::MESSAGES)?)?;
        let attributes = texts(take(Needs::ATTRIBUTES)?)?;
        from.finish()?;
        Ok(Self { rows, times, levels, sources, fields, messages, attributes })
    }

    pub(super) fn time(&self, row: usize) -> Timestamp {
        Timestamp::from_nanos(self.times.get(row).copied().unwrap_or_default())
    }

    pub(super) fn level(&self, row: usize) -> Option<Level> {
        level_of(self.levels.get(row))
    }

    pub(super) fn texts(&self, kind: Kind) -> &TextColumn {
        match kind {
            Kind::Messages => &self.messages,
            Kind::Attributes => &self.attributes,
        }
    }

    pub(super) fn field(&self, slot: usize, row: usize) -> u32 {
        self.fields.get(slot).map_or(0, |column| column.get(row))
    }
}

/// Reads a column that fills its bytes.
fn whole<T>(mut from: Cursor<'_>, read: impl FnOnce(&mut Cursor<'_>) -> Parsed<T>) -> Parsed<T> {
    let read = read(&mut from)?;
    from.finish()?;
    Ok(read)
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
        if columns.times.len() != columns.rows {
            return Err(Malformed("its times were not read"));
        }
        let observed = beside(&mut from, &columns.times)?;
        let order = Self {
            observed,
            commits: times(&mut from, columns.rows)?,
            positions: times(&mut from, columns.rows)?,
        };
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

/// A block under evaluation: its columns, and of the other pages those that were needed so far.
pub(super) struct Block<'a> {
    pub(super) sources: &'a Sources,
    pub(super) values: &'a Fields,
    pub(super) message_templates: &'a Templates,
    pub(super) attribute_templates: &'a Templates,
    /// What is known of the filter's conditions.
    pub(super) conditions: &'a [Known],
    pub(super) number: u32,
    /// The number of its first row among all of the segment's.
    pub(super) first_row: u32,
    /// Those that the scan needs to choose rows, …
    pub(super) some: Columns,
    /// … and all, once a row is taken.
    pub(super) all: OnceCell<Columns>,
    pub(super) order: OnceCell<Order>,
    pub(super) messages: OnceCell<Arc<Texts>>,
    /// Empty texts where the block has no such page.
    pub(super) attributes: OnceCell<Option<Arc<Texts>>>,
    /// For each condition the rows that may pass by their variables.
    pub(super) candidates: Vec<OnceCell<Candidates>>,
}

impl Block<'_> {
    pub(super) fn columns(&self) -> &Columns {
        self.all.get().unwrap_or(&self.some)
    }

    pub(super) fn templates(&self, kind: Kind) -> &Templates {
        match kind {
            Kind::Messages => self.message_templates,
            Kind::Attributes => self.attribute_templates,
        }
    }

    fn texts(&self, kind: Kind) -> Option<(&Texts, &TextColumn)> {
        let texts = match kind {
            Kind::Messages => self.messages.get()?,
            Kind::Attributes => self.attributes.get()?.as_ref()?,
        };
        Some((texts, self.columns().texts(kind)))
    }

    /// What a row's variables say of a condition that its template leaves open; nothing where the text must be
    /// looked at. The variables of all rows are looked at once.
    fn by_variables(
        &self,
        row: usize,
        condition: usize,
        (kind, by_template): (Kind, &[Verdict]),
        search: &Search,
    ) -> Option<bool> {
        let (texts, column) = self.texts(kind)?;
        let cell = self.candidates.get(condition)?;
        let candidates = cell.get_or_init(|| Candidates::find(search, by_template, texts));
        match search {
            _ if !candidates.has(texts.place(row, column)) => Some(false),
            Search::Tokens(tokens) if tokens.is_exact => Some(true),
            _ => None,
        }
    }
}

/// One record of a block. Its texts are put together when they are first asked for.
pub(super) struct Line<'a> {
    pub(super) block: &'a Block<'a>,
    pub(super) row: usize,
    message: OnceCell<String>,
    attributes: OnceCell<String>,
    /// Memory of texts of earlier rows.
    spare: RefCell<Vec<String>>,
}

impl<'a> Line<'a> {
    pub(super) fn new(block: &'a Block<'a>) -> Self {
        let (message, attributes) = (OnceCell::new(), OnceCell::new());
        Self { block, row: 0, message, attributes, spare: RefCell::default() }
    }

    /// Goes to a row.
    pub(super) fn go_to(&mut self, row: usize) {
        self.row = row;
        self.spare.get_mut().extend(self.message.take());
        self.spare.get_mut().extend(self.attributes.take());
    }

    /// Its number among all of the segment's.
    fn number(&self) -> u32 {
        u32::try_from(self.row).map_or(u32::MAX, |row| self.block.first_row.saturating_add(row))
    }

    fn field(&self, slot: usize) -> Option<&str> {
        self.block.values.text(slot, self.block.columns().field(slot, self.row))
    }

    fn named(&self, field: &Field) -> Option<&str> {
        fields::slot(field).and_then(|slot| self.field(slot))
    }

    fn text<'t>(
        &'t self,
        cell: &'t OnceCell<String>,
        texts: &'t Texts,
        column: &TextColumn,
        templates: &'t Templates,
    ) -> &'t str {
        texts.as_it_is(self.row, column, templates).unwrap_or_else(|| {
            cell.get_or_init(|| {
                let mut text = self.spare.borrow_mut().pop().unwrap_or_default();
                text.clear();
                texts.write(self.row, column, templates, &mut text);
                text
            })
        })
    }

    /// The record's key; without the order page its position is 0.
    pub(super) fn key(&self) -> RecordKey {
        let source = self.block.columns().sources.get(self.row);
        RecordKey {
            time: self.time(),
            source: self.block.sources.id(source).unwrap_or_default(),
            position: self.block.order.get().map_or(Position(0), |o| o.position(self.row)),
        }
    }

    /// The record; all pages and columns must be there.
    pub(super) fn record(&self) -> Record {
        let shared = |field: &Field| self.named(field).map(Arc::from);
        let key = self.key();
        Record {
            time: key.time,
            observed: self.block.order.get().map_or(key.time, |o| o.observed(self.row)),
            position: key.position,
            source: self.block.sources.source(self.block.columns().sources.get(self.row)).unwrap_or_default(),
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
            message: View::message(self).into(),
            attributes: Attributes::from_trusted_json(View::attributes(self)),
        }
    }
}

impl View for Line<'_> {
    fn message(&self) -> &str {
        let Some(texts) = self.block.messages.get() else { return "" };
        self.text(&self.message, texts, &self.block.columns().messages, self.block.message_templates)
    }

    fn level(&self) -> Option<Level> {
        self.block.columns().level(self.row)
    }

    fn time(&self) -> Timestamp {
        self.block.columns().time(self.row)
    }

    fn text(&self, field: &Field) -> Option<Cow<'_, str>> {
        let source = self.block.columns().sources.get(self.row);
        self.named(field).or_else(|| self.block.sources.text(source, field)).map(Cow::Borrowed)
    }

    fn attributes(&self) -> &str {
        let Some(Some(texts)) = self.block.attributes.get() else { return "" };
        self.text(&self.attributes, texts, &self.block.columns().attributes, self.block.attribute_templates)
    }

    fn verdict(&self, condition: usize) -> Option<bool> {
        let columns = self.block.columns();
        let passes = |of: &[bool], number: u32| of.get(number as usize).copied().unwrap_or_default();
        match self.block.conditions.get(condition)? {
            Known::Text { kind, by_template, undecided, search, rows, .. } => {
                let number = match kind {
                    Kind::Messages => columns.messages.number(self.row),
                    Kind::Attributes => columns.attributes.number(self.row),
                };
                let verdict = by_template.get(number as usize).copied().unwrap_or_default();
                match (verdict, search) {
                    (Verdict::Yes, _) => Some(true),
                    _ if let Some(rows) = rows => Some(rows.contains(self.number())),
                    (Verdict::No, _) => Some(false),
                    _ if !undecided.contains(self.block.number) => Some(false),
                    // What is kept whole has no variables, and a template that has the part needs none.
                    (Verdict::Maybe, Some(Search::Tokens(_))) if number == WHOLE => None,
                    (Verdict::Maybe, None | Some(Search::Part(_))) => None,
                    (_, Some(search)) => {
                        self.block.by_variables(self.row, condition, (*kind, by_template), search)
                    }
                    (Verdict::Varies, None) => None,
                }
            }
            Known::Field { slot, passes: of, .. } => Some(passes(of, columns.field(*slot, self.row))),
            Known::Source { passes: of } => Some(passes(of, columns.sources.get(self.row))),
            Known::Nothing => None,
        }
    }
}
