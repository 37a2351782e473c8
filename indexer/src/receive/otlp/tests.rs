//! Bodies of agents, which are kept as they came unless something was taken out of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use heliograph_model::record::{Attributes, Record};
use heliograph_model::redact::Redactor;
use heliograph_model::source::{Source, SourceId};
use heliograph_model::tenant::TenantId;

use super::*;

const LIMITS: Limits = Limits { body: 1 << 20, expanded: 1 << 20 };

fn record(position: u64, message: &str) -> Record {
    Record {
        time: Timestamp::from_nanos(7),
        observed: Timestamp::from_nanos(8),
        position: Position(position),
        source: Arc::new(Source { id: SourceId(u128::from(position % 2)), ..Source::default() }),
        level: None,
        stream: None,
        identity: heliograph_model::airflow::Identity { dag_id: Some("d".into()), ..Default::default() },
        message: message.into(),
        attributes: Attributes::from_json(r#"{"n": 1}"#).unwrap(),
    }
}

fn take(records: &[Record], encoding: Encoding, is_on: bool) -> (Bytes, Decoded) {
    let redactor = is_on.then(|| Arc::new(Redactor::new(&BTreeSet::new(), Vec::new()).unwrap()));
    let redaction = Redaction { redactor, tenant: TenantId::parse("t").unwrap() };
    let plain = codec::encode(records);
    let body: Bytes = match encoding {
        // Another level than ours, so that it cannot be ours.
        Encoding::Zstd => codec::compress(&plain, 7).unwrap().into(),
        _ => plain.into(),
    };
    let decoded = decode(Origin::Agent, Format::Protobuf, encoding, &body, LIMITS, &redaction).unwrap();
    (body, decoded)
}

fn stored(decoded: &Decoded) -> Vec<Record> {
    codec::decode(&codec::decompress(&decoded.payload, 1 << 20).unwrap()).unwrap().to_records()
}

#[test]
fn a_payload_without_secrets_is_the_body_itself() {
    let records = [record(1, "token of love"), record(2, "http://host:80/ password: none"), record(3, "")];
    let (body, decoded) = take(&records, Encoding::Zstd, true);
    assert_eq!(decoded.payload.as_ptr(), body.as_ptr(), "not even copied");
    assert_eq!((decoded.payload.len(), &decoded.taken), (body.len(), &None));
    assert_eq!(decoded.rows.to_records(), records);
    let (body, decoded) = take(&records, Encoding::Identity, true);
    assert_eq!(codec::decompress(&decoded.payload, 1 << 20).unwrap(), body);
}

#[test]
fn a_payload_with_a_secret_has_the_same_records_without_it() {
    let records = [record(1, "a"), record(2, "password=hunter2"), record(5, "b"), record(4, "c")];
    let mut expected = records.to_vec();
    expected[1].message = "password=[redacted:password]".into();
    for encoding in [Encoding::Zstd, Encoding::Identity] {
        let (_, decoded) = take(&records, encoding, true);
        assert_eq!(decoded.rows.to_records(), expected);
        assert_eq!(stored(&decoded), expected, "the same after a crash");
        assert_eq!(decoded.taken.as_ref().unwrap().iter().sum::<u64>(), 1);
        let (_, decoded) = take(&records, encoding, false);
        assert_eq!((stored(&decoded), decoded.taken), (records.to_vec(), None), "redaction is off");
    }
}
