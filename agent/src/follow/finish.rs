//! The end of reading where nothing more will be written.

use std::time::{Duration, Instant};

use super::Follower;
use crate::gather::Closed;

/// How soon a file is tried again that could not be read to its end.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

impl Follower {
    /// Reads every file that is there to its end, the last line also without a line end. Tries again what cannot be
    /// read, until stopped.
    pub(super) fn finish(&mut self) -> Result<(), Closed> {
        self.discovery.forget_listings();
        loop {
            self.scan(Instant::now(), true);
            loop {
                if self.gather.pass_on(&self.context.wake)? {
                    self.turns()?;
                    self.flush_due()?;
                    if self.turns.len() == 0 {
                        break;
                    }
                } else if self.discovery.wait(Instant::now() + AGAIN_AFTER, true).told.stop {
                    return Ok(());
                }
                if self.context.wake.is_stopped() {
                    return Ok(());
                }
            }
            let now = Instant::now();
            if !self.has_failing() && !self.followed.values_mut().any(|f| f.tail.has_unread(now)) {
                break;
            }
            if self.discovery.wait(now + AGAIN_AFTER, true).told.stop {
                return Ok(());
            }
        }
        let ids: Vec<_> = self.followed.keys().copied().collect();
        for id in ids {
            let now = Instant::now();
            if let Some(followed) = self.followed.get_mut(&id) {
                followed.tail.finish(now);
            }
            self.let_go(id, now)?;
        }
        Ok(())
    }

    /// Whether there are files that could not be opened.
    fn has_failing(&self) -> bool {
        let mut failing = self.failing.iter().filter_map(|id| self.followed.get(id));
        failing.any(|f| std::fs::symlink_metadata(&f.path).is_ok())
    }
}
