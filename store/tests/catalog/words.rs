//! Tenants, batches and commits to tell histories with.

use heliograph_model::batch::{BatchId, ProducerId};
use heliograph_model::scan::CommitId;
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::Timestamp;
use heliograph_store::catalog::{Catalog, CommittedBatch, Lease, NewCommit, SegmentMeta, Tenant, User};
use heliograph_store::layout::{ObjectId, new_object_id};
use uuid::Uuid;

pub(crate) const INDEXER: Uuid = Uuid::from_bytes([7; 16]);
pub(crate) const LEASE: Lease = Lease::embedded(INDEXER);

pub(crate) fn at(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

pub(crate) fn name(tenant: &str) -> TenantId {
    TenantId::parse(tenant).unwrap()
}

pub(crate) fn workspace(name: &str) -> Workspace {
    Workspace::parse(name).unwrap()
}

pub(crate) fn producer(name: &str) -> ProducerId {
    ProducerId::parse(name).unwrap()
}

/// The id that the tenant of a name has.
pub(crate) fn uid(of: &str) -> Uuid {
    let mut bytes = [0x5a_u8; 16];
    for (at, byte) in of.bytes().enumerate() {
        bytes[at % 16] = bytes[at % 16].rotate_left(3) ^ byte;
    }
    Uuid::from_bytes(bytes)
}

pub(crate) fn tenant(of: &str) -> Tenant {
    Tenant {
        name: name(of),
        workspace: workspace("w"),
        uid: uid(of),
        wrapped_key: vec![1, 0, 255],
        created: at(1_795_471_396_012_523_008),
    }
}

pub(crate) fn user(name: &str) -> User {
    User {
        name: name.to_owned(),
        password_hash: "$argon2id$x".to_owned(),
        admin: false,
        disabled: false,
        created: at(-5),
    }
}

pub(crate) async fn add_tenants(catalog: &dyn Catalog, names: &[&str]) {
    for name in names {
        catalog.create_tenant(&tenant(name)).await.unwrap();
    }
}

/// A batch as `(tenant, producer, epoch, sequence)`.
pub(crate) type Numbered<'a> = (&'a str, &'a str, u64, u64);

pub(crate) fn batch((tenant, by, epoch, sequence): Numbered<'_>) -> CommittedBatch {
    let id = Some(BatchId { producer: producer(by), epoch, sequence });
    CommittedBatch { tenant: name(tenant), uid: uid(tenant), id }
}

pub(crate) fn unnumbered(tenant: &str) -> CommittedBatch {
    CommittedBatch { tenant: name(tenant), uid: uid(tenant), id: None }
}

pub(crate) fn a_commit(batches: Vec<CommittedBatch>) -> NewCommit {
    NewCommit { lease: LEASE, object: new_object_id(), bytes: 100, at: at(9), batches }
}

/// The segment of a tenant's commits `after..=through`, with records from `first` to `last`.
pub(crate) fn segment(tenant: &str, (after, through): (i64, i64), (first, last): (i64, i64)) -> SegmentMeta {
    SegmentMeta {
        id: new_object_id(),
        tenant: name(tenant),
        bytes: 1 << 40,
        index_offset: 7,
        records: 3,
        raw_bytes: 500,
        first: at(first),
        last: at(last),
        indexer: INDEXER,
        commits_after: CommitId(after),
        commits_through: CommitId(through),
        created: at(77),
    }
}

pub(crate) async fn needed(catalog: &dyn Catalog) -> Vec<ObjectId> {
    catalog.wal_objects(INDEXER).await.unwrap().into_iter().map(|w| w.object).collect()
}
