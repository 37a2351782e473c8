//! What the catalog knows of segments beyond reading them: how often their records were rewritten, what takes whose
//! room, and which objects are on their way out.

use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;
use uuid::Uuid;

use super::SegmentMeta;
use crate::layout::ObjectId;

/// A segment as who merges sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The segment.
    pub meta: SegmentMeta,
    /// How often its records were rewritten at most: 0 as it was sealed.
    pub merges: u32,
}

/// Why a segment is no longer searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its records are in a larger one.
    Merged,
    /// Its records are older than the tenant keeps them.
    Age,
    /// The tenant has more bytes than it may keep.
    Bytes,
    /// Some of its records were erased.
    Erased,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::Merged, Self::Age, Self::Bytes, Self::Erased];

    /// The reason's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Merged => "merged",
            Self::Age => "age",
            Self::Bytes => "bytes",
            Self::Erased => "erased",
        }
    }

    /// The reason of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// A segment that is no longer searched, and whose object is still there for those who began earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Its name.
    pub id: ObjectId,
    /// Whose.
    pub tenant: TenantId,
    /// That tenant's random id: the object lies under it.
    pub uid: Uuid,
    /// Its size.
    pub bytes: u64,
    /// Why.
    pub reason: Reason,
    /// Since when.
    pub at: Timestamp,
}
