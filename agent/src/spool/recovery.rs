//! A spool whose checkpoint is damaged. It goes on: an agent that stands still loses lines as files are rotated away.
//!
//! What is lost with the checkpoint are the read positions of sources that no file of the spool names, and how far
//! tenants are settled. So:
//! - A source without a position is read from the beginning of what there is of it: lines may come twice, none is
//!   lost. That is said, in the log and by a metric.
//! - What no file holds was in files that were freed, so it is settled, and all before it is: batches are settled in
//!   order. What follows is sent in a new epoch, for which numbers it had is not known. Should other files be damaged
//!   too, that does not follow: then what is missing becomes gaps, as ever.
//! - With another key than that of the spool nothing would open, and going on would do away with files that are whole.
//!   Then the spool does not open.

use std::path::{Path, PathBuf};

use heliograph_model::cipher::SecretKey;

use super::entry::Settled;
use super::segment::Segment;
use super::state::{State, segment_files};
use crate::error::{Error, Result};

/// Where a damaged checkpoint is put, for a look; the last one.
pub(super) fn aside(checkpoint: &Path) -> PathBuf {
    checkpoint.with_extension("damaged")
}

/// Keeps a copy of a damaged checkpoint. The file itself stays until there is a new one, so that a crash before that
/// changes nothing.
pub(super) fn set_aside(checkpoint: &Path) -> Result<()> {
    let aside = aside(checkpoint);
    std::fs::copy(checkpoint, &aside).map(drop).map_err(Error::disk(aside))
}

/// Refuses a key with which none of the spool's entries opens, though there are some.
pub(super) fn check_key(dir: &Path, key: &SecretKey, checkpoint: &Path) -> Result<()> {
    let mut sealed = false;
    for path in segment_files(dir)?.into_values() {
        let Some(segment) = Segment::open(&path, key)? else { continue };
        match segment.opens_any()? {
            Some(true) => return Ok(()),
            Some(false) => sealed = true,
            None => {}
        }
    }
    if !sealed {
        return Ok(());
    }
    let reason =
        "neither it nor any file of the spool opens with this spool.key: is it another's?".to_owned();
    Err(Error::Corrupt { path: checkpoint.to_owned(), reason })
}

impl State {
    /// Settles what no file holds any more, and all before it.
    pub(super) fn settle_freed(&mut self, now_millis: u64) {
        let epoch = now_millis.max(self.latest_epoch() + 1);
        let mut done = vec![];
        for queue in self.tenants.values_mut() {
            if let Some(freed) = queue.holes().last() {
                done.extend(queue.settle_as(Settled { ordinal: freed.last, epoch, sequence: 1 }));
            }
        }
        self.let_go(done);
    }
}
