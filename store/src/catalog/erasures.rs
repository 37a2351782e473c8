//! Requests to remove records: what the catalog keeps of them while they are done, and afterwards as a receipt.

use aws_lc_rs::digest::{SHA256, digest};
use heliograph_model::filter::Filter;
use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use super::{SegmentMeta, damaged};
use crate::error::{Error, Result};
use crate::layout::ObjectId;

/// A request to remove the records of a tenant that a query finds.
#[derive(Clone, Debug)]
pub struct NewErasure {
    /// Its random id: making the request again under it changes nothing.
    pub id: Uuid,
    /// Whose records.
    pub tenant: TenantId,
    /// The query as it was written.
    pub query: String,
    /// What it means.
    pub filter: Filter,
    /// Event times.
    pub range: TimeRange,
    /// Who asks for it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

impl NewErasure {
    /// What is kept of the query when all is done.
    pub(super) fn query_hash(&self) -> [u8; 32] {
        query_hash(&self.query)
    }

    /// The filter as its column holds it.
    pub(super) fn filter_json(&self) -> Result<String> {
        let unwritable = |error: serde_json::Error| {
            Error::Invalid(heliograph_model::Error::Decode {
                what: "filter of an erasure",
                reason: error.to_string(),
            })
        };
        serde_json::to_string(&self.filter).map_err(unwritable)
    }
}

/// A request to remove a tenant with all that it has: its key goes at once.
#[derive(Clone, Debug)]
pub struct NewTenantErasure {
    /// Its random id: making the request again under it changes nothing.
    pub id: Uuid,
    /// Who goes.
    pub tenant: TenantId,
    /// Who asks for it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// A tenant that was erased: nothing of what it had can be read any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasedTenant {
    /// By which erasure.
    pub erasure: Uuid,
    /// What its name was. It is another's, or may be, when all is done.
    pub name: TenantId,
    /// Its random id: what is stored under it is nobody's.
    pub uid: Uuid,
    /// The newest commit at that moment: none of a later one has anything of it.
    pub through: CommitId,
    /// Write-ahead objects of commits up to it that are still there.
    pub waiting: u64,
    /// What kept its objects from being deleted when it was tried last.
    pub trouble: Option<String>,
    /// Since when its objects are deleted, too.
    pub done: Option<Timestamp>,
}

/// What an erasure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasureKind {
    /// The records that a query means.
    Records,
    /// A tenant with all that it has.
    Tenant,
}

impl ErasureKind {
    /// The one of this name, in the catalog.
    pub(super) fn named(name: &str) -> Result<Self> {
        match name {
            "records" => Ok(Self::Records),
            "tenant" => Ok(Self::Tenant),
            _ => Err(damaged("erasures.kind", format!("unknown {name:?}"))),
        }
    }
}

/// SHA-256 of a query's text.
pub(super) fn query_hash(query: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, query.as_bytes()).as_ref());
    out
}

/// A filter out of its column. Errors do not show it: it may name a person.
pub(super) fn filter_of(json: &str) -> Result<Filter> {
    serde_json::from_str(json).map_err(|_| damaged("erasures.filter", "it is no filter".to_owned()))
}

/// A request, under way or done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Its id.
    pub id: Uuid,
    /// What it is about.
    pub kind: ErasureKind,
    /// Whose records.
    pub tenant: TenantId,
    /// The query as it was written, until all is done: it may name what is not to be known any more.
    pub query: Option<String>,
    /// SHA-256 of the query's text; of no text where all goes.
    pub query_hash: [u8; 32],
    /// Event times.
    pub range: TimeRange,
    /// The newest commit at that moment: what came in later stays.
    pub through: CommitId,
    /// Write-ahead objects that there were at that moment.
    pub written_ahead: u64,
    /// Those of them that are still there. Segments are rewritten when there are none.
    pub waiting: u64,
    /// Who asked for it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What kept it from being done when it was tried last.
    pub trouble: Option<String>,
    /// Since when no search finds the records and the objects that held them are deleted.
    pub done: Option<Timestamp>,
}

/// A request that is not done, for who does it.
#[derive(Clone, Debug)]
pub struct PendingErasure {
    /// Its id.
    pub id: Uuid,
    /// Whose records.
    pub tenant: TenantId,
    /// Which of them.
    pub filter: Filter,
    /// Event times.
    pub range: TimeRange,
    /// Segments that hold nothing up to this commit hold nothing that is meant.
    pub through: CommitId,
    /// Write-ahead objects of commits up to it that are still there.
    pub waiting: u64,
    /// What kept it from being done when it was tried last.
    pub trouble: Option<String>,
}

/// A segment without the records that an erasure removes from it, to be put in its place.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// For which erasure.
    pub erasure: Uuid,
    /// The segment that goes.
    pub old: ObjectId,
    /// The one with the records that stay; none where none do.
    pub by: Option<SegmentMeta>,
    /// How many records go.
    pub removed: u64,
    /// When.
    pub at: Timestamp,
}

impl Rewrite {
    /// Checks the old segment's records, indexer and commits against the new one's.
    pub(super) fn check(&self, records: u64, indexer: Uuid, (after, through): (i64, i64)) -> Result<()> {
        let stay = self.by.as_ref().map_or(0, |by| by.records);
        let is_alike = |by: &SegmentMeta| {
            by.indexer == indexer && (by.commits_after.0, by.commits_through.0) == (after, through)
        };
        if self.removed > 0 && records == stay + self.removed && self.by.as_ref().is_none_or(is_alike) {
            return Ok(());
        }
        let reason = format!(
            "{stay} records and {} that are removed are not the {records} of commits {after} to {through}",
            self.removed
        );
        Err(Error::Corrupt { object: format!("segment {} rewritten", self.old), reason })
    }
}

/// Why an object was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasedAs {
    /// It was searched, and had records that the erasure is about.
    Rewritten,
    /// It was not searched any more, and was still there.
    Retired,
    /// It was never published.
    Unpublished,
    /// It was searched, and the key that opens it is destroyed.
    Shredded,
}

impl ErasedAs {
    const ALL: [Self; 4] = [Self::Rewritten, Self::Retired, Self::Unpublished, Self::Shredded];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rewritten => "rewritten",
            Self::Retired => "retired",
            Self::Unpublished => "unpublished",
            Self::Shredded => "shredded",
        }
    }

    /// The one of this name, in the catalog.
    pub(super) fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|what| what.as_str() == name);
        found.ok_or_else(|| damaged("erased_objects.what", format!("unknown {name:?}")))
    }
}

/// An object that an erasure took away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErasedObject {
    /// Its name.
    pub object: ObjectId,
    /// Why.
    pub what: ErasedAs,
    /// Its size.
    pub bytes: u64,
    /// Records in it that are nowhere now.
    pub removed: u64,
    /// The segment that has its other records.
    pub successor: Option<ObjectId>,
}
