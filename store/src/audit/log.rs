//! The log over a catalog: appending, reading, and dropping what is old.

use std::sync::Arc;

use heliograph_model::time::Timestamp;

use super::{Event, Head, HeadKey, Page, Row};
use crate::Store;
use crate::catalog::Catalog;
use crate::error::Result;
use crate::keyring::KeyRing;

/// Rows of one transaction: a few milliseconds, for which other writers wait.
const ROWS_AT_ONCE: usize = 1_000;
/// Rows that one transaction drops: those are only looked at and deleted.
const TRIMMED_AT_ONCE: u32 = 5_000;

/// The audit log of a catalog. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) key: HeadKey,
}

impl Log {
    /// The one of a store.
    pub fn of(store: &Store) -> Result<Self> {
        Self::new(Arc::clone(&store.catalog), &store.keys)
    }

    /// The one of a catalog, whose head this master key's code holds.
    pub fn new(catalog: Arc<dyn Catalog>, keys: &KeyRing) -> Result<Self> {
        Ok(Self { catalog, key: HeadKey::new(keys)? })
    }

    /// Puts events behind all others; on disk when it returns. After an error a part of them may be there, so that who
    /// tries again may have events twice, but never not at all.
    pub async fn append(&self, events: &[Event]) -> Result<()> {
        for events in events.chunks(ROWS_AT_ONCE) {
            self.catalog.append_audit(&self.key, events).await?;
        }
        Ok(())
    }

    /// A page of rows, newest first.
    pub async fn page(&self, page: &Page) -> Result<Vec<Row>> {
        self.catalog.audit_page(page).await
    }

    /// Rows behind one, in their order.
    pub async fn rows(&self, after: u64, limit: u32) -> Result<Vec<Row>> {
        self.catalog.audit_rows(after, limit).await
    }

    /// Both ends.
    pub async fn head(&self) -> Result<Head> {
        self.catalog.audit_head().await
    }

    /// Drops the oldest rows, up to the first that is not older than this; gives how many.
    pub async fn trim(&self, before: Timestamp) -> Result<u64> {
        let mut dropped = 0;
        loop {
            let now = self.catalog.trim_audit(&self.key, before, TRIMMED_AT_ONCE).await?;
            dropped += now;
            if now < u64::from(TRIMMED_AT_ONCE) {
                return Ok(dropped);
            }
        }
    }

    /// Puts another master key's code on the head, when that takes the place of this one.
    pub async fn hand_over(&self, to: &KeyRing) -> Result<()> {
        self.catalog.hand_over_audit(&self.key, &HeadKey::new(to)?).await
    }
}
