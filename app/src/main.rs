//! The program `heliograph`: parse, build, run, stop.

mod admin;
mod cli;
mod client;
mod clock;
mod config;
mod console;
mod demo;
mod exit;
mod first_start;
mod places;
mod process;
mod roles;
mod started;
mod telemetry;
mod up;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use cli::{Cli, Command, ConfigCommand};
use config::Config;
use exit::Outcome;

/// The C library's keeps as much as a wave of records took; set up in .cargo/config.toml.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long threads that still work on files may go on after everything has stopped.
const THREADS_WITHIN: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let cli = Cli::parse();
    exit::report(build_and_run(cli.command))
}

fn build_and_run(command: Command) -> Outcome {
    let mut runtime = match &command {
        // Its work is done by threads of its own; its few requests on another one would only wake that.
        Command::Agent(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build().context("cannot start threads")?;
    let outcome = runtime.block_on(Box::pin(run(command)));
    runtime.shutdown_timeout(THREADS_WITHIN);
    outcome
}

async fn run(command: Command) -> Outcome {
    match command {
        Command::Up(options) => {
            let config = server_config(options.config.as_deref())?;
            up::run(options, config).await
        }
        Command::Agent(file) => roles::run_agent(server_config(file.config.as_deref())?).await,
        Command::Indexer(file) => roles::run_indexer(server_config(file.config.as_deref())?).await,
        Command::Query(file) => roles::run_query(server_config(file.config.as_deref())?).await,
        Command::Config(ConfigCommand::Check(file)) => {
            Config::load(file.config.as_deref())?;
            Ok(console::line("ok")?)
        }
        Command::Config(ConfigCommand::Show(file)) => {
            let config = Config::load(file.config.as_deref())?;
            Ok(console::output(config.to_toml().as_bytes())?)
        }
        Command::Admin(command) => admin::run(command).await,
        Command::Search(options) => client::search(options).await,
        Command::Tail(options) => client::tail(options).await,
        Command::Context(options) => client::context(options).await,
        Command::Export(options) => client::export(options).await,
    }
}

/// The configuration of a server, which logs from here on.
fn server_config(file: Option<&Path>) -> Outcome<Config> {
    let config = Config::load(file)?;
    telemetry::start_logging(&config.telemetry)?;
    process::raise_descriptor_limit();
    Ok(config)
}
