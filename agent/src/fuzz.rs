//! What the fuzz targets reach of the agent.

use std::time::Instant;

use heliograph_model::source::Position;

use crate::frame::{Form, Framer, Line};

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
