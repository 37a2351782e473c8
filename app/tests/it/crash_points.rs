//! Promise: killed between any two steps of its work, a process has lost nothing and doubles nothing.
//!
//! The steps are the points that `heliograph_store::crash` names, each before or after a sync, a put or a
//! transaction. Every one is in a table here, and is really passed: the process ends there and says so.

mod shared;

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::direct::{AGENT_TOKEN, TENANT};
use crate::seed::Random;
use crate::server::{Place, Server};
use crate::tidy::sources;
use crate::writer::{Writers, assert_same, expected};

/// Passed by the first start in this order, and by later ones where what they make is not there.
const FIRST_START: [&str; 11] = [
    "catalog.migrate.before",
    "catalog.migrate.after",
    "key.write.before",
    "key.link.before",
    "key.link.after",
    "key.sync_folder.before",
    "key.sync_folder.after",
    "admin.create.before",
    "admin.create.after",
    "tenant.create.before",
    "tenant.create.after",
];
/// Passed once by every start.
const EVERY_START: [&str; 3] = ["replay.delete.before", "replay.delete.after", "replay.after"];
/// Passed again and again under load.
const UNDER_LOAD: [&str; 12] = [
    "commit.put.before",
    "commit.put.after",
    "commit.record.before",
    "commit.record.after",
    "commit.answer.before",
    "commit.answer.after",
    "seal.put.before",
    "seal.put.after",
    "seal.publish.before",
    "seal.publish.after",
    "seal.delete.before",
    "seal.delete.after",
];
/// Passed where a commit holds no record.
const EMPTY_COMMITS: [&str; 2] = ["seal.release.before", "seal.release.after"];

/// How often each point is hit.
const HITS: u32 = 3;
const WRITERS: usize = 2;
/// Small and frequent seals, so that their points are soon passed.
const SETTINGS: [(&str, &str); 3] = [
    ("HELIOGRAPH_INDEXER__SEAL_BYTES", "256 KiB"),
    ("HELIOGRAPH_INDEXER__SEAL_AFTER", "100ms"),
    ("HELIOGRAPH_AUTH__AGENT_TOKEN", AGENT_TOKEN),
];

#[test]
fn every_point_of_the_code_is_in_a_table_here() {
    let mut named = BTreeSet::new();
    for (path, text) in sources() {
        if path.components().any(|part| part.as_os_str() == "tests") {
            continue;
        }
        for rest in text.split("crash::point(\"").skip(1) {
            named.insert(rest.split('"').next().unwrap().to_owned());
        }
    }
    let tables = [&FIRST_START[..], &EVERY_START, &UNDER_LOAD, &EMPTY_COMMITS, &shared::POINTS];
    let mut known: BTreeSet<_> = tables.into_iter().flatten().map(|name| (*name).to_owned()).collect();
    known.extend(crate::keys::POINTS.iter().map(|(_, name)| (*name).to_owned()));
    assert_eq!(named, known);
}

/// Sends batches without records until nobody takes them any more.
async fn send_empty_batches(server: &mut Server, epoch: usize) {
    let mut sequence = 1;
    while server.is_running() {
        if server.try_base("indexer.listen").is_some() {
            let sent = server
                .ingest(Method::POST, "/v1/logs")
                .bearer_auth(AGENT_TOKEN)
                .header("content-type", "application/x-protobuf")
                .header("x-heliograph-tenant", TENANT)
                .header("x-heliograph-producer", "says-nothing")
                .header("x-heliograph-epoch", epoch)
                .header("x-heliograph-sequence", sequence);
            sequence += u32::from(sent.send().await.is_ok_and(|answer| answer.status().is_success()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_release_has_no_points() {
    let manifest: toml::Table = include_str!("../../../Cargo.toml").parse().unwrap();
    let release = manifest["profile"]["release"].as_table().unwrap();
    assert!(!release.contains_key("debug-assertions"), "{release:?}");
}

/// Says that a process ended at the point, and no other.
#[track_caller]
fn assert_ended_at(point: &str, said: &str) {
    let is_said = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|entry| entry["point"] == point);
    assert!(said.lines().any(is_said), "it was not killed at {point}:\n{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_point_of_its_first_start_it_starts_anew() {
    let chain = async || {
        let place = Place::new();
        std::fs::write(place.logs().join("a.log"), "a line\n").unwrap();
        let glob = place.logs().join("*.log").display().to_string();
        for point in FIRST_START {
            if point.starts_with("key.") {
                // Made anew, or its points would not be passed again.
                drop(std::fs::remove_file(place.data().join("master.key")));
            }
            let mut server = place.spawn_up(&["--logs", &glob], &[("HELIOGRAPH_CRASH_AT", point)]);
            assert_ended_at(point, &server.killed().await);
        }
        let server = place.up().await;
        let token = place.token("default", "viewer").await;
        server.wait_for(&token, "line", 1).await;
        assert_eq!(server.messages(&token).await["a"], ["line"]);
        server.stop().await;
    };
    futures::future::join_all((0..HITS).map(|_| chain())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_point_of_its_work_nothing_is_lost_or_doubled() {
    let mut random = Random::new("crash_points");
    let place = Place::new();
    let glob = place.logs().join("*.log").display().to_string();
    let mut kills: Vec<(&str, u32)> =
        EVERY_START.iter().flat_map(|point| [(*point, 1); HITS as usize]).collect();
    let again = UNDER_LOAD.iter().chain(&EMPTY_COMMITS);
    kills.extend(again.flat_map(|point| (1..=HITS).map(move |hit| (*point, hit))));
    for at in (1..kills.len()).rev() {
        kills.swap(at, usize::try_from(random.below(at as u64 + 1)).unwrap());
    }
    let mut slowest = Duration::ZERO;
    let writers = Writers::start(&place.logs(), WRITERS, Some(300));
    for (number, (point, hit)) in kills.iter().enumerate() {
        let armed = format!("{point}:{hit}");
        let environment = [&SETTINGS[..], &[("HELIOGRAPH_CRASH_AT", &armed)]].concat();
        let mut server = place.spawn_up(&["--logs", &glob], &environment);
        if EMPTY_COMMITS.contains(point) {
            send_empty_batches(&mut server, number).await;
        }
        let said = server.killed().await;
        assert_ended_at(point, &said);
        slowest = slowest.max(server.recovery().unwrap_or_default());
    }
    let mut server = place.spawn_up(&["--logs", &glob], &SETTINGS);
    server.wait_until_ready().await;
    eprintln!("crash_points: {} kills, the slowest start was ready after {slowest:?}", kills.len());
    let written = writers.finish();
    let token = place.token("default", "viewer").await;
    for (name, count) in &written {
        server.wait_for(&token, &format!("{name} \"{}\"", count - 1), 1).await;
    }
    let found = server.messages(&token).await;
    for (name, count) in written {
        assert_same(&name, found.get(&name).map_or(&[][..], Vec::as_slice), &expected(count));
    }
    assert_eq!(found.len(), WRITERS);
    server.stop().await;
}
