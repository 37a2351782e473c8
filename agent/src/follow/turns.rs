//! Whose turn it is: tenants by deficit round robin (Shreedhar and Varghese, 1995), each tenant's files in turn.
//!
//! A tenant with a thousand busy files gets as many bytes read as one with a single busy file. A quota bounds what
//! is read of a tenant by time; beyond it the files themselves are the buffer.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use heliograph_model::source::SourceId;
use heliograph_model::tenant::TenantId;

/// How much of a tenant's quota may be used at once: this long's.
const BURST: Duration = Duration::from_secs(4);

/// The files that have something to read.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Bytes that a tenant may read before the next tenant has its turn.
    quantum: i64,
    /// Bytes a second that a tenant may read; none without a quota.
    quota: Option<f64>,
    lines: HashMap<TenantId, Line>,
    /// Tenants that have files waiting and may read.
    ring: VecDeque<TenantId>,
    /// Tenants that have used up their quota, each with when they may read again.
    parked: Vec<(Instant, TenantId)>,
}

/// A tenant's files.
#[derive(Debug)]
struct Line {
    files: VecDeque<SourceId>,
    /// Whether the tenant is in the ring, or parked.
    is_in: bool,
    /// Bytes that the tenant may still read in its turn; below zero what it has read beyond.
    deficit: i64,
    /// Bytes of the quota that are left, and when that was.
    left: f64,
    at: Instant,
}

impl Turns {
    /// Turns of `quantum` bytes, with a quota of so many bytes a second for each tenant.
    pub(crate) fn new(quantum: usize, quota: Option<u64>) -> Self {
        Self {
            quantum: i64::try_from(quantum).unwrap_or(i64::MAX).max(1),
            #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact to the byte")]
            quota: quota.map(|bytes| bytes as f64),
            lines: HashMap::new(),
            ring: VecDeque::new(),
            parked: Vec::new(),
        }
    }

    /// A file has something to read; it must not wait already.
    pub(crate) fn push(&mut self, tenant: &TenantId, file: SourceId, now: Instant) {
        let burst = self.burst();
        let line = self.lines.entry(tenant.clone()).or_insert_with(|| Line {
            files: VecDeque::new(),
            is_in: false,
            deficit: 0,
            left: burst,
            at: now,
        });
        if !std::mem::replace(&mut line.is_in, true) {
            self.ring.push_back(tenant.clone());
        }
        line.files.push_back(file);
    }

    fn burst(&self) -> f64 {
        self.quota.map_or(0.0, |quota| quota * BURST.as_secs_f64())
    }

    /// The file that is read next; none if all wait for their quota, or nothing waits.
    pub(crate) fn next(&mut self, now: Instant) -> Option<SourceId> {
        let due: Vec<_> = self.parked.extract_if(.., |(at, _)| *at <= now).collect();
        self.ring.extend(due.into_iter().map(|(_, tenant)| tenant));
        loop {
            let tenant = self.ring.front()?.clone();
            let line = self.lines.get_mut(&tenant)?;
            if line.files.is_empty() {
                // What it did not use is not kept for later.
                (line.is_in, line.deficit) = (false, line.deficit.min(0));
                self.ring.pop_front();
                continue;
            }
            if let Some(quota) = self.quota
                && let Some(wait) = line.wait(quota, now)
            {
                self.ring.pop_front();
                self.parked.push((now + wait, tenant));
                continue;
            }
            if line.deficit <= 0 {
                line.deficit += self.quantum;
                self.ring.rotate_left(1);
                continue;
            }
            return line.files.pop_front();
        }
    }

    /// So many bytes of a tenant's file were read.
    pub(crate) fn spent(&mut self, tenant: &TenantId, bytes: usize) {
        if let Some(line) = self.lines.get_mut(tenant) {
            let read = i64::try_from(bytes).unwrap_or(i64::MAX);
            // A turn in which nothing was to be read costs something, too.
            line.deficit = line.deficit.saturating_sub(read.max(1));
            #[expect(clippy::cast_precision_loss, reason = "as above")]
            let read = read as f64;
            line.left -= read;
        }
    }

    /// How many files wait of tenants that may read.
    pub(crate) fn len(&self) -> usize {
        self.ring.iter().filter_map(|tenant| self.lines.get(tenant)).map(|line| line.files.len()).sum()
    }

    /// Tenants that wait for their quota.
    pub(crate) fn parked(&self) -> usize {
        self.parked.len()
    }

    /// When the first of them may read again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.parked.iter().map(|(at, _)| *at).min()
    }

    /// Forgets tenants without files, whose quota is whole again.
    pub(crate) fn tidy(&mut self, now: Instant) {
        let burst = self.burst();
        self.lines.retain(|_, line| line.is_in || line.left < burst || line.at + BURST > now);
    }
}

impl Line {
    /// How long until the quota lets the tenant read again; none if it may.
    fn wait(&mut self, quota: f64, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * quota).min(quota * BURST.as_secs_f64());
        self.at = now;
        (self.left <= 0.0).then(|| Duration::try_from_secs_f64(-self.left / quota).unwrap_or(BURST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    /// Reads `rounds` times, each file as much as `bytes` gives for it, and counts what each tenant has read; files
    /// of `many` are below 1,000. All have something to read always.
    fn read(turns: &mut Turns, rounds: usize, now: Instant, bytes: impl Fn(u128) -> usize) -> [usize; 2] {
        let mut sums = [0, 0];
        for _ in 0..rounds {
            let Some(file) = turns.next(now) else { break };
            let (at, name) = if file.0 < 1_000 { (0, "many") } else { (1, "few") };
            sums[at] += bytes(file.0);
            turns.spent(&tenant(name), bytes(file.0));
            turns.push(&tenant(name), file, now);
        }
        sums
    }

    fn turns(quota: Option<u64>, now: Instant) -> Turns {
        let mut turns = Turns::new(100, quota);
        (0..500).for_each(|n| turns.push(&tenant("many"), SourceId(n), now));
        turns.push(&tenant("few"), SourceId(1_000), now);
        turns
    }

    #[test]
    fn a_tenant_with_many_files_gets_no_more_than_one_with_a_single_one() {
        let now = Instant::now();
        for bytes in [[100, 100], [7, 100], [100, 3], [1, 250]] {
            let mut turns = turns(None, now);
            let of = |file| if file < 1_000 { bytes[0] } else { bytes[1] };
            let [many, few] = read(&mut turns, 10_000, now, of);
            assert!(many.abs_diff(few) <= 500, "{bytes:?}: {many} and {few}");
        }
    }

    #[test]
    fn a_tenants_files_have_their_turns_one_after_the_other() {
        let now = Instant::now();
        let mut turns = Turns::new(10, None);
        (0..3).for_each(|n| turns.push(&tenant("many"), SourceId(n), now));
        let order: Vec<u128> = (0..6)
            .map(|_| {
                let file = turns.next(now).unwrap();
                turns.spent(&tenant("many"), 25);
                turns.push(&tenant("many"), file, now);
                file.0
            })
            .collect();
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
        assert_eq!(turns.len(), 3);
    }

    #[test]
    fn a_quota_holds_over_time_and_keeps_nobody_else_waiting() {
        let mut now = Instant::now();
        let mut turns = turns(Some(1_000), now);
        // Both use their burst up.
        let [many, few] = read(&mut turns, 100_000, now, |_| 50);
        assert!((4_000..=4_100).contains(&many) && (4_000..=4_100).contains(&few), "{many} {few}");
        assert_eq!((turns.next(now), turns.len(), turns.parked()), (None, 0, 2));
        assert!(turns.deadline().unwrap() <= now + Duration::from_millis(101));
        let mut sum = 0;
        for _ in 0..100 {
            now += Duration::from_millis(100);
            sum += read(&mut turns, 100_000, now, |_| 50)[0];
        }
        assert!((9_800..=10_200).contains(&sum), "{sum}");
        // A third one reads at once.
        turns.push(&tenant("new"), SourceId(5_000), now);
        assert_eq!(turns.next(now), Some(SourceId(5_000)));
        turns.tidy(now + Duration::from_secs(60));
        assert_eq!(turns.lines.len(), 3);
    }
}
