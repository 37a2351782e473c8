//! The reader against the library, and against what is nearly JSON.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

fn read(text: &str) -> Result<Vec<(&str, &str)>, Fault> {
    let mut found = Vec::new();
    members(text, |key, value| found.push((key.0, value.0)))?;
    Ok(found)
}

/// What is read is what `serde_json` reads, but for depth.
fn agrees(text: &str) {
    let theirs = serde_json::from_str::<Map<String, Value>>(text);
    match (read(text), theirs) {
        (Ok(found), Ok(theirs)) => {
            let of = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            let found: Map<_, _> = found
                .into_iter()
                .map(|(key, value)| (Raw(key).text().unwrap().into_owned(), of(value)))
                .collect();
            assert_eq!(found, theirs, "{text}");
        }
        (Err(_), Err(_)) => {}
        (Err(fault), Ok(_)) => assert!(fault.what.starts_with("nested"), "{text}: {fault:?}"),
        (Ok(_), Err(e)) => panic!("{text}: {e}"),
    }
}

#[test]
fn what_json_is_and_is_not() {
    for value in [
        "0",
        "-0",
        "12",
        "1.5",
        "1e3",
        "1E+3",
        "1.0e-3",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "1e999",
        "0x1",
        "true",
        "tru",
        "truefalse",
        "null",
        "nul",
        "\"\"",
        "\"",
        "\"\\u00e9\"",
        "\"\\u00g9\"",
        "\"\\x\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\ude00\"",
        "\"\\ud83d\\u0041\"",
        "\"\t\"",
        "\"\u{7f}\"",
        "[]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1,2",
        "{}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "",
        "NaN",
        "'a'",
        "/**/1",
        "\"012345678901234567\\n\"",
        "\"01234567890123456\u{1}\"",
    ] {
        agrees(&format!("{{\"k\":{value}}}"));
        agrees(&format!(" {{ \"k\" : [ {value} , \"b\" ] , \"\" : {value} }} "));
        agrees(value);
    }
    for digits in [300, 301, 308, 309, 400] {
        agrees(&format!("{{\"k\":{}}}", "9".repeat(digits)));
        agrees(&format!("{{\"k\":-0.{}}}", "9".repeat(digits)));
    }
}

#[test]
fn what_ends_a_text_is_found_at_every_place() {
    for special in ["\"", "\\", "\n", "\0", "\u{1f}"] {
        for before in 0..40 {
            let text = format!("{}{special}{special}é", "ü ~".repeat(before));
            assert_eq!(plain_bytes(text.as_bytes()), before * 4, "{text:?}");
        }
    }
    assert_eq!(plain_bytes("€".repeat(9).as_bytes()), 27);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((".{0,5}", inner), 0..5).prop_map(|pairs| pairs.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_the_library(value in value(), cut: prop::sample::Index, put in "[\\PC\"\\\\{}:,\\[\\]0-9eu]{0,2}") {
        let text = value.to_string();
        agrees(&text);
        agrees(&serde_json::to_string_pretty(&value).unwrap());
        let mut at = cut.index(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let (before, after) = text.split_at(at);
        agrees(&format!("{before}{put}{after}"));
        agrees(before);
    }
}
