//! One path, followed through rotation, truncation and deletion: each byte is read once, in the order in which
//! it was written.
//!
//! A path names one file after the other; each is a generation, read to its end through its descriptor before
//! the next one is. Knows neither tenants nor what the lines say.

pub(crate) mod generation;
pub(crate) mod identity;
pub(crate) mod open;
pub(crate) mod survey;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use heliograph_model::source::Position;

use crate::frame::{Event, Form, Framer};
use generation::Generation;
use identity::{FileIdentity, born};
use open::Reach;
use survey::{Found, survey};

/// How long a file whose path names nothing any more must be quiet to count as ended.
const GONE_WAIT: Duration = Duration::from_secs(5);
/// How long the end of a live file may lack its line end. Long, because a process that writes through a
/// buffer may stop in the middle of a line for as long.
const PARTIAL_WAIT: Duration = Duration::from_secs(30);
/// How long a file that was read to its end stays open, for a writer that has not noticed the rotation.
const LINGER: Duration = Duration::from_secs(10);
/// How many generations that were read to their end are recognised again.
pub(crate) const KNOWN_MAX: usize = 64;
/// The number of the first file seen at a path. Lower ones are for files that were renamed just before.
const FIRST_NUMBER: u32 = 16;

/// A generation that is not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Which file it is.
    pub identity: FileIdentity,
    /// Up to where its records are spooled.
    pub offset: u64,
}

/// How far a generation is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Which generation.
    pub number: u32,
    /// Which file, and up to where.
    pub known: Known,
}

/// Events that are let go together with where to resume after them.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// The events, in order.
    pub events: Vec<Event>,
    /// What to save with them.
    pub steps: Vec<Step>,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Bytes were read; there may be more.
    Read(usize),
    /// There is nothing to read at present.
    Idle,
    /// The file's bytes were replaced: [`Tail::reconcile`] finds out what is left.
    Displaced,
}

/// A followed path.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    reach: Reach,
    /// By number; the first is being read, the last is live if any is.
    files: VecDeque<Generation>,
    /// Read to their end, and kept for a while.
    lingering: Vec<Generation>,
    /// Truncated: never read again, but what was read of them may still be held back.
    ended: Vec<Generation>,
    known: BTreeMap<u32, Known>,
    next_number: u32,
    /// The number last read from, to notice that an old file has got late lines.
    reading: u32,
    /// Whether the renamed files beside the path have been looked at.
    surveyed: bool,
    /// Whether the path is a link, whose target changes without a trace in the link's directory.
    link: bool,
    framer: Framer,
    /// Generations whose unread rest was gone, since last asked.
    lost_rests: u64,
}

impl Tail {
    /// A path of which `known` was read before. Nothing is opened until [`Self::reconcile`].
    pub(crate) fn new(path: PathBuf, reach: Reach, form: Form, known: BTreeMap<u32, Known>) -> Self {
        let next_number = known.last_key_value().map_or(FIRST_NUMBER, |(n, _)| n + 1);
        Self {
            reach,
            files: VecDeque::new(),
            lingering: vec![],
            ended: vec![],
            reading: 0,
            surveyed: !known.is_empty(),
            link: path.is_symlink(),
            known,
            next_number,
            path,
            framer: Framer::new(form),
            lost_rests: 0,
        }
    }

    /// Inodes that belong to this path.
    pub(crate) fn inodes(&self) -> BTreeSet<u64> {
        let open = self.open_files().map(|g| g.identity.ino);
        open.chain(self.known.values().map(|k| k.identity.ino)).collect()
    }

    /// Whether a file found under another name is one of this path's.
    pub(crate) fn has(&self, found: &FileIdentity, meta: &Metadata, file: &std::fs::File) -> bool {
        self.open_files().any(|g| g.identity.same_inode(meta) && g.identity.dev == found.dev)
            || self
                .known
                .values()
                .any(|k| k.identity.same_inode(meta) && k.identity.same_head(file).unwrap_or(false))
    }

    fn open_files(&self) -> impl Iterator<Item = &Generation> {
        self.files.iter().chain(&self.lingering)
    }

    /// Descriptors held.
    pub(crate) fn open_count(&self) -> usize {
        self.files.len() + self.lingering.len()
    }

    /// Bytes that are not read.
    pub(crate) fn lag_bytes(&self) -> u64 {
        self.files.iter().map(Generation::unread).sum()
    }

    /// Whether nothing is open and nothing is held back: the path is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.files.is_empty() && self.lingering.is_empty() && self.framer.deadline().is_none()
    }

    /// How often an unread rest was gone since the last call.
    pub(crate) fn take_lost_rests(&mut self) -> u64 {
        std::mem::take(&mut self.lost_rests)
    }

    /// What was odd about the lines since the last call.
    pub(crate) fn tally(&mut self) -> crate::frame::Tally {
        self.framer.tally()
    }

    /// Whether the path names another file than before, or none, as `stat` says.
    pub(crate) fn is_displaced(&self) -> bool {
        let live = self.files.iter().find(|g| g.live);
        match (self.reach.look(&self.path), live) {
            (Ok(meta), Some(live)) => !(live.identity.same_inode(&meta) && live.identity.dev == meta.dev()),
            (Ok(meta), None) => meta.is_file(),
            (Err(_), live) => live.is_some(),
        }
    }

    /// Whether the path named a file and will perhaps name another: what is renamed now may never be seen
    /// under the path itself.
    pub(crate) fn is_between(&self) -> bool {
        !self.is_over() && !self.files.iter().any(|g| g.live)
    }

    /// Whether there is something to read, as `fstat` says; lets go of files that lingered long enough.
    pub(crate) fn has_unread(&mut self, now: Instant) -> bool {
        let mut at = 0;
        while let Some(file) = self.lingering.get(at) {
            if file.unread() > 0 {
                // Somebody still writes to a renamed file: it is read again, before its successors.
                let file = self.lingering.remove(at);
                let place = self.files.partition_point(|g| g.number < file.number);
                self.files.insert(place, file);
            } else if file.touched + LINGER <= now && file.moved == file.read() {
                let file = self.lingering.remove(at);
                self.forget(&file);
            } else {
                at += 1;
            }
        }
        self.files.iter().any(|g| g.meta().is_ok_and(|m| m.len() != g.read()))
    }

    fn forget(&mut self, file: &Generation) {
        self.known.insert(file.number, Known { identity: file.identity, offset: file.read() });
        while self.known.len() > KNOWN_MAX {
            self.known.pop_first();
        }
    }

    /// Reads one buffer full of the oldest unread file.
    pub(crate) fn turn(&mut self, buffer: &mut [u8], now: Instant) -> io::Result<Progress> {
        loop {
            // Asked before the read: what was written before a successor had bytes is then read by it.
            let succeeded = self.files.iter().skip(1).any(|g| g.meta().is_ok_and(|m| m.len() > 0));
            let followed = self.files.len() > 1;
            let Some(file) = self.files.front_mut() else {
                self.framer.settle(now, false);
                return Ok(Progress::Idle);
            };
            if file.is_truncated(&file.meta()?)? {
                return Ok(Progress::Displaced);
            }
            if file.number < self.reading {
                // Late lines of an old file: what is held back of the newer one comes before them.
                self.framer.settle(now, true);
            }
            let n = file.advance(buffer, &mut self.framer, now)?;
            if n > 0 {
                if file.number < self.reading {
                    self.framer.settle(now, true);
                } else {
                    self.reading = file.number;
                }
                return Ok(Progress::Read(n));
            }
            let gone = !file.live && !followed && file.touched + GONE_WAIT <= now;
            if !file.live && (succeeded || gone) {
                self.finish_first(now);
                continue;
            }
            if file.live && file.touched + PARTIAL_WAIT <= now {
                file.end_line(&mut self.framer, now);
            }
            self.framer.settle(now, false);
            return Ok(Progress::Idle);
        }
    }

    /// The first file is read to its end.
    fn finish_first(&mut self, now: Instant) {
        if let Some(mut file) = self.files.pop_front() {
            file.end_line(&mut self.framer, now);
            self.lingering.push(file);
        }
    }

    /// When a turn has something to do even if nothing is written.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let first = self.files.front().and_then(|g| {
            if g.live {
                g.has_partial().then(|| g.touched + PARTIAL_WAIT)
            } else {
                (self.files.len() == 1).then(|| g.touched + GONE_WAIT)
            }
        });
        first.into_iter().chain(self.framer.deadline()).min()
    }

    /// The events that are due, with where to resume after them; none where nothing has moved.
    pub(crate) fn take_run(&mut self) -> Option<Run> {
        let all = Position(u64::MAX);
        let (events, resume) = self.framer.release(all);
        let (resume_number, resume_offset) = (resume.0 >> 40, resume.0 & 0xFF_FFFF_FFFF);
        let mut steps = vec![];
        let open = self.files.iter_mut().chain(&mut self.lingering);
        for file in open.chain(&mut self.ended) {
            let offset = match u64::from(file.number).cmp(&resume_number) {
                _ if resume == all => file.consumed(),
                std::cmp::Ordering::Less => file.consumed(),
                std::cmp::Ordering::Equal => resume_offset,
                std::cmp::Ordering::Greater => continue,
            };
            if offset != file.moved {
                file.moved = offset;
                steps.push(Step { number: file.number, known: Known { identity: file.identity, offset } });
            }
        }
        for file in self.ended.extract_if(.., |g| g.moved == g.read()).collect::<Vec<_>>() {
            self.forget(&file);
        }
        (!events.is_empty() || !steps.is_empty()).then_some(Run { events, steps })
    }

    /// Whether the path is a link.
    pub(crate) fn is_link(&self) -> bool {
        self.link
    }

    /// Whether the renamed files beside the path have been looked at.
    pub(crate) fn is_surveyed(&self) -> bool {
        self.surveyed
    }

    /// Opens the path without a look at its directory, where that is enough: it is new and nothing lies beside
    /// it, or it is the file that was read last. Says whether it was.
    pub(crate) fn open(&mut self, rotated: bool, now: Instant) -> io::Result<bool> {
        let (file, meta) = self.reach.open(&self.path)?;
        let identity = FileIdentity::of(&file, &meta)?;
        let found = Found { file, meta, identity, live: true };
        let Some((number, known)) = self.known.last_key_value() else {
            if !rotated {
                self.begin(self.next_number, found, now);
                self.next_number += 1;
            }
            return Ok(!rotated);
        };
        let same = known.identity.same_inode(&found.meta)
            && found.meta.len() >= known.offset
            && known.identity.same_head(&found.file)?;
        if same {
            self.take_up(*number, found, now);
        }
        Ok(same)
    }

    fn begin(&mut self, number: u32, found: Found, now: Instant) {
        let mut file = Generation::new(number, found.file, found.identity, 0, now);
        file.live = found.live;
        self.files.push_back(file);
    }

    /// Compares the directory with what is open and known: finds successors, files renamed while nobody
    /// looked, and what a truncation left. `foreign` says which files belong to other paths.
    pub(crate) fn reconcile(&mut self, now: Instant, foreign: &dyn Fn(&Found) -> bool) -> io::Result<()> {
        let wanted = self.inodes();
        let found = survey(&self.reach, &self.path, &wanted)?;
        let marks = self.recognise(&found)?;
        let newest = marks.iter().rposition(Option::is_some);
        self.drop_truncated(&marks, now)?;
        for file in &mut self.files {
            file.live = false;
        }
        let latest = self.latest_identity();
        self.link = self.path.is_symlink();
        let surveyed = std::mem::replace(&mut self.surveyed, true);
        for (at, (found, mark)) in found.into_iter().zip(marks).enumerate() {
            if let Some(number) = mark {
                self.take_up(number, found, now);
                continue;
            }
            let newer = match (newest, &latest) {
                (Some(newest), _) => at > newest,
                (None, Some(latest)) => latest.born == 0 || born(&found.meta) >= latest.born,
                (None, None) => true,
            };
            if (found.live || newer) && !foreign(&found) {
                self.begin(self.next_number, found, now);
                self.next_number += 1;
            } else if !surveyed && !foreign(&found) {
                // It was renamed after its directory was listed and before the path was opened.
                let newest = newest.unwrap_or_default();
                let before = u32::try_from(newest.saturating_sub(at)).unwrap_or(u32::MAX);
                self.begin(FIRST_NUMBER.saturating_sub(before), found, now);
            }
        }
        // What was moved aside while it lingered unread is read in its turn.
        self.files.make_contiguous().sort_by_key(|g| g.number);
        Ok(())
    }

    /// A file found that is generation `number`.
    fn take_up(&mut self, number: u32, found: Found, now: Instant) {
        let open = self.files.iter_mut().chain(&mut self.lingering).find(|g| g.number == number);
        if let Some(file) = open {
            if file.identity.same_inode(&found.meta) {
                file.live = found.live;
            } else {
                file.go_on_in(found.file, found.identity);
            }
        } else if let Some(known) = self.known.get(&number).copied()
            && (found.live || found.meta.len() > known.offset)
        {
            self.known.remove(&number);
            let mut file = Generation::new(number, found.file, found.identity, known.offset, now);
            file.live = found.live;
            self.files.push_back(file);
        }
        // A live file among the lingering has come back under its name.
        if let Some(at) = self.lingering.iter().position(|g| g.live) {
            let file = self.lingering.remove(at);
            self.files.push_back(file);
        }
    }

    /// Which generation each file is, if any.
    fn recognise(&self, found: &[Found]) -> io::Result<Vec<Option<u32>>> {
        let mut marks: Vec<Option<u32>> = vec![];
        for f in found {
            let mut mark = None;
            for file in self.open_files() {
                if file.identity.same_inode(&f.meta) && !file.is_truncated(&f.meta)? {
                    mark = Some(file.number);
                }
            }
            for (number, known) in self.known.iter().rev() {
                if mark.is_none()
                    && known.identity.same_inode(&f.meta)
                    && f.meta.len() >= known.offset
                    && known.identity.same_head(&f.file)?
                {
                    mark = Some(*number);
                }
            }
            marks.push(mark);
        }
        self.recognise_copy(found, &mut marks)?;
        Ok(marks)
    }

    /// After copytruncate, the rest of the newest generation lies in a copy: another inode that begins alike.
    fn recognise_copy(&self, found: &[Found], marks: &mut [Option<u32>]) -> io::Result<()> {
        let open = self.open_files().map(|g| (g.number, Known { identity: g.identity, offset: g.read() }));
        let newest = open.chain(self.known.iter().map(|(n, k)| (*n, *k))).max_by_key(|(n, _)| *n);
        let Some((number, known)) = newest else { return Ok(()) };
        let displaced = found.iter().any(|f| known.identity.same_inode(&f.meta));
        if !displaced || known.identity.head_len == 0 || marks.contains(&Some(number)) {
            return Ok(());
        }
        for (f, mark) in found.iter().zip(marks.iter_mut()).rev() {
            if mark.is_none()
                && !f.live
                && f.meta.len() >= known.offset
                && !known.identity.same_inode(&f.meta)
                && known.identity.same_head(&f.file)?
            {
                *mark = Some(number);
                break;
            }
        }
        Ok(())
    }

    /// Ends the generations whose bytes are gone: no file found goes on with them.
    fn drop_truncated(&mut self, marks: &[Option<u32>], now: Instant) -> io::Result<()> {
        let mut at = 0;
        while let Some(file) = self.files.get_mut(at) {
            if !marks.contains(&Some(file.number)) && file.is_truncated(&file.meta()?)? {
                file.end_line(&mut self.framer, now);
                self.lost_rests += 1;
                self.ended.extend(self.files.remove(at));
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    fn latest_identity(&self) -> Option<FileIdentity> {
        let open = self.open_files().map(|g| (g.number, g.identity));
        let known = self.known.iter().map(|(n, k)| (*n, k.identity));
        open.chain(known).max_by_key(|(n, _)| *n).map(|(_, identity)| identity)
    }
}

#[cfg(test)]
mod tests;
