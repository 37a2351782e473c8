//! Segments that are merged while they are read: every record is seen exactly once at every moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use heliograph_store::catalog::Role;
use http::StatusCode;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::stage::{FakeIndexer, Stage, messages, record, tenant};

/// How many records an answer counts, or has.
fn count(body: &Value) -> u64 {
    let sum = |of: &Value, key: &str| of.as_array().unwrap().iter().map(|v| v[key].as_u64().unwrap()).sum();
    match () {
        () if body["buckets"].is_array() => sum(&body["buckets"], "total"),
        () if body["values"].is_array() => sum(&body["values"], "count"),
        () => messages(body).len() as u64,
    }
}

#[tokio::test]
async fn a_segment_merged_from_both_sides_of_the_watermark_is_read_up_to_it() {
    for path in
        ["search?q=line", "histogram?interval=1h", "histogram?interval=1h&q=line", "values?field=level"]
    {
        let stage = Stage::new().await;
        let (_, token) = stage.token("a", &[Role::Viewer]).await;
        let a = tenant("a");
        for n in 0..7 {
            let line = record(1, n, i64::try_from(n).unwrap(), &format!("line {n}"));
            stage.indexer.commit(&a, &[line]).await;
            if n % 2 == 1 {
                stage.indexer.seal(&a).await;
            }
        }
        stage.indexer.seals_after_scan.store(true, Ordering::SeqCst);
        stage.indexer.merges_after_scan.store(true, Ordering::SeqCst);
        for merged in ["after the hot part answered", "before"] {
            let (status, body) = stage.get(&token, &format!("/api/v1/{path}")).await;
            assert_eq!((status, &body["complete"]), (StatusCode::OK, &Value::Bool(true)), "{path}: {body}");
            assert!(!stage.indexer.merges_after_scan.load(Ordering::SeqCst));
            assert_eq!(count(&body), 7, "{path}, merged {merged}: {body}");
        }
        let list = stage.store.catalog.segments(&a, &heliograph_model::time::TimeRange::ALL).await.unwrap();
        assert_eq!(list.len(), 1, "{path}");
    }
}

/// Lines that are committed one by one.
const LINES: u64 = 400;

/// Commits all lines, one by one, and seals now and then.
async fn commit(indexer: Arc<FakeIndexer>, committed: Arc<AtomicU64>, is_over: Arc<AtomicBool>) {
    let a = tenant("a");
    for n in 0..LINES {
        let line = record(1, n, i64::try_from(n).unwrap(), &format!("line {n}"));
        indexer.commit(&a, &[line]).await;
        committed.store(n + 1, Ordering::SeqCst);
        match n % 6 {
            0 => indexer.seal(&a).await,
            3 => {
                indexer.seals_after_scan.store(true, Ordering::SeqCst);
                indexer.merges_after_scan.store(true, Ordering::SeqCst);
            }
            _ => {}
        }
    }
    is_over.store(true, Ordering::SeqCst);
}

/// Merges until all lines are there: all, every second one, the newest ones, the oldest ones.
async fn merge(indexer: Arc<FakeIndexer>, is_over: Arc<AtomicBool>) {
    let mut turn = 0_usize;
    while !is_over.load(Ordering::SeqCst) {
        turn += 1;
        let kind = turn % 4;
        let is_picked = |place: usize| [true, place.is_multiple_of(2), place > 1, place < 3][kind];
        indexer.merge(&tenant("a"), is_picked).await;
    }
}

/// Asks again and again; how often.
async fn ask(
    url: String,
    token: String,
    path: &'static str,
    committed: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
) -> u64 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut asked = 0;
    while !is_over.load(Ordering::SeqCst) {
        let least = committed.load(Ordering::SeqCst);
        let request = client.get(format!("{url}/api/v1/{path}")).bearer_auth(&token);
        let body: Value = request.send().await.unwrap().json().await.unwrap();
        let most = committed.load(Ordering::SeqCst) + 1;
        assert_eq!(body["complete"], true, "{body}");
        if body["records"].is_array() {
            let lines = messages(&body);
            let expected: Vec<String> = (0..lines.len()).map(|n| format!("line {n}")).collect();
            assert!(lines == expected, "{path}: {} lines, not each once: {lines:?}", lines.len());
        }
        // A search tells equal keys apart by nothing, so that it is the counts that would be doubled.
        let count = count(&body);
        assert!((least..=most).contains(&count), "{path}: {count} of {least} to {most}");
        asked += 1;
    }
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_is_seen_once_while_segments_are_sealed_and_merged() {
    let stage = Stage::with(|config| config.search_concurrency = 16).await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let (committed, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut asking = JoinSet::new();
    for path in
        ["search?order=asc&limit=10000&q=line", "histogram?interval=1h", "values?field=level&limit=1000"]
    {
        let (url, token) = (stage.url.clone(), token.clone());
        asking.spawn(ask(url, token, path, Arc::clone(&committed), Arc::clone(&is_over)));
    }
    let mut churning = JoinSet::new();
    churning.spawn(commit(Arc::clone(&stage.indexer), Arc::clone(&committed), Arc::clone(&is_over)));
    churning.spawn(merge(Arc::clone(&stage.indexer), Arc::clone(&is_over)));
    while let Some(done) = churning.join_next().await {
        done.unwrap();
    }
    let mut asked = 0;
    while let Some(done) = asking.join_next().await {
        asked += done.unwrap();
    }
    let merged = stage.store.catalog.retired(u32::MAX).await.unwrap().len();
    println!("{asked} questions, {merged} segments merged");
    assert!(asked > 9 && merged > 9, "{asked} questions, {merged} segments merged");
}
