//! Which segments each tenant has, kept for a moment, so that most questions need not ask the catalog.
//!
//! A kept list and the hot answers must together hold every record. Of one indexer, whose head for a tenant says
//! `sealed_through = W`, the hot answer holds all that was committed after `W`: the list must hold the rest. It
//! does when it *reaches* `W`, for one of two reasons:
//!
//! - it has a segment of that indexer through some `X >= W`: the catalog takes a tenant's segments of one indexer
//!   in the order of their commits only, and merges them in one step, so whoever sees that segment sees all before
//!   it; or
//! - it was read after another head had come that said some `X >= W`: an indexer lets hot records go only when
//!   the catalog has their segment, so the list was read when everything up to `X` was published.
//!
//! A list that does not reach a head is read anew. What the list has beyond the head is in the hot answer, and
//! left out by [`plan::is_read`](crate::plan::is_read) and [`plan::read_through`](crate::plan::read_through).
//!
//! A list may name segments that are gone: compaction, retention and erasure delete them. Therefore it is kept
//! for a moment only, and who meets a missing object forgets the lists and begins again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::TimeRange;
use heliograph_store::catalog::SegmentMeta;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::error::Result;
use crate::hot::Head;

/// How long a list is used: what is erased or expired is no longer read after that.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(1);
/// Segments of one tenant that are kept. Of more, each question asks for those of its own times.
const LONG: usize = 10_000;
/// How long a tenant is known to have so many.
const LONG_FOR: Duration = Duration::from_secs(60);
/// Segments of all lists together, about 200 bytes each.
const SEGMENTS_MAX: usize = 100_000;
/// Tenants with a list, however short.
const TENANTS_MAX: usize = 10_000;

struct List {
    /// None where there are too many to keep.
    segments: Option<Arc<[SegmentMeta]>>,
    reaches: HashMap<Uuid, CommitId>,
    read: Instant,
}

/// The lists that were read a moment ago.
#[derive(Default)]
pub(crate) struct Lists {
    kept: Mutex<HashMap<TenantId, List>>,
}

/// What the lists say now.
struct Known {
    segments: Vec<SegmentMeta>,
    /// Tenants whose list must be read.
    unknown: Vec<TenantId>,
    /// Tenants of whom only the segments of the range are read.
    long: Vec<TenantId>,
}

impl Lists {
    /// The segments of these tenants that touch a range; beside hot answers with these heads, nothing is missing.
    /// `read` asks the catalog.
    pub(crate) async fn of<F: Future<Output = Result<Vec<SegmentMeta>>>>(
        &self,
        tenants: &[TenantId],
        heads: &[Head],
        range: &TimeRange,
        read: impl Fn(Vec<TenantId>, TimeRange) -> F,
    ) -> Result<Vec<SegmentMeta>> {
        let Known { mut segments, unknown, long } = self.known(tenants, heads, range);
        if !unknown.is_empty() {
            let begun = Instant::now();
            let found = read(unknown.clone(), TimeRange::ALL).await?;
            segments.extend(found.iter().filter(|s| range.touches(s.first, s.last)).cloned());
            self.keep(unknown, found, heads, begun);
        }
        if !long.is_empty() {
            segments.extend(read(long, *range).await?);
        }
        Ok(segments)
    }

    /// The segments of these tenants that touch a range, as far as they are known without asking: what may be
    /// looked at already while others are still to answer.
    pub(crate) fn peek(&self, tenants: &[TenantId], range: &TimeRange) -> Vec<SegmentMeta> {
        self.known(tenants, &[], range).segments
    }

    /// Forgets these tenants' lists: one of their segments is gone.
    pub(crate) fn forget(&self, tenants: &[TenantId]) {
        let mut kept = self.kept.lock();
        for tenant in tenants {
            kept.remove(tenant);
        }
    }

    /// Forgets all lists.
    pub(crate) fn forget_all(&self) {
        self.kept.lock().clear();
    }

    fn known(&self, tenants: &[TenantId], heads: &[Head], range: &TimeRange) -> Known {
        let mut known = Known { segments: Vec::new(), unknown: Vec::new(), long: Vec::new() };
        let kept = self.kept.lock();
        for tenant in tenants {
            match kept.get(tenant) {
                Some(List { segments: None, read, .. }) if read.elapsed() < LONG_FOR => {
                    known.long.push(tenant.clone());
                }
                Some(list) if list.read.elapsed() < KEPT_FOR && list.reaches(tenant, heads) => {
                    let inside = list.segments.iter().flat_map(|all| all.iter());
                    known.segments.extend(inside.filter(|s| range.touches(s.first, s.last)).cloned());
                }
                _ => known.unknown.push(tenant.clone()),
            }
        }
        known
    }

    fn keep(&self, tenants: Vec<TenantId>, found: Vec<SegmentMeta>, heads: &[Head], begun: Instant) {
        let mut by_tenant: HashMap<TenantId, Vec<SegmentMeta>> =
            tenants.into_iter().map(|tenant| (tenant, Vec::new())).collect();
        for segment in found {
            if let Some(all) = by_tenant.get_mut(&segment.tenant) {
                all.push(segment);
            }
        }
        let mut kept = self.kept.lock();
        for (tenant, segments) in by_tenant {
            let mut reaches = HashMap::new();
            let mut reach = |indexer, through: CommitId| {
                let reached = reaches.entry(indexer).or_insert(through);
                *reached = through.max(*reached);
            };
            segments.iter().for_each(|s| reach(s.indexer, s.commits_through));
            heads
                .iter()
                .filter_map(|head| Some((head.indexer, *head.sealed_through.get(&tenant)?)))
                .for_each(|(indexer, through)| reach(indexer, through));
            let segments = (segments.len() <= LONG).then(|| segments.into());
            kept.insert(tenant, List { segments, reaches, read: begun });
        }
        make_room(&mut kept);
    }
}

/// Lets old lists go, and if that is not enough, all: they are soon read again.
fn make_room(kept: &mut HashMap<TenantId, List>) {
    let is_over = |kept: &HashMap<TenantId, List>| {
        kept.len() > TENANTS_MAX || kept.values().map(List::len).sum::<usize>() > SEGMENTS_MAX
    };
    if is_over(kept) {
        kept.retain(|_, list| list.read.elapsed() < KEPT_FOR);
        if is_over(kept) {
            kept.clear();
        }
    }
}

impl List {
    fn len(&self) -> usize {
        self.segments.as_ref().map_or(0, |segments| segments.len())
    }

    fn reaches(&self, tenant: &TenantId, heads: &[Head]) -> bool {
        heads.iter().all(|head| {
            head.sealed_through.get(tenant).is_none_or(|through| {
                let reached = self.reaches.get(&head.indexer).copied().unwrap_or_default();
                reached >= *through
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use heliograph_model::time::Timestamp;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    fn segment(of: &str, indexer: u128, through: i64) -> SegmentMeta {
        SegmentMeta {
            id: Uuid::from_u128(u128::try_from(through).unwrap()),
            tenant: tenant(of),
            bytes: 0,
            index_offset: 0,
            records: 0,
            raw_bytes: 0,
            first: Timestamp::from_nanos(through * 10),
            last: Timestamp::from_nanos(through * 10 + 5),
            indexer: Uuid::from_u128(indexer),
            commits_after: CommitId(through - 1),
            commits_through: CommitId(through),
            created: Timestamp::from_nanos(0),
        }
    }

    fn head(indexer: u128, sealed: &[(&str, i64)]) -> Head {
        Head {
            indexer: Uuid::from_u128(indexer),
            committed: CommitId(1_000),
            sealed_through: sealed.iter().map(|(name, through)| (tenant(name), CommitId(*through))).collect(),
        }
    }

    /// A catalog that counts how often, and remembers what, it was asked.
    #[derive(Default)]
    struct Asked {
        published: RefCell<Vec<SegmentMeta>>,
        asked: RefCell<Vec<(Vec<TenantId>, TimeRange)>>,
    }

    impl Asked {
        async fn check(
            &self,
            lists: &Lists,
            heads: &[Head],
            names: &[&str],
            range: TimeRange,
            expected: (&[i64], usize),
        ) {
            let names: Vec<_> = names.iter().map(|name| tenant(name)).collect();
            let read = |tenants: Vec<TenantId>, range: TimeRange| {
                self.asked.borrow_mut().push((tenants.clone(), range));
                let mut found = self.published.borrow().clone();
                found.retain(|s| tenants.contains(&s.tenant) && range.touches(s.first, s.last));
                async { Ok(found) }
            };
            let before = self.asked.borrow().len();
            let mut got: Vec<_> = lists
                .of(&names, heads, &range, read)
                .await
                .unwrap()
                .iter()
                .map(|s| s.commits_through.0)
                .collect();
            got.sort_unstable();
            assert_eq!((got.as_slice(), self.asked.borrow().len() - before), expected);
        }
    }

    #[tokio::test]
    async fn a_list_serves_as_long_as_it_reaches_what_hot_has_let_go() {
        let (lists, catalog) = (Lists::default(), Asked::default());
        catalog.published.borrow_mut().extend([segment("a", 1, 3), segment("b", 1, 4)]);
        let all = TimeRange::ALL;
        let sealed = |a, b| [head(1, &[("a", a), ("b", b), ("c", 0)])];
        catalog.check(&lists, &sealed(3, 4), &["a", "b", "c"], all, (&[3, 4], 1)).await;
        catalog.check(&lists, &sealed(3, 4), &["a", "b", "c"], all, (&[3, 4], 0)).await;
        let range = TimeRange { start: Timestamp::from_nanos(40), end: Timestamp::from_nanos(50) };
        catalog.check(&lists, &sealed(3, 4), &["a", "b"], range, (&[4], 0)).await;
        // Published, but the head of an answer that was under way does not say so yet.
        catalog.published.borrow_mut().push(segment("a", 1, 7));
        catalog.check(&lists, &sealed(3, 4), &["a"], all, (&[3], 0)).await;
        catalog.check(&lists, &sealed(7, 4), &["a", "b"], all, (&[3, 4, 7], 1)).await;
        assert_eq!(catalog.asked.borrow().last().unwrap().0, [tenant("a")], "only whose list is too old");
        // Another indexer counts for itself.
        let two = [head(1, &[("a", 7)]), head(2, &[("a", 9)])];
        catalog.check(&lists, &two, &["a"], all, (&[3, 7], 1)).await;
        catalog.check(&lists, &two, &["a"], all, (&[3, 7], 0)).await;
        catalog.check(&lists, &[head(2, &[("a", 10)])], &["a"], all, (&[3, 7], 1)).await;
        catalog.check(&lists, &[], &["a"], all, (&[3, 7], 0)).await;
    }

    #[tokio::test]
    async fn what_is_gone_is_forgotten() {
        let (lists, catalog) = (Lists::default(), Asked::default());
        catalog.published.borrow_mut().extend([segment("a", 1, 3), segment("a", 1, 5)]);
        let heads = [head(1, &[("a", 5)])];
        catalog.check(&lists, &heads, &["a"], TimeRange::ALL, (&[3, 5], 1)).await;
        catalog.published.borrow_mut().clear();
        catalog.check(&lists, &heads, &["a"], TimeRange::ALL, (&[3, 5], 0)).await;
        lists.forget(&[tenant("a")]);
        catalog.check(&lists, &heads, &["a"], TimeRange::ALL, (&[], 1)).await;
        // It was read when hot had let go of all up to 5, so that there is nothing to wait for.
        catalog.check(&lists, &heads, &["a"], TimeRange::ALL, (&[], 0)).await;
        lists.kept.lock().get_mut(&tenant("a")).unwrap().read -= KEPT_FOR;
        catalog.check(&lists, &heads, &["a"], TimeRange::ALL, (&[], 1)).await;
    }

    #[tokio::test]
    async fn very_many_segments_are_not_kept() {
        let (lists, catalog) = (Lists::default(), Asked::default());
        catalog.published.borrow_mut().extend((1..=10_001).map(|n| segment("a", 1, n)));
        let range = TimeRange { start: Timestamp::from_nanos(40), end: Timestamp::from_nanos(50) };
        let heads = [head(1, &[("a", 10_001)])];
        for _ in 0..2 {
            catalog.check(&lists, &heads, &["a"], range, (&[4], 1)).await;
        }
        let asked = catalog.asked.borrow();
        assert_eq!([asked[0].1, asked[1].1], [TimeRange::ALL, range]);
        assert_eq!(lists.kept.lock().values().map(List::len).sum::<usize>(), 0);
    }
}
