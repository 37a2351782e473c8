//! Texts in, texts out. A `¦` is taken out first: it keeps scanners of repositories from taking these for secrets.

mod shapes;

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::*;
use crate::airflow::Identity;
use crate::record::Record;
use crate::source::{Position, Source};
use crate::time::Timestamp;

fn defaults() -> &'static Redactor {
    static DEFAULTS: LazyLock<Redactor> =
        LazyLock::new(|| Redactor::new(&BTreeSet::new(), Vec::new()).unwrap());
    &DEFAULTS
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn record(position: u64, message: &str, attributes: &str) -> Record {
    Record {
        time: Timestamp::from_nanos(1),
        observed: Timestamp::from_nanos(2),
        position: Position(position),
        source: Arc::new(Source { pod: Some("password=hunter2".into()), ..Source::default() }),
        level: None,
        stream: None,
        identity: Identity {
            log_id: Some("token=gl¦pat-aaaaaaaaaaaaaaaaaaaaa".into()),
            ..Identity::default()
        },
        message: message.into(),
        attributes: Attributes::from_json(attributes).unwrap(),
    }
}

/// Records without their secrets, and how many there were by rule.
type Outcome = (Vec<Record>, Vec<(String, u64)>);

fn redact_by(redactor: &Redactor, of: &str, records: &[Record]) -> Option<Outcome> {
    let rows = Rows::try_from(records).unwrap();
    let Redacted { rows, counts } = redactor.redact(&tenant(of), &rows).unwrap()?;
    let names = redactor.names().map(str::to_owned);
    Some((rows.to_records(), names.zip(counts).filter(|(_, count)| *count > 0).collect()))
}

/// The message, and the rules that were used, in the order of their names.
fn message(text: &str) -> (String, Vec<String>) {
    match redact_by(defaults(), "t", &[record(1, text, "")]) {
        None => (text.to_owned(), Vec::new()),
        Some((records, counts)) => {
            (records[0].message.to_string(), counts.into_iter().map(|(name, _)| name).collect())
        }
    }
}

#[test]
fn attributes_are_judged_by_their_keys_and_whatever_their_escapes() {
    let check = |object: &str, expected: &str| {
        let redacted = redact_by(defaults(), "t", &[record(1, "", &object.replace('¦', ""))]);
        let (records, _) = redacted.expect("a secret");
        assert_eq!(records[0].attributes.as_json(), expected);
        assert!(redact_by(defaults(), "t", &records).is_none(), "again: {expected}");
    };
    check(
        r#"{"password":"two words, one","n":12345678901234567890123,"e":1e400}"#,
        r#"{"password":"[redacted:password]","n":12345678901234567890123,"e":1e400}"#,
    );
    check(r#"{"a":{"db_password":["x1y",2]}}"#, r#"{"a":{"db_password":["[redacted:password]",2]}}"#);
    check(
        r#"{"headers":{"Authorization":"Bearer abc123"}}"#,
        r#"{"headers":{"Authorization":"Bearer [redacted:authorization-header]"}}"#,
    );
    check(
        r#"{"AIRFLOW__CORE__FERNET_KEY":"81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyP¦w="}"#,
        r#"{"AIRFLOW__CORE__FERNET_KEY":"[redacted:fernet-key]"}"#,
    );
    check(r#"{"url":"mysql:\/\/u:hunter2@h"}"#, r#"{"url":"mysql://u:[redacted:url-password]@h"}"#);
    check(r#"{"\u0070assword":"hunter2"}"#, r#"{"\u0070assword":"[redacted:password]"}"#);
    check(r#"{"x":"\ud800 password=hunter2 \""}"#, "{\"x\":\"\u{fffd} password=[redacted:password] \\\"\"}");
    let kept = r#"{"password":null,"password":5,"token":{"ghp":"x"},"a":"\u001b[0m\u00e9","c\"":"}"}"#;
    assert!(redact_by(defaults(), "t", &[record(1, "", kept)]).is_none());
}

#[test]
fn only_texts_change_and_only_of_the_rows_that_need_it() {
    let texts = [
        "",
        "pass",
        "word=hunter2",
        "password=hunter2",
        "",
        "x ://",
        "u:p@h",
        "glpat-0123456789012345678901",
    ];
    let records: Vec<_> = (0..).zip(texts).map(|(n, text)| record(n, text, "")).collect();
    let (redacted, counts) = redact_by(defaults(), "t", &records).unwrap();
    let mut expected = records;
    expected[3].message = "password=[redacted:password]".into();
    expected[7].message = "[redacted:gitlab-token]".into();
    assert_eq!(redacted, expected, "two rows' texts beside one another are not one text");
    assert_eq!(counts, [("gitlab-token".to_owned(), 1), ("password".to_owned(), 1)]);
}

#[test]
fn what_grows_beyond_its_bound_is_cut() {
    let (records, _) =
        redact_by(defaults(), "t", &[record(1, &"password=abcd ".repeat(70_000), "")]).unwrap();
    assert!(
        records[0].message.len() <= MESSAGE_BYTES_MAX + CUT_MARK.len()
            && records[0].message.ends_with(CUT_MARK)
    );
    let object = format!("{{\"a\":\"{}\"}}", "password=abcd ".repeat(18_000));
    let (records, _) = redact_by(defaults(), "t", &[record(1, "", &object)]).unwrap();
    assert_eq!(records[0].attributes.as_json(), Attributes::cut_json());
    // More brackets than are read without being built, and a number that cannot be.
    let deep =
        format!(r#"{{"n":1e999,"a":{}{}{},"password":"hunter2"}}"#, "[".repeat(98), "1", "]".repeat(98));
    let (records, _) = redact_by(defaults(), "t", &[record(1, "", &deep)]).unwrap();
    let kept = records[0].attributes.as_json();
    assert_eq!(Attributes::check_json(kept).unwrap(), kept, "as it is read again");
    assert!(!kept.contains("hunter2"));
}

#[test]
fn own_rules_are_for_those_they_name() {
    let rule = |name, pattern, tenants: &[&str]| {
        OwnRule::new(name, pattern, tenants.iter().map(|t| tenant(t)).collect()).unwrap()
    };
    let own = vec![
        rule("customer", r"customer (?P<secret>\d{4,})", &["a", "b"]),
        rule("case", r"(?i)CASE-[0-9]+", &[]),
        rule("mark", "redacted", &[]),
    ];
    let redactor = Redactor::new(&BTreeSet::from(["password".to_owned()]), own).unwrap();
    let records = [record(1, "customer 12345, case-7, password=hunter2", r#"{"x":"customer 99999"}"#)];
    let (redacted, counts) = redact_by(&redactor, "a", &records).unwrap();
    assert_eq!(&*redacted[0].message, "customer [redacted:customer], [redacted:case], password=hunter2");
    assert_eq!(redacted[0].attributes.as_json(), r#"{"x":"customer [redacted:customer]"}"#);
    assert_eq!(counts, [("customer".to_owned(), 2), ("case".to_owned(), 1)]);
    assert!(redact_by(&redactor, "a", &redacted).is_none(), "again");
    let (redacted, _) = redact_by(&redactor, "c", &records).unwrap();
    assert_eq!(&*redacted[0].message, "customer 12345, [redacted:case], password=hunter2");
}

#[test]
fn own_rules_that_cannot_be_are_refused() {
    let refused =
        |name: &str, pattern: &str| OwnRule::new(name, pattern, BTreeSet::new()).unwrap_err().to_string();
    let check = |pattern: &str, reason: &str| {
        let text = refused("x", pattern);
        assert!(text.ends_with(reason), "{text}");
    };
    check("a*", "it matches the empty text, or nothing at all");
    check(r"\b", "it matches the empty text, or nothing at all");
    check("[a&&b]", "it matches the empty text, or nothing at all");
    check("(", "error: unclosed group");
    check("(?=a)", "error: look-around, including look-ahead and look-behind, is not supported");
    check(r"\w{1000}{1000}", "it is too large: use fewer or smaller repetitions");
    check(&"a".repeat(1001), "it is longer than 1000 bytes");
    for name in ["", "No", "a_b", "ä", &"a".repeat(41)] {
        assert!(refused(name, "a").ends_with("1 to 40 of a-z, 0-9 and '-'"));
    }
    let new = |disabled: &[&str], own: &[&str]| {
        let disabled = disabled.iter().map(|name| (*name).to_owned()).collect();
        let own = own.iter().map(|name| OwnRule::new(name, "a", BTreeSet::new()).unwrap()).collect();
        Redactor::new(&disabled, own).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(new(&["jwt"], &["mine"]), Ok(()));
    let unknown = r#"invalid redaction rule name "jvt": not the name of a default rule"#;
    assert_eq!(new(&["jvt"], &[]), Err(unknown.to_owned()));
    let twice = r#"invalid redaction rule name "jwt": another rule has this name"#;
    assert_eq!(new(&["jwt"], &["jwt"]), Err(twice.to_owned()));
}

#[test]
fn the_literals_are_few_enough_for_vector_instructions_and_none_begins_another() {
    let rules = rules::compile(|_| true).unwrap();
    let anchors: BTreeSet<_> = rules.iter().flat_map(|rule| rule.anchors).copied().collect();
    assert!((30..=64).contains(&anchors.len()), "{}", anchors.len());
    for (a, b) in anchors.iter().zip(anchors.iter().skip(1)) {
        assert!(!b.starts_with(a), "{a} hides {b}");
    }
    assert!(names_of(&rules).len() == default_names().count() && anchors.iter().all(|a| a.len() >= 3));
}

fn names_of(rules: &[Rule]) -> BTreeSet<&str> {
    rules.iter().map(|rule| rule.name).collect()
}

#[test]
fn real_logs_of_airflow_keep_every_byte() {
    const LOGS: [&str; 7] = [
        include_str!("../../tests/data/airflow/af2_json.log"),
        include_str!("../../tests/data/airflow/af2_text.log"),
        include_str!("../../tests/data/airflow/af3_json.log"),
        include_str!("../../tests/data/airflow/af3_task.log"),
        include_str!("../../tests/data/airflow/af3_text.log"),
        include_str!("../../tests/data/airflow/stderr.log"),
        include_str!("../../tests/data/airflow/webserver.log"),
    ];
    for log in LOGS {
        let lines: Vec<_> = (0..).zip(log.lines()).map(|(n, line)| record(n, line, "")).collect();
        let redacted = redact_by(defaults(), "t", &lines);
        let changed = redacted.map(|(records, _)| {
            records
                .into_iter()
                .zip(&lines)
                .filter(|(a, b)| a != *b)
                .map(|(a, _)| a.message)
                .collect::<Vec<_>>()
        });
        assert_eq!(changed, None);
    }
}

/// Pieces of which texts with and without secrets are made.
fn pieces() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "password=",
        "\"password\": \"",
        "token: ",
        "secret_access_key=",
        "://",
        "u:",
        "@host/x ",
        "ghp_",
        "glpat-",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.",
        "-----BEGIN PRIVATE KEY-----\n",
        "\n-----END PRIVATE KEY-----",
        "MIIEvQIBADANBgkqhkiG9w0BAQEF",
        "Authorization: Bearer ",
        "hunter2",
        "k3J9xQ2mP7vL5nR8tW4y",
        "AIRFLOW_CONN_X=",
        "?a=",
        "\"",
        "'",
        "\\\"",
        " ",
        ",",
        "[redacted:jwt]",
        "[redacted:",
        "]",
        "ä",
        "AccountKey=",
        "hg_",
        "\\n",
        "=",
    ];
    let piece = prop_oneof![8 => prop::sample::select(KNOWN).prop_map(str::to_owned), 1 => "[ -~é]{0,6}"];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_second_look_finds_nothing_and_what_is_no_secret_stays(text in pieces(), key in "(password|token|a|[a-z]{0,3})") {
        let redactor = defaults();
        let secrets = redactor.find(Text { text: &text, value_at: 0 });
        let mut kept = (String::new(), 0);
        for Secret { bytes, rule } in &secrets {
            kept.0 += text.get(kept.1..bytes.start).expect("in order, at the edges of characters");
            kept.0 += &format!("[redacted:{}]", redactor.names().nth(*rule).unwrap());
            kept.1 = bytes.end;
        }
        kept.0 += text.get(kept.1..).unwrap();
        let (once, _) = message(&text);
        prop_assert_eq!(&once, &kept.0);
        prop_assert_eq!(message(&once), (once.clone(), Vec::new()));

        let object = serde_json::json!({ key: [text], "n": 1.5 }).to_string();
        if let Some((records, _)) = redact_by(redactor, "t", &[record(1, "", &object)]) {
            serde_json::from_str::<serde_json::Value>(records[0].attributes.as_json()).unwrap();
            prop_assert!(redact_by(redactor, "t", &records).is_none(), "{:?}", records[0].attributes);
        }
    }
}
