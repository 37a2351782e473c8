//! Runs questions over hot and sealed parts of every tenant of a [`Scope`], and merges what they answer.
//!
//! All methods are safe to drop half-way: that is how a client's leaving ends a search.

mod context;
mod counts;
mod erased;
mod explain;
mod gap;
mod glance;
mod pager;
mod run;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_model::filter::{Filter, Matcher};
use heliograph_model::record::{Record, RecordKey};
use heliograph_model::scan::{CommitId, Order, Pursuit, Want};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use heliograph_store::Store;
use heliograph_store::segment::ScanStats;
use uuid::Uuid;

use crate::access::Scope;
use crate::error::{Error, Result};
use crate::hot::{Client, Indexers};
use crate::lists::Lists;
use crate::metrics::Metrics;
use crate::plan;
use crate::segments::Segments;
use crate::turns::{Turn, Turns};

pub(crate) use counts::{Width, slot_name};
pub(crate) use explain::{Plan, histogram_want};
pub(crate) use gap::Gap;
pub(crate) use pager::Pager;
use run::Run;
pub(crate) use watch::{Progress, Watch};

/// How long a search waits for its turn before it is told to come back: a page asks several things at once.
const TURN_WAIT: Duration = Duration::from_secs(2);

/// What is asked, without who asks.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Event times.
    pub(crate) range: TimeRange,
    /// Which records.
    pub(crate) filter: Filter,
    matcher: Arc<Matcher>,
}

impl Question {
    /// Compiles the filter.
    pub(crate) fn new(range: TimeRange, filter: Filter) -> Result<Self> {
        let matcher = Matcher::new(&filter).map_err(|e| Error::invalid(e.to_string()))?;
        Ok(Self { range, filter, matcher: Arc::new(matcher) })
    }

    /// Whether an end of its time is where the records end.
    fn is_open(&self) -> bool {
        self.range.start == Timestamp::MIN || self.range.end == Timestamp::MAX
    }
}

/// What an answer cost and what it lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What was read.
    pub(crate) stats: ScanStats,
    /// Indexers for which nobody answered: their fresh records are missing.
    pub(crate) unreachable: BTreeSet<String>,
    /// Those of them that the catalog names.
    pub(crate) missing: BTreeSet<Uuid>,
    /// Segments that could not be read, because they are damaged.
    pub(crate) damaged: u64,
    /// The newest commit that each indexer's answer for a tenant may hold.
    pub(crate) seen: BTreeMap<(TenantId, Uuid), CommitId>,
}

impl Outcome {
    /// Whether nothing is missing.
    pub(crate) fn is_complete(&self) -> bool {
        self.unreachable.is_empty() && self.damaged == 0
    }

    /// Adds another part's.
    pub(crate) fn merge(&mut self, other: Self) {
        self.stats.segments += other.stats.segments;
        self.stats.blocks += other.stats.blocks;
        self.stats.bytes += other.stats.bytes;
        self.unreachable.extend(other.unreachable);
        self.missing.extend(other.missing);
        self.damaged += other.damaged;
        self.seen.extend(other.seen);
    }
}

/// A place between two records of several tenants, whose keys may be equal: then the tenants' names decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The last record's key.
    pub(crate) key: RecordKey,
    /// The last record's tenant.
    pub(crate) tenant: TenantId,
}

/// Records in order, and where to go on.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// The records with their tenants.
    pub(crate) records: Vec<(TenantId, Record)>,
    /// Where the next page begins; none where there is nothing more.
    pub(crate) next: Option<Place>,
    /// Where time was over before all was searched: all that comes before this time is.
    pub(crate) searched_to: Option<Timestamp>,
    /// What it cost.
    pub(crate) outcome: Outcome,
}

/// Everything that a search stands on.
pub(crate) struct Search {
    store: Store,
    indexers: Indexers,
    segments: Segments,
    lists: Lists,
    metrics: Metrics,
    turns: Turns,
    timeout: Duration,
    /// Segments of one question that are read at the same time: the work is CPU work, so more would only wait.
    cores: usize,
}

impl Search {
    /// Over a store and its indexers, which are asked with `client`.
    pub(crate) fn new(config: &crate::Config, store: Store, client: Client, metrics: Metrics) -> Self {
        Self {
            indexers: Indexers::new(
                &config.indexers,
                Arc::clone(&store.catalog),
                client,
                config.cluster_token.clone(),
            ),
            segments: Segments::new(config, store.clone(), metrics.clone()),
            lists: Lists::default(),
            store,
            metrics,
            turns: Turns::new(config.search_concurrency),
            timeout: config.search_timeout,
            cores: std::thread::available_parallelism().map_or(2, usize::from),
        }
    }

    /// Makes ready for the first questions: opens what most will look at, for so long at most.
    pub(crate) async fn warm(&self, within: Duration) {
        if tokio::time::timeout(within, self.segments.warm(self.cores)).await.is_err() {
            tracing::info!("not all of the newest segments were opened beforehand");
        }
    }

    /// The indexers, for live tails.
    pub(crate) fn indexers(&self) -> &Indexers {
        &self.indexers
    }

    /// Runs a caller's question when it is its turn, and not for longer than a search may take.
    pub(crate) async fn in_turn<T>(&self, scope: &Scope, work: impl Future<Output = Result<T>>) -> Result<T> {
        let turn = tokio::time::timeout(TURN_WAIT, self.turn(scope))
            .await
            .map_err(|_| Error::Busy { what: "searches" })??;
        self.timed(turn, work).await
    }

    /// The same for work that may wait longer for its turn: a page of an export, the backlog of a tail.
    pub(crate) async fn in_turn_patiently<T>(
        &self,
        scope: &Scope,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let turn = self.turn(scope).await?;
        self.timed(turn, work).await
    }

    async fn turn(&self, scope: &Scope) -> Result<Turn> {
        let begun = Instant::now();
        let turn = self.turns.take(&scope.principal().name(), scope.tenants()).await;
        self.metrics.search_waiting.set(i64::try_from(self.turns.waiting()).unwrap_or(i64::MAX));
        self.metrics.search_wait_seconds.observe(begun.elapsed().as_secs_f64());
        turn
    }

    async fn timed<T>(&self, turn: Turn, work: impl Future<Output = Result<T>>) -> Result<T> {
        let begun = Instant::now();
        let done = tokio::time::timeout(self.timeout, Box::pin(work)).await;
        drop(turn);
        self.metrics.search_seconds.observe(begun.elapsed().as_secs_f64());
        done.map_err(|_| Error::Timeout { limit: self.timeout })?
    }

    /// The first `limit` records in `order`, after a place where given.
    pub(crate) async fn records(
        &self,
        scope: &Scope,
        question: &Question,
        order: Order,
        limit: usize,
        after: Option<&Place>,
    ) -> Result<Page> {
        self.watched(scope, question, order, limit, after, &Arc::default()).await
    }

    /// The same under watch: where its time is over before all is searched, the page says how far it came.
    pub(crate) async fn watched(
        &self,
        scope: &Scope,
        question: &Question,
        order: Order,
        limit: usize,
        after: Option<&Place>,
        watch: &Arc<Watch>,
    ) -> Result<Page> {
        // One more than wanted tells whether there is another page.
        let want = Want::Records { order, limit: limit + 1, after: after.map(|place| place.key) };
        let first = || self.first(scope, question, &want, after, Pursuit::new(&want), watch);
        let mut page = self.again_if_gone(scope.tenants(), first).await?;
        if page.outcome.damaged > 0 {
            // What a segment found before it turned out to be damaged has bounded the others: without that.
            page = self.first(scope, question, &want, after, Pursuit::unbounded(), watch).await?;
        }
        if let Some(edge) = watch.progress().and_then(|progress| progress.searched_to) {
            // Behind that, better ones may lie in what was not searched: the next page begins there.
            page.records.retain(|(_, record)| plan::is_ahead(order, record.time, edge));
            page.searched_to = Some(edge);
            let last = scope.tenants().last();
            page.next = last.map(|last| Place { key: plan::ahead_of(order, edge), tenant: last.clone() });
        }
        if page.records.len() > limit {
            page.records.truncate(limit);
            page.searched_to = None;
            page.next = page.records.last().map(|(t, r)| Place { key: r.key(), tenant: t.clone() });
        }
        self.counted(&page.outcome, page.records.len());
        Ok(page)
    }

    async fn first(
        &self,
        scope: &Scope,
        question: &Question,
        want: &Want,
        after: Option<&Place>,
        pursuit: Arc<Pursuit>,
        watch: &Arc<Watch>,
    ) -> Result<Page> {
        let _ends = pursuit.ends_when_dropped();
        let after_tenant = after.map(|place| place.tenant.clone());
        let run =
            Run::new(self, question, scope.tenants(), want.clone(), after_tenant, &pursuit).watched_by(watch);
        let Want::Records { order, limit, .. } = want else { return Ok(Page::default()) };
        if run.is_empty() {
            return Ok(Page::default());
        }
        let mut outcome = Outcome::default();
        let parts = run.parts(&mut outcome).await?;
        let first = run.first(*order, *limit, parts, &mut outcome).await?;
        Ok(Page { records: first.into_records(), outcome, ..Page::default() })
    }

    /// Does work again, once, if it meets a segment that is gone: the list that named it was a moment old.
    async fn again_if_gone<T, F: Future<Output = Result<T>>>(
        &self,
        tenants: &[TenantId],
        work: impl Fn() -> F,
    ) -> Result<T> {
        match work().await {
            Err(Error::Store(error)) if error.is_gone() => {
                self.lists.forget(tenants);
                work().await
            }
            done => done,
        }
    }

    fn counted(&self, outcome: &Outcome, records: usize) {
        self.metrics.records.inc_by(u64::try_from(records).unwrap_or(u64::MAX));
        if !outcome.is_complete() {
            self.metrics.incomplete.inc();
        }
    }
}

#[cfg(test)]
mod tests;
