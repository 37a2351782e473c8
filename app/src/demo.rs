//! `up --demo`: real Airflow logs, replayed for ever into files with current times, as a node would hold them.
//!
//! It only writes files; it knows nothing of the agent that follows them. The layout:
//! ```text
//! pods/<tenant>_<pod>_<uid>/<container>/0.log                    CRI, rotated to 0.log.<n>
//! task-logs/<tenant>/dag_id=…/run_id=…/task_id=…/attempt=1.log   Airflow 3 task files
//! ```

mod sample;
mod shift;
mod stage;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use heliograph_model::time::Clock;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::sample::Sample;
use self::stage::Stage;

/// The folder of containers' logs, below the replay's.
pub(crate) const PODS: &str = "pods";
/// The folder of task files, below the replay's; in it one of each tenant.
pub(crate) const TASK_LOGS: &str = "task-logs";
/// The tenants, each the name of its namespace.
pub(crate) const TENANTS: [&str; 3] = ["orion-analytics", "lumen-payments", "tidal-ml"];

/// The logs of each tenant, in the order of [`TENANTS`].
const BUNDLES: [&[u8]; 3] = [
    include_bytes!("../demo/orion-analytics.log.zst"),
    include_bytes!("../demo/lumen-payments.log.zst"),
    include_bytes!("../demo/tidal-ml.log.zst"),
];
/// How much is written at once at the start, so that the page is full.
const BACKFILL_NANOS: i64 = 600 * 1_000_000_000;
/// How often due records are written: often enough to look alive, seldom enough to cost nothing.
const TICK: Duration = Duration::from_millis(120);
/// Size at which a container's log is rotated: 12 containers of 5 files stay under 120 MiB.
const FILE_BYTES_MAX: u64 = 2 << 20;

/// Replays the bundled logs below `dir` until cancelled.
///
/// The first ten minutes are written at once; a replay that goes on where another stopped writes only what
/// came due since.
pub(crate) async fn replay(
    dir: &Path,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let (dir, now) = (dir.to_owned(), clock.now().as_nanos());
    let mut theatre = on_thread(move || Theatre::open(&dir, now, FILE_BYTES_MAX))
        .await
        .context("open the demo's folder")?;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let now = clock.now().as_nanos();
        theatre = on_thread(move || theatre.play_until(now).map(|()| theatre)).await?;
    }
}

/// Runs file work off the async threads.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("the demo's file work ended early")?
}

/// All tenants' plays on one stage.
struct Theatre {
    stage: Stage,
    plays: Vec<Play>,
}

/// One tenant's sample, played again and again.
struct Play {
    sample: Sample,
    /// When the present showing started.
    start: i64,
    /// The next record.
    next: usize,
}

impl Theatre {
    fn open(dir: &Path, now: i64, file_bytes_max: u64) -> anyhow::Result<Self> {
        let stage = Stage::open(dir, file_bytes_max)?;
        let mut plays = Vec::with_capacity(BUNDLES.len());
        for (tenant, bundle) in TENANTS.iter().zip(BUNDLES) {
            let sample = Sample::read(bundle).with_context(|| format!("read the sample of {tenant}"))?;
            let left_off = stage.last_written(sample.pod_paths()).filter(|time| *time <= now);
            let start = left_off.unwrap_or(i64::MIN).max(now.saturating_sub(BACKFILL_NANOS));
            plays.push(Play { sample, start, next: 0 });
        }
        Ok(Self { stage, plays })
    }

    /// Writes all that is due.
    fn play_until(&mut self, now: i64) -> anyhow::Result<()> {
        let mut shown = Vec::new();
        for play in &mut self.plays {
            // After a machine's sleep the past is not made up for beyond the first fill.
            if play.due() < now.saturating_sub(BACKFILL_NANOS) {
                (play.start, play.next) = (now.saturating_sub(BACKFILL_NANOS), 0);
            }
            while play.due() <= now {
                shown.extend(play.sample.show(play.next, play.start));
                play.advance();
            }
        }
        self.stage.write(shown, now)
    }
}

impl Play {
    /// When the next record appears.
    fn due(&self) -> i64 {
        self.start.saturating_add(self.sample.at(self.next).unwrap_or(self.sample.length))
    }

    fn advance(&mut self) {
        self.next += 1;
        if self.sample.at(self.next).is_none() {
            (self.start, self.next) = (self.start.saturating_add(self.sample.length), 0);
        }
    }
}

#[cfg(test)]
mod tests;
