//! `bench`: measures the built program from outside, as its users meet it, and its stages from inside. See README.md
//! here. All that `benches/` needs of it is in [`sample`].

mod agent;
mod ask;
mod batches;
mod catalog;
mod commit;
mod compare;
mod concurrent;
mod corpus;
mod files;
mod growth;
mod inside;
mod latency;
mod load;
mod memory;
mod neighbour;
mod peer;
mod postgres;
mod process;
mod questions;
mod report;
pub mod sample;
mod secure;
mod series;
mod size;
mod system;
mod table;
mod tenants;
mod truth;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures a built heliograph from outside")]
struct Cli {
    #[command(flatten)]
    programs: Programs,
    #[command(subcommand)]
    bench: Bench,
}

/// What is measured.
#[derive(Args)]
struct Programs {
    /// The program to measure.
    #[arg(long, default_value = "target/release/heliograph", global = true)]
    heliograph: PathBuf,
    /// The peer; `benches/compare` installs it there.
    #[arg(long, default_value = "target/tools/victoria-logs", global = true)]
    victoria_logs: PathBuf,
    /// The other peer: a script that starts it on a folder and a port.
    #[arg(long, default_value = "benches/peers/opensearch", global = true)]
    opensearch: PathBuf,
    /// A script that starts PostgreSQL on a port, and makes databases.
    #[arg(long, default_value = "benches/peers/postgres", global = true)]
    postgres: PathBuf,
}

#[derive(Subcommand)]
enum Bench {
    /// Line written to a file → received by a tail client.
    TailLatency(latency::Options),
    /// The agent alone: catching up with container logs, and watching quiet ones.
    Agent(agent::Options),
    /// Batch sent → acknowledged: by place, size and number of producers.
    Commit(commit::Options),
    /// Commits a second and times of reads of each catalog, as it grows.
    Catalog(catalog::Options),
    /// The same corpus and questions for ours and for a peer.
    Compare(compare::Options),
    /// Memory of our server while it ingests many tenants.
    Ingest(memory::Options),
    /// What tenants cost who do nothing.
    Tenants(tenants::Options),
    /// A tenant far over its quota, and what another notices of it.
    Neighbour(neighbour::Options),
    /// What TLS, encryption, redaction and the audit log cost.
    Secure(secure::Options),
    /// Many searches at the same time.
    Concurrent(concurrent::Options),
    /// Cost and latency at growing sizes.
    Growth(growth::Options),
    /// What each stage of an ingest costs, in this process.
    Inside(inside::Options),
    /// Makes a corpus, says what it is like, and leaves its `_bulk` bodies in a folder.
    Corpus {
        #[command(flatten)]
        options: corpus::Options,
        /// Where it goes.
        folder: PathBuf,
    },
}

/// Does what the command line says.
pub async fn run() -> anyhow::Result<()> {
    let Cli { programs, bench } = Cli::parse();
    match bench {
        Bench::TailLatency(options) => latency::run(&programs.heliograph, &options).await,
        Bench::Agent(options) => agent::run(&programs.heliograph, &options).await,
        Bench::Commit(options) => Box::pin(commit::run(&programs, &options)).await,
        Bench::Catalog(options) => Box::pin(catalog::run(&programs, &options)).await,
        Bench::Compare(options) => compare::run(&programs, &options).await,
        Bench::Ingest(options) => memory::run(&programs, &options).await,
        Bench::Tenants(options) => Box::pin(tenants::run(&programs, &options)).await,
        Bench::Neighbour(options) => Box::pin(neighbour::run(&programs, &options)).await,
        Bench::Secure(options) => Box::pin(secure::run(&programs, &options)).await,
        Bench::Concurrent(options) => concurrent::run(&programs, &options).await,
        Bench::Growth(options) => growth::run(&programs, &options).await,
        Bench::Inside(options) => inside::run(&options),
        Bench::Corpus { options, folder } => {
            let (folder, _) = compare::folder(Some(&folder))?;
            let corpus = corpus::make(&options, &folder)?;
            report::shape(&corpus.shape);
            report::truth(&corpus.truth);
            Ok(())
        }
    }
}
