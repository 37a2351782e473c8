//! What programs say: the same texts again and again, with other names, numbers, ids, paths and addresses in them.

use super::Random;

pub(super) const WORDS: [&str; 34] = [
    "Task",
    "failed",
    "task_1",
    "exception",
    "Exception42",
    "Größe",
    "GRÖSSE",
    "10.0.0.7",
    "10.0.0.70",
    "10.0.0.7:80",
    "1.2.3.4",
    "1.2.3.4.5",
    "s3",
    "200",
    "200ms",
    "deadbeef01",
    "beef",
    "try",
    "(try",
    "ValueError:",
    "İstanbul",
    "Straße",
    "ſmall",
    "\u{212a}",
    "5\u{212a}",
    "\u{212a}ey",
    "key",
    "éxİ",
    "éxi",
    "日本語",
    "٣٤",
    "2026-11-24",
    "a_very_long_word_that_is_beyond_forty_bytes_in_all",
    "x",
];
const PARTS: [&str; 12] = [" ", " ", " ", ": ", "-", ".", "\n", "", "=", "'", "\"", "/"];
const NAMES: [&str; 9] =
    ["ada", "ada.lovelace", "sales", "Sales", "etl-daily", "load_orders", "İda", "\u{212a}urt", "größe"];
const STATES: [&str; 5] = ["failed", "running", "up_for_retry", "Task", "success"];

/// An address, or what looks like one: too many numbers, a port, zeros in front, another number beside it.
fn address(random: &mut Random) -> String {
    let n = random.below(12);
    match random.below(9) {
        0 => format!("1.2.3.{n}.5"),
        1 => format!("0.1.2.3.{n}"),
        2 => format!("10.0.0.{n}:80"),
        3 => format!("010.0.0.{n}"),
        4 => format!("10.0.0.{n}-10.0.0.{}", random.below(12)),
        5 => format!("10.0.0.{n}/24"),
        6 => format!("v10.0.0.{n}"),
        _ => format!("10.0.{}.{n}", random.below(2)),
    }
}

/// A path whose parts come again.
fn path(random: &mut Random) -> String {
    let (name, n) = (random.pick(&NAMES), random.below(30));
    match random.below(4) {
        0 => format!("/opt/airflow/dags/{name}.py"),
        1 => format!("s3://bucket-{n}/{name}/part-{n:05}.csv"),
        2 => format!("C:\\{name}\\{n}"),
        _ => format!("/var/log/{name}/{n}"),
    }
}

/// A text of a template whose variables are words.
fn of_names(random: &mut Random) -> String {
    let (name, state, n) = (random.pick(&NAMES), random.pick(&STATES), random.below(300));
    match random.below(12) {
        0 => format!("user {name} of team core ran '{state}' as {}", random.pick(&NAMES)),
        1 => format!("Reading {} for {name}", path(random)),
        2 => format!("dag_id='{name}' state={state}, next \"{state}\""),
        3 => format!("<TaskInstance: {name}.{state} manual__2026-11-2{} [{state}]>", n % 10),
        4 => format!("  File \"{}\", line {n}, in {name}", path(random)),
        5 => format!(r#"{{"event":"{state}","user":"{name}","n":{n},"at":{{"k":"v{n}"}}}}"#),
        6 => format!(r#"sent {{"event": "Task {state}", "tags": ["{name}", "{n}"]}} to {}"#, address(random)),
        7 => format!("connect {} as {name}@{}", address(random), address(random)),
        8 => format!("{} - {name} [{n}] \"GET {} HTTP/1.1\" 200", address(random), path(random)),
        9 => format!("retry of {name} (try {n}) in {}.{} s", n % 10, n % 7),
        10 => format!("`{name}` and <{state}> and -{name}- and {name}-"),
        _ => format!("{name}={state} {state}={name} {name}.{n}={n}"),
    }
}

/// A text of a template whose variables are numbers and ids.
fn of_numbers(random: &mut Random) -> String {
    let (n, id) = (random.below(400), random.next());
    match random.below(10) {
        0 => format!("Task task_{n} took {} ms on 10.0.0.{n}", random.below(50)),
        1 => format!("exception in deadbeef{id:08x}-beef-{n}: ValueError: s3"),
        2 => format!("Größe {n} Kelvin K9 GRÖSSE{n} {n}\u{212a} İ{n}"),
        3 => format!("{n}"),
        4 => "try failed try".to_owned(),
        5 => format!("(try {n}) a_very_long_word_that_is_beyond_forty_bytes_in_all"),
        6 => format!("mark \u{11} {n}"),
        // More words than are told apart.
        7 if random.one_in(8) => (0..70).map(|word| format!("w{} ", word + n % 3)).collect(),
        7 => format!(
            "{}{n} {}",
            random.pick(&["", "0", "-", "+"]),
            "z".repeat(38 + usize::from(n % 5 > 2) * 4)
        ),
        8 => format!("from {} to {}", address(random), address(random)),
        _ => format!("x{n}x {} x", random.pick(&["Task", "failed"])),
    }
}

/// A record's text.
pub(super) fn message(random: &mut Random) -> String {
    match random.below(4) {
        0 => of_numbers(random),
        1 | 2 => of_names(random),
        _ => {
            let mut out = String::new();
            for _ in 0..random.below(8) {
                match random.below(12) {
                    0 => out.push_str(&format!("id{:06x}", random.below(1 << 24))),
                    1 => out.push_str(&random.below(5_000).to_string()),
                    2 => out.push_str(random.pick(&NAMES)),
                    _ => out.push_str(random.pick(&WORDS)),
                }
                out.push_str(random.pick(&PARTS));
            }
            out
        }
    }
}

/// A value as it stands in JSON between quotes, escapes and all.
fn escaped(random: &mut Random) -> String {
    let n = random.below(20);
    match random.below(10) {
        0 => format!(r"line {n}\nnext\tcolumn"),
        1 => format!(r#"say \"no\" {n}"#),
        2 => format!(r"\u0041bc\u006{}", n % 10),
        3 => format!(r"\/var\/log\/{n}"),
        4 => format!(r"C:\\temp\\{n}"),
        5 => format!(r"gr\u00f6\u00dfe {n} \ud83d\ude00"),
        6 => format!("\u{212a}{n} İda"),
        7 => format!(r"\u0011{n} {}", random.pick(&NAMES)),
        8 => random.pick(&["1", "1.0", "01", "1e0", "-1", " 1", "NaN", "inf", ""]).to_owned(),
        _ => random.pick(&NAMES).to_owned(),
    }
}

/// Numbers as they may stand in JSON.
const NUMBERS: [&str; 9] = [
    "1e2",
    "1.0E+2",
    "-0",
    "0.10",
    "123456789012345678901234567890",
    "18446744073709551615",
    "1e-7",
    "-0.0",
    "100.0",
];

/// Paths of attributes; some that no record has.
pub(super) const PATHS: [&str; 27] = [
    "lineno",
    "big",
    "a.b",
    "x.y",
    "a",
    "ok",
    "filename",
    "user",
    "nothing.here",
    "d",
    "m",
    "k/x",
    "Abc",
    "größe",
    "deep.b.c",
    "deep",
    "list.n",
    "list",
    "n",
    "n.n",
    "x",
    "",
    ".",
    "a.",
    "ünï\"code",
    "null",
    "spaced",
];

/// A record's attributes, as the text of a JSON object.
pub(super) fn attributes(random: &mut Random) -> String {
    let n = random.below(12);
    match random.below(22) {
        0 => format!(r#"{{"lineno":{n},"filename":"dag.py"}}"#),
        1 => format!(r#"{{"a":{{"b":"v{}"}},"x.y":["1",{},null]}}"#, n % 3, n % 2),
        2 => r#"{"ünï\"code":"\u0000 \" 😀","ok":true}"#.to_owned(),
        3..=5 => format!(r#"{{"lineno":{},"user":"u{n}","a":{{"b":"v"}}}}"#, random.below(99)),
        6..=8 => format!(r#"{{"m":"{}","user":"{}"}}"#, escaped(random), random.pick(&NAMES)),
        // Equal keys: the last one counts.
        9 => format!(r#"{{"d":"{}","d":{n}}}"#, escaped(random)),
        10 => format!(
            r#"{{"d":{{"b":{n}}},"a":{{"b":1,"b":"{}"}},"d":"{}"}}"#,
            escaped(random),
            escaped(random)
        ),
        11 => format!(r#"{{"deep":{{"b":{{"c":{{"d":["{}",[{n}]]}}}}}}}}"#, escaped(random)),
        12 => format!(r#"{{"list":[{{"n":{n}}},{{"n":"{}"}},"x{n}",[]]}}"#, escaped(random)),
        13 => format!(
            r#"{{"k\/x":"{}","{}":"{n}"}}"#,
            escaped(random),
            random.pick(&["größe", r"gr\u00f6\u00dfe"])
        ),
        14 => format!(r#"{{"n":{}.5,"n.n":-{n},"x":"{n}.50"}}"#, n),
        15 => format!(r#"{{"" : "{}" , "spaced" : [ {n} , "{n}" ] , "null" : null}}"#, escaped(random)),
        17 => format!(r#"{{"big":{},"n":{n}e2}}"#, random.pick(&NUMBERS)),
        16 => format!(r#"{{"x":{{"y":"{}"}},"x.y":{{"z":{n}}}}}"#, random.pick(&NAMES)),
        _ => String::new(),
    }
}
