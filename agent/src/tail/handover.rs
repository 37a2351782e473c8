//! A path that is given up: for now, with its positions, or for good, to its last byte.

use std::time::Instant;

use litemap::LiteMap;

use super::{FIRST_NUMBER, Known, Tail};

impl Tail {
    /// The number of the newest file of the path; of the one that would be, where there was none.
    pub(crate) fn newest_number(&self) -> u32 {
        self.next_number.saturating_sub(1).max(FIRST_NUMBER)
    }

    /// What a new tail needs to go on where the last run ended.
    pub(crate) fn positions(&mut self) -> LiteMap<u32, Known> {
        let mut positions = self.known.clone();
        for file in self.files.iter_mut().chain(&mut self.lingering).chain(&mut self.ended) {
            let (identity, offset, ended) = (file.identity, file.moved, file.told_ended);
            let before = file.hash_before(offset);
            positions.insert(file.number, Known { identity, offset, before, ended });
        }
        positions
    }

    /// Nothing will be written any more: what is held back for more is finished as it is.
    pub(crate) fn finish(&mut self, now: Instant) {
        for file in self.files.iter_mut().chain(&mut self.lingering) {
            file.end_line(&mut self.framer, now);
        }
        self.framer.settle(now, true);
    }
}
