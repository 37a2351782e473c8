//! Follows all indexers of a tail: those that there are, those that join, and those that are no more but of which
//! the cursor has not seen all.

use std::collections::HashSet;
use std::sync::Arc;

use heliograph_store::catalog::LISTED_WITHIN;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::follow::{Event, Floor, Follow, Recent};
use super::position::Positions;
use super::starts::Starts;
use crate::access::Scope;
use crate::hot::Indexer;
use crate::search::{Question, Search};

/// What the followers of one tail share.
pub(super) struct FollowAll {
    pub(super) search: Arc<Search>,
    pub(super) scope: Scope,
    pub(super) question: Question,
    /// Up to where all was delivered when it began.
    pub(super) delivered: Positions,
    pub(super) floor: Floor,
    pub(super) starts: Starts,
    pub(super) room: Arc<Semaphore>,
    pub(super) out: mpsc::Sender<Event>,
    pub(super) tracker: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl FollowAll {
    /// Goes on until `stop`.
    pub(super) async fn run(self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.look() => {}
        }
    }

    async fn look(&self) {
        let mut followed: Option<HashSet<Option<Uuid>>> = None;
        loop {
            // Where the catalog does not answer, it is soon asked again.
            if let Ok(listed) = self.search.indexers().all().await {
                let mut ids: HashSet<_> = listed.iter().map(Indexer::registered).collect();
                let floor = match &followed {
                    None if ids.contains(&None) => self.floor.clone(),
                    None => {
                        ids.extend(self.delivered.indexers().map(Some));
                        self.floor.clone()
                    }
                    // It has registered since: all that it has is new.
                    Some(_) => Floor::new(Some(self.floor.get().unwrap_or_default())),
                };
                let is_new = |id: &&Option<Uuid>| followed.as_ref().is_none_or(|f| !f.contains(*id));
                ids.iter().filter(is_new).for_each(|id| self.follow(*id, &floor));
                followed = Some(ids);
            }
            tokio::time::sleep(LISTED_WITHIN).await;
        }
    }

    fn follow(&self, indexer: Option<Uuid>, floor: &Floor) {
        for tenant in self.scope.tenants() {
            let follow = Follow {
                search: Arc::clone(&self.search),
                scope: self.scope.narrowed(|t| t == tenant),
                tenant: tenant.clone(),
                indexer,
                question: self.question.clone(),
                delivered: self.delivered.of(tenant),
                recent: Recent::default(),
                floor: floor.clone(),
                starts: self.starts.clone(),
                room: Arc::clone(&self.room),
                out: self.out.clone(),
            };
            let stop = self.stop.clone();
            self.tracker.spawn(async move { stop.run_until_cancelled(follow.run()).await });
        }
    }
}
