//! Opened pages of blocks, kept while there is room: what is asked again is not read, decrypted and expanded again.

use std::collections::HashSet;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use uuid::Uuid;

use super::bitset::BitSet;
use super::texts::Texts;
use crate::layout::ObjectId;

/// Pages of about this size are expected, to size the table.
const PAGE_BYTES: usize = 32 << 10;

/// Which page: the tenant is a part of the name, so that a mistake elsewhere cannot show one tenant's to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) tenant: Uuid,
    pub(super) segment: ObjectId,
    /// The number that it is sealed under.
    pub(super) page: u64,
}

/// An opened page.
#[derive(Clone)]
pub(super) enum Page {
    /// Columns and order, as they were written.
    Bytes(Arc<[u8]>),
    /// Messages and attributes, taken apart.
    Texts(Arc<Texts>),
    /// Rows of a frequent word.
    Rows(Arc<BitSet>),
}

impl Page {
    fn memory_bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Texts(texts) => texts.memory_bytes(),
            Self::Rows(rows) => rows.memory_bytes(),
        }
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Page> for ByBytes {
    fn weight(&self, _: &Key, page: &Page) -> u64 {
        page.memory_bytes() as u64 + size_of::<(Key, Page)>() as u64
    }
}

/// Pages of all segments that a process reads, bounded in bytes. A scan of everything does not push out what is
/// asked again and again.
pub struct PageCache(Cache<Key, Page, ByBytes>);

impl PageCache {
    /// A cache that holds about so many bytes.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self(Cache::with_weighter(bytes_max / PAGE_BYTES, bytes_max as u64, ByBytes)))
    }

    /// Bytes held now.
    pub fn bytes(&self) -> u64 {
        self.0.weight()
    }

    /// Drops the pages of all segments but these.
    pub fn keep_only(&self, segments: &HashSet<ObjectId>) {
        self.0.retain(|key, _| segments.contains(&key.segment));
    }

    pub(super) fn get(&self, key: &Key) -> Option<Page> {
        self.0.get(key)
    }

    pub(super) fn put(&self, key: Key, page: Page) {
        self.0.insert(key, page);
    }
}
