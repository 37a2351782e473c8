//! Questions over a real store and a hot part: every record once, in order, wherever it lies.

mod differential;
mod merging;
mod spread;

use std::sync::atomic::Ordering;

use heliograph_model::time::TimeRange;
use heliograph_store::catalog::Role;
use http::StatusCode;
use object_store::ObjectStoreExt;
use serde_json::json;

use crate::stage::{Stage, messages, record, tenant};

/// Records of tenants `a` and `b`: some sealed in two segments, some hot.
async fn filled() -> (Stage, String) {
    let stage = Stage::new().await;
    let (a, b) = (tenant("a"), tenant("b"));
    let indexer = &stage.indexer;
    indexer.commit(&a, &[record(1, 1, 1, "a one"), record(1, 2, 4, "a four")]).await;
    indexer.commit(&b, &[record(9, 1, 2, "b two")]).await;
    indexer.seal(&a).await;
    indexer.commit(&a, &[record(2, 1, 3, "a three"), record(2, 2, 6, "a six")]).await;
    indexer.seal(&a).await;
    indexer.seal(&b).await;
    indexer.commit(&a, &[record(1, 3, 5, "a five"), record(1, 4, 7, "a seven")]).await;
    indexer.commit(&b, &[record(9, 2, 8, "b eight")]).await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    (stage, token)
}

const NEWEST_FIRST: [&str; 6] = ["a seven", "a six", "a five", "a four", "a three", "a one"];

#[tokio::test]
async fn hot_and_sealed_records_come_in_one_order() {
    let (stage, token) = filled().await;
    assert_eq!(stage.messages(&token, "/api/v1/search").await, NEWEST_FIRST);
    let mut oldest_first = NEWEST_FIRST.to_vec();
    oldest_first.reverse();
    assert_eq!(stage.messages(&token, "/api/v1/search?order=asc").await, oldest_first);
    assert_eq!(stage.messages(&token, "/api/v1/search?q=five%20OR%20three").await, ["a five", "a three"]);
    assert_eq!(stage.messages(&token, "/api/v1/search?q=dag_id:dag2").await, ["a six", "a three"]);
    assert_eq!(stage.messages(&token, "/api/v1/search?q=n:%3E3").await, ["a seven"]);
    let inside = "/api/v1/search?start=2026-11-24T10:00:03Z&end=2026-11-24T10:00:05Z";
    assert_eq!(stage.messages(&token, inside).await, ["a four", "a three"]);
}

#[tokio::test]
async fn a_record_on_its_way_from_hot_to_sealed_is_seen_once() {
    let (stage, token) = filled().await;
    for path in ["/api/v1/search", "/api/v1/search?order=asc", "/api/v1/search?limit=2"] {
        let before = stage.messages(&token, path).await;
        stage.indexer.commit(&tenant("b"), &[record(9, 3, 0, "b")]).await;
        stage.indexer.seals_after_scan.store(true, Ordering::SeqCst);
        assert_eq!(stage.messages(&token, path).await, before, "sealed after the hot part answered");
        assert!(!stage.indexer.seals_after_scan.load(Ordering::SeqCst));
        assert_eq!(stage.messages(&token, path).await, before, "sealed");
        stage.indexer.commit(&tenant("a"), &[record(3, 1, -100, "a old")]).await;
        stage.indexer.seal(&tenant("a")).await;
    }
}

#[tokio::test]
async fn counts_do_not_double_either() {
    let (stage, token) = filled().await;
    let count = async || stage.get(&token, "/api/v1/values?field=dag_id").await.1["values"].clone();
    let before = count().await;
    assert_eq!(before, json!([{"value": "dag1", "count": 4}, {"value": "dag2", "count": 2}]));
    stage.indexer.seals_after_scan.store(true, Ordering::SeqCst);
    assert_eq!(count().await, before);
    assert_eq!(count().await, before);
}

#[tokio::test]
async fn pages_cover_all_records_once() {
    let (stage, _) = filled().await;
    // Two tenants with records of the very same key: their names decide.
    for name in ["a", "b"] {
        let same: Vec<_> = (1..6).map(|n| record(5, n, 10, &format!("{name} same {n}"))).collect();
        stage.indexer.commit(&tenant(name), &same).await;
    }
    stage.indexer.seal(&tenant("b")).await;
    let cookie = crate::access::tests::sign_in(&stage, "bob").await;
    for order in ["asc", "desc"] {
        let ask = async |query: String| -> serde_json::Value {
            let url = format!("{}/api/v1/search?order={order}{query}", stage.url);
            let response = stage.client.get(url).header("cookie", &cookie).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            response.json().await.unwrap()
        };
        let all = messages(&ask("&limit=1000".to_owned()).await);
        assert_eq!(all.len(), 18);
        for limit in 1..5 {
            let (mut paged, mut cursor) = (Vec::new(), String::new());
            loop {
                let body = ask(format!("&limit={limit}&cursor={cursor}")).await;
                paged.extend(messages(&body));
                match body["next_cursor"].as_str() {
                    Some(next) => cursor = next.to_owned(),
                    None => break,
                }
            }
            assert_eq!(paged, all, "{order} by {limit}");
        }
    }
}

#[tokio::test]
async fn lines_stream_with_what_a_page_says_at_their_end() {
    let (stage, token) = filled().await;
    let url = format!("{}/api/v1/search?limit=4", stage.url);
    let request = stage.client.get(url).bearer_auth(&token).header("accept", "application/x-ndjson");
    let text = request.send().await.unwrap().text().await.unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0]["message"], "a seven");
    assert_eq!(lines[4]["complete"], true);
    assert!(lines[4]["next_cursor"].is_string());
}

#[tokio::test]
async fn a_budget_ends_a_page_and_its_cursor_goes_on_from_there() {
    let (stage, _) = filled().await;
    let cookie = crate::access::tests::sign_in(&stage, "bob").await;
    for (order, name) in [("desc", "searched_back_to"), ("asc", "searched_up_to")] {
        let ask = async |query: String| -> serde_json::Value {
            let url = format!("{}/api/v1/search?order={order}{query}", stage.url);
            let request = stage.client.get(url).header("cookie", &cookie);
            request.send().await.unwrap().json().await.unwrap()
        };
        let all = messages(&ask(String::new()).await);
        assert_eq!(all.len(), 8);
        for limit in [2, 100] {
            let (mut paged, mut cursor, mut ends) = (Vec::new(), String::new(), Vec::new());
            loop {
                let body = ask(format!("&limit={limit}&budget=0ms&cursor={cursor}")).await;
                paged.extend(messages(&body));
                if let Some(end) = body[name].as_str() {
                    assert_eq!(body["complete"], false);
                    ends.push(end.to_owned());
                }
                match body["next_cursor"].as_str() {
                    Some(next) => cursor = next.to_owned(),
                    None => break,
                }
            }
            assert_eq!(paged, all, "{order} by {limit}");
            let mut sorted = ends.clone();
            sorted.sort();
            sorted.dedup();
            if order == "desc" {
                sorted.reverse();
            }
            assert_eq!(ends, sorted, "each comes further");
            assert!(limit < 100 || ends.len() == 2, "a step for each segment but the last: {ends:?}");
        }
        assert_eq!(ask("&budget=1m".to_owned()).await["complete"], true);
    }
    let (status, _) = stage.get(&stage.token("a", &[Role::Viewer]).await.1, "/api/v1/search?budget=x").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn histograms_count_every_record_and_every_bucket() {
    let (stage, token) = filled().await;
    let (_, body) = stage.get(&token, "/api/v1/histogram?interval=1s&by=level").await;
    assert_eq!(body["interval_ms"], 1_000);
    let buckets = body["buckets"].as_array().unwrap();
    let totals: Vec<u64> = buckets.iter().map(|b| b["total"].as_u64().unwrap()).collect();
    assert_eq!(totals, [1, 0, 1, 1, 1, 1, 1]);
    assert_eq!(buckets[0]["start"], "2026-11-24T10:00:01.000000000Z");
    assert_eq!(buckets[0]["by"], json!({"error": 1}));
    assert_eq!(buckets[3]["by"], json!({"info": 1}));
    let (_, body) = stage.get(&token, "/api/v1/histogram?start=now-1h&end=now&q=nothing").await;
    assert_eq!(body["interval_ms"], 120_000);
    assert!(body["buckets"].as_array().unwrap().len() >= 30);
    let (status, body) = stage.get(&token, "/api/v1/histogram?start=now-1d&end=now&interval=1s").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
}

#[tokio::test]
async fn fields_are_the_named_and_the_attributes() {
    let (stage, token) = filled().await;
    let (_, body) = stage.get(&token, "/api/v1/fields").await;
    let fields = body["fields"].as_array().unwrap();
    assert_eq!(fields[0], json!({"name": "@timestamp"}));
    assert_eq!(fields.last().unwrap(), &json!({"name": "n", "count": 6}));
    let (status, _) = stage.get(&token, "/api/v1/values?field=message").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_plan_says_what_would_be_looked_at_and_looks_at_nothing() {
    let (stage, token) = filled().await;
    let scans = stage.indexer.scans.load(Ordering::SeqCst);
    let explain = async |query: &str| -> serde_json::Value {
        let (status, body) = stage.get(&token, &format!("/api/v1/{query}&explain=true")).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        body["plan"].clone()
    };
    let plan = explain("search?q=\"a%20four\"%20-level:error").await;
    assert_eq!(plan["words"], json!([{ "condition": { "text": "a four" }, "tokens": ["a", "four"] }]));
    assert_eq!(plan["filter"]["and"][0], json!({ "is": ["message", { "text": "a four" }] }));
    let tenants = plan["tenants"].as_array().unwrap();
    assert_eq!((tenants.len(), &tenants[0]["tenant"]), (1, &json!("a")), "only what one may read");
    let possible = |plan: &serde_json::Value| -> Vec<u64> {
        let segments = plan["tenants"][0]["segments"].as_array().unwrap();
        segments.iter().map(|s| s["possible_blocks"].as_u64().unwrap()).collect()
    };
    let segment = &tenants[0]["segments"][1];
    assert_eq!((&segment["records"], &segment["blocks"]), (&json!(2), &json!(1)));
    assert_eq!(segment["last"], "2026-11-24T10:00:04.000000000Z");
    assert!(segment["read_bytes"].as_u64().unwrap() > 0);
    assert_eq!(possible(&plan), [0, 1], "newest first");
    let plan = explain("values?field=level").await;
    assert_eq!(possible(&plan), [1, 1]);
    assert_eq!(plan["tenants"][0]["segments"][0]["read_blocks"], 0, "the directory knows");
    assert_eq!(possible(&explain("histogram?interval=1s&q=nowhere").await), [0, 0]);
    assert_eq!(possible(&explain("histogram?start=now-1h&q=/f.ur/").await), [1, 1]);
    assert_eq!(stage.indexer.scans.load(Ordering::SeqCst), scans);
    let (status, _) = stage.get(&token, "/api/v1/search?explain=yes").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = stage.get(&token, "/api/v1/search?tenant=b&explain=true").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn context_is_the_file_around_a_record() {
    let (stage, token) = filled().await;
    let (_, body) = stage.get(&token, "/api/v1/search?q=four").await;
    let id = body["records"][0]["id"].as_str().unwrap().to_owned();
    let around = async |query: &str| stage.messages(&token, &format!("/api/v1/context?id={id}{query}")).await;
    assert_eq!(around("").await, ["a one", "a four", "a five", "a seven"]);
    assert_eq!(around("&before=0&after=1").await, ["a four", "a five"]);
    assert_eq!(around("&before=1&after=0").await, ["a one", "a four"]);
    assert_eq!(around("&q=level:error").await, ["a one", "a five"]);
    let (_, foreign) = stage.token("b", &[Role::Viewer]).await;
    let (status, body) = stage.get(&foreign, &format!("/api/v1/context?id={id}")).await;
    let (never, other) = stage.get(&foreign, "/api/v1/context?id=AAAA").await;
    assert_eq!((status, never), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    assert_eq!(body["error"]["message"], other["error"]["message"]);
}

#[tokio::test]
async fn a_context_has_the_nearest_though_positions_fall_as_time_rises() {
    let (stage, a) = (Stage::new().await, tenant("a"));
    stage.indexer.commit(&a, &[record(1, 7, 1, "near")]).await;
    stage.indexer.seal(&a).await;
    stage.indexer.commit(&a, &[record(1, 5, 1, "far"), record(1, 3, 2, "this")]).await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let (_, body) = stage.get(&token, "/api/v1/search?q=this").await;
    let id = body["records"][0]["id"].as_str().unwrap();
    let context = stage.messages(&token, &format!("/api/v1/context?id={id}&before=1&after=0")).await;
    assert_eq!(context, ["near", "this"]);
}

#[tokio::test]
async fn a_context_whose_filter_leaves_no_time_is_empty() {
    let (stage, token) = filled().await;
    let (_, body) = stage.get(&token, "/api/v1/search?q=four").await;
    let id = body["records"][0]["id"].as_str().unwrap();
    let never = "@timestamp:[2026-11-25T00:00:00Z%20TO%202026-11-24T00:00:00Z]";
    assert!(stage.messages(&token, &format!("/api/v1/context?id={id}&q={never}")).await.is_empty());
}

#[tokio::test]
async fn an_answer_without_the_hot_part_says_so() {
    let (stage, token) = filled().await;
    stage.indexer.is_down.store(true, Ordering::SeqCst);
    let (status, body) = stage.get(&token, "/api/v1/search").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(messages(&body), ["a six", "a four", "a three", "a one"]);
    assert_eq!(body["complete"], false);
    assert_eq!(body["stats"]["unreachable"], json!(["indexer-1"]));
    let (status, _) = stage.get(&token, "/api/v1/export").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "an export is whole or an error");
}

#[tokio::test]
async fn an_indexer_is_asked_once_for_all_tenants_and_believed_for_those_only() {
    let (stage, _) = filled().await;
    let cookie = crate::access::tests::sign_in(&stage, "bob").await;
    let ask = async |path: &str| -> serde_json::Value {
        let request = stage.client.get(format!("{}/api/v1/{path}", stage.url)).header("cookie", &cookie);
        request.send().await.unwrap().json().await.unwrap()
    };
    for path in ["search", "values?field=dag_id", "fields"] {
        let before = stage.indexer.scans.load(Ordering::SeqCst);
        assert_eq!(ask(path).await["complete"], true);
        assert_eq!(stage.indexer.scans.load(Ordering::SeqCst) - before, 1, "{path}");
    }
    *stage.indexer.answers_as.lock() = Some(tenant("foreign"));
    let body = ask("search").await;
    assert_eq!((&body["complete"], &body["stats"]["unreachable"]), (&json!(false), &json!(["indexer-1"])));
    assert_eq!(messages(&body), ["a six", "a four", "a three", "b two", "a one"], "nothing of that answer");
}

#[tokio::test]
async fn a_damaged_segment_takes_no_other_records_along() {
    let stage = Stage::new().await;
    let a = tenant("a");
    let many = |source, seconds: i64| -> Vec<_> {
        (0..40).map(|n| record(source, n, seconds, &format!("{source} {n}"))).collect()
    };
    for (source, seconds) in [(1, 10), (2, 20)] {
        stage.indexer.commit(&a, &many(source, seconds)).await;
        stage.indexer.seal(&a).await;
    }
    let newest = stage.store.catalog.segments(&a, &TimeRange::ALL).await.unwrap().remove(0);
    stage.damage(&newest).await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let (status, body) = stage.get(&token, "/api/v1/search?limit=30").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&body["complete"], &body["stats"]["damaged"]), (&json!(false), &json!(1)));
    let expected: Vec<_> = (10..40).rev().map(|n| format!("1 {n}")).collect();
    assert_eq!(messages(&body), expected);
    assert!(body["next_cursor"].is_string());
}

#[tokio::test]
async fn a_missing_segment_is_looked_for_once_more() {
    let (stage, token) = filled().await;
    assert_eq!(stage.messages(&token, "/api/v1/search").await, NEWEST_FIRST);
    let a = tenant("a");
    let oldest = stage.store.catalog.segments(&a, &TimeRange::ALL).await.unwrap().pop().unwrap();
    let open = stage.store.tenants.get(&a).await.unwrap();
    stage.store.objects.delete(&heliograph_store::layout::segment(open.uid, oldest.id)).await.unwrap();
    for path in ["/api/v1/search?q=one", "/api/v1/values?field=attributes.n"] {
        let before = stage.indexer.scans.load(Ordering::SeqCst);
        assert_eq!(stage.get(&token, path).await.0, StatusCode::SERVICE_UNAVAILABLE, "the catalog names it");
        assert_eq!(stage.indexer.scans.load(Ordering::SeqCst) - before, 2, "{path}");
    }
}

#[tokio::test]
async fn exports_hold_everything_in_every_format() {
    let (stage, token) = filled().await;
    let export = async |query: &str, encoding: &str| {
        let url = format!("{}/api/v1/export?{query}", stage.url);
        let request = stage.client.get(url).bearer_auth(&token).header("accept-encoding", encoding);
        request.send().await.unwrap()
    };
    let many: Vec<_> = (0..1_500).map(|n| record(7, n, 20, &format!("line {n}"))).collect();
    stage.indexer.commit(&tenant("a"), &many).await;
    let text = export("order=desc", "identity").await.text().await.unwrap();
    assert_eq!(text.lines().count(), 1_506);
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["message"], "line 1499");
    let text = export("format=text&q=one", "identity").await.text().await.unwrap();
    assert_eq!(text, "2026-11-24T10:00:01.000000000Z ERROR    a one\n");
    let csv = export("format=csv&q=one", "identity").await.text().await.unwrap();
    assert!(csv.starts_with("@timestamp,level,tenant,") && csv.lines().count() == 2, "{csv}");
    for encoding in ["gzip", "zstd"] {
        let response = export("", encoding).await;
        assert_eq!(response.headers()["content-encoding"], encoding);
        assert!(response.bytes().await.unwrap().len() < text.len() + 100_000);
    }
}
