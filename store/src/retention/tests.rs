//! What goes and what stays, whatever the times claim.

use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;

fn at(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

/// A segment of 100 bytes.
fn segment(number: u128, last: i64, created: i64) -> SegmentMeta {
    SegmentMeta {
        id: Uuid::from_u128(number),
        tenant: TenantId::parse("t").unwrap(),
        bytes: 100,
        index_offset: 0,
        records: 1,
        raw_bytes: 100,
        first: at(last),
        last: at(last),
        indexer: Uuid::nil(),
        commits_after: CommitId(0),
        commits_through: CommitId(1),
        created: at(created),
    }
}

#[track_caller]
fn check(
    segments: &[SegmentMeta],
    (age, bytes): (Option<i64>, Option<u64>),
    now: i64,
    gone: &[(u128, Reason)],
) {
    let age = age.map(|nanos| Duration::from_nanos(nanos.unsigned_abs()));
    let expired = expired(segments, &Keep { age, bytes }, at(now));
    let expired: Vec<_> = expired.into_iter().map(|(id, reason)| (id.as_u128(), reason)).collect();
    assert_eq!(expired, gone);
}

#[test]
fn by_age_goes_what_is_older() {
    let all = [segment(1, 0, 5), segment(2, DAY, DAY), segment(3, 2 * DAY, 2 * DAY + 5)];
    check(&all, (None, None), 99 * DAY, &[]);
    check(&all, (Some(DAY), None), DAY + 5, &[]);
    check(&all, (Some(DAY), None), DAY + 6, &[(1, Reason::Age)]);
    check(&all, (Some(DAY), None), 2 * DAY + 1, &[(1, Reason::Age), (2, Reason::Age)]);
}

#[test]
fn by_bytes_the_oldest_go_first() {
    let all = [segment(1, 3 * DAY, 3 * DAY), segment(2, 0, 0), segment(3, DAY, DAY)];
    check(&all, (None, Some(300)), 9 * DAY, &[]);
    check(&all, (None, Some(299)), 9 * DAY, &[(2, Reason::Bytes)]);
    check(&all, (None, Some(100)), 9 * DAY, &[(2, Reason::Bytes), (3, Reason::Bytes)]);
    check(&all, (Some(8 * DAY), Some(100)), 9 * DAY, &[(2, Reason::Age), (3, Reason::Bytes)]);
    check(&all, (None, Some(1)), 9 * DAY, &[(2, Reason::Bytes), (3, Reason::Bytes), (1, Reason::Bytes)]);
}

#[test]
fn a_time_that_cannot_be_neither_deletes_early_nor_keeps_for_ever() {
    let now = 100 * DAY;
    // Records of 1970, that came just now; records of 2262, that came just now and long ago.
    check(&[segment(1, 0, now)], (Some(DAY), None), now, &[]);
    check(&[segment(1, i64::MAX, now)], (Some(DAY), None), now, &[]);
    check(&[segment(1, i64::MAX, now - 2 * DAY)], (Some(DAY), None), now, &[(1, Reason::Age)]);
    // Sealed by a clock of 1970, and by one of 2262.
    check(&[segment(1, now, 0)], (Some(DAY), None), now, &[]);
    check(&[segment(1, now - 2 * DAY, i64::MAX)], (Some(DAY), None), now, &[]);
    check(&[segment(1, i64::MAX, i64::MAX)], (Some(DAY), None), now, &[]);
    // Old records that came just now, seen by a clock that is late.
    check(&[segment(1, 0, now + DAY)], (Some(DAY), None), now, &[]);
    check(&[segment(1, 0, now + DAY), segment(2, now, now)], (None, Some(199)), now, &[(1, Reason::Bytes)]);
    check(&[segment(2, 0, now + DAY), segment(1, now, now)], (None, Some(199)), now, &[(1, Reason::Bytes)]);
    // What is from the future is the newest, but no more than what came now.
    check(&[segment(1, i64::MAX, i64::MAX), segment(2, 5, 5)], (None, Some(100)), now, &[(2, Reason::Bytes)]);
}

#[test]
fn a_tenants_own_bounds_win() {
    let default = Keep { age: Some(Duration::from_secs(9)), bytes: Some(7) };
    assert_eq!(OwnKeep::default().or(default), default);
    let own = OwnKeep { age: Own::Unlimited, bytes: Own::Limit(3) };
    assert_eq!(own.or(default), Keep { age: None, bytes: Some(3) });
}

#[test]
fn a_clock_that_jumps_is_not_followed() {
    let minute = Duration::from_secs(60);
    let mut clock = LateClock::new(at(100 * DAY));
    let mut now = at(0);
    for n in 1..=60 {
        now = clock.tick(at(100 * DAY + n * HOUR / 60), minute);
    }
    assert_eq!(now, at(100 * DAY + HOUR), "right as long as it is right");
    // A day ahead for an hour.
    for n in 1..=60 {
        now = clock.tick(at(102 * DAY + n * HOUR / 60), minute);
    }
    assert_eq!(now, at(100 * DAY + 2 * HOUR + HOUR / 10));
    // Set right: right at once, although it had run ahead.
    assert_eq!(clock.tick(at(100 * DAY + 2 * HOUR), minute), at(100 * DAY + 2 * HOUR));
    // Set back to 1970, and right again.
    assert_eq!(clock.tick(at(0), minute), at(0));
    assert_eq!(clock.tick(at(100 * DAY + 2 * HOUR), minute), at(100 * DAY + 2 * HOUR));
    // Nobody looked for a week.
    let late = clock.tick(at(107 * DAY), minute);
    assert!(late < at(101 * DAY), "{late}");
    for _ in 0..80 * 24 {
        now = clock.tick(at(200 * DAY), Duration::from_secs(3600));
    }
    assert!(at(180 * DAY) < now && now < at(190 * DAY), "{now}");
}

proptest! {
    /// However the wall clock jumps, the clock is never ahead of it, nor runs more than a tenth too fast.
    #[test]
    fn the_late_clock_keeps_its_bounds(steps in proptest::collection::vec((any::<i64>(), 0_u64..100_000), 1..50)) {
        let mut clock = LateClock::new(at(DAY));
        let mut passed = 0;
        for (wall, seconds) in steps {
            let now = clock.tick(at(wall), Duration::from_secs(seconds));
            passed += seconds;
            prop_assert!(now <= at(wall));
            let most = i64::try_from(passed).unwrap() * 1_100_000_000;
            prop_assert!(clock.time() <= at(DAY + most) && now <= clock.time());
        }
    }

    /// Nothing that came in less than the age ago goes for its age, whatever the other time says.
    #[test]
    fn what_is_young_by_either_time_stays(last in any::<i64>(), created in any::<i64>(), age in 1_i64..100 * DAY) {
        let now = 1_000 * DAY;
        let is_gone = !expired(
            &[segment(1, last, created)],
            &Keep { age: Some(Duration::from_nanos(age.unsigned_abs())), bytes: None },
            at(now),
        )
        .is_empty();
        let is_young = created >= now - age || (now - age..=now).contains(&last);
        prop_assert_eq!(is_gone, !is_young);
    }
}
