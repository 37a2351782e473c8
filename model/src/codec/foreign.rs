//! OTLP logs as others send them: any resource, any attributes, any body.
//!
//! Tenant, source id and position come from the receiver; keys that only our own producers may use are left
//! among the plain attributes, where they mean nothing.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use serde_json::{Map, Value};

use super::{key, set_identity};
use crate::airflow::Identity;
use crate::error::{Error, Result};
use crate::level::Level;
use crate::record::{Attributes, FIELD_BYTES_MAX, MESSAGE_BYTES_MAX, Record, cut};
use crate::source::{Component, Position, Source, SourceId, Stream};
use crate::time::Timestamp;

/// How deep nested values are kept; deeper ones become `null`.
const DEPTH_MAX: usize = 20;

/// Reads an OTLP request in protobuf.
pub fn from_protobuf(bytes: &[u8]) -> Result<ExportLogsServiceRequest> {
    ExportLogsServiceRequest::decode(bytes)
        .map_err(|e| Error::Decode { what: "OTLP protobuf", reason: e.to_string() })
}

/// Reads an OTLP request in JSON (proto3 JSON mapping).
pub fn from_json(bytes: &[u8]) -> Result<ExportLogsServiceRequest> {
    serde_json::from_slice(bytes).map_err(|e| Error::Decode { what: "OTLP JSON", reason: e.to_string() })
}

/// The request's records. `producer` names the credential; `next_position` gives rising numbers.
pub fn records(
    request: ExportLogsServiceRequest,
    producer: &str,
    received: Timestamp,
    mut next_position: impl FnMut() -> Position,
) -> Vec<Record> {
    let mut out = Vec::new();
    for group in request.resource_logs {
        let (source, rest) = source(group.resource.unwrap_or_default().attributes, producer);
        let source = Arc::new(source);
        for scope in group.scope_logs {
            let logger = scope.scope.map(|s| s.name).filter(|n| !n.is_empty());
            for log in scope.log_records {
                let mut record = record(log, &source, &rest, received, next_position());
                if record.identity.logger.is_none() {
                    record.identity.logger =
                        logger.as_deref().map(|l| cut(l, FIELD_BYTES_MAX).as_ref().into());
                }
                out.push(record);
            }
        }
    }
    out
}

fn source(attributes: Vec<KeyValue>, producer: &str) -> (Source, Map<String, Value>) {
    let mut source = Source::default();
    let mut rest = Map::new();
    for KeyValue { key, value, .. } in attributes {
        let value = json(value, 0);
        let boxed = |v: &Value| v.as_str().map(|s| Box::from(cut(s, FIELD_BYTES_MAX).as_ref()));
        match key.as_str() {
            key::COMPONENT | "service.name" if source.component.is_none() => {
                source.component =
                    value.as_str().and_then(|s| Component::parse(&s.to_ascii_lowercase()).ok());
                if source.component.is_none() {
                    rest.insert(key, value);
                }
            }
            key::NAMESPACE => source.namespace = boxed(&value),
            key::POD => source.pod = boxed(&value),
            key::CONTAINER => source.container = boxed(&value),
            key::NODE | "host.name" => source.node = boxed(&value),
            key::PATH => source.path = boxed(&value),
            _ => {
                rest.insert(key, value);
            }
        }
    }
    let name = format!(
        "{:?}",
        (&source.component, &source.namespace, &source.pod, &source.container, &source.node, &source.path)
    );
    source.id = SourceId::of(producer, &name);
    (source, rest)
}

fn record(
    log: LogRecord,
    source: &Arc<Source>,
    resource_rest: &Map<String, Value>,
    received: Timestamp,
    position: Position,
) -> Record {
    let mut identity = Identity::default();
    let mut stream = None;
    let mut rest = resource_rest.clone();
    for KeyValue { key, value, .. } in log.attributes {
        if key == key::STREAM {
            stream = json(value, 0).as_str().and_then(Stream::parse);
        } else if let Some(value) = value.and_then(|v| v.value)
            && !set_identity(&mut identity, &key, &value)
        {
            rest.insert(key, json(Some(AnyValue { value: Some(value) }), 0));
        }
    }
    for (name, id) in [("trace_id", &log.trace_id), ("span_id", &log.span_id)] {
        if !id.is_empty() {
            rest.insert(name.to_owned(), data_encoding::HEXLOWER.encode(id).into());
        }
    }
    let message = match log.body.and_then(|b| b.value) {
        Some(Any::StringValue(text)) => text,
        Some(value) => json(Some(AnyValue { value: Some(value) }), 0).to_string(),
        None => String::new(),
    };
    let nanos = [log.time_unix_nano, log.observed_time_unix_nano].into_iter().find(|n| *n != 0);
    Record {
        time: nanos.and_then(|n| i64::try_from(n).ok()).map_or(received, Timestamp::from_nanos),
        observed: received,
        position,
        source: Arc::clone(source),
        level: Level::from_otlp_number(log.severity_number).or_else(|| Level::parse(&log.severity_text)),
        stream,
        identity,
        message: cut(&message, MESSAGE_BYTES_MAX).into(),
        attributes: Attributes::from_map(&rest),
    }
}

fn json(value: Option<AnyValue>, depth: usize) -> Value {
    let Some(value) = value.and_then(|v| v.value) else { return Value::Null };
    match value {
        Any::StringValue(s) => s.into(),
        Any::BoolValue(b) => b.into(),
        Any::IntValue(n) => n.into(),
        Any::DoubleValue(n) => n.into(),
        Any::BytesValue(b) => data_encoding::BASE64.encode(&b).into(),
        Any::ArrayValue(_) | Any::KvlistValue(_) if depth >= DEPTH_MAX => Value::Null,
        Any::ArrayValue(list) => list.values.into_iter().map(|v| json(Some(v), depth + 1)).collect(),
        Any::KvlistValue(list) => {
            list.values.into_iter().map(|KeyValue { key, value, .. }| (key, json(value, depth + 1))).collect()
        }
        _ => Value::Null,
    }
}
