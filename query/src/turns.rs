//! Whose turn it is to search: so many at the same time, so many of one caller, and who waits is served caller by
//! caller, so that one with many dear questions holds up itself and not the others.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// Questions of one caller that wait: a page asks a handful, a tail that resumes one for each of its tenants.
const WAITING_MAX: usize = 128;
/// Questions of all callers that wait.
const WAITING_ALL_MAX: usize = 4_096;

/// Gives turns out.
pub(crate) struct Turns(Arc<Shared>);

struct Shared {
    at_once: usize,
    /// Of one caller: half of all, so that whoever comes next does not wait for the dear questions of one.
    of_one: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    /// Callers that run or wait.
    callers: HashMap<String, OfCaller>,
    /// Callers that wait, whose turn is next first.
    round: VecDeque<String>,
}

#[derive(Default)]
struct OfCaller {
    running: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// A turn, until it is dropped.
pub(crate) struct Turn {
    shared: Arc<Shared>,
    /// None where it was never given.
    caller: Option<String>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(caller) = self.caller.take() {
            self.shared.give_back(&caller);
        }
    }
}

impl Turns {
    /// For so many at the same time.
    pub(crate) fn new(at_once: usize) -> Self {
        let at_once = at_once.max(1);
        let shared = Shared { at_once, of_one: at_once.div_ceil(2), state: Mutex::default() };
        Self(Arc::new(shared))
    }

    /// Waits for a turn. Dropping this half-way gives up the place in the queue.
    pub(crate) async fn take(&self, caller: &str) -> Result<Turn> {
        let waiting = {
            let mut state = self.0.state.lock();
            let of = state.callers.entry(caller.to_owned()).or_default();
            of.waiting.retain(|waiting| !waiting.is_closed());
            if of.waiting.len() >= WAITING_MAX || self.waiting_of(&state) >= WAITING_ALL_MAX {
                return Err(Error::Busy { what: "searches" });
            }
            let (turn, waiting) = oneshot::channel();
            if let Some(of) = state.callers.get_mut(caller) {
                of.waiting.push_back(turn);
                if of.waiting.len() == 1 {
                    state.round.push_back(caller.to_owned());
                }
            }
            self.0.give_out(&mut state);
            waiting
        };
        waiting.await.map_err(|e| Error::server("taking turns", e))
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting_of(&self.0.state.lock())
    }

    fn waiting_of(&self, state: &State) -> usize {
        let open = |of: &OfCaller| of.waiting.iter().filter(|waiting| !waiting.is_closed()).count();
        state.round.iter().filter_map(|caller| state.callers.get(caller)).map(open).sum()
    }
}

impl Shared {
    /// Gives turns to who waits, round robin over the callers that may have one more.
    fn give_out(self: &Arc<Self>, state: &mut State) {
        let mut looked_at = 0;
        while state.running < self.at_once && looked_at < state.round.len() {
            let Some(caller) = state.round.pop_front() else { return };
            let Some(of) = state.callers.get_mut(&caller) else { continue };
            let mut given = false;
            while !given
                && of.running < self.of_one
                && let Some(waiting) = of.waiting.pop_front()
            {
                let turn = Turn { shared: Arc::clone(self), caller: Some(caller.clone()) };
                match waiting.send(turn) {
                    Ok(()) => {
                        of.running += 1;
                        state.running += 1;
                        given = true;
                    }
                    // Who gave up has no turn to give back.
                    Err(mut turn) => turn.caller = None,
                }
            }
            looked_at = if given { 0 } else { looked_at + 1 };
            if !of.waiting.is_empty() {
                state.round.push_back(caller);
            } else if of.running == 0 {
                state.callers.remove(&caller);
            }
        }
    }

    fn give_back(self: &Arc<Self>, caller: &str) {
        let mut state = self.state.lock();
        state.running = state.running.saturating_sub(1);
        if let Some(of) = state.callers.get_mut(caller) {
            of.running = of.running.saturating_sub(1);
            if of.running == 0 && of.waiting.is_empty() {
                state.callers.remove(caller);
            }
        }
        self.give_out(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    type Waiting<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Turn>> + 'a>>;

    /// Begins to wait; none where a turn is there at once.
    fn ask<'a>(turns: &'a Turns, caller: &'a str, held: &mut Vec<Turn>) -> Option<Waiting<'a>> {
        let mut waiting: Waiting<'a> = Box::pin(turns.take(caller));
        match waiting.as_mut().now_or_never() {
            Some(turn) => {
                held.push(turn.unwrap());
                None
            }
            None => Some(waiting),
        }
    }

    #[test]
    fn one_caller_leaves_room_for_others() {
        let turns = Turns::new(4);
        let mut held = Vec::new();
        let mut dear: Vec<_> = (0..5).filter_map(|_| ask(&turns, "dear", &mut held)).collect();
        assert_eq!((held.len(), dear.len(), turns.waiting()), (2, 3, 3));
        assert!(ask(&turns, "other", &mut held).is_none(), "others need not wait");
        held.remove(0);
        assert!(dear.remove(0).now_or_never().is_some_and(|turn| turn.is_ok_and(|turn| {
            held.push(turn);
            true
        })));
        assert!(dear.remove(0).now_or_never().is_none());
    }

    #[test]
    fn who_waits_is_served_caller_by_caller() {
        let turns = Turns::new(2);
        let mut held = Vec::new();
        let mut waiting: Vec<_> = ["a", "b", "a", "a", "a", "b", "c"]
            .into_iter()
            .filter_map(|caller| Some((caller, ask(&turns, caller, &mut held)?)))
            .collect();
        let mut served = Vec::new();
        while !waiting.is_empty() {
            held.remove(0);
            let mut left = Vec::new();
            for (caller, mut waiting) in waiting {
                match waiting.as_mut().now_or_never() {
                    Some(turn) => {
                        served.push(caller);
                        held.push(turn.unwrap());
                    }
                    None => left.push((caller, waiting)),
                }
            }
            waiting = left;
        }
        assert_eq!(served, ["a", "b", "c", "a", "a"]);
        held.clear();
        let state = turns.0.state.lock();
        assert_eq!((state.running, state.callers.len(), state.round.len()), (0, 0, 0), "nothing stays");
    }

    #[test]
    fn who_gives_up_holds_nothing_up() {
        let turns = Turns::new(1);
        let mut held = Vec::new();
        assert!(ask(&turns, "a", &mut held).is_none());
        let given_up = ask(&turns, "a", &mut held);
        let given_and_dropped = ask(&turns, "b", &mut held);
        let last = ask(&turns, "c", &mut held);
        drop(given_up);
        assert_eq!(turns.waiting(), 2);
        held.clear();
        // Its turn was on its way when it gave up.
        drop(given_and_dropped);
        assert!(last.unwrap().now_or_never().is_some());
        assert!(ask(&turns, "d", &mut held).is_none());
    }

    #[test]
    fn the_queue_has_a_bound() {
        let turns = Turns::new(1);
        let mut held = Vec::new();
        let waiting: Vec<_> = (0..=WAITING_MAX).filter_map(|_| ask(&turns, "a", &mut held)).collect();
        assert_eq!((held.len(), waiting.len()), (1, WAITING_MAX));
        assert!(matches!(turns.take("a").now_or_never(), Some(Err(Error::Busy { .. }))));
        assert!(ask(&turns, "b", &mut held).is_some());
        drop(waiting);
        assert!(ask(&turns, "a", &mut held).is_some(), "who gave up does not count");
    }
}
