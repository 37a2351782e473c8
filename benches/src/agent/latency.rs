//! How long a line takes from the file to the sink.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::sink::{Agent, SENT, Took, now};
use crate::series::Series;

/// One in so many records is a traceback in a file of its own, whose last line is held back for others that may belong
/// to it: so rare that nothing follows while it is.
const TRACEBACK_EVERY: u32 = 50;
const TRACEBACK_LINES: u64 = 3;

/// Milliseconds from a line's write to its batch's arrival, median and 99th percentile, and the agent's share of a
/// core.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Latency {
    pub(super) line: [f64; 2],
    /// Of the last line of records of several.
    pub(super) joined: [f64; 2],
    pub(super) cpu: f64,
}

pub(super) async fn measure(heliograph: &Path, folder: &Path, how: (u32, u32)) -> anyhow::Result<Latency> {
    let root = folder.join("pods");
    let mut files = [create(&root, "lines")?, create(&root, "tracebacks")?];
    let agent = Agent::start(heliograph, &root, &folder.join("agent")).await?;
    agent.wait_for(2).await?;
    let before = agent.process.used()?.cpu_seconds;
    let written = tokio::task::spawn_blocking(move || write(&mut files, how)).await??;
    agent.wait_for(2 + written).await?;
    let cpu = (agent.process.used()?.cpu_seconds - before) / f64::from(how.1.max(1));
    let took = std::mem::take(&mut *agent.arrived.took.lock());
    agent.stop().await?;
    let (joined, line) = took.iter().partition::<Vec<_>, _>(|took| took.is_joined);
    Ok(Latency { line: times(&line), joined: times(&joined), cpu })
}

/// Median and 99th percentile, in milliseconds.
pub(super) fn times(took: &[&Took]) -> [f64; 2] {
    let series = Series::new(took.iter().map(|took| took.took.as_secs_f64() * 1e3).collect());
    [series.at(0.5), series.at(0.99)]
}

pub(super) fn create(root: &Path, container: &str) -> std::io::Result<File> {
    let folder = root.join("fresh_pod_00000000-0000-4000-8000-000000000000").join(container);
    fs::create_dir_all(&folder)?;
    let mut file = File::create(folder.join("0.log"))?;
    writeln!(file, "2026-11-02T06:00:00.000000000Z stdout F ready")?;
    Ok(file)
}

/// Writes records at a steady rate; gives the number of lines.
#[expect(clippy::disallowed_methods, reason = "a thread of its own, which writes at a steady rate")]
pub(super) fn write(
    [lines_file, tracebacks]: &mut [File; 2],
    (rate, seconds): (u32, u32),
) -> std::io::Result<u64> {
    let begun = Instant::now();
    let mut lines = 0;
    for n in 0..rate * seconds {
        let due = begun + Duration::from_secs(1) * n / rate.max(1);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let at = "2026-11-02T06:00:00.000000000Z stdout F";
        if n % TRACEBACK_EVERY == TRACEBACK_EVERY - 1 {
            let head = "Traceback (most recent call last):";
            let text = format!("{at} {head}\n{at}   File \"dag.py\", line 7, in run\n");
            writeln!(tracebacks, "{text}{at} ValueError: no rows, {SENT}{}", now())?;
            lines += TRACEBACK_LINES;
        } else {
            writeln!(lines_file, "{at} line {n} of the task, {SENT}{}", now())?;
            lines += 1;
        }
    }
    Ok(lines)
}
