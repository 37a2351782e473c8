//! Bytes of one source to events: container framing, joining of lines that belong together, text.
//!
//! Knows nothing of files: a [`Line`] says from where to where it reaches, over rotations. An event is let go
//! only once everything before it has been, so that one position says what is done.

pub(crate) mod cri;
pub(crate) mod multiline;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use heliograph_model::record::MESSAGE_BYTES_MAX;
use heliograph_model::source::{Position, Stream};
use heliograph_model::time::Timestamp;

use cri::Pieces;
use multiline::Joiner;

/// Longest time that one stream's unfinished record holds back the other stream's finished ones.
const BLOCK_MAX: Duration = Duration::from_secs(1);
/// Most bytes of finished records that wait for the other stream.
const BLOCKED_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// The attribute that holds the figures of what was given up.
const GAP: &str = "heliograph.gap";

/// What the lines of a source look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As a container runtime writes them: time, stream, `P` or `F`, text.
    Cri,
    /// The text alone.
    Plain,
}

/// One line of a file, without its line end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Where it begins.
    pub start: Position,
    /// Where what follows its line end begins.
    pub end: Position,
    /// Whether its end is missing, because it is too long.
    pub cut: bool,
}

/// One log event: the text of one line, or of the lines that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Where its first line begins.
    pub start: Position,
    /// Where its last line ends.
    pub end: Position,
    /// Which output, where the form says.
    pub stream: Option<Stream>,
    /// When the runtime read it, where the form says.
    pub at: Option<Timestamp>,
    /// The text.
    pub text: String,
    /// Whether the text's end is missing.
    pub cut: bool,
}

/// What was odd about the lines since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Lines read.
    pub lines: u64,
    /// Lines cut.
    pub cut: u64,
    /// Places that were not UTF-8.
    pub replaced: u64,
    /// Empty lines passed over.
    pub empty: u64,
    /// Lines not in the source's form.
    pub odd: u64,
}

/// Makes events of one source's lines.
#[derive(Debug)]
pub(crate) struct Framer {
    form: Form,
    /// stdout (and plain text), stderr.
    lanes: [Lane; 2],
    /// Finished events, by start but for interleaved streams.
    ready: Vec<Event>,
    ready_bytes: usize,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Lane {
    pieces: Pieces,
    joiner: Joiner,
}

impl Framer {
    /// At the start of a source, or where reading resumes.
    pub(crate) fn new(form: Form) -> Self {
        Self {
            form,
            lanes: [Lane::default(), Lane::default()],
            ready: vec![],
            ready_bytes: 0,
            tally: Tally::default(),
        }
    }

    /// Reads the next line.
    pub(crate) fn line(&mut self, line: Line<'_>, now: Instant) {
        self.tally.lines += 1;
        match self.form {
            Form::Plain => self.plain(line, now),
            Form::Cri => match cri::parse(line.bytes) {
                Some(parsed) => self.cri(line, &parsed, now),
                None => {
                    self.tally.odd += u64::from(!line.bytes.trim_ascii().is_empty());
                    self.plain(line, now);
                }
            },
        }
    }

    fn plain(&mut self, line: Line<'_>, now: Instant) {
        let bytes = match line.bytes {
            // A byte order mark is no part of the text, and would hide what the line is.
            [0xEF, 0xBB, 0xBF, rest @ ..] if line.start.0 & 0xFF_FFFF_FFFF == 0 => rest,
            bytes => bytes,
        };
        // A text under way ends where the form does: joined behind what comes later, it would end before it begins.
        if let Some((head, bytes)) = self.lanes.first_mut().and_then(|lane| lane.pieces.take()) {
            self.text(0, head, &bytes, now);
        }
        let (start, end, cut) = (line.start, line.end, line.cut);
        let event = Event { start, end, stream: None, at: None, text: String::new(), cut };
        self.text(0, event, bytes, now);
    }

    fn cri(&mut self, line: Line<'_>, parsed: &cri::Parsed<'_>, now: Instant) {
        let at = usize::from(parsed.stream == Stream::Stderr);
        let Some(lane) = self.lanes.get_mut(at) else { return };
        let head = Event {
            start: line.start,
            end: line.end,
            stream: Some(parsed.stream),
            at: parsed.time,
            text: String::new(),
            cut: line.cut,
        };
        if !parsed.partial && lane.pieces.is_empty() {
            return self.text(at, head, parsed.text, now);
        }
        lane.pieces.push(head, parsed.text, now);
        if !parsed.partial
            && let Some((head, bytes)) = lane.pieces.take()
        {
            self.text(at, head, &bytes, now);
        }
    }

    /// Reads one whole text line of a lane.
    fn text(&mut self, at: usize, mut head: Event, mut bytes: &[u8], now: Instant) {
        if let [rest @ .., b'\r'] = bytes {
            bytes = rest;
        }
        if let Some(short) = bytes.get(..MESSAGE_BYTES_MAX)
            && bytes.len() > MESSAGE_BYTES_MAX
        {
            bytes = short;
            head.cut = true;
        }
        if head.cut {
            self.tally.cut += 1;
            bytes = whole_characters(bytes);
        }
        let text = readable(bytes, &mut self.tally.replaced);
        let Some(lane) = self.lanes.get_mut(at) else { return };
        if text.trim_ascii().is_empty() {
            self.tally.empty += u64::from(!lane.joiner.takes_blank(&head, &text));
        }
        if let Some(done) = lane.joiner.push(head, &text, now) {
            self.finish(done);
        }
    }

    fn finish(&mut self, event: Event) {
        self.ready_bytes += event.text.len();
        self.ready.push(event);
    }

    /// Says in the place of bytes that were given up how many they were. Nothing may be unfinished.
    pub(crate) fn gap(&mut self, start: Position, end: Position, bytes: u64) {
        let text = serde_json::json!({
            "event": format!("{bytes} bytes of this log were deleted before they could be read"),
            "level": "error",
            GAP: {"bytes": bytes, "reasons": ["deleted"]},
        });
        self.finish(Event { start, end, stream: None, at: None, text: text.to_string(), cut: false });
    }

    /// Finishes what waits for lines that are not likely to come, or not in time. To be called where the
    /// file has no more lines at present; with `force` nothing is left unfinished.
    pub(crate) fn settle(&mut self, now: Instant, force: bool) {
        let blocked = !self.ready.is_empty();
        let force = force || (blocked && self.ready_bytes > BLOCKED_BYTES_MAX);
        for at in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get_mut(at) else { return };
            if (force || lane.pieces.is_late(now))
                && let Some((head, bytes)) = lane.pieces.take()
            {
                self.text(at, head, &bytes, now);
            }
            let Some(lane) = self.lanes.get_mut(at) else { return };
            let force = force || (blocked && lane.joiner.began_before(now, BLOCK_MAX));
            if let Some(done) = lane.joiner.settle(now, force) {
                self.finish(done);
            }
        }
    }

    /// When [`Self::settle`] has something to do even if no line comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lanes.iter().flat_map(|l| [l.pieces.deadline(), l.joiner.deadline()]).flatten().min()
    }

    /// The finished events that nothing unfinished precedes, in order, and where to resume after them, when
    /// all up to `read` has been given to [`Self::line`].
    pub(crate) fn release(&mut self, read: Position) -> (Vec<Event>, Position) {
        let open = self.lanes.iter().flat_map(|l| [l.pieces.start(), l.joiner.start()]).flatten().min();
        let mut resume = open.unwrap_or(read);
        // A finished event that reaches beyond the resume place would be read again in part: it waits too.
        while let Some(lower) =
            self.ready.iter().filter(|e| e.end > resume && e.start < resume).map(|e| e.start).min()
        {
            resume = lower;
        }
        let mut out = std::mem::take(&mut self.ready);
        self.ready_bytes = 0;
        if out.iter().any(|e| e.end > resume) {
            for event in out.extract_if(.., |e| e.end > resume) {
                self.ready_bytes += event.text.len();
                self.ready.push(event);
            }
        }
        out.sort_by_key(|e| e.start);
        (out, resume)
    }

    /// Bytes of text that are not let go.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        let lanes = self.lanes.iter().map(|l| l.pieces.held_bytes() + l.joiner.held_bytes());
        self.ready_bytes + lanes.sum::<usize>()
    }

    /// What was counted since the last call.
    pub(crate) fn tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }
}

/// The bytes as text; what is not UTF-8 is replaced and counted, NUL stays.
fn readable<'a>(bytes: &'a [u8], replaced: &mut u64) -> Cow<'a, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            *replaced += bytes.utf8_chunks().map(|c| u64::from(!c.invalid().is_empty())).sum::<u64>();
            String::from_utf8_lossy(bytes)
        }
    }
}

/// The bytes without a character that was cut in two at their end.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    let tail = bytes.len().saturating_sub(4);
    for end in (tail..=bytes.len()).rev() {
        if let Some(short) = bytes.get(..end)
            && short.utf8_chunks().last().is_none_or(|c| c.invalid().is_empty())
        {
            return short;
        }
    }
    bytes
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
