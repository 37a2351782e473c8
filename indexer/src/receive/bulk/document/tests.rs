//! Documents of every shipper, and what no shipper should send.

use heliograph_model::tenant::TenantId;
use serde_json::{Value, json};

use super::*;

const RECEIVED: Timestamp = Timestamp::from_nanos(1_800_000_000_000_000_000);

fn add(documents: &mut Documents<'_>, line: &[u8]) -> Result<RecordKey, Fault> {
    documents.add(line, Position(7)).unwrap()
}

/// The record of a document, as the query API gives it, without what we know and without the time of receipt.
#[track_caller]
fn check(line: &str, expected: Value) {
    let mut documents = Documents::new("token:1", RECEIVED, 0);
    let key = add(&mut documents, line.as_bytes()).unwrap_or_else(|fault| panic!("{line}: {fault:?}"));
    let rows = documents.finish();
    let record = rows.get(0).unwrap();
    assert_eq!((record.key(), record.observed), (key, RECEIVED));
    assert_eq!(Attributes::check_json(record.attributes).unwrap(), record.attributes, "{line}");
    let mut found = serde_json::to_value(record.to_api(&TenantId::parse("t").unwrap())).unwrap();
    let members = found.as_object_mut().unwrap();
    members.retain(|name, value| match name.as_str() {
        "id" | "tenant" => false,
        "@timestamp" => *value != json!(RECEIVED.to_string()),
        _ => true,
    });
    assert_eq!(found, expected, "{line}");
}

#[track_caller]
fn check_bad(line: &[u8], what: &str, at: usize) {
    let mut documents = Documents::new("token:1", RECEIVED, 0);
    assert_eq!(add(&mut documents, line).unwrap_err(), Fault { what: what.to_owned().leak(), at });
    assert!(documents.finish().is_empty());
}

#[test]
fn airflow_3() {
    check(
        r#"{"timestamp":"2026-11-23T22:12:31.689287Z","level":"info","event":"hi","ti_id":"01a","map_index":-1,
            "try_number":1,"task_id":"boom","dag_id":"t_fail","run_id":"r","logger":"l","lineno":304,
            "log_id":"t_fail_boom_r_-1_1","offset":1795471396012523009}"#,
        json!({
            "@timestamp": "2026-11-23T22:12:31.689287000Z", "level": "info", "message": "hi", "map_index": -1,
            "try_number": 1, "task_id": "boom", "dag_id": "t_fail", "run_id": "r", "logger": "l",
            "log_id": "t_fail_boom_r_-1_1",
            "attributes": {"ti_id": "01a", "lineno": 304, "offset": 1_795_471_396_012_523_009_i64},
        }),
    );
}

#[test]
fn airflow_2_says_run_and_index_in_the_log_id_alone() {
    check(
        r#"{"asctime":"2026-11-23T22:03:16.012+0000","levelname":"INFO","message":"done","dag_id":"t_fail",
            "task_id":"boom","execution_date":"2026_11_23","try_number":"2","log_id":"t_fail-boom-manual__x--1-2"}"#,
        json!({
            "@timestamp": "2026-11-23T22:03:16.012000000Z", "level": "info", "message": "done",
            "dag_id": "t_fail", "task_id": "boom", "run_id": "manual__x", "map_index": -1, "try_number": 2,
            "log_id": "t_fail-boom-manual__x--1-2", "attributes": {"execution_date": "2026_11_23"},
        }),
    );
}

#[test]
fn fluent_bit() {
    let kubernetes = r#"{"pod_name":"w-0","namespace_name":"astro-a","container_name":"worker","host":"n1",
        "labels":{"component":"worker"}}"#;
    check(
        &format!(
            r#"{{"@timestamp":"2026-11-23T22:00:00.000Z","stream":"stderr","log":"line\n","kubernetes":{kubernetes}}}"#
        ),
        json!({
            "@timestamp": "2026-11-23T22:00:00.000000000Z", "stream": "stderr", "message": "line",
            "component": "worker", "namespace": "astro-a", "pod": "w-0", "container": "worker", "node": "n1",
            "attributes": {"kubernetes": serde_json::from_str::<Value>(kubernetes).unwrap()},
        }),
    );
}

#[test]
fn vector_and_elastic_say_pods_otherwise() {
    let vector = json!({"pod_name": "p", "pod_namespace": "n", "container_name": "c", "pod_node_name": "h",
        "pod_labels": {"component": "Scheduler"}});
    let elastic = json!({"pod": {"name": "p"}, "namespace": "n", "container": {"name": "c"},
        "node": {"name": "h"}, "labels": {"component": "scheduler"}});
    for kubernetes in [vector, elastic] {
        check(
            &json!({"message": "m", "kubernetes": kubernetes}).to_string(),
            json!({
                "message": "m", "component": "scheduler", "namespace": "n", "pod": "p", "container": "c",
                "node": "h", "attributes": {"kubernetes": kubernetes},
            }),
        );
    }
}

#[test]
fn a_documents_own_fields_count_before_the_pods() {
    check(
        r#"{"pod":"own","component":"WORKER","kubernetes":{"pod_name":"other","host":"n"}}"#,
        json!({
            "message": "", "component": "worker", "pod": "own", "node": "n",
            "attributes": {"kubernetes": {"pod_name": "other", "host": "n"}},
        }),
    );
}

#[test]
fn what_the_query_api_gave_comes_back() {
    let record = json!({
        "@timestamp": "2026-11-23T22:00:00.000000001Z", "message": "m", "level": "critical",
        "component": "triggerer", "namespace": "n", "pod": "p", "container": "c", "node": "h",
        "stream": "stdout", "dag_id": "d", "task_id": "t", "run_id": "r", "map_index": 3, "try_number": 2,
        "log_id": "opaque", "logger": "l", "attributes": {"a": {"b": [1, 2]}, "c": null},
    });
    check(&record.to_string(), record);
}

#[test]
fn times() {
    let check = |value: Value, expected: &str| {
        check(&json!({"timestamp": value}).to_string(), json!({"@timestamp": expected, "message": ""}));
    };
    check(json!("2026-11-23T22:00:00.123456789+02:00"), "2026-11-23T20:00:00.123456789Z");
    check(json!("2026-11-23 22:00:00,5"), "2026-11-23T22:00:00.500000000Z");
    check(json!(1_795_471_214_500_i64), "2026-11-23T22:00:14.500000000Z");
    check(json!(1_795_471_214_500_000_007_i64), "2026-11-23T22:00:14.500000007Z");
    check(json!(1_795_471_214.25), "2026-11-23T22:00:14.250000000Z");
}

#[test]
fn what_cannot_be_read_stays_an_attribute() {
    let odd = json!({
        "@timestamp": "yesterday", "level": "Level None", "stream": "third", "message": 7, "pod": ["p"],
        "component": "no component!", "dag_id": {"a": 1}, "try_number": "many", "container": "", "name": true,
        "node": "n".repeat(2000), "attributes": 5,
    });
    check(&odd.to_string(), json!({"message": "", "attributes": odd}));
    let object = json!({"event": {"dataset": "x"}, "log": {"offset": 5}, "msg": "text"});
    check(
        &object.to_string(),
        json!({"message": "text", "attributes": {"event": {"dataset": "x"}, "log": {"offset": 5}}}),
    );
}

#[test]
fn the_first_name_counts_and_the_others_stay() {
    check(
        r#"{"msg":"b","event":"a","ts":"2026-11-23T22:00:00Z","@timestamp":"2026-11-24T22:00:00Z"}"#,
        json!({
            "@timestamp": "2026-11-24T22:00:00.000000000Z", "message": "a",
            "attributes": {"ts": "2026-11-23T22:00:00Z", "msg": "b"},
        }),
    );
    check(r#"{"message":"m","name":"l"}"#, json!({"message": "m", "logger": "l"}));
    check(r#"{"event":"e","name":"n"}"#, json!({"message": "e", "attributes": {"name": "n"}}));
    check(r#"{"message":"a","message":"b"}"#, json!({"message": "b"}));
}

#[test]
fn nothing_in_a_document_says_whose_it_is() {
    check(
        r#"{"tenant":"b","id":"x","_index":"c"}"#,
        json!({
            "message": "", "attributes": {"tenant": "b", "id": "x", "_index": "c"},
        }),
    );
}

#[test]
fn exceptions_are_found_by_words() {
    let error = json!([{"exc_type": "ValueError", "exc_value": "no", "frames": []}]);
    check(
        &json!({"event": "failed", "error_detail": error}).to_string(),
        json!({"message": "failed\nValueError: no", "attributes": {"error_detail": error}}),
    );
}

#[test]
fn escapes() {
    check(r#"{"message":"a\"\\\/\n\t\u00e9\ud83d\ude00"}"#, json!({"message": "a\"\\/\n\té😀"}));
    check(
        r#"{"message":"\ud83d!","k":"\ude00\ud83d\ude00"}"#,
        json!({
            "message": "\u{fffd}!", "attributes": {"k": "\u{fffd}😀"},
        }),
    );
    check(r#"{"a b":"\u001b[1m","":1}"#, json!({"message": "", "attributes": {"a b": "\u{1b}[1m", "": 1}}));
}

#[test]
fn values_are_copied_as_they_are_written() {
    let mut documents = Documents::new("token:1", RECEIVED, 0);
    let line = r#"{ "n" : 1.50e+2 , "o":{"x": [1,  2]},"s":"\u00e9", "attributes":{ "in":0 } }"#;
    add(&mut documents, line.as_bytes()).unwrap();
    let rows = documents.finish();
    let kept = r#"{"n":1.50e+2,"o":{"x": [1,  2]},"s":"\u00e9","in":0}"#;
    assert_eq!(rows.get(0).unwrap().attributes, kept);
}

#[test]
fn what_is_too_large_is_cut() {
    let mut documents = Documents::new("token:1", RECEIVED, 0);
    let long = "x".repeat(2 << 20);
    add(&mut documents, json!({"message": long, "k": long}).to_string().as_bytes()).unwrap();
    // Many values, each of which would take fifty times its text if it were made.
    let list = format!(r#"{{"kubernetes":[{0}1],"exception":[{0}1]}}"#, "1,".repeat(1 << 20));
    add(&mut documents, list.as_bytes()).unwrap();
    let rows = documents.finish();
    let record = rows.get(0).unwrap();
    assert!(record.message.len() < (1 << 20) + 100 && record.message.ends_with("[cut by heliograph]"));
    assert_eq!(record.attributes, rows.get(1).unwrap().attributes);
    assert!(record.attributes.contains("heliograph.cut"));
}

#[test]
fn what_is_no_document_says_why() {
    check_bad(b"[1]", "not a JSON object", 0);
    check_bad(b"plain text", "not a JSON object", 0);
    check_bad(br#"{"a":1} {"b":2}"#, "more than one JSON object", 8);
    check_bad(br#"{"a":1"#, "a comma or the end of an object is missing", 6);
    check_bad(br#"{"a":'x'}"#, "a value is missing", 5);
    check_bad(b"{\"a\":\"\xff\"}", "not UTF-8", 6);
    let deep = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    check_bad(deep(20).as_bytes(), "nested deeper than 20 levels", 5 + 19);
    check_bad(deep(100_000).as_bytes(), "nested deeper than 20 levels", 5 + 19);
    check(&deep(19), json!({"message": "", "attributes": serde_json::from_str::<Value>(&deep(19)).unwrap()}));
}

#[test]
fn shared_parts_are_made_once() {
    let mut documents = Documents::new("token:1", RECEIVED, 0);
    for i in 0..300 {
        let line = json!({"pod": format!("p{}", i % 3), "dag_id": format!("d{}", i / 100), "n": i});
        add(&mut documents, line.to_string().as_bytes()).unwrap();
    }
    assert!(documents.extra_bytes() < 300 * ROW_BYTES + 6 * 1000);
    let rows = documents.finish();
    assert_eq!((rows.len(), rows.sources().len(), rows.identities().len()), (300, 3, 3));
    assert_eq!(rows.get(299).unwrap().source.pod.as_deref(), Some("p2"));
    assert_eq!(rows.get(299).unwrap().identity.dag_id.as_deref(), Some("d2"));
}

#[test]
fn sources_of_two_senders_or_of_two_names_are_two() {
    let id = |producer: &str, line: &str| {
        let mut documents = Documents::new(producer, RECEIVED, 0);
        add(&mut documents, line.as_bytes()).unwrap().source
    };
    let ids = [
        id("token:1", "{}"),
        id("token:2", "{}"),
        id("token:1", r#"{"pod":"a"}"#),
        id("token:1", r#"{"container":"a"}"#),
        id("token:1", r#"{"pod":"a\", \"b"}"#),
        id("token:1", r#"{"pod":"a","container":"b"}"#),
    ];
    let distinct: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
    assert_eq!(id("token:1", r#"{"x":1,"pod":"a"}"#), ids[2]);
}
