//! `bench growth`: whether cost and latency stay as they are while the data grows.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::ask;
use crate::compare::folder;
use crate::corpus::{self, Form};
use crate::load;
use crate::size::{float, mib};
use crate::system::{Heliograph, Setup};
use crate::table::{Table, figure, progress};

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    corpus: corpus::Options,
    /// The sizes, each a corpus of its own.
    #[arg(long, value_delimiter = ',', default_value = "1GiB,4GiB", value_parser = crate::size::parse)]
    sizes: Vec<u64>,
    #[arg(long, value_enum, default_value = "binary")]
    form: Form,
    #[command(flatten)]
    ask: ask::Options,
    /// Writes every figure as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// The questions of the table; the JSON file has all.
const SHOWN: [&str; 4] = [
    "needle: a uuid of one line",
    "common word, latest 100",
    "one task try (log_id)",
    "count of a common word",
];

pub(crate) async fn run(programs: &crate::Programs, options: &Options) -> anyhow::Result<()> {
    let mut heading = vec!["size, MiB", "CPU ms a MiB", "wall ms a MiB", "stored %", "peak MiB"];
    heading.extend(SHOWN.iter().flat_map(|name| [*name, "cold"]));
    let mut table = Table::new(&heading);
    let mut all = Vec::new();
    for bytes in &options.sizes {
        let (folder, _vanishes) = folder(None)?;
        let wanted = corpus::Options { bytes: *bytes, ..options.corpus.clone() };
        progress(&format!("{:.0} MiB", mib(*bytes)));
        let corpus = corpus::make(&wanted, &folder)?;
        let setup = Setup { program: programs.heliograph.clone(), data: folder.join("heliograph") };
        let ingested = load::ingest::<Heliograph>(&setup, &corpus, options.form).await?;
        let asked = ask::all::<Heliograph>(&setup, &corpus.truth, options.ask).await?;
        let documents = mib(corpus.shape.document_bytes);
        let mut row = vec![
            figure(documents),
            figure(1_000.0 * ingested.cpu_seconds / documents),
            figure(1_000.0 * ingested.acknowledged_seconds / documents),
            figure(100.0 * float(ingested.stored_bytes) / float(corpus.shape.document_bytes)),
            figure(mib(ingested.memory_bytes_max)),
        ];
        for name in SHOWN {
            let timed = asked.timed.iter().find(|timed| timed.question == name);
            row.push(figure(timed.map_or(f64::NAN, |t| t.warm().median())));
            row.push(figure(timed.and_then(|t| t.cold_ms).unwrap_or(f64::NAN)));
        }
        table.row(row);
        all.push(json!({ "corpus": corpus.shape, "ingest": ingested, "queries": asked }));
    }
    table.print();
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&all)?)?;
    }
    Ok(())
}
