//! How long a start takes that finds so much written ahead. As a figure, of a release build and 256 MiB:
//! `HELIOGRAPH_TEST_WAL_MIB=256 cargo test --release -p heliograph --test it recovery -- --nocapture`

use std::fmt::Write;

use reqwest::Method;
use serde_json::json;

use crate::direct::{AGENT_TOKEN, TENANT};
use crate::seed::Random;
use crate::server::{Place, Server, files_below};

const SETTINGS: [(&str, &str); 6] = [
    ("HELIOGRAPH_INDEXER__SEAL_AFTER", "1h"),
    ("HELIOGRAPH_INDEXER__SEAL_BYTES", "8 GiB"),
    ("HELIOGRAPH_INDEXER__HOT_BYTES_MAX", "16 GiB"),
    ("HELIOGRAPH_AUTH__AGENT_TOKEN", AGENT_TOKEN),
    ("HELIOGRAPH_TELEMETRY__METRICS_OPEN", "true"),
    ("HELIOGRAPH_LIMITS__BODY_BYTES_MAX", "16 MiB"),
];
/// Records of a batch.
const BATCH: usize = 5_000;

#[expect(clippy::disallowed_methods, reason = "a longer form of the test, on demand")]
fn mebibytes() -> u64 {
    std::env::var("HELIOGRAPH_TEST_WAL_MIB").map_or(2, |text| text.parse().unwrap())
}

/// Lines of which a compressor makes about half.
fn body(random: &mut Random) -> serde_json::Value {
    let record = |n: usize| {
        let mut text = format!("task {n} of the recovery has said");
        for _ in 0..8 {
            write!(text, " {:016x}", random.next()).unwrap();
        }
        json!({ "timeUnixNano": (1_764_000_000_000_000_000 + n as u64).to_string(), "body": { "stringValue": text } })
    };
    let records: Vec<_> = (0..BATCH).map(record).collect();
    json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": records }] }] })
}

fn written_ahead(place: &Place) -> u64 {
    let all = files_below(&place.data().join("objects/w"));
    all.iter().map(|path| path.metadata().unwrap().len()).sum()
}

async fn hot_records(server: &Server) -> usize {
    let metrics = server.api(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("heliograph_indexer_hot_records "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_was_written_ahead_is_hot_again_when_the_start_is_done() {
    let mut random = Random::new("recovery");
    let place = Place::new();
    let server = place.up_alone(&[], &SETTINGS).await;
    let mut batches = 0;
    while batches == 0 || written_ahead(&place) < mebibytes() << 20 {
        let request = server.ingest(Method::POST, "/v1/logs").bearer_auth(AGENT_TOKEN);
        let sent =
            request.header("x-heliograph-tenant", TENANT).json(&body(&mut random)).send().await.unwrap();
        assert_eq!(sent.status(), 200);
        batches += 1;
    }
    let bytes = written_ahead(&place);
    server.kill().await;
    let server = place.up_alone(&[], &SETTINGS).await;
    assert_eq!(hot_records(&server).await, batches * BATCH);
    let took = server.recovery().unwrap();
    let records = batches * BATCH;
    eprintln!("recovery: {} MiB written ahead, {records} records: ready after {took:?}", bytes >> 20);
    server.kill().await;
}
