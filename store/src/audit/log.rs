//! The log over a catalog: appending, reading, and dropping what is old.

use std::collections::HashMap;
use std::sync::Arc;

use heliograph_model::cipher::SecretKey;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;
use uuid::Uuid;

use super::details::{opened, parted};
use super::{Event, Head, HeadKey, Page, Row, Subject, Told};
use crate::Store;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::keyring::KeyRing;

/// Rows of one transaction: a few milliseconds, for which other writers wait.
const ROWS_AT_ONCE: usize = 1_000;
/// Rows that one transaction drops: those are only looked at and deleted.
const TRIMMED_AT_ONCE: u32 = 5_000;

/// The audit log of a catalog. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) ring: KeyRing,
}

impl Log {
    /// The one of a store.
    pub fn of(store: &Store) -> Self {
        Self::new(Arc::clone(&store.catalog), store.keys.clone())
    }

    /// The one of a catalog, whose head is signed with one of these keys.
    pub fn new(catalog: Arc<dyn Catalog>, ring: KeyRing) -> Self {
        Self { catalog, ring }
    }

    /// Puts events behind all others; on disk when it returns. After an error a part of them may be there, so that who
    /// tries again may have events twice, but never not at all.
    pub async fn append(&self, events: &[Event]) -> Result<()> {
        let mut keys = TenantKeys::of(self);
        for events in events.chunks(ROWS_AT_ONCE) {
            let mut sealed = Vec::with_capacity(events.len());
            for event in events {
                sealed.push(keys.sealed(event).await?);
            }
            let key = HeadKey::new(self.ring.clone());
            match self.catalog.append_audit(&key, &sealed).await {
                Err(Error::Key { .. } | Error::OtherKey { .. }) => {
                    self.ring.reload().await?;
                    self.catalog.append_audit(&key.of_whole_ring(), &sealed).await?;
                }
                appended => appended?,
            }
        }
        Ok(())
    }

    /// A page of rows, newest first.
    pub async fn page(&self, page: &Page) -> Result<Vec<Told>> {
        self.told(self.catalog.audit_page(page).await?).await
    }

    /// Rows behind one, in their order.
    pub async fn rows(&self, after: u64, limit: u32) -> Result<Vec<Told>> {
        self.told(self.catalog.audit_rows(after, limit).await?).await
    }

    /// Rows with their details in plain, as far as tenants' keys are there.
    async fn told(&self, rows: Vec<Row>) -> Result<Vec<Told>> {
        let mut keys = TenantKeys::of(self);
        let mut told = Vec::with_capacity(rows.len());
        for row in rows {
            told.push(keys.opened(row).await?);
        }
        Ok(told)
    }

    /// Both ends.
    pub async fn head(&self) -> Result<Head> {
        self.catalog.audit_head().await
    }

    /// Drops the oldest rows, up to the first that is not older than this; gives how many.
    pub async fn trim(&self, before: Timestamp) -> Result<u64> {
        let mut dropped = 0;
        loop {
            let key = HeadKey::new(self.ring.clone());
            let now = match self.catalog.trim_audit(&key, before, TRIMMED_AT_ONCE).await {
                Err(Error::Key { .. } | Error::OtherKey { .. }) => {
                    self.ring.reload().await?;
                    self.catalog.trim_audit(&key.of_whole_ring(), before, TRIMMED_AT_ONCE).await?
                }
                now => now?,
            };
            dropped += now;
            if now < u64::from(TRIMMED_AT_ONCE) {
                return Ok(dropped);
            }
        }
    }

    /// Whether a head's code is right, by the keys that are in the file now.
    pub(super) async fn holds(&self, head: &Head) -> Result<bool> {
        let key = HeadKey::new(self.ring.clone());
        if key.holds(head)? {
            return Ok(true);
        }
        self.ring.reload().await?;
        key.holds(head)
    }
}

/// Tenants' keys for one piece of work: they are not kept, so that one that is erased is gone.
struct TenantKeys<'a> {
    log: &'a Log,
    found: HashMap<Uuid, Option<SecretKey>>,
}

impl<'a> TenantKeys<'a> {
    fn of(log: &'a Log) -> Self {
        Self { log, found: HashMap::new() }
    }

    /// The event with its questions sealed, or as it is where there is no key for them: then they are not stored.
    async fn sealed(&mut self, event: &Event) -> Result<Event> {
        let mut event = event.clone();
        if let Subject::Tenant { name, uid } = &event.subject
            && event.details.has_plain_question()
            && let Some(key) = self.find(name, *uid).await?
        {
            event.details = event.details.sealed(*uid, key)?;
        }
        Ok(event)
    }

    async fn opened(&mut self, row: Row) -> Result<Told> {
        let Some((plain, sealed)) = parted(&row.details) else { return Ok(Told { row, opened: None }) };
        let name = row.tenant.as_deref().and_then(|name| TenantId::parse(name).ok());
        let uid = row.tenant_uid.as_deref().and_then(|uid| Uuid::from_slice(uid).ok());
        let key = match (&name, uid) {
            (Some(name), Some(uid)) => self.find(name, uid).await?,
            _ => None,
        };
        let opened = opened(plain, &sealed, uid.unwrap_or_default(), key);
        Ok(Told { row, opened: Some(opened) })
    }

    /// The key of the tenant with this name and uid; none if it is gone, or if no master key opens it.
    async fn find(&mut self, name: &TenantId, uid: Uuid) -> Result<Option<&SecretKey>> {
        if !self.found.contains_key(&uid) {
            let key = self.look_up(name, uid).await?;
            self.found.insert(uid, key);
        }
        Ok(self.found.get(&uid).and_then(Option::as_ref))
    }

    async fn look_up(&self, name: &TenantId, uid: Uuid) -> Result<Option<SecretKey>> {
        let tenant = self.log.catalog.tenant(name).await?.filter(|tenant| tenant.uid == uid);
        let Some(tenant) = tenant else { return Ok(None) };
        let unwrapped = match self.log.ring.unwrap(uid, &tenant.wrapped_key) {
            Err(Error::Key { .. }) => {
                self.log.ring.reload().await?;
                self.log.ring.unwrap(uid, &tenant.wrapped_key)
            }
            unwrapped => unwrapped,
        };
        match unwrapped {
            Err(Error::Key { .. } | Error::Corrupt { .. }) => Ok(None),
            key => key.map(Some),
        }
    }
}

/// Puts the code of the master key that is set on the head: the others are not needed for it any more.
pub(crate) async fn sign(store: &Store) -> Result<()> {
    let log = Log::of(store);
    // An append of nothing moves nothing, and signs anew.
    let key = HeadKey::new(log.ring.clone()).of_whole_ring();
    log.catalog.append_audit(&key, &[]).await
}
