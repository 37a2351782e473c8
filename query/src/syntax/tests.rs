//! The language as tables, its errors as snapshots, and that nothing panics.

use heliograph_model::filter::{Field, Filter, Test};
use heliograph_model::time::Timestamp;
use proptest::prelude::*;

use super::written::{canonical, written};
use super::{TEXT_BYTES_MAX, parse};

fn now() -> Timestamp {
    Timestamp::parse("2026-11-24T10:00:00Z").unwrap()
}

/// The filter, written so that a person sees its shape.
fn shape(filter: &Filter) -> String {
    let many = |name: &str, parts: &[Filter]| {
        format!("({name} {})", parts.iter().map(shape).collect::<Vec<_>>().join(" "))
    };
    match filter {
        Filter::All => "all".to_owned(),
        Filter::None => "none".to_owned(),
        Filter::And(parts) => many("and", parts),
        Filter::Or(parts) => many("or", parts),
        Filter::Not(inner) => format!("(not {})", shape(inner)),
        Filter::Is(field, test) => {
            let name = if *field == Field::Message { "" } else { field.name() };
            let end = |end: &Option<(String, bool)>| {
                end.as_ref()
                    .map_or("*".to_owned(), |(t, inside)| format!("{t}{}", if *inside { "=" } else { "" }))
            };
            let test = match test {
                Test::Text(t) => format!("{t:?}"),
                Test::Prefix(t) => format!("prefix {t:?}"),
                Test::Contains(t) => format!("contains {t:?}"),
                Test::Wildcard(parts) => format!("wildcard {parts:?}"),
                Test::Regex(t) => format!("regex {t:?}"),
                Test::Range { lower, upper } => format!("range {} {}", end(lower), end(upper)),
                Test::Exists => "exists".to_owned(),
            };
            format!("{name}:{test}")
        }
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    match parse(text, now()) {
        Ok(filter) => assert_eq!(shape(&filter), expected, "{text:?}"),
        Err(fault) => panic!("{text:?}: {fault:?}"),
    }
}

#[test]
fn words_and_phrases() {
    check("", "all");
    check("   ", "all");
    check("*", "all");
    check("failed", r#":"failed""#);
    check("task failed", r#"(and :"task" :"failed")"#);
    check(r#""could not divide""#, r#":"could not divide""#);
    check(r#""say \"no\" \d \\""#, r#":"say \"no\" \\d \\""#);
    check("größe", r#":"größe""#);
    check(r#"key="value""#, r#"(and :"key=" :"value")"#);
}

#[test]
fn words_with_inner_punctuation_are_one_run() {
    for word in [
        "10.0.0.7",
        "my_dag.task-1",
        "s3://b/k",
        "10:30:00",
        "std::io",
        "a=b",
        "/var/log/pods",
        "--flag",
        "{x}",
        "[2026-11-24]",
        "a&b",
        "50%",
        "user@host",
        "C\\d",
        "-",
        "::group::",
        "http://h:80/p?q=1",
    ] {
        check(word, &format!(":{word:?}"));
    }
    check("ValueError: could", r#"(and :"ValueError:" :"could")"#);
}

#[test]
fn operators_bind_in_order() {
    check("a b OR c", r#"(or (and :"a" :"b") :"c")"#);
    check("a OR b c", r#"(or :"a" (and :"b" :"c"))"#);
    check("a AND b OR c AND d", r#"(or (and :"a" :"b") (and :"c" :"d"))"#);
    check("NOT a b", r#"(and (not :"a") :"b")"#);
    check("-a OR -b", r#"(or (not :"a") (not :"b"))"#);
    check("(a OR b) c", r#"(and (or :"a" :"b") :"c")"#);
    check("NOT (a OR b)", r#"(not (or :"a" :"b"))"#);
    check("NOT NOT a", r#":"a""#);
    check("-\"a b\"", r#"(not :"a b")"#);
    check("a(b)c", r#"(and :"a" :"b" :"c")"#);
    check("NOT *", "none");
    check("and or not ANDROID", r#"(and :"and" :"or" :"not" :"ANDROID")"#);
    check("a AND NOT b", r#"(and :"a" (not :"b"))"#);
}

#[test]
fn wildcards_and_expressions() {
    check("pre*", r#":prefix "pre""#);
    check("*part*", r#":contains "part""#);
    check("a*b", r#":wildcard ["a", "b"]"#);
    check("*end", r#":wildcard ["", "end"]"#);
    check("a**b*", r#":wildcard ["a", "b", ""]"#);
    check(r"a\*b", r#":"a*b""#);
    check(r"\(x\)", r#":"(x)""#);
    check(r"a\ b", r#":"a b""#);
    check(r"C:\temp", r#"C:"\\temp""#);
    check(r"/could\s+not/", r#":regex "could\\s+not""#);
    check(r"/a\/b (c|d)/ e", r#"(and :regex "a/b (c|d)" :"e")"#);
    check("dag_id:/^etl/", r#"dag_id:regex "^etl""#);
    check("path:/var/log/x", r#"path:"/var/log/x""#);
}

#[test]
fn fields() {
    check("dag_id:etl.daily", r#"dag_id:"etl.daily""#);
    check(r#"run_id:"manual__2026-11-24T10:00:00+00:00""#, r#"run_id:"manual__2026-11-24T10:00:00+00:00""#);
    check("run_id:manual__2026-11-24T10:00:00", r#"run_id:"manual__2026-11-24T10:00:00""#);
    check("dag_id:etl*", r#"dag_id:prefix "etl""#);
    check("task_id:*", "task_id:exists");
    check("map_index:-1", r#"map_index:"-1""#);
    check("map_index:(-1 OR 2)", r#"(or map_index:"-1" map_index:"2")"#);
    check("dag_id:(a OR -b \"c d\")", r#"(or dag_id:"a" (and (not dag_id:"b") dag_id:"c d"))"#);
    check("-level:error", r#"(not level:"error")"#);
    check("attributes.a.b:c", r#"a.b:"c""#);
    check("message:x", r#":"x""#);
    check("app.kubernetes.io/name:x", r#"app.kubernetes.io/name:"x""#);
    check(r#"component:"""#, r#"component:"""#);
}

#[test]
fn ranges() {
    check("try_number:>2", "try_number:range 2 *");
    check("level:>=warning", "level:range warning= *");
    check("lineno:<10", "lineno:range * 10");
    check("lineno:<=10", "lineno:range * 10=");
    check("lineno:[1 TO 5]", "lineno:range 1= 5=");
    check("lineno:{1 TO 5]", "lineno:range 1 5=");
    check("lineno:[ * TO 5 }", "lineno:range * 5");
    check("lineno:[* TO *]", "lineno:exists");
    check("x:[\"a b\" TO c]", "x:range a b= c=");
    check(
        "@timestamp:[now-1h TO now}",
        "@timestamp:range 2026-11-24T09:00:00.000000000Z= 2026-11-24T10:00:00.000000000Z",
    );
    check("@timestamp:>2026-11-24T00:00:00Z", "@timestamp:range 2026-11-24T00:00:00.000000000Z *");
}

#[test]
fn mistakes_name_their_place_and_a_way_out() {
    let deep = format!("{}a", "(".repeat(60));
    let faults: Vec<_> = [
        "a \"b c",
        "ä ö \"b",
        "a AND",
        "OR b",
        "a OR OR b",
        "a NOT",
        "()",
        "a (b OR c",
        "a) b",
        "level:",
        "level: error",
        "level:loud",
        "a /(b/",
        r"/(\w{1000}){100}/",
        "x:[1 5]",
        "x:[1 TO 5",
        "x:[1 TO ]",
        "x:>",
        "@timestamp:>yesterday",
        "\"\"",
        "dag_id:(a",
        "dag_id:()",
        &deep,
    ]
    .into_iter()
    .map(|text| (text.to_owned(), parse(text, now()).unwrap_err()))
    .collect();
    insta::assert_json_snapshot!(faults);
}

#[test]
fn bounds_hold() {
    let fault = |text: &str| parse(text, now()).unwrap_err().message;
    assert_eq!(fault(&"a".repeat(TEXT_BYTES_MAX + 1)), "the query has 10241 bytes");
    assert_eq!(fault(&"a ".repeat(1025)), "more than 1024 conditions");
    assert_eq!(fault(&"/a/ ".repeat(33)), "more than 32 regular expressions");
    assert_eq!(fault(&"NOT ".repeat(2000)), "nested over 50 deep");
    assert_eq!(fault(&"(".repeat(TEXT_BYTES_MAX)), "nested over 50 deep");
    assert!(parse(&"a ".repeat(1024), now()).is_ok());
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let odd = "[-+.:;,*?\"\\\\()/@ aANDORTüK1]{0,6}";
    let end = |text: &'static str| proptest::option::of((text, any::<bool>()));
    let test = prop_oneof![
        "(AND|OR|NOT|-|)".prop_map(Test::Text),
        "\\PC{1,12}".prop_map(Test::Text),
        odd.prop_map(Test::Prefix),
        odd.prop_map(Test::Contains),
        proptest::collection::vec(odd, 0..5).prop_map(Test::Wildcard),
        "[a-z ./]{0,8}".prop_map(Test::Regex),
        (end("[a-z\" ]{0,4}"), end("[0-9]{1,4}")).prop_map(|(lower, upper)| Test::Range { lower, upper }),
        Just(Test::Exists),
    ];
    let field = prop_oneof![
        Just(Field::Message),
        Just(Field::DagId),
        Just(Field::TryNumber),
        Just(Field::named("a.b")),
        Just(Field::named("k8s/x-y"))
    ];
    let leaf = (field, test).prop_map(|(field, test)| Filter::Is(field, test));
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Filter::And),
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Filter::Or),
            inner.prop_map(|inner| Filter::Not(Box::new(inner))),
        ]
    })
}

/// Choices that follow from a seed.
fn choices(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |n| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % n
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn what_is_written_reads_back(filter in any_filter(), seed: u64) {
        if let Some(filter) = canonical(&filter) {
            let text = written(&filter, &mut choices(seed));
            prop_assert_eq!(parse(&text, now()).map_err(|f| format!("{text}: {f:?}")), Ok(filter), "{}", text);
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}", syntax in "[ab:\"\\\\()/\\[\\]{}<>=*@ANDORTnot -]{0,60}") {
        for text in [text, syntax] {
            if let Err(fault) = parse(&text, now()) {
                prop_assert!(fault.position <= text.chars().count());
            }
        }
    }
}
