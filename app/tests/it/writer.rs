//! Writers of log files that go on while servers come and go: numbered lines, rotation by renaming.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Threads that write `NAME.log` until told to stop.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
    threads: Vec<(String, JoinHandle<usize>)>,
}

impl Writers {
    /// Starts `count` writers; each rotates its file after about `lines_per_file` lines, if ever.
    pub(crate) fn start(folder: &Path, count: usize, lines_per_file: Option<usize>) -> Self {
        let (stop, written): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
        let thread = |n: usize| {
            let (name, folder) = (format!("writer{n}"), folder.to_owned());
            let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
            let thread_name = name.clone();
            let style = if n.is_multiple_of(2) { Rotation::Ordinals } else { Rotation::Times };
            (
                name,
                std::thread::spawn(move || {
                    write(&folder, &thread_name, style, lines_per_file, &stop, &written)
                }),
            )
        };
        let threads = (0..count).map(thread).collect();
        Self { stop, written, threads }
    }

    /// How many lines all of them have written, or are about to.
    pub(crate) fn written(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.written)
    }

    /// Stops them; each writer's name and how many lines it has written.
    pub(crate) fn finish(self) -> Vec<(String, usize)> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|(name, thread)| (name, thread.join().unwrap())).collect()
    }
}

/// About 400 lines a second, in bursts of one to seven; `NAME n of some text` each.
#[expect(clippy::disallowed_methods, reason = "a thread of its own that paces itself")]
fn write(
    folder: &Path,
    name: &str,
    style: Rotation,
    lines_per_file: Option<usize>,
    stop: &AtomicBool,
    of_all: &AtomicUsize,
) -> usize {
    let path = folder.join(format!("{name}.log"));
    let (mut file, mut written, mut in_file, mut rotations) = (open(&path), 0, 0, 0);
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..1 + written % 7 {
            of_all.fetch_add(1, Ordering::SeqCst);
            file.write_all(format!("{name} {written} of a task that says little\n").as_bytes()).unwrap();
            written += 1;
            in_file += 1;
        }
        if lines_per_file.is_some_and(|most| in_file >= most) {
            rotations += 1;
            rotate(&path, rotations, style);
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

/// How files are renamed.
#[derive(Clone, Copy)]
enum Rotation {
    /// As logrotate does: `.1` is the youngest, each older one moves on.
    Ordinals,
    /// As the kubelet does: the time stands in the name.
    Times,
}

fn rotate(path: &Path, rotations: usize, style: Rotation) {
    let name = |suffix: String| path.with_extension(format!("log.{suffix}"));
    match style {
        Rotation::Ordinals => {
            for n in (1..rotations).rev() {
                std::fs::rename(name(n.to_string()), name((n + 1).to_string())).unwrap();
            }
            std::fs::rename(path, name("1".to_owned())).unwrap();
        }
        Rotation::Times => {
            std::fs::rename(path, name(format!("20261124-{:09}", 101_500_000 + rotations))).unwrap();
        }
    }
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
