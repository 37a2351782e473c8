//! What an erasure has removed, in the words that are printed and sent.

use data_encoding::HEXLOWER;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::catalog::{ErasedAs, ErasedObject, Erasure, ErasureKind};

/// What an erasure leaves alone: who gives the receipt to somebody gives this, too.
pub const NOT_REACHED: [&str; 5] = [
    "records that came in after the request",
    "backups, and versions or snapshots that the store keeps of deleted objects",
    "what agents have not sent yet, and the files from which they read",
    "what people and programs have read, exported or forwarded",
    "the texts of searches in the audit log, which are sealed with the tenant's key, for as long as that is kept",
];

/// What the erasure of a whole tenant leaves alone.
pub const NOT_REACHED_OF_TENANT: [&str; 4] = [
    "backups of the catalog from before, which hold the wrapped key, and logs that a database server keeps of its writes",
    "versions or snapshots that the store keeps of deleted objects: no key opens them any more",
    "what agents have not sent yet, which is refused, and the files from which they read",
    NOT_REACHED[3],
];

/// An erasure and all that it took away.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt {
    /// The erasure.
    pub id: Uuid,
    /// What it is about.
    pub kind: ErasureKind,
    /// Whose records.
    pub tenant: TenantId,
    /// `waiting` for what is not sealed or dropped, `rewriting` or `deleting` segments, or `done`.
    pub state: &'static str,
    /// The query as it was written, as long as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// SHA-256 of the query's text, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_sha256: Option<String>,
    /// Since when there is no key any more that opens what the tenant had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_destroyed: Option<Timestamp>,
    /// From which event time on; none: from the first.
    pub start: Option<Timestamp>,
    /// Before which event time; none: to the last.
    pub end: Option<Timestamp>,
    /// Who asked for it.
    pub requested_by: String,
    /// When.
    pub requested: Timestamp,
    /// When all was done, and a last search found nothing.
    pub done: Option<Timestamp>,
    /// What keeps it from being done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Records that are nowhere now.
    pub records_removed: u64,
    /// Write-ahead objects that there were at the request, and are gone.
    pub write_ahead_objects_released: u64,
    /// Those that are still there.
    pub write_ahead_objects_left: u64,
    /// Objects of segments that were taken away.
    pub objects: Vec<ErasedObject>,
    /// What it leaves alone.
    pub not_reached: &'static [&'static str],
}

impl Receipt {
    /// Of an erasure, and the objects that it took away so far.
    pub fn new(erasure: Erasure, objects: Vec<ErasedObject>) -> Self {
        let bounded = |time: Timestamp| (time != Timestamp::MIN && time != Timestamp::MAX).then_some(time);
        let is_whole = erasure.kind == ErasureKind::Tenant;
        Self {
            id: erasure.id,
            kind: erasure.kind,
            tenant: erasure.tenant,
            state: match (erasure.done, erasure.waiting) {
                (Some(_), _) => "done",
                (None, 0) if is_whole => "deleting",
                (None, 0) => "rewriting",
                (None, _) => "waiting",
            },
            query: erasure.query,
            query_sha256: (!is_whole).then(|| HEXLOWER.encode(&erasure.query_hash)),
            key_destroyed: is_whole.then_some(erasure.at),
            start: bounded(erasure.range.start),
            end: bounded(erasure.range.end),
            requested_by: erasure.by,
            requested: erasure.at,
            done: erasure.done,
            trouble: erasure.trouble,
            records_removed: objects.iter().map(|object| object.removed).sum(),
            write_ahead_objects_released: erasure.written_ahead.saturating_sub(erasure.waiting),
            write_ahead_objects_left: erasure.waiting,
            objects,
            not_reached: if is_whole { &NOT_REACHED_OF_TENANT } else { &NOT_REACHED },
        }
    }

    /// Segments that were rewritten, each with how many records it lost.
    pub fn rewritten(&self) -> impl Iterator<Item = &ErasedObject> {
        self.objects.iter().filter(|object| object.what == ErasedAs::Rewritten)
    }
}
