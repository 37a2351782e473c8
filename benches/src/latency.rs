//! How long a line takes from the file to a live tail, against `tail -F` on the same file in the same run.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Args;
use futures::StreamExt;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::series::Series;
use crate::system::{Heliograph, Setup, System, create_token};

#[derive(Args)]
pub(crate) struct Options {
    /// Lines a second.
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Seconds to measure, after two of warm-up.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
}

const WARM_UP: Duration = Duration::from_secs(2);

pub(crate) async fn run(heliograph: &Path, options: &Options) -> anyhow::Result<()> {
    let folder = TempDir::with_prefix("heliograph-bench-logs-")?;
    let file = folder.path().join("app.log");
    std::fs::write(&file, "")?;
    let data = TempDir::with_prefix("heliograph-bench-")?;
    let setup = Setup { program: heliograph.to_owned(), data: data.path().join("data") };
    let server = Heliograph::start_with(&setup, Some(&format!("{}/*.log", folder.path().display()))).await?;
    let token = create_token(heliograph, &setup.data, "default").await?;

    let (ready_tx, mut ready) = tokio::sync::watch::channel(false);
    let ours = receive_from_tail(&server, &token, ready_tx);
    let reference = receive_from_tail_f(&file);
    let writing = async {
        ready.wait_for(|r| *r).await.context("the tail ended before it began")?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let cpu_before = server.process().used()?.cpu_seconds;
        let (path, rate, seconds) = (file.clone(), options.rate, options.seconds);
        tokio::task::spawn_blocking(move || write_lines(&path, rate, seconds)).await??;
        Ok::<_, anyhow::Error>(server.process().used()?.cpu_seconds - cpu_before)
    };
    let (ours, reference, cpu) = tokio::join!(ours, reference, writing);
    let (ours, reference, cpu) = (Series::new(ours?), Series::new(reference?), cpu?);
    let total = u64::from(options.rate) * (u64::from(options.seconds) + WARM_UP.as_secs());
    report(options, &ours, &reference, cpu, total)
}

#[expect(clippy::print_stdout, reason = "printing figures is what a benchmark is for")]
fn report(options: &Options, ours: &Series, reference: &Series, cpu: f64, total: u64) -> anyhow::Result<()> {
    println!("line written -> received by a tail client, {} lines/s, ms", options.rate);
    println!("{:<22}{:>9}{:>9}{:>9}{:>9}{:>9}", "", "lines", "p50", "p90", "p99", "max");
    for (name, l) in [("heliograph tail", ours), ("tail -F (reference)", reference)] {
        println!(
            "{name:<22}{:>9}{:>9.1}{:>9.1}{:>9.1}{:>9.1}",
            l.len(),
            l.at(0.50),
            l.at(0.90),
            l.at(0.99),
            l.at(1.0)
        );
    }
    println!(
        "ratio of p50 {:.1}, of p99 {:.1}",
        ours.at(0.5) / reference.at(0.5),
        ours.at(0.99) / reference.at(0.99)
    );
    println!(
        "server CPU: {:.1} % of a core, {:.0} us a line",
        100.0 * cpu / f64::from(options.seconds + 2),
        cpu * 1e6 / crate::size::float(total)
    );
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "two processes compare their clocks here")]
fn now_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(0))
}

/// Writes `rate` lines a second, each with the moment of its writing; the last says `end`.
#[expect(clippy::disallowed_methods, reason = "a thread of its own that paces itself")]
fn write_lines(path: &Path, rate: u32, seconds: u32) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    let start = std::time::Instant::now();
    let lines = rate * (seconds + 2);
    for n in 0..lines {
        let due = Duration::from_secs_f64(f64::from(n) / f64::from(rate));
        if let Some(wait) = due.checked_sub(start.elapsed()) {
            std::thread::sleep(wait);
        }
        let measured = if due >= WARM_UP { "measured" } else { "warm-up" };
        file.write_all(
            format!("line {n} {measured} written={} of a task that says little\n", now_micros()).as_bytes(),
        )?;
    }
    file.write_all(b"end of the run\n")?;
    Ok(())
}

/// Milliseconds since the moment that a measured line names.
fn latency(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once(" measured written=")?;
    let written: u64 = rest.split(' ').next()?.parse().ok()?;
    let micros = now_micros().saturating_sub(written);
    Some(f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1_000.0)
}

async fn receive_from_tail(
    server: &Heliograph,
    token: &str,
    ready: tokio::sync::watch::Sender<bool>,
) -> anyhow::Result<Vec<f64>> {
    let url = format!("{}/api/v1/tail?tenant=default&q=", server.base.replacen("http", "ws", 1));
    let mut request = url.into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.context("cannot open the tail")?;
    ready.send_replace(true);
    let mut out = Vec::new();
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        let frame: serde_json::Value = serde_json::from_str(&text)?;
        for record in frame["records"].as_array().into_iter().flatten() {
            let line = record["message"].as_str().unwrap_or_default();
            if line.starts_with("end of the run") {
                return Ok(out);
            }
            out.extend(latency(line));
        }
    }
    anyhow::bail!("the tail closed before the end")
}

async fn receive_from_tail_f(file: &Path) -> anyhow::Result<Vec<f64>> {
    let mut child = Command::new("tail")
        .arg("-F")
        .arg(file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let mut out = Vec::new();
    while let Some(line) = lines.next_line().await? {
        if line.starts_with("end of the run") {
            break;
        }
        out.extend(latency(&line));
    }
    child.kill().await?;
    Ok(out)
}
