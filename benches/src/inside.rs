//! `bench inside`: what each stage of an ingest costs the processor, and what a segment is made of; in this process,
//! on one thread, without HTTP, disk or catalog.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use heliograph_model::cipher::SecretKey;
use heliograph_model::codec;
use heliograph_model::rows::Rows;
use heliograph_model::scan::CommitId;
use heliograph_model::tenant::TenantId;
use heliograph_store::layout;
use heliograph_store::segment;
use heliograph_store::tenants::OpenTenant;
use heliograph_store::wal::{self, WalBatch};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::sample::{Batch, Sample};
use crate::series::Series;
use crate::size::float;
use crate::table::{Table, figure, progress, say};

/// More than a batch ever is.
const EXPANDED_BYTES_MAX: usize = 64 << 20;
/// As the indexer's default: a tenant whose records take so much memory is sealed.
const SEAL_BYTES: usize = 64 << 20;

#[derive(Args)]
pub(crate) struct Options {
    /// The same seed makes the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Bytes of the documents as NDJSON.
    #[arg(long, default_value = "64MiB", value_parser = crate::size::parse)]
    bytes: u64,
    /// Tenants, each with segments of its own.
    #[arg(long, default_value_t = 1)]
    tenants: usize,
    /// Times that everything is done; figures are medians.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Writes every figure as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A step of an ingest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Decompress,
    Decode,
    Encrypt,
    Build,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Decompress, Self::Decode, Self::Encrypt, Self::Build];

    const fn name(self) -> &'static str {
        match self {
            Self::Decompress => "expand a batch (zstd)",
            Self::Decode => "decode it to rows",
            Self::Encrypt => "write-ahead object, encrypted",
            Self::Build => "build segments",
        }
    }
}

/// What one run took and made.
#[derive(Default, Serialize)]
struct Run {
    cpu_seconds: BTreeMap<Stage, f64>,
    segments: u64,
    records: u64,
    wal_bytes: u64,
    segment_bytes: u64,
    /// The parts of all segments by name, in their order.
    parts: Vec<(&'static str, u64)>,
}

/// A tenant's rows that are not in a segment yet.
struct Hot {
    tenant: Arc<OpenTenant>,
    rows: Vec<(CommitId, Rows)>,
    bytes: usize,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    progress("making the corpus");
    let sample = Sample::make(options.seed, options.bytes, options.tenants)?;
    let mut runs = Vec::new();
    for n in 1..=options.runs.max(1) {
        progress(&format!("run {n}"));
        runs.push(ingest(&sample)?);
    }
    print_stages(&sample, &runs);
    if let Some(run) = runs.last() {
        print_parts(&sample, run);
    }
    if let Some(path) = &options.json {
        let all = json!({
            "seed": options.seed,
            "documents": sample.documents,
            "document_bytes": sample.document_bytes,
            "message_bytes": sample.message_bytes,
            "runs": runs,
        });
        std::fs::write(path, serde_json::to_vec_pretty(&all)?)?;
    }
    Ok(())
}

/// All stages for each batch, as they come.
fn ingest(sample: &Sample) -> anyhow::Result<Run> {
    let mut run = Run::default();
    let mut hot = BTreeMap::new();
    for (commit, batch) in (1..).map(CommitId).zip(&sample.batches) {
        let hot = of_tenant(&mut hot, &batch.tenant)?;
        let rows = take(&mut run, batch, &hot.tenant)?;
        hot.bytes += rows.memory_bytes();
        hot.rows.push((commit, rows));
        if hot.bytes >= SEAL_BYTES {
            seal(&mut run, hot)?;
        }
    }
    hot.values_mut().filter(|hot| !hot.rows.is_empty()).try_for_each(|hot| seal(&mut run, hot))?;
    Ok(run)
}

fn of_tenant<'a>(all: &'a mut BTreeMap<TenantId, Hot>, name: &TenantId) -> anyhow::Result<&'a mut Hot> {
    // Not by `or_insert_with`: a key may fail to be made.
    if !all.contains_key(name) {
        let tenant = OpenTenant { name: name.clone(), uid: Uuid::new_v4(), key: SecretKey::generate()? };
        all.insert(name.clone(), Hot { tenant: Arc::new(tenant), rows: Vec::new(), bytes: 0 });
    }
    all.get_mut(name).ok_or_else(|| anyhow::anyhow!("no tenant {name}"))
}

/// What happens until a batch is acknowledged.
fn take(run: &mut Run, batch: &Batch, tenant: &Arc<OpenTenant>) -> anyhow::Result<Rows> {
    let plain = run.timed(Stage::Decompress, || codec::decompress(&batch.body, EXPANDED_BYTES_MAX))??;
    let rows = run.timed(Stage::Decode, || codec::decode(&plain))??;
    let wal_batch = WalBatch { tenant: Arc::clone(tenant), payload: batch.body.clone().into() };
    let object = layout::new_object_id();
    let written = run.timed(Stage::Encrypt, || wal::write(object, &[wal_batch]))??;
    run.wal_bytes += written.len() as u64;
    Ok(rows)
}

/// Makes a segment of what is hot.
fn seal(run: &mut Run, hot: &mut Hot) -> anyhow::Result<()> {
    let rows = std::mem::take(&mut hot.rows);
    hot.bytes = 0;
    let parts: Vec<(CommitId, &Rows)> = rows.iter().map(|(commit, rows)| (*commit, rows)).collect();
    let id = layout::new_object_id();
    let built = run.timed(Stage::Build, || segment::build(&hot.tenant, id, &parts))??;
    run.segments += 1;
    run.records += built.records;
    run.segment_bytes += built.bytes.len() as u64;
    for (name, bytes) in &built.sizes {
        match run.parts.iter_mut().find(|(of, _)| of == name) {
            Some((_, sum)) => *sum += bytes,
            None => run.parts.push((name, *bytes)),
        }
    }
    Ok(())
}

impl Run {
    /// Does a stage's work and adds what it took of this thread's time, user and system.
    fn timed<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> anyhow::Result<T> {
        let begun = thread_cpu()?;
        let done = work();
        let took = thread_cpu()?.saturating_sub(begun);
        *self.cpu_seconds.entry(stage).or_default() += took.as_secs_f64();
        Ok(done)
    }

    fn seconds(&self, stage: Stage) -> f64 {
        self.cpu_seconds.get(&stage).copied().unwrap_or_default()
    }
}

/// What this thread has used of a processor so far.
pub(crate) fn thread_cpu() -> anyhow::Result<Duration> {
    Ok(Duration::try_from(clock_gettime(ClockId::ThreadCPUTime))?)
}

fn print_stages(sample: &Sample, runs: &[Run]) {
    say(&format!(
        "{} records in {} batches, {:.1} MB as NDJSON, {:.1} MB of it message; MB are millions of bytes\n",
        sample.documents,
        sample.batches.len(),
        float(sample.document_bytes) / 1e6,
        float(sample.message_bytes) / 1e6,
    ));
    let median = |of: &dyn Fn(&Run) -> f64| Series::new(runs.iter().map(of).collect()).median();
    let all = median(&|run| run.cpu_seconds.values().sum());
    let row = |name: &str, seconds: f64| {
        let a_second = |bytes: u64| figure(float(bytes) / 1e6 / seconds);
        let (documents, messages) = (a_second(sample.document_bytes), a_second(sample.message_bytes));
        let nanos = figure(seconds * 1e9 / float(sample.documents));
        [name.to_owned(), figure(seconds * 1e3), figure(100.0 * seconds / all), documents, messages, nanos]
    };
    let mut table = Table::new(&[
        "stage",
        "CPU ms",
        "share %",
        "MB of NDJSON a CPU second",
        "MB of messages",
        "ns a record",
    ]);
    for stage in Stage::ALL {
        table.row(row(stage.name(), median(&|run| run.seconds(stage))));
    }
    table.row(row("all", all));
    table.print();
}

fn print_parts(sample: &Sample, run: &Run) {
    let row = |name: &str, bytes: u64| {
        let share = figure(100.0 * float(bytes) / float(run.segment_bytes));
        let of_documents = figure(100.0 * float(bytes) / float(sample.document_bytes));
        let a_record = figure(float(bytes) / float(run.records));
        [name.to_owned(), figure(float(bytes) / 1024.0), share, of_documents, a_record]
    };
    let title = format!("{} segments", run.segments);
    let mut table = Table::new(&[&title, "KiB", "share %", "% of NDJSON", "bytes a record"]);
    for (name, bytes) in &run.parts {
        table.row(row(name, *bytes));
    }
    table.row(row("all", run.segment_bytes));
    table.print();
    say(&format!("write-ahead objects: {} KiB\n", run.wal_bytes >> 10));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_goes_through_every_stage_into_a_segment() {
        let sample = Sample::make(1, 1 << 20, 3).unwrap();
        let run = ingest(&sample).unwrap();
        assert_eq!((run.segments, run.records), (3, sample.documents));
        assert!(Stage::ALL.iter().all(|stage| run.seconds(*stage) > 0.0));
        assert_eq!(run.parts.iter().map(|(_, bytes)| bytes).sum::<u64>(), run.segment_bytes);
    }
}
