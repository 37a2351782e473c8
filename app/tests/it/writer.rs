//! Writers of log files that go on while servers come and go: numbered lines, rotation by renaming.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Threads that write `NAME.log` until told to stop.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<(String, JoinHandle<usize>)>,
}

impl Writers {
    /// Starts `count` writers; each rotates its file after about `lines_per_file` lines, if ever.
    pub(crate) fn start(folder: &Path, count: usize, lines_per_file: Option<usize>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = |n: usize| {
            let (name, stop, folder) = (format!("writer{n}"), Arc::clone(&stop), folder.to_owned());
            let thread_name = name.clone();
            (name, std::thread::spawn(move || write(&folder, &thread_name, lines_per_file, &stop)))
        };
        let threads = (0..count).map(thread).collect();
        Self { stop, threads }
    }

    /// Stops them; each writer's name and how many lines it has written.
    pub(crate) fn finish(self) -> Vec<(String, usize)> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|(name, thread)| (name, thread.join().unwrap())).collect()
    }
}

/// About 400 lines a second, in bursts of one to seven; `NAME n of some text` each.
#[expect(clippy::disallowed_methods, reason = "a thread of its own that paces itself")]
fn write(folder: &Path, name: &str, lines_per_file: Option<usize>, stop: &AtomicBool) -> usize {
    let path = folder.join(format!("{name}.log"));
    let (mut file, mut written, mut in_file, mut rotations) = (open(&path), 0, 0, 0);
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..1 + written % 7 {
            file.write_all(format!("{name} {written} of a task that says little\n").as_bytes()).unwrap();
            written += 1;
            in_file += 1;
        }
        if lines_per_file.is_some_and(|most| in_file >= most) {
            rotations += 1;
            std::fs::rename(&path, rotated(&path, rotations)).unwrap();
            file = open(&path);
            in_file = 0;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    written
}

fn open(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}

fn rotated(path: &Path, rotations: usize) -> PathBuf {
    path.with_extension(format!("log.{rotations}"))
}

/// What `messages` must hold for a writer of so many lines.
pub(crate) fn expected(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{n} of a task that says little")).collect()
}

/// Compares found with expected, and tells the first difference instead of thousands of lines.
#[track_caller]
pub(crate) fn assert_same(name: &str, found: &[String], expected: &[String]) {
    if found == expected {
        return;
    }
    let at = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let around =
        |lines: &[String]| lines.iter().skip(at.saturating_sub(2)).take(6).cloned().collect::<Vec<_>>();
    panic!(
        "{name}: found {} lines of {}; they part at {at}:\nfound    {:?}\nexpected {:?}",
        found.len(),
        expected.len(),
        around(found),
        around(expected)
    );
}
