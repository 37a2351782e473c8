//! What can go wrong with what lies at rest, by what the caller can do.

use heliograph_model::tenant::TenantId;

use crate::catalog::{Lease, SegmentMeta};
use crate::keyring::KeyId;
use crate::layout::ObjectId;

/// The result of touching what lies at rest.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot be used.
    #[error("{setting}: {reason}")]
    Config {
        /// Which setting.
        setting: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// It exists already.
    #[error("{what} {name:?} exists already")]
    Exists {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There is no such thing.
    #[error("there is no {what} {name:?}")]
    Missing {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The tenant was erased with all that it had: nothing of it is taken or given any more. Whoever has its name now is
    /// another.
    #[error("tenant {tenant} was erased: only `heliograph admin tenant create` makes a new one of this name")]
    Erased {
        /// Who.
        tenant: TenantId,
    },
    /// The name is that of a tenant that is being erased.
    #[error("tenant {tenant} is being erased: its name is free again when that is done")]
    BeingErased {
        /// Who.
        tenant: TenantId,
    },
    /// A segment is no longer searched: another was faster to merge, expire or erase it. Look again what there is.
    #[error("segment {segment} is no longer searched: it was merged, expired or erased meanwhile")]
    Replaced {
        /// Which segment.
        segment: ObjectId,
    },
    /// An object waited so long for its publication that it was taken for abandoned. Write it anew, under a new
    /// name.
    #[error("object {object} was given up: it was written too long ago without being published")]
    Discarded {
        /// Which object.
        object: ObjectId,
    },
    /// A batch does not carry the next sequence of its producer: another commit was faster, or one is missing.
    #[error("tenant {tenant}: producer's next sequence is {expected} of epoch {epoch}")]
    Sequence {
        /// Whose batch.
        tenant: TenantId,
        /// The epoch on record; the batch's own where that is higher, as it would begin a new one.
        epoch: u64,
        /// The sequence of that epoch that would be accepted.
        expected: u64,
    },
    /// Another process writes for the indexer now, or it is retired: whoever shows this lease has to stop. What
    /// it tried may have been done before it lost the lease.
    #[error("lease {epoch} of indexer {indexer} has ended: another process has taken it over, or retired it")]
    Fenced {
        /// Which indexer.
        indexer: uuid::Uuid,
        /// The lease that was shown.
        epoch: u64,
    },
    /// Stored bytes are not what was written.
    #[error("{object} is damaged: {reason}")]
    Corrupt {
        /// Which object, and which part of it.
        object: String,
        /// What was found.
        reason: String,
    },
    /// Tenants' keys are wrapped by this master key, and the key file does not hold it.
    #[error(
        "tenants' keys are wrapped by master key {current} now, which keys.master_key_file does not hold: put it there"
    )]
    OtherKey {
        /// What that key is called.
        current: KeyId,
    },
    /// A master key that is to go is still needed.
    #[error(
        "{tenants} tenants' keys are wrapped by a master key that would go: run `heliograph admin key rotate` first"
    )]
    KeyNeeded {
        /// How many.
        tenants: usize,
    },
    /// The key does not open what it should.
    #[error("{what} does not open with this key")]
    Key {
        /// What was to be opened.
        what: String,
    },
    /// A request that cannot be evaluated.
    #[error(transparent)]
    Invalid(#[from] heliograph_model::Error),
    /// The catalog's database does not answer, or refuses; trying again later may help.
    #[error("the catalog is unavailable")]
    Catalog(#[from] sqlx::Error),
    /// The object store does not answer, or is full; trying again later may help.
    #[error("the object store is unavailable")]
    Objects(#[source] object_store::Error),
    /// A file of ours cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// The refusal of a lease.
    pub(crate) fn fenced(lease: &Lease) -> Self {
        Self::Fenced { indexer: lease.indexer, epoch: lease.epoch }
    }

    /// A merged segment that does not have the records, or the commits `after` to `through`, of those it replaces.
    pub(crate) fn wrong_sum(merged: &SegmentMeta, records: u64, (after, through): (i64, i64)) -> Self {
        let reason = format!(
            "it has {} records of commits {} to {}, and those that it replaces have {records} of {after} to {through}",
            merged.records, merged.commits_after.0, merged.commits_through.0
        );
        Self::Corrupt { object: format!("merged segment {}", merged.id), reason }
    }

    /// Whether an object is not there (any more), or its tenant.
    pub fn is_gone(&self) -> bool {
        matches!(
            self,
            Self::Objects(object_store::Error::NotFound { .. })
                | Self::Erased { .. }
                | Self::Missing { what: "tenant", .. }
        )
    }
}
