//! One question under way: which parts answer it, and what each of them answers.
//!
//! Every hot part is asked once for all tenants, then the segments of all tenants are read, the most promising
//! first and as many at a time as there are cores. What was found anywhere bounds what is looked at elsewhere.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use heliograph_model::filter::Matcher;
use heliograph_model::record::RecordKey;
use heliograph_model::scan::{Answer, Collector, CommitId, Foremost, Order, Pursuit, Scan, Scans, Want};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use heliograph_store::catalog::SegmentMeta;
use heliograph_store::layout::ObjectId;
use parking_lot::Mutex;

use super::glance::{self, Glanced};
use super::watch::Watch;
use super::{Outcome, Question, Search};
use crate::error::{Error, Result};
use crate::hot::{Found, Head, Indexer, Silent};
use crate::plan;

/// Tenants of one request to an indexer: so many names and a long filter fit into what it takes.
const TENANTS_AT_ONCE: usize = 1_000;

/// Up to which commit a segment is read, where it is not read whole.
pub(super) type ReadThrough = HashMap<ObjectId, CommitId>;

/// What answers a question.
#[derive(Default)]
pub(super) struct Parts {
    /// What the hot parts answered.
    pub(super) hot: Vec<Found>,
    /// The segments to read beside them, in order.
    pub(super) sealed: Vec<SegmentMeta>,
    /// Up to which commit those of them are read that are not read whole.
    pub(super) read_through: ReadThrough,
    /// What the indexes of some of these answered by themselves.
    pub(super) glanced: Glanced,
}

/// One question under way.
pub(super) struct Run<'a> {
    search: &'a Search,
    scans: Scans,
    by_tenant: Arc<HashMap<TenantId, Scan>>,
    matcher: Arc<Matcher>,
    pursuit: Arc<Pursuit>,
    watch: Arc<Watch>,
}

impl<'a> Run<'a> {
    /// A question about these tenants. Who holds the pursuit ends it.
    pub(super) fn new(
        search: &'a Search,
        question: &Question,
        tenants: &[TenantId],
        want: Want,
        after_tenant: Option<TenantId>,
        pursuit: &Arc<Pursuit>,
    ) -> Self {
        let mut scans = Scans {
            tenants: tenants.to_vec(),
            range: question.range,
            filter: question.filter.clone(),
            committed_after: None,
            want,
            after_tenant,
        };
        // The last tenant by name is the one that begins first.
        let widest = tenants.iter().max().map_or_else(|| scans.want.clone(), |last| scans.of(last).want);
        scans.range = plan::reach(question.range, &question.filter, &widest);
        Self::of(search, scans, &question.matcher, pursuit)
    }

    /// The same for scans that are made already.
    pub(super) fn of(
        search: &'a Search,
        scans: Scans,
        matcher: &Arc<Matcher>,
        pursuit: &Arc<Pursuit>,
    ) -> Self {
        let by_tenant = scans.tenants.iter().map(|tenant| (tenant.clone(), scans.of(tenant))).collect();
        let by_tenant = Arc::new(by_tenant);
        Self {
            search,
            scans,
            by_tenant,
            matcher: Arc::clone(matcher),
            pursuit: Arc::clone(pursuit),
            watch: Arc::default(),
        }
    }

    /// The same under watch.
    pub(super) fn watched_by(self, watch: &Arc<Watch>) -> Self {
        Self { watch: Arc::clone(watch), ..self }
    }

    /// Whether nothing can match.
    pub(super) fn is_empty(&self) -> bool {
        self.scans.range.is_empty() || self.scans.tenants.is_empty()
    }

    /// What all hot parts answer, and the segments to read beside them, in order. The hot parts come first:
    /// see [`plan`]. What the indexes of segments say may be heard meanwhile.
    pub(super) async fn parts(&self, outcome: &mut Outcome) -> Result<Parts> {
        let early = async {
            if !glance::is_quick(&self.scans.filter) {
                return Glanced::new();
            }
            let known = self.search.lists.peek(&self.scans.tenants, &self.scans.range);
            let known = plan::in_order(known, &self.scans.want);
            let first = known.iter().take(glance::AT_ONCE).collect();
            glance::glance(&self.search.segments, first, &self.by_tenant).await
        };
        let ((heads, hot), mut glanced) = tokio::join!(self.hot(outcome), early);
        let sealed = self.sealed(&heads).await?;
        let through = |meta: &SegmentMeta| Some((meta.id, plan::read_through(meta, &heads)?));
        let read_through: ReadThrough = sealed.iter().filter_map(through).collect();
        // What was heard early is of whole segments.
        glanced.retain(|id, _| !read_through.contains_key(id));
        Ok(Parts { hot, sealed, read_through, glanced })
    }

    async fn hot(&self, outcome: &mut Outcome) -> (Vec<Head>, Vec<Found>) {
        let groups: Vec<Scans> = self
            .scans
            .tenants
            .chunks(TENANTS_AT_ONCE)
            .map(|tenants| Scans { tenants: tenants.to_vec(), ..self.scans.clone() })
            .collect();
        let indexers = &self.search.indexers;
        let (mut heads, mut all) = (Vec::new(), Vec::new());
        let listed = match indexers.all().await {
            Ok(listed) => listed,
            Err(error) => {
                silent("catalog", &error, outcome);
                return (heads, all);
            }
        };
        let processes = listed.chunk_by(Indexer::is_with);
        let asked = processes.flat_map(|of| groups.iter().map(move |scans| (of, scans)));
        let answers = asked.map(|(of, scans)| async move { (of, indexers.scan(of, scans).await) });
        for (of, answered) in join_all(answers).await {
            match answered {
                Ok((answered, found)) => {
                    let is_missing = |indexer: &&Indexer| {
                        indexer.id().is_none_or(|id| answered.iter().all(|head| head.indexer != id))
                    };
                    for indexer in of.iter().filter(is_missing) {
                        silent(&indexer.name, &Silent::Elsewhere, outcome);
                        outcome.missing.extend(indexer.registered());
                    }
                    for head in &answered {
                        let seen = head.sealed_through.keys();
                        let seen = seen.map(|tenant| ((tenant.clone(), head.indexer), head.committed));
                        outcome.seen.extend(seen);
                    }
                    heads.extend(answered);
                    all.push(found);
                }
                Err(error) => {
                    of.iter().for_each(|indexer| silent(&indexer.name, &error, outcome));
                    outcome.missing.extend(of.iter().filter_map(Indexer::registered));
                }
            }
        }
        (heads, all)
    }

    async fn sealed(&self, heads: &[Head]) -> Result<Vec<SegmentMeta>> {
        let catalog = &self.search.store.catalog;
        let read = |tenants: Vec<TenantId>, range| async move {
            Ok::<_, Error>(catalog.segments_of(&tenants, &range).await?)
        };
        let Scans { tenants, range, .. } = &self.scans;
        let listed = self.search.lists.of(tenants, heads, range, read).await?;
        let read = listed.into_iter().filter(|segment| plan::is_read(segment, heads)).collect();
        Ok(plan::in_order(read, &self.scans.want))
    }

    /// The first records of hot answers and segments, for [`Want::Records`].
    pub(super) async fn first(
        &self,
        order: Order,
        limit: usize,
        Parts { hot, sealed, read_through, glanced }: Parts,
        outcome: &mut Outcome,
    ) -> Result<Foremost> {
        let mut first = Foremost::new(order, limit);
        for (tenant, record) in hot.into_iter().flat_map(Found::into_records) {
            self.pursuit.note(&tenant, record.key());
            first.add(&tenant, record);
        }
        let first = Mutex::new(first);
        let take = |meta: &SegmentMeta, answer| {
            if let Answer::Records(records) = answer {
                first.lock().extend(&meta.tenant, records);
            }
        };
        outcome.merge(self.each(sealed, &read_through, glanced, take).await?);
        Ok(first.into_inner())
    }

    /// Counts of hot answers and segments together.
    pub(super) async fn counted(
        &self,
        Parts { hot, sealed, read_through, glanced }: Parts,
        outcome: &mut Outcome,
    ) -> Result<Answer> {
        let mut counts = Collector::of(&self.scans.want);
        for found in hot {
            if let Found::Counts(answer) = found {
                counts.merge(answer);
            }
        }
        let counts = Mutex::new(counts);
        let take = |_: &SegmentMeta, answer| counts.lock().merge(answer);
        outcome.merge(self.each(sealed, &read_through, glanced, take).await?);
        Ok(counts.into_inner().finish())
    }

    /// Reads segments side by side, in their order, and leaves out those that have nothing to add by then.
    async fn each(
        &self,
        sealed: Vec<SegmentMeta>,
        read_through: &ReadThrough,
        mut glanced: Glanced,
        take: impl Fn(&SegmentMeta, Answer),
    ) -> Result<Outcome> {
        let mut all = Outcome::default();
        if let Want::Records { order, .. } = &self.scans.want {
            self.watch.begin(*order, &self.scans.range, &sealed);
        }
        for (batch, begin) in sealed.chunks(glance::AT_ONCE).zip((0..).step_by(glance::AT_ONCE)) {
            if self.watch.is_over(begin) {
                break;
            }
            if glance::is_quick(&self.scans.filter) {
                let is_unseen = |meta: &&SegmentMeta| {
                    !glanced.contains_key(&meta.id)
                        && !read_through.contains_key(&meta.id)
                        && self.may_add(meta)
                };
                let unseen = batch.iter().filter(is_unseen).collect();
                glanced.extend(glance::glance(&self.search.segments, unseen, &self.by_tenant).await);
            }
            let mut left = Vec::new();
            for (meta, number) in batch.iter().zip(begin..) {
                if let Some(answer) = glanced.remove(&meta.id) {
                    all.stats.segments += 1;
                    take(meta, answer);
                    self.watch.finish(number);
                } else {
                    left.push((number, meta.clone()));
                }
            }
            let take = &take;
            let parts = stream::iter(left).map(|(number, meta)| async move {
                let mut outcome = Outcome::default();
                if self.watch.is_over(number) {
                    return Ok(outcome);
                }
                if let Some(scan) = self.by_tenant.get(&meta.tenant).filter(|_| self.may_add(&meta)) {
                    let collector = Collector::within(scan, &self.pursuit);
                    let part = (&meta, read_through.get(&meta.id).copied());
                    if let Some(answer) = self.segment(scan, part, collector, &mut outcome).await? {
                        take(&meta, answer);
                    }
                }
                self.watch.finish(number);
                Ok::<_, Error>(outcome)
            });
            let parts = parts.buffer_unordered(self.search.cores);
            all = parts
                .try_fold(all, |mut all, part| async move {
                    all.merge(part);
                    Ok(all)
                })
                .await?;
        }
        Ok(all)
    }

    /// Whether a segment may hold anything that is still wanted.
    fn may_add(&self, meta: &SegmentMeta) -> bool {
        self.by_tenant.get(&meta.tenant).is_some_and(|scan| {
            plan::may_add(&Collector::within(scan, &self.pursuit), &scan.want, meta.first, meta.last)
        })
    }

    /// The records around a place, for [`Want::Around`] of one tenant: one segment after another, from the place
    /// on, until both sides are filled.
    pub(super) async fn around(
        &self,
        tenant: &TenantId,
        Parts { hot, sealed, read_through, .. }: Parts,
        outcome: &mut Outcome,
    ) -> Result<Answer> {
        let Some(scan) = self.by_tenant.get(tenant) else { return Ok(Answer::Records(Vec::new())) };
        let mut collector = Collector::within(scan, &self.pursuit);
        let records = hot.into_iter().flat_map(Found::into_records).map(|(_, record)| record);
        collector.merge(Answer::Records(records.collect()));
        for meta in sealed {
            if !plan::may_add(&collector, &scan.want, meta.first, meta.last) {
                continue;
            }
            let own = Collector::within(scan, &self.pursuit);
            // A collector of its own, so that what is held survives a segment that cannot be read.
            let part = (&meta, read_through.get(&meta.id).copied());
            if let Some(answer) = self.segment(scan, part, own, outcome).await? {
                collector.merge(answer);
            }
        }
        Ok(collector.finish())
    }

    /// What one segment answers, up to a commit where given; none where it is damaged, which the outcome says.
    async fn segment(
        &self,
        scan: &Scan,
        (meta, committed_through): (&SegmentMeta, Option<CommitId>),
        collector: Collector,
        outcome: &mut Outcome,
    ) -> Result<Option<Answer>> {
        let range = narrowed(scan, collector.full_at());
        let bounded = (range != scan.range || committed_through.is_some()).then(|| Scan {
            range,
            committed_through,
            ..scan.clone()
        });
        let scan = bounded.as_ref().unwrap_or(scan);
        let read = async {
            let segment = self.search.segments.open(meta).await?;
            Ok::<_, Error>(segment.scan(scan, &self.matcher, collector, &mut outcome.stats).await?)
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
}

fn silent(name: &str, error: &Silent, outcome: &mut Outcome) {
    tracing::warn!(indexer = name, error = error as &dyn std::error::Error, "an indexer gave no answer");
    outcome.unreachable.insert(name.to_owned());
}

/// The scan's times without those behind a place where enough is held already.
fn narrowed(scan: &Scan, full_at: Option<RecordKey>) -> TimeRange {
    let (Some(full_at), Want::Records { order, .. }) = (full_at, &scan.want) else { return scan.range };
    scan.range.intersect(&match order {
        Order::Desc => TimeRange { start: full_at.time, end: Timestamp::MAX },
        Order::Asc => TimeRange { start: Timestamp::MIN, end: full_at.time.saturating_add_nanos(1) },
    })
}
