//! One file of a path: read forward through its descriptor, cut into lines.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use heliograph_model::record::MESSAGE_BYTES_MAX;
use heliograph_model::source::Position;
use memchr::memchr;

use super::identity::FileIdentity;
use crate::frame::cri::HEAD_BYTES_MAX;
use crate::frame::{Framer, Line};

/// Most bytes of a line that are kept.
const LINE_BYTES_MAX: usize = MESSAGE_BYTES_MAX + HEAD_BYTES_MAX;

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
    file: File,
    /// Bytes read.
    read: u64,
    /// Of these, the bytes of the line at the end that has no line end yet …
    partial: Vec<u8>,
    /// … and how many of that line were too many to keep.
    over: u64,
}

impl Generation {
    /// A file to be read from `offset` on.
    pub(crate) fn new(number: u32, file: File, identity: FileIdentity, offset: u64, now: Instant) -> Self {
        let (partial, over) = (vec![], 0);
        Self { number, identity, live: false, touched: now, moved: offset, file, read: offset, partial, over }
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
        self.file.metadata()
    }

    /// Bytes that are not read; 0 where the file cannot be asked.
    pub(crate) fn unread(&self) -> u64 {
        self.meta().map_or(0, |m| m.len().saturating_sub(self.read))
    }

    /// Whether its bytes have been replaced: it is shorter than what was read, or begins otherwise.
    pub(crate) fn is_truncated(&self, meta: &Metadata) -> io::Result<bool> {
        Ok(meta.len() < self.read || (self.read > 0 && !self.identity.same_head(&self.file)?))
    }

    /// Goes on in a copy of the file, which has the bytes that the file itself lost.
    pub(crate) fn go_on_in(&mut self, copy: File, identity: FileIdentity) {
        self.file = copy;
        self.identity = identity;
        self.live = false;
    }

    /// Reads on, at most a buffer full, and gives the whole lines to the framer. 0 is the end, for now.
    pub(crate) fn advance(
        &mut self,
        buffer: &mut [u8],
        framer: &mut Framer,
        now: Instant,
    ) -> io::Result<usize> {
        let n = loop {
            match self.file.read_at(buffer, self.read) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if n == 0 {
            return Ok(0);
        }
        self.touched = now;
        let mut rest = buffer.get(..n).unwrap_or_default();
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
        self.identity.grow(&self.file, self.read)?;
        Ok(n)
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

    fn line<'a>(&self, bytes: &'a [u8], start: u64, cut: bool) -> Line<'a> {
        let place = |offset| Position::in_file(self.number, offset);
        Line { bytes, start: place(start), end: place(self.read), cut }
    }
}
