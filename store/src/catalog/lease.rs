//! Who may write for an indexer. One process at a time does, and the catalog holds it to that.
//!
//! An indexer is a row of commits, and what is sealed of them; a process writes for it by a lease. When the
//! lease runs out, another process may claim the indexer: it gets the next epoch, and whatever still comes with
//! the old one is refused with [`Error::Fenced`](crate::Error::Fenced), however long its sender was stopped.

use std::time::Duration;

use uuid::Uuid;

/// How old a list of indexers may be that a reader works by. A new indexer takes nothing before its registration
/// is older, so that whatever is acknowledged is with an indexer that every reader knows.
pub const LISTED_WITHIN: Duration = Duration::from_secs(1);
/// Longest lease: one that ran longer would keep a dead process's records out of sight.
const LEASE_MAX: Duration = Duration::from_hours(1);

/// The right to write for an indexer, shown with everything that is written for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// For which indexer.
    pub indexer: Uuid,
    /// Which lease of it: every holder's is higher than the one before. 0 is the one of embedded mode.
    pub epoch: u64,
}

impl Lease {
    /// The right of the one process of embedded mode: it never ends, and nobody can take it over.
    pub const fn embedded(indexer: Uuid) -> Self {
        Self { indexer, epoch: 0 }
    }
}

/// An indexer that shares the catalog with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexer {
    /// Who writes for it.
    pub lease: Lease,
    /// Where that process is reached.
    pub address: String,
    /// How long its lease still runs by the database's clock; zero where it has run out, and then its records
    /// that are not sealed are to be had from nobody until it is claimed.
    pub remaining: Duration,
}

/// A length of a lease, in whole microseconds that a database can add to a time.
pub(super) fn micros(lease_for: Duration) -> i64 {
    i64::try_from(lease_for.min(LEASE_MAX).as_micros()).unwrap_or(i64::MAX)
}

/// The other way round.
pub(super) fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}
