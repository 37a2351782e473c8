//! Own records survive the wire; foreign ones keep what they may.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::level::Level;
use crate::record::{Attributes, Record};
use crate::source::{Position, Source, SourceId, Stream};
use crate::time::Timestamp;

prop_compose! {
    fn a_record()(
        time in any::<i64>(), observed in any::<i64>(), position in any::<u64>(), source in 0_u128..3,
        level in 0_u8..8, message in "\\PC{0,40}", dag in proptest::option::of("[a-z.]{1,10}"),
        map_index in proptest::option::of(-1_i32..9), attr in proptest::option::of("\\PC{0,10}"),
    ) -> Record {
        Record {
            time: Timestamp::from_nanos(time),
            observed: Timestamp::from_nanos(observed),
            position: Position(position),
            source: Arc::new(Source { id: SourceId(source), pod: Some("p".into()), ..Source::default() }),
            level: Level::from_code(level),
            stream: (level > 3).then_some(Stream::Stderr),
            identity: Identity { dag_id: dag.map(Into::into), map_index, ..Identity::default() },
            message: message.into(),
            attributes: attr.map(|a| {
                let map = [("k".to_owned(), a.into())].into_iter().collect();
                Attributes::from_map(&map)
            }).unwrap_or_default(),
        }
    }
}

proptest! {
    #[test]
    fn own_records_survive_the_wire(records in proptest::collection::vec(a_record(), 0..20)) {
        let bytes = encode(&records);
        let rows = decode(&bytes).unwrap();
        prop_assert_eq!(encode_rows(&rows), bytes);
        prop_assert_eq!(rows.to_records(), records);
    }

    #[test]
    fn any_bytes_are_records_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(decode(&bytes));
        drop(decompress(&bytes, 1000));
        drop(foreign::from_json(&bytes));
    }
}

#[test]
fn a_bomb_is_refused_at_the_limit() {
    let bomb = compress(&vec![0; 10 << 20], 3).unwrap();
    assert!(bomb.len() < 10_000);
    let error = decompress(&bomb, 1 << 20).unwrap_err();
    assert_eq!(error.to_string(), "expanded body is larger than 1048576 bytes");
}

#[test]
fn foreign_records_cannot_name_their_source_or_position() {
    let json = br#"{"resourceLogs":[{"resource":{"attributes":[
        {"key":"service.name","value":{"stringValue":"Worker"}},
        {"key":"heliograph.source","value":{"stringValue":"00"}},
        {"key":"tenant","value":{"stringValue":"other"}}]},
        "scopeLogs":[{"scope":{"name":"my.logger"},"logRecords":[{
            "timeUnixNano":"1795471396012523008","severityText":"WARN","body":{"stringValue":"hi"},
            "attributes":[{"key":"heliograph.position","value":{"intValue":"7"}},
                {"key":"airflow.dag_id","value":{"stringValue":"d"}},
                {"key":"n","value":{"kvlistValue":{"values":[{"key":"x","value":{"intValue":"1"}}]}}}]}]}]}]}"#;
    let request = foreign::from_json(json).unwrap();
    let records = foreign::records(request, "token-1", Timestamp::from_nanos(5), || Position(99));
    let [record] = records.as_slice() else { panic!("one record") };
    assert_eq!(record.position, Position(99));
    assert_eq!(record.level, Some(Level::Warning));
    assert_eq!(record.time.as_nanos(), 1_795_471_396_012_523_008);
    assert_eq!(record.source.component.as_ref().unwrap().as_str(), "worker");
    assert_eq!(record.identity.dag_id.as_deref(), Some("d"));
    assert_eq!(record.identity.logger.as_deref(), Some("my.logger"));
    let attributes: serde_json::Value = serde_json::from_str(record.attributes.as_json()).unwrap();
    assert_eq!(
        attributes,
        serde_json::json!({"heliograph.source":"00","tenant":"other","heliograph.position":7,"n":{"x":1}})
    );
}

#[test]
fn a_batch_without_a_source_is_refused() {
    let bytes = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs::default()] }.encode_to_vec();
    assert_eq!(
        decode(&bytes).unwrap_err().to_string(),
        "cannot decode batch: a resource lacks heliograph.source"
    );
}

#[test]
fn what_we_write_is_otlp_to_others() {
    let record = Record {
        time: Timestamp::from_nanos(7),
        observed: Timestamp::from_nanos(8),
        position: Position(9),
        source: Arc::new(Source { id: SourceId(1), pod: Some("p".into()), ..Source::default() }),
        level: Some(Level::Error),
        stream: Some(Stream::Stdout),
        identity: Identity { dag_id: Some("d".into()), map_index: Some(-1), ..Identity::default() },
        message: "text".into(),
        attributes: Attributes::from_json(r#"{"a":1}"#).unwrap(),
    };
    let request = ExportLogsServiceRequest::decode(&*encode(&[record.clone(), record])).unwrap();
    let [group] = request.resource_logs.as_slice() else { panic!("one resource") };
    assert_eq!(group.resource.as_ref().unwrap().attributes.len(), 2);
    let [log, _] = group.scope_logs[0].log_records.as_slice() else { panic!("two records") };
    assert_eq!((log.time_unix_nano, log.observed_time_unix_nano, log.severity_number), (7, 8, 17));
    assert_eq!(log.body.as_ref().unwrap().value, Some(Any::StringValue("text".to_owned())));
    let value = |key: &str| {
        let found = log.attributes.iter().find(|a| a.key == key).unwrap();
        found.value.clone().unwrap().value.unwrap()
    };
    assert_eq!(value(key::POSITION), Any::IntValue(9));
    assert_eq!(value(key::MAP_INDEX), Any::IntValue(-1));
    assert_eq!(value(key::ATTRIBUTES), Any::StringValue("{\"a\":1}".to_owned()));
}

#[test]
fn attributes_are_kept_as_they_came_or_written_anew() {
    let read = |text: &str| Attributes::from_json(text).map(|a| a.as_json().to_owned());
    assert_eq!(read(r#"{"a": [1, {}]}"#).unwrap(), r#"{"a": [1, {}]}"#);
    assert_eq!(read("{\"a\":\n1}").unwrap(), r#"{"a":1}"#);
    assert_eq!(read("{}").unwrap(), "");
    for wrong in ["[1]", "{\"a\":}", "{\"a\":1}x", "1"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(read(&deep).is_err());
}
