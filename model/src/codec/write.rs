//! Records → OTLP bytes.

use std::sync::Arc;

use data_encoding::HEXLOWER;

use super::key;
use super::proto::{field, put_bytes, put_fixed64, put_number, put_varint, varint_bytes};
use crate::level::Level;
use crate::record::{Record, RecordRef};
use crate::rows::Rows;
use crate::source::{Component, Source, Stream};

/// Records as an OTLP request. Neighbours of one source share a resource.
pub fn encode(records: &[Record]) -> Vec<u8> {
    encode_all(records.iter().map(Record::as_ref))
}

/// The same of records that lie close together.
pub fn encode_rows(rows: &Rows) -> Vec<u8> {
    encode_all(rows.iter())
}

fn encode_all<'a>(records: impl Iterator<Item = RecordRef<'a>>) -> Vec<u8> {
    let mut records = records.peekable();
    let (mut out, mut group, mut record_bytes) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(first) = records.next() {
        group.clear();
        let mut record = first;
        loop {
            record_bytes.clear();
            put_record(&mut record_bytes, &record);
            put_bytes(&mut group, field::SCOPE_LOGS_LOG_RECORDS, &record_bytes);
            match records.next_if(|next| is_same(next.source, first.source)) {
                Some(next) => record = next,
                None => break,
            }
        }
        let resource = resource(first.source);
        let length = 2 + varint_bytes(resource.len() as u64) + varint_bytes(group.len() as u64);
        put_varint(&mut out, field::REQUEST_RESOURCE_LOGS << 3 | 2);
        put_varint(&mut out, (length + resource.len() + group.len()) as u64);
        put_bytes(&mut out, field::RESOURCE_LOGS_RESOURCE, &resource);
        put_bytes(&mut out, field::RESOURCE_LOGS_SCOPE_LOGS, &group);
    }
    out
}

fn is_same(a: &Arc<Source>, b: &Arc<Source>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

fn resource(source: &Source) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |key, value: &str| put_text_pair(&mut out, field::RESOURCE_ATTRIBUTES, key, value);
    put(key::SOURCE, &HEXLOWER.encode(&source.id.0.to_be_bytes()));
    let named = [
        (key::COMPONENT, source.component.as_ref().map(Component::as_str)),
        (key::NAMESPACE, source.namespace.as_deref()),
        (key::POD, source.pod.as_deref()),
        (key::CONTAINER, source.container.as_deref()),
        (key::NODE, source.node.as_deref()),
        (key::PATH, source.path.as_deref()),
    ];
    named.into_iter().for_each(|(key, value)| value.into_iter().for_each(|value| put(key, value)));
    out
}

fn put_record(out: &mut Vec<u8>, record: &RecordRef<'_>) {
    let identity = record.identity;
    put_fixed64(out, field::LOG_TIME, record.time.as_nanos().cast_unsigned());
    if let Some(level) = record.level {
        put_number(out, field::LOG_SEVERITY_NUMBER, otlp_number(level));
    }
    let body = 1 + varint_bytes(record.message.len() as u64) + record.message.len();
    put_varint(out, field::LOG_BODY << 3 | 2);
    put_varint(out, body as u64);
    put_bytes(out, field::VALUE_STRING, record.message.as_bytes());
    put_int_pair(out, key::POSITION, record.position.0);
    let texts = [
        (key::STREAM, record.stream.map(Stream::as_str)),
        (key::DAG_ID, identity.dag_id.as_deref()),
        (key::TASK_ID, identity.task_id.as_deref()),
        (key::RUN_ID, identity.run_id.as_deref()),
        (key::LOG_ID, identity.log_id.as_deref()),
        (key::LOGGER, identity.logger.as_deref()),
        (key::ATTRIBUTES, Some(record.attributes).filter(|a| !a.is_empty())),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            put_text_pair(out, field::LOG_ATTRIBUTES, key, value);
        }
    }
    if let Some(n) = identity.map_index {
        put_int_pair(out, key::MAP_INDEX, i64::from(n).cast_unsigned());
    }
    if let Some(n) = identity.try_number {
        put_int_pair(out, key::TRY_NUMBER, n.into());
    }
    put_fixed64(out, field::LOG_OBSERVED_TIME, record.observed.as_nanos().cast_unsigned());
}

fn otlp_number(level: Level) -> u64 {
    u64::from(level.otlp_number().unsigned_abs())
}

/// A key with a text: `KeyValue { key, AnyValue { string_value } }`.
fn put_text_pair(out: &mut Vec<u8>, number: u64, key: &str, text: &str) {
    let value = 1 + varint_bytes(text.len() as u64) + text.len();
    put_pair_head(out, number, key, value);
    put_bytes(out, field::VALUE_STRING, text.as_bytes());
}

/// A key with a whole number: `KeyValue { key, AnyValue { int_value } }`.
fn put_int_pair(out: &mut Vec<u8>, key: &str, n: u64) {
    put_pair_head(out, field::LOG_ATTRIBUTES, key, 1 + varint_bytes(n));
    put_number(out, field::VALUE_INT, n);
}

/// All of a pair but its value, which has so many bytes.
fn put_pair_head(out: &mut Vec<u8>, number: u64, key: &str, value_bytes: usize) {
    let key_field = 1 + varint_bytes(key.len() as u64) + key.len();
    let value_field = 1 + varint_bytes(value_bytes as u64) + value_bytes;
    put_varint(out, number << 3 | 2);
    put_varint(out, (key_field + value_field) as u64);
    put_bytes(out, field::PAIR_KEY, key.as_bytes());
    put_varint(out, field::PAIR_VALUE << 3 | 2);
    put_varint(out, value_bytes as u64);
}
