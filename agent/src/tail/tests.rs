//! Histories of files, each line once and in order; with the agent's death at any moment.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use super::*;

mod history;
mod mended;
mod odd;
mod world;

/// A directory with one followed path, and what was saved of it.
struct Bench {
    dir: tempfile::TempDir,
    tail: Tail,
    saved: LiteMap<u32, Known>,
    lines: Vec<String>,
    now: Instant,
    last: Position,
    /// What was spooled since the start: so many lines, with these positions.
    spooled: Vec<(usize, LiteMap<u32, Known>)>,
    /// Unread rests that were gone, over all restarts.
    lost: u64,
    buffer: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tail = Self::tail(dir.path(), LiteMap::new());
        let (saved, lines, now, last) = (LiteMap::new(), vec![], Instant::now(), Position(0));
        let spooled = vec![(0, LiteMap::new())];
        Self { dir, tail, saved, lines, now, last, spooled, lost: 0, buffer: vec![0; 64] }
    }

    fn tail(dir: &Path, saved: LiteMap<u32, Known>) -> Tail {
        Tail::new(dir.join("x.log").into(), Reach::Anywhere, Form::Plain, saved)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.dir.path().join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.dir.path().join(from), self.dir.path().join(to)).unwrap();
    }

    /// One look at the directory, as the reading thread takes it; then one turn.
    fn look(&mut self) -> Progress {
        if self.tail.wants_look() {
            self.tail.reconcile(self.now, &|_| false).unwrap();
        }
        self.tail.has_unread(self.now);
        self.turn()
    }

    fn turn(&mut self) -> Progress {
        let progress = self.tail.turn(&mut self.buffer, self.now).unwrap();
        if progress == Progress::Displaced {
            self.tail.reconcile(self.now, &|_| false).unwrap();
        }
        self.save();
        progress
    }

    /// What the spool does with a run: lines and positions together.
    fn save(&mut self) {
        let Some(run) = self.tail.take_run() else { return };
        for event in run.events {
            assert!(event.start >= self.last || event.start.0 >> 40 < self.last.0 >> 40, "{:?}", event);
            self.last = event.end;
            self.lines.extend(event.text.lines().map(str::to_owned));
        }
        self.saved.extend(run.steps.into_iter().map(|s| (s.number, s.known)));
        self.spooled.push((self.lines.len(), self.saved.clone()));
    }

    fn read_all(&mut self) {
        loop {
            while self.look() != Progress::Idle {}
            if !self.tail.is_displaced() && !self.tail.has_unread(self.now) {
                break;
            }
        }
    }

    /// kill -9 before the last `unspooled` runs were spooled, and a new start.
    fn crash_before(&mut self, unspooled: usize) {
        let at = self.spooled.len().saturating_sub(unspooled + 1);
        self.spooled.truncate(at + 1);
        if let Some((lines, saved)) = self.spooled.pop() {
            self.lines.truncate(lines);
            self.saved = saved;
        }
        self.last = Position(0);
        self.crash();
    }

    /// kill -9, and a new start.
    fn crash(&mut self) {
        self.spooled = vec![(self.lines.len(), self.saved.clone())];
        self.lost += self.tail.take_lost_rests();
        self.tail = Self::tail(self.dir.path(), self.saved.clone());
        if !self.tail.open(true, self.now).is_ok_and(|done| done) {
            self.tail.reconcile(self.now, &|_| false).unwrap();
        }
    }

    #[track_caller]
    fn check(&mut self, expected: &[&str]) {
        self.read_all();
        self.now += Duration::from_secs(60);
        self.read_all();
        assert_eq!(self.lines, expected);
    }
}

#[test]
fn appended_lines_are_read_once_and_a_partial_one_waits() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\ntw");
    bench.read_all();
    assert_eq!(bench.lines, ["one"]);
    bench.append("x.log", "o\n");
    bench.check(&["one", "two"]);
}

#[test]
fn rename_and_create() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\n");
    bench.read_all();
    bench.append("x.log", "two\n");
    bench.rename("x.log", "x.log.1");
    bench.append("x.log.1", "three\n");
    bench.append("x.log", "four\n");
    bench.check(&["one", "two", "three", "four"]);
    assert_eq!(bench.saved.len(), 2);
}

#[test]
fn several_rotations_between_two_looks() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\n");
    bench.read_all();
    for n in 2..6 {
        for old in (1..n - 1).rev() {
            bench.rename(&format!("x.log.{old}"), &format!("x.log.{}", old + 1));
        }
        bench.rename("x.log", "x.log.1");
        bench.append("x.log", &format!("file {n}\n"));
    }
    bench.check(&["one", "file 2", "file 3", "file 4", "file 5"]);
}

#[test]
fn rotations_while_away_are_read_in_order() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\n");
    bench.read_all();
    bench.append("x.log", "one more\n");
    bench.rename("x.log", "x.log.2");
    bench.append("x.log.1", "two\n");
    bench.append("x.log", "three\n");
    bench.crash();
    bench.check(&["one", "one more", "two", "three"]);
    bench.crash();
    bench.check(&["one", "one more", "two", "three"]);
}

#[test]
fn kubelet_names_its_rotated_files_by_time() {
    let mut bench = Bench::new();
    bench.append("x.log.20261123-101500", "one\n");
    bench.append("x.log.20261123-101600", "two\n");
    bench.append("x.log.20261123-101400.gz", "not text\n");
    bench.append("x.log", "three\n");
    bench.tail.reconcile(bench.now, &|_| false).unwrap();
    bench.check(&["one", "two", "three"]);
}

#[test]
fn copytruncate_loses_nothing_that_was_copied() {
    let mut bench = Bench::new();
    bench.append("x.log", "a first line of the file\nand one more\n");
    bench.read_all();
    bench.append("x.log", "not read yet\n");
    fs::copy(bench.dir.path().join("x.log"), bench.dir.path().join("x.log.1")).unwrap();
    OpenOptions::new().write(true).truncate(true).open(bench.dir.path().join("x.log")).unwrap();
    bench.append("x.log", "new\n");
    bench.check(&["a first line of the file", "and one more", "not read yet", "new"]);
    bench.crash();
    bench.append("x.log", "newer\n");
    bench.check(&["a first line of the file", "and one more", "not read yet", "new", "newer"]);
    assert_eq!(bench.tail.take_lost_rests(), 0);
}

#[test]
fn copytruncate_while_away() {
    let mut bench = Bench::new();
    bench.append("x.log", "a first line of the file\n");
    bench.read_all();
    bench.append("x.log", "not read yet\n");
    fs::copy(bench.dir.path().join("x.log"), bench.dir.path().join("x.log.1")).unwrap();
    OpenOptions::new().write(true).truncate(true).open(bench.dir.path().join("x.log")).unwrap();
    bench.append("x.log", "new\n");
    bench.crash();
    bench.check(&["a first line of the file", "not read yet", "new"]);
}

#[test]
fn truncation_without_a_copy_is_counted() {
    let mut bench = Bench::new();
    bench.append("x.log", "a first line of the file\n");
    bench.read_all();
    OpenOptions::new().write(true).truncate(true).open(bench.dir.path().join("x.log")).unwrap();
    bench.append("x.log", "new\n");
    bench.check(&["a first line of the file", "new"]);
    assert_eq!(bench.tail.take_lost_rests(), 1);
}

#[test]
fn deleted_and_created_again() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\n");
    bench.read_all();
    bench.append("x.log", "two\n");
    fs::remove_file(bench.dir.path().join("x.log")).unwrap();
    bench.append("x.log", "three\n");
    bench.check(&["one", "two", "three"]);
}

#[test]
fn a_deleted_file_is_read_to_its_end() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\ntwo\nthree without an end");
    bench.look();
    fs::remove_file(bench.dir.path().join("x.log")).unwrap();
    bench.check(&["one", "two", "three without an end"]);
    bench.now += Duration::from_secs(60);
    bench.look();
    assert!(bench.tail.is_over());
}

#[test]
fn a_reused_inode_is_another_file() {
    let mut bench = Bench::new();
    bench.append("x.log", "one of the old file\n");
    bench.read_all();
    // Nothing holds the old file while the agent is away, so its inode may be given out again.
    let saved = bench.saved.clone();
    bench.tail = Bench::tail(bench.dir.path(), saved.clone());
    fs::remove_file(bench.dir.path().join("x.log")).unwrap();
    bench.append("x.log", "another, which is longer than the old\n");
    bench.crash();
    bench.check(&["one of the old file", "another, which is longer than the old"]);
}

#[test]
fn a_stale_writer_is_heard_after_the_rotation() {
    let mut bench = Bench::new();
    bench.append("x.log", "one\n");
    bench.read_all();
    bench.rename("x.log", "x.log.1");
    bench.append("x.log", "two\n");
    bench.read_all();
    bench.append("x.log.1", "late\n");
    bench.read_all();
    bench.append("x.log", "three\n");
    bench.check(&["one", "two", "late", "three"]);
}

#[test]
fn a_link_that_is_swapped_is_followed() {
    use std::os::unix::fs::symlink;
    let mut bench = Bench::new();
    bench.append("target-a", "one\n");
    bench.append("target-b", "two\n");
    let path = bench.dir.path().join("x.log");
    symlink("target-a", &path).unwrap();
    bench.read_all();
    fs::remove_file(&path).unwrap();
    symlink("target-b", &path).unwrap();
    bench.check(&["one", "two"]);
}

#[test]
fn files_with_the_same_first_bytes_are_told_apart() {
    let mut bench = Bench::new();
    let head = "=".repeat(300);
    bench.append("x.log", &format!("{head}\none\n"));
    bench.read_all();
    bench.rename("x.log", "x.log.1");
    bench.append("x.log", &format!("{head}\ntwo\n"));
    bench.crash();
    bench.check(&[&head, "one", &head, "two"]);
}
