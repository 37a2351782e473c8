//! The model: what was written to a path, what of it can still be had, and so what must come out.

use std::path::PathBuf;

use std::collections::HashSet;
use std::os::unix::fs::symlink;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::history::{Begin, Op, Style};
use super::*;

/// Rotated files that are kept.
const KEPT: usize = 5;

/// What was written to a path between two rotations or truncations.
#[derive(Debug, Default)]
struct Epoch {
    lines: Vec<String>,
    /// The piece of a line at its end.
    part: String,
    /// Under which name its bytes lie; none once they are gone.
    name: Option<String>,
    /// Whether it was ended by a truncation in place.
    truncated: bool,
}

/// A path, what was written to it, and who reads it.
pub(super) struct World {
    bench: Bench,
    style: Style,
    begin: Begin,
    epochs: Vec<Epoch>,
    written: usize,
    rotations: usize,
    /// Lines whose bytes were gone before they were spooled: they may be missing.
    excused: HashSet<String>,
    /// Whether something was done that may cost lines.
    lossy: bool,
    /// Whether lines that were begun to be read may be missing: that must be counted.
    countable: HashSet<String>,
}

impl World {
    /// Nothing is written yet.
    pub(super) fn new(style: Style, begin: Begin) -> Self {
        let mut bench = Bench::new();
        bench.buffer = vec![0; if begin == Begin::Line { 64 } else { 4096 }];
        let (epochs, excused) = (vec![], HashSet::new());
        let mut world = Self {
            bench,
            style,
            begin,
            epochs,
            written: 0,
            rotations: 0,
            excused,
            lossy: false,
            countable: HashSet::new(),
        };
        if style == Style::Linked {
            world.create();
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bench.dir.path().join(name)
    }

    fn current(&mut self) -> Option<&mut Epoch> {
        let linked = self.style == Style::Linked;
        let live = |e: &Epoch| e.name.as_deref().is_some_and(|n| linked || n == "x.log");
        self.epochs.last_mut().filter(|e| live(e))
    }

    /// The file of the next epoch, empty.
    fn create(&mut self) {
        let name = match self.style {
            Style::Linked => {
                let target = format!("target-{}", self.epochs.len());
                let (link, fresh) = (self.path("x.log"), self.path("fresh"));
                self.bench.append(&target, "");
                symlink(&target, &fresh).unwrap();
                fs::rename(fresh, link).unwrap();
                target
            }
            _ => "x.log".to_owned(),
        };
        self.bench.append(&name, "");
        self.epochs.push(Epoch { name: Some(name), ..Epoch::default() });
    }

    fn append(&mut self, text: &str) {
        if self.current().is_none() {
            self.create();
        }
        let name = self.current().unwrap().name.clone().unwrap();
        let empty = { self.current().is_some_and(|e| e.lines.is_empty() && e.part.is_empty()) };
        if self.begin != Begin::Line && empty {
            let (alike, n) = ("=".repeat(256), self.epochs.len());
            let head = if self.begin == Begin::Own {
                format!("epoch {n}. {alike}")
            } else {
                format!("{alike} epoch {n}.")
            };
            self.bench.append(&name, &format!("{head}\n"));
            self.current().unwrap().lines.push(head);
        }
        self.bench.append(&name, text);
    }

    fn write(&mut self, len: usize) {
        self.written += 1;
        // No two files have the same bytes before the same place: then nobody could tell them apart.
        let text = format!("line {} {}.", self.written, format!("{}~", self.written).repeat(len / 4));
        self.append(&format!("{text}\n"));
        let epoch = self.current().unwrap();
        let line = std::mem::take(&mut epoch.part) + &text;
        epoch.lines.push(line);
    }

    fn write_part(&mut self) {
        self.written += 1;
        let text = format!("part {};", self.written);
        self.append(&text);
        self.current().unwrap().part += &text;
    }

    /// Nothing more is written to the current epoch: its unfinished line is a line.
    fn close(&mut self) {
        if let Some(epoch) = self.epochs.last_mut()
            && !epoch.part.is_empty()
        {
            let part = std::mem::take(&mut epoch.part);
            epoch.lines.push(part);
        }
    }

    /// Unlinks a file. What the reader does not hold open and has not spooled may be missing.
    fn unlink(&mut self, name: &str, overrun: bool) {
        let ino = fs::metadata(self.path(name)).unwrap().ino();
        let open = self.bench.tail.open_files().any(|g| g.meta().unwrap().ino() == ino);
        fs::remove_file(self.path(name)).unwrap();
        if let Some(at) = self.epochs.iter().position(|e| e.name.as_deref() == Some(name)) {
            self.epochs[at].name = None;
            // That all files were rotated away which the reader has seen, it notices.
            let tail = &self.bench.tail;
            let seen = tail.open_files().any(|g| g.read() > 0) || !tail.known.is_empty();
            self.lossy |= overrun;
            if !open {
                self.excuse(at, overrun && seen);
            }
        }
    }

    /// The bytes of an epoch are gone: what is not spooled of it may be missing. `noticed` says whether the reader
    /// can know of that.
    fn excuse(&mut self, at: usize, noticed: bool) {
        self.lossy = true;
        let spooled: HashSet<&str> = self.bench.lines.iter().map(String::as_str).collect();
        for line in self.epochs[at].lines.iter().filter(|l| !spooled.contains(l.as_str())) {
            if self.excused.insert(line.clone()) && noticed {
                self.countable.insert(line.clone());
            }
        }
    }

    fn rename_epoch(&mut self, from: &str, to: &str) {
        self.bench.rename(from, to);
        for epoch in self.epochs.iter_mut().filter(|e| e.name.as_deref() == Some(from)) {
            epoch.name = Some(to.to_owned());
        }
    }

    fn shift_numbered(&mut self) {
        let name = |n: usize| format!("x.log.{n}");
        if self.path(&name(KEPT)).try_exists().unwrap() {
            self.unlink(&name(KEPT), true);
        }
        for n in (1..KEPT).rev() {
            if self.path(&name(n)).try_exists().unwrap() {
                self.rename_epoch(&name(n), &name(n + 1));
            }
        }
    }

    fn rotate(&mut self) {
        if self.current().is_none() {
            return;
        }
        let was_open = self.current().is_some_and(|e| !e.part.is_empty());
        self.close();
        self.rotations += 1;
        match self.style {
            Style::Numbered => {
                self.shift_numbered();
                self.rename_epoch("x.log", "x.log.1");
            }
            Style::Kubelet => {
                self.rename_epoch("x.log", &format!("x.log.20261126-{:06}", self.rotations));
                let names = self.rotated_names();
                for name in names.iter().take(names.len().saturating_sub(KEPT)) {
                    self.unlink(name, true);
                }
            }
            Style::Copied => {
                self.shift_numbered();
                fs::copy(self.path("x.log"), self.path("x.log.1")).unwrap();
                // A line between copy and truncation is lost, if the reader does not look in between.
                let own = self.begin == Begin::Own;
                let whole = own && self.epochs.last().is_some_and(|e| !e.lines.is_empty());
                if self.rotations.is_multiple_of(2) && whole && !was_open {
                    self.written += 1;
                    let between = format!("between {}.", self.written);
                    self.bench.append("x.log", &format!("{between}\n"));
                    self.epochs.last_mut().unwrap().lines.push(between.clone());
                    self.bench.look();
                    self.bench.look();
                    self.lossy = true;
                    self.excused.insert(between);
                }
                self.epochs.last_mut().unwrap().name = Some("x.log.1".to_owned());
                self.bench.append("x.log", "between\n");
                OpenOptions::new().write(true).truncate(true).open(self.path("x.log")).unwrap();
                self.create();
            }
            Style::Linked => {
                self.create();
                self.excuse_strangers();
            }
        }
    }

    /// What a link led to, and the reader has never seen, it cannot find.
    fn excuse_strangers(&mut self) {
        for at in 0..self.epochs.len() - 1 {
            let name = self.epochs[at].name.clone();
            let meta = name.map(|name| fs::metadata(self.path(&name)).unwrap());
            let tail = &self.bench.tail;
            let known = tail.open_files().map(|g| g.identity).chain(tail.known.values().map(|k| k.identity));
            if meta.is_some_and(|meta| !known.into_iter().any(|i| i.same_inode(&meta))) {
                self.excuse(at, false);
            }
        }
    }

    fn rotated_names(&self) -> Vec<String> {
        let rotated = self.epochs.iter().filter_map(|e| e.name.clone());
        rotated.filter(|n| n.starts_with("x.log.2")).collect()
    }

    fn compress(&mut self) {
        let names = self.rotated_names();
        let Some(name) = names.iter().take(names.len().saturating_sub(1)).find(|n| !n.ends_with(".gz"))
        else {
            return;
        };
        let packed = format!("{name}.gz");
        let mut encoder = GzEncoder::new(fs::File::create(self.path(&packed)).unwrap(), Compression::fast());
        encoder.write_all(&fs::read(self.path(name)).unwrap()).unwrap();
        encoder.finish().unwrap();
        fs::remove_file(self.path(name)).unwrap();
        for epoch in self.epochs.iter_mut().filter(|e| e.name.as_deref() == Some(name)) {
            epoch.name = Some(packed.clone());
        }
    }

    fn truncate(&mut self) {
        let Some(name) = self.current().and_then(|e| e.name.clone()) else { return };
        self.close();
        let at = self.epochs.len() - 1;
        self.epochs[at].name = None;
        self.epochs[at].truncated = true;
        let begun = self.epochs[at].lines.iter().any(|l| self.bench.lines.contains(l));
        self.excuse(at, begun);
        OpenOptions::new().write(true).truncate(true).open(self.path(&name)).unwrap();
        self.epochs.push(Epoch { name: Some(name), ..Epoch::default() });
        self.look_if_copied();
    }

    fn delete(&mut self) {
        let Some(name) = self.current().and_then(|e| e.name.clone()) else { return };
        self.look_if_copied();
        self.close();
        // With a rotation behind it, it looks as if the reader had been overrun.
        self.lossy = true;
        self.unlink(&name, false);
        if self.style == Style::Linked {
            fs::remove_file(self.path("x.log")).unwrap();
        }
        self.look_if_copied();
    }

    /// Copies of a file, made between the same two looks as its deletion, cannot be put in order.
    fn look_if_copied(&mut self) {
        if self.style == Style::Copied {
            self.bench.look();
        }
    }

    fn crash(&mut self, unspooled: usize) {
        // What was never spooled, the next process knows nothing of.
        if unspooled > 0 {
            self.countable.clear();
        }
        self.bench.crash_before(unspooled);
        for at in 0..self.epochs.len() {
            if self.epochs[at].name.is_none() {
                self.excuse(at, false);
            }
        }
        if self.style == Style::Linked {
            self.excuse_strangers();
        }
        if self.style == Style::Copied && self.begin == Begin::Alike {
            self.excuse_unknown_copies();
        }
    }

    /// A copy of which nothing was spooled, of what followed a truncation without a copy, and that begins as all do:
    /// the next process takes it for one of what it has read.
    fn excuse_unknown_copies(&mut self) {
        for at in 1..self.epochs.len() {
            let epoch = &self.epochs[at];
            let is_copy = epoch.name.as_deref().is_some_and(|name| name != "x.log");
            let is_spooled = epoch.lines.iter().any(|line| self.bench.lines.contains(line));
            if is_copy && !is_spooled && self.epochs[at - 1].truncated {
                self.excuse(at, false);
            }
        }
    }

    /// One step of a history.
    pub(super) fn apply(&mut self, op: Op) {
        match op {
            Op::Write(len) => self.write(len),
            Op::WritePart => self.write_part(),
            Op::Rotate => self.rotate(),
            Op::RotateAndCreate => {
                self.rotate();
                if self.current().is_none() {
                    self.create();
                }
            }
            Op::Compress => self.compress(),
            Op::Truncate => self.truncate(),
            Op::Delete => self.delete(),
            Op::DeleteAndWrite => {
                self.delete();
                self.write(0);
            }
            Op::Look => drop(self.bench.look()),
            Op::ReadAll => self.bench.read_all(),
            Op::Crash(unspooled) => self.crash(unspooled),
            Op::Wait(seconds) => {
                // A line that stays unfinished for long is let go as it is.
                if self.epochs.last().is_none_or(|e| e.part.is_empty()) {
                    self.bench.now += Duration::from_secs(seconds);
                }
            }
        }
    }

    /// The lines that came, against those that were written.
    pub(super) fn check(mut self) -> Result<(), TestCaseError> {
        // A rotation is noticed at the latest when the path names a file again.
        self.write(0);
        for _ in 0..3 {
            self.bench.read_all();
            self.bench.now += Duration::from_secs(60);
        }
        self.bench.lost += self.bench.tail.take_lost_rests();
        let mut expected = self.epochs.iter().flat_map(|e| &e.lines);
        let mut missing = vec![];
        for line in &self.bench.lines {
            loop {
                let Some(wanted) = expected.next() else {
                    prop_assert!(false, "{line:?} came twice, or in the wrong place; missing {missing:?}");
                    return Ok(());
                };
                // The rest of a line may be gone when its beginning was read.
                let excused = self.excused.contains(wanted);
                if line == wanted || (excused && wanted.starts_with(line.as_str())) {
                    break;
                }
                prop_assert!(excused, "{wanted:?} is missing, {line:?} came");
                missing.push(wanted);
            }
        }
        for wanted in expected {
            prop_assert!(self.excused.contains(wanted), "{wanted:?} is missing at the end");
            missing.push(wanted);
        }
        if !self.lossy {
            prop_assert_eq!(self.bench.lost, 0, "nothing was lost");
        }
        if missing.iter().any(|line| self.countable.contains(*line)) {
            prop_assert!(self.bench.lost > 0, "what is missing is not counted: {:?}", missing);
        }
        Ok(())
    }
}
