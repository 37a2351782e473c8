//! `bench concurrent`: many searches at the same time, on ours and on the peer.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use futures::future::try_join_all;
use reqwest::StatusCode;
use serde::Serialize;
use serde_json::json;

use crate::compare::folder;
use crate::corpus::{self, Corpus, Form};
use crate::load;
use crate::questions::Question;
use crate::report;
use crate::series::Series;
use crate::size::{float, mib};
use crate::system::{Heliograph, Setup, System, VictoriaLogs};
use crate::table::{Table, figure, progress, ratio};

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    corpus: corpus::Options,
    /// Searches under way at the same time.
    #[arg(long, default_value_t = 50)]
    searches: usize,
    /// Questions that each of them asks, one after the other.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Writes every figure as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What happened to all searches of one server.
#[derive(Serialize)]
struct Outcome {
    millis: Vec<f64>,
    /// Answered with 429 or 503.
    turned_away: u64,
    seconds: f64,
    memory_bytes_before: u64,
    memory_bytes_max: u64,
    cpu_seconds: f64,
}

pub(crate) async fn run(programs: &crate::Programs, options: &Options) -> anyhow::Result<()> {
    let (folder, _vanishes) = folder(None)?;
    progress("making the corpus");
    let corpus = corpus::make(&options.corpus, &folder)?;
    report::shape(&corpus.shape);
    let ours = Setup { program: programs.heliograph.clone(), data: folder.join("heliograph") };
    let theirs = Setup { program: programs.victoria_logs.clone(), data: folder.join("victorialogs") };
    let ours = measure::<Heliograph>(&ours, &corpus, Form::Binary, options).await?;
    let theirs = measure::<VictoriaLogs>(&theirs, &corpus, Form::Bulk, options).await?;

    let title = format!("{} searches at once", options.searches);
    let mut table = Table::new(&[&title, Heliograph::NAME, VictoriaLogs::NAME, "ratio"]);
    let (our, their) = (Series::new(ours.millis.clone()), Series::new(theirs.millis.clone()));
    for (name, our, their) in [
        ("median, ms", our.median(), their.median()),
        ("p95, ms", our.at(0.95), their.at(0.95)),
        ("p99, ms", our.at(0.99), their.at(0.99)),
        ("longest, ms", our.at(1.0), their.at(1.0)),
        ("seconds for all", ours.seconds, theirs.seconds),
        ("CPU seconds", ours.cpu_seconds, theirs.cpu_seconds),
        ("memory before, MiB", mib(ours.memory_bytes_before), mib(theirs.memory_bytes_before)),
        ("peak memory, MiB", mib(ours.memory_bytes_max), mib(theirs.memory_bytes_max)),
        ("turned away", float(ours.turned_away), float(theirs.turned_away)),
    ] {
        table.row([name.to_owned(), figure(our), figure(their), ratio(their, our)]);
    }
    table.print();
    if let Some(path) = &options.json {
        let all = json!({ "corpus": corpus.shape, Heliograph::NAME: ours, VictoriaLogs::NAME: theirs });
        std::fs::write(path, serde_json::to_vec_pretty(&all)?)?;
    }
    Ok(())
}

async fn measure<S: System>(
    setup: &Setup,
    corpus: &Corpus,
    form: Form,
    options: &Options,
) -> anyhow::Result<Outcome> {
    progress(&format!("ingesting into {}", S::NAME));
    load::ingest::<S>(setup, corpus, form).await?;
    progress(&format!("searching {}", S::NAME));
    let server = S::start(setup).await?;
    let before = server.process().used()?;
    let begun = Instant::now();
    let searchers = (0..options.searches).map(|n| search(&server, corpus, n, options.rounds));
    let found = try_join_all(searchers).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let used = server.process().used()?;
    server.stop().await?;
    Ok(Outcome {
        millis: found.iter().flat_map(|(millis, _)| millis.iter().copied()).collect(),
        turned_away: found.iter().map(|(_, away)| away).sum(),
        seconds,
        memory_bytes_before: before.memory_bytes,
        memory_bytes_max: used.memory_bytes_max,
        cpu_seconds: used.cpu_seconds - before.cpu_seconds,
    })
}

/// One searcher: begins at a question of its own, so that all are asked at any moment.
async fn search<S: System>(
    server: &S,
    corpus: &Corpus,
    nth: usize,
    rounds: usize,
) -> anyhow::Result<(Vec<f64>, u64)> {
    let asked = &corpus.truth.asked;
    let (mut millis, mut away) = (Vec::new(), 0);
    let questions = asked.iter().map(|(question, _)| question).cycle().skip(nth % asked.len().max(1));
    for question in questions.take(rounds) {
        match once(server, question, corpus).await? {
            Some(time) => millis.push(time),
            None => away += 1,
        }
    }
    Ok((millis, away))
}

/// Milliseconds; nothing where the server had no room.
async fn once<S: System>(server: &S, question: &Question, corpus: &Corpus) -> anyhow::Result<Option<f64>> {
    let begun = Instant::now();
    let answer = server.ask(question, &corpus.truth.range).send().await?;
    if matches!(answer.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return Ok(None);
    }
    answer.error_for_status()?.bytes().await?;
    Ok(Some(begun.elapsed().as_secs_f64() * 1_000.0))
}
