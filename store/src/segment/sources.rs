//! The sources of a segment, sorted by id: since blocks are cut from records in that order, the sources of a
//! block are a range of this list.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use heliograph_model::filter::{Field, Test};
use heliograph_model::source::{Component, Source, SourceId};

use super::columns::{Column, Cursor, Malformed, Parsed, column, put_column, put_varint};
use super::dictionary::{Dictionary, Interner, put_values};
use crate::error::Result;

/// Most bytes of one field's values.
const VALUES_BYTES_MAX: usize = 64 << 20;
/// What a source has besides its id, in the order of the format.
const FIELDS: usize = 6;

fn texts(source: &Source) -> [Option<&str>; FIELDS] {
    [
        source.component.as_ref().map(Component::as_str),
        source.namespace.as_deref(),
        source.pod.as_deref(),
        source.container.as_deref(),
        source.node.as_deref(),
        source.path.as_deref(),
    ]
}

fn slot(field: &Field) -> Option<usize> {
    Some(match field {
        Field::Component => 0,
        Field::Namespace => 1,
        Field::Pod => 2,
        Field::Container => 3,
        Field::Node => 4,
        _ => return None,
    })
}

/// Gathers sources while a segment is written; the records must come sorted by source.
#[derive(Default)]
pub(super) struct SourcesBuilder {
    sources: Vec<Arc<Source>>,
    /// The last one with its number: each batch has a copy of its own.
    last: Option<(Arc<Source>, u32)>,
    /// The variants of the newest id: the same id may come with other fields.
    newest: HashMap<Arc<Source>, u32>,
}

impl SourcesBuilder {
    /// The number of a source.
    pub(super) fn number(&mut self, source: &Arc<Source>) -> u32 {
        if let Some((last, number)) = &self.last
            && Arc::ptr_eq(last, source)
        {
            return *number;
        }
        if self.sources.last().is_none_or(|newest| newest.id != source.id) {
            self.newest.clear();
        }
        let number = match self.newest.get(source) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
                self.sources.push(Arc::clone(source));
                self.newest.insert(Arc::clone(source), number);
                number
            }
        };
        self.last = Some((Arc::clone(source), number));
        number
    }

    /// The section's bytes: ids, then for each field its values and a column of their numbers (0: none).
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.sources.len() as u64);
        self.sources.iter().for_each(|s| out.extend_from_slice(&s.id.0.to_be_bytes()));
        for slot in 0..FIELDS {
            let mut interner = Interner::default();
            let text = |s: &Arc<Source>| texts(s).get(slot).copied().flatten().map(str::to_owned);
            let given: Vec<Option<u32>> =
                self.sources.iter().map(|s| text(s).map(|t| interner.number(&t))).collect();
            let (values, places) = interner.sorted();
            put_values(&mut out, &values);
            let place = |n: u32| places.get(n as usize).map_or(0, |p| p + 1);
            put_column(&mut out, &given.into_iter().map(|n| n.map_or(0, place)).collect::<Vec<_>>());
        }
        out
    }
}

/// The sources of an opened segment.
pub(super) struct Sources {
    ids: Vec<SourceId>,
    fields: Vec<(Dictionary, Column)>,
    made: Vec<OnceLock<Arc<Source>>>,
}

impl Sources {
    /// Reads [`SourcesBuilder::to_bytes`].
    pub(super) fn read(bytes: &[u8]) -> Parsed<Self> {
        let mut from = Cursor::new(bytes);
        let count = from.count(bytes.len() / 16)?;
        let ids = (0..count)
            .map(|_| Ok(SourceId(u128::from_be_bytes(from.array()?))))
            .collect::<Parsed<Vec<_>>>()?;
        if !ids.is_sorted() {
            return Err(Malformed("its sources are not in order"));
        }
        let fields = (0..FIELDS)
            .map(|_| Ok((Dictionary::read(&mut from, VALUES_BYTES_MAX)?, column(&mut from, count)?)))
            .collect::<Parsed<_>>()?;
        from.finish()?;
        Ok(Self { ids, fields, made: vec![OnceLock::new(); count] })
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(u32::MAX)
    }

    /// The id of a source.
    pub(super) fn id(&self, number: u32) -> Option<SourceId> {
        self.ids.get(number as usize).copied()
    }

    /// The numbers of the sources with this id.
    pub(super) fn of_id(&self, id: SourceId) -> Range<u32> {
        let at = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        at(self.ids.partition_point(|i| *i < id))..at(self.ids.partition_point(|i| *i <= id))
    }

    /// Whether a field is one of a source.
    pub(super) fn has(field: &Field) -> bool {
        slot(field).is_some()
    }

    fn slot_text(&self, number: u32, slot: usize) -> Option<&str> {
        let (values, column) = self.fields.get(slot)?;
        values.get(column.get(number as usize).checked_sub(1)?)
    }

    /// The value of a source's field.
    pub(super) fn text(&self, number: u32, field: &Field) -> Option<&str> {
        self.slot_text(number, slot(field)?)
    }

    /// Which sources pass a test on one of their fields, by number.
    pub(super) fn matching(&self, field: &Field, test: &Test) -> Result<Vec<bool>> {
        let Some((values, column)) = slot(field).and_then(|slot| self.fields.get(slot)) else {
            return Ok(vec![false; self.ids.len()]);
        };
        let mut passes = vec![false; values.len() as usize + 1];
        for number in values.matching(field, test)? {
            if let Some(pass) = passes.get_mut(number as usize + 1) {
                *pass = true;
            }
        }
        let pass = |row| passes.get(column.get(row) as usize).copied().unwrap_or_default();
        Ok((0..self.ids.len()).map(pass).collect())
    }

    /// A source as the model has it.
    pub(super) fn source(&self, number: u32) -> Option<Arc<Source>> {
        let id = self.id(number)?;
        let text = |slot| self.slot_text(number, slot);
        let made = self.made.get(number as usize)?.get_or_init(|| {
            Arc::new(Source {
                id,
                component: text(0).and_then(|c| Component::parse(c).ok()),
                namespace: text(1).map(Box::from),
                pod: text(2).map(Box::from),
                container: text(3).map(Box::from),
                node: text(4).map(Box::from),
                path: text(5).map(Box::from),
            })
        });
        Some(Arc::clone(made))
    }
}
