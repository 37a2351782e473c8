//! What one caller and one tenant may have of what all share, so that there is always some left for the next.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use heliograph_model::tenant::TenantId;
use parking_lot::Mutex;

use crate::access::Scope;
use crate::error::{Error, Result};

/// What is in use, by whom.
pub(crate) struct Shares {
    all_max: usize,
    /// Half of all.
    caller_max: usize,
    /// Three quarters of all: the people and tokens of one tenant together, however many they are, leave some.
    tenant_max: usize,
    all: usize,
    callers: HashMap<String, usize>,
    tenants: HashMap<TenantId, usize>,
}

impl Shares {
    /// Of so many.
    pub(crate) fn new(all_max: usize) -> Self {
        Self {
            all_max,
            caller_max: all_max.div_ceil(2),
            tenant_max: (all_max - all_max.div_ceil(4)).max(1),
            all: 0,
            callers: HashMap::new(),
            tenants: HashMap::new(),
        }
    }

    /// Whether all are in use.
    pub(crate) fn is_full(&self) -> bool {
        self.all >= self.all_max
    }

    /// Whether this caller may have one more, over these tenants: what is about several counts for each of them.
    pub(crate) fn has_room(&self, caller: &str, tenants: &[TenantId]) -> bool {
        let of = |tenant| self.tenants.get(tenant).copied().unwrap_or(0);
        !self.is_full()
            && self.callers.get(caller).copied().unwrap_or(0) < self.caller_max
            && tenants.iter().all(|tenant| of(tenant) < self.tenant_max)
    }

    /// One more is in use.
    pub(crate) fn take(&mut self, caller: &str, tenants: &[TenantId]) {
        self.all += 1;
        *self.callers.entry(caller.to_owned()).or_default() += 1;
        for tenant in tenants {
            *self.tenants.entry(tenant.clone()).or_default() += 1;
        }
    }

    /// One of those is free again.
    pub(crate) fn give_back(&mut self, caller: &str, tenants: &[TenantId]) {
        self.all = self.all.saturating_sub(1);
        less(&mut self.callers, caller);
        tenants.iter().for_each(|tenant| less(&mut self.tenants, tenant));
    }

    /// Whether nothing is in use, and nobody is remembered.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.all == 0 && self.callers.is_empty() && self.tenants.is_empty()
    }
}

fn less<K: Hash + Eq + std::borrow::Borrow<Q>, Q: Hash + Eq + ?Sized>(
    counts: &mut HashMap<K, usize>,
    name: &Q,
) {
    let Some(count) = counts.get_mut(name) else { return };
    *count -= 1;
    if *count == 0 {
        counts.remove(name);
    }
}

/// Places of something for which nobody waits: exports, live tails. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Places {
    what: &'static str,
    shares: Arc<Mutex<Shares>>,
}

/// A place, until it is dropped.
pub(crate) struct Place {
    of: Places,
    caller: String,
    tenants: Vec<TenantId>,
}

impl Places {
    /// So many, of what an error calls `what`.
    pub(crate) fn new(what: &'static str, all_max: usize) -> Self {
        Self { what, shares: Arc::new(Mutex::new(Shares::new(all_max))) }
    }

    /// A place for what reads these tenants' records; [`Error::Busy`] without one.
    pub(crate) fn take(&self, scope: &Scope) -> Result<Place> {
        self.take_for(scope.principal().name(), scope.tenants().to_vec())
    }

    /// A place for this caller.
    pub(crate) fn take_for(&self, caller: String, tenants: Vec<TenantId>) -> Result<Place> {
        let mut shares = self.shares.lock();
        if !shares.has_room(&caller, &tenants) {
            return Err(Error::Busy { what: self.what });
        }
        shares.take(&caller, &tenants);
        drop(shares);
        Ok(Place { of: self.clone(), caller, tenants })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.shares.lock().give_back(&self.caller, &self.tenants);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::tenant;

    #[test]
    fn a_caller_has_half_and_a_tenant_three_quarters() {
        let places = Places::new("things", 8);
        let take = |caller: &str, names: &[&str]| {
            places.take_for(caller.to_owned(), names.iter().map(|name| tenant(name)).collect())
        };
        let mut of_ann: Vec<_> = (0..4).map(|_| take("ann", &["a"]).unwrap()).collect();
        assert!(matches!(take("ann", &["a"]), Err(Error::Busy { what: "things" })));
        assert!(take("ann", &["b"]).is_err(), "of whatever tenant");
        let of_bob: Vec<_> = (0..2).map(|_| take("bob", &["a", "b"]).unwrap()).collect();
        assert!(take("eve", &["a"]).is_err(), "all callers of a together");
        assert!(take("eve", &["a", "c"]).is_err(), "also beside another tenant");
        let others: Vec<_> = (0..2).map(|_| take("eve", &["b"]).unwrap()).collect();
        assert!(take("joe", &["c"]).is_err(), "there are eight");
        of_ann.pop();
        assert!(take("eve", &["a"]).is_ok());
        drop((of_ann, of_bob, others));
        assert!(places.shares.lock().is_empty(), "nobody is remembered");
    }

    #[test]
    fn of_few_there_is_one_and_of_none_there_is_none() {
        for all in 1..4 {
            let places = Places::new("things", all);
            assert!(places.take_for("ann".to_owned(), vec![tenant("a")]).is_ok(), "{all}");
        }
        assert!(Places::new("things", 0).take_for("ann".to_owned(), Vec::new()).is_err());
    }
}
