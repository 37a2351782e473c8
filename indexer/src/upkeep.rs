//! What becomes of segments once they are sealed: small ones are merged, and what nobody needs is deleted.
//!
//! Runs beside everything else and may stop at any moment: what was left undone is found again.

mod collect;
mod compact;

use std::time::Duration;

pub(crate) use collect::Collector;
pub(crate) use compact::Compactor;

/// The settings of upkeep.
#[derive(Clone, Copy, Debug)]
pub struct Upkeep {
    /// How large segments become by merging: bytes of texts, and 128 a record; 0 turns merging off.
    pub merge_bytes: u64,
    /// How long a segment that is no longer searched stays for those who began before; longer than any search.
    pub delete_after: Duration,
    /// How long an object must be there without being published until it is taken for abandoned.
    pub abandoned_after: Duration,
    /// How often it is looked for something to do.
    pub look_every: Duration,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            merge_bytes: 64 << 20,
            delete_after: Duration::from_mins(10),
            abandoned_after: Duration::from_hours(6),
            look_every: Duration::from_secs(30),
        }
    }
}
