//! How many exports there may be: at the same time, and begun in a minute.

use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;

use crate::access::{Key, Throttle};
use crate::error::{Error, Result};
use crate::shares::{Place, Places};

/// Begun by one caller in a minute: a script that fetches each task's log is not held up, a loop is.
const CALLER_MAX: usize = 60;
/// Begun over one tenant in a minute, by all its callers.
const TENANT_MAX: usize = 240;

/// Who exports, and who did lately.
pub(crate) struct Exports {
    places: Places,
    of_callers: Throttle,
    of_tenants: Throttle,
}

impl Exports {
    /// So many at the same time.
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            places: Places::new("exports", at_once),
            of_callers: Throttle::new(CALLER_MAX),
            of_tenants: Throttle::new(TENANT_MAX),
        }
    }

    /// A place for an export of these tenants' records; [`Error::Busy`] or [`Error::TooOften`] without one.
    pub(crate) fn begin(&self, caller: String, tenants: Vec<TenantId>, now: Timestamp) -> Result<Place> {
        let too_often = |retry_after| Error::TooOften { what: "exports", retry_after };
        let caller_key = Key::account(&caller);
        let tenant_keys: Vec<Key> = tenants.iter().cloned().map(Key::Tenant).collect();
        // First, so that what is refused for want of room does not count.
        let place = self.places.take_for(caller, tenants)?;
        self.of_callers.begin(&[caller_key], now).map_err(too_often)?;
        self.of_tenants.begin(&tenant_keys, now).map_err(too_often)?;
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::tenant;

    #[test]
    fn exports_have_a_rate_by_caller_and_by_tenant() {
        let exports = Exports::new(8);
        let at = |second: i64| Timestamp::from_nanos(second * 1_000_000_000);
        let begin = |caller: &str, of: &str, second| {
            exports.begin(caller.to_owned(), vec![tenant(of)], at(second)).map(drop)
        };
        for second in 0..30 {
            begin("ann", "a", second).unwrap();
            begin("ann", "b", second).unwrap();
        }
        let wait = std::time::Duration::from_secs(30);
        assert!(
            matches!(begin("ann", "a", 30), Err(Error::TooOften { what: "exports", retry_after }) if retry_after == wait)
        );
        begin("ann", "c", 60).unwrap();
        for caller in ["bob", "eve", "joe"] {
            (0..CALLER_MAX).for_each(|_| begin(caller, "a", 31).unwrap());
        }
        (0..TENANT_MAX - 3 * CALLER_MAX - 30).for_each(|_| begin("sue", "a", 31).unwrap());
        assert!(matches!(begin("sue", "a", 31), Err(Error::TooOften { .. })), "all callers of a together");
        begin("sue", "b", 31).unwrap();
    }

    #[test]
    fn what_found_no_place_does_not_count() {
        let exports = Exports::new(1);
        let begin = || exports.begin("ann".to_owned(), vec![tenant("a")], Timestamp::from_nanos(0));
        let held = begin().unwrap();
        (0..CALLER_MAX).for_each(|_| assert!(matches!(begin(), Err(Error::Busy { .. }))));
        drop(held);
        begin().unwrap();
    }
}
