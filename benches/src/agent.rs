//! `bench agent`: what the agent costs from container logs on disk to a sink that acknowledges: catching up with files
//! that are there, watching files to which nobody writes, and how long a fresh line takes. The reference, in the same run, is one thread that
//! reads the same files and compresses them, which is the least that shipping them takes.

mod away;
mod latency;
mod logs;
mod sink;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::process::Used;
use crate::size::{float, mib};
use crate::table::{Table, figure, progress};
use latency::Latency;
use logs::{compress_all, write_idle, write_logs};
use sink::Agent;

/// More than a batch ever is.
const EXPANDED_BYTES_MAX: usize = 64 << 20;
/// How long an agent without work is left alone before it is measured.
const SETTLE: Duration = Duration::from_secs(3);

#[derive(Args)]
pub(crate) struct Options {
    /// The same seed makes the same lines.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Bytes of the corpus as NDJSON; its messages, about two fifths of that, are the lines.
    #[arg(long, default_value = "512MiB", value_parser = crate::size::parse)]
    bytes: u64,
    /// Files to which nobody writes.
    #[arg(long, default_value_t = 1_000)]
    idle_files: u32,
    /// How long they are watched.
    #[arg(long, default_value_t = 20)]
    idle_seconds: u32,
    /// Lines a second while it is measured how long they take.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// How long that goes on.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// How long the sink is away while a backlog is read and fresh lines are written.
    #[arg(long, default_value_t = 30)]
    away_seconds: u32,
    /// Writes every figure as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

pub(crate) async fn run(heliograph: &Path, options: &Options) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("heliograph-bench-agent-").tempdir()?;
    progress("writing container logs");
    let (busy, idle) = (folder.path().join("busy"), folder.path().join("idle"));
    let (seed, bytes, root) = (options.seed, options.bytes, busy.clone());
    let logs = tokio::task::spawn_blocking(move || write_logs(seed, bytes, &root)).await??;
    write_idle(&idle, options.idle_files)?;

    progress("reading and compressing them, for reference");
    let reference = {
        let root = busy.clone();
        tokio::task::spawn_blocking(move || compress_all(&root)).await??
    };
    progress("the agent catches up with them");
    let begun = Instant::now();
    let agent = Agent::start(heliograph, &busy, &folder.path().join("agent")).await?;
    agent.wait_for(logs.lines).await?;
    let wall = begun.elapsed().as_secs_f64();
    let used = agent.process.used()?;
    agent.stop().await?;
    progress("the agent watches files to which nobody writes");
    let (idle_cpu, idle_used) = watch(heliograph, &idle, &folder.path().join("idle-agent"), options).await?;
    progress("it is measured how long fresh lines take");
    let fresh = folder.path().join("fresh");
    let latency = latency::measure(heliograph, &fresh, (options.rate, options.seconds)).await?;
    progress("the sink is away, and comes back");
    let how = (options.rate, options.away_seconds);
    let away = away::measure(heliograph, &busy, &folder.path().join("away"), logs, how).await?;
    let Latency { line: [line, line_99], joined: [joined, joined_99], cpu } = latency;

    let (read, rate) = (float(logs.bytes) / 1e6, float(logs.bytes) / 1e6 / used.cpu_seconds);
    let mut table = Table::new(&["agent", "figure"]);
    for (name, value) in [
        ("files", float(logs.files)),
        ("lines, thousands", float(logs.lines) / 1e3),
        ("read, MB", read),
        ("wall, MB a second", read / wall),
        ("MB a CPU second", rate),
        ("reading and zstd alone, MB a CPU second", read / reference),
        ("CPU, times that of reading and zstd alone", used.cpu_seconds / reference),
        ("peak memory, MiB", mib(used.memory_bytes_max)),
        ("quiet files", float(options.idle_files.into())),
        ("CPU with quiet files, % of a core", 100.0 * idle_cpu),
        ("memory with quiet files, MiB", mib(idle_used.memory_bytes)),
        ("fresh lines a second", float(options.rate.into())),
        ("line written to batch received, median, ms", line),
        ("line written to batch received, p99, ms", line_99),
        ("the same of a traceback's last line, median, ms", joined),
        ("the same of a traceback's last line, p99, ms", joined_99),
        ("CPU with fresh lines, % of a core", 100.0 * cpu),
    ]
    .into_iter()
    .chain(away.rows(read))
    {
        table.row([name.to_owned(), figure(value)]);
    }
    table.print();
    if let Some(path) = &options.json {
        let all = json!({
            "logs": logs, "wall_seconds": wall, "used": used, "reference_cpu_seconds": reference,
            "fresh": { "rate": options.rate, "latency": latency },
            "away": away,
            "idle": { "files": options.idle_files, "cpu": idle_cpu, "used": idle_used },
        });
        fs::write(path, serde_json::to_vec_pretty(&all)?)?;
    }
    Ok(())
}

/// The share of a core, and the memory, of an agent whose files are quiet.
async fn watch(
    heliograph: &Path,
    root: &Path,
    data: &Path,
    options: &Options,
) -> anyhow::Result<(f64, Used)> {
    let agent = Agent::start(heliograph, root, data).await?;
    agent.wait_for(options.idle_files.into()).await?;
    tokio::time::sleep(SETTLE).await;
    let before = agent.process.used()?;
    tokio::time::sleep(Duration::from_secs(options.idle_seconds.into())).await;
    let after = agent.process.used()?;
    agent.stop().await?;
    Ok(((after.cpu_seconds - before.cpu_seconds) / f64::from(options.idle_seconds.max(1)), after))
}
