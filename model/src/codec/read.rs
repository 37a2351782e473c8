//! OTLP bytes of our own producers → rows. Texts are checked and copied once; nothing else is allocated for a
//! record, so that what a batch takes in memory is bounded by a few times its bytes.

use std::sync::Arc;

use data_encoding::HEXLOWER;

use super::key;
use super::proto::{Content, Fields, bad, field};
use crate::airflow::Identity;
use crate::error::Result;
use crate::level::Level;
use crate::record::{Attributes, FIELD_BYTES_MAX, cut};
use crate::rows::{NewRow, Rows, RowsBuilder};
use crate::source::{Component, Position, Source, SourceId, Stream};
use crate::time::Timestamp;

/// Reads what [`super::encode`] wrote. Only for bytes of our own producers: they say their source and position.
pub fn decode(bytes: &[u8]) -> Result<Rows> {
    let mut reader =
        Reader { rows: RowsBuilder::with_capacity(bytes.len() / 2), ids: Ids::default(), known: None };
    let mut request = Fields(bytes);
    while let Some((number, content)) = request.next()? {
        if number == field::REQUEST_RESOURCE_LOGS {
            reader.resource_logs(Fields(content.bytes()?))?;
        }
    }
    Ok(reader.rows.finish())
}

/// An identity as the bytes have it, before it is known whether it is new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ids<'a> {
    dag_id: Option<&'a [u8]>,
    task_id: Option<&'a [u8]>,
    run_id: Option<&'a [u8]>,
    log_id: Option<&'a [u8]>,
    logger: Option<&'a [u8]>,
    map_index: Option<i32>,
    try_number: Option<u32>,
}

impl Ids<'_> {
    fn to_identity(self) -> Result<Identity> {
        let text = |bytes: Option<&[u8]>| {
            bytes.map(|bytes| Ok(Arc::from(cut(text(bytes)?, FIELD_BYTES_MAX).as_ref()))).transpose()
        };
        Ok(Identity {
            dag_id: text(self.dag_id)?,
            task_id: text(self.task_id)?,
            run_id: text(self.run_id)?,
            map_index: self.map_index,
            try_number: self.try_number,
            log_id: text(self.log_id)?,
            logger: text(self.logger)?,
        })
    }
}

struct Reader<'a> {
    rows: RowsBuilder,
    /// The last record's identity, and its number once there is one.
    ids: Ids<'a>,
    known: Option<u32>,
}

impl<'a> Reader<'a> {
    fn resource_logs(&mut self, fields: Fields<'a>) -> Result<()> {
        // Whichever is written first: the resource is needed first.
        let mut source = Source::default();
        let mut has_id = false;
        let mut rest = fields;
        while let Some((number, content)) = rest.next()? {
            if number == field::RESOURCE_LOGS_RESOURCE {
                has_id |= read_resource(Fields(content.bytes()?), &mut source)?;
            }
        }
        if !has_id {
            return Err(bad("a resource lacks heliograph.source"));
        }
        let source = self.rows.source(&Arc::new(source));
        let mut rest = fields;
        while let Some((number, content)) = rest.next()? {
            if number == field::RESOURCE_LOGS_SCOPE_LOGS {
                let mut scope = Fields(content.bytes()?);
                while let Some((number, content)) = scope.next()? {
                    if number == field::SCOPE_LOGS_LOG_RECORDS {
                        self.record(Fields(content.bytes()?), source)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, mut fields: Fields<'a>, source: u32) -> Result<()> {
        let (mut time, mut observed, mut level, mut message) = (0, 0, None, None);
        let (mut position, mut stream, mut attributes) = (None, None, "");
        let mut ids = Ids::default();
        while let Some((number, content)) = fields.next()? {
            match number {
                field::LOG_TIME => time = content.fixed64()?,
                field::LOG_OBSERVED_TIME => observed = content.fixed64()?,
                field::LOG_SEVERITY_NUMBER => {
                    level = i32::try_from(content.varint()?).ok().and_then(Level::from_otlp_number);
                }
                field::LOG_BODY => {
                    if let Some(Value::Text(bytes)) = value(content)? {
                        message = Some(text(bytes)?);
                    }
                }
                field::LOG_ATTRIBUTES => match pair(content)? {
                    (POSITION, Some(Value::Int(n))) => position = Some(Position(n)),
                    (STREAM, Some(Value::Text(bytes))) => stream = Stream::parse(text(bytes)?),
                    (ATTRIBUTES, Some(Value::Text(bytes))) => attributes = text(bytes)?,
                    (key, Some(value)) => ids.set(key, value),
                    (_, None) => {}
                },
                _ => {}
            }
        }
        let identity = self.identity(ids)?;
        self.rows.row(NewRow {
            time: Timestamp::from_nanos(time.cast_signed()),
            observed: Timestamp::from_nanos(observed.cast_signed()),
            position: position.ok_or_else(|| bad("a record lacks heliograph.position"))?,
            source,
            identity,
            level,
            stream,
            message: message.ok_or_else(|| bad("a record's body is not a string"))?,
            attributes: &Attributes::check_json(attributes)?,
        })
    }

    fn identity(&mut self, ids: Ids<'a>) -> Result<u32> {
        if let Some(number) = self.known.filter(|_| ids == self.ids) {
            return Ok(number);
        }
        let number = self.rows.identity(&ids.to_identity()?);
        (self.ids, self.known) = (ids, Some(number));
        Ok(number)
    }
}

impl<'a> Ids<'a> {
    fn set(&mut self, key: &[u8], value: Value<'a>) {
        let text = match value {
            Value::Text(text) => Some(text),
            Value::Int(_) => None,
        };
        let int = || match value {
            Value::Int(n) => Some(n.cast_signed()),
            Value::Text(bytes) => std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()),
        };
        match key {
            DAG_ID => self.dag_id = text,
            TASK_ID => self.task_id = text,
            RUN_ID => self.run_id = text,
            LOG_ID => self.log_id = text,
            LOGGER => self.logger = text,
            MAP_INDEX => self.map_index = int().and_then(|n| i32::try_from(n).ok()),
            TRY_NUMBER => self.try_number = int().and_then(|n| u32::try_from(n).ok()),
            _ => {}
        }
    }
}

/// The keys as bytes: they are compared, and need not be texts.
const POSITION: &[u8] = key::POSITION.as_bytes();
const STREAM: &[u8] = key::STREAM.as_bytes();
const ATTRIBUTES: &[u8] = key::ATTRIBUTES.as_bytes();
const DAG_ID: &[u8] = key::DAG_ID.as_bytes();
const TASK_ID: &[u8] = key::TASK_ID.as_bytes();
const RUN_ID: &[u8] = key::RUN_ID.as_bytes();
const LOG_ID: &[u8] = key::LOG_ID.as_bytes();
const LOGGER: &[u8] = key::LOGGER.as_bytes();
const MAP_INDEX: &[u8] = key::MAP_INDEX.as_bytes();
const TRY_NUMBER: &[u8] = key::TRY_NUMBER.as_bytes();

/// The kinds of value that our own producers write; texts are not checked yet.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Text(&'a [u8]),
    Int(u64),
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| bad("a text is not UTF-8"))
}

fn value(content: Content<'_>) -> Result<Option<Value<'_>>> {
    let mut fields = Fields(content.bytes()?);
    let mut value = None;
    while let Some((number, content)) = fields.next()? {
        value = match number {
            field::VALUE_STRING => Some(Value::Text(content.bytes()?)),
            field::VALUE_INT => Some(Value::Int(content.varint()?)),
            _ => None,
        };
    }
    Ok(value)
}

fn pair(content: Content<'_>) -> Result<(&[u8], Option<Value<'_>>)> {
    let mut fields = Fields(content.bytes()?);
    let (mut key, mut found) = (&[][..], None);
    while let Some((number, content)) = fields.next()? {
        match number {
            field::PAIR_KEY => key = content.bytes()?,
            field::PAIR_VALUE => found = value(content)?,
            _ => {}
        }
    }
    Ok((key, found))
}

/// Reads a resource's attributes into a source; whether its id is among them.
fn read_resource(mut fields: Fields<'_>, source: &mut Source) -> Result<bool> {
    let mut has_id = false;
    while let Some((number, content)) = fields.next()? {
        if number != field::RESOURCE_ATTRIBUTES {
            continue;
        }
        let (key, Some(Value::Text(value))) = pair(content)? else { continue };
        let value = text(value)?;
        match text(key)? {
            key::SOURCE => {
                let id = HEXLOWER.decode(value.as_bytes()).ok().and_then(|b| <[u8; 16]>::try_from(b).ok());
                let id = id.ok_or_else(|| bad("a source id is not 32 hex digits"))?;
                source.id = SourceId(u128::from_be_bytes(id));
                has_id = true;
            }
            key::COMPONENT => source.component = Some(Component::parse(value)?),
            key::NAMESPACE => source.namespace = Some(value.into()),
            key::POD => source.pod = Some(value.into()),
            key::CONTAINER => source.container = Some(value.into()),
            key::NODE => source.node = Some(value.into()),
            key::PATH => source.path = Some(value.into()),
            _ => {}
        }
    }
    Ok(has_id)
}
