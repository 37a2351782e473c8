//! What is hidden in a corpus so that it can be asked for, and where it is put.

use super::rng::Rng;

/// One line in so many holds [`Planted::rare`].
const RARE_EVERY: u64 = 50_000;
/// In how many lines [`Planted::ten`] stands.
const TEN: u64 = 10;

/// Texts that occur nowhere but where they were planted.
#[derive(Clone, Debug)]
pub(crate) struct Planted {
    /// In the message of exactly one line.
    pub(crate) needle: String,
    /// In the message of exactly ten lines.
    pub(crate) ten: String,
    /// In no line.
    pub(crate) absent: String,
    /// A word without digits, in every 50 000th line.
    pub(crate) rare: &'static str,
    /// The attribute `trace_id` of exactly one line.
    pub(crate) trace: String,
    /// The DAG whose one run is looked up by its `log_id`.
    pub(crate) dag: &'static str,
}

/// Which of them the next line takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Needle,
    Ten,
    Rare,
    Trace,
    Task,
}

impl Planted {
    /// Another seed hides other texts.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x706c_616e_7465_6421);
        Self {
            needle: rng.uuid(),
            ten: rng.uuid(),
            absent: rng.uuid(),
            rare: "kaleidoscope",
            trace: rng.hex(32),
            dag: "treasury_reconcile_vault_nightly",
        }
    }
}

/// Spreads the planted texts over a corpus, by the share of its bytes that is made.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    lines: u64,
    needle: bool,
    ten: u64,
    trace: bool,
    task: bool,
}

impl Schedule {
    /// What the next line takes; `done` of `bytes` are made.
    pub(crate) fn next(&mut self, done: u64, bytes: u64) -> Option<Due> {
        self.lines += 1;
        let percent = done.saturating_mul(100) / bytes.max(1);
        if !self.needle && percent >= 37 {
            self.needle = true;
            return Some(Due::Needle);
        }
        if !self.trace && percent >= 61 {
            self.trace = true;
            return Some(Due::Trace);
        }
        if !self.task && percent >= 45 {
            self.task = true;
            return Some(Due::Task);
        }
        if self.ten < TEN && percent >= 3 + self.ten * 9 {
            self.ten += 1;
            return Some(Due::Ten);
        }
        // Not at the beginning, so that a small corpus has one as well.
        (self.lines % RARE_EVERY == RARE_EVERY / 2).then_some(Due::Rare)
    }
}
