//! `bench secure`: what TLS, redaction, encryption and the audit log cost an ingest and a search, each beside the same
//! without it.

mod inside;
mod live;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tokio::process::Command;

use crate::Programs;
use crate::batches::Batches;
use crate::compare::folder;
use crate::sample::Sample;
use crate::series::Series;
use crate::system::{Setup, Shape};
use crate::table::{Table, figure, progress, ratio};
use inside::Steps;
use live::Lived;

/// Before compression.
const BATCH_BYTES: u64 = 100 << 10;

#[derive(Args)]
pub(crate) struct Options {
    /// Of which the batches are cut, as NDJSON.
    #[arg(long, default_value = "64MiB", value_parser = crate::size::parse)]
    bytes: u64,
    /// How often each server is measured, one after the other in turn.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Questions of a round, of each kind.
    #[arg(long, default_value_t = 300)]
    questions: u32,
    /// Writes every figure as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// The servers that are compared: each but the first with one thing more than the one before.
const SERVERS: [&str; 3] = ["plain", "redaction", "TLS"];

pub(crate) async fn run(programs: &Programs, options: &Options) -> anyhow::Result<()> {
    let (folder, _vanishes) = folder(None)?;
    progress("making the batches");
    let bytes = options.bytes;
    let sample = tokio::task::spawn_blocking(move || Sample::make(1, bytes, 1)).await??;
    let batches = Batches::cut(&sample, BATCH_BYTES)?;
    let shapes = shapes(&programs.heliograph, &folder).await?;
    let mut lived: [Vec<Lived>; SERVERS.len()] = Default::default();
    for round in 1..=options.rounds.max(1) {
        for ((name, shape), lived) in SERVERS.into_iter().zip(&shapes).zip(&mut lived) {
            progress(&format!("round {round}: {name}"));
            let data = folder.join(format!("{name}-{round}"));
            let setup = Setup { program: programs.heliograph.clone(), data };
            lived.push(live::measure(&setup, shape, &batches, options.questions).await?);
            std::fs::remove_dir_all(&setup.data)?;
        }
    }
    progress("single steps");
    let steps = inside::measure(&folder, &sample).await?;

    print_servers(&lived);
    let [plain, redaction, tls] = &lived;
    print_steps(plain, &steps);
    if let Some(path) = &options.json {
        let all = json!({ "plain": plain, "redaction": redaction, "tls": tls, "steps": steps });
        std::fs::write(path, serde_json::to_vec_pretty(&all)?)?;
    }
    Ok(())
}

/// A figure of a server.
type Value = fn(&Lived) -> f64;

/// The median of the rounds.
fn median(of: &[Lived], value: Value) -> f64 {
    Series::new(of.iter().map(value).collect()).median()
}

fn print_servers(lived: &[Vec<Lived>; SERVERS.len()]) {
    let rows: [(&str, Value); 7] = [
        ("ingest: CPU until sealed, s", |lived| lived.ingest_cpu_seconds),
        ("ingest: acknowledged, median, ms", |lived| lived.acknowledged_ms),
        ("newest 100: median, ms", |lived| lived.newest_ms),
        ("newest 100: CPU of one, ms", |lived| lived.newest_cpu_ms),
        ("count of a word: median, ms", |lived| lived.count_ms),
        ("count of a word: CPU of one, ms", |lived| lived.count_cpu_ms),
        ("first answer of a new connection, median, ms", |lived| lived.connect_ms),
    ];
    let mut table = Table::new(&["", "plain", "with redaction", "ratio", "and TLS", "ratio"]);
    for (name, value) in rows {
        let [plain, redaction, tls] = lived.each_ref().map(|of| median(of, value));
        let [of_redaction, of_tls] = [ratio(redaction, plain), ratio(tls, redaction)];
        table.row([name.to_owned(), figure(plain), figure(redaction), of_redaction, figure(tls), of_tls]);
    }
    table.print();
}

fn print_steps(plain: &[Lived], steps: &Steps) {
    let mib = median(plain, |lived| lived.sealed_mib);
    let ingest_ms = median(plain, |lived| lived.ingest_cpu_seconds) * 1_000.0;
    let search_ms = median(plain, |lived| lived.newest_cpu_ms);
    let mut table = Table::new(&["step", "of one", "beside", "share"]);
    for (name, of_one, beside, share) in [
        (
            "encrypting a MiB of a segment or a write-ahead object, ms",
            steps.seal_ms,
            format!("all CPU of an ingest, {} MiB at rest", figure(mib)),
            // Once written ahead, once in a segment.
            2.0 * steps.seal_ms * mib / ingest_ms,
        ),
        (
            "decrypting a MiB of pages, ms",
            steps.open_ms,
            format!("expanding the same pages, {} ms", figure(steps.expand_ms)),
            steps.open_ms / steps.expand_ms,
        ),
        (
            "a row of the audit log, in batches of 16, ms",
            steps.row_ms,
            "CPU of one search for the newest 100".to_owned(),
            steps.row_ms / search_ms,
        ),
        (
            "a row of the audit log, alone, ms",
            steps.lone_row_ms,
            "the same".to_owned(),
            steps.lone_row_ms / search_ms,
        ),
    ] {
        table.row([name.to_owned(), figure(of_one), beside, format!("{:.1} %", share * 100.0)]);
    }
    table.print();
}

/// The servers' settings, in the order of [`SERVERS`].
async fn shapes(program: &Path, folder: &Path) -> anyhow::Result<[Shape; SERVERS.len()]> {
    let dir = folder.join("certificates");
    let made = Command::new(program).args(["admin", "tls", "init", "--dir"]).arg(&dir).output().await?;
    anyhow::ensure!(made.status.success(), "no certificates: {}", String::from_utf8_lossy(&made.stderr));
    let file = |role: &str, name: &str| dir.join(role).join(name).display().to_string();
    let mut environment = vec![("HELIOGRAPH_TLS__CA_FILE".to_owned(), file("", "ca.crt"))];
    for role in ["QUERY", "INDEXER"] {
        for (key, name) in [("CERT_FILE", "tls.crt"), ("KEY_FILE", "tls.key")] {
            let of = file(&role.to_lowercase(), name);
            environment.push((format!("HELIOGRAPH_{role}__TLS__{key}"), of));
        }
    }
    let off = ("HELIOGRAPH_REDACTION__ENABLED".to_owned(), "false".to_owned());
    Ok([
        Shape { environment: vec![off], authority: None },
        Shape::default(),
        Shape { environment, authority: Some(dir.join("ca.crt")) },
    ])
}
