//! What all parts of one question share while it is pursued: how far it is still worth looking, and whether
//! anybody waits for the answer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::foremost::Spot;
use super::{Order, Want};
use crate::record::RecordKey;
use crate::source::{Position, SourceId};
use crate::tenant::TenantId;
use crate::time::Timestamp;

/// One question while it is pursued, over all tenants, segments and threads.
///
/// For [`Want::Records`] it knows the event time of the limit-th best record found anywhere so far. What lies
/// behind that time is in no answer, wherever it is found: so a block, segment or tenant that has nothing better
/// is left out. Records of that very time stay in: which of them come first, their keys and tenants decide.
///
/// Every record that is noted must be in the answer unless better ones displace it: a part that is thrown away
/// after it noted records needs a new pursuit. A record that is noted twice counts once.
#[derive(Debug)]
pub struct Pursuit {
    is_over: AtomicBool,
    bound: Option<Bound>,
}

#[derive(Debug)]
struct Bound {
    order: Order,
    limit: usize,
    /// The time, in nanoseconds, behind which nothing is wanted. Only ever moves towards the better.
    time: AtomicI64,
    best: Mutex<BTreeSet<Spot>>,
}

/// Ends a pursuit when it is dropped: when the future that pursues is, or when it is done.
#[derive(Debug)]
pub struct EndsWhenDropped(Arc<Pursuit>);

impl Drop for EndsWhenDropped {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Pursuit {
    /// Nothing found yet.
    pub fn new(want: &Want) -> Arc<Self> {
        let bound = match want {
            Want::Records { order, limit, .. } => Some(Bound {
                order: *order,
                limit: *limit,
                time: AtomicI64::new(unset(*order)),
                best: Mutex::default(),
            }),
            Want::Around { .. } | Want::Histogram { .. } | Want::Values { .. } | Want::Fields => None,
        };
        Arc::new(Self { is_over: AtomicBool::new(false), bound })
    }

    /// One that only says whether anybody waits: each part looks as far as its own limit.
    pub fn unbounded() -> Arc<Self> {
        Arc::new(Self { is_over: AtomicBool::new(false), bound: None })
    }

    /// Ends the pursuit with the guard.
    pub fn ends_when_dropped(self: &Arc<Self>) -> EndsWhenDropped {
        EndsWhenDropped(Arc::clone(self))
    }

    /// Nobody waits any more: work under way should stop soon.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether nobody waits any more. A look costs next to nothing.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Counts a record that was found and is kept.
    pub fn note(&self, tenant: &TenantId, key: RecordKey) {
        if let Some(bound) = &self.bound
            && !bound.is_behind(key.time)
        {
            bound.note(tenant, key);
        }
    }

    /// Whether nothing of this time can be in the answer any more.
    pub fn is_behind(&self, time: Timestamp) -> bool {
        self.bound.as_ref().is_some_and(|bound| bound.is_behind(time))
    }

    /// The place from which on nothing is wanted any more, once enough is found.
    pub fn full_at(&self) -> Option<RecordKey> {
        let bound = self.bound.as_ref()?;
        let nanos = bound.time.load(Ordering::Relaxed);
        let time = Timestamp::from_nanos(nanos);
        // Behind every key of that time: those stay in.
        (nanos != unset(bound.order)).then(|| match bound.order {
            Order::Desc => bound.order.next(RecordKey::first_at(time)),
            Order::Asc => {
                let last = RecordKey { time, source: SourceId(u128::MAX), position: Position(u64::MAX) };
                bound.order.next(last)
            }
        })
    }
}

/// The time behind which nothing lies.
fn unset(order: Order) -> i64 {
    match order {
        Order::Desc => i64::MIN,
        Order::Asc => i64::MAX,
    }
}

impl Bound {
    fn is_behind(&self, time: Timestamp) -> bool {
        // A bound that is a moment old only lets more in.
        let bound = self.time.load(Ordering::Relaxed);
        match self.order {
            Order::Desc => time.as_nanos() < bound,
            Order::Asc => time.as_nanos() > bound,
        }
    }

    fn note(&self, tenant: &TenantId, key: RecordKey) {
        let mut best = self.best.lock().unwrap_or_else(PoisonError::into_inner);
        best.insert(Spot::new(self.order, key, tenant));
        if best.len() > self.limit {
            best.pop_last();
        }
        if best.len() == self.limit
            && let Some(last) = best.last()
        {
            // Under the lock, so that an older bound does not overwrite a newer one.
            self.time.store(last.key.time.as_nanos(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(time: i64, position: u64) -> RecordKey {
        RecordKey { time: Timestamp::from_nanos(time), source: SourceId(0), position: Position(position) }
    }

    fn pursuit(order: Order, limit: usize) -> Arc<Pursuit> {
        Pursuit::new(&Want::Records { order, limit, after: None })
    }

    #[test]
    fn it_ends_with_who_pursues() {
        let pursuit = Pursuit::unbounded();
        let guard = pursuit.ends_when_dropped();
        assert!(!pursuit.is_over());
        drop(guard);
        assert!(pursuit.is_over());
    }

    #[test]
    fn counts_have_no_bound() {
        let pursuit = Pursuit::new(&Want::Fields);
        pursuit.note(&TenantId::parse("a").unwrap(), key(1, 1));
        assert!(!pursuit.is_behind(Timestamp::MIN));
        assert_eq!(pursuit.full_at(), None);
    }

    #[test]
    fn the_ends_of_time_are_times() {
        let a = TenantId::parse("a").unwrap();
        for (order, end) in [(Order::Desc, Timestamp::MIN), (Order::Asc, Timestamp::MAX)] {
            let pursuit = pursuit(order, 1);
            pursuit.note(&a, RecordKey::first_at(end));
            assert!(!pursuit.is_behind(end));
            assert_eq!(pursuit.full_at(), None, "nothing lies behind");
        }
    }

    proptest! {
        /// What is left out is in no answer, and what is in the answer is never left out.
        #[test]
        fn the_bound_is_the_time_of_the_last_that_fits(
            found in proptest::collection::vec((0_i64..12, 0_u64..4, 0_usize..3), 0..60), limit in 1_usize..20,
        ) {
            let tenants = ["a", "b", "c"].map(|name| TenantId::parse(name).unwrap());
            for order in [Order::Asc, Order::Desc] {
                let pursuit = pursuit(order, limit);
                let mut seen: BTreeSet<(i64, u64, usize)> = BTreeSet::new();
                for (time, position, tenant) in &found {
                    pursuit.note(&tenants[*tenant], key(*time, *position));
                    seen.insert((*time, *position, *tenant));
                    let mut times: Vec<i64> = seen.iter().map(|(time, ..)| *time).collect();
                    if order == Order::Desc { times.reverse(); }
                    let last = times.get(limit - 1);
                    for time in 0..12 {
                        let is_behind = last.is_some_and(|last| if order == Order::Desc { time < *last } else { time > *last });
                        prop_assert_eq!(pursuit.is_behind(Timestamp::from_nanos(time)), is_behind);
                        let is_full = pursuit.full_at().is_some_and(|full| !order.is_before(&key(time, 0), &full));
                        prop_assert_eq!(is_full, is_behind);
                    }
                }
            }
        }
    }
}
