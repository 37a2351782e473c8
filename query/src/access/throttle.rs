//! How often somebody may be wrong, or do what costs much: per account, address or caller, in memory.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;
use parking_lot::Mutex;

/// Failed sign-ins that are let through in [`WINDOW`].
pub(super) const FAILURES_MAX: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Accounts and addresses remembered; beyond, the one that was quiet longest is forgotten.
const KEYS_MAX: usize = 20_000;

/// Whose failures are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Account(Box<str>),
    Address(IpAddr),
    Tenant(TenantId),
}

impl Key {
    /// The account, whether or not it exists; a long name is cut, so that memory stays bounded.
    pub(crate) fn account(name: &str) -> Self {
        Self::Account(name.chars().take(100).collect::<String>().into())
    }

    /// The address; all of one IPv6 network of 64 bits are one, as one host has them all.
    pub(super) fn address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
            v4 => v4,
        })
    }
}

/// The recent tries. One counts until it is taken back, so that those side by side count, too.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// Under one key in [`WINDOW`].
    max: usize,
    tries: Mutex<HashMap<Key, VecDeque<Timestamp>>>,
}

impl Throttle {
    /// For so many a minute under each key.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, tries: Mutex::default() }
    }

    /// Counts a try under all keys, or says how long to wait.
    pub(crate) fn begin(&self, keys: &[Key], now: Timestamp) -> Result<(), Duration> {
        let mut tries = self.tries.lock();
        let mut wait = Duration::ZERO;
        for key in keys {
            let Some(recent) = tries.get_mut(key) else { continue };
            while recent.front().is_some_and(|at| age(*at, now) >= WINDOW) {
                recent.pop_front();
            }
            if recent.len() >= self.max
                && let Some(first) = recent.front()
            {
                wait = wait.max(WINDOW.saturating_sub(age(*first, now)));
            }
        }
        if wait > Duration::ZERO {
            return Err(wait);
        }
        for key in keys {
            if tries.len() >= KEYS_MAX && !tries.contains_key(key) {
                forget(&mut tries, now);
            }
            tries.entry(key.clone()).or_default().push_back(now);
        }
        Ok(())
    }

    /// Takes a try back: it succeeded.
    pub(super) fn succeeded(&self, keys: &[Key], at: Timestamp) {
        let mut tries = self.tries.lock();
        for key in keys {
            if let Some(recent) = tries.get_mut(key) {
                if let Some(index) = recent.iter().rposition(|t| *t == at) {
                    recent.remove(index);
                }
                if recent.is_empty() {
                    tries.remove(key);
                }
            }
        }
    }
}

/// Refusals that are written down one by one: as many of one address as it may have failures.
#[derive(Debug)]
pub(crate) struct Refusals(Throttle);

impl Default for Refusals {
    fn default() -> Self {
        Self(Throttle::new(FAILURES_MAX))
    }
}

impl Refusals {
    /// Whether one more is.
    pub(crate) fn may(&self, from: IpAddr, now: Timestamp) -> bool {
        self.0.begin(&[Key::address(from)], now).is_ok()
    }
}

fn age(at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_nanos(u64::try_from(now.nanos_since(at)).unwrap_or(0))
}

fn forget(tries: &mut HashMap<Key, VecDeque<Timestamp>>, now: Timestamp) {
    tries.retain(|_, recent| recent.back().is_some_and(|at| age(*at, now) < WINDOW));
    if tries.len() >= KEYS_MAX {
        let oldest =
            tries.iter().min_by_key(|(_, recent)| recent.back().copied()).map(|(key, _)| key.clone());
        oldest.and_then(|key| tries.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn ten_failures_a_minute_then_a_wait() {
        let throttle = Throttle::new(FAILURES_MAX);
        let keys = [Key::account("ann"), Key::address("10.0.0.1".parse().unwrap())];
        for second in 0..10 {
            throttle.begin(&keys, at(second)).unwrap();
        }
        assert_eq!(throttle.begin(&keys, at(10)), Err(Duration::from_secs(50)));
        // Another account from the same address waits, too; another address does for the same account.
        assert!(throttle.begin(&[Key::account("bob"), keys[1].clone()], at(10)).is_err());
        assert!(
            throttle.begin(&[keys[0].clone(), Key::address("10.0.0.2".parse().unwrap())], at(10)).is_err()
        );
        assert!(throttle.begin(&[Key::account("bob")], at(10)).is_ok());
        assert!(throttle.begin(&keys, at(60)).is_ok());
    }

    #[test]
    fn success_counts_for_nothing() {
        let throttle = Throttle::new(FAILURES_MAX);
        let keys = [Key::account("ann")];
        for second in 0..100 {
            throttle.begin(&keys, at(second)).unwrap();
            throttle.succeeded(&keys, at(second));
        }
        assert!(throttle.tries.lock().is_empty());
    }

    #[test]
    fn memory_is_bounded_and_networks_are_one() {
        let throttle = Throttle::new(FAILURES_MAX);
        for n in 0..KEYS_MAX + 10 {
            throttle.begin(&[Key::account(&n.to_string())], at(1)).unwrap();
        }
        assert_eq!(throttle.tries.lock().len(), KEYS_MAX);
        let key = |text: &str| Key::address(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
    }
}
