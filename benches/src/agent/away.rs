//! What a sink costs that is away while logs go on, and how soon all has arrived once it is back.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::latency::{create, times, write};
use super::logs::Logs;
use super::sink::{Agent, now};
use crate::size::{float, mib};

/// How long fresh lines are written once the sink is back.
const BACK_SECONDS: u32 = 5;

#[derive(Clone, Copy, Serialize)]
pub(super) struct Away {
    seconds: u32,
    memory_bytes_max: u64,
    spool_bytes: u64,
    /// From the sink's return until the backlog had arrived.
    caught_up_seconds: f64,
    memory_bytes_max_back: u64,
    /// Milliseconds that fresh lines of another tenant took after the return, median and 99th percentile.
    fresh: [f64; 2],
}

impl Away {
    /// The figures, of a backlog of so many MB.
    pub(super) fn rows(&self, backlog: f64) -> [(&'static str, f64); 9] {
        let [fresh, fresh_99] = self.fresh;
        [
            ("sink away, s", f64::from(self.seconds)),
            ("backlog, MB", backlog),
            ("peak memory while it is away, MiB", mib(self.memory_bytes_max)),
            ("spool on disk, MB", float(self.spool_bytes) / 1e6),
            ("back: MB of the backlog a second", backlog / self.caught_up_seconds),
            ("back: times the rate at which it came", f64::from(self.seconds) / self.caught_up_seconds),
            ("back: peak memory, MiB", mib(self.memory_bytes_max_back)),
            ("back: another tenant's fresh lines meanwhile, median, ms", fresh),
            ("back: another tenant's fresh lines meanwhile, p99, ms", fresh_99),
        ]
    }
}

/// The files below `root` are the backlog; fresh lines are written beside them, so many a second for so many seconds.
pub(super) async fn measure(
    heliograph: &Path,
    root: &Path,
    data: &Path,
    logs: Logs,
    (rate, seconds): (u32, u32),
) -> anyhow::Result<Away> {
    let mut files = [create(root, "lines")?, create(root, "tracebacks")?];
    let mut agent = Agent::start_alone(heliograph, root, data).await?;
    let (before, mut files) = tokio::task::spawn_blocking(move || {
        let written = write(&mut files, (rate, seconds))?;
        std::io::Result::Ok((written, files))
    })
    .await??;
    let memory_bytes_max = agent.process.used()?.memory_bytes_max;
    let spool_bytes = size_of(&data.join("spool"))?;

    let (back, back_at) = (Instant::now(), now());
    agent.answer().await?;
    let fresh = tokio::task::spawn_blocking(move || write(&mut files, (rate, BACK_SECONDS)));
    let backlog = logs.lines + before + 2;
    while agent.arrived.lines() < backlog && back.elapsed() < Duration::from_secs(600) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A few of the fresh lines are among them; their share is far below what the figure is exact to.
    let caught_up_seconds = back.elapsed().as_secs_f64();
    agent.wait_for(backlog + fresh.await??).await?;
    let memory_bytes_max_back = agent.process.used()?.memory_bytes_max;
    let took = std::mem::take(&mut *agent.arrived.took.lock());
    agent.stop().await?;
    let fresh: Vec<_> = took.iter().filter(|took| !took.is_joined && took.sent >= back_at).collect();
    let fresh = times(&fresh);
    Ok(Away { seconds, memory_bytes_max, spool_bytes, caught_up_seconds, memory_bytes_max_back, fresh })
}

/// Bytes of the files in a folder.
fn size_of(folder: &Path) -> std::io::Result<u64> {
    std::fs::read_dir(folder)?.map(|file| file?.metadata().map(|meta| meta.len())).sum()
}
