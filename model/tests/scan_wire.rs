//! What goes between query and indexer survives the wire: also attributes and numbered buckets, which serde
//! cannot read through an internally tagged enum.

use std::sync::Arc;

use heliograph_model::airflow::Identity;
use heliograph_model::level::Level;
use heliograph_model::record::{Attributes, Record};
use heliograph_model::scan::{CommitId, FeedFrame, Histogram, HotAnswer, ValueCounts};
use heliograph_model::source::{Position, Source};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;

fn record() -> Record {
    Record {
        time: Timestamp::from_nanos(7),
        observed: Timestamp::from_nanos(7),
        position: Position(3),
        source: Arc::new(Source::default()),
        level: Some(Level::Info),
        stream: None,
        identity: Identity { try_number: Some(2), ..Identity::default() },
        message: "a \"quoted\" line".into(),
        attributes: Attributes::from_json(r#"{"lineno":42,"deep":{"a":[1,2]}}"#).unwrap_or_default(),
    }
}

#[test]
fn feed_frames_survive_the_wire() {
    let tenant = TenantId::parse("team-a").unwrap();
    let sent = record();
    let frame = FeedFrame::Records { commit: CommitId(9), records: vec![sent.to_api(&tenant)] };
    let line = serde_json::to_string(&frame).unwrap();
    let FeedFrame::Records { commit, records } = serde_json::from_str(&line).unwrap() else {
        panic!("{line}")
    };
    assert_eq!(commit, CommitId(9));
    assert_eq!(records.into_iter().map(|r| r.into_record().unwrap()).collect::<Vec<_>>(), [sent]);

    let open =
        FeedFrame::Open { indexer: "x".to_owned(), committed: CommitId(4), sealed_through: CommitId(3) };
    let line = serde_json::to_string(&open).unwrap();
    assert!(matches!(
        serde_json::from_str(&line).unwrap(),
        FeedFrame::Open { indexer, committed: CommitId(4), sealed_through: CommitId(3) } if indexer == "x"
    ));
    let at = Timestamp::from_nanos(1);
    let line = serde_json::to_string(&FeedFrame::Skipped { count: 5, from: at, to: at, commit: CommitId(6) })
        .unwrap();
    assert!(matches!(serde_json::from_str(&line).unwrap(), FeedFrame::Skipped { count: 5, .. }));
    let line = serde_json::to_string(&FeedFrame::Heartbeat { commit: CommitId(6) }).unwrap();
    assert!(matches!(serde_json::from_str(&line).unwrap(), FeedFrame::Heartbeat { commit: CommitId(6) }));
    assert!(serde_json::from_str::<FeedFrame<'_>>(r#"{"type":"records"}"#).is_err());
}

#[test]
fn answers_survive_the_wire() {
    let mut histogram = Histogram::default();
    histogram.add(10, Timestamp::from_nanos(-25), Some(Level::Error), 2);
    let line = serde_json::to_string(&HotAnswer::Histogram { histogram: histogram.clone() }).unwrap();
    let HotAnswer::Histogram { histogram: back } = serde_json::from_str(&line).unwrap() else {
        panic!("{line}")
    };
    assert_eq!(back, histogram);
    let mut values = ValueCounts::default();
    values.add("a", 3);
    for answer in [HotAnswer::Values { values: values.clone() }, HotAnswer::Fields { fields: values.clone() }]
    {
        let line = serde_json::to_string(&answer).unwrap();
        let (HotAnswer::Values { values: back } | HotAnswer::Fields { fields: back }) =
            serde_json::from_str(&line).unwrap()
        else {
            panic!("{line}")
        };
        assert_eq!(back, values);
    }
}
