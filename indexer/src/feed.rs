//! Fans fresh records out to live tails.
//!
//! Publishing never waits: each feed has a bounded queue of commits and a task of its own that looks at them,
//! and a bounded room for frames that its reader has not taken. What does not fit is left out and counted, and
//! the reader is told how much and from when to when.

mod frames;
mod reader;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use heliograph_model::filter::{Filter, Matcher};
use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use parking_lot::{Mutex, RwLock};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::hot::{Chunk, Hot};
use crate::metrics::Metrics;
pub(crate) use frames::Frame;
use frames::Gap;
use reader::Reader;

/// Feeds at the same time.
const FEEDS_MAX: usize = 10_000;
/// Commits that a feed may be behind with looking: only a machine out of CPU comes there.
const QUEUE_COMMITS: usize = 1024;
/// Frames that a reader may be behind with taking; their bytes are bounded, too.
const QUEUE_FRAMES: usize = 64;

/// What a feed is asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    /// Of which indexer's records; without one, of the process's own.
    #[serde(default)]
    pub(crate) indexer: Option<Uuid>,
    tenant: TenantId,
    filter: Filter,
    /// Also what was committed after this and is not sealed.
    #[serde(default)]
    after: Option<CommitId>,
}

/// All live feeds of one indexer's records.
pub(crate) struct Feed {
    hot: Arc<Hot>,
    metrics: Metrics,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// The newest commit that every feed has been given.
    published: AtomicI64,
    count: AtomicUsize,
    next_id: AtomicU64,
    subscribers: RwLock<HashMap<TenantId, HashMap<u64, Arc<Subscriber>>>>,
}

/// The end of a feed's queue at which commits are put in.
struct Subscriber {
    queue: mpsc::Sender<Arc<Chunk>>,
    /// What did not fit into the queue since its reader last looked. While there is something, nothing goes
    /// into the queue, so that the order is kept.
    overrun: Mutex<Option<Gap>>,
}

/// A subscriber's registration: ends with the reader.
struct Subscription {
    feed: Arc<Feed>,
    tenant: TenantId,
    id: u64,
    subscriber: Arc<Subscriber>,
}

impl Feed {
    /// No feeds yet; `stop` ends them all.
    pub(crate) fn new(hot: Arc<Hot>, metrics: Metrics, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            published: AtomicI64::new(hot.committed().0),
            hot,
            metrics,
            tasks,
            stop,
            count: AtomicUsize::new(0),
            next_id: AtomicU64::new(0),
            subscribers: RwLock::default(),
        }
    }

    /// Gives a commit's records to the feeds. Commits come in their order, when they are durable and hot.
    pub(crate) fn publish(&self, commit: CommitId, chunks: &[Arc<Chunk>]) {
        let subscribers = self.subscribers.read();
        for chunk in chunks {
            for subscriber in subscribers.get(&chunk.tenant).into_iter().flat_map(HashMap::values) {
                subscriber.give(chunk);
            }
        }
        drop(subscribers);
        self.published.store(commit.0, Ordering::Release);
    }

    /// Opens a feed: its frames come out of the receiver until it is dropped.
    pub(crate) fn open(self: &Arc<Self>, request: Request) -> Result<mpsc::Receiver<Frame>> {
        let matcher = Arc::new(Matcher::new(&request.filter)?);
        let (frames, out) = mpsc::channel(QUEUE_FRAMES);
        let (subscription, queue) = self.subscribe(&request.tenant)?;
        // After subscribing: what is committed between comes twice, and is told by its commit.
        let snapshot = self.hot.snapshot(&request.tenant, request.after);
        let reader = Reader::new(subscription, queue, matcher, frames);
        let backlog = if request.after.is_some() { snapshot.chunks } else { Vec::new() };
        self.tasks.spawn(reader.run(snapshot.head, backlog, self.stop.clone()));
        Ok(out)
    }

    fn subscribe(self: &Arc<Self>, tenant: &TenantId) -> Result<(Subscription, mpsc::Receiver<Arc<Chunk>>)> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= FEEDS_MAX {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::Unavailable { reason: "too many live feeds" });
        }
        self.metrics.feed_subscribers.inc();
        let (queue, out) = mpsc::channel(QUEUE_COMMITS);
        let subscriber = Arc::new(Subscriber { queue, overrun: Mutex::default() });
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.subscribers.write().entry(tenant.clone()).or_default().insert(id, Arc::clone(&subscriber));
        Ok((Subscription { feed: Arc::clone(self), tenant: tenant.clone(), id, subscriber }, out))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut subscribers = self.feed.subscribers.write();
        if let Some(of_tenant) = subscribers.get_mut(&self.tenant) {
            of_tenant.remove(&self.id);
            if of_tenant.is_empty() {
                subscribers.remove(&self.tenant);
            }
        }
        self.feed.count.fetch_sub(1, Ordering::Relaxed);
        self.feed.metrics.feed_subscribers.dec();
    }
}

impl Subscriber {
    fn give(&self, chunk: &Arc<Chunk>) {
        let mut overrun = self.overrun.lock();
        if overrun.is_some() || self.queue.try_send(Arc::clone(chunk)).is_err() {
            Gap::add(&mut overrun, frames::gap_of_all(chunk));
        }
    }
}
