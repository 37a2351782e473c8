//! How long a commit waits, and for whom: for those who sent lately, since a sender that has its answer sends the
//! next batch. Who sends alone does not wait for others that are not there; many who send as fast as they can all
//! go in one commit, instead of halves of them in turn.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::Sender;

/// A commit that took long is worth waiting for: this part of its time.
const PART: u32 = 4;
/// But no longer than this.
const PART_MAX: Duration = Duration::from_millis(25);

/// Who sent lately.
#[derive(Debug)]
pub(super) struct Company {
    linger: Duration,
    /// Of the last commit, and of the one before; nobody knows at the start.
    last: Option<HashSet<Sender>>,
    before: HashSet<Sender>,
    /// How long the last one took.
    took: Duration,
}

/// For whom the next commit waits.
#[derive(Debug)]
pub(super) struct Expected {
    /// Not known: whoever comes.
    missing: Option<HashSet<Sender>>,
    until: Instant,
}

impl Company {
    /// Commits wait so long at most, unless they take much longer by themselves.
    pub(super) fn new(linger: Duration) -> Self {
        Self { linger, last: None, before: HashSet::new(), took: Duration::ZERO }
    }

    /// A commit begins, of batches of these.
    pub(super) fn went(&mut self, senders: impl Iterator<Item = Sender>) {
        self.before = self.last.replace(senders.collect()).unwrap_or_default();
    }

    /// It took so long.
    pub(super) fn took(&mut self, time: Duration) {
        self.took = time;
    }

    /// For whom a commit waits from now on.
    pub(super) fn expected(&self) -> Expected {
        let missing = self.last.as_ref().map(|last| last.union(&self.before).cloned().collect());
        let wait = self.linger.max((self.took / PART).min(PART_MAX));
        // Who switches waiting off means it.
        let wait = if self.linger.is_zero() { Duration::ZERO } else { wait };
        Expected { missing, until: Instant::now() + wait }
    }
}

impl Expected {
    /// A batch of this sender is there.
    pub(super) fn came(&mut self, sender: &Sender) {
        if let Some(missing) = &mut self.missing {
            missing.remove(sender);
        }
    }

    /// Whether nobody is missing.
    pub(super) fn all_came(&self) -> bool {
        self.missing.as_ref().is_some_and(HashSet::is_empty)
    }

    /// How long to wait for the others.
    pub(super) fn until(&self) -> Instant {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use heliograph_model::batch::ProducerId;
    use heliograph_model::tenant::TenantId;

    use super::*;

    const LINGER: Duration = Duration::from_millis(3);

    fn sender(name: &str) -> Sender {
        (TenantId::parse("t").unwrap(), Some(ProducerId::parse(name).unwrap()))
    }

    fn went(company: &mut Company, names: &[&str], millis: u64) {
        company.went(names.iter().map(|name| sender(name)));
        company.took(Duration::from_millis(millis));
    }

    /// Whether a commit waits for others when these are there.
    fn waits(company: &Company, names: &[&str]) -> bool {
        let mut expected = company.expected();
        names.iter().for_each(|name| expected.came(&sender(name)));
        !expected.all_came()
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_alone_does_not_wait() {
        let mut company = Company::new(LINGER);
        assert!(waits(&company, &["a"]), "others may be there, too");
        went(&mut company, &["a"], 5);
        assert!(!waits(&company, &["a"]));
        assert!(waits(&company, &["b"]));
    }

    #[tokio::test(start_paused = true)]
    async fn halves_that_go_in_turn_become_one() {
        let mut company = Company::new(LINGER);
        went(&mut company, &["a", "b"], 5);
        went(&mut company, &["c", "d"], 5);
        assert!(waits(&company, &["a", "b"]));
        assert!(!waits(&company, &["a", "b", "c", "d"]));
        went(&mut company, &["a", "b", "c", "d"], 5);
        went(&mut company, &["a"], 5);
        went(&mut company, &["a"], 5);
        assert!(!waits(&company, &["a"]), "those who have gone are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_commits_are_worth_more_patience() {
        let mut company = Company::new(LINGER);
        let wait = |company: &Company| company.expected().until() - Instant::now();
        for (took, expected) in [(5, LINGER), (40, Duration::from_millis(10)), (5_000, PART_MAX)] {
            went(&mut company, &["a"], took);
            assert_eq!(wait(&company), expected, "after {took} ms");
        }
        let mut company = Company::new(Duration::ZERO);
        went(&mut company, &["a"], 5_000);
        assert_eq!(wait(&company), Duration::ZERO);
    }
}
