//! `bench tenants`: what tenants cost that have a few records and do nothing: memory and CPU of a server that has
//! them, beside one that has none.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use heliograph_model::tenant::TenantId;
use serde::Serialize;

use crate::Programs;
use crate::batches::Batches;
use crate::compare::folder;
use crate::sample::Sample;
use crate::size::{float, mib};
use crate::system::{Heliograph, Setup, System};
use crate::table::{Table, figure, progress};

/// Of which the batches are cut, as NDJSON.
const CORPUS_BYTES: u64 = 8 << 20;
/// Requests at the same time.
const SENDERS: usize = 8;
/// How long a server without work is left alone before it is measured.
const SETTLE: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(crate) struct Options {
    /// How many.
    #[arg(long, default_value_t = 2_000)]
    tenants: usize,
    /// What each has, before compression.
    #[arg(long, default_value = "10KiB", value_parser = crate::size::parse)]
    bytes: u64,
    /// How long each server is watched.
    #[arg(long, default_value_t = 30)]
    idle_seconds: u32,
    /// Writes every figure as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A server at rest.
#[derive(Serialize)]
struct Rest {
    state: &'static str,
    memory_bytes: u64,
    cpu_seconds_a_second: f64,
}

pub(crate) async fn run(programs: &Programs, options: &Options) -> anyhow::Result<()> {
    let (folder, _vanishes) = folder(None)?;
    let setup = |name| Setup { program: programs.heliograph.clone(), data: folder.join(name) };
    progress("a server without tenants");
    let server = Heliograph::start(&setup("none")).await?;
    let mut rests = vec![watch(&server, "no tenants", options).await?];
    server.stop().await?;

    let setup = setup("many");
    progress("tenants bring their records, and all are sealed");
    let server = Heliograph::start(&setup).await?;
    fill(&server, options).await?;
    server.settle().await?;
    rests.push(watch(&server, "all sealed", options).await?);
    server.stop().await?;
    progress("the server is started again");
    let server = Heliograph::start(&setup).await?;
    rests.push(watch(&server, "started again", options).await?);
    progress("somebody searches all of them");
    let found = server.search_all("zzzz_in_no_line").await?;
    anyhow::ensure!(found == 0, "WRONG: {found} lines were found that are not there");
    rests.push(watch(&server, "all were searched", options).await?);
    server.stop().await?;
    print(&rests, options.tenants)?;
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&rests)?)?;
    }
    Ok(())
}

async fn fill(server: &Heliograph, options: &Options) -> anyhow::Result<()> {
    let sample = tokio::task::spawn_blocking(|| Sample::make(1, CORPUS_BYTES, 1)).await??;
    let batches = Batches::cut(&sample, options.bytes)?;
    let bodies = batches.bodies.iter().cycle().take(options.tenants).enumerate();
    let sending = bodies.map(|(number, body)| async move {
        let tenant = TenantId::parse(&format!("tenant-{number}"))?;
        let answer = server.send(&tenant, "bench", 1, body.clone()).send().await?;
        answer.error_for_status().context("a batch was refused")?;
        anyhow::Ok(())
    });
    stream::iter(sending).buffer_unordered(SENDERS).try_collect::<Vec<()>>().await?;
    Ok(())
}

async fn watch(server: &Heliograph, state: &'static str, options: &Options) -> anyhow::Result<Rest> {
    tokio::time::sleep(SETTLE).await;
    let before = server.process().used()?;
    tokio::time::sleep(Duration::from_secs(options.idle_seconds.into())).await;
    let after = server.process().used()?;
    Ok(Rest {
        state,
        memory_bytes: after.memory_bytes,
        cpu_seconds_a_second: (after.cpu_seconds - before.cpu_seconds)
            / f64::from(options.idle_seconds.max(1)),
    })
}

fn print(rests: &[Rest], tenants: usize) -> anyhow::Result<()> {
    let none = rests.first().context("nothing was measured")?;
    let title = format!("{tenants} idle tenants");
    let mut table =
        Table::new(&[&title, "memory, MiB", "KiB a tenant", "CPU, % of a core", "us a second and tenant"]);
    let per_tenant = 1.0 / float(tenants.max(1) as u64);
    for rest in rests {
        let (memory, cpu) = (
            float(rest.memory_bytes) - float(none.memory_bytes),
            rest.cpu_seconds_a_second - none.cpu_seconds_a_second,
        );
        table.row([
            rest.state.to_owned(),
            figure(mib(rest.memory_bytes)),
            figure(memory / 1_024.0 * per_tenant),
            figure(100.0 * rest.cpu_seconds_a_second),
            figure(1e6 * cpu * per_tenant),
        ]);
    }
    table.print();
    Ok(())
}
