//! What is kept, and for how long. Pure.
//!
//! Whole segments go. By age: those whose newest record is older than that. By bytes: the oldest, until the rest is
//! no more than that. No wrong time deletes anything early:
//!
//! - A segment is as old as the later of its making and its newest record; one that was made in the future is not old
//!   at all, and a record from the future does not count. So a record that claims to be of 1970 is kept as long as
//!   others that came with it, and one that claims to be of 2262 no longer.
//! - What time it is now is told by a [`LateClock`], which does not follow a clock that jumps ahead.

use std::time::Duration;

use heliograph_model::time::Timestamp;

use crate::catalog::{Reason, SegmentMeta};
use crate::layout::ObjectId;

/// What a tenant keeps; without a bound, without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Records up to this age.
    pub age: Option<Duration>,
    /// Stored bytes of segments.
    pub bytes: Option<u64>,
}

/// One bound of a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Own<T> {
    /// As for all tenants.
    #[default]
    Default,
    /// None, whatever is set for all.
    Unlimited,
    /// Its own; not zero.
    Limit(T),
}

impl<T> Own<T> {
    fn or(self, default: Option<T>) -> Option<T> {
        match self {
            Self::Default => default,
            Self::Unlimited => None,
            Self::Limit(limit) => Some(limit),
        }
    }
}

/// A tenant's own bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnKeep {
    /// Of age.
    pub age: Own<Duration>,
    /// Of stored bytes.
    pub bytes: Own<u64>,
}

impl OwnKeep {
    /// Age in nanoseconds and bytes, as they lie at rest: none as for all tenants, 0 without end.
    pub(crate) fn numbers(&self) -> [Option<u64>; 2] {
        fn number<T>(own: Own<T>, limit: impl FnOnce(T) -> u64) -> Option<u64> {
            match own {
                Own::Default => None,
                Own::Unlimited => Some(0),
                Own::Limit(own) => Some(limit(own)),
            }
        }
        let nanos = |age: Duration| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        [number(self.age, nanos), number(self.bytes, |bytes| bytes)]
    }

    /// What [`Self::numbers`] gave.
    pub(crate) fn of_numbers([age, bytes]: [Option<u64>; 2]) -> Self {
        fn own<T>(number: Option<u64>, limit: impl FnOnce(u64) -> T) -> Own<T> {
            match number {
                None => Own::Default,
                Some(0) => Own::Unlimited,
                Some(number) => Own::Limit(limit(number)),
            }
        }
        Self { age: own(age, Duration::from_nanos), bytes: own(bytes, |bytes| bytes) }
    }

    /// What holds for the tenant.
    pub fn or(self, default: Keep) -> Keep {
        Keep { age: self.age.or(default.age), bytes: self.bytes.or(default.bytes) }
    }
}

/// Those of a tenant's segments that go now, with the reason.
pub fn expired(segments: &[SegmentMeta], keep: &Keep, now: Timestamp) -> Vec<(ObjectId, Reason)> {
    let mut gone = Vec::new();
    let mut kept: Vec<_> = segments.iter().map(|segment| (newest(segment, now), segment)).collect();
    if let Some(age) = keep.age {
        let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        kept.retain(|(newest, segment)| {
            let is_old = now.nanos_since(*newest) > age;
            if is_old {
                gone.push((segment.id, Reason::Age));
            }
            !is_old
        });
    }
    let mut bytes: u64 = kept.iter().map(|(_, segment)| segment.bytes).sum();
    kept.sort_by_key(|(newest, segment)| (*newest, segment.id));
    for (_, segment) in kept {
        if keep.bytes.is_none_or(|most| bytes <= most) {
            break;
        }
        bytes -= segment.bytes;
        gone.push((segment.id, Reason::Bytes));
    }
    gone
}

/// The time by which a segment's age counts.
fn newest(segment: &SegmentMeta, now: Timestamp) -> Timestamp {
    // The making lies in the future where a clock jumped, but also where `now` is late: never taken for old.
    let made = segment.created.min(now);
    if segment.last <= now { segment.last.max(made) } else { made }
}

/// A clock that goes no faster than a tenth more than time passes, and is never ahead of the wall clock.
///
/// A wall clock that jumps ahead makes it run a tenth faster until somebody sets that right: for each hour that it
/// is wrong, records expire six minutes early. A wall clock that is set back is followed at once: nothing expires
/// then. After a pause, in which nobody saw the time pass, this clock is late, and things are kept for longer.
#[derive(Clone, Copy, Debug)]
pub struct LateClock {
    time: Timestamp,
}

impl LateClock {
    /// Begins where it was when it was last looked at.
    pub fn new(time: Timestamp) -> Self {
        Self { time }
    }

    /// The time, by the wall clock and by how much has passed since the last look on a monotonic clock.
    pub fn tick(&mut self, wall: Timestamp, passed: Duration) -> Timestamp {
        let most = passed.saturating_add(passed / 10);
        let most = self.time.saturating_add_nanos(i64::try_from(most.as_nanos()).unwrap_or(i64::MAX));
        self.time = self.time.max(wall.min(most));
        self.time.min(wall)
    }

    /// How far it is, to be remembered.
    pub fn time(&self) -> Timestamp {
        self.time
    }
}

#[cfg(test)]
mod tests;
