//! Faults between two that talk: which, how often, and by which seed.
//!
//! [`tcp::Proxy`] passes bytes and knows nothing of them: for TLS, HTTP and PostgreSQL. [`http::Proxy`] passes
//! requests one by one and makes faults at every point of one. What happens to the n-th connection or request is
//! told by the seed, which is printed; `FAULTS_SEED` in the environment replays one.

pub mod http;
pub mod tcp;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Which faults strike, drawn from a seed; shared by a proxy and its test, which may change it at any time.
#[derive(Clone, Debug)]
pub struct Faults<F>(Arc<Mutex<Drawn<F>>>);

#[derive(Debug)]
struct Drawn<F> {
    random: fastrand::Rng,
    per_cent: u32,
    kinds: Vec<F>,
    next: Vec<F>,
    struck: BTreeMap<F, usize>,
}

impl<F: Copy + Ord> Faults<F> {
    /// None, until told otherwise. Prints its seed.
    pub fn none() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test is replayed by its environment")]
        let given = std::env::var("FAULTS_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = given.unwrap_or_else(|| fastrand::u64(..));
        eprintln!("FAULTS_SEED={seed}");
        let random = fastrand::Rng::with_seed(seed);
        let drawn =
            Drawn { random, per_cent: 0, kinds: Vec::new(), next: Vec::new(), struck: BTreeMap::new() };
        Self(Arc::new(Mutex::new(drawn)))
    }

    /// From now on, so many of a hundred are struck by one of these.
    pub fn set(&self, per_cent: u32, kinds: impl Into<Vec<F>>) {
        let mut drawn = self.0.lock();
        drawn.kinds = kinds.into();
        drawn.per_cent = if drawn.kinds.is_empty() { 0 } else { per_cent };
    }

    /// The next ones are struck by these, in this order, whatever the rate is.
    pub fn next(&self, kinds: impl Into<Vec<F>>) {
        let mut kinds = kinds.into();
        kinds.reverse();
        self.0.lock().next = kinds;
    }

    /// No more faults, those told to be next included.
    pub fn clear(&self) {
        let mut drawn = self.0.lock();
        (drawn.per_cent, drawn.next) = (0, Vec::new());
    }

    /// How often each has struck.
    pub fn struck(&self) -> BTreeMap<F, usize> {
        self.0.lock().struck.clone()
    }

    /// How often any has struck.
    pub fn count(&self) -> usize {
        self.0.lock().struck.values().sum()
    }

    /// What happens to the next one.
    fn draw(&self) -> Option<F> {
        let mut drawn = self.0.lock();
        // Drawn in any case, so that a seed means the same whatever was told to be next.
        let (at, which) = (drawn.random.u32(0..100), drawn.random.usize(..));
        let by_rate = (at < drawn.per_cent).then(|| drawn.kinds[which % drawn.kinds.len()]);
        let fault = drawn.next.pop().or(by_rate);
        if let Some(fault) = fault {
            *drawn.struck.entry(fault).or_default() += 1;
        }
        fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_strike_as_are_asked_for_of_every_kind() {
        let faults = Faults::none();
        faults.set(20, ['a', 'b']);
        let struck = (0..10_000).filter(|_| faults.draw().is_some()).count();
        assert!((1_700..2_300).contains(&struck), "{struck}");
        assert_eq!(faults.struck().keys().collect::<String>(), "ab");
        assert_eq!(faults.count(), struck);
        faults.clear();
        assert!((0..1_000).all(|_| faults.draw().is_none()));
        faults.next(['b', 'a']);
        assert_eq!([faults.draw(), faults.draw(), faults.draw()], [Some('b'), Some('a'), None]);
    }
}
