//! Which indexers there are, and where each is answered for.

use std::sync::Arc;
use std::time::Duration;

use heliograph_store::catalog::{Catalog, LISTED_WITHIN};
use parking_lot::RwLock;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::Silent;
use crate::config::Discovery;

/// Longest time of one look into the catalog.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// One indexer.
#[derive(Debug)]
pub(crate) struct Indexer {
    pub(super) url: String,
    /// The name that users see; its address is the operator's business.
    pub(crate) name: String,
    /// Whether the catalog told its id; else its answers do.
    pub(super) is_registered: bool,
    id: RwLock<Option<Uuid>>,
}

impl Indexer {
    /// Its id, where that is known.
    pub(crate) fn id(&self) -> Option<Uuid> {
        *self.id.read()
    }

    /// Its id in the catalog; none for the one that is the only one.
    pub(crate) fn registered(&self) -> Option<Uuid> {
        self.id().filter(|_| self.is_registered)
    }

    /// Whether the same process answers for both.
    pub(crate) fn is_with(&self, other: &Self) -> bool {
        self.url == other.url
    }

    /// Its id, as it says; none where it must be another's.
    pub(super) fn learn(&self, said: &str) -> Result<Option<Uuid>, Silent> {
        let said = Uuid::parse_str(said).map_err(|e| Silent::Answer(format!("indexer id: {e}")))?;
        if self.is_registered {
            return Ok(self.id().filter(|id| *id == said));
        }
        if self.id() != Some(said) {
            *self.id.write() = Some(said);
        }
        Ok(Some(said))
    }
}

impl Clone for Indexer {
    fn clone(&self) -> Self {
        let (url, name) = (self.url.clone(), self.name.clone());
        Self { url, name, is_registered: self.is_registered, id: RwLock::new(self.id()) }
    }
}

/// The list of all, read from the catalog when it is asked for and the last one is too old.
pub(super) struct List {
    /// None where there is nothing to look up.
    catalog: Option<Arc<dyn Catalog>>,
    last: tokio::sync::Mutex<Option<(Instant, Arc<[Indexer]>)>>,
}

impl List {
    pub(super) fn new(discovery: &Discovery, catalog: Arc<dyn Catalog>) -> Self {
        match discovery {
            Discovery::Catalog => Self { catalog: Some(catalog), last: tokio::sync::Mutex::new(None) },
            Discovery::Embedded(url) => {
                let one = Indexer {
                    url: url.trim_end_matches('/').to_owned(),
                    name: "indexer-1".to_owned(),
                    is_registered: false,
                    id: RwLock::new(None),
                };
                Self { catalog: None, last: tokio::sync::Mutex::new(Some((Instant::now(), [one].into()))) }
            }
        }
    }

    /// All that took anything before this call.
    pub(super) async fn get(&self) -> Result<Arc<[Indexer]>, Silent> {
        // Who comes while it is read waits, and has the same.
        let mut last = self.last.lock().await;
        let is_good = |read: &Instant| self.catalog.is_none() || read.elapsed() < LISTED_WITHIN;
        if let Some((_, list)) = last.as_ref().filter(|(read, _)| is_good(read)) {
            return Ok(Arc::clone(list));
        }
        let Some(catalog) = &self.catalog else { return Ok([].into()) };
        let began = Instant::now();
        let found = timeout(LOOK_MAX, catalog.indexers())
            .await
            .map_err(|_| Silent::Answer("the catalog does not answer in time".to_owned()))??;
        let mut list: Vec<Indexer> = found
            .into_iter()
            .map(|indexer| {
                let id = indexer.lease.indexer;
                let short: String = id.simple().to_string().chars().take(8).collect();
                Indexer {
                    url: indexer.address.trim_end_matches('/').to_owned(),
                    name: format!("indexer-{short}"),
                    is_registered: true,
                    id: RwLock::new(Some(id)),
                }
            })
            .collect();
        // Those of one process stand together: they are asked in one request.
        list.sort_by(|a, b| (&a.url, a.id()).cmp(&(&b.url, b.id())));
        let list: Arc<[Indexer]> = list.into();
        *last = Some((began, Arc::clone(&list)));
        Ok(list)
    }
}
