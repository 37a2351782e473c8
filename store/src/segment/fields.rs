//! The fields that records have beside their source's: the values of each in a segment, and which blocks hold
//! each value.

use std::sync::OnceLock;

use heliograph_model::airflow::Identity;
use heliograph_model::filter::{Field, Test, View};
use heliograph_model::record::RecordRef;

use super::bitset::BitSet;
use super::columns::{Cursor, Parsed};
use super::dictionary::{Dictionary, Interner, put_values};
use super::directory::Entry;
use super::uses::{Uses, UsesBuilder};
use crate::error::Result;

/// The fields, in the order of the format; a field's index here is its slot.
pub(super) const FIELDS: [Field; 8] = [
    Field::Stream,
    Field::DagId,
    Field::TaskId,
    Field::RunId,
    Field::MapIndex,
    Field::TryNumber,
    Field::LogId,
    Field::Logger,
];

/// Most bytes of one field's values.
const VALUES_BYTES_MAX: usize = 128 << 20;

/// Numbers of one record's values by slot: 0 where there is none, else the value's number and one.
pub(super) type Numbers = [u32; FIELDS.len()];

/// The slot of a field.
pub(super) fn slot(field: &Field) -> Option<usize> {
    FIELDS.iter().position(|f| f == field)
}

/// Gathers values in a first pass over the records.
#[derive(Default)]
pub(super) struct FieldsBuilder {
    interners: [Interner; FIELDS.len()],
    last: Option<(Identity, Option<heliograph_model::source::Stream>, Numbers)>,
}

impl FieldsBuilder {
    /// Numbers a record's values; the numbers are preliminary.
    pub(super) fn numbers(&mut self, record: &RecordRef<'_>) -> Numbers {
        if let Some((identity, stream, numbers)) = &self.last
            && identity == record.identity
            && *stream == record.stream
        {
            return *numbers;
        }
        let mut numbers = Numbers::default();
        for ((number, field), interner) in numbers.iter_mut().zip(&FIELDS).zip(&mut self.interners) {
            *number = record.text(field).map_or(0, |value| interner.number(&value).saturating_add(1));
        }
        self.last = Some((record.identity.clone(), record.stream, numbers));
        numbers
    }

    /// Sorts the values; numbers become final by [`FieldsWriter::last_numbers`].
    pub(super) fn sort(self) -> FieldsWriter {
        let mut writer = FieldsWriter::default();
        for (interner, field) in self.interners.into_iter().zip(&mut writer.fields) {
            (field.values, field.places) = interner.sorted();
        }
        writer
    }
}

#[derive(Default)]
struct FieldWriter {
    values: Vec<Box<str>>,
    places: Vec<u32>,
    uses: UsesBuilder,
}

/// Notes which blocks hold which values, in a second pass.
#[derive(Default)]
pub(super) struct FieldsWriter {
    fields: [FieldWriter; FIELDS.len()],
}

impl FieldsWriter {
    /// The final numbers for preliminary ones.
    pub(super) fn last_numbers(&self, mut numbers: Numbers) -> Numbers {
        for (number, field) in numbers.iter_mut().zip(&self.fields) {
            *number = number.checked_sub(1).and_then(|n| field.places.get(n as usize)).map_or(0, |p| p + 1);
        }
        numbers
    }

    /// Notes the values of one field of a block.
    pub(super) fn add_block(&mut self, block: u32, slot: usize, column: &[u32]) {
        let Some(field) = self.fields.get_mut(slot) else { return };
        let mut sorted = column.to_vec();
        sorted.sort_unstable();
        for same in sorted.chunk_by(|a, b| a == b) {
            if let Some(number) = same.first().and_then(|n| n.checked_sub(1)) {
                field.uses.add(number, block, u32::try_from(same.len()).unwrap_or(u32::MAX));
            }
        }
    }

    /// The section's bytes: per field its values, then for each value the blocks that hold it.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut out = Vec::new();
        for field in self.fields {
            put_values(&mut out, &field.values);
            field.uses.write(field.values.len(), &mut out);
        }
        out
    }
}

struct FieldIndex {
    values: Dictionary,
    uses: Uses,
    /// How many records of the segment have each value, added up when that is first asked for.
    totals: OnceLock<Vec<u64>>,
}

impl FieldIndex {
    fn count(&self, number: u32, of: impl Fn(u32) -> bool) -> u64 {
        let mut count = 0;
        self.uses.for_each_block(number, |block, rows| {
            if of(block) {
                count += u64::from(rows);
            }
        });
        count
    }
}

/// The fields of an opened segment.
pub(super) struct Fields(Vec<FieldIndex>);

impl Fields {
    /// Reads [`FieldsWriter::into_bytes`].
    pub(super) fn read(bytes: &[u8], blocks: u32) -> Parsed<Self> {
        let mut from = Cursor::new(bytes);
        let mut fields = Vec::with_capacity(FIELDS.len());
        for _ in &FIELDS {
            let values = Dictionary::read(&mut from, VALUES_BYTES_MAX)?;
            let uses = Uses::read(&mut from, values.len() as usize, blocks)?;
            fields.push(FieldIndex { values, uses, totals: OnceLock::new() });
        }
        from.finish()?;
        Ok(Self(fields))
    }

    /// The value of a number as a block's column has it.
    pub(super) fn text(&self, slot: usize, number: u32) -> Option<&str> {
        self.0.get(slot)?.values.get(number.checked_sub(1)?)
    }

    /// Calls `each` with every block that holds a value, and how many of the block's records do.
    fn for_each_block(&self, slot: usize, number: u32, each: impl FnMut(u32, u32)) {
        if let Some(field) = self.0.get(slot) {
            field.uses.for_each_block(number, each);
        }
    }

    /// The blocks that may hold a record whose field passes the test, those in which every record does, which
    /// numbers pass, and how many rows of each block.
    pub(super) fn matching(
        &self,
        slot: usize,
        field: &Field,
        test: &Test,
        entries: &[Entry],
    ) -> Result<(BitSet, BitSet, Vec<bool>, Vec<u32>)> {
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let mut possible = BitSet::none(count);
        let mut passing = vec![0_u32; entries.len()];
        let Some(index) = self.0.get(slot) else {
            return Ok((possible.clone(), possible, Vec::new(), passing));
        };
        let mut passes = vec![false; index.values.len() as usize + 1];
        for number in index.values.matching(field, test)? {
            if let Some(pass) = passes.get_mut(number as usize + 1) {
                *pass = true;
            }
            self.for_each_block(slot, number, |block, rows| {
                possible.insert(block);
                if let Some(passing) = passing.get_mut(block as usize) {
                    *passing = passing.saturating_add(rows);
                }
            });
        }
        let rows = |block: u32| entries.get(block as usize).map(|entry| entry.rows);
        let certain = BitSet::of(count, |block| passing.get(block as usize).copied() == rows(block));
        Ok((possible, certain, passes, passing))
    }

    /// Calls `each` with every value of a field, and how many records of the meant blocks have it.
    pub(super) fn count_values(&self, slot: usize, of: &BitSet, mut each: impl FnMut(&str, u64)) {
        let Some(field) = self.0.get(slot) else { return };
        let numbers = 0..field.values.len();
        let totals = of.is_all().then(|| {
            field.totals.get_or_init(|| numbers.clone().map(|number| field.count(number, |_| true)).collect())
        });
        for number in numbers {
            let count = match totals {
                Some(totals) => totals.get(number as usize).copied().unwrap_or_default(),
                None => field.count(number, |block| of.contains(block)),
            };
            if count > 0
                && let Some(value) = field.values.get(number)
            {
                each(value, count);
            }
        }
    }

    /// The blocks in which some record has a value of a field.
    pub(super) fn blocks_with_any(&self, slot: usize, count: u32) -> BitSet {
        let mut out = BitSet::none(count);
        for number in 0..self.0.get(slot).map_or(0, |field| field.values.len()) {
            self.for_each_block(slot, number, |block, _| out.insert(block));
        }
        out
    }
}
