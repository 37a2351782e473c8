//! One path, followed through rotation, truncation and deletion: each byte is read once, in the order in which
//! it was written.
//!
//! A path names one file after the other; each is a generation, read to its end through its descriptor before
//! the next one is. Knows neither tenants nor what the lines say.

pub(crate) mod content;
pub(crate) mod generation;
mod handover;
pub(crate) mod identity;
pub(crate) mod names;
pub(crate) mod open;
mod reconcile;
pub(crate) mod survey;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_model::source::Position;
use litemap::LiteMap;

use crate::frame::{Event, Form, Framer};
use generation::Generation;
use identity::FileIdentity;
use open::Reach;
use survey::Found;

/// How long a file whose path names nothing any more must be quiet to count as ended.
const GONE_WAIT: Duration = Duration::from_secs(5);
/// How long the end of a live file may lack its line end. Long, because a process that writes through a
/// buffer may stop in the middle of a line for as long.
const PARTIAL_WAIT: Duration = Duration::from_secs(30);
/// How long a file that was read to its end stays open, for a writer that has not noticed the rotation.
const LINGER: Duration = Duration::from_secs(10);
/// How long nobody must have written to a file for it to count as quiet.
const QUIET_AFTER: Duration = Duration::from_secs(10);
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
    /// Hash of the bytes before `offset`, which tell whether the file was replaced by one that begins alike; 0
    /// where it is not known.
    pub before: u64,
    /// Whether it was read to its end when the path had come to name another file, or none.
    pub ended: bool,
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
    path: Arc<Path>,
    reach: Reach,
    /// By number; the first is being read, the last is live if any is.
    files: VecDeque<Generation>,
    /// Read to their end, and kept for a while.
    lingering: Vec<Generation>,
    /// Truncated: never read again, but what was read of them may still be held back.
    ended: Vec<Generation>,
    /// Small, and one for each file: a tree would take ten times the room.
    known: LiteMap<u32, Known>,
    /// Copies that hold nothing but what was read before a truncation.
    read_copies: VecDeque<FileIdentity>,
    next_number: u32,
    /// The number last read from, to notice that an old file has got late lines.
    reading: u32,
    /// Whether the renamed files beside the path have been looked at.
    surveyed: bool,
    /// Whether the path is a link, whose target changes without a trace in the link's directory.
    link: bool,
    framer: Framer,
    /// Whether what was saved has not been looked for yet.
    resumed: bool,
    /// Whether the directory has been looked at since the start.
    reconciled: bool,
    /// Generations whose unread rest was gone, or may have been, since last asked.
    lost_rests: u64,
}

impl Tail {
    /// A path of which `known` was read before. Nothing is opened until [`Self::reconcile`].
    pub(crate) fn new(path: Arc<Path>, reach: Reach, form: Form, known: LiteMap<u32, Known>) -> Self {
        let next_number = known.last().map_or(FIRST_NUMBER, |(n, _)| n + 1);
        Self {
            reach,
            // Nearly always the only one.
            files: VecDeque::with_capacity(1),
            lingering: vec![],
            ended: vec![],
            read_copies: VecDeque::new(),
            reading: 0,
            surveyed: !known.is_empty(),
            link: path.is_symlink(),
            resumed: !known.is_empty(),
            reconciled: false,
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
    pub(crate) fn has(&self, found: &Found) -> bool {
        let same = |identity: &FileIdentity| identity.same_inode(&found.meta);
        self.open_files().any(|g| same(&g.identity) && g.identity.dev == found.identity.dev)
            || self.known.values().any(|k| same(&k.identity) && k.identity.begins(&found.head))
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

    /// Bytes that stay on the disk only because their files are open here.
    pub(crate) fn pinned_bytes(&self) -> u64 {
        self.open_files().map(Generation::pinned).sum()
    }

    /// Lets go of the oldest deleted file, whether or not it was read to its end; an event in its place says how
    /// many bytes were not. Gives that number; none where there is no such file, or an older one has its turn.
    pub(crate) fn let_go_oldest(&mut self, now: Instant) -> Option<u64> {
        let read = |g: &Generation| g.pinned() > 0 && g.unread() == 0 && g.moved == g.read();
        if let Some(at) = self.lingering.iter().position(read) {
            let file = self.lingering.remove(at);
            self.forget(file);
            return Some(0);
        }
        if self.files.front().is_none_or(|g| g.pinned() == 0) {
            return None;
        }
        let mut file = self.files.pop_front()?;
        self.framer.settle(now, true);
        let (start, bytes) = (file.place(file.consumed()), file.give_up());
        if bytes > 0 {
            self.framer.gap(start, file.place(file.read()), bytes);
        }
        file.ended = true;
        self.ended.push(file);
        Some(bytes)
    }

    /// Whether nothing is open and nothing is held back: the path is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.files.is_empty() && self.lingering.is_empty() && self.framer.deadline().is_none()
    }

    /// Whether nothing has happened for long, and nothing is due.
    pub(crate) fn is_quiet(&self, now: Instant) -> bool {
        let rests = |file: &Generation| file.live && file.touched + QUIET_AFTER <= now;
        self.files.len() == 1
            && self.files.iter().all(rests)
            && self.lingering.is_empty()
            && self.framer.deadline().is_none()
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
    fn is_between(&self) -> bool {
        !self.is_over() && !self.files.iter().any(|g| g.live)
    }

    /// Whether nothing was read yet of the file that the path names: a copy of it may be all that is left of
    /// what was in it.
    fn is_untouched(&self) -> bool {
        self.surveyed && self.files.iter().any(|g| g.live && g.read() == 0)
    }

    /// Whether a change in the directory may be one of this path's files.
    pub(crate) fn wants_look(&self) -> bool {
        self.is_displaced() || self.is_between() || self.is_untouched()
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
                self.forget(file);
            } else {
                at += 1;
            }
        }
        let mut unread = false;
        for file in &mut self.files {
            if file.is_unread() {
                unread = true;
                if let Err(error) = file.learn_head() {
                    tracing::debug!(path = %self.path.display(), %error, "head not read");
                }
            }
        }
        unread
    }

    fn forget(&mut self, mut file: Generation) {
        let offset = file.read();
        let before = file.hash_before(offset);
        let known = Known { identity: file.identity, offset, before, ended: file.ended };
        self.known.insert(file.number, known);
        while self.known.len() > KNOWN_MAX
            && let Some(oldest) = self.known.first().map(|(number, _)| *number)
        {
            self.known.remove(&oldest);
        }
    }

    /// Reads one buffer full of the oldest unread file.
    pub(crate) fn turn(&mut self, buffer: &mut [u8], now: Instant) -> io::Result<Progress> {
        loop {
            // Asked before the read: what was written before a successor had bytes is then read by it.
            let succeeded = self.files.iter().skip(1).any(|g| g.len().is_ok_and(|len| len > 0));
            let followed = self.files.len() > 1;
            let Some(file) = self.files.front_mut() else {
                self.framer.settle(now, false);
                return Ok(Progress::Idle);
            };
            if file.is_truncated()? {
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
            file.ended = true;
            self.lost_rests += u64::from(file.is_damaged());
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
            let ended = file.ended && offset == file.read();
            if offset != file.moved || ended != file.told_ended {
                (file.moved, file.told_ended) = (offset, ended);
                let (identity, before) = (file.identity, file.hash_before(offset));
                steps.push(Step { number: file.number, known: Known { identity, offset, before, ended } });
            }
        }
        for file in self.ended.extract_if(.., |g| g.moved == g.read()).collect::<Vec<_>>() {
            self.forget(file);
        }
        (!events.is_empty() || !steps.is_empty()).then_some(Run { events, steps })
    }

    /// Bytes of text that are read and not let go.
    #[cfg(test)]
    fn held_bytes(&self) -> usize {
        self.files.iter().map(Generation::held_bytes).sum::<usize>() + self.framer.held_bytes()
    }

    /// Whether the path is a link.
    pub(crate) fn is_link(&self) -> bool {
        self.link
    }

    /// Whether the renamed files beside the path have been looked at.
    pub(crate) fn is_surveyed(&self) -> bool {
        self.surveyed
    }
}

#[cfg(test)]
mod tests;
