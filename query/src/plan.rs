//! Which parts a scan has to read, and in which order. Pure.
//!
//! The hot part is asked before the catalog. Its answer says up to which commit its tenant's records were sealed
//! then (the watermark): the answer holds all later ones, so a segment that was sealed from those in the
//! meantime is left out. Thus a record on its way from hot to sealed is seen exactly once.

use std::collections::HashMap;

use heliograph_model::record::RecordKey;
use heliograph_model::scan::{Collector, CommitId, HotHead, Order, Scan, Want};
use heliograph_model::source::{Position, SourceId};
use heliograph_model::time::{TimeRange, Timestamp};
use heliograph_store::catalog::SegmentMeta;
use uuid::Uuid;

/// Up to which commit each indexer that answered had sealed the tenant's records.
pub(crate) type Watermarks = HashMap<Uuid, CommitId>;

/// The watermarks that answers stand on.
pub(crate) fn watermarks<'a>(heads: impl IntoIterator<Item = &'a HotHead>) -> Watermarks {
    heads
        .into_iter()
        .filter_map(|head| Some((Uuid::parse_str(&head.indexer).ok()?, head.sealed_through)))
        .collect()
}

/// The segments to read beside the hot answers, in the order in which to read them.
pub(crate) fn segments(all: Vec<SegmentMeta>, watermarks: &Watermarks, want: &Want) -> Vec<SegmentMeta> {
    let mut parts: Vec<_> = all
        .into_iter()
        .filter(|s| watermarks.get(&s.indexer).is_none_or(|through| s.commits_after < *through))
        .collect();
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
                (Order::Desc, Some(after)) => highest.min(before(*after)),
                (Order::Asc, Some(after)) if *after >= highest => return false,
                (Order::Asc, Some(after)) => lowest.max(behind(*after)),
                (Order::Desc, None) => highest,
                (Order::Asc, None) => lowest,
            };
            collector.could_take(&best)
        }
        Want::Around { key, .. } => {
            let in_source = |time| RecordKey { time, source: key.source, position: key.position };
            // A segment around the place itself may add on either side.
            (first <= key.time && key.time <= last)
                || collector.could_take(&if last < key.time { in_source(last) } else { in_source(first) })
        }
        Want::Histogram { .. } | Want::Values { .. } | Want::Fields => true,
    }
}

/// The event times that a scan can still want: its own, those of its filter, and those behind its cursor.
pub(crate) fn reach(scan: &Scan) -> TimeRange {
    let range = scan.range.intersect(&scan.filter.time_bounds());
    let Want::Records { order, after: Some(after), .. } = &scan.want else { return range };
    range.intersect(&match order {
        Order::Desc => TimeRange { start: Timestamp::MIN, end: after.time.saturating_add_nanos(1) },
        Order::Asc => TimeRange { start: after.time, end: Timestamp::MAX },
    })
}

/// Higher than, or equal to, every real key of `time`.
fn last_at(time: Timestamp) -> RecordKey {
    RecordKey { time, source: SourceId(u128::MAX), position: Position(u64::MAX) }
}

/// The key next above in the total order; the highest stays.
pub(crate) fn behind(key: RecordKey) -> RecordKey {
    step(key, |byte| byte.overflowing_add(1))
}

/// The key next below in the total order; the lowest stays.
pub(crate) fn before(key: RecordKey) -> RecordKey {
    step(key, |byte| byte.overflowing_sub(1))
}

/// Adds or subtracts one from the key's bytes, from the last on while there is a carry.
fn step(key: RecordKey, one: impl Fn(u8) -> (u8, bool)) -> RecordKey {
    let mut bytes = key.to_bytes();
    for byte in bytes.iter_mut().rev() {
        let (value, carries) = one(*byte);
        *byte = value;
        if !carries {
            return RecordKey::from_bytes(&bytes);
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use heliograph_model::tenant::TenantId;

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
        let watermarks = watermarks.iter().map(|(i, c)| (Uuid::from_u128(*i), CommitId(*c))).collect();
        let got: Vec<_> = segments(all, &watermarks, want).iter().map(|s| s.commits_after.0).collect();
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
    fn context_begins_where_the_record_lies() {
        let key = RecordKey::first_at(Timestamp::from_nanos(22));
        check(&[], &Want::Around { key, before: 1, after: 1 }, &[6, 8, 5, 0]);
    }

    #[test]
    fn keys_step_by_one() {
        let key =
            RecordKey { time: Timestamp::from_nanos(5), source: SourceId(7), position: Position(u64::MAX) };
        assert!(key < behind(key));
        assert_eq!(behind(key).source, SourceId(8));
        assert_eq!(before(behind(key)), key);
        let lowest = RecordKey::first_at(Timestamp::MIN);
        assert_eq!(before(lowest), lowest);
        assert_eq!(behind(last_at(Timestamp::MAX)), last_at(Timestamp::MAX));
    }

    #[test]
    fn a_cursor_bounds_the_reach() {
        let key = RecordKey::first_at(Timestamp::from_nanos(5));
        let scan = |want| Scan {
            tenant: TenantId::parse("t").unwrap(),
            range: TimeRange::ALL,
            filter: heliograph_model::filter::Filter::All,
            committed_after: None,
            want,
        };
        assert_eq!(reach(&scan(records(Order::Desc, Some(key)))).end, Timestamp::from_nanos(6));
        assert_eq!(reach(&scan(records(Order::Asc, Some(key)))).start, Timestamp::from_nanos(5));
        let time = Timestamp::from_nanos;
        let want = records(Order::Desc, Some(key));
        let collector = Collector::new(&scan(want.clone()));
        assert!(may_add(&collector, &want, time(0), time(9)));
        assert!(!may_add(&collector, &want, time(5), time(9)), "nothing of it is below the cursor");
        let want = records(Order::Asc, Some(key));
        let collector = Collector::new(&scan(want.clone()));
        assert!(may_add(&collector, &want, time(0), time(5)));
        assert!(!may_add(&collector, &want, time(0), time(4)));
    }
}
