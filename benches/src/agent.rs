//! `bench agent`: what the agent costs from container logs on disk to a sink that acknowledges: catching up with files
//! that are there, and watching files to which nobody writes. The reference, in the same run, is one thread that
//! reads the same files and compresses them, which is the least that shipping them takes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use clap::Args;
use heliograph_model::codec;
use heliograph_model::record::RecordRef;
use serde_json::json;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::inside::thread_cpu;
use crate::process::{Process, Used, free_address};
use crate::sample::Sample;
use crate::size::{float, mib};
use crate::table::{Table, figure, progress};

/// More than a batch ever is.
const EXPANDED_BYTES_MAX: usize = 64 << 20;
/// What the reference compresses at once: as much as a batch of the agent's holds.
const PIECE_BYTES: usize = 1 << 20;
/// As the agent compresses.
const ZSTD_LEVEL: i32 = 1;
/// How long lines may take to arrive.
const PATIENCE: Duration = Duration::from_secs(600);
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
    /// Writes every figure as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Container logs below a root.
#[derive(Clone, Copy, Debug, serde::Serialize)]
struct Logs {
    files: u64,
    lines: u64,
    bytes: u64,
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
    ] {
        table.row([name.to_owned(), figure(value)]);
    }
    table.print();
    if let Some(path) = &options.json {
        let all = json!({
            "logs": logs, "wall_seconds": wall, "used": used, "reference_cpu_seconds": reference,
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

/// An agent under measurement, and the sink that it ships to.
struct Agent {
    process: Process,
    lines: Arc<AtomicU64>,
    _serving: JoinSet<std::io::Result<()>>,
}

impl Agent {
    async fn start(heliograph: &Path, root: &Path, data: &Path) -> anyhow::Result<Self> {
        let lines = Arc::new(AtomicU64::new(0));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let sink = listener.local_addr()?;
        let app = Router::new()
            .route("/v1/logs", post(receive))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&lines));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await });

        let status = free_address()?;
        let config = data.with_extension("toml");
        let text = format!(
            "[agent]\ndata_dir = {data:?}\nstatus_listen = {status:?}\nindexers = [\"http://{sink}\"]\n\
             [[agent.inputs]]\nkind = \"containers\"\nroot = {root:?}\n\
             [agent.tenants]\nsame_name = true\n[auth]\nagent_token = \"bench\"\n\
             [telemetry]\nlog_filter = \"warn\"\n",
        );
        fs::write(&config, text)?;
        let mut command = Command::new(heliograph);
        command.args(["agent", "--config"]).arg(&config);
        let health = format!("http://{status}/healthz");
        let process = Process::start(command, &data.with_extension("log"), &health).await?;
        Ok(Self { process, lines, _serving: serving })
    }

    async fn wait_for(&self, lines: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.load(Ordering::Relaxed) {
                arrived if arrived == lines => return Ok(()),
                arrived if arrived > lines => bail!("WRONG: {arrived} lines arrived of {lines}"),
                arrived if Instant::now() > deadline => {
                    bail!("WRONG: {arrived} lines of {lines} arrived: {}", self.process.last_words())
                }
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }
}

/// Acknowledges a batch, and counts its lines: those that belong together arrive as one record.
async fn receive(State(lines): State<Arc<AtomicU64>>, body: Bytes) -> StatusCode {
    let Ok(plain) = codec::decompress(&body, EXPANDED_BYTES_MAX) else { return StatusCode::BAD_REQUEST };
    let Ok(rows) = codec::decode(&plain) else { return StatusCode::BAD_REQUEST };
    let of = |record: RecordRef<'_>| 1 + record.message.bytes().filter(|b| *b == b'\n').count() as u64;
    lines.fetch_add(rows.iter().map(of).sum(), Ordering::Relaxed);
    StatusCode::OK
}

/// Writes the corpus' messages as the kubelet lays container logs out, line by line.
fn write_logs(seed: u64, bytes: u64, root: &Path) -> anyhow::Result<Logs> {
    let sample = Sample::make(seed, bytes, 10)?;
    let mut logs = Logs { files: 0, lines: 0, bytes: 0 };
    let mut files: HashMap<PathBuf, File> = HashMap::new();
    let mut text: HashMap<PathBuf, String> = HashMap::new();
    for batch in &sample.batches {
        let rows = codec::decode(&codec::decompress(&batch.body, EXPANDED_BYTES_MAX)?)?;
        for record in rows.iter() {
            let out = text.entry(path_of(root, &record)).or_default();
            // The agent passes over lines without anything in them.
            for line in record.message.split('\n').filter(|line| !line.trim().is_empty()) {
                writeln!(out, "{} stdout F {line}", record.time)?;
                logs.lines += 1;
            }
        }
        for (path, text) in text.drain() {
            logs.bytes += text.len() as u64;
            if !files.contains_key(&path) {
                fs::create_dir_all(path.parent().context("a log has no folder")?)?;
                files.insert(path.clone(), File::create(&path)?);
            }
            files.get_mut(&path).context("a log is not open")?.write_all(text.as_bytes())?;
        }
    }
    logs.files = files.len() as u64;
    Ok(logs)
}

fn path_of(root: &Path, record: &RecordRef<'_>) -> PathBuf {
    let of = |text: &Option<Box<str>>| text.as_deref().unwrap_or("none").to_owned();
    let source = record.source;
    let pod = format!("{}_{}_00000000-0000-4000-8000-000000000000", of(&source.namespace), of(&source.pod));
    root.join(pod).join(of(&source.container)).join("0.log")
}

/// Files of one line each.
fn write_idle(root: &Path, files: u32) -> anyhow::Result<()> {
    for n in 0..files {
        let folder = root.join(format!("quiet_pod-{n}_00000000-0000-4000-8000-000000000000")).join("main");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("0.log"), "2026-11-02T06:00:00.000000000Z stdout F ready\n")?;
    }
    Ok(())
}

/// Seconds of CPU to read all files below a root and compress what they hold.
fn compress_all(root: &Path) -> anyhow::Result<f64> {
    let begun = thread_cpu()?;
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    for pod in fs::read_dir(root)? {
        for container in fs::read_dir(pod?.path())? {
            let mut file = File::open(container?.path().join("0.log"))?;
            loop {
                piece.clear();
                if (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece)? == 0 {
                    break;
                }
                codec::compress(&piece, ZSTD_LEVEL)?;
            }
        }
    }
    Ok((thread_cpu()? - begun).as_secs_f64())
}
