//! The lines that a feed is made of, as bytes with their room.

use std::sync::Arc;

use bytes::Bytes;
use heliograph_model::filter::Matcher;
use heliograph_model::record::{ApiRecord, RecordRef};
use heliograph_model::scan::{CommitId, FeedFrame};
use heliograph_model::time::Timestamp;

use crate::budget::Room;
use crate::error::{Error, Result};
use crate::hot::Chunk;

/// Text bytes after which a commit's records go on in another frame.
const FRAME_BYTES: usize = 256 << 10;

/// What a record takes in a frame beside its texts, about.
const RECORD_BYTES: usize = 300;

/// One line of NDJSON, on its way to the reader.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) line: Bytes,
    /// Held until the line is handed over; control lines have none.
    pub(super) _room: Option<Room>,
}

/// Records that were left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) count: u64,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) commit: CommitId,
}

impl Gap {
    /// Puts `more` to what is left out already.
    pub(super) fn add(gap: &mut Option<Self>, more: Self) {
        *gap = Some(match *gap {
            None => more,
            Some(gap) => Self {
                count: gap.count + more.count,
                from: gap.from.min(more.from),
                to: gap.to.max(more.to),
                commit: gap.commit.max(more.commit),
            },
        });
    }

    fn of<'a>(records: impl Iterator<Item = RecordRef<'a>>, commit: CommitId) -> Self {
        let none = Self { count: 0, from: Timestamp::MAX, to: Timestamp::MIN, commit };
        records.fold(none, |gap, r| Self {
            count: gap.count + 1,
            from: gap.from.min(r.time),
            to: gap.to.max(r.time),
            commit,
        })
    }
}

/// All of a chunk, where it is not known which records the feed means.
pub(super) fn gap_of_all(chunk: &Chunk) -> Gap {
    Gap::of(chunk.records(), chunk.commit)
}

/// A frame of matching records, and what is missing if it is not sent.
pub(super) struct Lines {
    pub(super) line: Bytes,
    pub(super) gap: Gap,
}

/// The matching records of a chunk as frames. CPU work.
///
/// A frame says of its commit "up to here everything was sent". Where a commit's records do not fit into one
/// frame, all but the last therefore name the commit before: one who resumes from there gets some records
/// again, and misses none.
pub(super) fn records(chunk: &Chunk, matcher: &Matcher) -> Result<Vec<Lines>> {
    let meant: Vec<RecordRef<'_>> = chunk.records().filter(|r| matcher.matches(r)).collect();
    let mut frames = Vec::new();
    let mut rest = &meant[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(fitting(rest));
        let commit = if later.is_empty() { chunk.commit } else { CommitId(chunk.commit.0 - 1) };
        let records: Vec<ApiRecord<'_>> = now.iter().map(|r| r.to_api(&chunk.tenant)).collect();
        let gap = Gap::of(now.iter().copied(), chunk.commit);
        frames.push(Lines { line: line(&FeedFrame::Records { commit, records })?, gap });
        rest = later;
    }
    Ok(frames)
}

/// How many of these records make a frame: at least one.
fn fitting(records: &[RecordRef<'_>]) -> usize {
    let mut bytes = 0;
    let fits = records.iter().take_while(|r| {
        bytes += RECORD_BYTES + r.text_bytes();
        bytes <= FRAME_BYTES
    });
    fits.count().clamp(1, records.len())
}

/// A frame as a line.
pub(super) fn line(frame: &FeedFrame<'_>) -> Result<Bytes> {
    let mut line = serde_json::to_vec(frame).map_err(|e| Error::invalid(e.to_string()))?;
    line.push(b'\n');
    Ok(line.into())
}

/// A chunk that is shared, looked at where it costs least: a small one at once, a large one off the async
/// threads.
pub(super) async fn look_at(chunk: Arc<Chunk>, matcher: &Arc<Matcher>) -> Result<Vec<Lines>> {
    /// Records that take well under a millisecond.
    const SMALL: usize = 64;
    if chunk.len() <= SMALL {
        return records(&chunk, matcher);
    }
    let matcher = Arc::clone(matcher);
    tokio::task::spawn_blocking(move || records(&chunk, &matcher)).await?
}
