//! kill -9, again and again, while writers rotate their files: every line once, in file order, and nothing of
//! it readable under the agent's data directory.
//!
//! The agent runs in a process of its own: this test program, started again with the role in its environment.
//! `HELIOGRAPH_TEST_KILLS` is how often it is killed.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use heliograph_agent::Input;
use heliograph_model::record::Record;
use heliograph_model::tenant::TenantId;
use tokio_util::sync::CancellationToken;

use crate::indexer::{Indexer, Real, config};
use crate::parameter;

const ROLE: &str = "HELIOGRAPH_TEST_AGENT";
const WRITERS: usize = 4;
const LINES_PER_SECOND: usize = 5_000;
const LINES_PER_FILE: usize = 3_000;

/// Not a test of its own: the agent's process.
#[test]
fn the_agent() {
    #[expect(clippy::disallowed_methods, reason = "the parent says so to its child")]
    let Ok(role) = std::env::var(ROLE) else { return };
    let (dir, url) = role.split_once(' ').unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let config = config(Path::new(dir), url, inputs(Path::new(dir)));
    let (ready, _) = tokio::sync::watch::channel(false);
    let stop = CancellationToken::new();
    let registry = prometheus::Registry::new();
    runtime.block_on(heliograph_agent::run(config, Arc::new(Real), &registry, ready, stop)).unwrap();
}

/// Plain files of one tenant.
fn inputs(dir: &Path) -> Vec<Input> {
    vec![Input::Files {
        glob: dir.join("logs/*.log").to_str().unwrap().to_owned(),
        tenant: TenantId::parse("team-a").unwrap(),
        component: None,
    }]
}

fn start(dir: &Path, url: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::the_agent", "--nocapture"])
        .env(ROLE, format!("{} {url}", dir.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn line(writer: usize, n: usize) -> String {
    format!("geheim-{writer}-{n}-{}", "x".repeat(n % 90))
}

/// Writes lines in uneven pieces until told to end, and rotates by renaming, keeping all files; says how many.
fn write(dir: PathBuf, writer: usize, ends: Arc<AtomicBool>) -> usize {
    let path = dir.join(format!("logs/w{writer}.log"));
    let open = || OpenOptions::new().append(true).create(true).open(&path).unwrap();
    let (mut file, mut kept, mut n) = (open(), 0, 0);
    let began = Instant::now();
    let (gate, wait) = std::sync::mpsc::sync_channel::<()>(0);
    while !ends.load(Ordering::Relaxed) {
        if n > 0 && n % LINES_PER_FILE == 0 {
            for old in (1..=kept).rev() {
                let name = |n: usize| dir.join(format!("logs/w{writer}.log.{n}"));
                std::fs::rename(name(old), name(old + 1)).unwrap();
            }
            std::fs::rename(&path, dir.join(format!("logs/w{writer}.log.1"))).unwrap();
            kept += 1;
            file = open();
        }
        let text = line(writer, n) + "\n";
        let (first, rest) = text.split_at(n % text.len());
        file.write_all(first.as_bytes()).unwrap();
        file.write_all(rest.as_bytes()).unwrap();
        n += 1;
        let due = Duration::from_micros(n as u64 * 1_000_000 / LINES_PER_SECOND as u64);
        if n % 8 == 0
            && let Some(early) = due.checked_sub(began.elapsed())
        {
            assert!(wait.recv_timeout(early).is_err());
        }
    }
    drop(gate);
    n
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_once_over_kills_and_rotations() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("logs")).unwrap();
    let indexer = Indexer::start().await;

    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let ends = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (dir, ends) = (dir.path().to_owned(), Arc::clone(&ends));
            tokio::task::spawn_blocking(move || write(dir, writer, ends))
        })
        .collect();
    let mut random = seed;
    for _ in 0..parameter("HELIOGRAPH_TEST_KILLS", 20) {
        let mut child = start(dir.path(), &indexer.url);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis(50 + (random >> 33) % 1450)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        println!("killed with {} records", indexer.indexed.lock().records.len());
    }
    ends.store(true, Ordering::Relaxed);
    let mut lines = vec![];
    for writer in writers {
        lines.push(writer.await.unwrap());
    }
    let mut child = start(dir.path(), &indexer.url);
    indexer.wait_for(lines.iter().sum()).await;
    // What would come twice would come now.
    tokio::time::sleep(Duration::from_millis(500)).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let records = std::mem::take(&mut indexer.indexed.lock().records);
    check(dir.path(), records.into_iter().map(|(_, record)| record).collect(), &lines, seed);
}

fn check(dir: &Path, mut records: Vec<Record>, lines: &[usize], seed: u64) {
    records.sort_by_key(Record::key);
    let mut by_writer: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in &records {
        let path = record.source.path.as_deref().unwrap().to_owned();
        by_writer.entry(path).or_default().push(record.message.to_string());
    }
    for (writer, lines) in lines.iter().enumerate() {
        let path = dir.join(format!("logs/w{writer}.log")).to_str().unwrap().to_owned();
        let found = by_writer.remove(&path).unwrap_or_default();
        let expected: Vec<String> = (0..*lines).map(|n| line(writer, n)).collect();
        if found != expected {
            let at = found.iter().zip(&expected).take_while(|(f, e)| f == e).count();
            let (found, wanted) = (found.get(at..(at + 3).min(found.len())), expected.get(at));
            panic!("seed {seed}: writer {writer} differs at {at}: {found:?}, not {wanted:?}");
        }
    }
    assert!(by_writer.is_empty(), "seed {seed}: other paths {:?}", by_writer.keys());
    let mut todo = vec![dir.join("data")];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            for word in ["geheim", "sesame", "team-a", "w0.log"] {
                assert_eq!(memchr::memmem::find(&bytes, word.as_bytes()), None, "{word} in {path:?}");
            }
        }
    }
}
