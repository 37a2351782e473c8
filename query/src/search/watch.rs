//! How far a search for records has come, and by when it should end.
//!
//! Segments are read by their best time, and finish in any order. What lies before the best time of all that are
//! unfinished is searched: nothing better than what was found there can come any more.

use std::collections::BTreeSet;
use std::time::Instant;

use heliograph_model::scan::Order;
use heliograph_model::time::{TimeRange, Timestamp};
use heliograph_store::catalog::SegmentMeta;
use parking_lot::Mutex;

/// Watches one search; may be read while it runs.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    deadline: Option<Instant>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The best time of each segment, in their order.
    edges: Vec<Timestamp>,
    unfinished: BTreeSet<usize>,
}

/// How far a search has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// What comes before this time in the search's order is searched; none where all is.
    pub(crate) searched_to: Option<Timestamp>,
    /// Segments that are done with, of …
    pub(crate) done: usize,
    /// … so many.
    pub(crate) segments: usize,
}

impl Watch {
    /// For a search that should end about then, though not before it has come a step further.
    pub(crate) fn until(deadline: Option<Instant>) -> Self {
        Self { deadline, state: Mutex::default() }
    }

    /// Begins with these segments, which are in order; what lies outside the range counts for nothing.
    pub(crate) fn begin(&self, order: Order, range: &TimeRange, segments: &[SegmentMeta]) {
        let edge = |segment: &SegmentMeta| match order {
            Order::Desc => segment.last.min(range.end.saturating_add_nanos(-1)),
            Order::Asc => segment.first.max(range.start),
        };
        let mut state = self.state.lock();
        state.edges = segments.iter().map(edge).collect();
        state.unfinished = (0..segments.len()).collect();
    }

    /// Whether to begin with no more segments, of which this is the next. The best ones are read in any case: a
    /// search that goes on from where this one ended has to come further.
    pub(super) fn is_over(&self, segment: usize) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now()) && {
            let state = self.state.lock();
            state.edges.get(segment) != state.edges.first()
        }
    }

    /// A segment is done with.
    pub(super) fn finish(&self, segment: usize) {
        self.state.lock().unfinished.remove(&segment);
    }

    /// How far it has come; none before it has begun.
    pub(crate) fn progress(&self) -> Option<Progress> {
        let state = self.state.lock();
        let searched_to = state.unfinished.first().and_then(|segment| state.edges.get(*segment)).copied();
        let segments = state.edges.len();
        (segments > 0).then(|| Progress { searched_to, done: segments - state.unfinished.len(), segments })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: i64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    fn segments<const N: usize>(times: [(i64, i64); N]) -> [SegmentMeta; N] {
        times.map(|(first, last)| crate::stage::segment(first, last))
    }

    #[test]
    fn what_comes_before_all_that_is_unfinished_is_searched() {
        let watch = Watch::default();
        assert_eq!(watch.progress(), None);
        let segments = segments([(40, 90), (20, 70), (10, 50)]);
        watch.begin(Order::Desc, &TimeRange::ALL, &segments);
        let check = |finished: usize, to: Option<i64>, done| {
            watch.finish(finished);
            let expected = Progress { searched_to: to.map(at), done, segments: 3 };
            assert_eq!(watch.progress(), Some(expected));
        };
        check(1, Some(90), 1);
        check(0, Some(50), 2);
        check(0, Some(50), 2);
        check(2, None, 3);
    }

    #[test]
    fn an_ended_search_still_comes_a_step_further() {
        let watch = Watch::until(Some(Instant::now()));
        let newest_first = segments([(40, 90), (20, 70), (10, 60), (10, 50)]);
        watch.begin(Order::Desc, &TimeRange::ALL, &newest_first);
        assert_eq!([0, 1, 2, 3].map(|n| watch.is_over(n)), [false, true, true, true]);
        // All of these touch the place where the search begins: without each of them it comes no further.
        watch.begin(Order::Desc, &TimeRange { end: at(61), ..TimeRange::ALL }, &newest_first);
        assert_eq!([0, 1, 2, 3].map(|n| watch.is_over(n)), [false, false, false, true]);
        let oldest_first = segments([(10, 50), (10, 60), (20, 70)]);
        watch.begin(Order::Asc, &TimeRange::ALL, &oldest_first);
        assert_eq!([0, 1, 2].map(|n| watch.is_over(n)), [false, false, true]);
        let never = Watch::default();
        never.begin(Order::Asc, &TimeRange::ALL, &oldest_first);
        assert!(!never.is_over(2));
    }
}
