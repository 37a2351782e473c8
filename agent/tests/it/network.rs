//! A network between agent and indexer that loses, repeats and tears (FAULTS.md R20): every line once, in order.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use heliograph_agent::{Config, Input};
use heliograph_model::tenant::TenantId;
use heliograph_testbed::faults::{http, tcp};

use crate::flow::Agent;
use crate::indexer::{Indexer, config};

/// Faults that a run must have come through.
const FAULTS_MIN: usize = 20;
const LINES: usize = 200;

fn line(n: usize) -> String {
    format!("line {n} {}", "x".repeat(n % 300))
}

/// Lines go through `url` until enough faults have struck, and then without any.
async fn check(indexer: &Indexer, url: &str, struck: impl Fn() -> usize, clear: impl Fn()) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.log");
    let glob = path.to_str().unwrap().to_owned();
    let inputs = vec![Input::Files { glob, tenant: TenantId::parse("t").unwrap(), component: None }];
    let agent = Agent::start_with(Config { batch_bytes_max: 1_000, ..config(dir.path(), url, inputs) }).await;
    let mut lines = 0;
    while struck() < FAULTS_MIN {
        append(&path, lines..lines + LINES);
        lines += LINES;
        indexer.wait_for(lines).await;
    }
    clear();
    append(&path, lines..lines + 1);
    indexer.wait_for(lines + 1).await;
    agent.stop().await;
    let records = std::mem::take(&mut indexer.indexed.lock().records);
    let found: Vec<_> = records.iter().map(|(_, record)| record.message.to_string()).collect();
    assert_eq!(found, (0..=lines).map(line).collect::<Vec<_>>());
}

fn append(path: &Path, lines: std::ops::Range<usize>) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    lines.for_each(|n| writeln!(file, "{}", line(n)).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_lost_repeated_or_refused_cost_nothing_and_double_nothing() {
    let indexer = Indexer::start().await;
    let server = indexer.url.strip_prefix("http://").unwrap().parse().unwrap();
    let proxy = http::Proxy::start(server).await;
    proxy.faults().set(20, http::Fault::quick());
    check(&indexer, &proxy.url(), || proxy.faults().count(), || proxy.faults().clear()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_torn_anywhere_cost_nothing_and_double_nothing() {
    let indexer = Indexer::start().await;
    let server = indexer.url.strip_prefix("http://").unwrap().parse().unwrap();
    let proxy = tcp::Proxy::start(server).await;
    // Each connection ends, some after a few batches, in the middle of a request or of an answer. One that did not
    // would carry all the rest.
    proxy.faults().set(
        100,
        [
            tcp::Fault::Refused,
            tcp::Fault::ResetAfterSent(2_000),
            tcp::Fault::ResetAfterSent(9_999),
            tcp::Fault::ResetAfterReceived(150),
            tcp::Fault::CutAfter(450),
        ],
    );
    let url = format!("http://{}", proxy.address());
    check(&indexer, &url, || proxy.faults().count(), || proxy.faults().clear()).await;
}
