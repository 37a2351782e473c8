//! The lines that container runtimes write: `<time> <stream> <tags> <text>`, and texts in several pieces.

use std::time::{Duration, Instant};

use heliograph_model::record::MESSAGE_BYTES_MAX;
use heliograph_model::source::{Position, Stream};
use heliograph_model::time::Timestamp;
use memchr::memchr;

use super::Event;

/// How long a text waits for its last piece. Runtimes write the pieces of one write at once; only a process
/// that died in the middle of a line never ends it.
const PIECE_WAIT: Duration = Duration::from_secs(5);
/// Bytes of a CRI line before its text, at most: time with nanoseconds and offset, stream, tags.
pub(crate) const HEAD_BYTES_MAX: usize = 64;

/// A line taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parsed<'a> {
    /// When the runtime read it.
    pub time: Option<Timestamp>,
    /// Where from.
    pub stream: Stream,
    /// Whether the text goes on in the stream's next line.
    pub partial: bool,
    /// The text.
    pub text: &'a [u8],
}

/// Takes a line apart; none where it is not in this form.
pub(crate) fn parse(line: &[u8]) -> Option<Parsed<'_>> {
    let (time, rest) = word(line)?;
    let (stream, rest) = word(rest)?;
    let (tags, text) = word(rest).unwrap_or((rest, &[]));
    let stream = match stream {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let partial = match tags.split(|b| *b == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    let time = std::str::from_utf8(time).ok().and_then(|t| Timestamp::parse(t).ok());
    Some(Parsed { time, stream, partial, text })
}

/// The bytes before the next space, and those after it.
fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let near = bytes.get(..bytes.len().min(HEAD_BYTES_MAX))?;
    let at = memchr(b' ', near)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// The pieces of one text so far, at most [`MESSAGE_BYTES_MAX`] of it.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    head: Option<Event>,
    bytes: Vec<u8>,
    touched: Option<Instant>,
}

impl Pieces {
    /// Whether no text is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Adds a piece. `head` says where the piece lies; the first one's start and time are the text's.
    pub(crate) fn push(&mut self, head: Event, text: &[u8], now: Instant) {
        let room = MESSAGE_BYTES_MAX.saturating_sub(self.bytes.len());
        let (end, cut) = (head.end, head.cut || text.len() > room);
        let whole = self.head.get_or_insert(head);
        whole.end = end;
        whole.cut |= cut;
        self.bytes.extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
        self.touched = Some(now);
    }

    /// The text so far, which ends here.
    pub(crate) fn take(&mut self) -> Option<(Event, Vec<u8>)> {
        self.touched = None;
        let head = self.head.take()?;
        Some((head, std::mem::take(&mut self.bytes)))
    }

    /// Bytes of memory for the text under way.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Where the text under way begins.
    pub(crate) fn start(&self) -> Option<Position> {
        self.head.as_ref().map(|h| h.start)
    }

    /// When the wait for the last piece ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.touched.map(|t| t + PIECE_WAIT)
    }

    /// Whether it has ended.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|d| d <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<(Stream, bool, &str)>) {
        let found = parse(line.as_bytes());
        assert_eq!(
            found.map(|p| (p.stream, p.partial, std::str::from_utf8(p.text).unwrap())),
            expected,
            "{line}"
        );
    }

    #[test]
    fn lines_of_runtimes() {
        let at = "2026-11-23T22:03:16.012523008Z";
        check(&format!("{at} stdout F hello  world "), Some((Stream::Stdout, false, "hello  world ")));
        check(&format!("{at} stderr P part"), Some((Stream::Stderr, true, "part")));
        check(&format!("{at} stdout F "), Some((Stream::Stdout, false, "")));
        check(&format!("{at} stdout F"), Some((Stream::Stdout, false, "")));
        check(&format!("{at} stdout P:x y"), Some((Stream::Stdout, true, "y")));
        check("2026-11-23T22:03:16.012523008+01:00 stdout F x", Some((Stream::Stdout, false, "x")));
        check(&format!("{at} stdlog F x"), None);
        check(&format!("{at} stdout X x"), None);
        check("plain text", None);
        check("", None);
        let time = parse(format!("{at} stdout F x").as_bytes()).unwrap().time.unwrap();
        assert_eq!(time.as_nanos(), 1_795_471_396_012_523_008);
    }
}
