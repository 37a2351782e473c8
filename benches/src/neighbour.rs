//! `bench neighbour`: a tenant sends ten times its quota and asks the dearest question again and again; what another
//! tenant, which sends and asks at a steady rate, notices of it, beside the same tenant left in peace.

mod noisy;
mod quiet;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use heliograph_model::tenant::TenantId;
use reqwest::Client;
use serde_json::json;

use crate::Programs;
use crate::batches::Batches;
use crate::compare::folder;
use crate::sample::Sample;
use crate::size::float;
use crate::system::{Heliograph, Setup, System, admin, create_token};
use crate::table::{Table, figure, progress, ratio};

/// Of which the batches are cut, as NDJSON.
const CORPUS_BYTES: u64 = 64 << 20;
/// Before compression.
const BATCH_BYTES: u64 = 100 << 10;
/// Requests at the same time while both are given their records.
const SENDERS: usize = 4;
/// All of the corpus' times.
const RANGE: [(&str, &str); 2] = [("start", "2026-11-01T00:00:00Z"), ("end", "2026-12-31T00:00:00Z")];

#[derive(Args)]
pub(crate) struct Options {
    /// What the noisy one may send a second, before compression; it sends ten times as much.
    #[arg(long, default_value = "1MiB", value_parser = crate::size::parse)]
    quota: u64,
    /// How many of its dearest question are asked at the same time.
    #[arg(long, default_value_t = 1)]
    dear: usize,
    /// How long the other one is watched, in peace and then beside it.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Writes every figure as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// The server, and what both tenants need to use it.
struct Stage {
    server: Heliograph,
    client: Client,
    batches: Batches,
    noisy: Party,
    quiet: Party,
}

/// A tenant, and the token of somebody who reads its logs.
struct Party {
    tenant: TenantId,
    token: String,
}

pub(crate) async fn run(programs: &Programs, options: &Options) -> anyhow::Result<()> {
    let (folder, _vanishes) = folder(None)?;
    let setup = Setup { program: programs.heliograph.clone(), data: folder.join("heliograph") };
    progress("both tenants are given their records");
    let stage = Stage::prepare(&setup, options).await?;
    let time = Duration::from_secs(options.seconds);
    progress("one of them in peace");
    let alone = quiet::live(&stage, 1, time).await?;
    progress("the other one makes noise");
    let (beside, noise) = tokio::try_join!(
        quiet::live(&stage, 2, time),
        noisy::live(&stage, options.quota, options.dear, time)
    )?;
    stage.server.stop().await?;

    let mut table = Table::new(&["the quiet tenant", "in peace", "beside the noisy", "ratio"]);
    for (name, before, after) in [
        ("batches", float(alone.acks.len() as u64), float(beside.acks.len() as u64)),
        ("batches refused", float(alone.refused), float(beside.refused)),
        ("acknowledged, median, ms", alone.acks.median(), beside.acks.median()),
        ("acknowledged, p95, ms", alone.acks.at(0.95), beside.acks.at(0.95)),
        ("questions", float(alone.questions.len() as u64), float(beside.questions.len() as u64)),
        ("question, median, ms", alone.questions.median(), beside.questions.median()),
        ("question, p95, ms", alone.questions.at(0.95), beside.questions.at(0.95)),
    ] {
        table.row([name.to_owned(), figure(before), figure(after), ratio(after, before)]);
    }
    table.print();
    let mut table = Table::new(&["the noisy tenant", "figure"]);
    for (name, value) in [
        ("sent, of its quota", float(noise.sent_bytes) / time.as_secs_f64() / float(options.quota)),
        ("taken, of its quota", float(noise.taken_bytes) / time.as_secs_f64() / float(options.quota)),
        ("batches refused", float(noise.refused)),
        ("dear questions", float(noise.questions.len() as u64)),
        ("dear question, median, ms", noise.questions.median()),
    ] {
        table.row([name.to_owned(), figure(value)]);
    }
    table.print();
    if let Some(path) = &options.json {
        let all = json!({ "alone": alone, "beside": beside, "noise": noise });
        std::fs::write(path, serde_json::to_vec_pretty(&all)?)?;
    }
    anyhow::ensure!(
        beside.refused == 0,
        "WRONG: {} batches of the quiet tenant were refused",
        beside.refused
    );
    Ok(())
}

impl Stage {
    /// Both tenants have the same records, sealed; the noisy one has its quota.
    async fn prepare(setup: &Setup, options: &Options) -> anyhow::Result<Self> {
        let server = Heliograph::start(setup).await?;
        let sample = tokio::task::spawn_blocking(|| Sample::make(1, CORPUS_BYTES, 1)).await??;
        let batches = Batches::cut(&sample, BATCH_BYTES)?;
        let [noisy, quiet] = ["noisy", "quiet"].map(TenantId::parse);
        let (noisy, quiet) = (noisy?, quiet?);
        for tenant in [&noisy, &quiet] {
            let (server, bodies) = (&server, batches.bodies.iter().enumerate());
            let sending = bodies.map(|(number, body)| async move {
                let answer = server.send(tenant, &format!("first-{number}"), 1, body.clone()).send().await?;
                answer.error_for_status().context("a batch was refused")?;
                anyhow::Ok(())
            });
            stream::iter(sending).buffer_unordered(SENDERS).try_collect::<Vec<()>>().await?;
        }
        server.settle().await?;
        let quota = format!("{} B", options.quota);
        admin(
            &setup.program,
            &setup.data,
            &["tenant", "limits", "noisy", "--ingest", &quota, "--burst", &quota],
        )
        .await?;
        let party = async |tenant: TenantId| {
            let token = create_token(&setup.program, &setup.data, tenant.as_str()).await?;
            anyhow::Ok(Party { tenant, token })
        };
        let (noisy, quiet) = (party(noisy).await?, party(quiet).await?);
        // Limits act within five seconds.
        tokio::time::sleep(Duration::from_secs(6)).await;
        let client = Client::builder().no_proxy().tcp_nodelay(true).build()?;
        Ok(Self { server, client, batches, noisy, quiet })
    }

    /// Asks a question of a party's own logs, and reads the answer.
    async fn ask(&self, party: &Party, route: &str, parameters: &[(&str, &str)]) -> anyhow::Result<()> {
        let url = format!("{}/api/v1/{route}", self.server.base);
        let request = self.client.get(url).query(&RANGE).query(parameters).bearer_auth(&party.token);
        request.send().await?.error_for_status()?.bytes().await?;
        Ok(())
    }
}
