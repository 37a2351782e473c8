//! Promise: a clock that jumps costs no line, reorders none, and makes no figure absurd.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;

use crate::direct::{AGENT_TOKEN, Direct, sent};
use crate::server::{Place, Server};
use crate::writer::{Writers, assert_same, expected};

/// An hour on, an hour back, a day back, to the beginning of time, and as it was.
const JUMPS: [&str; 5] = ["+3600", "-3600", "-86400", "@1970-01-01 00:00:10", "+0"];

/// The library that stands before the system's clock.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file());
    found.expect("this test needs libfaketime: apt-get install faketime")
}

/// Starts a server whose clock, but not the monotonic one, is what the file says.
async fn up(place: &Place, clock: &Path) -> Server {
    let (library, clock) = (library().display().to_string(), clock.display().to_string());
    let glob = place.logs().join("*.log").display().to_string();
    let environment = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", &clock),
        ("FAKETIME_NO_CACHE", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
        ("HELIOGRAPH_INDEXER__SEAL_AFTER", "100ms"),
        ("HELIOGRAPH_AUTH__AGENT_TOKEN", AGENT_TOKEN),
        ("HELIOGRAPH_TELEMETRY__METRICS_OPEN", "true"),
    ];
    place.up_with(&["--logs", &glob], &environment).await
}

/// No duration, count or size is below zero.
async fn assert_sound(server: &Server) {
    let metrics = server.api(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("heliograph_indexer_commit_seconds_sum"), "{metrics}");
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_loses_and_reorders_nothing() {
    let place = Place::new();
    let clock = place.logs().with_file_name("clock");
    std::fs::write(&clock, "+0").unwrap();
    let mut server = up(&place, &clock).await;
    let token = place.token("default", "viewer").await;
    let mut direct = Direct::new("direct");
    let writers = Writers::start(&place.logs(), 2, Some(200));
    for jump in JUMPS.into_iter().chain(JUMPS) {
        // Written beside and moved, so that no half of it is read.
        let next = clock.with_extension("next");
        std::fs::write(&next, jump).unwrap();
        std::fs::rename(&next, &clock).unwrap();
        let base = server.base("indexer.listen");
        drop(tokio::time::timeout(Duration::from_millis(400), direct.send_on(&base)).await);
        server.wait_for(&token, "direct", direct.lines().min(10_000)).await;
        assert_sound(&server).await;
        if jump.starts_with('-') {
            // And a start at such a time.
            server.kill().await;
            server = up(&place, &clock).await;
        }
    }
    let written = writers.finish();
    for (name, count) in &written {
        server.wait_for(&token, &format!("{name} \"{}\"", count - 1), 1).await;
    }
    // The last batch may have been stored and not answered.
    direct.send(&server.base("indexer.listen")).await;
    let found = server.messages(&token).await;
    for (name, count) in written {
        assert_same(&name, &found[&name], &expected(count));
    }
    assert_same("direct", &found["direct"], &sent(direct.lines()));
    let times: Vec<String> =
        server.export(&token).await.iter().map(|r| r["@timestamp"].as_str().unwrap().to_owned()).collect();
    let times: Vec<jiff::Timestamp> = times.iter().map(|time| time.parse().unwrap()).collect();
    assert!(times.is_sorted(), "by time, whatever the clock was");
    server.stop().await;
}
