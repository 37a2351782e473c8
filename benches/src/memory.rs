//! `bench ingest`: our server's memory while many tenants' records come in.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::compare::folder;
use crate::corpus::{self, Corpus, Form};
use crate::load::{self, Ingested};
use crate::report;
use crate::size::mib;
use crate::system::{Heliograph, Setup, System};
use crate::table::{Table, figure, progress};

/// How often the gauges are read.
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    corpus: corpus::Options,
    #[arg(long, value_enum, default_value = "binary")]
    form: Form,
    /// Writes every figure as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What was seen while records came in.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
struct Seen {
    hot_bytes_max: f64,
    hot_records_max: f64,
    looks: u32,
}

pub(crate) async fn run(programs: &crate::Programs, options: &Options) -> anyhow::Result<()> {
    let (folder, _vanishes) = folder(None)?;
    progress("making the corpus");
    let corpus = corpus::make(&options.corpus, &folder)?;
    report::shape(&corpus.shape);
    let setup = Setup { program: programs.heliograph.clone(), data: folder.join("heliograph") };
    let server = Heliograph::start(&setup).await?;
    let empty = server.process().used()?;
    let (ingested, seen) = watched(&server, &setup, &corpus, options.form).await?;
    let full = server.process().used()?;
    server.stop().await?;

    let mut table = Table::new(&["memory while ingesting", "figure"]);
    for (name, value) in [
        ("memory before, MiB", mib(empty.memory_bytes)),
        ("peak memory, MiB", mib(ingested.memory_bytes_max)),
        ("memory at rest after, MiB", mib(full.memory_bytes)),
        ("most hot bytes, MiB", seen.hot_bytes_max / 1_048_576.0),
        ("most hot records, thousands", seen.hot_records_max / 1_000.0),
        ("wall until acknowledged, s", ingested.acknowledged_seconds),
        ("CPU until sealed, s", ingested.cpu_seconds),
        ("stored, MiB", mib(ingested.stored_bytes)),
    ] {
        table.row([name.to_owned(), figure(value)]);
    }
    table.row(["requests put off".to_owned(), ingested.put_off.to_string()]);
    table.print();
    if let Some(path) = &options.json {
        let all = json!({ "corpus": corpus.shape, "before": empty, "ingest": ingested, "after": full, "seen": seen });
        std::fs::write(path, serde_json::to_vec_pretty(&all)?)?;
    }
    Ok(())
}

/// Ingests, and looks at the gauges meanwhile.
async fn watched(
    server: &Heliograph,
    setup: &Setup,
    corpus: &Corpus,
    form: Form,
) -> anyhow::Result<(Ingested, Seen)> {
    let mut seen = Seen::default();
    let measuring = load::measure(server, setup, corpus, form);
    tokio::pin!(measuring);
    loop {
        tokio::select! {
            ingested = &mut measuring => return Ok((ingested?, seen)),
            () = tokio::time::sleep(LOOK_EVERY) => look(server, &mut seen).await?,
        }
    }
}

async fn look(server: &Heliograph, seen: &mut Seen) -> anyhow::Result<()> {
    let (bytes, records) = (
        server.gauge("heliograph_indexer_hot_bytes").await?,
        server.gauge("heliograph_indexer_hot_records").await?,
    );
    seen.hot_bytes_max = seen.hot_bytes_max.max(bytes);
    seen.hot_records_max = seen.hot_records_max.max(records);
    seen.looks += 1;
    Ok(())
}
