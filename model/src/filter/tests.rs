//! Each condition on one record.

use std::sync::Arc;

use super::*;
use crate::airflow::Identity;
use crate::record::Attributes;
use crate::source::{Component, Position, Source};

fn record() -> Record {
    Record {
        time: Timestamp::parse("2026-11-24T10:00:00Z").unwrap(),
        observed: Timestamp::from_nanos(0),
        position: Position(1),
        source: Arc::new(Source { component: Some(Component::parse("worker").unwrap()), ..Source::default() }),
        level: Some(Level::Error),
        stream: None,
        identity: Identity {
            dag_id: Some("etl.daily".into()),
            try_number: Some(2),
            map_index: Some(-1),
            ..Identity::default()
        },
        message: "Task failed: ValueError: could not divide 10.0.0.7".into(),
        attributes: Attributes::from_json(
            r#"{"lineno":42,"a":{"b":"deep"},"x.y":"flat","error_detail":[{"exc_type":"ValueError"}],"ok":true}"#,
        )
        .unwrap(),
    }
}

#[track_caller]
fn check(field: &str, test: Test, expected: bool) {
    let filter = Filter::Is(Field::named(field), test);
    let json = serde_json::to_string(&filter).unwrap();
    let back: Filter = serde_json::from_str(&json).unwrap();
    assert_eq!(back, filter, "over the wire");
    assert_eq!(Matcher::new(&filter).unwrap().matches(&record()), expected, "{filter:?}");
}

fn text(t: &str) -> Test {
    Test::Text(t.to_owned())
}

fn range(lower: Option<(&str, bool)>, upper: Option<(&str, bool)>) -> Test {
    let own = |b: Option<(&str, bool)>| b.map(|(t, i)| (t.to_owned(), i));
    Test::Range { lower: own(lower), upper: own(upper) }
}

#[test]
fn the_message_matches_by_words() {
    check("message", text("valueerror"), true);
    check("message", text("value"), false);
    check("message", text("10.0.0.7"), true);
    check("message", Test::Prefix("valu".into()), true);
    check("message", Test::Contains("ALUEERR".into()), true);
    check("message", Test::Wildcard(vec!["task".into(), "divide".into()]), true);
    check("message", Test::Regex(r"could\s+not \w+ \d+\.".into()), true);
}

#[test]
fn fields_match_whole() {
    check("dag_id", text("etl.daily"), true);
    check("dag_id", text("etl"), false);
    check("dag_id", Test::Prefix("etl".into()), true);
    check("dag_id", Test::Wildcard(vec!["".into(), "daily".into()]), true);
    check("dag_id", Test::Wildcard(vec!["".into(), "dail".into()]), false);
    check("task_id", Test::Exists, false);
    check("component", text("worker"), true);
}

#[test]
fn levels_have_an_order_and_spellings() {
    check("level", text("ERROR"), true);
    check("level", range(Some(("warn", true)), None), true);
    check("level", range(Some(("error", false)), None), false);
    assert!(Matcher::new(&Filter::Is(Field::Level, text("loud"))).is_err());
}

#[test]
fn numbers_compare_by_value() {
    check("try_number", range(Some(("1", false)), None), true);
    check("try_number", text("2"), true);
    check("map_index", text("-1"), true);
    check("lineno", range(Some(("9", true)), Some(("100", true))), true);
    check("lineno", range(None, Some(("42", false))), false);
}

#[test]
fn attributes_by_path() {
    check("attributes.a.b", text("deep"), true);
    check("a.b", text("deep"), true);
    check("x.y", text("flat"), true);
    check("error_detail.exc_type", text("ValueError"), true);
    check("ok", text("true"), true);
    check("missing", Test::Exists, false);
}

#[test]
fn keys_are_found_however_json_writes_them() {
    let mut record = record();
    record.attributes =
        Attributes::from_json(r#"{"k8s\/app":1,"gr\u00f6\u00dfe":1,"say \"no\"":1,"\u0061":{"b":1}}"#)
            .unwrap();
    for name in ["k8s/app", "größe", "say \"no\"", "a.b"] {
        let filter = Filter::Is(Field::named(name), Test::Exists);
        assert!(Matcher::new(&filter).unwrap().matches(&record), "{name}");
    }
}

#[test]
fn times_prune_and_match() {
    let inside = range(Some(("2026-11-24T10:00:00Z", true)), Some(("2026-11-24T11:00:00Z", false)));
    check("@timestamp", inside.clone(), true);
    check("@timestamp", range(Some(("2026-11-24T10:00:00Z", false)), None), false);
    let bounds = Filter::And(vec![Filter::All, Filter::Is(Field::Timestamp, inside)]).time_bounds();
    assert!(bounds.contains(record().time));
    assert_eq!(bounds.start, record().time);
}

#[test]
fn trees() {
    let yes = Filter::Is(Field::Message, text("failed"));
    let no = Filter::Is(Field::Message, text("succeeded"));
    let check = |filter: Filter, expected: bool| {
        assert_eq!(Matcher::new(&filter).unwrap().matches(&record()), expected, "{filter:?}");
    };
    check(Filter::And(vec![yes.clone(), no.clone()]), false);
    check(Filter::Or(vec![yes.clone(), no.clone()]), true);
    check(Filter::Not(Box::new(no)), true);
    check(Filter::And(vec![]), true);
    check(Filter::Or(vec![]), false);
    check(Filter::None, false);
}

#[test]
fn an_oversized_expression_is_refused() {
    let huge = Filter::Is(Field::Message, Test::Regex(r"(\w{1000}){100}".into()));
    assert!(Matcher::new(&huge).unwrap_err().to_string().contains("invalid pattern"));
}

#[test]
fn an_attribute_with_the_name_of_a_field_stays_one() {
    for (text, name) in [
        ("attributes.level", "level"),
        ("attributes.message", "message"),
        ("attributes.attributes.user", "attributes.user"),
        ("attributes.attributes.level", "attributes.level"),
        ("user", "user"),
        ("attributes.", ""),
    ] {
        let field = Field::named(text);
        assert_eq!(field, Field::Attribute(name.into()), "{text}");
        let sent: Field = serde_json::from_str(&serde_json::to_string(&field).unwrap()).unwrap();
        assert_eq!(sent, field, "{text}");
    }
    for field in Field::NAMED {
        assert_eq!(Field::named(&field.text()), field);
    }
}
