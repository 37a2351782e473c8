//! Lines that belong together become one event. Which do is told by [`heliograph_model::airflow`]; here are
//! the bounds on size and on waiting.

use std::time::{Duration, Instant};

use heliograph_model::airflow::continuation::{Continuation, Decision};
use heliograph_model::record::MESSAGE_BYTES_MAX;
use heliograph_model::source::Position;

use super::Event;

/// How long an event that is likely to go on is held back after its last line.
const HOLD_AFTER_LINE: Duration = Duration::from_millis(200);

/// Joins the lines of one stream.
#[derive(Debug, Default)]
pub(crate) struct Joiner {
    rules: Continuation,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    event: Event,
    began: Instant,
    touched: Instant,
}

impl Joiner {
    /// Reads the next line of the stream; gives the event that it ends.
    pub(crate) fn push(&mut self, head: Event, text: &str, now: Instant) -> Option<Event> {
        let decision = self.rules.feed(text);
        if decision == Decision::Continues
            && let Some(pending) = &mut self.pending
            && pending.event.text.len() + text.len() < MESSAGE_BYTES_MAX
            && !pending.event.cut
        {
            pending.event.text.push('\n');
            pending.event.text.push_str(text);
            pending.event.end = head.end;
            pending.event.cut = head.cut;
            pending.touched = now;
            return None;
        }
        let done = self.take();
        if !text.trim_ascii().is_empty() {
            let event = Event { text: text.to_owned(), ..head };
            self.pending = Some(Pending { event, began: now, touched: now });
        }
        done
    }

    /// Whether a blank line would become part of an event; such a one is not counted as passed over.
    pub(crate) fn takes_blank(&self, head: &Event, text: &str) -> bool {
        let joins = || self.rules.clone().feed(text) == Decision::Continues;
        !head.cut && self.pending.is_some() && joins()
    }

    /// The pending event, if it is not likely to go on, has waited long enough, or with `force`.
    pub(crate) fn settle(&mut self, now: Instant, force: bool) -> Option<Event> {
        let waits = |p: &Pending| self.rules.expects_more() && now < p.touched + HOLD_AFTER_LINE;
        if force || !self.pending.as_ref().is_some_and(waits) { self.take() } else { None }
    }

    /// Whether the pending event began longer than `age` ago.
    pub(crate) fn began_before(&self, now: Instant, age: Duration) -> bool {
        self.pending.as_ref().is_some_and(|p| p.began + age <= now)
    }

    /// When the pending event has waited long enough.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pending.as_ref().map(|p| p.touched + HOLD_AFTER_LINE)
    }

    /// Bytes of memory for the pending event.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |p| p.event.text.capacity())
    }

    /// Where the pending event begins.
    pub(crate) fn start(&self) -> Option<Position> {
        self.pending.as_ref().map(|p| p.event.start)
    }

    fn take(&mut self) -> Option<Event> {
        let mut event = self.pending.take()?.event;
        event.text.truncate(event.text.trim_end_matches(['\n', '\r']).len());
        Some(event)
    }
}
