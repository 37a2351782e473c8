//! What a look at a path's directory comes to: which file is which generation, which are new, which are gone.
//!
//! A file is known by its inode and birth, and by its bytes: those at its beginning and those before the place up to
//! which it was read. What the bytes cannot tell, nobody can: bytes written between a copy's end and the truncation,
//! and files that came and went between two looks, are missing without a trace; where there is a trace (the file that
//! was read last is gone, or all that were seen are), a lost rest is counted, though nothing may be missing.

use std::collections::VecDeque;
use std::fs::Metadata;
use std::io;
use std::time::Instant;

use super::content::Content;
use super::generation::Generation;
use super::identity::{FileIdentity, HEAD_BYTES, Head, born};
use super::survey::{Found, survey};
use super::{FIRST_NUMBER, KNOWN_MAX, Known, Tail};

/// What a file is to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// It has not been seen before.
    New,
    /// It is this generation, or holds what this generation has lost.
    Is(u32),
    /// It holds what a generation still has: nothing to read in it.
    Copy,
    /// It holds what a file has that was not seen before either.
    CopyOfNew,
}

/// The file that the path names.
struct Live {
    mark: Mark,
    meta: Option<Metadata>,
    /// All files that were found, itself among them.
    beside: Vec<FileIdentity>,
    content: Option<Content>,
}

impl Live {
    fn among(found: &[Found], marks: &[Mark]) -> io::Result<Self> {
        let at = found.iter().rposition(|f| f.live);
        let file = at.and_then(|at| found.get(at));
        Ok(Self {
            mark: at.and_then(|at| marks.get(at)).copied().unwrap_or(Mark::New),
            meta: file.map(|f| f.meta.clone()),
            beside: found.iter().map(|f| f.identity).collect(),
            content: file.map(|f| f.content.try_clone()).transpose()?,
        })
    }

    /// Whether `copy` holds nothing else than how this file begins: it was copied and is not truncated yet.
    fn begins_with(&mut self, copy: &mut Found) -> io::Result<bool> {
        let Some(content) = &mut self.content else { return Ok(false) };
        let (len, head) = (copy.len(), Head::read(content, HEAD_BYTES)?);
        Ok(len > 0
            && content.len()? >= len
            && copy.identity.begins(&head)
            && content.hash_before(len)? == copy.content.hash_before(len)?)
    }
}

impl Tail {
    /// Opens the path without a look at its directory, where that is enough: it is new and nothing lies beside
    /// it, or it is the file that was read last. Says whether it was.
    pub(crate) fn open(&mut self, rotated: bool, now: Instant) -> io::Result<bool> {
        let mut found = Found::open(&self.reach, &self.path, true)?;
        let Some((number, known)) = self.known.last() else {
            if !rotated {
                self.begin(self.next_number, found, now);
                self.next_number += 1;
            }
            return Ok(!rotated);
        };
        let same = known.identity.same_inode(&found.meta)
            && found.goes_on(&known.identity, known.offset, known.before)?;
        if same {
            self.resumed = false;
            self.take_up(*number, found, now);
        }
        Ok(same)
    }

    fn begin(&mut self, number: u32, found: Found, now: Instant) {
        self.files.push_back(Generation::new(number, found, 0, now));
    }

    /// Compares the directory with what is open and known: finds successors, files renamed while nobody
    /// looked, and what a truncation left. `foreign` says which files belong to other paths.
    pub(crate) fn reconcile(&mut self, now: Instant, foreign: &dyn Fn(&Found) -> bool) -> io::Result<()> {
        let mut found = survey(&self.reach, &self.path, &self.inodes())?;
        // Of what was not touched, a copy may have to be read first: it is found again in its place.
        let live = |g: &Generation| found.iter().any(|f| f.live && g.identity.same_inode(&f.meta));
        if self.files.back().is_some_and(|g| g.read() == 0 && live(g)) {
            self.next_number = self.files.pop_back().map_or(self.next_number, |g| g.number);
        }
        for file in &mut self.files {
            file.learn_head()?;
        }
        let marks = self.recognise(&mut found)?;
        let own = |(f, m): &(Found, Mark)| f.kin || *m != Mark::New || self.had(f);
        let found: Vec<_> = found.into_iter().zip(marks).filter(own).collect();
        let mut orphans = self.orphans(&found, now)?;
        let marks: Vec<_> = found.iter().map(|(_, mark)| *mark).collect();
        let newest = marks.iter().rposition(|m| matches!(m, Mark::Is(_) | Mark::Copy));
        let lost = self.lost_rests;
        self.drop_truncated(&found, now)?;
        self.miss_saved(&marks);
        if lost == self.lost_rests && newest.is_none() && self.is_overrun(&found) {
            self.lost_rests += 1;
        }
        for file in &mut self.files {
            file.live = false;
        }
        let latest = self.latest_identity();
        self.link = self.path.is_symlink();
        let surveyed = std::mem::replace(&mut self.surveyed, true);
        self.reconciled = true;
        for (at, (found, mark)) in found.into_iter().enumerate() {
            if found.live || mark == Mark::New {
                self.adopt(&mut orphans);
            }
            match mark {
                Mark::Is(number) => {
                    self.take_up(number, found, now);
                    continue;
                }
                Mark::Copy | Mark::CopyOfNew => continue,
                Mark::New if foreign(&found) => continue,
                Mark::New => {}
            }
            let newer = match (newest, &latest) {
                (Some(newest), _) => at > newest,
                (None, Some(latest)) => {
                    latest.born == 0 || found.content.is_gzip() || born(&found.meta) >= latest.born
                }
                (None, None) => true,
            };
            if found.live || newer {
                self.begin(self.next_number, found, now);
                self.next_number += 1;
            } else if !surveyed {
                // It was renamed after its directory was listed and before the path was opened.
                let newest = newest.unwrap_or_default();
                let before = u32::try_from(newest.saturating_sub(at)).unwrap_or(u32::MAX);
                self.begin(FIRST_NUMBER.saturating_sub(before), found, now);
            }
        }
        self.adopt(&mut orphans);
        // What was moved aside while it lingered unread is read in its turn.
        self.files.make_contiguous().sort_by_key(|g| g.number);
        Ok(())
    }

    fn adopt(&mut self, orphans: &mut VecDeque<Generation>) {
        for mut file in orphans.drain(..) {
            file.number = self.next_number;
            self.next_number += 1;
            self.files.push_back(file);
        }
    }

    /// A file found that is generation `number`.
    fn take_up(&mut self, number: u32, found: Found, now: Instant) {
        let live = found.live;
        let open = self.files.iter_mut().chain(&mut self.lingering).find(|g| g.number == number);
        if let Some(file) = open {
            if file.identity.same_inode(&found.meta) {
                file.live = live;
            } else {
                file.go_on_in(found);
            }
        } else if let Some(known) = self.known.get(&number).copied()
            && (live || found.len() > known.offset)
        {
            self.known.remove(&number);
            self.files.push_back(Generation::new(number, found, known.offset, now));
        }
        // A live file among the lingering has come back under its name.
        if let Some(at) = self.lingering.iter().position(|g| g.live) {
            let file = self.lingering.remove(at);
            self.files.push_back(file);
        }
    }

    /// Which generation each file is, if any.
    fn recognise(&mut self, found: &mut [Found]) -> io::Result<Vec<Mark>> {
        let mut marks = vec![];
        for f in &mut *found {
            let mut mark = Mark::New;
            for file in self.files.iter_mut().chain(&mut self.lingering) {
                if file.identity.same_inode(&f.meta) && !file.is_truncated()? {
                    mark = Mark::Is(file.number);
                }
            }
            for (number, known) in self.known.iter().rev() {
                if mark == Mark::New
                    && known.identity.same_inode(&f.meta)
                    && f.goes_on(&known.identity, known.offset, known.before)?
                {
                    mark = Mark::Is(*number);
                }
            }
            marks.push(mark);
        }
        let mut live = Live::among(found, &marks)?;
        for at in 0..found.len() {
            if let (Some(f), Some(Mark::New)) = (found.get_mut(at), marks.get(at))
                && !f.live
                && f.kin
            {
                let mark = match self.recognise_copy(f, live.mark, &marks)? {
                    Mark::New if self.was_longer(f, &live, &marks)? => {
                        self.read_copies.push_back(f.identity);
                        self.read_copies.drain(..self.read_copies.len().saturating_sub(KNOWN_MAX));
                        Mark::Copy
                    }
                    Mark::New if live.mark == Mark::New && live.begins_with(f)? => Mark::CopyOfNew,
                    mark => mark,
                };
                marks.get_mut(at).into_iter().for_each(|m| *m = mark);
            }
        }
        Ok(marks)
    }

    /// Whether a rotated file of which nobody has seen the inode is a copy of a generation: what copytruncate
    /// has copied, or what was compressed.
    fn recognise_copy(&mut self, f: &mut Found, live: Mark, marks: &[Mark]) -> io::Result<Mark> {
        let gzip = f.content.is_gzip();
        let is_found = |number| marks.contains(&Mark::Is(number));
        let mut best = None;
        for file in self.files.iter_mut().chain(&mut self.lingering) {
            let truncated = file.is_truncated()?;
            // Beside a whole file, what begins alike and is not a copy of the live one is another file.
            let copied = match (gzip, truncated) {
                (_, true) => file.read() > 0 && (gzip || !is_found(file.number)),
                (true, false) => file.identity.head_len > 0 && file.len()? == f.len(),
                (false, false) => file.read() > 0 && live == Mark::Is(file.number),
            };
            if copied && file.goes_on_in(f)? {
                best = best.max(Some((file.read(), file.number, !truncated)));
            }
        }
        for (number, known) in self.known.iter() {
            // Where the file itself is there, a compressed one that only begins alike is another.
            let copied = if is_found(*number) {
                live == Mark::Is(*number) || (gzip && known.before != 0)
            } else {
                gzip || known.before != 0
            };
            if known.offset > 0 && copied && f.goes_on(&known.identity, known.offset, known.before)? {
                best = best.max(Some((known.offset, *number, is_found(*number))));
            }
        }
        Ok(match best {
            None => Mark::New,
            Some((_, number, false)) => Mark::Is(number),
            Some((_, _, true)) => Mark::Copy,
        })
    }

    /// Whether a plain file is a copy of less than was read of the file of which it was made: somebody wrote between
    /// the copy's end and the truncation, and was read. A copy that is shorter than a head cannot be told.
    fn was_longer(&mut self, f: &Found, live: &Live, marks: &[Mark]) -> io::Result<bool> {
        let alike = |identity: &FileIdentity| identity.head_len > 0 && identity.begins(&f.head);
        if self.read_copies.iter().any(|i| i.same_inode(&f.meta) && alike(i)) {
            return Ok(true);
        }
        // If others begin alike, the beginning says nothing; if others begin otherwise, it says much.
        let open = self.open_files().chain(&self.ended).map(|g| &g.identity);
        let read: Vec<_> = open.chain(self.known.values().map(|k| &k.identity)).collect();
        let (same, others): (Vec<&FileIdentity>, Vec<_>) =
            read.into_iter().chain(&live.beside).partition(|i| alike(i));
        let telling = others.iter().any(|i| usize::from(i.head_len) == HEAD_BYTES);
        // The one that was read, and this one.
        if f.content.is_gzip() || same.len() != 2 {
            return Ok(false);
        }
        let copied = |number, identity: &FileIdentity, read| {
            let in_place = live.meta.as_ref().is_some_and(|meta| identity.same_inode(meta));
            let gone = !marks.contains(&Mark::Is(number));
            alike(identity) && f.len() < read && gone && (in_place || telling)
        };
        // Only now, or since the agent was last here: else the copy would have been seen before.
        for file in &mut self.files {
            if copied(file.number, &file.identity, file.read()) && file.is_truncated()? {
                return Ok(true);
            }
        }
        let newest = self.known.last().map(|(number, _)| *number);
        let copied = |(number, known): (&u32, &Known)| {
            copied(*number, &known.identity, known.offset) && (telling || Some(*number) == newest)
        };
        Ok(!self.reconciled && self.known.iter().any(copied))
    }

    /// Ends the generations whose bytes are gone: no file found goes on with them.
    fn drop_truncated(&mut self, found: &[(Found, Mark)], now: Instant) -> io::Result<()> {
        let mut at = 0;
        while let Some(file) = self.files.get_mut(at) {
            let goes_on = found.iter().any(|(_, mark)| *mark == Mark::Is(file.number));
            if goes_on || !file.is_truncated()? {
                at += 1;
                continue;
            }
            file.end_line(&mut self.framer, now);
            file.gone = true;
            self.lost_rests += 1;
            self.ended.extend(self.files.remove(at));
        }
        Ok(())
    }

    /// Files that were truncated and then deleted, or which a link has left: what was written in between is
    /// behind their descriptors alone.
    fn orphans(&mut self, all: &[(Found, Mark)], now: Instant) -> io::Result<VecDeque<Generation>> {
        let mut orphans = VecDeque::new();
        for file in &mut self.files {
            let found = all.iter().any(|(f, _)| file.identity.same_inode(&f.meta));
            if found || !file.is_truncated()? {
                continue;
            }
            let orphan = file.begun_anew(now)?;
            let len = orphan.len()?;
            let packed = |f: &Found| f.content.is_gzip() && f.len() == len && orphan.identity.begins(&f.head);
            if !all.iter().any(|(f, _)| packed(f)) {
                orphans.push_back(orphan);
            }
        }
        Ok(orphans)
    }

    /// Counts the file that was read last before a restart, if it is nowhere any more: it may have had a rest.
    fn miss_saved(&mut self, marks: &[Mark]) {
        if std::mem::take(&mut self.resumed)
            && let Some((number, known)) = self.known.last()
            && !known.ended
            && !marks.contains(&Mark::Is(*number))
        {
            self.lost_rests += 1;
        }
    }

    /// Whether none is left of the rotated files that were seen before: between them and those that are there now,
    /// some may have come and gone.
    fn is_overrun(&self, found: &[(Found, Mark)]) -> bool {
        let seen = self.open_count() > 0 || !self.known.is_empty();
        seen && found.iter().any(|(f, _)| !f.live && f.kin)
    }

    /// Whether it is a file of ours that was truncated since, whatever it is called now.
    fn had(&self, found: &Found) -> bool {
        let known = self.known.values().map(|k| &k.identity);
        let mut all = known.chain(self.open_files().map(|g| &g.identity));
        all.any(|i| i.born != 0 && i.same_inode(&found.meta))
    }

    fn latest_identity(&self) -> Option<FileIdentity> {
        let open = self.open_files().map(|g| (g.number, g.identity));
        let known = self.known.iter().map(|(n, k)| (*n, k.identity));
        open.chain(known).max_by_key(|(n, _)| *n).map(|(_, identity)| identity)
    }
}
