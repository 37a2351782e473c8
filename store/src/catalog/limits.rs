//! What a tenant may use, and what it uses.

use std::num::NonZeroU64;

use heliograph_model::tenant::TenantId;

use super::{damaged, stored};
use crate::error::Result;

/// A bound that is set for one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// As much as there is.
    Unbounded,
    /// So many bytes.
    AtMost(NonZeroU64),
}

impl Bound {
    /// So many bytes; 0 stands for no bound, as in the catalog.
    pub fn new(bytes: u64) -> Self {
        NonZeroU64::new(bytes).map_or(Self::Unbounded, Self::AtMost)
    }

    /// How many bytes; 0 stands for no bound.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Unbounded => 0,
            Self::AtMost(bytes) => bytes.get(),
        }
    }

    /// The bound that holds: this one where it is set, else the one for all.
    pub fn or(set: Option<Self>, for_all: Option<NonZeroU64>) -> Option<NonZeroU64> {
        match set {
            None => for_all,
            Some(Self::Unbounded) => None,
            Some(Self::AtMost(bytes)) => Some(bytes),
        }
    }
}

/// What one tenant may use other than all may; what is not set is as for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// Bytes of records a second, before compression, at each indexer.
    pub ingest_per_second: Option<Bound>,
    /// Bytes that may come at once.
    pub ingest_burst: Option<Bound>,
    /// Memory of records that are not sealed, at each indexer.
    pub hot: Option<Bound>,
    /// Bytes of segments.
    pub stored: Option<Bound>,
}

impl TenantLimits {
    /// As the columns of its row hold it.
    pub(super) fn columns(&self) -> Result<[Option<i64>; 4]> {
        let column = |bound: Option<Bound>| bound.map(|b| stored("limit of a tenant", b.bytes())).transpose();
        Ok([
            column(self.ingest_per_second)?,
            column(self.ingest_burst)?,
            column(self.hot)?,
            column(self.stored)?,
        ])
    }

    /// Out of the columns of its row.
    pub(super) fn of_columns(
        [ingest_per_second, ingest_burst, hot, stored]: [Option<i64>; 4],
    ) -> Result<Self> {
        let bound = |column, number: Option<i64>| match number.map(u64::try_from).transpose() {
            Ok(bytes) => Ok(bytes.map(Bound::new)),
            Err(_) => Err(damaged(column, "it is less than 0".to_owned())),
        };
        Ok(Self {
            ingest_per_second: bound("ingest_per_second", ingest_per_second)?,
            ingest_burst: bound("ingest_burst", ingest_burst)?,
            hot: bound("hot", hot)?,
            stored: bound("stored", stored)?,
        })
    }
}

/// What a tenant has in segments, and what is set for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantUsage {
    /// Whose.
    pub tenant: TenantId,
    /// Segments that are searched.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// Their size.
    pub stored_bytes: u64,
    /// Size of the records' texts before compression.
    pub raw_bytes: u64,
    /// The bounds that are its own.
    pub limits: TenantLimits,
}
