//! Lines of each kind as Airflow wrote them, and what they say.

use proptest::prelude::*;
use serde_json::json;

use super::continuation::{Continuation, Decision, continues, starts_record};
use super::*;

/// One line's expected reading, as `(time, level, message, dag/task/run/map/try, attributes)`.
#[track_caller]
fn check(
    text: &str,
    time: Option<&str>,
    level: Option<Level>,
    message: Option<&str>,
    ids: &str,
    attributes: Value,
) {
    let line = parse_line(text);
    assert_eq!(line.time, time.map(|t| Timestamp::parse(t).unwrap()), "{text}");
    assert_eq!(line.level, level, "{text}");
    assert_eq!(line.message.as_deref(), message, "{text}");
    assert_eq!(ids_of(&line.identity), ids, "{text}");
    assert_eq!(Value::Object(line.attributes), attributes, "{text}");
}

fn ids_of(id: &Identity) -> String {
    let text = |s: &Option<Arc<str>>| s.as_deref().unwrap_or("?").to_owned();
    let map = id.map_index.map_or("?".to_owned(), |n| n.to_string());
    let attempt = id.try_number.map_or("?".to_owned(), |n| n.to_string());
    let all = [text(&id.dag_id), text(&id.task_id), text(&id.run_id), map, attempt, text(&id.logger)];
    if all.iter().all(|s| s == "?") { String::new() } else { all.join(" ") }
}

#[test]
fn airflow_2_json() {
    check(
        r#"{"asctime": "2026-11-23T22:03:16.012+0000", "filename": "taskinstance.py", "lineno": 1242, "levelname": "INFO", "message": "Marking task as FAILED. \u65e5\u672c \u001b[31mred", "offset": 1795471396012523008, "dag_id": "t_fail", "task_id": "boom", "execution_date": "2026_11_23T22_03_13_957608", "try_number": "1", "log_id": "t_fail-boom-manual__2026-11-23T22:03:13.957608+00:00--1-1"}"#,
        Some("2026-11-23T22:03:16.012Z"),
        Some(Level::Info),
        Some("Marking task as FAILED. 日本 \u{1b}[31mred"),
        "t_fail boom manual__2026-11-23T22:03:13.957608+00:00 -1 1 ?",
        json!({"filename": "taskinstance.py", "lineno": 1242, "offset": 1_795_471_396_012_523_008_i64,
            "execution_date": "2026_11_23T22_03_13_957608"}),
    );
    check(
        r#"{"asctime": "2026-11-23T22:03:16.012+0000", "levelname": "Level None", "message": "end_of_log", "filename": "", "lineno": 0}"#,
        Some("2026-11-23T22:03:16.012Z"),
        None,
        Some("end_of_log"),
        "",
        json!({"levelname": "Level None", "filename": "", "lineno": 0}),
    );
}

#[test]
fn airflow_3_json() {
    check(
        r#"{"timestamp":"2026-11-23T22:12:31.960293Z","level":"info","event":"about to fail","logger":"unusual_prefix_t_fail","ti_id":"01a20a77","map_index":-1,"try_number":1,"task_id":"boom","dag_id":"t_fail","run_id":"manual__x","filename":"t_fail.py","lineno":12}"#,
        Some("2026-11-23T22:12:31.960293Z"),
        Some(Level::Info),
        Some("about to fail"),
        "t_fail boom manual__x -1 1 unusual_prefix_t_fail",
        json!({"ti_id": "01a20a77", "filename": "t_fail.py", "lineno": 12}),
    );
    check(
        r#"{"timestamp":"2026-11-23T22:04:14.061252Z","level":"info","event":"Trigger fired event","name":"t/run/x (ID 1)"}"#,
        Some("2026-11-23T22:04:14.061252Z"),
        Some(Level::Info),
        Some("Trigger fired event"),
        "",
        json!({"name": "t/run/x (ID 1)"}),
    );
    let detail = json!([{"exc_type": "ValueError", "exc_value": "could not divide", "is_cause": false,
        "frames": [{"filename": "/dags/t_fail.py", "lineno": 17, "name": "inner"}]}]);
    for key in ["error_detail", "exception"] {
        check(
            &json!({"event": "Task failed", "level": "error", key: detail}).to_string(),
            None,
            Some(Level::Error),
            Some(
                "Task failed\nTraceback (most recent call last):\n  File \"/dags/t_fail.py\", line 17, in inner\n\
                 ValueError: could not divide",
            ),
            "",
            json!({key: detail}),
        );
    }
}

#[test]
fn other_json() {
    check(
        r#"{"ts":1795471396.25,"level":"WARN","msg":"slow","name":"git-sync","caller":{"a":[1]}}"#,
        Some("2026-11-23T22:03:16.25Z"),
        Some(Level::Warning),
        Some("slow"),
        "? ? ? ? ? git-sync",
        json!({"caller": {"a": [1]}}),
    );
    check(r#"{"rows": 42}"#, None, None, None, "", json!({"rows": 42}));
    check("{not json}", None, None, None, "", json!({}));
    check(
        r#"{"message":"half \ud83d, whole \ud83d\ude00"}"#,
        None,
        None,
        Some("half \u{fffd}, whole 😀"),
        "",
        json!({}),
    );
}

#[test]
fn what_a_line_says_about_its_tenant_is_an_attribute() {
    let names = ["tenant", "component", "namespace", "pod", "container", "node", "release", "workspace"];
    let line = json!({"message": "x", "tenant": "other", "component": "other", "namespace": "other", "pod": "other",
        "container": "other", "node": "other", "release": "other", "workspace": "other"});
    let parsed = parse_line(&line.to_string());
    for name in names {
        assert_eq!(parsed.attributes.get(name), Some(&json!("other")), "{name}");
    }
    assert_eq!(parsed.identity, Identity::default());
}

#[test]
fn values_of_the_wrong_kind_stay_attributes() {
    check(
        r#"{"timestamp":"soon","level":5,"event":{"a":1},"dag_id":7,"task_id":"","map_index":"x","try_number":-1,"logger":null}"#,
        None,
        None,
        None,
        "",
        json!({"timestamp": "soon", "level": 5, "event": {"a": 1}, "dag_id": 7, "task_id": "", "map_index": "x",
            "try_number": -1, "logger": null}),
    );
}

#[test]
fn airflow_2_text() {
    check(
        "[2026-11-23T22:00:14.229+0000] {scheduler_job_runner.py:435} INFO - 1 tasks up for execution:\n\t<TaskInstance: a.b>",
        Some("2026-11-23T22:00:14.229Z"),
        Some(Level::Info),
        Some("1 tasks up for execution:\n\t<TaskInstance: a.b>"),
        "",
        json!({"filename": "scheduler_job_runner.py", "lineno": 435}),
    );
    check(
        "[2026-11-23T22:18:18.969+0000] {logging_mixin.py:190} INFO - [2026-11-23T22:18:18.967+0000] {dagbag.py:387} ERROR - Failed to import: /x.py",
        Some("2026-11-23T22:18:18.969Z"),
        Some(Level::Error),
        Some("[2026-11-23T22:18:18.967+0000] {dagbag.py:387} ERROR - Failed to import: /x.py"),
        "",
        json!({"filename": "logging_mixin.py", "lineno": 190}),
    );
    check(
        "[\x1b[34m2026-11-23T22:00:14.229+0000\x1b[0m] {\x1b[34mx.py:\x1b[0m5} ERROR\x1b[0m - \x1b[31mbad\x1b[0m",
        Some("2026-11-23T22:00:14.229Z"),
        Some(Level::Error),
        Some("bad"),
        "",
        json!({"filename": "x.py", "lineno": 5}),
    );
    check(
        "[2026-11-23 22:00:14,229] {x.py:5} WARNING - \x1b[31mred\x1b[0m stays",
        Some("2026-11-23T22:00:14.229Z"),
        Some(Level::Warning),
        Some("\x1b[31mred\x1b[0m stays"),
        "",
        json!({"filename": "x.py", "lineno": 5}),
    );
}

#[test]
fn airflow_3_text() {
    check(
        "2026-11-23 22:03:15.059328+00:00 [info     ] about to fail                  [unusual_t_fail] dag_id=t_fail loc=t_fail.py:12 map_index=-1 run_id=manual__x task_id=boom ti_id=01a2 try_number=1",
        Some("2026-11-23T22:03:15.059328Z"),
        Some(Level::Info),
        Some("about to fail"),
        "t_fail boom manual__x -1 1 unusual_t_fail",
        json!({"filename": "t_fail.py", "lineno": 12, "ti_id": "01a2"}),
    );
    check(
        "2026-11-23T22:02:02.776921Z [info     ] this went through print()      [task.stdout]",
        Some("2026-11-23T22:02:02.776921Z"),
        Some(Level::Info),
        Some("this went through print()"),
        "? ? ? ? ? task.stdout",
        json!({}),
    );
    check(
        "2026-11-23T22:01:54.930651Z [info     ] creating dag run               [a.dag] loc=dag.py:615 logical_date=DateTime(2026, 11, 23, tzinfo=Timezone('UTC')) names=['a', 'b'] none=None query='a=b c' version=1.10",
        Some("2026-11-23T22:01:54.930651Z"),
        Some(Level::Info),
        Some("creating dag run"),
        "? ? ? ? ? a.dag",
        json!({"filename": "dag.py", "lineno": 615, "names": ["a", "b"], "none": null, "query": "a=b c",
            "logical_date": "DateTime(2026, 11, 23, tzinfo=Timezone('UTC'))", "version": "1.10"}),
    );
    check(
        "2026-11-23T22:06:05.335149Z [error    ] Exception in ASGI application\n [uvicorn.error] loc=impl.py:427\n  + Exception Group Traceback (most recent call last):\n  | x [y] dag_id=z",
        Some("2026-11-23T22:06:05.335149Z"),
        Some(Level::Error),
        Some(
            "Exception in ASGI application\n  + Exception Group Traceback (most recent call last):\n  | x [y] dag_id=z",
        ),
        "? ? ? ? ? uvicorn.error",
        json!({"filename": "impl.py", "lineno": 427}),
    );
    check(
        "\x1b[2m2026-11-23T22:03:14.207690Z\x1b[0m [\x1b[32m\x1b[1minfo     \x1b[0m] \x1b[1mevent  \x1b[0m [\x1b[0m\x1b[1m\x1b[34mlog.er\x1b[0m]\x1b[0m \x1b[36mkey\x1b[0m=\x1b[35mvalue\x1b[0m",
        Some("2026-11-23T22:03:14.207690Z"),
        Some(Level::Info),
        Some("event"),
        "? ? ? ? ? log.er",
        json!({"key": "value"}),
    );
}

#[test]
fn an_event_cannot_speak_for_the_line() {
    let text =
        "2026-11-23T22:02:02Z [info     ] printed [fake] dag_id=other\nand [fake] dag_id=other [task.stdout]";
    let line = parse_line(text);
    assert_eq!(line.identity.dag_id, None);
    assert_eq!(line.message.as_deref(), Some("printed [fake] dag_id=other\nand [fake] dag_id=other"));
    let doubtful = parse_line("2026-11-23T22:02:02Z [info     ] x [fake] z=1 dag_id=other");
    assert_eq!((doubtful.identity.dag_id, doubtful.identity.logger), (None, None));
}

#[test]
fn exceptions_in_console_text_read_like_those_in_json() {
    let line = parse_line(
        "2026-11-23T22:03:15Z [error    ] Task failed                    [task] dag_id=d error_detail=[{'exc_type': 'ValueError', 'exc_value': \"it's\", 'is_cause': False, 'frames': [{'filename': '/a.py', 'lineno': 3, 'name': 'f'}]}] try_number=1",
    );
    assert_eq!(
        line.message.as_deref(),
        Some(
            "Task failed\nTraceback (most recent call last):\n  File \"/a.py\", line 3, in f\nValueError: it's"
        )
    );
    assert!(line.attributes.get("error_detail").unwrap().is_array());
}

#[test]
fn servers() {
    check(
        "[2026-11-23 22:00:11 +0000] [3544] [INFO] Booting worker with pid: 4208",
        Some("2026-11-23T22:00:11Z"),
        Some(Level::Info),
        Some("Booting worker with pid: 4208"),
        "",
        json!({"process": 3544}),
    );
    for (status, level) in [(200, Level::Info), (404, Level::Info), (503, Level::Error)] {
        check(
            &format!(
                r#"127.0.0.1 - admin [23/Nov/2026:22:00:12 +0000] "GET /api?a=b HTTP/1.1" {status} 980 "-" "curl""#
            ),
            Some("2026-11-23T22:00:12Z"),
            Some(level),
            None,
            "",
            json!({"client_addr": "127.0.0.1", "user": "admin", "method": "GET", "path": "/api?a=b",
                "status_code": status, "bytes": 980}),
        );
    }
}

#[test]
fn deep_and_wide_objects_are_kept_as_far_as_they_fit() {
    let deep = format!(r#"{{"message":"m","a":{}{},"b":2}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let line = parse_line(&deep);
    assert_eq!((line.message.as_deref(), line.attributes.get("b")), (Some("m"), Some(&json!(2))));
    let wide: Map<String, Value> = (0..50_000).map(|i| (format!("k{i}"), json!(i))).collect();
    assert_eq!(parse_line(&Value::Object(wide).to_string()).attributes.len(), 1_000);
}

#[test]
fn records_begin_where_a_line_says_so() {
    for line in [
        r#"{"event":"x"}"#,
        "[2026-11-23T22:00:14.229+0000] {x.py:1} INFO - a",
        "[2026-11-23 22:00:11 +0000] [3544] [INFO] a",
        "2026-11-23T22:03:14.207690Z [info     ] a",
        "2026-11-23 22:03:15.059328+00:00 [error    ] a",
        r#"::1 - - [23/Nov/2026:22:00:12 +0000] "GET / HTTP/1.1" 200 9"#,
    ] {
        assert!(starts_record(line), "{line}");
    }
    for line in
        ["", "{", "\tat x", "Traceback (most recent call last):", "ValueError: x", "[x] y", "2026-11-23"]
    {
        assert!(!starts_record(line), "{line}");
    }
}

#[test]
fn pairs_of_lines() {
    let head = "[2026-11-23T22:00:14.229+0000] {x.py:1} INFO - a";
    let tailed = "2026-11-23T22:03:14.207690Z [error    ] a [b] loc=x.py:1";
    let check = |first: &str, second: &str, joined: bool| {
        assert_eq!(continues(first, second), joined, "{first}\n{second}");
    };
    check(head, "\t<TaskInstance: a.b>", true);
    check(head, "FROM b", true);
    check(head, "  ____________       _____________", false);
    check(head, head, false);
    check(head, "/a/b.py:22 UserWarning: x", false);
    check(tailed, TRACEBACK, true);
    check(tailed, "other", false);
    check("2026-11-23T22:03:14Z [info     ] multi", "line", true);
    check("ERROR:root:failed", TRACEBACK, true);
    check("hello", TRACEBACK, false);
    check("hello", "world", false);
    check("java.lang.Error: x", "\tat a.b(C.java:1)", true);
    check("java.lang.Error: x", "Caused by: y", true);
    check(r#"{"event":"x"}"#, "\t<TaskInstance>", false);
    check(r#"{"event":"x"}"#, TRACEBACK, false);
    check("", "", false);
}

#[test]
fn a_chain_of_tracebacks_is_one_record() {
    let text = "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    x()\npsycopg2.OperationalError: refused\n\tIs the server running?\n\n\nThe above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n  File \"b.py\", line 2, in g\nsqlalchemy.exc.OperationalError: refused\n(Background on this error at: https://sqlalche.me/e/14/e3q8)";
    let mut lines = Continuation::new();
    let decisions: Vec<_> = text.lines().map(|l| (lines.feed(l), lines.expects_more())).collect();
    assert_eq!(decisions.first(), Some(&(Decision::Starts, true)));
    assert!(decisions.iter().skip(1).all(|d| d.0 == Decision::Continues && d.1), "{decisions:?}");
    assert_eq!(lines.feed("Sending SIGTERM to group 7"), Decision::Starts);
    assert!(!lines.expects_more());
}

/// Feeds lines; each record's are joined by `|`.
#[track_caller]
fn check_records(text: &str, expected: &[&str]) {
    let mut lines = Continuation::new();
    let mut records: Vec<String> = vec![];
    for line in text.lines() {
        match (lines.feed(line), records.last_mut()) {
            (Decision::Continues, Some(record)) => *record += &format!("|{}", line.trim()),
            _ => records.push(line.trim().to_owned()),
        }
    }
    assert_eq!(records, expected);
}

#[test]
fn java_exceptions() {
    check_records(
        "before\n\
         Exception in thread \"main\" java.lang.IllegalStateException: boom\n\
         \tat com.example.Main.run(Main.java:12)\n\
         \t... 3 more\n\
         Caused by: java.io.IOException: disk\n\
         \tat com.example.Disk.read(Disk.java:7)\n\
         \tSuppressed: java.lang.Exception: x\n\
         after",
        &[
            "before",
            "Exception in thread \"main\" java.lang.IllegalStateException: boom|at \
             com.example.Main.run(Main.java:12)|... 3 more|Caused by: java.io.IOException: disk|at \
             com.example.Disk.read(Disk.java:7)|Suppressed: java.lang.Exception: x",
            "after",
        ],
    );
    check_records(
        "2026-11-24 10:00:00,123 INFO [main] c.e.Main - fine\n\
         2026-11-24 10:00:00,124 ERROR [main] c.e.Main - it failed\n\
         org.postgresql.util.PSQLException: no\n\
         \tat org.postgresql.X.y(X.java:1)\n\
         2026-11-24 10:00:01,000 INFO [main] c.e.Main - on",
        &[
            "2026-11-24 10:00:00,123 INFO [main] c.e.Main - fine",
            "2026-11-24 10:00:00,124 ERROR [main] c.e.Main - it \
             failed|org.postgresql.util.PSQLException: no|at org.postgresql.X.y(X.java:1)",
            "2026-11-24 10:00:01,000 INFO [main] c.e.Main - on",
        ],
    );
    // What only looks a little like one.
    check_records("ValueError: x\nfoo.bar: y\n a", &["ValueError: x", "foo.bar: y|a"]);
}

#[test]
fn go_panics() {
    check_records(
        "I1124 10:00:00.000000       1 main.go:1] starting\n\
         panic: runtime error: invalid memory address or nil pointer dereference\n\
         [signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x47b1c6]\n\
         \n\
         goroutine 1 [running]:\n\
         main.(*Server).run(0xc000012345, {0x0, 0x0})\n\
         \t/src/main.go:8 +0x26\n\
         main.main()\n\
         \t/src/main.go:4 +0x17\n\
         \n\
         goroutine 18 [chan receive, 2 minutes]:\n\
         created by main.main in goroutine 1\n\
         \t/src/main.go:3 +0x99\n\
         exit status 2\n\
         after",
        &[
            "I1124 10:00:00.000000       1 main.go:1] starting",
            "panic: runtime error: invalid memory address or nil pointer dereference|[signal SIGSEGV: \
             segmentation violation code=0x1 addr=0x0 pc=0x47b1c6]||goroutine 1 [running]:|main.(*Server).\
             run(0xc000012345, {0x0, 0x0})|/src/main.go:8 +0x26|main.main()|/src/main.go:4 +0x17||goroutine \
             18 [chan receive, 2 minutes]:|created by main.main in goroutine 1|/src/main.go:3 +0x99",
            "exit status 2",
            "after",
        ],
    );
    check_records("panic: x\n\nafter a blank line", &["panic: x|", "after a blank line"]);
}

#[test]
fn only_likely_records_are_held_back() {
    let check = |line: &str, expected: bool| {
        let mut lines = Continuation::new();
        lines.feed(line);
        assert_eq!(lines.expects_more(), expected, "{line}");
    };
    check("[2026-11-23T22:00:14.229+0000] {x.py:1} INFO - a", false);
    check("[2026-11-23T22:00:14.229+0000] {x.py:1} INFO - 1 tasks up for execution:", true);
    check("[2026-11-23T22:00:14.229+0000] {x.py:1} ERROR - a", true);
    check("2026-11-23T22:03:14Z [info     ] a [b] loc=x.py:1", false);
    check("2026-11-23T22:03:14Z [error    ] a [b] loc=x.py:1", true);
    check("2026-11-23T22:03:14Z [info     ] no tail yet", true);
    check(r#"{"level":"error"}"#, false);
    check("hello", false);
    check("2026-11-24 10:00:00,124 ERROR [main] c.e.Main - it failed", true);
    check("2026-11-24 10:00:00,123 INFO [main] c.e.Main - fine", false);
    check("panic: x", true);
    check("java.lang.Exception: x", true);
}

proptest! {
    #[test]
    fn any_text_is_read(text in any::<String>(), near in r#"(\{"|\}|\[|\]|: |"|event|dag_id|2026-11-23T22:00:14Z|info|\n| |=|\x1b\[0m|\\ud|'| - |INFO|[0-9]){0,40}"#) {
        for text in [&text, &near] {
            let _ = parse_line(text);
            let mut lines = Continuation::new();
            for line in text.lines() {
                lines.feed(line);
            }
        }
    }

    #[test]
    fn json_keeps_every_key(map in proptest::collection::btree_map("[a-z]{3,8}[0-9]", "[a-z]{0,9}", 0..20)) {
        let parsed = parse_line(&serde_json::to_string(&map).unwrap());
        prop_assert_eq!(parsed.attributes.len(), map.len());
    }
}
