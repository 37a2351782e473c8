//! Refusals added up, within bounds whatever comes: many from one address or of one agent are one sum, and so are all
//! others beyond that. Who has proved something has room of its own, so that strangers hide nobody who has.

use std::collections::HashMap;
use std::time::Duration;

use heliograph_model::time::Timestamp;
use heliograph_store::audit::Actor;
use tokio::time::Instant;

use super::Refusal;

/// How often the same is written: so a sum keeps its place as long, and as many places are as many rows.
pub(super) const EVERY: Duration = Duration::from_mins(1);
/// Sums of strangers, and as many of those who have proved something.
const GROUP_MAX: usize = 64;
/// Sums of one address of strangers, or of one actor.
const ALIKE_MAX: usize = 8;
/// Stands for why, where different refusals are one sum.
pub(super) const SEVERAL: &str = "several of these";

/// How often something was refused, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) count: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

/// The sums of the moment.
#[derive(Default)]
pub(super) struct Sums(HashMap<Refusal, Place>);

struct Place {
    /// What is not written; none, where all is.
    sum: Option<Sum>,
    /// From when on more is written.
    due: Instant,
}

impl Sums {
    /// Adds a refusal.
    pub(super) fn add(&mut self, refusal: Refusal, at: Timestamp) {
        let key = self.key(refusal);
        let place = self.0.entry(key).or_insert_with(|| Place { sum: None, due: Instant::now() });
        let sum = place.sum.get_or_insert(Sum { count: 0, first: at, last: at });
        sum.count = sum.count.saturating_add(1);
        sum.last = sum.last.max(at);
    }

    /// Under which sum it goes.
    fn key(&self, refusal: Refusal) -> Refusal {
        if self.0.contains_key(&refusal) {
            return refusal;
        }
        let is_stranger = refusal.actor == Actor::Nobody;
        let is_alike =
            |other: &&Refusal| other.actor == refusal.actor && (!is_stranger || other.from == refusal.from);
        let in_group = |other: &&Refusal| (other.actor == Actor::Nobody) == is_stranger;
        let key = if self.0.keys().filter(is_alike).count() < ALIKE_MAX {
            refusal
        } else {
            let from = refusal.from.filter(|_| is_stranger);
            Refusal { from, tenant: None, reason: SEVERAL, ..refusal }
        };
        if self.0.contains_key(&key) || self.0.keys().filter(in_group).count() < GROUP_MAX {
            return key;
        }
        Refusal { actor: Actor::Nobody, from: None, tenant: None, reason: SEVERAL }
    }

    /// Takes what is to be written now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Refusal, Sum)> {
        let mut due = Vec::new();
        self.0.retain(|refusal, place| {
            if place.due > now {
                return true;
            }
            place.due = now + EVERY;
            place.sum.take().map(|sum| due.push((refusal.clone(), sum))).is_some()
        });
        due
    }

    /// Takes all, also what was written a short time ago.
    pub(super) fn all(&mut self) -> Vec<(Refusal, Sum)> {
        let all = std::mem::take(&mut self.0).into_iter();
        all.filter_map(|(refusal, place)| place.sum.map(|sum| (refusal, sum))).collect()
    }

    /// Whether nothing is to be written, now or later.
    pub(super) fn are_written(&self) -> bool {
        self.0.values().all(|place| place.sum.is_none())
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use heliograph_model::tenant::TenantId;

    use super::*;

    fn refusal(actor: Actor, from: u32, tenant: &str) -> Refusal {
        let from = Some(IpAddr::V4(from.into()));
        Refusal { actor, from, tenant: Some(TenantId::parse(tenant).unwrap()), reason: "why" }
    }

    fn at(nanos: i64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    fn agent(name: &str) -> Actor {
        Actor::Agent(Some(name.into()))
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_is_due_at_once_and_what_follows_after_a_minute() {
        let mut sums = Sums::default();
        let one = refusal(Actor::Nobody, 1, "a");
        sums.add(one.clone(), at(1));
        sums.add(one.clone(), at(2));
        let sum = |count, first, last| Sum { count, first: at(first), last: at(last) };
        assert_eq!(sums.due(Instant::now()), [(one.clone(), sum(2, 1, 2))]);
        assert!(sums.are_written());
        for n in 3..1_000 {
            sums.add(one.clone(), at(n));
        }
        tokio::time::advance(EVERY / 2).await;
        assert_eq!(sums.due(Instant::now()), []);
        assert!(!sums.are_written());
        tokio::time::advance(EVERY / 2).await;
        assert_eq!(sums.due(Instant::now()), [(one.clone(), sum(997, 3, 999))]);
        tokio::time::advance(EVERY).await;
        assert_eq!(sums.due(Instant::now()), []);
        assert!(sums.0.is_empty(), "its place is free");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_a_bounded_number_of_sums_that_count_all_of_it() {
        let mut sums = Sums::default();
        let mut came = 0;
        let mut add = |actor, from, tenant: &str| {
            came += 1;
            sums.add(refusal(actor, from, tenant), at(1));
        };
        for n in 0..3_000 {
            add(Actor::Nobody, n, "a");
            add(Actor::Nobody, 7, &format!("t{n}"));
            add(agent("evil"), n, &format!("t{n}"));
        }
        add(agent("good"), 9, "a");
        for n in 0..3_000 {
            add(agent(&format!("n{n}")), 9, "a");
        }
        let due = sums.due(Instant::now());
        assert!(due.len() <= 2 * GROUP_MAX + 1, "{}", due.len());
        assert_eq!(due.iter().map(|(_, sum)| sum.count).sum::<u64>(), came);
        let of = |actor: &Actor| due.iter().filter(|(refusal, _)| refusal.actor == *actor).count();
        assert_eq!(of(&agent("evil")), ALIKE_MAX + 1);
        assert_eq!(of(&agent("good")), 1, "neither strangers nor another agent hide it");
        let several = Refusal { from: None, tenant: None, reason: SEVERAL, ..refusal(agent("evil"), 0, "a") };
        assert!(
            due.iter().any(|(refusal, sum)| *refusal == several && sum.count == 3_000 - ALIKE_MAX as u64)
        );
        // A place is one row a minute, whatever comes.
        for n in 0..3_000 {
            sums.add(refusal(Actor::Nobody, 100_000 + n, "a"), at(2));
        }
        assert!(sums.due(Instant::now()).len() <= 1);
    }
}
