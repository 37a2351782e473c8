//! The catalog in an SQLite file: opening it, and which connection does what.
//!
//! One connection writes, in `BEGIN IMMEDIATE` transactions, so that two writers of this process queue here
//! and those of other processes (`heliograph admin` beside a server) wait for each other at the file. Readers
//! have connections of their own and never wait: the journal is a write-ahead log.

mod accounts;
mod audit;
mod commits;
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

use std::time::Duration;

use async_trait::async_trait;
use heliograph_model::batch::ProducerId;
use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use sqlx::{SqlitePool, Transaction};
use uuid::Uuid;

use super::{
    Candidate, Catalog, Dump, ErasedObject, ErasedTenant, Erasure, Grant, Identity, Indexer, Invitation,
    Known, Lease, Mapped, NewCommit, NewErasure, NewTenantErasure, PendingErasure, Reason, Retired, Rewrite,
    SegmentMeta, Session, SignedIn, Tenant, TenantLimits, TenantUsage, Token, User, WalObject,
};
use crate::audit::{Event, Head, HeadKey, Page, Row};
use crate::error::Result;
use crate::keyring::KeyId;
use crate::layout::ObjectId;
use crate::retention::OwnKeep;

/// A write that is not on disk yet.
type Write = Transaction<'static, sqlx::Sqlite>;

/// The catalog in an SQLite file.
pub(super) struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Sqlite {
    /// Opens the file, makes it where there is none, and brings its schema up to date.
    pub(super) async fn open(path: &str) -> Result<Self> {
        open::open(path).await
    }

    async fn write(&self) -> Result<Write> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Empties the journal, which has what was deleted or changed lately as it was before. A reader that will not end
    /// leaves that to a later moment: the journal is written over and over.
    async fn wipe(&self) -> Result<()> {
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.writer).await?;
        Ok(())
    }
}

#[async_trait]
impl Catalog for Sqlite {
    async fn create_tenant(&self, tenant: &Tenant) -> Result<()> {
        tenants::create(self, tenant).await
    }
    async fn master_key(&self) -> Result<Option<KeyId>> {
        tenants::master_key(&self.readers).await
    }
    async fn set_master_key(&self, key: KeyId) -> Result<()> {
        tenants::set_master_key(self, key).await
    }
    async fn rewrap(&self, tenant: Uuid, old: &[u8], new: &[u8]) -> Result<bool> {
        tenants::rewrap(self, tenant, old, new).await
    }
    async fn tenant(&self, name: &TenantId) -> Result<Option<Tenant>> {
        tenants::find(self, name).await
    }
    async fn tenants(&self) -> Result<Vec<Tenant>> {
        tenants::all(self).await
    }

    async fn set_limits(&self, tenant: &TenantId, limits: &TenantLimits) -> Result<()> {
        limits::set(self, tenant, limits).await
    }
    async fn usage(&self) -> Result<Vec<TenantUsage>> {
        limits::usage(self).await
    }
    async fn usage_of(&self, tenant: &TenantId) -> Result<Option<TenantUsage>> {
        limits::usage_of(self, tenant).await
    }

    async fn create_user(&self, user: &User) -> Result<()> {
        people::create_user(self, user).await
    }
    async fn user(&self, name: &str) -> Result<Option<User>> {
        people::user(self, name).await
    }
    async fn users(&self) -> Result<Vec<User>> {
        people::users(self).await
    }
    async fn set_password(&self, name: &str, password_hash: &str) -> Result<()> {
        people::set_password(self, name, password_hash).await
    }
    async fn grant(&self, grant: &Grant) -> Result<()> {
        people::grant(self, grant).await
    }
    async fn revoke_grant(&self, grant: &Grant) -> Result<bool> {
        people::revoke_grant(self, grant).await
    }
    async fn grants(&self, user: &str) -> Result<Vec<Grant>> {
        people::grants(self, user).await
    }
    async fn set_disabled(&self, name: &str, disabled: bool) -> Result<()> {
        accounts::set_disabled(self, name, disabled).await
    }
    async fn mapped_grants(&self, user: &str) -> Result<Vec<(String, Grant)>> {
        accounts::mapped_grants(self, user).await
    }
    async fn known(&self, issuer: &str, subject: &str) -> Result<Option<Known>> {
        accounts::known(self, issuer, subject).await
    }
    async fn create_known(&self, identity: &Identity, user: &User) -> Result<()> {
        accounts::create_known(self, identity, user).await
    }
    async fn set_mapped(&self, identity: &Identity, mapped: &Mapped) -> Result<bool> {
        accounts::set_mapped(self, identity, mapped).await
    }
    async fn create_invitation(&self, invitation: &Invitation, now: Timestamp) -> Result<()> {
        invitations::create(self, invitation, now).await
    }
    async fn invitations(&self, now: Timestamp) -> Result<Vec<Invitation>> {
        invitations::open(self, now).await
    }
    async fn revoke_invitation(&self, id: &str) -> Result<bool> {
        invitations::revoke(self, id).await
    }
    async fn accept_invitation(
        &self,
        id: &str,
        user: &User,
        identity: Option<&Identity>,
        now: Timestamp,
    ) -> Result<()> {
        invitations::accept(self, id, user, identity, now).await
    }

    async fn create_session(&self, session: &Session) -> Result<()> {
        sessions::create(self, session).await
    }
    async fn session_user(&self, id_hash: &[u8; 32], now: Timestamp) -> Result<Option<SignedIn>> {
        sessions::user(self, id_hash, now).await
    }
    async fn touch_session(&self, id_hash: &[u8; 32], idle_end: Timestamp) -> Result<()> {
        sessions::touch(self, id_hash, idle_end).await
    }
    async fn sessions(&self, user: &str, now: Timestamp) -> Result<Vec<Session>> {
        sessions::of(self, user, now).await
    }
    async fn end_session(&self, id_hash: &[u8; 32], now: Timestamp) -> Result<()> {
        sessions::end(self, id_hash, now).await
    }
    async fn end_sessions(&self, user: &str, but: Option<&[u8; 32]>) -> Result<u64> {
        sessions::end_all(self, user, but).await
    }
    async fn spend(&self, hash: &[u8; 32], until: Timestamp, now: Timestamp) -> Result<bool> {
        sessions::spend(self, hash, until, now).await
    }

    async fn create_token(&self, token: &Token) -> Result<()> {
        people::create_token(self, token).await
    }
    async fn token(&self, id: &str) -> Result<Option<Token>> {
        people::token(self, id).await
    }
    async fn tokens(&self, tenant: Option<&TenantId>) -> Result<Vec<Token>> {
        people::tokens(self, tenant).await
    }
    async fn revoke_token(&self, id: &str, at: Timestamp) -> Result<()> {
        people::revoke_token(self, id, at).await
    }

    async fn embedded_indexer(&self) -> Result<Uuid> {
        commits::embedded_indexer(self).await
    }
    async fn register_indexer(&self, indexer: Uuid, address: &str, lease_for: Duration) -> Result<Lease> {
        indexers::register(self, indexer, address, lease_for).await
    }
    async fn renew_lease(&self, lease: &Lease, lease_for: Duration) -> Result<()> {
        indexers::renew(self, lease, lease_for).await
    }
    async fn indexers(&self) -> Result<Vec<Indexer>> {
        indexers::all(self).await
    }
    async fn claim_indexer(
        &self,
        address: &str,
        lease_for: Duration,
        held: &[Uuid],
    ) -> Result<Option<Lease>> {
        indexers::claim(self, address, lease_for, held).await
    }
    async fn retire_indexer(&self, lease: &Lease) -> Result<bool> {
        indexers::retire(self, lease).await
    }

    async fn commit(&self, commit: &NewCommit) -> Result<CommitId> {
        commits::commit(self, commit).await
    }
    async fn producer(&self, tenant: &TenantId, producer: &ProducerId) -> Result<Option<(u64, u64)>> {
        commits::producer(self, tenant, producer).await
    }
    async fn wal_objects(&self, indexer: Uuid) -> Result<Vec<WalObject>> {
        commits::wal_objects(self, indexer).await
    }
    async fn sealed_through(&self, indexer: Uuid) -> Result<Vec<(TenantId, CommitId)>> {
        segments::sealed_through(self, indexer).await
    }
    async fn publish(&self, lease: &Lease, segment: &SegmentMeta, released: &[ObjectId]) -> Result<()> {
        segments::publish(self, lease, segment, released).await
    }
    async fn release(&self, lease: &Lease, released: &[ObjectId]) -> Result<()> {
        commits::release(self, lease, released).await
    }
    async fn segments(&self, tenant: &TenantId, range: &TimeRange) -> Result<Vec<SegmentMeta>> {
        segments::segments(self, std::slice::from_ref(tenant), range).await
    }
    async fn segments_of(&self, tenants: &[TenantId], range: &TimeRange) -> Result<Vec<SegmentMeta>> {
        segments::segments(self, tenants, range).await
    }
    async fn newest_segments(&self, limit: u32) -> Result<Vec<SegmentMeta>> {
        segments::newest(self, limit).await
    }

    async fn dump(&self) -> Result<Dump> {
        dump::dump(self).await
    }
    async fn load(&self, dump: &Dump) -> Result<()> {
        dump::load(self, dump).await
    }

    async fn merge_candidates(&self, tenant: &TenantId) -> Result<Vec<Candidate>> {
        upkeep::merge_candidates(self, tenant).await
    }
    async fn replace(&self, merged: &[ObjectId], by: &SegmentMeta, at: Timestamp) -> Result<()> {
        upkeep::replace(self, merged, by, at).await
    }
    async fn retire(
        &self,
        tenant: &TenantId,
        segments: &[ObjectId],
        reason: Reason,
        at: Timestamp,
    ) -> Result<Vec<ObjectId>> {
        upkeep::retire(self, tenant, segments, reason, at).await
    }
    async fn retired(&self, limit: u32) -> Result<Vec<Retired>> {
        upkeep::retired(self, limit).await
    }
    async fn forget(&self, retired: &[ObjectId]) -> Result<()> {
        upkeep::forget(self, retired).await
    }
    async fn discard(&self, objects: &[ObjectId], at: Timestamp) -> Result<Vec<ObjectId>> {
        upkeep::discard(self, objects, at).await
    }

    async fn set_retention(&self, tenant: &TenantId, own: &OwnKeep) -> Result<()> {
        retention::set(self, tenant, own).await
    }
    async fn retentions(&self) -> Result<Vec<(TenantId, OwnKeep)>> {
        retention::all(self).await
    }
    async fn advance_retention_clock(&self, to: Option<Timestamp>) -> Result<Option<Timestamp>> {
        retention::advance_clock(self, to).await
    }

    async fn request_erasure(&self, new: &NewErasure) -> Result<Erasure> {
        erasures::request(self, new).await
    }
    async fn erasures(&self) -> Result<Vec<Erasure>> {
        erasures::all(self).await
    }
    async fn pending_erasures(&self) -> Result<Vec<PendingErasure>> {
        erasures::pending(self).await
    }
    async fn erasure_steps(&self) -> Result<u64> {
        erasures::steps(self).await
    }
    async fn rewrite(&self, rewrite: &Rewrite) -> Result<()> {
        erasures::rewrite(self, rewrite).await
    }
    async fn note_erased(&self, erasure: Uuid, objects: &[ErasedObject]) -> Result<()> {
        erasures::note(self, erasure, objects).await
    }
    async fn erased(&self, erasure: Uuid) -> Result<Vec<ErasedObject>> {
        erasures::erased(self, erasure).await
    }
    async fn set_erasure_trouble(&self, erasure: Uuid, trouble: Option<&str>) -> Result<()> {
        erasures::set_trouble(self, erasure, trouble).await
    }
    async fn erase_tenant(&self, new: &NewTenantErasure) -> Result<Erasure> {
        shredding::erase(self, new).await
    }
    async fn erased_tenants(&self) -> Result<Vec<ErasedTenant>> {
        shredding::all(self).await
    }
    async fn finish_erasure(&self, erasure: Uuid, at: Timestamp) -> Result<()> {
        erasures::finish(self, erasure, at).await
    }

    async fn append_audit(&self, key: &HeadKey, events: &[Event]) -> Result<()> {
        audit::append(self, key, events).await
    }
    async fn audit_head(&self) -> Result<Head> {
        audit::head(self).await
    }
    async fn audit_rows(&self, after: u64, limit: u32) -> Result<Vec<Row>> {
        audit::rows(self, after, limit).await
    }
    async fn audit_page(&self, page: &Page) -> Result<Vec<Row>> {
        audit::page(self, page).await
    }
    async fn trim_audit(&self, key: &HeadKey, before: Timestamp, limit: u32) -> Result<u64> {
        audit::trim(self, key, before, limit).await
    }
    async fn load_audit(&self, rows: &[Row], head: Option<&Head>) -> Result<()> {
        audit::load(self, rows, head).await
    }
}

#[cfg(test)]
mod tests;
