//! Lines, queries, and the words in them.

use std::sync::Arc;

use heliograph_model::airflow;
use heliograph_model::airflow::continuation::{Continuation, Decision, continues, starts_record};
use heliograph_model::filter::{Filter, Matcher};
use heliograph_model::record::{Attributes, Record};
use heliograph_model::source::{Position, Source};
use heliograph_model::time::{Timestamp, duration_nanos};

/// 26 November 2026, 12:00 UTC.
const NOW: Timestamp = Timestamp::from_nanos(1_795_694_400_000_000_000);

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A line of a log is read, and its message is a part of it or was put together of its fields.
pub(crate) fn airflow_line(bytes: &[u8]) {
    let text = said(bytes);
    let parsed = airflow::parse_line(&text);
    drop(parsed);
    starts_record(&text);
}

/// Lines are joined to records: the second question is answered as by the first's state.
pub(crate) fn continuation(bytes: &[u8]) {
    let text = said(bytes);
    let mut joiner = Continuation::new();
    let mut previous: Option<&str> = None;
    for line in text.lines() {
        if joiner.feed(line) == Decision::Starts {
            previous = Some(line);
        }
        joiner.expects_more();
        if let Some(previous) = previous {
            continues(previous, line);
        }
    }
}

/// What a `log_id` names is named again by one of those that stand for it.
pub(crate) fn log_id(bytes: &[u8]) {
    let identity = airflow::parse_log_id(&said(bytes), None, None);
    airflow::log_ids(&identity);
}

/// A path says of which task it is, or nothing.
pub(crate) fn path(bytes: &[u8]) {
    let text = said(bytes);
    airflow::task_from_path(&text);
    airflow::dag_file_from_path(&text);
}

/// A time that is read is written so that it is read again as the same.
pub(crate) fn time(bytes: &[u8]) {
    let text = said(bytes);
    for time in [Timestamp::parse(&text), Timestamp::parse_relative(&text, NOW)].into_iter().flatten() {
        let again = Timestamp::parse(&time.to_string());
        assert!(again.as_ref().is_ok_and(|again| *again == time), "{text:?}: {time}, then {again:?}");
    }
    duration_nanos(&text);
}

/// A query that is read means the same after a detour over JSON, and can be asked of a record.
pub(crate) fn query(bytes: &[u8]) {
    let Ok(filter) = heliograph_query::parse_query(&said(bytes), NOW) else { return };
    meant(&filter);
}

/// A filter as one role sends it to another.
pub(crate) fn filter_json(bytes: &[u8]) {
    let Ok(filter) = serde_json::from_slice::<Filter>(bytes) else { return };
    meant(&filter);
}

fn meant(filter: &Filter) {
    let Ok(matcher) = Matcher::new(filter) else { return };
    let json = serde_json::to_string(filter);
    let again = json.ok().and_then(|json| serde_json::from_str::<Filter>(&json).ok());
    assert!(again.as_ref().is_some_and(|again| again == filter), "{filter:?} became {again:?}");
    let record = Record {
        time: NOW,
        observed: NOW,
        position: Position(1),
        source: Arc::new(Source::default()),
        level: None,
        stream: None,
        identity: Default::default(),
        message: "Task etl.extract of ada@example.com failed: exit code 1".into(),
        attributes: Attributes::default(),
    };
    let found = matcher.matches(&record.as_ref());
    let not = Matcher::new(&Filter::Not(Box::new(filter.clone())));
    assert!(not.is_ok_and(|not| not.matches(&record.as_ref()) != found), "{filter:?} and its opposite");
}

/// Lines of a container's log are framed.
pub(crate) fn frame_cri(bytes: &[u8]) {
    heliograph_agent::fuzz::frame(bytes, true);
}

/// Likewise of any file.
pub(crate) fn frame_plain(bytes: &[u8]) {
    heliograph_agent::fuzz::frame(bytes, false);
}
