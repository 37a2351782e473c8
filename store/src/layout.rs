//! Names of objects: the only file that builds a path.
//!
//! A tenant's objects lie under a random prefix from the catalog, so that no name that came from outside ever
//! becomes a part of a path.

use object_store::path::Path;
use uuid::Uuid;

/// The random name of a stored object, written once.
pub type ObjectId = Uuid;

/// A new object's name: random, rising with time so that listings come in order.
pub fn new_object_id() -> ObjectId {
    Uuid::now_v7()
}

/// A segment of the tenant with this prefix.
pub fn segment(tenant_prefix: Uuid, segment: ObjectId) -> Path {
    Path::from(format!("t/{}/s/{}", tenant_prefix.simple(), segment.simple()))
}

/// Where all segments of the tenant with this prefix lie.
pub fn segment_prefix(tenant_prefix: Uuid) -> Path {
    Path::from(format!("t/{}/s", tenant_prefix.simple()))
}

/// Where all lies that the tenant with this prefix has.
pub fn tenant_prefix(tenant_prefix: Uuid) -> Path {
    Path::from(format!("t/{}", tenant_prefix.simple()))
}

/// The object id that a path of [`segment`] ends in.
pub fn segment_object(path: &Path) -> Option<ObjectId> {
    path.filename().and_then(|name| Uuid::try_parse(name).ok())
}

/// A write-ahead object of an indexer.
pub fn wal(indexer: Uuid, object: ObjectId) -> Path {
    Path::from(format!("w/{}/{}", indexer.simple(), object.simple()))
}

/// Where all write-ahead objects lie.
pub fn wal_root() -> Path {
    Path::from("w")
}

/// Where all write-ahead objects of an indexer lie.
pub fn wal_prefix(indexer: Uuid) -> Path {
    Path::from(format!("w/{}", indexer.simple()))
}

/// Whether a path is one of [`segment`]: of an object that is read in parts, again and again.
pub fn is_segment(path: &Path) -> bool {
    path.as_ref().starts_with("t/")
}

/// The object id that a path of [`wal`] ends in.
pub fn wal_object(path: &Path) -> Option<ObjectId> {
    path.filename().and_then(|name| Uuid::parse_str(name).ok())
}
