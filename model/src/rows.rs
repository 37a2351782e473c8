//! Many records close together: all texts in one buffer, what records share once. What waits in memory to be
//! sealed waits in this form: about fifty bytes a record beside its texts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::airflow::Identity;
use crate::error::{Error, Result};
use crate::level::Level;
use crate::record::{Record, RecordRef};
use crate::source::{Position, Source, Stream};
use crate::time::Timestamp;

/// Texts of one set of rows: what an offset of 32 bits reaches.
const TEXT_BYTES_MAX: usize = u32::MAX as usize;

/// What one record has of its own, beside its texts.
#[derive(Clone, Copy, Debug)]
struct Slot {
    time: Timestamp,
    observed: Timestamp,
    position: Position,
    /// Where the message begins; the attributes follow it.
    start: u32,
    message_bytes: u32,
    attributes_bytes: u32,
    source: u32,
    identity: u32,
    level: Option<Level>,
    stream: Option<Stream>,
}

/// Texts in the place of a record's.
#[derive(Clone, Debug)]
pub struct NewTexts<'a> {
    /// The message.
    pub message: Cow<'a, str>,
    /// A JSON object, or empty.
    pub attributes: Cow<'a, str>,
}

/// Records in the order in which they came.
#[derive(Debug, Default)]
pub struct Rows {
    texts: String,
    slots: Vec<Slot>,
    sources: Vec<Arc<Source>>,
    identities: Vec<Arc<Identity>>,
}

impl Rows {
    /// How many records.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// About how many bytes of memory they hold.
    pub fn memory_bytes(&self) -> usize {
        let sources = self.sources.len() * size_of::<Source>();
        let identities: usize = self.identities.iter().map(|i| size_of::<Identity>() + i.text_bytes()).sum();
        size_of::<Self>() + self.texts.len() + self.slots.len() * size_of::<Slot>() + sources + identities
    }

    /// The record of this number.
    pub fn get(&self, row: usize) -> Option<RecordRef<'_>> {
        self.view(self.slots.get(row)?)
    }

    /// All records.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = RecordRef<'_>> + Clone {
        self.slots.iter().filter_map(|slot| self.view(slot))
    }

    // The builder made every number and offset, so that there is always a view.
    fn view<'a>(&'a self, slot: &Slot) -> Option<RecordRef<'a>> {
        let start = slot.start as usize;
        let middle = start + slot.message_bytes as usize;
        Some(RecordRef {
            time: slot.time,
            observed: slot.observed,
            position: slot.position,
            source: self.sources.get(slot.source as usize)?,
            level: slot.level,
            stream: slot.stream,
            identity: self.identities.get(slot.identity as usize)?,
            message: self.texts.get(start..middle)?,
            attributes: self.texts.get(middle..middle + slot.attributes_bytes as usize)?,
        })
    }

    /// The distinct sources; [`Self::source_of`] gives places in this list.
    pub fn sources(&self) -> &[Arc<Source>] {
        &self.sources
    }

    /// The distinct identities; [`Self::identity_of`] gives places in this list.
    pub fn identities(&self) -> &[Arc<Identity>] {
        &self.identities
    }

    /// Which of the sources a record has.
    pub fn source_of(&self, row: usize) -> usize {
        self.slots.get(row).map_or(0, |slot| slot.source as usize)
    }

    /// Which of the identities a record has.
    pub fn identity_of(&self, row: usize) -> usize {
        self.slots.get(row).map_or(0, |slot| slot.identity as usize)
    }

    /// Messages and attributes of all records, one after the other.
    pub fn texts(&self) -> &str {
        &self.texts
    }

    /// The record that has this byte of [`Self::texts`], and where its texts end.
    pub fn row_at(&self, at: usize) -> Option<(usize, usize)> {
        // Records without texts begin where the next one does.
        let row = self.slots.partition_point(|slot| slot.start as usize <= at).checked_sub(1)?;
        let slot = self.slots.get(row)?;
        let end = slot.start as usize + slot.message_bytes as usize + slot.attributes_bytes as usize;
        (at < end).then_some((row, end))
    }

    /// The same records, some with other texts: `changes` rise by row. [`Error::TooLarge`] where the texts no longer
    /// fit.
    pub fn with_texts(&self, changes: &[(usize, NewTexts<'_>)]) -> Result<Self> {
        let mut builder = RowsBuilder::with_capacity(self.texts.len());
        builder.rows.sources.clone_from(&self.sources);
        builder.rows.identities.clone_from(&self.identities);
        let mut changes = changes.iter().peekable();
        for (row, (slot, record)) in self.slots.iter().zip(self.iter()).enumerate() {
            let new = changes.next_if(|(changed, _)| *changed == row).map(|(_, texts)| texts);
            builder.row(NewRow {
                time: slot.time,
                observed: slot.observed,
                position: slot.position,
                source: slot.source,
                identity: slot.identity,
                level: slot.level,
                stream: slot.stream,
                message: new.map_or(record.message, |new| &new.message),
                attributes: new.map_or(record.attributes, |new| &new.attributes),
            })?;
        }
        Ok(builder.finish())
    }

    /// The records, each on its own.
    pub fn to_records(&self) -> Vec<Record> {
        self.iter().map(|record| record.to_record()).collect()
    }
}

impl<'a> TryFrom<&'a [Record]> for Rows {
    type Error = Error;

    fn try_from(records: &'a [Record]) -> Result<Self> {
        let mut builder = RowsBuilder::default();
        records.iter().try_for_each(|record| builder.push(record.as_ref()))?;
        Ok(builder.finish())
    }
}

/// Gathers rows one by one.
#[derive(Debug, Default)]
pub struct RowsBuilder {
    rows: Rows,
    source_numbers: HashMap<Arc<Source>, u32>,
    identity_numbers: HashMap<Arc<Identity>, u32>,
    last_identity: u32,
}

/// One record as a reader of a wire format has it: shared parts by the numbers that [`RowsBuilder`] gave.
#[derive(Clone, Copy, Debug)]
pub struct NewRow<'a> {
    /// Event time.
    pub time: Timestamp,
    /// When it was read or received.
    pub observed: Timestamp,
    /// The place in its source.
    pub position: Position,
    /// From [`RowsBuilder::source`].
    pub source: u32,
    /// From [`RowsBuilder::identity`].
    pub identity: u32,
    /// How grave.
    pub level: Option<Level>,
    /// Where it was written to.
    pub stream: Option<Stream>,
    /// The text.
    pub message: &'a str,
    /// A JSON object, or empty.
    pub attributes: &'a str,
}

impl RowsBuilder {
    /// A builder with room for so many bytes of texts.
    pub fn with_capacity(text_bytes: usize) -> Self {
        let texts = String::with_capacity(text_bytes);
        Self { rows: Rows { texts, ..Rows::default() }, ..Self::default() }
    }

    /// The number of a source.
    pub fn source(&mut self, source: &Arc<Source>) -> u32 {
        if let Some(number) = self.source_numbers.get(source) {
            return *number;
        }
        let number = count(self.rows.sources.len());
        self.rows.sources.push(Arc::clone(source));
        self.source_numbers.insert(Arc::clone(source), number);
        number
    }

    /// The number of an identity. Neighbours mostly share theirs, so the last is looked at first.
    pub fn identity(&mut self, identity: &Identity) -> u32 {
        if self.rows.identities.get(self.last_identity as usize).is_some_and(|last| **last == *identity) {
            return self.last_identity;
        }
        let number = match self.identity_numbers.get(identity) {
            Some(number) => *number,
            None => self.add_identity(identity.clone()),
        };
        self.last_identity = number;
        number
    }

    fn add_identity(&mut self, identity: Identity) -> u32 {
        let number = count(self.rows.identities.len());
        let identity = Arc::new(identity);
        self.rows.identities.push(Arc::clone(&identity));
        self.identity_numbers.insert(identity, number);
        number
    }

    /// Adds a record whose shared parts have numbers; [`Error::TooLarge`] where the texts no longer fit.
    pub fn row(&mut self, row: NewRow<'_>) -> Result<()> {
        let texts = &mut self.rows.texts;
        let too_large = || Error::TooLarge { what: "the texts of a batch", limit: TEXT_BYTES_MAX };
        let start = u32::try_from(texts.len()).map_err(|_| too_large())?;
        if texts.len() + row.message.len() + row.attributes.len() > TEXT_BYTES_MAX {
            return Err(too_large());
        }
        texts.push_str(row.message);
        texts.push_str(row.attributes);
        self.rows.slots.push(Slot {
            time: row.time,
            observed: row.observed,
            position: row.position,
            start,
            message_bytes: count(row.message.len()),
            attributes_bytes: count(row.attributes.len()),
            source: row.source,
            identity: row.identity,
            level: row.level,
            stream: row.stream,
        });
        Ok(())
    }

    /// Adds a record.
    pub fn push(&mut self, record: RecordRef<'_>) -> Result<()> {
        let RecordRef { time, observed, position, level, stream, message, attributes, .. } = record;
        let (source, identity) = (self.source(record.source), self.identity(record.identity));
        self.row(NewRow { time, observed, position, source, identity, level, stream, message, attributes })
    }

    /// What was gathered, with no memory to spare.
    pub fn finish(self) -> Rows {
        let mut rows = self.rows;
        rows.texts.shrink_to_fit();
        rows.slots.shrink_to_fit();
        rows.sources.shrink_to_fit();
        rows.identities.shrink_to_fit();
        rows
    }
}

/// Counts here lie below 2³², as the texts do.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceId;

    #[test]
    fn rows_are_small_and_share_what_they_can() {
        assert_eq!(size_of::<Slot>(), 48);
        let source = |id| Arc::new(Source { id: SourceId(id), ..Source::default() });
        let identity = |dag: &str| Identity { dag_id: Some(dag.into()), ..Identity::default() };
        let record = |n: u64, message: &str| Record {
            time: Timestamp::from_nanos(5),
            observed: Timestamp::from_nanos(6),
            position: Position(n),
            source: source(u128::from(n % 2)),
            level: Some(Level::Info),
            stream: None,
            identity: identity(if n < 3 { "a" } else { "b" }),
            message: message.into(),
            attributes: crate::record::Attributes::default(),
        };
        let records: Vec<_> = (0..6).map(|n| record(n, &"ä".repeat(usize::try_from(n).unwrap()))).collect();
        let rows = Rows::try_from(records.as_slice()).unwrap();
        assert_eq!(rows.to_records(), records);
        assert_eq!((rows.sources().len(), rows.identities().len(), rows.len()), (2, 2, 6));
        assert_eq!((rows.source_of(3), rows.identity_of(3)), (1, 1));
        assert!(rows.get(6).is_none());
    }
}
