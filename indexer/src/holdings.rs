//! The indexers that this process answers for: its own, and those that it has taken over.

use std::sync::Arc;

use futures::future::join_all;
use parking_lot::RwLock;
use uuid::Uuid;

use crate::feed::Feed;
use crate::hot::Hot;
use crate::lease::Held;

/// One indexer, replayed: what it holds unsealed can be searched and followed here.
pub(crate) struct Holding {
    /// By which right.
    pub(crate) held: Arc<Held>,
    /// Its records.
    pub(crate) hot: Arc<Hot>,
    /// Its live tails.
    pub(crate) feed: Arc<Feed>,
}

/// All of them.
pub(crate) struct Holdings {
    own: Arc<Holding>,
    taken_over: RwLock<Vec<Arc<Holding>>>,
}

impl Holdings {
    /// Only the process's own so far.
    pub(crate) fn new(own: Holding) -> Self {
        Self { own: Arc::new(own), taken_over: RwLock::default() }
    }

    /// Those among the ones asked for, or among all, whose answer holds all that was acknowledged before this call.
    pub(crate) async fn answering(&self, asked: Option<&[Uuid]>) -> Vec<Arc<Holding>> {
        let is_asked = |of: &Arc<Holding>| asked.is_none_or(|ids| ids.contains(&of.held.indexer()));
        let mut asked: Vec<_> =
            std::iter::once(&self.own).chain(self.taken_over.read().iter()).cloned().collect();
        asked.retain(is_asked);
        let whole = join_all(asked.iter().map(|of| of.held.is_whole())).await;
        asked.into_iter().zip(whole).filter_map(|(of, is_whole)| is_whole.then_some(of)).collect()
    }

    /// The one of an id, or the process's own.
    pub(crate) fn of(&self, indexer: Option<Uuid>) -> Option<Arc<Holding>> {
        let Some(id) = indexer.filter(|id| *id != self.own.held.indexer()) else {
            return Some(Arc::clone(&self.own));
        };
        self.taken_over.read().iter().find(|of| of.held.indexer() == id).cloned()
    }

    /// Another one is answered for from here on.
    pub(crate) fn add(&self, holding: Holding) {
        self.taken_over.write().push(Arc::new(holding));
    }

    /// It is not any more.
    pub(crate) fn remove(&self, indexer: Uuid) {
        self.taken_over.write().retain(|of| of.held.indexer() != indexer);
    }
}
