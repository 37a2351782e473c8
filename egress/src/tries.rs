//! How many credentials of one address may prove nothing.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Credentials of an address that may prove nothing within a minute; as many as wrong passwords.
pub const FAILURES_MAX: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered; beyond, those that have been quiet longest are forgotten.
const ADDRESSES_MAX: usize = 20_000;

/// Recent failures. A try counts as one until it is taken back, so that tries side by side count, too.
#[derive(Debug, Default)]
pub struct Tries(Mutex<HashMap<IpAddr, VecDeque<Instant>>>);

impl Tries {
    /// Counts a try, or says how long to wait.
    pub fn begin(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut tries = self.0.lock();
        let from = network(from);
        if tries.len() >= ADDRESSES_MAX && !tries.contains_key(&from) {
            forget(&mut tries, now);
        }
        let recent = tries.entry(from).or_default();
        while recent.front().is_some_and(|at| now.duration_since(*at) >= WINDOW) {
            recent.pop_front();
        }
        match recent.front() {
            Some(first) if recent.len() >= FAILURES_MAX => {
                Err(WINDOW.saturating_sub(now.duration_since(*first)))
            }
            _ => {
                recent.push_back(now);
                Ok(())
            }
        }
    }

    /// The try that began then was none.
    pub fn take_back(&self, from: IpAddr, began: Instant) {
        let (mut tries, from) = (self.0.lock(), network(from));
        if let Some(recent) = tries.get_mut(&from) {
            if let Some(index) = recent.iter().rposition(|at| *at == began) {
                recent.remove(index);
            }
            if recent.is_empty() {
                tries.remove(&from);
            }
        }
    }
}

/// All of one IPv6 network of 64 bits are one, as one host has them all.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

fn forget(tries: &mut HashMap<IpAddr, VecDeque<Instant>>, now: Instant) {
    tries.retain(|_, recent| recent.back().is_some_and(|at| now.duration_since(*at) < WINDOW));
    if tries.len() >= ADDRESSES_MAX {
        let oldest = tries.iter().min_by_key(|(_, recent)| recent.back().copied()).map(|(from, _)| *from);
        oldest.and_then(|from| tries.remove(&from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_an_address_and_minute_and_memory_is_bounded() {
        let (tries, start) = (Tries::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let [one, same, other] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|a| a.parse().unwrap());
        for second in 0..10 {
            tries.begin(one, at(second)).unwrap();
        }
        assert_eq!(tries.begin(same, at(10)), Err(Duration::from_secs(50)));
        tries.begin(other, at(10)).unwrap();
        tries.take_back(other, at(10));
        assert_eq!(tries.0.lock().len(), 1);
        tries.begin(same, at(60)).unwrap();
        for n in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 10 {
            tries.begin(std::net::Ipv4Addr::from_bits(n).into(), at(61)).unwrap();
        }
        assert_eq!(tries.0.lock().len(), ADDRESSES_MAX);
    }
}
