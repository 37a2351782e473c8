//! What is said of an indexer that takes nothing: each thing at once when it is new, then once a minute.

use std::error::Error;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How often the same is said.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// Different things that are said in that time. Who finds a new excuse each time is not listened to.
const SAID_MAX: usize = 8;

/// What was said of late.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<Vec<(String, Instant)>>);

impl Complaints {
    /// Whether this is to be said `now`; then it counts as said.
    pub(super) fn is_due(&self, what: &str, now: Instant) -> bool {
        let mut said = self.0.lock();
        said.retain(|(_, at)| *at + SAY_EVERY > now);
        if said.len() >= SAID_MAX || said.iter().any(|(said, _)| said == what) {
            return false;
        }
        said.push((what.to_owned(), now));
        true
    }
}

/// An error with all its causes: HTTP clients say what really happened in the last of them.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some errors show their cause themselves.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_a_minute_and_what_is_new_at_once() {
        let complaints = Complaints::default();
        let (now, later) = (Instant::now(), Instant::now() + SAY_EVERY);
        let check = |what: &str, at, due: bool| assert_eq!(complaints.is_due(what, at), due, "{what}");
        check("404", now, true);
        check("404", now, false);
        check("405", now, true);
        check("404", now, false);
        check("404", later, true);
        for n in 1..SAID_MAX {
            check(&n.to_string(), later, true);
        }
        check("405", later, false);
    }

    #[test]
    fn causes_are_told_once() {
        let inner = std::io::Error::other("the alert");
        let outer = crate::Error::Disk { path: "/x".into(), source: std::io::Error::other(inner) };
        assert_eq!(with_causes(&outer), "cannot use /x: the alert");
    }
}
