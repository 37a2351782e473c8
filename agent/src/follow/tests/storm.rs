//! Rotation storms and pods that live for a moment. The sizes are parameters; `agent/tests/it` says how a run at
//! full scale is started.

use std::collections::VecDeque;
use std::io;

use super::*;

/// Rotated files that are kept.
const KEPT: usize = 5;

/// A number from the environment.
fn parameter(name: &str, ordinary: usize) -> usize {
    #[expect(clippy::disallowed_methods, reason = "how large a run is, is said to the test program")]
    std::env::var(name).map_or(ordinary, |text| text.parse().unwrap())
}

fn lines() -> usize {
    parameter("HELIOGRAPH_TEST_STORM_LINES", 100_000)
}

fn line(n: usize) -> String {
    format!("{n:08} {}", "x".repeat(190))
}

/// Writes lines at full speed, a write each, and rotates by renaming.
fn write(path: &Path, lines: usize) {
    let file_bytes = parameter("HELIOGRAPH_TEST_STORM_FILE_BYTES", 2_000_000);
    let name = |n: usize| PathBuf::from(format!("{}.{n}", path.display()));
    let open = || OpenOptions::new().append(true).create(true).open(path).unwrap();
    let (mut file, mut bytes) = (open(), 0);
    for n in 0..lines {
        let text = line(n) + "\n";
        if bytes + text.len() > file_bytes {
            for old in (1..KEPT).rev() {
                if let Err(error) = fs::rename(name(old), name(old + 1)) {
                    assert_eq!(error.kind(), io::ErrorKind::NotFound);
                }
            }
            fs::rename(path, name(1)).unwrap();
            (file, bytes) = (open(), 0);
        }
        file.write_all(text.as_bytes()).unwrap();
        bytes += text.len();
    }
}

/// How the spool is slow.
#[derive(PartialEq, Eq)]
enum Slow {
    /// It takes its time for each batch.
    Steadily,
    /// It takes nothing until all is written.
    AtFirst,
}

fn storm(setup: Setup, slow: &Slow) -> (Bench, Vec<String>) {
    let mut bench = setup.start();
    let (path, lines) = (bench.path("x.log"), lines());
    append(&path, "");
    let writer = std::thread::spawn(move || write(&path, lines));
    let last = line(lines - 1);
    while !writer.is_finished() || bench.records.last().is_none_or(|r| *r.message != *last) {
        if *slow == Slow::AtFirst && !writer.is_finished() {
            pause(Duration::from_millis(5));
        } else if bench.take() && *slow == Slow::Steadily {
            pause(Duration::from_millis(2));
        }
    }
    writer.join().unwrap();
    let texts = bench.texts("x.log");
    (bench, texts)
}

#[test]
fn a_rotation_storm_costs_no_line_while_descriptors_are_held() {
    let (bench, texts) = storm(Setup::default(), &Slow::Steadily);
    assert_eq!(texts.len(), lines());
    for (n, text) in texts.iter().enumerate() {
        assert_eq!(*text, line(n));
    }
    assert_eq!((bench.metrics.gap_bytes.get(), bench.metrics.lost_rests.get()), (0, 0));
}

#[test]
fn beyond_the_budget_exactly_what_is_missing_is_counted() {
    let max = 3 * parameter("HELIOGRAPH_TEST_STORM_FILE_BYTES", 2_000_000) as u64;
    let unlinked_max = UnlinkedMax { node: 1 << 40, container: max };
    let setup = Setup { unlinked_max, scan_every: Duration::from_millis(20), ..Setup::default() };
    let (bench, texts) = storm(setup, &Slow::AtFirst);
    let (mut next, mut missing, mut told) = (0, 0_u64, 0);
    for text in &texts {
        if let Some((bytes, _)) = text.split_once(" bytes of this log were deleted") {
            told += bytes.parse::<u64>().unwrap();
            continue;
        }
        let n: usize = text.get(..8).unwrap().parse().unwrap();
        assert!(n >= next, "{n} came twice, or late");
        assert_eq!(*text, line(n));
        missing += (next..n).map(|n| line(n).len() as u64 + 1).sum::<u64>();
        next = n + 1;
    }
    assert_eq!(next, lines());
    assert_eq!((bench.metrics.gap_bytes.get(), told), (missing, missing));
    assert!(missing > 0, "the budget was not used up");
}

#[test]
fn pods_that_live_for_a_moment_are_read_to_their_last_line() {
    let pods = parameter("HELIOGRAPH_TEST_PODS", 100);
    let mut bench =
        Setup { inputs: containers, scan_every: Duration::from_secs(1), ..Setup::default() }.start();
    let root = bench.dir.path().to_owned();
    let kubelet = std::thread::spawn(move || {
        let mut alive = VecDeque::new();
        for n in 0..pods {
            let pod = root.join(format!("team-a_pod-{n}_uid-{n}"));
            fs::create_dir_all(pod.join("base")).unwrap();
            for i in 0..10 {
                let text = format!("2026-11-24T10:00:00.5Z stdout F pod {n} line {i}\n");
                append(&pod.join("base/0.log"), &text);
            }
            alive.push_back((Instant::now(), pod));
            while alive.front().is_some_and(|(born, _)| n + 1 == pods || born.elapsed().as_millis() >= 200) {
                let (born, pod) = alive.pop_front().unwrap();
                pause(Duration::from_millis(200).saturating_sub(born.elapsed()));
                append(&pod.join("base/0.log"), "2026-11-24T10:00:00.5Z stdout F last\n");
                fs::remove_dir_all(pod).unwrap();
            }
            pause(Duration::from_millis(5));
        }
    });
    bench.wait_for(pods * 11);
    kubelet.join().unwrap();
    for n in 0..pods {
        let texts = bench.texts(&format!("team-a_pod-{n}_uid-{n}/base/0.log"));
        let expected: Vec<_> = (0..10).map(|i| format!("pod {n} line {i}")).chain(["last".into()]).collect();
        assert_eq!(texts, expected, "pod {n}");
    }
    assert_eq!(bench.records.len(), pods * 11);
}
