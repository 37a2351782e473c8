//! Excerpts of what real Airflow wrote (2.11.2 and 3.3.2), read as an agent reads them.

use heliograph_model::airflow::continuation::{Continuation, Decision};
use heliograph_model::airflow::{ParsedLine, parse_line};
use heliograph_model::level::Level;

/// The records of one stream.
fn records(text: &str) -> Vec<(String, ParsedLine)> {
    let mut lines = Continuation::new();
    let mut records: Vec<String> = Vec::new();
    for line in text.lines() {
        match (lines.feed(line), records.last_mut()) {
            (Decision::Continues, Some(record)) => {
                record.push('\n');
                record.push_str(line);
            }
            _ => records.push(line.to_owned()),
        }
    }
    records.into_iter().map(|text| (parse_line(&text), text)).map(|(line, text)| (text, line)).collect()
}

/// Every word of a record is in its message, its fields or its attributes.
#[track_caller]
fn check_no_text_is_lost(records: &[(String, ParsedLine)]) {
    for (text, line) in records {
        let id = &line.identity;
        let fields = [&id.dag_id, &id.task_id, &id.run_id, &id.log_id, &id.logger];
        let mut kept = fields.into_iter().flatten().map(|s| s.to_string()).collect::<Vec<_>>();
        kept.push(line.message.clone().unwrap_or_else(|| text.clone()));
        kept.push(serde_json::Value::Object(line.attributes.clone()).to_string());
        let kept = kept.join(" ").replace("\\n", " ").replace("\\\"", "\"");
        let said: String = match serde_json::from_str::<serde_json::Value>(text) {
            Ok(value) => strings(&value).join(" "),
            Err(_) => text.clone(),
        };
        let words = said.split(|c: char| !c.is_alphanumeric() && c != '_');
        for word in words.filter(|w| w.len() > 3 && !w.bytes().all(|b| b.is_ascii_digit())) {
            // The time and the level are fields of their own; keys of a console line name fields.
            let digits = word.strip_suffix('Z').unwrap_or(word);
            let field = word.starts_with("23T")
                || digits.bytes().all(|b| b.is_ascii_digit())
                || Level::parse(word).is_some()
                || [
                    "map_index",
                    "try_number",
                    "dag_id",
                    "task_id",
                    "run_id",
                    "is_cause",
                    "True",
                    "False",
                    "None",
                    "tzinfo",
                ]
                .contains(&word);
            assert!(field || kept.contains(word), "{word:?} of {text}");
        }
    }
}

fn strings(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::String(s) => vec![s.clone()],
        serde_json::Value::Array(items) => items.iter().flat_map(strings).collect(),
        serde_json::Value::Object(map) => map.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

fn count(records: &[(String, ParsedLine)], test: impl Fn(&ParsedLine) -> bool) -> usize {
    records.iter().filter(|(_, line)| test(line)).count()
}

fn is_identified(line: &ParsedLine) -> bool {
    let id = &line.identity;
    id.dag_id.is_some()
        && id.task_id.is_some()
        && id.run_id.is_some()
        && id.map_index.is_some()
        && id.try_number.is_some()
}

#[test]
fn airflow_2_json_with_text_between() {
    let text = include_str!("data/airflow/af2_json.log");
    let records = records(text);
    check_no_text_is_lost(&records);
    let task_lines = text.lines().filter(|l| l.contains("\"dag_id\"")).count();
    assert_eq!(count(&records, is_identified), task_lines);
    assert_eq!(count(&records, |l| l.identity.log_id.is_some()), task_lines);
    assert_eq!(count(&records, |l| l.time.is_none()), 1, "the banner is one record, all else has a time");
    assert!(count(&records, |l| l.identity.map_index == Some(2)) > 0);
    assert_eq!((text.lines().count(), records.len(), task_lines), (63, 52, 19));
}

#[test]
fn airflow_2_text_with_tracebacks() {
    let text = include_str!("data/airflow/af2_text.log");
    let records = records(text);
    check_no_text_is_lost(&records);
    assert_eq!(count(&records, |l| l.time.is_none()), 0);
    let failed: Vec<_> = records.iter().filter(|(_, l)| l.level == Some(Level::Error)).collect();
    assert_eq!(failed.len(), 2);
    for (_, line) in failed {
        let message = line.message.as_deref().unwrap();
        assert!(message.contains("ZeroDivisionError: division by zero\n\nThe above exception"), "{message}");
    }
    assert_eq!((text.lines().count(), records.len()), (109, 27));
}

#[test]
fn airflow_3_text() {
    let text = include_str!("data/airflow/af3_text.log");
    let records = records(text);
    check_no_text_is_lost(&records);
    assert_eq!(count(&records, |l| l.time.is_none()), 1, "the banner is one record, all else has a time");
    assert_eq!(count(&records, |l| l.time.is_some() && l.identity.logger.is_none()), 0);
    let live = text.lines().filter(|l| l.contains(" dag_id=t_") && !l.contains("Finished:")).count();
    assert_eq!(count(&records, is_identified), live);
    assert_eq!(count(&records, |l| l.message.as_deref() == Some("multi\nline\nmessage {'rows': 42}")), 1);
    assert_eq!((text.lines().count(), records.len(), live), (86, 41, 19));
}

#[test]
fn airflow_3_json() {
    for text in [include_str!("data/airflow/af3_json.log"), include_str!("data/airflow/af3_task.log")] {
        let records = records(text);
        check_no_text_is_lost(&records);
        assert_eq!(records.len(), text.lines().count());
        assert_eq!(count(&records, |l| l.time.is_none() || l.level.is_none() || l.message.is_none()), 0);
    }
    let task = records(include_str!("data/airflow/af3_task.log"));
    let message =
        task.iter().find_map(|(_, l)| (l.level == Some(Level::Error)).then_some(l.message.as_deref()?));
    insta::assert_snapshot!(message.unwrap());
}

#[test]
fn servers_and_errors_of_other_programs() {
    let web = records(include_str!("data/airflow/webserver.log"));
    check_no_text_is_lost(&web);
    assert_eq!(count(&web, |l| l.attributes.contains_key("status_code")), 12);
    assert_eq!(count(&web, |l| l.attributes.contains_key("process")), 5);
    assert_eq!(count(&web, |l| l.level == Some(Level::Warning)), 2);
    let errors = records(include_str!("data/airflow/stderr.log"));
    assert_eq!(
        errors.iter().map(|(_, l)| l.level).collect::<Vec<_>>(),
        [Some(Level::Warning), Some(Level::Warning), Some(Level::Error)]
    );
}
