//! The real clock.

use heliograph_model::time::{Clock, Timestamp};

/// The machine's clock.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // Beyond the year 2262 there is only the last moment.
        i64::try_from(jiff::Timestamp::now().as_nanosecond()).map_or(Timestamp::MAX, Timestamp::from_nanos)
    }
}
