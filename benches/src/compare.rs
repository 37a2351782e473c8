//! `bench compare`: the same corpus into ours and into a peer, one after the other, then the same questions.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::json;
use tempfile::TempDir;

use crate::ask::{self, Asked};
use crate::corpus::{self, Corpus, Form};
use crate::load::{self, Ingested};
use crate::report;
use crate::system::{Heliograph, Setup, System, VictoriaLogs};
use crate::table::{progress, say};

/// The forms in which ours is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Forms {
    Binary,
    Bulk,
    Both,
}

impl Forms {
    fn all(self) -> &'static [Form] {
        match self {
            Self::Binary => &[Form::Binary],
            Self::Bulk => &[Form::Bulk],
            Self::Both => &[Form::Binary, Form::Bulk],
        }
    }
}

/// What ours is held against.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Peer {
    #[value(name = "victorialogs")]
    VictoriaLogs,
}

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    corpus: corpus::Options,
    /// How ours gets the records; the peer always gets `_bulk`.
    #[arg(long, value_enum, default_value = "both")]
    ours: Forms,
    /// Times that each server ingests everything; figures are medians.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    #[arg(long, value_enum, default_value = "victorialogs")]
    peer: Peer,
    #[command(flatten)]
    ask: ask::Options,
    /// Keeps corpus and data here; without it they lie in a folder that vanishes.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Asks what an earlier run with the same corpus and `--folder` has left, without ingesting again.
    #[arg(long, requires = "folder")]
    queries_only: bool,
    /// Writes every figure as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// The folder that everything lies in, and the one to hold on to if it shall vanish.
pub(crate) fn folder(wanted: Option<&Path>) -> anyhow::Result<(PathBuf, Option<TempDir>)> {
    if let Some(folder) = wanted {
        std::fs::create_dir_all(folder)?;
        return Ok((folder.to_owned(), None));
    }
    let folder = TempDir::with_prefix("heliograph-bench-")?;
    Ok((folder.path().to_owned(), Some(folder)))
}

/// All runs of one server with one form.
pub(crate) struct Ingests {
    pub(crate) name: String,
    pub(crate) runs: Vec<Ingested>,
}

pub(crate) async fn run(programs: &crate::Programs, options: &Options) -> anyhow::Result<()> {
    let (folder, _vanishes) = folder(options.folder.as_deref())?;
    progress("making the corpus");
    let corpus = corpus::make(&options.corpus, &folder)?;
    report::shape(&corpus.shape);
    let ours = Setup { program: programs.heliograph.clone(), data: folder.join("heliograph") };
    let Peer::VictoriaLogs = options.peer;
    let theirs = Setup { program: programs.victoria_logs.clone(), data: folder.join("victorialogs") };

    let ingests =
        if options.queries_only { Vec::new() } else { ingest_all(options, &corpus, &ours, &theirs).await? };
    if let Some((theirs, ours)) = ingests.split_last() {
        report::ingests(&corpus.shape, ours, theirs);
    }
    progress("asking heliograph");
    let our_answers = ask::all::<Heliograph>(&ours, &corpus.truth, options.ask).await?;
    progress("asking VictoriaLogs");
    let their_answers = ask::all::<VictoriaLogs>(&theirs, &corpus.truth, options.ask).await?;
    report::questions(&our_answers, &their_answers);
    write_json(options, &corpus, &ingests, [&our_answers, &their_answers])?;
    check(&[(Heliograph::NAME, &our_answers), (VictoriaLogs::NAME, &their_answers)])
}

/// Each run goes through all servers, so that a slow hour of the machine meets all of them.
async fn ingest_all(
    options: &Options,
    corpus: &Corpus,
    ours: &Setup,
    theirs: &Setup,
) -> anyhow::Result<Vec<Ingests>> {
    let mut all: Vec<Ingests> = Vec::new();
    for form in options.ours.all() {
        let route = if *form == Form::Bulk { "_bulk" } else { "binary" };
        all.push(Ingests { name: format!("{} {route}", Heliograph::NAME), runs: Vec::new() });
    }
    let mut peer = Ingests { name: VictoriaLogs::NAME.to_owned(), runs: Vec::new() };
    for n in 1..=options.runs.max(1) {
        for (form, ingests) in options.ours.all().iter().zip(&mut all) {
            progress(&format!("run {n}: {}", ingests.name));
            ingests.runs.push(load::ingest::<Heliograph>(ours, corpus, *form).await?);
        }
        progress(&format!("run {n}: {}", peer.name));
        peer.runs.push(load::ingest::<VictoriaLogs>(theirs, corpus, Form::Bulk).await?);
    }
    all.push(peer);
    Ok(all)
}

fn write_json(
    options: &Options,
    corpus: &Corpus,
    ingests: &[Ingests],
    asked: [&Asked; 2],
) -> anyhow::Result<()> {
    let Some(path) = &options.json else { return Ok(()) };
    let [ours, theirs] = asked;
    let runs: serde_json::Map<String, serde_json::Value> =
        ingests.iter().map(|of| (of.name.clone(), json!(of.runs))).collect();
    let right: serde_json::Map<String, serde_json::Value> =
        corpus.truth.asked.iter().map(|(q, tally)| (q.name.to_owned(), json!(tally.count()))).collect();
    let all = json!({
        "seed": options.corpus.seed,
        "corpus": corpus.shape,
        "lines_that_match": right,
        "ingest": runs,
        "queries": { Heliograph::NAME: ours, VictoriaLogs::NAME: theirs },
    });
    std::fs::write(path, serde_json::to_vec_pretty(&all)?)?;
    Ok(())
}

/// A quick answer that is wrong is worth nothing.
fn check(all: &[(&str, &Asked)]) -> anyhow::Result<()> {
    let mut wrong = 0;
    for (name, asked) in all {
        for timed in &asked.timed {
            if let Some(what) = &timed.wrong {
                wrong += 1;
                say(&format!("WRONG: {name}, {}: {what}", timed.question));
            }
        }
    }
    if wrong > 0 { bail!("{wrong} answers are wrong") } else { Ok(()) }
}
