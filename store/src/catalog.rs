//! The catalog: who there is, what there is, and up to where. Holds no log content and no plain secret.

mod bounds;
mod dump;
mod erasures;
mod lease;
mod limits;
mod people;
mod postgres;
mod sqlite;
mod upkeep;
mod url;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use heliograph_model::batch::{BatchId, ProducerId};
use heliograph_model::scan::CommitId;
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::{TimeRange, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sqlx::migrate::{MigrateError, Migrator};
use uuid::Uuid;

use crate::audit;
use crate::error::{Error, Result};
use crate::keyring::KeyId;
use crate::layout::ObjectId;
use crate::retention::OwnKeep;

pub use dump::{Cell, Dump};
pub use erasures::{
    ErasedAs, ErasedObject, ErasedTenant, Erasure, ErasureKind, NewErasure, NewTenantErasure, PendingErasure,
    Rewrite,
};
pub use lease::{Indexer, LISTED_WITHIN, Lease};
pub use limits::{Bound, TenantLimits, TenantUsage};
pub use people::{Identity, Invitation, Known, Mapped, SignedIn};
pub use upkeep::{Candidate, Reason, Retired};
pub use url::Url;

/// Opens the catalog behind a URL: `sqlite:PATH`, or `postgres://USER@HOST:PORT/DATABASE?sslmode=…` with the
/// password beside it or in it.
///
/// Makes what is missing and brings the schema up to date. Waits a while for a server that does not answer.
pub async fn open(url: &Url, password: Option<&SecretString>) -> Result<Arc<dyn Catalog>> {
    match (url.sqlite_path(), url.scheme()) {
        (Some(_), _) if password.is_some() => Err(Error::Config {
            setting: "catalog.password",
            reason: "a catalog in a file has no password: leave it out".to_owned(),
        }),
        (Some(path), _) => Ok(Arc::new(sqlite::Sqlite::open(path).await?)),
        (None, "postgres" | "postgresql") => Ok(Arc::new(postgres::Postgres::open(url, password).await?)),
        (None, scheme) => Err(unusable(format!(
            "\"{scheme}:…\" is not a catalog: give sqlite:PATH or postgres://USER@HOST/DATABASE"
        ))),
    }
}

fn unusable(reason: String) -> Error {
    Error::Config { setting: "catalog.url", reason }
}

/// Why the schema at a place could not be brought up to date.
fn not_migrated(place: &str, known: &Migrator, error: MigrateError) -> Error {
    let known = known.iter().map(|m| m.version).max().unwrap_or_default();
    match error {
        MigrateError::Execute(error) => Error::Catalog(error),
        MigrateError::VersionMissing(found) if found > known => unusable(format!(
            "{place} has schema version {found}, this program knows versions up to {known}: use the program \
             that wrote it, or a newer one"
        )),
        MigrateError::VersionMismatch(found) => unusable(format!(
            "{place} has another schema version {found} than this program's: it is not ours"
        )),
        other => unusable(format!("{place}: {other}")),
    }
}

/// A value that we never wrote.
fn damaged(column: &'static str, reason: String) -> Error {
    Error::Corrupt { object: format!("column {column} of the catalog"), reason }
}

/// A count as a database keeps it: its integers are signed.
fn stored(what: &'static str, count: u64) -> Result<i64> {
    i64::try_from(count).map_err(|_| {
        let reason = format!("{count} is larger than {}", i64::MAX);
        heliograph_model::Error::Decode { what, reason }.into()
    })
}

/// Why a tenant cannot have a name.
fn taken(name: &TenantId, by_one_that_goes: bool) -> Error {
    match by_one_that_goes {
        true => Error::BeingErased { tenant: name.clone() },
        false => Error::Exists { what: "tenant", name: name.to_string() },
    }
}

/// Why nothing of a tenant is taken, or given.
fn erased(tenant: &TenantId) -> Error {
    Error::Erased { tenant: tenant.clone() }
}

/// The role that a row names.
fn role(name: &str) -> Result<Role> {
    Role::parse(name).ok_or_else(|| damaged("role", format!("unknown role {name:?}")))
}

/// A tenant as the catalog knows it.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its name.
    pub name: TenantId,
    /// The workspace it belongs to.
    pub workspace: Workspace,
    /// Its random, lasting id.
    pub uid: Uuid,
    /// Its data key, wrapped by the master key.
    pub wrapped_key: Vec<u8>,
    /// When it was made.
    pub created: Timestamp,
}

/// What a caller may do with a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read.
    Viewer,
    /// Ingest.
    Writer,
    /// Alerts, retention, erasure.
    Operator,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Writer, Self::Operator];

    /// The role's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Writer => "writer",
            Self::Operator => "operator",
        }
    }

    /// The role of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == name)
    }
}

/// A person.
#[derive(Clone)]
pub struct User {
    /// Sign-in name.
    pub name: String,
    /// PHC string of argon2id; empty where they sign in by a provider only.
    pub password_hash: String,
    /// Platform administrator; as read, also by a provider's groups.
    pub admin: bool,
    /// Locked out: no credential of theirs is good.
    pub disabled: bool,
    /// When it was made.
    pub created: Timestamp,
}

/// What a grant covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// One tenant.
    Tenant(TenantId),
    /// All tenants of a workspace, now and later.
    Workspace(Workspace),
}

/// A role given to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// To whom.
    pub user: String,
    /// Over what.
    pub extent: Extent,
    /// Which.
    pub role: Role,
}

/// A machine's credential for one tenant; the catalog knows only the hash of its secret.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its public part, by which it is listed and revoked.
    pub id: String,
    /// SHA-256 of the secret part.
    pub secret_hash: [u8; 32],
    /// For which tenant.
    pub tenant: TenantId,
    /// What it may do; roles add up.
    pub roles: Vec<Role>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends, if ever.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

/// A signed-in browser; the catalog knows only the hash of its cookie.
#[derive(Clone, Debug)]
pub struct Session {
    /// SHA-256 of the cookie's value.
    pub id_hash: [u8; 32],
    /// Who.
    pub user: String,
    /// Since when.
    pub created: Timestamp,
    /// Until when, however much it is used.
    pub expires: Timestamp,
    /// When it ends unless it is used.
    pub idle_end: Timestamp,
}

/// A batch within a commit.
#[derive(Clone, Debug)]
pub struct CommittedBatch {
    /// Whose.
    pub tenant: TenantId,
    /// That tenant's random id: another that has its name now does not get what was sealed with this one's key.
    pub uid: Uuid,
    /// Its name, where its producer numbers them.
    pub id: Option<BatchId>,
}

/// A write-ahead object to be recorded.
#[derive(Clone, Debug)]
pub struct NewCommit {
    /// For which indexer, and by which right.
    pub lease: Lease,
    /// The object, already durable.
    pub object: ObjectId,
    /// Its size.
    pub bytes: u64,
    /// When.
    pub at: Timestamp,
    /// What it holds, in order.
    pub batches: Vec<CommittedBatch>,
}

/// A recorded write-ahead object that is still needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalObject {
    /// Its ordinal.
    pub commit: CommitId,
    /// Its name.
    pub object: ObjectId,
}

/// A sealed, searchable object of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentMeta {
    /// Its name.
    pub id: ObjectId,
    /// Whose.
    pub tenant: TenantId,
    /// Its size.
    pub bytes: u64,
    /// Where its index part begins: read from here to the end at once.
    pub index_offset: u64,
    /// How many records.
    pub records: u64,
    /// Size of the records' texts before compression.
    pub raw_bytes: u64,
    /// Earliest event time.
    pub first: Timestamp,
    /// Latest event time.
    pub last: Timestamp,
    /// By which indexer.
    pub indexer: Uuid,
    /// Holds the tenant's records of that indexer committed after this…
    pub commits_after: CommitId,
    /// … and up to this.
    pub commits_through: CommitId,
    /// When it was made.
    pub created: Timestamp,
}

/// Who there is, what there is, and up to where.
///
/// Every method is one transaction. Where a method changes something, the change is on disk when it returns.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// Adds a tenant; [`Error::Exists`] if the name is taken, [`Error::BeingErased`] if it is taken by one that goes,
    /// [`Error::OtherKey`] if its key is not wrapped by the master key that is set.
    async fn create_tenant(&self, tenant: &Tenant) -> Result<()>;
    /// By which master key tenants' keys are to be wrapped; none where it was never said.
    async fn master_key(&self) -> Result<Option<KeyId>>;
    /// From now on tenants' keys are to be wrapped by this one: none is made any more that is wrapped by another, however
    /// slow its maker is.
    async fn set_master_key(&self, key: KeyId) -> Result<()>;
    /// Puts a tenant's key, wrapped otherwise, in the place of the one that is there; whether that was still this one.
    async fn rewrap(&self, tenant: Uuid, old: &[u8], new: &[u8]) -> Result<bool>;
    /// The tenant of a name.
    async fn tenant(&self, name: &TenantId) -> Result<Option<Tenant>>;
    /// All tenants, by name.
    async fn tenants(&self) -> Result<Vec<Tenant>>;
    /// Sets what a tenant may use other than all may, in place of what was set; [`Error::Missing`] if there is no
    /// such tenant.
    async fn set_limits(&self, tenant: &TenantId, limits: &TenantLimits) -> Result<()>;
    /// What every tenant has stored and may use, by name.
    async fn usage(&self) -> Result<Vec<TenantUsage>>;
    /// Likewise of one tenant.
    async fn usage_of(&self, tenant: &TenantId) -> Result<Option<TenantUsage>>;

    /// Adds a user; [`Error::Exists`] if the name is taken.
    async fn create_user(&self, user: &User) -> Result<()>;
    /// The user of a name.
    async fn user(&self, name: &str) -> Result<Option<User>>;
    /// All users, by name.
    async fn users(&self) -> Result<Vec<User>>;
    /// Sets a user's password hash and ends all their sessions; [`Error::Missing`] if there is no such user.
    async fn set_password(&self, name: &str, password_hash: &str) -> Result<()>;
    /// Locks a user out, which ends all their sessions, or lets them in again; [`Error::Missing`] if there is no such
    /// user.
    async fn set_disabled(&self, name: &str, disabled: bool) -> Result<()>;
    /// Gives a role; giving it twice is the same as once. A role that is new ends the user's sessions.
    /// [`Error::Missing`] if user or tenant is unknown.
    async fn grant(&self, grant: &Grant) -> Result<()>;
    /// Takes a role back, which ends the user's sessions; whether there was one.
    async fn revoke_grant(&self, grant: &Grant) -> Result<bool>;
    /// All roles of a user that were given by hand.
    async fn grants(&self, user: &str) -> Result<Vec<Grant>>;
    /// All roles that a user has by the groups of a provider, each with the provider's issuer.
    async fn mapped_grants(&self, user: &str) -> Result<Vec<(String, Grant)>>;

    /// The account of an identity.
    async fn known(&self, issuer: &str, subject: &str) -> Result<Option<Known>>;
    /// Makes an account for an identity; [`Error::Exists`] if the name is taken, or the identity has one.
    async fn create_known(&self, identity: &Identity, user: &User) -> Result<()>;
    /// Sets what an identity has by its groups, in place of what it had, and notes its address. A change ends the user's
    /// sessions; whether there was one. Tenants that are not there are left out. [`Error::Missing`] if it has no account.
    async fn set_mapped(&self, identity: &Identity, mapped: &Mapped) -> Result<bool>;

    /// Records an invitation, and forgets those that have expired. [`Error::Missing`] if a tenant is unknown.
    async fn create_invitation(&self, invitation: &Invitation, now: Timestamp) -> Result<()>;
    /// All open invitations, by creation.
    async fn invitations(&self, now: Timestamp) -> Result<Vec<Invitation>>;
    /// Takes an invitation back; whether there was one.
    async fn revoke_invitation(&self, id: &str) -> Result<bool>;
    /// Uses an invitation up, all or nothing: its roles go to the account of the identity, or to a new one, which is made
    /// as `user` says. [`Error::Missing`] if it is not open, [`Error::Exists`] if the new account's name is taken.
    async fn accept_invitation(
        &self,
        id: &str,
        user: &User,
        identity: Option<&Identity>,
        now: Timestamp,
    ) -> Result<()>;

    /// Records a session.
    async fn create_session(&self, session: &Session) -> Result<()>;
    /// Whose session a cookie is, if it has not ended and its user is not disabled.
    async fn session_user(&self, id_hash: &[u8; 32], now: Timestamp) -> Result<Option<SignedIn>>;
    /// Moves the end of a session that is not used on, never back.
    async fn touch_session(&self, id_hash: &[u8; 32], idle_end: Timestamp) -> Result<()>;
    /// A user's sessions that have not ended, the oldest first.
    async fn sessions(&self, user: &str, now: Timestamp) -> Result<Vec<Session>>;
    /// Ends a session; ends expired ones, too.
    async fn end_session(&self, id_hash: &[u8; 32], now: Timestamp) -> Result<()>;
    /// Ends a user's sessions, but for one; how many.
    async fn end_sessions(&self, user: &str, but: Option<&[u8; 32]>) -> Result<u64>;
    /// Uses up a value that is good for one use until then; whether this was the first.
    async fn spend(&self, hash: &[u8; 32], until: Timestamp, now: Timestamp) -> Result<bool>;

    /// Records a token.
    async fn create_token(&self, token: &Token) -> Result<()>;
    /// The token of an id, also an expired or revoked one.
    async fn token(&self, id: &str) -> Result<Option<Token>>;
    /// All tokens, of one tenant or of all, by creation.
    async fn tokens(&self, tenant: Option<&TenantId>) -> Result<Vec<Token>>;
    /// Revokes a token; [`Error::Missing`] if there is none.
    async fn revoke_token(&self, id: &str, at: Timestamp) -> Result<()>;

    /// The id of the one indexer of this catalog's embedded mode, made on first call. It writes by
    /// [`Lease::embedded`].
    async fn embedded_indexer(&self) -> Result<Uuid>;

    /// Makes a new indexer, for which the process at `address` writes: its lease runs for so long from now, an
    /// hour at most. To be made again after an error; [`Error::Exists`] if the id is another's.
    async fn register_indexer(&self, indexer: Uuid, address: &str, lease_for: Duration) -> Result<Lease>;
    /// Lets a lease run for so long from now, also one that has run out and was not taken over; zero ends it, so
    /// that others may take over at once. [`Error::Fenced`] if it was taken over.
    async fn renew_lease(&self, lease: &Lease, lease_for: Duration) -> Result<()>;
    /// All indexers that share this catalog, by id, those without a running lease too.
    async fn indexers(&self) -> Result<Vec<Indexer>>;
    /// Takes over one indexer whose lease has run out, the one that has waited longest, but none of `held`: from
    /// now on only this lease may write for it. Nothing if there is none. Of many that ask at once, one gets it;
    /// an answer that is lost leaves a lease that nobody knows, and that runs out.
    async fn claim_indexer(&self, address: &str, lease_for: Duration, held: &[Uuid])
    -> Result<Option<Lease>>;
    /// Forgets an indexer of which no write-ahead object is needed; `false` if there is one. Retiring it again
    /// is harmless.
    async fn retire_indexer(&self, lease: &Lease) -> Result<bool>;

    /// Records a write-ahead object and moves its producers' sequences on, both or neither.
    ///
    /// A batch is accepted if it is sequence 1 of a higher epoch than the one on record, or the next sequence
    /// of that epoch; else nothing is recorded and [`Error::Sequence`] names the first that is not. A second
    /// batch of one producer in the same commit continues the first.
    ///
    /// After [`Error::Catalog`] the commit may be recorded or not: do not delete the object, and try again.
    /// Recording an object that is recorded already changes nothing and gives the same ordinal.
    /// [`Error::Erased`] if a batch is of a tenant that was erased: nothing is recorded.
    ///
    /// Whoever sees a commit will see no new one of the same indexer with a lower ordinal.
    /// [`Error::Fenced`] if the lease is not the one on record: nothing is recorded now, but an earlier try may
    /// have been, so that the object belongs to whoever holds the lease.
    async fn commit(&self, commit: &NewCommit) -> Result<CommitId>;
    /// The epoch and last sequence on record of a tenant's producer.
    async fn producer(&self, tenant: &TenantId, producer: &ProducerId) -> Result<Option<(u64, u64)>>;
    /// An indexer's write-ahead objects that are not released, oldest first.
    async fn wal_objects(&self, indexer: Uuid) -> Result<Vec<WalObject>>;
    /// Up to which commit each tenant's records of an indexer are sealed; tenants never sealed are left out.
    async fn sealed_through(&self, indexer: Uuid) -> Result<Vec<(TenantId, CommitId)>>;
    /// Publishes a segment, moves its tenant's `sealed_through` to the segment's `commits_through`, and
    /// releases the named write-ahead objects, all or nothing.
    ///
    /// [`Error::Exists`] if the segment holds commits of its tenant and indexer that are sealed already;
    /// [`Error::Discarded`] if its object was taken for abandoned. Publishing the same segment again changes
    /// nothing, so that it can be tried again. [`Error::Fenced`] if the lease is not the one on record; it was
    /// published before, or not at all. [`Error::Erased`] if the tenant was erased.
    async fn publish(&self, lease: &Lease, segment: &SegmentMeta, released: &[ObjectId]) -> Result<()>;
    /// Releases write-ahead objects of the lease's indexer of which nothing is needed any more; those of others
    /// stay. [`Error::Fenced`] if the lease is not the one on record.
    async fn release(&self, lease: &Lease, released: &[ObjectId]) -> Result<()>;
    /// A tenant's segments that touch a range, newest `last` first.
    async fn segments(&self, tenant: &TenantId, range: &TimeRange) -> Result<Vec<SegmentMeta>>;
    /// The segments of several tenants that touch a range, newest `last` first over all of them; names that are
    /// unknown have none. A tenant that is named twice counts once.
    async fn segments_of(&self, tenants: &[TenantId], range: &TimeRange) -> Result<Vec<SegmentMeta>>;
    /// The segments of all tenants with the newest records, newest `last` first; at most so many.
    async fn newest_segments(&self, limit: u32) -> Result<Vec<SegmentMeta>>;

    /// All rows at one moment, but sessions.
    async fn dump(&self) -> Result<Dump>;
    /// Puts rows into an empty catalog, all or nothing; [`Error::Exists`] if it is not empty.
    async fn load(&self, dump: &Dump) -> Result<()>;

    /// A tenant's segments, those of each indexer in the order of their commits.
    async fn merge_candidates(&self, tenant: &TenantId) -> Result<Vec<Candidate>>;
    /// Publishes a segment in the place of those whose records it holds, and retires them, all or nothing.
    ///
    /// They are of its tenant and indexer, and together have its records and its span of commits: anything else
    /// is [`Error::Corrupt`]. [`Error::Replaced`] if one of them is no longer searched: merged, expired or erased
    /// meanwhile. [`Error::Discarded`] as for [`Self::publish`]. The same call again changes nothing.
    async fn replace(&self, merged: &[ObjectId], by: &SegmentMeta, at: Timestamp) -> Result<()>;
    /// Takes segments of a tenant out of what is searched; those that are not searched any more are passed over.
    /// Gives those that were.
    async fn retire(
        &self,
        tenant: &TenantId,
        segments: &[ObjectId],
        reason: Reason,
        at: Timestamp,
    ) -> Result<Vec<ObjectId>>;
    /// Retired segments whose objects may still be there, at most so many.
    async fn retired(&self, limit: u32) -> Result<Vec<Retired>>;
    /// Forgets retired segments, whose objects are deleted.
    async fn forget(&self, retired: &[ObjectId]) -> Result<()>;
    /// Gives up objects that look abandoned: of these, those that no segment and no retired one has. From then on
    /// none of them can be published, by however slow a writer, so that they may be deleted.
    ///
    /// An engine must exclude this and a publication of the same object from one another.
    async fn discard(&self, objects: &[ObjectId], at: Timestamp) -> Result<Vec<ObjectId>>;

    /// Sets what a tenant keeps other than all do; [`Error::Missing`] if there is no such tenant.
    async fn set_retention(&self, tenant: &TenantId, own: &OwnKeep) -> Result<()>;
    /// The tenants that keep something other than all do, by name.
    async fn retentions(&self) -> Result<Vec<(TenantId, OwnKeep)>>;
    /// Moves the clock of retention on, over all indexers, never back; gives how far it is, none where it was never
    /// moved.
    async fn advance_retention_clock(&self, to: Option<Timestamp>) -> Result<Option<Timestamp>>;

    /// Notes a request to remove records, with what there is up to this moment: every batch that was acknowledged
    /// before it is in a segment, or in a write-ahead object that counts as waiting. [`Error::Missing`] if there is no
    /// such tenant. The same request again changes nothing.
    ///
    /// An engine must see to it that no commit with a lower ordinal is still under way.
    async fn request_erasure(&self, new: &NewErasure) -> Result<Erasure>;
    /// All requests, the newest first.
    async fn erasures(&self) -> Result<Vec<Erasure>>;
    /// Those of records that are not done.
    async fn pending_erasures(&self) -> Result<Vec<PendingErasure>>;
    /// Rises whenever something is removed that may be kept elsewhere, as an erasure is done or a tenant's key goes: who
    /// keeps copies, or keys, then looks what may be kept.
    async fn erasure_steps(&self) -> Result<u64>;
    /// Puts a segment without some of the records in the place of the one that has them, and retires that, all or
    /// nothing; both have the same commits and indexer, and the records add up: anything else is [`Error::Corrupt`].
    /// [`Error::Replaced`] and [`Error::Discarded`] as for [`Self::replace`], [`Error::Missing`] if the erasure is not
    /// pending. The same call again changes nothing.
    async fn rewrite(&self, rewrite: &Rewrite) -> Result<()>;
    /// Notes objects that an erasure is about to delete; those that are noted already stay as they are.
    async fn note_erased(&self, erasure: Uuid, objects: &[ErasedObject]) -> Result<()>;
    /// What an erasure has taken away so far.
    async fn erased(&self, erasure: Uuid) -> Result<Vec<ErasedObject>>;
    /// Notes what keeps an erasure from being done.
    async fn set_erasure_trouble(&self, erasure: Uuid, trouble: Option<&str>) -> Result<()>;
    /// Destroys a tenant's key, and takes all that it has out of what is searched and of what may be done with it, all or
    /// nothing; notes its segments as erased. From then on there is no such tenant, and no commit or segment of it is
    /// taken any more; only its name stays taken until [`Self::finish_erasure`]. [`Error::Missing`] if there is no such
    /// tenant. The same request again changes nothing.
    ///
    /// An engine must see to it that no commit with a batch of it is under way, and that the wrapped key is in none of
    /// its files any more by the end of the erasure.
    async fn erase_tenant(&self, new: &NewTenantErasure) -> Result<Erasure>;
    /// All tenants that were ever erased, those lately erased last.
    async fn erased_tenants(&self) -> Result<Vec<ErasedTenant>>;
    /// Ends an erasure, and forgets its query; one of a tenant gives its name free, and ends all others of it. Ending
    /// it again changes nothing.
    async fn finish_erasure(&self, erasure: Uuid, at: Timestamp) -> Result<()>;

    /// Puts rows behind the last one of the audit log, all or nothing, and moves its head. An answer that is lost leaves
    /// rows that the caller does not know of: appending again has them twice. [`Error::Corrupt`] if the head is gone;
    /// [`Error::Key`] and [`Error::OtherKey`] as [`audit::HeadKey`] gives them.
    ///
    /// An engine must see to it that appends come one after the other.
    async fn append_audit(&self, key: &audit::HeadKey, events: &[audit::Event]) -> Result<()>;
    /// Both ends of the audit log; [`Error::Corrupt`] if they are gone.
    async fn audit_head(&self) -> Result<audit::Head>;
    /// Rows of the audit log behind the one of this number, in their order; at most so many.
    async fn audit_rows(&self, after: u64, limit: u32) -> Result<Vec<audit::Row>>;
    /// Rows of the audit log that a page asks for, newest first.
    async fn audit_page(&self, page: &audit::Page) -> Result<Vec<audit::Row>>;
    /// Drops the oldest rows of the audit log, up to the first that is not older than this, and moves its anchor; at most
    /// so many at once. Gives how many.
    async fn trim_audit(&self, key: &audit::HeadKey, before: Timestamp, limit: u32) -> Result<u64>;
    /// Puts rows of a backup, in their order, into an audit log that has none, all or nothing; with the last ones comes the
    /// head. [`Error::Exists`] if it has a head already.
    async fn load_audit(&self, rows: &[audit::Row], head: Option<&audit::Head>) -> Result<()>;
}
