//! The catalog in a PostgreSQL database: how calls come to an end, whatever the server does.
//!
//! Every call is bounded in time. A call that the server takes back because of others (a deadlock, a
//! serialisation failure) is made again, and so is one whose connection broke, where making it twice is the same
//! as once; what still fails then is the caller's to try again.

mod accounts;
mod audit;
mod commits;
mod connection;
mod dump;
mod erasures;
mod indexers;
mod invitations;
mod limits;
mod open;
mod people;
mod retention;
mod rows;
mod segments;
mod sessions;
mod shredding;
mod tenants;
mod upkeep;

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use heliograph_model::batch::ProducerId;
use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use secrecy::SecretString;
use sqlx::{PgPool, Transaction};
use uuid::Uuid;

use super::url::Url;
use super::{
    Candidate, Catalog, Dump, ErasedObject, ErasedTenant, Erasure, Grant, Identity, Indexer, Invitation,
    Known, Lease, Mapped, NewCommit, NewErasure, NewTenantErasure, PendingErasure, Reason, Retired, Rewrite,
    SegmentMeta, Session, SignedIn, Tenant, TenantLimits, TenantUsage, Token, User, WalObject,
};
use crate::audit::{Event, Head, HeadKey, Page, Row};
use crate::error::{Error, Result};
use crate::keyring::KeyId;
use crate::layout::ObjectId;
use crate::retention::OwnKeep;

/// Longest time of one call, with all its tries.
const CALL_MAX: Duration = Duration::from_secs(20);
/// Longest time of loading a whole catalog: some hundred thousand segments take seconds.
const LOAD_MAX: Duration = Duration::from_mins(10);
/// How often a call is made again at most.
const AGAIN_MAX: usize = 8;
/// Pauses before a call is made again: others shall be done by then.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(200));

/// A write that is not on disk yet.
type Write = Transaction<'static, sqlx::Postgres>;

/// The catalog in a PostgreSQL database.
pub(super) struct Postgres {
    pool: PgPool,
}

impl Postgres {
    /// Waits for the server, brings the database's schema up to date, and keeps a pool of connections to it.
    pub(super) async fn open(url: &Url, password: Option<&SecretString>) -> Result<Self> {
        Ok(Self { pool: open::open(url, password).await? })
    }

    async fn write(&self) -> Result<Write> {
        Ok(self.pool.begin().await?)
    }

    /// Makes a call that may be made twice.
    async fn call<T, F>(&self, call: impl FnMut() -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        within(CALL_MAX, call.retry(pauses()).when(|error| is_taken_back(error) || is_broken(error))).await
    }

    /// Makes a call of which a second one would have another answer.
    async fn call_once<T, F>(&self, call: impl FnMut() -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        within(CALL_MAX, call.retry(pauses()).when(is_taken_back)).await
    }
}

fn pauses() -> ExponentialBuilder {
    let (least, most) = PAUSES;
    ExponentialBuilder::default()
        .with_min_delay(least)
        .with_max_delay(most)
        .with_max_times(AGAIN_MAX)
        .with_jitter()
}

async fn within<T>(time: Duration, calls: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Error::Catalog(sqlx::Error::Io(io::ErrorKind::TimedOut.into()));
    tokio::time::timeout(time, calls).await.map_err(late)?
}

/// Whether the server took a transaction back in favour of another: nothing of it is left.
fn is_taken_back(error: &Error) -> bool {
    const SERIALIZATION_FAILURE: &str = "40001";
    const DEADLOCK_DETECTED: &str = "40P01";
    code(error).is_some_and(|code| code == SERIALIZATION_FAILURE || code == DEADLOCK_DETECTED)
}

/// Whether a connection ended before the answer: what it was asked for may be done or not.
fn is_broken(error: &Error) -> bool {
    const ADMIN_SHUTDOWN: &str = "57P01";
    const CRASH_SHUTDOWN: &str = "57P02";
    matches!(error, Error::Catalog(sqlx::Error::Io(_)))
        || code(error).is_some_and(|code| code == ADMIN_SHUTDOWN || code == CRASH_SHUTDOWN)
}

fn code(error: &Error) -> Option<std::borrow::Cow<'_, str>> {
    let Error::Catalog(error) = error else { return None };
    error.as_database_error()?.code()
}

#[async_trait]
impl Catalog for Postgres {
    async fn create_tenant(&self, tenant: &Tenant) -> Result<()> {
        self.call_once(|| tenants::create(self, tenant)).await
    }
    async fn master_key(&self) -> Result<Option<KeyId>> {
        self.call(|| tenants::master_key(&self.pool)).await
    }
    async fn set_master_key(&self, key: KeyId) -> Result<()> {
        self.call(|| tenants::set_master_key(self, key)).await
    }
    async fn rewrap(&self, tenant: Uuid, old: &[u8], new: &[u8]) -> Result<bool> {
        self.call_once(|| tenants::rewrap(self, tenant, old, new)).await
    }
    async fn tenant(&self, name: &TenantId) -> Result<Option<Tenant>> {
        self.call(|| tenants::find(self, name)).await
    }
    async fn tenants(&self) -> Result<Vec<Tenant>> {
        self.call(|| tenants::all(self)).await
    }

    async fn set_limits(&self, tenant: &TenantId, limits: &TenantLimits) -> Result<()> {
        self.call(|| limits::set(self, tenant, limits)).await
    }
    async fn usage(&self) -> Result<Vec<TenantUsage>> {
        self.call(|| limits::usage(self)).await
    }
    async fn usage_of(&self, tenant: &TenantId) -> Result<Option<TenantUsage>> {
        self.call(|| limits::usage_of(self, tenant)).await
    }

    async fn create_user(&self, user: &User) -> Result<()> {
        self.call_once(|| people::create_user(self, user)).await
    }
    async fn user(&self, name: &str) -> Result<Option<User>> {
        self.call(|| people::user(self, name)).await
    }
    async fn users(&self) -> Result<Vec<User>> {
        self.call(|| people::users(self)).await
    }
    async fn set_password(&self, name: &str, password_hash: &str) -> Result<()> {
        self.call(|| people::set_password(self, name, password_hash)).await
    }
    async fn grant(&self, grant: &Grant) -> Result<()> {
        self.call(|| people::grant(self, grant)).await
    }
    async fn revoke_grant(&self, grant: &Grant) -> Result<bool> {
        self.call_once(|| people::revoke_grant(self, grant)).await
    }
    async fn grants(&self, user: &str) -> Result<Vec<Grant>> {
        self.call(|| people::grants(self, user)).await
    }
    async fn set_disabled(&self, name: &str, disabled: bool) -> Result<()> {
        self.call(|| accounts::set_disabled(self, name, disabled)).await
    }
    async fn mapped_grants(&self, user: &str) -> Result<Vec<(String, Grant)>> {
        self.call(|| accounts::mapped_grants(self, user)).await
    }
    async fn known(&self, issuer: &str, subject: &str) -> Result<Option<Known>> {
        self.call(|| accounts::known(self, issuer, subject)).await
    }
    async fn create_known(&self, identity: &Identity, user: &User) -> Result<()> {
        self.call_once(|| accounts::create_known(self, identity, user)).await
    }
    async fn set_mapped(&self, identity: &Identity, mapped: &Mapped) -> Result<bool> {
        self.call_once(|| accounts::set_mapped(self, identity, mapped)).await
    }
    async fn create_invitation(&self, invitation: &Invitation, now: Timestamp) -> Result<()> {
        self.call_once(|| invitations::create(self, invitation, now)).await
    }
    async fn invitations(&self, now: Timestamp) -> Result<Vec<Invitation>> {
        self.call(|| invitations::open(self, now)).await
    }
    async fn revoke_invitation(&self, id: &str) -> Result<bool> {
        self.call_once(|| invitations::revoke(self, id)).await
    }
    async fn accept_invitation(
        &self,
        id: &str,
        user: &User,
        identity: Option<&Identity>,
        now: Timestamp,
    ) -> Result<()> {
        self.call_once(|| invitations::accept(self, id, user, identity, now)).await
    }

    async fn create_session(&self, session: &Session) -> Result<()> {
        self.call_once(|| sessions::create(self, session)).await
    }
    async fn session_user(&self, id_hash: &[u8; 32], now: Timestamp) -> Result<Option<SignedIn>> {
        self.call(|| sessions::user(self, id_hash, now)).await
    }
    async fn touch_session(&self, id_hash: &[u8; 32], idle_end: Timestamp) -> Result<()> {
        self.call(|| sessions::touch(self, id_hash, idle_end)).await
    }
    async fn sessions(&self, user: &str, now: Timestamp) -> Result<Vec<Session>> {
        self.call(|| sessions::of(self, user, now)).await
    }
    async fn end_session(&self, id_hash: &[u8; 32], now: Timestamp) -> Result<()> {
        self.call(|| sessions::end(self, id_hash, now)).await
    }
    async fn end_sessions(&self, user: &str, but: Option<&[u8; 32]>) -> Result<u64> {
        self.call(|| sessions::end_all(self, user, but)).await
    }
    async fn spend(&self, hash: &[u8; 32], until: Timestamp, now: Timestamp) -> Result<bool> {
        self.call_once(|| sessions::spend(self, hash, until, now)).await
    }

    async fn create_token(&self, token: &Token) -> Result<()> {
        self.call_once(|| people::create_token(self, token)).await
    }
    async fn token(&self, id: &str) -> Result<Option<Token>> {
        self.call(|| people::token(self, id)).await
    }
    async fn tokens(&self, tenant: Option<&TenantId>) -> Result<Vec<Token>> {
        self.call(|| people::tokens(self, tenant)).await
    }
    async fn revoke_token(&self, id: &str, at: Timestamp) -> Result<()> {
        self.call(|| people::revoke_token(self, id, at)).await
    }

    async fn embedded_indexer(&self) -> Result<Uuid> {
        self.call(|| commits::embedded_indexer(self)).await
    }
    async fn register_indexer(&self, indexer: Uuid, address: &str, lease_for: Duration) -> Result<Lease> {
        self.call(|| indexers::register(self, indexer, address, lease_for)).await
    }
    async fn renew_lease(&self, lease: &Lease, lease_for: Duration) -> Result<()> {
        self.call(|| indexers::renew(self, lease, lease_for)).await
    }
    async fn indexers(&self) -> Result<Vec<Indexer>> {
        self.call(|| indexers::all(self)).await
    }
    async fn claim_indexer(
        &self,
        address: &str,
        lease_for: Duration,
        held: &[Uuid],
    ) -> Result<Option<Lease>> {
        self.call_once(|| indexers::claim(self, address, lease_for, held)).await
    }
    async fn retire_indexer(&self, lease: &Lease) -> Result<bool> {
        self.call(|| indexers::retire(self, lease)).await
    }

    async fn commit(&self, commit: &NewCommit) -> Result<CommitId> {
        self.call(|| commits::commit(self, commit)).await
    }
    async fn producer(&self, tenant: &TenantId, producer: &ProducerId) -> Result<Option<(u64, u64)>> {
        self.call(|| commits::producer(self, tenant, producer)).await
    }
    async fn wal_objects(&self, indexer: Uuid) -> Result<Vec<WalObject>> {
        self.call(|| commits::wal_objects(self, indexer)).await
    }
    async fn sealed_through(&self, indexer: Uuid) -> Result<Vec<(TenantId, CommitId)>> {
        self.call(|| segments::sealed_through(self, indexer)).await
    }
    async fn publish(&self, lease: &Lease, segment: &SegmentMeta, released: &[ObjectId]) -> Result<()> {
        self.call(|| segments::publish(self, lease, segment, released)).await
    }
    async fn release(&self, lease: &Lease, released: &[ObjectId]) -> Result<()> {
        self.call(|| commits::release(self, lease, released)).await
    }
    async fn segments(&self, tenant: &TenantId, range: &TimeRange) -> Result<Vec<SegmentMeta>> {
        self.call(|| segments::segments(self, std::slice::from_ref(tenant), range)).await
    }
    async fn segments_of(&self, tenants: &[TenantId], range: &TimeRange) -> Result<Vec<SegmentMeta>> {
        self.call(|| segments::segments(self, tenants, range)).await
    }
    async fn newest_segments(&self, limit: u32) -> Result<Vec<SegmentMeta>> {
        self.call(|| segments::newest(self, limit)).await
    }

    async fn dump(&self) -> Result<Dump> {
        self.call(|| dump::dump(self)).await
    }
    async fn load(&self, dump: &Dump) -> Result<()> {
        within(LOAD_MAX, dump::load(self, dump)).await
    }

    async fn merge_candidates(&self, tenant: &TenantId) -> Result<Vec<Candidate>> {
        self.call(|| upkeep::merge_candidates(self, tenant)).await
    }
    async fn replace(&self, merged: &[ObjectId], by: &SegmentMeta, at: Timestamp) -> Result<()> {
        self.call(|| upkeep::replace(self, merged, by, at)).await
    }
    async fn retire(
        &self,
        tenant: &TenantId,
        segments: &[ObjectId],
        reason: Reason,
        at: Timestamp,
    ) -> Result<Vec<ObjectId>> {
        self.call_once(|| upkeep::retire(self, tenant, segments, reason, at)).await
    }
    async fn retired(&self, limit: u32) -> Result<Vec<Retired>> {
        self.call(|| upkeep::retired(self, limit)).await
    }
    async fn forget(&self, retired: &[ObjectId]) -> Result<()> {
        self.call(|| upkeep::forget(self, retired)).await
    }
    async fn discard(&self, objects: &[ObjectId], at: Timestamp) -> Result<Vec<ObjectId>> {
        self.call(|| upkeep::discard(self, objects, at)).await
    }

    async fn set_retention(&self, tenant: &TenantId, own: &OwnKeep) -> Result<()> {
        self.call(|| retention::set(self, tenant, own)).await
    }
    async fn retentions(&self) -> Result<Vec<(TenantId, OwnKeep)>> {
        self.call(|| retention::all(self)).await
    }
    async fn advance_retention_clock(&self, to: Option<Timestamp>) -> Result<Option<Timestamp>> {
        self.call(|| retention::advance_clock(self, to)).await
    }

    async fn request_erasure(&self, new: &NewErasure) -> Result<Erasure> {
        self.call(|| erasures::request(self, new)).await
    }
    async fn erasures(&self) -> Result<Vec<Erasure>> {
        self.call(|| erasures::all(self)).await
    }
    async fn pending_erasures(&self) -> Result<Vec<PendingErasure>> {
        self.call(|| erasures::pending(self)).await
    }
    async fn erasure_steps(&self) -> Result<u64> {
        self.call(|| erasures::steps(self)).await
    }
    async fn rewrite(&self, rewrite: &Rewrite) -> Result<()> {
        self.call(|| erasures::rewrite(self, rewrite)).await
    }
    async fn note_erased(&self, erasure: Uuid, objects: &[ErasedObject]) -> Result<()> {
        self.call(|| erasures::note(self, erasure, objects)).await
    }
    async fn erased(&self, erasure: Uuid) -> Result<Vec<ErasedObject>> {
        self.call(|| erasures::erased(self, erasure)).await
    }
    async fn set_erasure_trouble(&self, erasure: Uuid, trouble: Option<&str>) -> Result<()> {
        self.call(|| erasures::set_trouble(self, erasure, trouble)).await
    }
    async fn erase_tenant(&self, new: &NewTenantErasure) -> Result<Erasure> {
        self.call(|| shredding::erase(self, new)).await
    }
    async fn erased_tenants(&self) -> Result<Vec<ErasedTenant>> {
        self.call(|| shredding::all(self)).await
    }
    async fn finish_erasure(&self, erasure: Uuid, at: Timestamp) -> Result<()> {
        self.call(|| erasures::finish(self, erasure, at)).await
    }

    async fn append_audit(&self, key: &HeadKey, events: &[Event]) -> Result<()> {
        self.call_once(|| audit::append(self, key, events)).await
    }
    async fn audit_head(&self) -> Result<Head> {
        self.call(|| audit::head(self)).await
    }
    async fn audit_rows(&self, after: u64, limit: u32) -> Result<Vec<Row>> {
        self.call(|| audit::rows(self, after, limit)).await
    }
    async fn audit_page(&self, page: &Page) -> Result<Vec<Row>> {
        self.call(|| audit::page(self, page)).await
    }
    async fn trim_audit(&self, key: &HeadKey, before: Timestamp, limit: u32) -> Result<u64> {
        self.call_once(|| audit::trim(self, key, before, limit)).await
    }
    async fn load_audit(&self, rows: &[Row], head: Option<&Head>) -> Result<()> {
        within(LOAD_MAX, audit::load(self, rows, head)).await
    }
}
