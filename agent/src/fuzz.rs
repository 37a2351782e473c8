//! What the fuzz targets reach of the agent.

use std::time::Instant;

use heliograph_model::source::Position;

use crate::frame::{Form, Framer, Line};
use crate::spool::checkpoint::Checkpoint;
use crate::spool::entry::Entry;

/// Frames the lines of a file. What comes out lies in the order in which it was read, and within it.
pub fn frame(bytes: &[u8], is_cri: bool) {
    let mut framer = Framer::new(if is_cri { Form::Cri } else { Form::Plain });
    let now = Instant::now();
    let mut at = 0_u64;
    for line in bytes.split(|byte| *byte == b'\n') {
        let end = at + line.len() as u64 + 1;
        framer.line(
            Line { bytes: line, start: Position(at), end: Position(end), cut: line.len() % 97 == 96 },
            now,
        );
        at = end;
    }
    framer.settle(now, true);
    let (events, released) = framer.release(Position(at));
    assert_eq!(released, Position(at), "all is settled");
    assert!(events.iter().all(|event| event.start < event.end && event.end <= released), "{events:?}");
}

/// Reads an entry of the spool, behind its seal. One that is read is written as one that is read alike.
pub fn spool_entry(bytes: &[u8]) {
    let Ok(entry) = Entry::from_bytes(bytes) else { return };
    let again = Entry::from_bytes(&entry.to_bytes());
    assert_eq!(again.as_ref(), Ok(&entry));
}

/// Likewise the spool's checkpoint.
pub fn checkpoint(bytes: &[u8]) {
    let Ok(checkpoint) = Checkpoint::from_bytes(bytes) else { return };
    let again = Checkpoint::from_bytes(&checkpoint.to_bytes());
    assert_eq!(again.as_ref(), Ok(&checkpoint));
}
