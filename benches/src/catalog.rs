//! `bench catalog`: how many commits a second each catalog takes, and how long what is asked of it takes, as tenants,
//! producers and indexers grow. The reference is the smallest catalog in the same run; for commits, a file that gets
//! one block and an `fdatasync` after the other.

mod commits;
mod filled;
mod reads;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use heliograph_store::catalog;
use serde::Serialize;

use crate::Programs;
use crate::postgres::Postgres;
use crate::table::{Table, figure, progress, ratio};

/// Indexers that commit at the same time. An SQLite file has one.
const INDEXERS: [usize; 3] = [1, 8, 64];
/// Batches in a commit, each of a producer of its own.
const BATCHES: [usize; 2] = [1, 64];

#[derive(Args)]
pub(crate) struct Options {
    /// How many tenants there are, in turn.
    #[arg(long, value_delimiter = ',', default_value = "1,100,10000")]
    tenants: Vec<usize>,
    /// Segments of each.
    #[arg(long, default_value_t = 20)]
    segments: usize,
    /// How long commits are made for each figure.
    #[arg(long, default_value_t = 1_500)]
    millis: u64,
    /// Writes every figure as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A catalog of one size.
#[derive(Serialize)]
struct Measured {
    engine: &'static str,
    tenants: usize,
    /// Before anything is committed.
    bytes: u64,
    /// Median milliseconds, in the order of [`reads::NAMES`].
    reads: Vec<f64>,
    commits: Vec<Commits>,
}

/// Commits of several indexers at once.
#[derive(Serialize)]
struct Commits {
    indexers: usize,
    batches: usize,
    rate: f64,
    p50: f64,
    p99: f64,
}

pub(crate) async fn run(programs: &Programs, options: &Options) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("heliograph-bench-catalog-").tempdir()?;
    let synced = fdatasyncs(&folder.path().join("reference"), Duration::from_millis(options.millis))?;
    let mut postgres = Postgres::start(&programs.postgres)?;
    let mut all = Vec::new();
    for tenants in &options.tenants {
        let dump = filled::dump(*tenants, options.segments).await?;
        let file = folder.path().join(format!("{tenants}.db"));
        let name = format!("of{tenants}");
        let urls = [
            ("SQLite", format!("sqlite:{}", file.display())),
            ("PostgreSQL", postgres.database(&name).await?),
        ];
        for (engine, url) in urls {
            progress(&format!("{engine}: {tenants} tenants with {} segments each", options.segments));
            let url = catalog::Url::from(url);
            let catalog = catalog::open(&url, None).await?;
            catalog.load(&dump).await?;
            let bytes = match engine {
                "SQLite" => fs::metadata(&file)?.len() + fs::metadata(file.with_extension("db-wal"))?.len(),
                _ => postgres.bytes(&name).await?,
            };
            let reads = reads::measure(&*catalog, *tenants, options.segments).await?;
            let commits = commits_of(&url, engine, *tenants, options).await?;
            all.push(Measured { engine, tenants: *tenants, bytes, reads, commits });
        }
    }
    print(&all, options.segments, synced);
    if let Some(path) = &options.json {
        let value =
            serde_json::json!({ "fdatasyncs_a_second": synced, "reads": reads::NAMES, "catalogs": all });
        fs::write(path, serde_json::to_vec_pretty(&value)?)?;
    }
    Ok(())
}

async fn commits_of(
    url: &catalog::Url,
    engine: &str,
    tenants: usize,
    options: &Options,
) -> anyhow::Result<Vec<Commits>> {
    let time = Duration::from_millis(options.millis);
    let mut all = Vec::new();
    for indexers in INDEXERS.into_iter().filter(|indexers| engine != "SQLite" || *indexers == 1) {
        for batches in BATCHES {
            let (millis, seconds) = commits::measure(url, indexers, batches, tenants, time).await?;
            all.push(Commits {
                indexers,
                batches,
                rate: crate::size::float(millis.len() as u64) / seconds,
                p50: millis.median(),
                p99: millis.at(0.99),
            });
        }
    }
    Ok(all)
}

/// How often a second a block of a file can be written and be on disk.
fn fdatasyncs(path: &Path, time: Duration) -> anyhow::Result<f64> {
    let mut file = fs::File::create(path)?;
    let begun = Instant::now();
    let mut number = 0_u32;
    while begun.elapsed() < time {
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        number += 1;
    }
    Ok(f64::from(number) / begun.elapsed().as_secs_f64())
}

fn print(all: &[Measured], segments: usize, synced: f64) {
    let mut commits = Table::new(&[
        "commits",
        "tenants",
        "indexers",
        "batches each",
        "a second",
        "of fdatasyncs",
        "p50, ms",
        "p99, ms",
    ]);
    for of in all {
        for c in &of.commits {
            commits.row([
                of.engine.to_owned(),
                of.tenants.to_string(),
                c.indexers.to_string(),
                c.batches.to_string(),
                figure(c.rate),
                ratio(c.rate, synced),
                figure(c.p50),
                figure(c.p99),
            ]);
        }
    }
    commits.print();
    let heading: Vec<String> = std::iter::once("median, ms".to_owned())
        .chain(all.iter().map(|of| format!("{}, {} tenants", of.engine, of.tenants)))
        .collect();
    let mut reads = Table::new(&heading.iter().map(String::as_str).collect::<Vec<_>>());
    for (at, name) in reads::NAMES.iter().enumerate() {
        let figures = all.iter().map(|of| of.reads.get(at).copied().map_or_else(String::new, figure));
        reads.row(std::iter::once((*name).to_owned()).chain(figures));
    }
    let sizes = all.iter().map(|of| figure(filled::per_segment(of.bytes, of.tenants, segments)));
    reads.row(std::iter::once("bytes of the catalog a segment".to_owned()).chain(sizes));
    reads.print();
}
