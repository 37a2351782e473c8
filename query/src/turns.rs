//! Whose turn it is to search: so many at the same time, so many of one caller and of one tenant, and who waits is served
//! caller by caller, so that one with many dear questions holds up itself and not the others.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use heliograph_model::tenant::TenantId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::shares::Shares;

/// Questions of one caller that wait: a page asks a handful, a tail that resumes one for each of its tenants.
const WAITING_MAX: usize = 128;
/// Questions of all callers that wait.
const WAITING_ALL_MAX: usize = 4_096;
/// Of those, about one tenant: its people and tokens together leave room for other tenants' questions.
const WAITING_TENANT_MAX: usize = 1_024;

/// Gives turns out.
pub(crate) struct Turns(Arc<Shared>);

struct Shared(Mutex<State>);

struct State {
    running: Shares,
    /// What callers wait for, in their order.
    waiting: HashMap<String, VecDeque<Waiting>>,
    /// Callers that wait, whose turn is next first.
    round: VecDeque<String>,
}

struct Waiting {
    tenants: Vec<TenantId>,
    turn: oneshot::Sender<Turn>,
}

/// A turn, until it is dropped.
pub(crate) struct Turn {
    shared: Arc<Shared>,
    caller: String,
    tenants: Vec<TenantId>,
    /// Whether it was given: else there is nothing to give back.
    is_given: bool,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_given {
            self.shared.give_back(&self.caller, &self.tenants);
        }
    }
}

impl Turns {
    /// For so many at the same time.
    pub(crate) fn new(at_once: usize) -> Self {
        let state =
            State { running: Shares::new(at_once.max(1)), waiting: HashMap::new(), round: VecDeque::new() };
        Self(Arc::new(Shared(Mutex::new(state))))
    }

    /// Waits for a turn to search these tenants' records. Dropping this half-way gives up the place in the queue.
    pub(crate) async fn take(&self, caller: &str, tenants: &[TenantId]) -> Result<Turn> {
        let waits = {
            let mut state = self.0.0.lock();
            if !state.may_wait(caller, tenants) {
                return Err(Error::Busy { what: "searches" });
            }
            let (turn, waits) = oneshot::channel();
            let waiting = Waiting { tenants: tenants.to_vec(), turn };
            state.waiting.entry(caller.to_owned()).or_default().push_back(waiting);
            if !state.round.iter().any(|known| known == caller) {
                state.round.push_back(caller.to_owned());
            }
            self.0.give_out(&mut state);
            waits
        };
        waits.await.map_err(|e| Error::server("taking turns", e))
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.0.lock().waiting()
    }
}

impl State {
    /// Those that have not given up.
    fn live(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values().flatten().filter(|waiting| !waiting.turn.is_closed())
    }

    fn waiting(&self) -> usize {
        self.live().count()
    }

    /// Whether there is room in the queue for one more question of this caller about these tenants.
    fn may_wait(&mut self, caller: &str, tenants: &[TenantId]) -> bool {
        if let Some(of) = self.waiting.get_mut(caller) {
            of.retain(|waiting| !waiting.turn.is_closed());
            if of.len() >= WAITING_MAX {
                return false;
            }
        }
        let all = self.waiting();
        if all < WAITING_TENANT_MAX {
            return true;
        }
        let mut about: HashMap<&TenantId, usize> = tenants.iter().map(|tenant| (tenant, 0)).collect();
        for tenant in self.live().flat_map(|waiting| &waiting.tenants) {
            about.entry(tenant).and_modify(|count| *count += 1);
        }
        all < WAITING_ALL_MAX && about.values().all(|count| *count < WAITING_TENANT_MAX)
    }

    /// The next that this caller waits for and may have.
    fn next_of(&mut self, caller: &str) -> Option<Waiting> {
        let (running, waiting) = (&self.running, self.waiting.get_mut(caller)?);
        waiting.retain(|waiting| !waiting.turn.is_closed());
        // Not only the first: what waits for a busy tenant does not hold up what is about another.
        let at = waiting.iter().position(|waiting| running.has_room(caller, &waiting.tenants))?;
        waiting.remove(at)
    }
}

impl Shared {
    /// Gives turns to who waits, round robin over the callers that may have one more.
    fn give_out(self: &Arc<Self>, state: &mut State) {
        // Who has given up leaves the round, so what is left to look at is counted, and not what was looked at.
        let mut left = state.round.len();
        while !state.running.is_full() && left > 0 {
            let Some(caller) = state.round.pop_front() else { return };
            left -= 1;
            let mut is_given = false;
            while let Some(Waiting { tenants, turn: waits }) = state.next_of(&caller) {
                let turn = Turn { shared: Arc::clone(self), caller: caller.clone(), tenants, is_given: true };
                let of = turn.tenants.clone();
                match waits.send(turn) {
                    Ok(()) => {
                        state.running.take(&caller, &of);
                        is_given = true;
                        break;
                    }
                    // Who gave up meanwhile has no turn to give back.
                    Err(mut turn) => turn.is_given = false,
                }
            }
            if state.waiting.get(&caller).is_some_and(|waiting| !waiting.is_empty()) {
                state.round.push_back(caller);
            } else {
                state.waiting.remove(&caller);
            }
            if is_given {
                left = state.round.len();
            }
        }
    }

    fn give_back(self: &Arc<Self>, caller: &str, tenants: &[TenantId]) {
        let mut state = self.0.lock();
        state.running.give_back(caller, tenants);
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
        let mut waiting: Waiting<'a> = Box::pin(turns.take(caller, &[]));
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
        let state = turns.0.0.lock();
        assert!(
            state.running.is_empty() && state.waiting.is_empty() && state.round.is_empty(),
            "nothing stays"
        );
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
        assert!(matches!(turns.take("a", &[]).now_or_never(), Some(Err(Error::Busy { .. }))));
        assert!(ask(&turns, "b", &mut held).is_some());
        drop(waiting);
        assert!(ask(&turns, "a", &mut held).is_some(), "who gave up does not count");
    }

    #[test]
    fn one_tenants_questions_leave_room_in_the_queue() {
        let turns = Turns::new(1);
        let (a, b) = (["a"].map(crate::stage::tenant), ["b"].map(crate::stage::tenant));
        let _held = turns.take("first", &a).now_or_never();
        let callers: Vec<String> =
            (0..WAITING_TENANT_MAX / WAITING_MAX).map(|n| format!("caller {n} of a")).collect();
        let of_a: Vec<_> = callers
            .iter()
            .flat_map(|caller| std::iter::repeat_n(caller, WAITING_MAX))
            .map(|caller| {
                let mut wait: Waiting<'_> = Box::pin(turns.take(caller, &a));
                assert!(wait.as_mut().now_or_never().is_none());
                wait
            })
            .collect();
        let is_refused = |caller: &'static str, tenants: &[TenantId]| {
            turns.take(caller, tenants).now_or_never().is_some_and(|turn| turn.is_err())
        };
        assert!(is_refused("one more of a", &a));
        assert!(is_refused("of both", &[&b[..], &a[..]].concat()), "also beside another tenant");
        assert!(!is_refused("of b", &b), "another tenant's waits");
        assert!(!is_refused("of none", &[]));
        drop(of_a);
        assert!(!is_refused("one more of a", &a), "who gave up does not count");
    }

    #[test]
    fn one_tenants_callers_together_leave_room_for_other_tenants() {
        let turns = Turns::new(8);
        let (a, b) = (["a"].map(crate::stage::tenant), ["b"].map(crate::stage::tenant));
        let callers: Vec<String> = (0..20).map(|n| format!("caller {n} of a")).collect();
        let mut held = Vec::new();
        let mut waiting = Vec::new();
        for caller in &callers {
            let mut wait: Waiting<'_> = Box::pin(turns.take(caller, &a));
            match wait.as_mut().now_or_never() {
                Some(turn) => held.push(turn.unwrap()),
                None => waiting.push(wait),
            }
        }
        assert_eq!((held.len(), waiting.len()), (6, 14));
        let of_b = turns.take("b", &b).now_or_never();
        assert!(of_b.is_some_and(|turn| turn.is_ok()), "another tenant's does not wait");
        // Who reads both waits for a, and not with what is about b alone.
        let a_and_b = [&a[..], &b[..]].concat();
        let mut both: Waiting<'_> = Box::pin(turns.take("both", &a_and_b));
        assert!(both.as_mut().now_or_never().is_none());
        assert!(turns.take("both", &b).now_or_never().is_some());
        drop(waiting);
        held.pop();
        assert!(both.now_or_never().is_some(), "there is room again");
    }
}
