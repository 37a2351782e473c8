//! The bundled logs of one tenant, as a play: which lines appear in which file, and when after its start.
//!
//! A play keeps the order in which Airflow wrote, but not its pauses: long ones are shortened and bursts are
//! stretched, so that something moves all the time.

use anyhow::Context;
use heliograph_model::airflow::continuation::{Continuation, Decision};
use heliograph_model::codec::decompress;

use super::shift;

/// Longest bundle of a tenant, expanded.
const BUNDLE_BYTES_MAX: usize = 4 << 20;
/// What stands before a file's name in a bundle.
const FILE_MARK: &str = "==> ";
/// Shortest pause between two records, so that a burst is not one flash.
const PAUSE_NANOS_MIN: i64 = 8_000_000;
/// Longest pause between two records.
const PAUSE_NANOS_MAX: i64 = 1_200_000_000;
/// Pause between the end of a play and its repetition.
const INTERVAL_NANOS: i64 = 2_000_000_000;
/// How far from the recording a time may be to be moved with it; others are data of a task.
const NEAR_NANOS: i64 = 2 * 86_400 * 1_000_000_000;

/// One tenant's play.
pub(super) struct Sample {
    /// Paths of the files, below the replay's folder, with times of the recording in them.
    files: Vec<String>,
    /// Records, in order.
    cues: Vec<Cue>,
    /// When the recording began.
    began: i64,
    /// How long the play lasts, in nanoseconds.
    pub(super) length: i64,
}

/// A record's place in the play.
struct Cue {
    file: usize,
    /// When it was recorded.
    recorded: i64,
    /// When it appears after the start of the play, in nanoseconds.
    at: i64,
    /// Its lines, each with a line end.
    text: String,
}

/// A record on stage: its file and its lines, with the times of this showing.
pub(super) struct Shown {
    /// Path below the replay's folder.
    pub(super) path: String,
    /// Lines, each with a line end.
    pub(super) text: String,
}

impl Sample {
    /// Reads a bundle: files, each behind a line `==> path`, all in one zstd frame.
    pub(super) fn read(bundle: &[u8]) -> anyhow::Result<Self> {
        let bytes = decompress(bundle, BUNDLE_BYTES_MAX).context("expand a bundled sample")?;
        let text = String::from_utf8(bytes).context("read a bundled sample")?;
        let (mut files, mut cues) = (Vec::new(), Vec::new());
        let mut rest = text.as_str();
        while let Some(file) = rest.strip_prefix(FILE_MARK) {
            let (path, content) = file.split_once('\n').context("a bundled file lacks its content")?;
            let end = content.find(&format!("\n{FILE_MARK}")).map_or(content.len(), |i| i + 1);
            let (content, after) = content.split_at_checked(end).unwrap_or((content, ""));
            read_file(content, files.len(), path.starts_with(super::PODS), &mut cues);
            files.push(path.to_owned());
            rest = after;
        }
        cues.sort_by_key(|cue| cue.recorded);
        let began = cues.first().context("a bundled sample is empty")?.recorded;
        let (mut at, mut last) = (0, began);
        for cue in &mut cues {
            at += (cue.recorded - last).clamp(PAUSE_NANOS_MIN, PAUSE_NANOS_MAX);
            last = cue.recorded;
            cue.at = at;
        }
        Ok(Self { files, cues, began, length: at + INTERVAL_NANOS })
    }

    /// When a record appears after the start of the play; none behind the last.
    pub(super) fn at(&self, cue: usize) -> Option<i64> {
        self.cues.get(cue).map(|cue| cue.at)
    }

    /// A record, in a play that started at `start`.
    pub(super) fn show(&self, cue: usize, start: i64) -> Option<Shown> {
        let cue = self.cues.get(cue)?;
        let moved = |nanos: i64| start.checked_add(self.moved(nanos)?);
        let path = shift::shift(self.files.get(cue.file)?, &moved);
        Some(Shown { path, text: shift::shift(&cue.text, &moved) })
    }

    /// Paths of the containers' logs.
    pub(super) fn pod_paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str).filter(|path| path.starts_with(super::PODS))
    }

    /// Where a moment of the recording lies in the play: between the records around it, in proportion.
    fn moved(&self, nanos: i64) -> Option<i64> {
        let last = self.cues.last()?;
        if nanos < self.began {
            return (self.began - nanos < NEAR_NANOS).then(|| nanos - self.began);
        }
        let after = self.cues.partition_point(|cue| cue.recorded < nanos);
        let Some(next) = self.cues.get(after) else {
            return (nanos - last.recorded < NEAR_NANOS).then(|| last.at + (nanos - last.recorded));
        };
        let Some(previous) = after.checked_sub(1).and_then(|i| self.cues.get(i)) else {
            return Some(next.at);
        };
        let part = i128::from(nanos - previous.recorded) * i128::from(next.at - previous.at)
            / i128::from((next.recorded - previous.recorded).max(1));
        i64::try_from(i128::from(previous.at) + part).ok()
    }
}

/// Adds a file's records. Lines of one record stay together; in CRI files each stream has its own.
fn read_file(content: &str, file: usize, cri: bool, cues: &mut Vec<Cue>) {
    let mut streams = [Reading::default(), Reading::default()];
    let (mut last, mut last_stream) = (i64::MIN, None);
    for line in content.lines().filter(|line| !line.is_empty()) {
        let mut words = line.splitn(4, ' ').skip(1);
        let (stderr, partial, text) = if cri {
            let stderr = words.next() == Some("stderr");
            (stderr, words.next() == Some("P"), words.next().unwrap_or_default())
        } else {
            (false, false, line)
        };
        let Some(reading) = streams.get_mut(usize::from(stderr)) else { continue };
        // What follows a partial line is not a line of its own.
        let goes_on = reading.partial || reading.lines.feed(text) == Decision::Continues;
        reading.partial = partial;
        // A file's order is kept even where its times fall.
        last = shift::first(line).map_or(last, |time| time.max(last));
        match cues.last_mut() {
            Some(cue) if goes_on && last_stream == Some(stderr) => push_line(&mut cue.text, line),
            _ => {
                let mut text = String::new();
                push_line(&mut text, line);
                cues.push(Cue { file, recorded: last, at: 0, text });
            }
        }
        last_stream = Some(stderr);
    }
}

#[derive(Default)]
struct Reading {
    lines: Continuation,
    partial: bool,
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
