//! What the program tells about itself: its own logs, its metrics, and whether it is ready.

mod process;
mod serve;
mod status;

use std::io::IsTerminal;

use anyhow::Context;
use prometheus::Registry;
use tracing_subscriber::EnvFilter;

use crate::config::{self, LogFormat, Mistakes};

pub(crate) use serve::serve;
pub(crate) use status::{Readiness, Status};

/// Starts our own logs, to standard error: text on a terminal, JSON elsewhere, unless told otherwise.
pub(crate) fn start_logging(config: &config::Telemetry) -> Result<(), Mistakes> {
    let filter = EnvFilter::try_new(&config.log_filter)
        .map_err(|e| config::missing("telemetry.log_filter", &format!("{:?}: {e}", config.log_filter)))?;
    let terminal = std::io::stderr().is_terminal();
    let text = match config.log_format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if text {
        builder.with_ansi(terminal && config::colour_wanted()).with_target(false).init();
    } else {
        builder.json().flatten_event(true).init();
    }
    Ok(())
}

/// A registry that already tells which build runs, and what the process uses.
pub(crate) fn registry() -> anyhow::Result<Registry> {
    let registry = Registry::new();
    let build = prometheus::IntGauge::with_opts(
        prometheus::Opts::new("heliograph_build_info", "Always 1; its labels tell which build runs")
            .const_label("version", env!("CARGO_PKG_VERSION")),
    )?;
    build.set(1);
    registry.register(Box::new(build)).context("cannot register metrics")?;
    process::register(&registry).context("cannot register metrics")?;
    Ok(registry)
}
