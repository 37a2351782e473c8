//! Runs questions over hot and sealed parts of every tenant of a [`Scope`], and merges what they answer.
//!
//! All methods are safe to drop half-way: that is how a client's leaving ends a search.

mod context;
mod counts;
mod pager;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use futures::stream::{self, StreamExt, TryStreamExt};
use heliograph_model::filter::{Filter, Matcher};
use heliograph_model::record::{Record, RecordKey};
use heliograph_model::scan::{Answer, Collector, CommitId, HotHead, Order, Scan, Want};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use heliograph_store::Store;
use heliograph_store::catalog::SegmentMeta;
use heliograph_store::segment::ScanStats;
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use crate::access::Scope;
use crate::error::{Error, Result};
use crate::hot::Indexers;
use crate::metrics::Metrics;
use crate::plan;
use crate::segments::Segments;

pub(crate) use counts::{Width, slot_name};
pub(crate) use pager::Pager;

/// Tenants of one question that are read at the same time.
const TENANTS_AT_ONCE: usize = 8;
/// Segments of one tenant that are counted at the same time.
const SEGMENTS_AT_ONCE: usize = 4;
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

    fn scan(&self, tenant: &TenantId, want: Want) -> Scan {
        Scan {
            tenant: tenant.clone(),
            range: self.range,
            filter: self.filter.clone(),
            committed_after: None,
            want,
        }
    }
}

/// What an answer cost and what it lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What was read.
    pub(crate) stats: ScanStats,
    /// Indexers that did not answer: their fresh records are missing.
    pub(crate) unreachable: BTreeSet<String>,
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

impl Place {
    /// The key after which a tenant's records come.
    fn of_tenant(&self, tenant: &TenantId, order: Order) -> RecordKey {
        match order {
            _ if *tenant <= self.tenant => self.key,
            Order::Desc => plan::behind(self.key),
            Order::Asc => plan::before(self.key),
        }
    }
}

/// Records in order, and where to go on.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// The records with their tenants.
    pub(crate) records: Vec<(TenantId, Record)>,
    /// Where the next page begins; none where there is nothing more.
    pub(crate) next: Option<Place>,
    /// What it cost.
    pub(crate) outcome: Outcome,
}

/// Everything that a search stands on.
pub(crate) struct Search {
    store: Store,
    indexers: Indexers,
    segments: Segments,
    metrics: Metrics,
    turns: Semaphore,
    timeout: Duration,
}

impl Search {
    /// Over a store and its indexers.
    pub(crate) fn new(config: &crate::Config, store: Store, metrics: Metrics) -> Result<Self> {
        Ok(Self {
            indexers: Indexers::new(&config.indexers, config.cluster_token.clone())?,
            segments: Segments::new(store.clone(), metrics.clone()),
            store,
            metrics,
            turns: Semaphore::new(config.search_concurrency.max(1)),
            timeout: config.search_timeout,
        })
    }

    /// The indexers, for live tails.
    pub(crate) fn indexers(&self) -> &Indexers {
        &self.indexers
    }

    /// Runs a question when there is room, and not for longer than a search may take.
    pub(crate) async fn in_turn<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let turn = tokio::time::timeout(TURN_WAIT, self.turn())
            .await
            .map_err(|_| Error::Busy { what: "searches" })??;
        self.timed(turn, work).await
    }

    /// The same for work that may wait longer for its turn: a page of an export, the backlog of a tail.
    pub(crate) async fn in_turn_patiently<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let turn = self.turn().await?;
        self.timed(turn, work).await
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        self.turns.acquire().await.map_err(|e| Error::server("taking turns", e))
    }

    async fn timed<T>(&self, turn: SemaphorePermit<'_>, work: impl Future<Output = Result<T>>) -> Result<T> {
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
        let mut page = Page::default();
        let mut question = question.clone();
        for group in scope.tenants().chunks(TENANTS_AT_ONCE) {
            let asked = group.iter().map(|tenant| {
                let after = after.map(|place| place.of_tenant(tenant, order));
                // One more than wanted tells whether there is another page.
                let scan = question.scan(tenant, Want::Records { order, limit: limit + 1, after });
                let matcher = Arc::clone(&question.matcher);
                async move { Ok::<_, Error>((tenant, self.ask(scan, &matcher).await?)) }
            });
            for (tenant, (answer, outcome)) in try_join_all(asked).await? {
                page.outcome.merge(outcome);
                if let Answer::Records(records) = answer {
                    page.records.extend(records.into_iter().map(|r| (tenant.clone(), r)));
                }
            }
            page.records.sort_by(|(t1, r1), (t2, r2)| {
                let keys = r1.key().cmp(&r2.key());
                if order == Order::Desc { keys.reverse() } else { keys }.then_with(|| t1.cmp(t2))
            });
            page.records.truncate(limit + 1);
            // The other tenants need not look behind the last record that is held.
            if let Some((_, worst)) = page.records.get(limit) {
                match order {
                    Order::Desc => question.range.start = question.range.start.max(worst.time),
                    Order::Asc => {
                        question.range.end = question.range.end.min(worst.time.saturating_add_nanos(1));
                    }
                }
            }
        }
        if page.records.len() > limit {
            page.records.truncate(limit);
            page.next = page.records.last().map(|(t, r)| Place { key: r.key(), tenant: t.clone() });
        }
        self.counted(&page.outcome, page.records.len());
        Ok(page)
    }

    fn counted(&self, outcome: &Outcome, records: usize) {
        self.metrics.records.inc_by(u64::try_from(records).unwrap_or(u64::MAX));
        if !outcome.is_complete() {
            self.metrics.incomplete.inc();
        }
    }

    /// What all parts of one tenant answer to a scan. The hot parts come first: see [`plan`].
    async fn ask(&self, mut scan: Scan, matcher: &Arc<Matcher>) -> Result<(Answer, Outcome)> {
        scan.range = plan::reach(&scan);
        let mut collector = Collector::new(&scan);
        let mut outcome = Outcome::default();
        if scan.range.is_empty() {
            return Ok((collector.finish(), outcome));
        }
        let mut heads: Vec<HotHead> = Vec::new();
        let hot = self.indexers.all().iter().map(|indexer| self.indexers.scan(indexer, &scan));
        for (indexer, answered) in self.indexers.all().iter().zip(join_all(hot).await) {
            match answered {
                Ok((head, answer)) => {
                    if let Some(id) = indexer.id() {
                        outcome.seen.insert((scan.tenant.clone(), id), head.committed);
                    }
                    heads.push(head);
                    collector.merge(answer);
                }
                Err(error) => {
                    tracing::warn!(
                        indexer = indexer.name,
                        error = &error as &dyn std::error::Error,
                        "an indexer gave no answer"
                    );
                    outcome.unreachable.insert(indexer.name.clone());
                }
            }
        }
        let sealed = self.store.catalog.segments(&scan.tenant, &scan.range).await?;
        let sealed = plan::segments(sealed, &plan::watermarks(&heads), &scan.want);
        let collector = match scan.want {
            Want::Records { .. } | Want::Around { .. } => {
                self.in_order(&scan, matcher, collector, sealed, &mut outcome).await?
            }
            Want::Histogram { .. } | Want::Values { .. } | Want::Fields => {
                self.side_by_side(&scan, matcher, collector, sealed, &mut outcome).await?
            }
        };
        Ok((collector.finish(), outcome))
    }

    /// Reads segments one after another, leaving out those that cannot add to what is held.
    async fn in_order(
        &self,
        scan: &Scan,
        matcher: &Arc<Matcher>,
        mut collector: Collector,
        sealed: Vec<SegmentMeta>,
        outcome: &mut Outcome,
    ) -> Result<Collector> {
        for meta in sealed {
            if !plan::may_add(&collector, &scan.want, meta.first, meta.last) {
                continue;
            }
            // A collector of its own, so that what is held survives a segment that cannot be read.
            if let Some(answer) = self.one(scan, matcher, &meta, outcome, collector.full_at()).await? {
                collector.merge(answer);
            }
        }
        Ok(collector)
    }

    async fn side_by_side(
        &self,
        scan: &Scan,
        matcher: &Arc<Matcher>,
        collector: Collector,
        sealed: Vec<SegmentMeta>,
        outcome: &mut Outcome,
    ) -> Result<Collector> {
        let parts = stream::iter(sealed).map(|meta| async move {
            let mut outcome = Outcome::default();
            let answer = self.one(scan, matcher, &meta, &mut outcome, None).await?;
            Ok::<_, Error>((answer, outcome))
        });
        let folded = parts.buffer_unordered(SEGMENTS_AT_ONCE).try_fold(
            (collector, Outcome::default()),
            |(mut collector, mut all), (answer, part)| async move {
                if let Some(answer) = answer {
                    collector.merge(answer);
                }
                all.merge(part);
                Ok((collector, all))
            },
        );
        let (collector, all) = folded.await?;
        outcome.merge(all);
        Ok(collector)
    }

    /// What one segment answers; none where it is damaged, which the outcome says.
    async fn one(
        &self,
        scan: &Scan,
        matcher: &Arc<Matcher>,
        meta: &SegmentMeta,
        outcome: &mut Outcome,
        full_at: Option<RecordKey>,
    ) -> Result<Option<Answer>> {
        let narrowed = narrowed(scan, full_at);
        let scan = narrowed.as_ref().unwrap_or(scan);
        let read = async {
            let segment = self.segments.open(meta).await?;
            let collector = Collector::new(scan);
            Ok::<_, Error>(segment.scan(scan, matcher, collector, &mut outcome.stats).await?)
        };
        match read.await {
            Ok(collector) => Ok(Some(collector.finish())),
            Err(Error::Store(
                error @ (heliograph_store::Error::Corrupt { .. } | heliograph_store::Error::Key { .. }),
            )) => {
                tracing::error!(segment = %meta.id, error = &error as &dyn std::error::Error, "a segment cannot be read");
                outcome.damaged += 1;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Records of one indexer's segments committed after one commit and up to another, oldest first: what a
    /// tail that resumes reads, as the feed does not bring it. The segments are those sealed up to `through`,
    /// so the answer to the same question stays the same.
    pub(crate) async fn sealed_between(
        &self,
        scope: &Scope,
        question: &Question,
        gap: &Gap,
        limit: usize,
    ) -> Result<Vec<Record>> {
        if !scope.tenants().contains(&gap.tenant) {
            return Err(Error::Forbidden);
        }
        let want = Want::Records { order: Order::Asc, limit, after: gap.read_to };
        let mut scan = question.scan(&gap.tenant, want);
        scan.committed_after = Some(gap.after);
        scan.range = plan::reach(&scan);
        let sealed = self.store.catalog.segments(&gap.tenant, &scan.range).await?;
        let sealed = sealed.into_iter().filter(|s| {
            s.indexer == gap.indexer && s.commits_after < gap.through && s.commits_through > gap.after
        });
        let sealed = plan::segments(sealed.collect(), &HashMap::new(), &scan.want);
        let mut outcome = Outcome::default();
        let collector = Collector::new(&scan);
        let collector = self.in_order(&scan, &question.matcher, collector, sealed, &mut outcome).await?;
        match collector.finish() {
            Answer::Records(records) => Ok(records),
            _ => Ok(Vec::new()),
        }
    }
}

/// A stretch of one indexer's commits that is sealed.
#[derive(Clone, Debug)]
pub(crate) struct Gap {
    /// Whose records.
    pub(crate) tenant: TenantId,
    /// Sealed by whom.
    pub(crate) indexer: Uuid,
    /// Committed after this…
    pub(crate) after: CommitId,
    /// … and up to this, which is the end of a segment.
    pub(crate) through: CommitId,
    /// Up to this place it was read already.
    pub(crate) read_to: Option<RecordKey>,
}

/// The scan without the times behind a place where enough is held already.
fn narrowed(scan: &Scan, full_at: Option<RecordKey>) -> Option<Scan> {
    let (full_at, Want::Records { order, .. }) = (full_at?, &scan.want) else { return None };
    let reach = match order {
        Order::Desc => TimeRange { start: full_at.time, end: Timestamp::MAX },
        Order::Asc => TimeRange { start: Timestamp::MIN, end: full_at.time.saturating_add_nanos(1) },
    };
    Some(Scan { range: scan.range.intersect(&reach), ..scan.clone() })
}

#[cfg(test)]
mod tests;
