//! What goes wrong when: drawn from a seed before anything runs, so that the seed alone tells it.

use std::time::Duration;

use super::{AGENTS, INDEXERS, QUERIES};
use crate::seed::Random;

/// Something goes wrong, or well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// An indexer is killed and started again.
    KillIndexer(usize),
    /// An agent is.
    KillAgent(usize),
    /// A query node is.
    KillQuery(usize),
    /// PostgreSQL is stopped as by a crash, and is away for so long.
    CrashPostgres(Duration),
    /// PostgreSQL is restarted in order.
    RestartPostgres,
    /// The store is restarted in the middle of whatever it does.
    RestartStore,
    /// From now on the store fails at 20 % of requests.
    StoreFails,
    /// Not any more.
    StoreWorks,
}

/// A run of this length: an indexer is killed once in `kill_every`, an agent once in three times that; each
/// other trouble has its part of the time.
pub(super) fn draw(random: &mut Random, length: Duration, kill_every: Duration) -> Vec<(Duration, Event)> {
    let mut events = Vec::new();
    let mut repeat = |every: Duration, random: &mut Random, event: &dyn Fn(u64) -> Event| {
        let ms = u64::try_from(every.as_millis()).unwrap();
        let mut begin = Duration::ZERO;
        while begin + every <= length {
            events.push((begin + random.millis(ms / 4, ms), event(random.next())));
            begin += every;
        }
    };
    let one_of = |number: u64, count: usize| usize::try_from(number % count as u64).unwrap();
    repeat(kill_every, random, &|number| Event::KillIndexer(one_of(number, INDEXERS)));
    repeat(kill_every * 3, random, &|number| Event::KillAgent(one_of(number, AGENTS)));
    let query = one_of(random.next(), QUERIES);
    let mut at = |per_cent: u32, event| {
        let jitter = random.millis(0, u64::try_from(length.as_millis()).unwrap() / 20);
        events.push((length * per_cent / 100 + jitter, event));
    };
    at(15, Event::CrashPostgres(Duration::from_millis(1_500)));
    at(30, Event::StoreFails);
    at(45, Event::KillQuery(query));
    at(55, Event::StoreWorks);
    at(65, Event::RestartPostgres);
    at(80, Event::RestartStore);
    events.sort_unstable();
    events
}

#[test]
fn the_seed_alone_tells_what_happens() {
    let (length, kill_every) = (Duration::from_mins(5), Duration::from_secs(20));
    let of = |seed| draw(&mut Random::seeded(seed), length, kill_every);
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
    let events = of(7);
    assert!(events.is_sorted() && events.iter().all(|(at, _)| *at <= length));
    let kills = events.iter().filter(|(_, event)| matches!(event, Event::KillIndexer(_)));
    assert_eq!(kills.count(), 15);
    let at = |event| events.iter().find(|(_, e)| *e == event).unwrap().0;
    assert!(at(Event::StoreWorks) - at(Event::StoreFails) >= Duration::from_mins(1));
}
