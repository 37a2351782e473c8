//! `bench compare`: the same corpus into ours and into each peer, one after the other, then the same questions.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::json;
use tempfile::TempDir;

use crate::ask::{self, Asked};
use crate::corpus::{self, Corpus, Form};
use crate::load::{self, Ingested};
use crate::peer::Peer;
use crate::report;
use crate::system::{Heliograph, Setup, System};
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

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    corpus: corpus::Options,
    /// How ours gets the records; peers always get `_bulk`.
    #[arg(long, value_enum, default_value = "both")]
    ours: Forms,
    /// Times that each server ingests everything; figures are medians.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// What ours is held against, one or several.
    #[arg(long, value_enum, value_delimiter = ',', alias = "peer", default_value = "victorialogs")]
    peers: Vec<Peer>,
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
    // A peer may run as another user, who must come through to its data.
    let everyone = Permissions::from_mode(0o755);
    let folder = tempfile::Builder::new().prefix("heliograph-bench-").permissions(everyone).tempdir()?;
    Ok((folder.path().to_owned(), Some(folder)))
}

/// All runs of one server with one form.
pub(crate) struct Ingests {
    pub(crate) name: String,
    /// The server's name where there is little room.
    pub(crate) short: &'static str,
    pub(crate) runs: Vec<Ingested>,
}

pub(crate) async fn run(programs: &crate::Programs, options: &Options) -> anyhow::Result<()> {
    let (folder, _vanishes) = folder(options.folder.as_deref())?;
    progress("making the corpus");
    let corpus = corpus::make(&options.corpus, &folder)?;
    report::shape(&corpus.shape);
    let ours = Setup { program: programs.heliograph.clone(), data: folder.join("heliograph") };
    let peers: Vec<(Peer, Setup)> =
        options.peers.iter().map(|peer| (*peer, peer.setup(programs, &folder))).collect();

    let mut ingests = Vec::new();
    if !options.queries_only {
        ingests = ingest_all(options, &corpus, &ours, &peers).await?;
        let (ours, theirs) = ingests.split_at(options.ours.all().len());
        report::ingests(&corpus.shape, ours, theirs);
    }
    progress("asking heliograph");
    let our_answers = ask::all::<Heliograph>(&ours, &corpus.truth, options.ask).await?;
    let mut their_answers = Vec::new();
    for (peer, setup) in &peers {
        progress(&format!("asking {}", peer.name()));
        their_answers.push((*peer, peer.ask(setup, &corpus, options.ask).await?));
    }
    report::questions(&our_answers, &their_answers);
    let mut answers = vec![(Heliograph::NAME, &our_answers)];
    answers.extend(their_answers.iter().map(|(peer, asked)| (peer.name(), asked)));
    write_json(options, &corpus, &ingests, &answers)?;
    check(&answers)
}

/// Each run goes through all servers, so that a slow hour of the machine meets all of them. First come ours.
async fn ingest_all(
    options: &Options,
    corpus: &Corpus,
    ours: &Setup,
    peers: &[(Peer, Setup)],
) -> anyhow::Result<Vec<Ingests>> {
    let mut all: Vec<Ingests> = Vec::new();
    for form in options.ours.all() {
        let route = if *form == Form::Bulk { "_bulk" } else { "binary" };
        let name = format!("{} {route}", Heliograph::NAME);
        all.push(Ingests { name, short: Heliograph::SHORT, runs: Vec::new() });
    }
    for (peer, _) in peers {
        all.push(Ingests { name: peer.name().to_owned(), short: peer.short(), runs: Vec::new() });
    }
    for n in 1..=options.runs.max(1) {
        let (of_ours, of_peers) = all.split_at_mut(options.ours.all().len());
        for (form, ingests) in options.ours.all().iter().zip(of_ours) {
            progress(&format!("run {n}: {}", ingests.name));
            ingests.runs.push(load::ingest::<Heliograph>(ours, corpus, *form).await?);
        }
        for ((peer, setup), ingests) in peers.iter().zip(of_peers) {
            progress(&format!("run {n}: {}", ingests.name));
            ingests.runs.push(peer.ingest(setup, corpus).await?);
        }
    }
    Ok(all)
}

fn write_json(
    options: &Options,
    corpus: &Corpus,
    ingests: &[Ingests],
    answers: &[(&'static str, &Asked)],
) -> anyhow::Result<()> {
    let Some(path) = &options.json else { return Ok(()) };
    let runs: serde_json::Map<String, serde_json::Value> =
        ingests.iter().map(|of| (of.name.clone(), json!(of.runs))).collect();
    let right: serde_json::Map<String, serde_json::Value> =
        corpus.truth.asked.iter().map(|(q, tally)| (q.name.to_owned(), json!(tally.count()))).collect();
    let queries: serde_json::Map<String, serde_json::Value> =
        answers.iter().map(|(name, asked)| ((*name).to_owned(), json!(asked))).collect();
    let all = json!({
        "seed": options.corpus.seed,
        "corpus": corpus.shape,
        "lines_that_match": right,
        "ingest": runs,
        "queries": queries,
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
