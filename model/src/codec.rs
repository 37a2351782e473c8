//! Records as OTLP logs (protobuf), and zstd around them.
//!
//! Our own producers write each source as one resource and each record with its position, so that the bytes
//! of a batch can lie in the spool, go over the wire and lie in a write-ahead object without being made anew.
//! What others send is read by [`foreign`]: it may say much about itself, but not whose it is.

pub mod foreign;

use std::io::Read;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::airflow::Identity;
use crate::error::{Error, Result};
use crate::level::Level;
use crate::record::{Attributes, Record};
use crate::source::{Component, Position, Source, SourceId, Stream};
use crate::time::Timestamp;

/// Attribute keys, from the OpenTelemetry semantic conventions where those have one.
pub mod key {
    /// Resource: hex of the [`crate::source::SourceId`]. Ours only.
    pub const SOURCE: &str = "heliograph.source";
    /// Resource: the component.
    pub const COMPONENT: &str = "heliograph.component";
    /// Resource: namespace.
    pub const NAMESPACE: &str = "k8s.namespace.name";
    /// Resource: pod.
    pub const POD: &str = "k8s.pod.name";
    /// Resource: container.
    pub const CONTAINER: &str = "k8s.container.name";
    /// Resource: node.
    pub const NODE: &str = "k8s.node.name";
    /// Resource: the followed file.
    pub const PATH: &str = "log.file.path";
    /// Record: stdout or stderr.
    pub const STREAM: &str = "log.iostream";
    /// Record: the position, an integer. Ours only.
    pub const POSITION: &str = "heliograph.position";
    /// Record: all attributes as the text of one JSON object. Ours only.
    pub const ATTRIBUTES: &str = "heliograph.attributes";
    /// Record: the logger.
    pub const LOGGER: &str = "airflow.logger";
    /// Record: DAG.
    pub const DAG_ID: &str = "airflow.dag_id";
    /// Record: task.
    pub const TASK_ID: &str = "airflow.task_id";
    /// Record: DAG run.
    pub const RUN_ID: &str = "airflow.run_id";
    /// Record: map index.
    pub const MAP_INDEX: &str = "airflow.map_index";
    /// Record: try number.
    pub const TRY_NUMBER: &str = "airflow.try_number";
    /// Record: Airflow's key of the try's log.
    pub const LOG_ID: &str = "airflow.log_id";
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Any::StringValue(value.to_owned()))
}

fn int(key: &str, value: i64) -> KeyValue {
    pair(key, Any::IntValue(value))
}

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Records as an OTLP request. Neighbours of one source share a resource.
pub fn encode(records: &[Record]) -> Vec<u8> {
    let resource_logs = records
        .chunk_by(|a, b| Arc::ptr_eq(&a.source, &b.source) || a.source == b.source)
        .filter_map(|group| {
            let source = &group.first()?.source;
            Some(ResourceLogs {
                resource: Some(resource(source)),
                scope_logs: vec![ScopeLogs {
                    log_records: group.iter().map(log_record).collect(),
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            })
        })
        .collect();
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

fn resource(source: &Source) -> Resource {
    let mut attributes = vec![text(key::SOURCE, &HEXLOWER.encode(&source.id.0.to_be_bytes()))];
    let named = [
        (key::COMPONENT, source.component.as_ref().map(Component::as_str)),
        (key::NAMESPACE, source.namespace.as_deref()),
        (key::POD, source.pod.as_deref()),
        (key::CONTAINER, source.container.as_deref()),
        (key::NODE, source.node.as_deref()),
        (key::PATH, source.path.as_deref()),
    ];
    attributes.extend(named.into_iter().filter_map(|(key, value)| Some(text(key, value?))));
    Resource { attributes, ..Resource::default() }
}

fn log_record(record: &Record) -> LogRecord {
    let identity = &record.identity;
    let mut attributes = vec![int(key::POSITION, record.position.0.cast_signed())];
    let texts = [
        (key::STREAM, record.stream.map(Stream::as_str)),
        (key::DAG_ID, identity.dag_id.as_deref()),
        (key::TASK_ID, identity.task_id.as_deref()),
        (key::RUN_ID, identity.run_id.as_deref()),
        (key::LOG_ID, identity.log_id.as_deref()),
        (key::LOGGER, identity.logger.as_deref()),
    ];
    attributes.extend(texts.into_iter().filter_map(|(key, value)| Some(text(key, value?))));
    attributes.extend(identity.map_index.map(|n| int(key::MAP_INDEX, n.into())));
    attributes.extend(identity.try_number.map(|n| int(key::TRY_NUMBER, n.into())));
    if !record.attributes.is_empty() {
        attributes.push(text(key::ATTRIBUTES, record.attributes.as_json()));
    }
    LogRecord {
        time_unix_nano: record.time.as_nanos().cast_unsigned(),
        observed_time_unix_nano: record.observed.as_nanos().cast_unsigned(),
        severity_number: record.level.map_or(0, Level::otlp_number),
        body: Some(AnyValue { value: Some(Any::StringValue(record.message.to_string())) }),
        attributes,
        ..LogRecord::default()
    }
}

/// Reads what [`encode`] wrote. Only for bytes of our own producers: they say their source and position.
pub fn decode(bytes: &[u8]) -> Result<Vec<Record>> {
    let bad = |reason: &str| Error::Decode { what: "batch", reason: reason.to_owned() };
    let request = ExportLogsServiceRequest::decode(bytes).map_err(|e| bad(&e.to_string()))?;
    let mut records = Vec::new();
    for group in request.resource_logs {
        let source = Arc::new(source(group.resource.unwrap_or_default().attributes)?);
        for log in group.scope_logs.into_iter().flat_map(|s| s.log_records) {
            records.push(own_record(log, &source)?);
        }
    }
    Ok(records)
}

fn source(attributes: Vec<KeyValue>) -> Result<Source> {
    let bad = |reason: &str| Error::Decode { what: "batch", reason: reason.to_owned() };
    let mut source = Source::default();
    let mut has_id = false;
    for KeyValue { key, value, .. } in attributes {
        let Some(Any::StringValue(value)) = value.and_then(|v| v.value) else { continue };
        match key.as_str() {
            key::SOURCE => {
                let id = HEXLOWER.decode(value.as_bytes()).ok().and_then(|b| <[u8; 16]>::try_from(b).ok());
                source.id =
                    SourceId(u128::from_be_bytes(id.ok_or_else(|| bad("a source id is not 32 hex digits"))?));
                has_id = true;
            }
            key::COMPONENT => source.component = Some(Component::parse(&value)?),
            key::NAMESPACE => source.namespace = Some(value.into()),
            key::POD => source.pod = Some(value.into()),
            key::CONTAINER => source.container = Some(value.into()),
            key::NODE => source.node = Some(value.into()),
            key::PATH => source.path = Some(value.into()),
            _ => {}
        }
    }
    if has_id { Ok(source) } else { Err(bad("a resource lacks heliograph.source")) }
}

fn own_record(log: LogRecord, source: &Arc<Source>) -> Result<Record> {
    let bad = |reason: &str| Error::Decode { what: "batch", reason: reason.to_owned() };
    let mut identity = Identity::default();
    let (mut position, mut stream, mut attributes) = (None, None, Attributes::default());
    for KeyValue { key, value, .. } in log.attributes {
        match (key.as_str(), value.and_then(|v| v.value)) {
            (key::POSITION, Some(Any::IntValue(n))) => position = Some(Position(n.cast_unsigned())),
            (key::STREAM, Some(Any::StringValue(s))) => stream = Stream::parse(&s),
            (key::ATTRIBUTES, Some(Any::StringValue(s))) => attributes = Attributes::from_json(&s)?,
            (key, Some(value)) => {
                set_identity(&mut identity, key, &value);
            }
            (_, None) => {}
        }
    }
    let Some(Any::StringValue(message)) = log.body.and_then(|b| b.value) else {
        return Err(bad("a record's body is not a string"));
    };
    Ok(Record {
        time: Timestamp::from_nanos(log.time_unix_nano.cast_signed()),
        observed: Timestamp::from_nanos(log.observed_time_unix_nano.cast_signed()),
        position: position.ok_or_else(|| bad("a record lacks heliograph.position"))?,
        source: Arc::clone(source),
        level: Level::from_otlp_number(log.severity_number),
        stream,
        identity,
        message: message.into(),
        attributes,
    })
}

/// Sets the identity field that `key` names; says whether there is one.
fn set_identity(identity: &mut Identity, key: &str, value: &Any) -> bool {
    let int = match value {
        Any::IntValue(n) => Some(*n),
        Any::StringValue(s) => s.parse().ok(),
        _ => None,
    };
    if let Any::StringValue(s) = value {
        let s = || Some(Arc::from(crate::record::cut(s, crate::record::FIELD_BYTES_MAX).as_ref()));
        match key {
            key::DAG_ID => identity.dag_id = s(),
            key::TASK_ID => identity.task_id = s(),
            key::RUN_ID => identity.run_id = s(),
            key::LOG_ID => identity.log_id = s(),
            key::LOGGER => identity.logger = s(),
            key::MAP_INDEX | key::TRY_NUMBER => {}
            _ => return false,
        }
    }
    match (key, int) {
        (key::MAP_INDEX, Some(n)) => identity.map_index = i32::try_from(n).ok(),
        (key::TRY_NUMBER, Some(n)) => identity.try_number = u32::try_from(n).ok(),
        (key::DAG_ID | key::TASK_ID | key::RUN_ID | key::LOG_ID | key::LOGGER, _) => {}
        _ => return false,
    }
    true
}

/// Compresses with zstd.
pub fn compress(bytes: &[u8], level: i32) -> Result<Vec<u8>> {
    zstd::bulk::compress(bytes, level)
        .map_err(|e| Error::Decode { what: "bytes to compress", reason: e.to_string() })
}

/// Expands zstd to at most `limit` bytes, with a window of at most 128 MiB, however much the input claims.
pub fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>> {
    let bad = |e: std::io::Error| Error::Decode { what: "zstd", reason: e.to_string() };
    let mut decoder = zstd::stream::read::Decoder::new(bytes).map_err(bad)?;
    decoder.window_log_max(27).map_err(bad)?;
    let mut out = Vec::with_capacity(limit.min(bytes.len().saturating_mul(4)));
    decoder.take(limit as u64 + 1).read_to_end(&mut out).map_err(bad)?;
    if out.len() > limit { Err(Error::TooLarge { what: "expanded body", limit }) } else { Ok(out) }
}

#[cfg(test)]
mod tests;
