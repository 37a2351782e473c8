//! `bench`: measures the built program from outside, as its users meet it. See README.md here.

mod latency;
mod server;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures a built heliograph from outside")]
struct Cli {
    /// The program to measure.
    #[arg(long, default_value = "target/release/heliograph", global = true)]
    heliograph: PathBuf,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Line written to a file → received by a tail client.
    TailLatency(latency::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.bench {
        Bench::TailLatency(options) => latency::run(&cli.heliograph, &options).await,
    }
}
