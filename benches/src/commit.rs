//! `bench commit`: how long a batch takes to be acknowledged, and how many are in a second, by where they are made
//! durable, by their size, and by how many producers send at the same time. The reference, in the same run, makes the
//! same bytes durable in the same place without us.

mod place;
mod producers;
mod reference;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tempfile::TempDir;

use crate::Programs;
use crate::batches::Batches;
use crate::sample::Sample;
use crate::size::float;
use crate::table::{Table, figure, progress, ratio};
use place::{Indexer, Kind, Servers};
use producers::{Bound, Producers};

/// The corpus of which batches are cut, as NDJSON.
const CORPUS_BYTES: u64 = 48 << 20;

#[derive(Args)]
pub(crate) struct Options {
    /// The same seed makes the same batches.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Sizes of batches, before compression.
    #[arg(long, value_delimiter = ',', default_value = "10KiB,1MiB", value_parser = crate::size::parse)]
    sizes: Vec<u64>,
    /// Producers that send at the same time, each one batch after the other.
    #[arg(long, value_delimiter = ',', default_value = "1,8,64,256")]
    producers: Vec<usize>,
    /// By how many milliseconds S3 answers each request later; PostgreSQL is on this machine.
    #[arg(long, value_delimiter = ',', default_value = "0,20")]
    s3_latencies: Vec<u64>,
    /// Leaves the local disk out.
    #[arg(long)]
    no_disk: bool,
    /// Longest time of each measurement; the reference has half of it.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Most that each measurement sends, before compression.
    #[arg(long, default_value = "256MiB", value_parser = crate::size::parse)]
    bytes: u64,
    /// Writes every figure as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One place, size and number of producers.
#[derive(Serialize)]
struct Cell {
    place: String,
    batch_bytes: u64,
    wire_bytes: u64,
    producers: usize,
    /// Batches a second, and milliseconds from a batch's first byte to the answer.
    rate: f64,
    p50: f64,
    p99: f64,
    reference_rate: f64,
    reference_p50: f64,
    reference_p99: f64,
    batches_a_commit: f64,
    /// Milliseconds of one, on average: from the first byte to the answer, of the commit in it, of its object.
    mean: f64,
    commit: f64,
    put: f64,
    /// The indexer's, for each batch.
    cpu_millis: f64,
}

pub(crate) async fn run(programs: &Programs, options: &Options) -> anyhow::Result<()> {
    let folder = TempDir::with_prefix("heliograph-bench-commit-")?;
    progress("making batches");
    let seed = options.seed;
    let sample = tokio::task::spawn_blocking(move || Sample::make(seed, CORPUS_BYTES, 1)).await??;
    let sizes: Vec<_> =
        options.sizes.iter().map(|size| Batches::cut(&sample, *size)).collect::<Result<_, _>>()?;
    drop(sample);
    let disk = (!options.no_disk).then_some(Kind::Disk);
    let distant = options.s3_latencies.iter().map(|millis| Kind::S3(Duration::from_millis(*millis)));
    let mut cells = Vec::new();
    for kind in disk.into_iter().chain(distant) {
        let mut servers = Servers::start(kind, folder.path(), &programs.postgres).await?;
        for batches in &sizes {
            for producers in &options.producers {
                cells.push(measure(programs, options, &mut servers, batches, *producers).await?);
            }
        }
    }
    print(&cells);
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_vec_pretty(&cells)?)?;
    }
    Ok(())
}

async fn measure(
    programs: &Programs,
    options: &Options,
    servers: &mut Servers,
    batches: &Batches,
    number: usize,
) -> anyhow::Result<Cell> {
    let kind = servers.kind();
    progress(&format!("{}: {number} producers, batches of {} bytes", kind.name(), batches.bytes));
    let place = servers.place().await?;
    let bound = Bound { time: Duration::from_secs(options.seconds), bytes: options.bytes };
    let shorter = Bound { time: bound.time / 2, ..bound };
    let scratch = TempDir::with_prefix("heliograph-bench-reference-")?;
    let reference =
        reference::measure(kind, &place.storage, scratch.path(), batches, (number, shorter)).await?;

    let indexer = Indexer::start(&programs.heliograph, &place).await?;
    let producers = Producers::start(&indexer, batches, number).await?;
    let before = Figures::of(&indexer).await?;
    let ours = producers.send_all(bound).await?;
    let after = Figures::of(&indexer).await?;
    indexer.process.stop().await?;
    let (number_of, per_commit) =
        (float(ours.millis.len() as u64), 1_000.0 / (after.commits - before.commits));
    Ok(Cell {
        place: kind.name(),
        batch_bytes: batches.bytes,
        wire_bytes: batches.wire_bytes,
        producers: number,
        rate: ours.rate(),
        p50: ours.millis.median(),
        p99: ours.millis.at(0.99),
        reference_rate: reference.rate(),
        reference_p50: reference.millis.median(),
        reference_p99: reference.millis.at(0.99),
        batches_a_commit: number_of / (after.commits - before.commits),
        mean: ours.millis.mean(),
        commit: (after.commit_seconds - before.commit_seconds) * per_commit,
        put: (after.put_seconds - before.put_seconds) * per_commit,
        cpu_millis: (after.cpu_seconds - before.cpu_seconds) * 1_000.0 / number_of,
    })
}

/// What an indexer has done so far.
struct Figures {
    commits: f64,
    commit_seconds: f64,
    put_seconds: f64,
    cpu_seconds: f64,
}

impl Figures {
    async fn of(indexer: &Indexer) -> anyhow::Result<Self> {
        Ok(Self {
            commits: indexer.figure("heliograph_indexer_commit_seconds_count").await?,
            commit_seconds: indexer.figure("heliograph_indexer_commit_seconds_sum").await?,
            put_seconds: indexer.figure("heliograph_store_request_seconds_sum{operation=\"put\"}").await?,
            cpu_seconds: indexer.process.used()?.cpu_seconds,
        })
    }
}

fn print(cells: &[Cell]) {
    let mut table = Table::new(&[
        "acknowledgement",
        "batch, kB",
        "producers",
        "batches/s",
        "MB/s",
        "p50, ms",
        "p99, ms",
        "bare/s",
        "bare p50",
        "bare p99",
        "rate, of bare",
        "p50, of bare",
    ]);
    let mut stages = Table::new(&[
        "mean of a batch",
        "batch, kB",
        "producers",
        "ms",
        "put, %",
        "catalog, %",
        "rest, %",
        "batches a commit",
        "wire kB",
        "CPU ms",
    ]);
    for cell in cells {
        let key = || [cell.place.clone(), figure(float(cell.batch_bytes) / 1e3), cell.producers.to_string()];
        let rates = [cell.rate, cell.rate * float(cell.batch_bytes) / 1e6, cell.p50, cell.p99];
        let bare = [cell.reference_rate, cell.reference_p50, cell.reference_p99];
        let ratios = [ratio(cell.rate, cell.reference_rate), ratio(cell.p50, cell.reference_p50)];
        table.row(key().into_iter().chain(rates.into_iter().chain(bare).map(figure)).chain(ratios));
        let share = |millis: f64| 100.0 * millis / cell.mean;
        let (put, commit) = (share(cell.put), share(cell.commit));
        let of_a_batch = [
            cell.mean,
            put,
            commit - put,
            100.0 - commit,
            cell.batches_a_commit,
            float(cell.wire_bytes) / 1e3,
            cell.cpu_millis,
        ];
        stages.row(key().into_iter().chain(of_a_batch.map(figure)));
    }
    table.print();
    stages.print();
}
