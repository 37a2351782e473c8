//! Whole bodies: what is stored, what is said, what is refused.

use heliograph_model::codec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const LIMITS: Limits = Limits { body: 1 << 20, expanded: 1 << 20 };

fn take(body: &[u8]) -> Result<(Decoded, Items)> {
    let batch = Batch {
        tenant: TenantId::parse("t").unwrap(),
        producer: "token:1".to_owned(),
        received: Timestamp::from_nanos(1_800_000_000_000_000_000),
        index: index(None)?,
    };
    let redaction = Redaction { redactor: None, tenant: batch.tenant.clone() };
    let body = Bytes::copy_from_slice(body);
    decode(&batch, &Positions::default(), Encoding::Identity, &body, LIMITS, &redaction)
}

/// The messages that are stored, and the items without the ids that we made.
#[track_caller]
fn check(body: &str, messages: &[&str], items: Value) {
    let (decoded, found) = take(body.as_bytes()).unwrap();
    let stored: Vec<_> = decoded.rows.iter().map(|record| record.message).collect();
    assert_eq!(stored, messages);
    let mut said: Value = serde_json::from_slice(&[b"[", &found.bytes[..], b"]"].concat()).unwrap();
    for item in said.as_array_mut().unwrap() {
        let body = item.as_object_mut().unwrap().values_mut().next().unwrap().as_object_mut().unwrap();
        assert_eq!(body.keys().take(3).collect::<Vec<_>>(), ["_index", "_id", "status"]);
        if body["_id"].as_str().unwrap().len() > 20 {
            body.remove("_id");
        }
    }
    assert_eq!(said, items);
    assert_eq!(found.has_errors, found.bytes.windows(7).any(|w| w == b"\"error\""));
    // What lies in the write-ahead object is the same.
    let again = codec::decode(&codec::decompress(&decoded.payload, 1 << 20).unwrap()).unwrap();
    assert_eq!(again.to_records(), decoded.rows.to_records());
    assert!(decoded.rows.iter().zip(decoded.rows.iter().skip(1)).all(|(a, b)| a.position < b.position));
}

#[track_caller]
fn check_refused(body: impl AsRef<[u8]>, says: &str) {
    let error = take(body.as_ref()).unwrap_err();
    assert!(error.to_string().starts_with(says), "{error}");
}

#[test]
fn documents_keep_their_order_and_ids_are_said_again() {
    check(
        "{\"index\":{\"_index\":\"a\"}}\n{\"message\":\"1\"}\n{\"create\":{\"_id\":\"x\"}}\n{\"message\":\"2\"}\n\
         {\"create\":{\"_id\":5}}\n{\"message\":\"3\"}",
        &["1", "2", "3"],
        json!([
            {"index": {"_index": "a", "status": 201}},
            {"create": {"_index": "heliograph", "_id": "x", "status": 201}},
            {"create": {"_index": "heliograph", "_id": "5", "status": 201}},
        ]),
    );
}

#[test]
fn rsyslog_leaves_lines_empty_and_ids_too() {
    check(
        "{\"create\":{\"_index\": \"syslog\",\"_id\":\"\"}}\n{\"message\":\"1\"}\n\n\
         {\"create\":{\"_index\": \"syslog\",\"_id\":\"\"}}\r\n{\"message\":\"2\"}\r\n\r\n",
        &["1", "2"],
        json!([
            {"create": {"_index": "syslog", "status": 201}},
            {"create": {"_index": "syslog", "status": 201}},
        ]),
    );
}

#[test]
fn one_bad_document_does_not_hurt_the_others() {
    let delete = "a delete: logs are never changed";
    let update = "an update: logs are never changed; send create";
    let reason = "line 3, byte 2: a key in double quotes is missing";
    let error = |kind: &str, reason: &str| json!({"type": kind, "reason": reason});
    check(
        "{\"create\":{}}\n\n{oops}\n{\"create\":{}}\n{\"message\":\"ok\"}\n{\"delete\":{\"_id\":\"1\"}}\n\
         {\"update\":{\"_id\":\"2\"}}\n{\"doc\":{}}\n{\"create\":{}}\n{\"message\":\"ok too\"}\n",
        &["ok", "ok too"],
        json!([
            {"create": {"_index": "heliograph", "_id": "", "status": 400, "error": error(UNREADABLE, reason)}},
            {"create": {"_index": "heliograph", "status": 201}},
            {"delete": {"_index": "heliograph", "_id": "1", "status": 400, "error": error(ILLEGAL, delete)}},
            {"update": {"_index": "heliograph", "_id": "2", "status": 400, "error": error(ILLEGAL, update)}},
            {"create": {"_index": "heliograph", "status": 201}},
        ]),
    );
}

#[test]
fn the_id_that_is_made_is_the_records() {
    let (decoded, items) = take(b"{\"create\":{}}\n{}\n").unwrap();
    let id = RecordId::new(&TenantId::parse("t").unwrap(), decoded.rows.get(0).unwrap().key());
    let said = format!("{{\"create\":{{\"_index\":\"heliograph\",\"_id\":\"{id}\",\"status\":201}}}}");
    assert_eq!(items.bytes, said);
}

#[test]
fn what_is_no_bulk_body_says_so() {
    check_refused("", "line 1: there is no action: send {\"create\":{}}");
    check_refused("\n \n", "line 2: there is no action");
    check_refused("hello", "line 1: the action is not a whole JSON object (not a JSON object, byte 1): send");
    check_refused("{\"message\":\"x\"}\n{\"message\":\"y\"}\n", "line 1: an action is one of index, create,");
    check_refused("[\n{}\n]", "line 1: the action is not a whole JSON object");
    check_refused("{\n\"create\":{}}", "line 1: the action is not a whole JSON object");
    check_refused("{\"create\":{}}\n{}\n\n{\"create\":{}}\n", "line 4: the action lacks its document");
    check_refused([0xff; 10], "line 1: the action is not UTF-8");
}

#[test]
fn a_megabyte_that_would_take_many_is_refused() {
    check_refused("{\"create\":{}}\n{}\n".repeat(60_000), "the memory that the documents take");
    check_refused("{\"delete\":{}}\n".repeat(60_000), "the memory that the documents take");
    let mut different = String::new();
    for i in 0..30_000 {
        different.push_str(&format!("{{\"index\":{{}}}}\n{{\"pod\":\"{i}\"}}\n"));
    }
    check_refused(&different, "the memory that the documents take");
    let stacks = format!("[{{\"exc_type\":\"a\"}}{}]", ",{}".repeat(1_000));
    let exceptions = format!("{{\"index\":{{}}}}\n{{\"exception\":{stacks}}}\n");
    check_refused(exceptions.repeat(300), "the memory that the documents take");
    let ordinary = format!("{{\"index\":{{}}}}\n{{\"message\":\"{}\"}}\n", "m".repeat(150));
    assert!(take(ordinary.repeat(5_000).as_bytes()).is_ok());
}

#[test]
fn indexes_are_said_again_and_bounded() {
    assert_eq!(&*index(Some("a\"b")).unwrap(), r#""a\"b""#);
    assert!(index(Some(&"x".repeat(256))).is_err());
}

proptest! {
    #[test]
    fn any_bytes_have_an_answer(bytes: Vec<u8>, lines in prop::collection::vec(
        prop_oneof![
            Just("{\"create\":{}}".to_owned()), Just("{\"delete\":{}}".to_owned()), Just("\u{1}".to_owned()),
            "\\{\"(message|pod|level|@timestamp|kubernetes)\":[\"0-9\\[{]{0,3}\\PC{0,9}[\"}]{0,3}\\}", "\\PC*",
        ], 0..9))
    {
        drop(take(&bytes));
        if let Ok((decoded, items)) = take(lines.join("\n").as_bytes()) {
            let said: Vec<Value> = serde_json::from_slice(&[b"[", &items.bytes[..], b"]"].concat()).unwrap();
            let stored = said.iter().filter(|item| item.to_string().contains("\"status\":201")).count();
            prop_assert_eq!(stored, decoded.rows.len());
            codec::decode(&codec::decompress(&decoded.payload, 1 << 20).unwrap()).unwrap();
        }
    }
}
