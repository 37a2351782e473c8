//! Which parts a scan has to read, and in which order. Pure.
//!
//! The hot part is asked before the catalog. Its answer says up to which commit its tenant's records were sealed
//! then (the watermark): the answer holds all later ones, so of what the catalog lists by now only records up to
//! the watermark are read: a segment that was sealed meanwhile is left out, and one that was merged meanwhile out
//! of segments on both sides of it is read up to it. Thus a record is seen exactly once on its way from hot to
//! sealed and from one segment to the next, whatever happens between the two answers.

use heliograph_model::filter::Filter;
use heliograph_model::record::RecordKey;
use heliograph_model::scan::{Collector, CommitId, Order, Want};
use heliograph_model::source::{Position, SourceId};
use heliograph_model::time::{TimeRange, Timestamp};
use heliograph_store::catalog::SegmentMeta;

use crate::hot::Head;

/// Whether a segment is read beside the hot answers: it is unless one of them holds its records.
pub(crate) fn is_read(segment: &SegmentMeta, heads: &[Head]) -> bool {
    watermark(segment, heads).is_none_or(|through| segment.commits_after < through)
}

/// Up to which commit a segment is read beside the hot answers; none where it is read whole.
pub(crate) fn read_through(segment: &SegmentMeta, heads: &[Head]) -> Option<CommitId> {
    watermark(segment, heads).filter(|through| *through < segment.commits_through)
}

fn watermark(segment: &SegmentMeta, heads: &[Head]) -> Option<CommitId> {
    // Of one indexer there may be several heads, each of other tenants.
    let mut of_indexer = heads.iter().filter(|head| head.indexer == segment.indexer);
    of_indexer.find_map(|head| head.sealed_through.get(&segment.tenant)).copied()
}

/// Puts segments into the order in which to read them, those of all tenants together: the most promising first.
pub(crate) fn in_order(mut parts: Vec<SegmentMeta>, want: &Want) -> Vec<SegmentMeta> {
    match want {
        Want::Records { order: Order::Asc, .. } => parts.sort_by_key(|s| (s.first, s.last, s.id)),
        Want::Around { key, .. } => {
            parts.sort_by_key(|s| (distance(s, key.time), s.id));
        }
        _ => parts.sort_by_key(|s| std::cmp::Reverse((s.last, s.first, s.id))),
    }
    parts
}

fn distance(segment: &SegmentMeta, time: Timestamp) -> i64 {
    segment.first.nanos_since(time).max(time.nanos_since(segment.last)).max(0)
}

/// Whether a segment with these event times may hold anything that the collector would still take.
pub(crate) fn may_add(collector: &Collector, want: &Want, first: Timestamp, last: Timestamp) -> bool {
    let (lowest, highest) = (RecordKey::first_at(first), last_at(last));
    match want {
        Want::Records { order, after, .. } => {
            // The place at which the segment's best record could stand.
            let best = match (order, after) {
                (Order::Desc, Some(after)) if *after <= lowest => return false,
                (Order::Desc, Some(after)) => highest.min(order.next(*after)),
                (Order::Asc, Some(after)) if *after >= highest => return false,
                (Order::Asc, Some(after)) => lowest.max(order.next(*after)),
                (Order::Desc, None) => highest,
                (Order::Asc, None) => lowest,
            };
            collector.could_take(&best)
        }
        Want::Around { key, .. } => {
            let at = |time, position| RecordKey { time, source: key.source, position: Position(position) };
            // A segment around the place itself may add on either side.
            (first <= key.time && key.time <= last)
                || collector.could_take(&if last < key.time { at(last, u64::MAX) } else { at(first, 0) })
        }
        Want::Histogram { .. } | Want::Values { .. } | Want::Fields => true,
    }
}

/// The event times that can still be wanted: those of the range, of the filter, and behind the cursor.
pub(crate) fn reach(range: TimeRange, filter: &Filter, want: &Want) -> TimeRange {
    let range = range.intersect(&filter.time_bounds());
    let Want::Records { order, after: Some(after), .. } = want else { return range };
    // The first and the last place of a time have nothing of it behind them.
    range.intersect(&match order {
        Order::Desc if *after == RecordKey::first_at(after.time) => {
            TimeRange { start: Timestamp::MIN, end: after.time }
        }
        Order::Desc => TimeRange { start: Timestamp::MIN, end: after.time.saturating_add_nanos(1) },
        Order::Asc if *after == last_at(after.time) => {
            TimeRange { start: after.time.saturating_add_nanos(1), end: Timestamp::MAX }
        }
        Order::Asc => TimeRange { start: after.time, end: Timestamp::MAX },
    })
}

/// Whether a time comes strictly before an edge.
pub(crate) fn is_ahead(order: Order, time: Timestamp, edge: Timestamp) -> bool {
    match order {
        Order::Desc => time > edge,
        Order::Asc => time < edge,
    }
}

/// The place behind all that comes strictly before an edge, and ahead of everything else.
pub(crate) fn ahead_of(order: Order, edge: Timestamp) -> RecordKey {
    match order {
        Order::Desc => order.previous(last_at(edge)),
        Order::Asc => order.previous(RecordKey::first_at(edge)),
    }
}

/// Higher than, or equal to, every real key of `time`.
fn last_at(time: Timestamp) -> RecordKey {
    RecordKey { time, source: SourceId(u128::MAX), position: Position(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use heliograph_model::scan::Scan;
    use heliograph_model::tenant::TenantId;
    use uuid::Uuid;

    use super::*;

    fn segment(indexer: u128, commits: (i64, i64), times: (i64, i64)) -> SegmentMeta {
        SegmentMeta {
            id: Uuid::from_u128(u128::try_from(commits.0).unwrap()),
            tenant: TenantId::parse("t").unwrap(),
            bytes: 0,
            index_offset: 0,
            records: 0,
            raw_bytes: 0,
            first: Timestamp::from_nanos(times.0),
            last: Timestamp::from_nanos(times.1),
            indexer: Uuid::from_u128(indexer),
            commits_after: CommitId(commits.0),
            commits_through: CommitId(commits.1),
            created: Timestamp::from_nanos(0),
        }
    }

    fn records(order: Order, after: Option<RecordKey>) -> Want {
        Want::Records { order, limit: 10, after }
    }

    #[track_caller]
    fn check(watermarks: &[(u128, i64)], want: &Want, expected: &[i64]) {
        let all = vec![
            segment(1, (0, 5), (0, 9)),
            segment(1, (5, 8), (10, 19)),
            segment(1, (8, 12), (20, 29)),
            segment(2, (6, 10), (12, 40)),
        ];
        let head = |(indexer, through): &(u128, i64)| Head {
            indexer: Uuid::from_u128(*indexer),
            committed: CommitId(99),
            sealed_through: [(TenantId::parse("t").unwrap(), CommitId(*through))].into(),
        };
        let heads: Vec<_> = watermarks.iter().map(head).collect();
        let read = all.into_iter().filter(|segment| is_read(segment, &heads)).collect();
        let got: Vec<_> = in_order(read, want).iter().map(|s| s.commits_after.0).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn what_the_hot_answer_holds_is_not_read_again() {
        check(&[], &records(Order::Asc, None), &[0, 5, 6, 8]);
        check(&[(1, 12)], &records(Order::Asc, None), &[0, 5, 6, 8]);
        check(&[(1, 8)], &records(Order::Asc, None), &[0, 5, 6]);
        check(&[(1, 0), (2, 0)], &records(Order::Asc, None), &[]);
        check(&[(2, 6)], &records(Order::Desc, None), &[8, 5, 0]);
        check(&[(3, 0)], &records(Order::Desc, None), &[6, 8, 5, 0]);
    }

    #[test]
    fn a_segment_on_both_sides_of_the_watermark_is_read_up_to_it() {
        let head = |indexer, through| Head {
            indexer: Uuid::from_u128(indexer),
            committed: CommitId(99),
            sealed_through: [(TenantId::parse("t").unwrap(), CommitId(through))].into(),
        };
        let merged = segment(1, (5, 9), (0, 9));
        let up_to = |heads: &[Head]| is_read(&merged, heads).then(|| read_through(&merged, heads));
        assert_eq!(up_to(&[head(1, 5)]), None);
        assert_eq!(up_to(&[head(1, 6)]), Some(Some(CommitId(6))));
        assert_eq!(up_to(&[head(1, 8)]), Some(Some(CommitId(8))));
        for whole in [vec![head(1, 9)], vec![head(1, 12)], vec![head(2, 7)], vec![]] {
            assert_eq!(up_to(&whole), Some(None), "{whole:?}");
        }
    }

    #[test]
    fn an_edge_parts_what_is_ahead_of_it() {
        let edge = Timestamp::from_nanos(5);
        for order in [Order::Desc, Order::Asc] {
            let place = ahead_of(order, edge);
            for time in (3..8).map(Timestamp::from_nanos) {
                for key in [RecordKey::first_at(time), last_at(time)] {
                    let comes_later = order.is_before(&place, &key);
                    assert_eq!(comes_later, !is_ahead(order, time, edge), "{order:?} {key:?}");
                }
            }
        }
    }

    #[test]
    fn context_begins_where_the_record_lies() {
        let key = RecordKey::first_at(Timestamp::from_nanos(22));
        check(&[], &Want::Around { key, before: 1, after: 1 }, &[6, 8, 5, 0]);
    }

    #[test]
    fn a_cursor_bounds_the_reach() {
        let key = RecordKey { source: SourceId(1), ..RecordKey::first_at(Timestamp::from_nanos(5)) };
        let scan = |want| Scan {
            tenant: TenantId::parse("t").unwrap(),
            range: TimeRange::ALL,
            filter: Filter::All,
            committed_after: None,
            committed_through: None,
            want,
        };
        let all = |want| reach(TimeRange::ALL, &Filter::All, &want);
        assert_eq!(all(records(Order::Desc, Some(key))).end, Timestamp::from_nanos(6));
        assert_eq!(all(records(Order::Asc, Some(key))).start, Timestamp::from_nanos(5));
        let time = Timestamp::from_nanos;
        let edge = |order| Some(ahead_of(order, time(5)));
        assert_eq!(all(records(Order::Desc, edge(Order::Desc))).end, time(6));
        assert_eq!(all(records(Order::Asc, edge(Order::Asc))).start, time(5));
        let lowest = RecordKey::first_at(time(5));
        let want = records(Order::Desc, Some(lowest));
        assert_eq!(all(want.clone()).end, time(5));
        let collector = Collector::new(&scan(want.clone()));
        assert!(may_add(&collector, &want, time(0), time(9)));
        assert!(!may_add(&collector, &want, time(5), time(9)), "nothing of it is below the cursor");
        let want = records(Order::Asc, Some(key));
        let collector = Collector::new(&scan(want.clone()));
        assert!(may_add(&collector, &want, time(0), time(5)));
        assert!(!may_add(&collector, &want, time(0), time(4)));
    }
}
