//! The replay on a clock of its own: what is in the files, and that they stay bounded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use heliograph_model::airflow::{parse_line, task_from_path};
use heliograph_model::record::{Attributes, Record};
use heliograph_model::redact::Redactor;
use heliograph_model::rows::Rows;
use heliograph_model::source::{Position, Source};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;

use super::*;

const SECOND: i64 = 1_000_000_000;

fn now() -> i64 {
    Timestamp::parse("2031-05-06T07:08:09Z").unwrap().as_nanos()
}

/// All files below a folder, with their text.
fn files(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read_to_string(&path).unwrap());
        }
    }
    found
}

/// The size of all files below a folder.
fn bytes(dir: &Path) -> u64 {
    let size = |path: PathBuf| if path.is_dir() { bytes(&path) } else { fs::metadata(&path).unwrap().len() };
    fs::read_dir(dir).unwrap().map(|entry| size(entry.unwrap().path())).sum()
}

fn lines(files: &BTreeMap<PathBuf, String>) -> usize {
    files.values().map(|text| text.lines().count()).sum()
}

#[test]
fn ten_minutes_are_there_at_once_with_times_of_now() {
    let dir = tempfile::tempdir().unwrap();
    let mut theatre = Theatre::open(dir.path(), now(), FILE_BYTES_MAX).unwrap();
    theatre.play_until(now()).unwrap();
    let files = files(dir.path());
    assert!(lines(&files) > 3_000, "{} lines", lines(&files));
    for (path, text) in &files {
        let path = path.to_str().unwrap();
        assert!(TENANTS.iter().any(|tenant| path.contains(tenant)), "{path}");
        assert!(
            !path.contains("2026-11") && !text.contains("2026-11-2") && !text.contains("/Nov/2026"),
            "{path}"
        );
        let cri = path.contains("/pods/");
        let mut last = Timestamp::MIN;
        for line in text.lines() {
            let (time, text) = if cri {
                let mut parts = line.splitn(4, ' ');
                let time = Timestamp::parse(parts.next().unwrap()).unwrap();
                (Some(time), parts.nth(2).unwrap_or_default())
            } else {
                (parse_line(line).time, line)
            };
            let inner = parse_line(text).time;
            for time in [time, inner].into_iter().flatten().map(Timestamp::as_nanos) {
                assert!(
                    (now() - BACKFILL_NANOS - 20 * SECOND..=now() + 5 * SECOND).contains(&time),
                    "{line}"
                );
            }
            if let Some(time) = time.filter(|_| cri) {
                assert!(time >= last, "{line}");
                last = time;
            }
        }
    }
}

#[test]
fn task_files_name_their_tries() {
    let dir = tempfile::tempdir().unwrap();
    let mut theatre = Theatre::open(dir.path(), now(), FILE_BYTES_MAX).unwrap();
    theatre.play_until(now()).unwrap();
    let files = files(&dir.path().join(TASK_LOGS));
    let tasks: Vec<_> = files.keys().map(|path| task_from_path(path).expect("a task's file")).collect();
    assert!(tasks.iter().any(|t| t.identity.try_number == Some(3)), "a retried task");
    assert!(tasks.iter().any(|t| t.identity.map_index == Some(2)), "a mapped task");
    assert!(tasks.iter().any(|t| t.trigger.is_some()), "a deferred task");
    assert!(files.values().any(|text| text.contains("\"error_detail\"")), "a failed task");
    for (path, text) in &files {
        let run = task_from_path(path).unwrap().identity.run_id.unwrap();
        for said in text.lines().filter_map(|line| parse_line(line).identity.run_id) {
            assert_eq!(said, run, "{}", path.display());
        }
    }
}

#[test]
fn it_moves_at_a_living_pace_and_each_showing_is_a_new_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut theatre = Theatre::open(dir.path(), now(), FILE_BYTES_MAX).unwrap();
    theatre.play_until(now()).unwrap();
    let before = lines(&files(dir.path()));
    let (mut at, mut size) = (now(), bytes(dir.path()));
    let (mut silence, mut longest_silence) = (0, 0);
    for _ in 0..240 {
        at += SECOND;
        theatre.play_until(at).unwrap();
        let bytes = bytes(dir.path());
        silence = if bytes == size { silence + 1 } else { 0 };
        (size, longest_silence) = (bytes, longest_silence.max(silence));
    }
    let per_second = (lines(&files(dir.path())) - before) / 240;
    println!("{per_second} lines a second, {longest_silence} s of silence");
    assert!((5..=30).contains(&per_second), "{per_second} lines a second");
    assert!(longest_silence <= 3, "{longest_silence} s without a line");
    let runs: std::collections::BTreeSet<_> =
        files(dir.path()).keys().filter_map(|p| task_from_path(p)?.identity.run_id).collect();
    assert!(runs.len() > 10, "{runs:?}");
}

#[test]
fn disk_stays_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 16 << 10;
    let mut theatre = Theatre::open(dir.path(), now(), limit).unwrap();
    let mut at = now();
    for _ in 0..60 {
        at += 20 * SECOND;
        theatre.play_until(at).unwrap();
    }
    let files = files(dir.path());
    let mut generations: BTreeMap<&Path, usize> = BTreeMap::new();
    for path in files.keys().filter(|path| path.starts_with(dir.path().join(PODS))) {
        *generations.entry(path.parent().unwrap()).or_default() += 1;
    }
    assert!(generations.values().all(|n| *n <= 5), "{generations:?}");
    assert!(generations.values().any(|n| *n >= 4), "{generations:?}");
}

#[test]
fn a_second_replay_goes_on_where_the_first_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let mut theatre = Theatre::open(dir.path(), now(), FILE_BYTES_MAX).unwrap();
    theatre.play_until(now()).unwrap();
    let written = theatre.stage.last_written(theatre.plays[0].sample.pod_paths()).unwrap();
    drop(theatre);
    let before = lines(&files(dir.path()));
    // The files' own times are the machine's: so the second replay starts on that clock.
    let mut theatre = Theatre::open(dir.path(), written + SECOND, FILE_BYTES_MAX).unwrap();
    theatre.play_until(written + SECOND).unwrap();
    let added = lines(&files(dir.path())) - before;
    assert!(added < 1_000, "{added} lines in a second");
}

#[tokio::test]
async fn it_ends_when_cancelled() {
    struct Fixed;
    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_nanos(now())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let cancel = CancellationToken::new();
    let replaying = replay(dir.path(), Arc::new(Fixed), cancel.clone());
    let watch = async {
        while lines(&files(dir.path())) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(replaying, watch);
    ended.unwrap();
}

#[test]
fn in_real_logs_without_secrets_nothing_is_redacted() {
    let dir = tempfile::tempdir().unwrap();
    let mut theatre = Theatre::open(dir.path(), now(), FILE_BYTES_MAX).unwrap();
    theatre.play_until(now()).unwrap();
    let source = Arc::new(Source::default());
    let record = |line: &str| Record {
        time: Timestamp::default(),
        observed: Timestamp::default(),
        position: Position(0),
        source: Arc::clone(&source),
        level: None,
        stream: None,
        identity: heliograph_model::airflow::Identity::default(),
        message: line.into(),
        attributes: Attributes::from_json(line).unwrap_or_default(),
    };
    let files = files(dir.path());
    let records: Vec<_> = files.values().flat_map(|text| text.lines()).map(record).collect();
    assert!(records.len() > 3_000 && records.iter().any(|record| !record.attributes.is_empty()));
    let redactor = Redactor::new(&std::collections::BTreeSet::new(), Vec::new()).unwrap();
    let rows = Rows::try_from(records.as_slice()).unwrap();
    let redacted = redactor.redact(&TenantId::parse("demo").unwrap(), &rows).unwrap();
    let found = redacted.map(|redacted| {
        let marked = |r: &Record| r.message.contains("[redacted:").then(|| r.message.clone());
        redacted.rows.to_records().iter().filter_map(marked).take(20).collect::<Vec<_>>()
    });
    assert_eq!(found, None);
}
