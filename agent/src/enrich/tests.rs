//! What a line may say about its record, and what not.

use heliograph_model::airflow::Identity;
use heliograph_model::level::Level;
use heliograph_model::source::{Component, Position};
use heliograph_model::tenant::TenantId;
use serde_json::json;

use super::*;
use crate::frame::Form;
use crate::tail::open::Reach;

fn enricher(identity: Identity, path_wins: bool) -> Enricher {
    let owner = Owner {
        tenant: TenantId::parse("t").unwrap(),
        source: Source { component: Component::parse("worker").ok(), ..Source::default() }.into(),
        form: Form::Plain,
        reach: Reach::Anywhere,
        identity,
        path_wins,
        attributes: Map::new(),
        pod_uid: None,
    };
    Enricher::new(Arc::new(owner), SourceId(7), Timestamp::MIN)
}

fn event(text: &str, at: Option<&str>) -> Event {
    let (start, end) = (Position::in_file(1, 5), Position::in_file(1, 9));
    let at = at.map(|t| Timestamp::parse(t).unwrap());
    Event { start, end, stream: None, at, text: text.to_owned(), cut: false }
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

#[track_caller]
fn check_time(line_time: &str, at: Option<&str>, last: &str, expected: &str, claim: Option<&str>) {
    let mut enricher = enricher(Identity::default(), false);
    enricher.last = time(last);
    let line = format!(r#"{{"timestamp":"{line_time}","level":"info","event":"x"}}"#);
    let record = enricher.record(event(&line, at), time("2026-11-24T12:00:00Z"));
    assert_eq!(record.time, time(expected));
    let attributes: Value = serde_json::from_str(record.attributes.as_json()).unwrap_or_default();
    let found = attributes.get("event_time").and_then(|v| v.as_str()).map(time);
    assert_eq!(found, claim.map(time));
}

#[test]
fn times_never_fall_and_the_future_is_not_believed() {
    let (early, noon) = ("2026-11-24T11:00:00Z", "2026-11-24T12:00:00Z");
    check_time(early, None, "2026-11-24T10:00:00Z", early, None);
    check_time(early, None, "2026-11-24T11:30:00Z", "2026-11-24T11:30:00Z", Some(early));
    check_time("2030-01-01T00:00:00Z", None, early, noon, Some("2030-01-01T00:00:00Z"));
    check_time("2026-11-24T12:04:59Z", None, early, "2026-11-24T12:04:59Z", None);
    let cri = "2026-11-24T11:50:00Z";
    check_time("2026-11-24T12:04:59Z", Some(cri), early, cri, Some("2026-11-24T12:04:59Z"));
}

#[test]
fn a_line_fills_fields_but_not_whose_it_is() {
    let mut enricher = enricher(Identity::default(), false);
    let line = r#"{"timestamp":"2026-11-24T11:00:00Z","level":"error","event":"boom","dag_id":"d","tenant":"other","component":"x"}"#;
    let record = enricher.record(event(line, None), time("2026-11-24T12:00:00Z"));
    assert_eq!((&*record.message, record.level), ("boom", Some(Level::Error)));
    assert_eq!(record.identity.dag_id.as_deref(), Some("d"));
    assert_eq!(record.source.component.as_ref().unwrap().as_str(), "worker");
    assert_eq!((record.source.id, record.position), (SourceId(7), Position::in_file(1, 5)));
    let attributes: Value = serde_json::from_str(record.attributes.as_json()).unwrap();
    assert_eq!(attributes.get("tenant").unwrap(), "other");
}

#[test]
fn the_path_wins_for_task_files_only() {
    let path = Identity { dag_id: Some("path".into()), try_number: Some(2), ..Identity::default() };
    let line =
        r#"{"timestamp":"2026-11-24T11:00:00Z","level":"info","event":"x","dag_id":"line","logger":"l"}"#;
    for (path_wins, expected) in [(true, "path"), (false, "line")] {
        let record = enricher(path.clone(), path_wins).record(event(line, None), Timestamp::MAX);
        assert_eq!(record.identity.dag_id.as_deref(), Some(expected));
        assert_eq!((record.identity.try_number, record.identity.logger.as_deref()), (Some(2), Some("l")));
    }
}

#[test]
fn a_line_does_not_come_into_another_tasks_log() {
    let path = Identity {
        dag_id: Some("etl".into()),
        task_id: Some("load".into()),
        run_id: Some("r1".into()),
        try_number: Some(1),
        ..Identity::default()
    };
    let check = |claims: &str, log_id: Option<&str>, attributes: Value| {
        let line = format!("{{\"timestamp\":\"2026-11-24T11:00:00Z\",\"event\":\"x\",{claims}}}");
        let record = enricher(path.clone(), true).record(event(&line, None), time("2026-11-24T12:00:00Z"));
        let named = Identity { log_id: log_id.map(Into::into), ..path.clone() };
        assert_eq!(Identity { map_index: None, ..record.identity }, named, "{claims}");
        let found = serde_json::from_str(record.attributes.as_json());
        let mut found: Value = found.unwrap_or_else(|_| json!({}));
        found.as_object_mut().unwrap().remove("event_time");
        assert_eq!(found, attributes, "{claims}");
    };
    check(r#""log_id":"etl-load-r1--1-1""#, Some("etl-load-r1--1-1"), json!({}));
    for other in ["etl-pay-r1--1-1", "etl-load-r1--1-2", "etl-load-r2--1-1", "etl-load-r1-3-1", "custom"] {
        let claims = format!("\"log_id\":\"{other}\"");
        check(&claims, None, json!({ "log_id": other }));
    }
    let claims = r#""dag_id":"bank","task_id":"pay","run_id":"r9","map_index":4,"try_number":9,"log_id":"bank-pay-r9-4-9""#;
    let refused = json!({ "dag_id": "bank", "task_id": "pay", "run_id": "r9", "map_index": 4, "try_number": 9,
        "log_id": "bank-pay-r9-4-9" });
    check(claims, None, refused);
}

#[test]
fn what_was_cut_says_so_once() {
    let text = "x".repeat(MESSAGE_BYTES_MAX);
    let record = enricher(Identity::default(), false)
        .record(Event { cut: true, ..event(&text, None) }, Timestamp::MAX);
    assert_eq!(record.message.len(), MESSAGE_BYTES_MAX + CUT_MARK.len());
    assert!(record.message.ends_with(CUT_MARK));
}
