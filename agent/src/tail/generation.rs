//! One file of a path: read forward through its descriptor, cut into lines.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use heliograph_model::record::MESSAGE_BYTES_MAX;
use heliograph_model::source::Position;
use memchr::memchr;

use super::content::{BEFORE_BYTES, Content, NEVER, hash};
use super::identity::{FileIdentity, HEAD_BYTES, Head};
use super::survey::Found;
use crate::frame::cri::HEAD_BYTES_MAX;
use crate::frame::{Framer, Line};

/// Most bytes of a line that are kept.
const LINE_BYTES_MAX: usize = MESSAGE_BYTES_MAX + HEAD_BYTES_MAX;

/// How much of a compressed file is read again to recognise it by the bytes before a place.
const GZIP_BACK_BYTES_MAX: u64 = 4 << 20;

/// One file that a path names or named.
#[derive(Debug)]
pub(crate) struct Generation {
    /// Its ordinal at the path, from 0.
    pub number: u32,
    /// Which file it is.
    pub identity: FileIdentity,
    /// Whether the path still names it.
    pub live: bool,
    /// When it was opened or bytes were last found in it.
    pub touched: Instant,
    /// Where the next run resumes, as last reported.
    pub moved: u64,
    /// Whether it was read to its end when the path had come to name another file, or none …
    pub ended: bool,
    /// … and whether that was reported.
    pub told_ended: bool,
    /// Whether its bytes are gone: what the descriptor gives now is another generation's.
    pub gone: bool,
    content: Content,
    /// Bytes read.
    read: u64,
    /// The last of them, at most [`BEFORE_BYTES`]: they tell whether the file is still the same up to here.
    last: Vec<u8>,
    /// Of these, the bytes of the line at the end that has no line end yet …
    partial: Vec<u8>,
    /// … and how many of that line were too many to keep.
    over: u64,
}

impl Generation {
    /// A file to be read from `offset` on.
    pub(crate) fn new(number: u32, found: Found, offset: u64, now: Instant) -> Self {
        let Found { mut content, identity, live, .. } = found;
        let mut last = vec![0; BEFORE_BYTES.min(usize::try_from(offset).unwrap_or(BEFORE_BYTES))];
        let begin = offset - last.len() as u64;
        let whole = content.read_full(&mut last, begin).is_ok_and(|n| n == last.len());
        last.truncate(if whole { last.len() } else { 0 });
        Self {
            number,
            identity,
            live,
            touched: now,
            moved: offset,
            content,
            ended: false,
            told_ended: false,
            gone: false,
            read: offset,
            last,
            partial: vec![],
            over: 0,
        }
    }

    /// Up to where its lines have been given to the framer.
    pub(crate) fn consumed(&self) -> u64 {
        self.read - self.partial.len() as u64 - self.over
    }

    /// Bytes read.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// What the descriptor says now.
    pub(crate) fn meta(&self) -> io::Result<Metadata> {
        self.content.meta()
    }

    /// Bytes of text that there are now.
    pub(crate) fn len(&self) -> io::Result<u64> {
        self.content.len()
    }

    /// Bytes that are not read; 0 where the file cannot be asked.
    pub(crate) fn unread(&self) -> u64 {
        self.len().map_or(0, |len| len.saturating_sub(self.read))
    }

    /// Whether a turn would read something, or find that the file was truncated.
    pub(crate) fn is_unread(&self) -> bool {
        self.content.may_be_longer() || self.len().is_ok_and(|len| len != self.read)
    }

    /// Bytes that stay on the disk only because this descriptor is open.
    pub(crate) fn pinned(&self) -> u64 {
        let meta = if self.live { None } else { self.meta().ok().filter(|m| m.nlink() == 0) };
        meta.map_or(0, |m| m.len())
    }

    /// Whether its bytes have been replaced: it is shorter than what was read, or those bytes are others now.
    pub(crate) fn is_truncated(&mut self) -> io::Result<bool> {
        if self.content.is_gzip() {
            return Ok(false);
        }
        if self.len()? < self.read {
            return Ok(true);
        }
        if self.identity.head_len > 0 {
            let head = Head::read(&mut self.content, usize::from(self.identity.head_len))?;
            if !self.identity.begins(&head) {
                return Ok(true);
            }
        }
        let mut now = [0; BEFORE_BYTES];
        let now = now.get_mut(..self.last.len()).unwrap_or_default();
        let n = self.content.read_full(now, self.read - self.last.len() as u64)?;
        Ok(now.get(..n) != Some(self.last.as_slice()))
    }

    /// Notes how the file begins, if nothing of it was read: a later look can then tell that it was replaced.
    pub(crate) fn learn_head(&mut self) -> io::Result<()> {
        if self.read == 0 && self.identity.head_len == 0 {
            self.identity.grow(&mut self.content, u64::MAX)?;
        }
        Ok(())
    }

    /// Whether a file holds the bytes that this one had, up to where it was read.
    pub(crate) fn goes_on_in(&self, found: &mut Found) -> io::Result<bool> {
        let before = if self.last.is_empty() { 0 } else { hash(&self.last) };
        let whole = self.last.len() as u64 == self.read.min(BEFORE_BYTES as u64);
        found.goes_on(&self.identity, self.read, if whole { before } else { 0 })
    }

    /// Goes on in a copy of the file, which has the bytes that the file itself lost.
    pub(crate) fn go_on_in(&mut self, copy: Found) {
        self.content = copy.content;
        self.identity = copy.identity;
        self.live = false;
    }

    /// The same file from its start, as a generation of its own that has no number yet.
    pub(crate) fn begun_anew(&self, now: Instant) -> io::Result<Self> {
        let mut content = self.content.try_clone()?;
        let (meta, head) = (content.meta()?, Head::read(&mut content, HEAD_BYTES)?);
        let identity = FileIdentity::of(&meta, &head);
        Ok(Self::new(0, Found { content, meta, head, identity, live: false, kin: true }, 0, now))
    }

    /// The hash of the bytes before `offset`, to recognise the file again; 0 where they cannot be had.
    pub(crate) fn hash_before(&mut self, offset: u64) -> u64 {
        if offset == self.read && self.last.len() as u64 == offset.min(BEFORE_BYTES as u64) {
            return hash(&self.last);
        }
        if self.gone {
            return NEVER;
        }
        let hash = match self.content.is_gzip() {
            false => self.content.hash_before(offset),
            // Going back means to begin anew: not worth it far into a file.
            true if offset > GZIP_BACK_BYTES_MAX => return 0,
            true => self.content.try_clone().and_then(|mut anew| anew.hash_before(offset)),
        };
        hash.unwrap_or_default()
    }

    /// Whether compressed bytes could not be read to their end.
    pub(crate) fn is_damaged(&self) -> bool {
        self.content.is_damaged()
    }

    /// Passes over all that is not read; says how many bytes that were.
    pub(crate) fn give_up(&mut self) -> u64 {
        let from = self.consumed();
        self.read = self.len().unwrap_or_default().max(self.read);
        (self.partial, self.over, self.last) = (vec![], 0, vec![]);
        self.read - from
    }

    /// Reads on, at most a buffer full, and gives the whole lines to the framer. 0 is the end, for now.
    pub(crate) fn advance(
        &mut self,
        buffer: &mut [u8],
        framer: &mut Framer,
        now: Instant,
    ) -> io::Result<usize> {
        if self.read == 0 {
            self.pass_hole(buffer)?;
        }
        let n = self.content.read_at(buffer, self.read)?;
        if n == 0 {
            return Ok(0);
        }
        self.touched = now;
        let mut rest = buffer.get(..n).unwrap_or_default();
        self.remember(rest);
        while let Some(at) = memchr(b'\n', rest) {
            let (line, after) = (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default());
            let (start, whole) = (self.consumed(), self.partial.is_empty() && self.over == 0);
            self.read += at as u64 + 1;
            if whole {
                framer.line(self.line(line, start, false), now);
            } else {
                self.keep(line);
                let (partial, cut) = (std::mem::take(&mut self.partial), self.over > 0);
                self.over = 0;
                framer.line(self.line(&partial, start, cut), now);
            }
            rest = after;
        }
        self.read += rest.len() as u64;
        self.keep(rest);
        self.identity.grow(&mut self.content, self.read)?;
        Ok(n)
    }

    /// Passes over the zeros that a writer leaves before its next line when its file is truncated under it:
    /// it goes on at its own offset, and what lies before is a hole.
    fn pass_hole(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        while !self.content.is_gzip() {
            let first = buffer.get_mut(..1).unwrap_or_default();
            if self.content.read_at(first, self.read)? == 0 || first != [0] {
                break;
            }
            let n = self.content.read_at(buffer, self.read)?;
            let zeros = buffer.iter().take(n).take_while(|b| **b == 0).count();
            self.read += zeros as u64;
        }
        Ok(())
    }

    fn remember(&mut self, read: &[u8]) {
        let (_, tail) = read.split_at_checked(read.len().saturating_sub(BEFORE_BYTES)).unwrap_or_default();
        self.last.extend_from_slice(tail);
        self.last.drain(..self.last.len().saturating_sub(BEFORE_BYTES));
    }

    /// The bytes at the end without a line end are a line: nothing will be added to them.
    pub(crate) fn end_line(&mut self, framer: &mut Framer, now: Instant) {
        if self.has_partial() {
            let start = self.consumed();
            let (partial, cut) = (std::mem::take(&mut self.partial), self.over > 0);
            self.over = 0;
            framer.line(self.line(&partial, start, cut), now);
        }
    }

    /// Whether the file ends in the middle of a line.
    pub(crate) fn has_partial(&self) -> bool {
        !self.partial.is_empty() || self.over > 0
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX.saturating_sub(self.partial.len()).min(bytes.len());
        self.partial.extend_from_slice(bytes.get(..room).unwrap_or_default());
        self.over += (bytes.len() - room) as u64;
    }

    /// Bytes of memory for the line at the end.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// A place in the file.
    pub(crate) fn place(&self, offset: u64) -> Position {
        Position::in_file(self.number, offset)
    }

    fn line<'a>(&self, bytes: &'a [u8], start: u64, cut: bool) -> Line<'a> {
        Line { bytes, start: self.place(start), end: self.place(self.read), cut }
    }
}
