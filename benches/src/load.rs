//! Sends a corpus to a server, and measures what that takes of it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::future::try_join_all;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde::Serialize;

use crate::corpus::{Corpus, Form, LANES, Parcel, Parcels};
use crate::files;
use crate::questions::{Question, Want};
use crate::system::{Setup, System};
use crate::truth::{Answer, Test};

/// Longest wait that a server is granted when it asks for one.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How long everything sent may take to be searchable.
const SEARCHABLE_PATIENCE: Duration = Duration::from_secs(300);

/// What ingesting a corpus took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ingested {
    /// From the first byte until all is acknowledged.
    pub(crate) acknowledged_seconds: f64,
    /// From the first byte until a count gives all of it.
    pub(crate) searchable_seconds: f64,
    /// The server's, from the first byte until all has its final form: ours sealed, the peer's flushed.
    pub(crate) cpu_seconds: f64,
    /// The same with a merge that was asked for; equal where there is none.
    pub(crate) cpu_merged_seconds: f64,
    pub(crate) memory_bytes_max: u64,
    /// The data folder, before and after that merge.
    pub(crate) stored_bytes: u64,
    pub(crate) stored_merged_bytes: u64,
    /// Requests that were to be sent again later.
    pub(crate) put_off: u64,
}

/// Starts a server on an empty folder, sends everything, waits until it is at rest, stops it.
pub(crate) async fn ingest<S: System>(
    setup: &Setup,
    corpus: &Corpus,
    form: Form,
) -> anyhow::Result<Ingested> {
    clear(&setup.data)?;
    let server = S::start(setup).await?;
    let ingested = measure(&server, setup, corpus, form).await;
    server.stop().await?;
    ingested
}

/// Measures a running server with nothing in it.
pub(crate) async fn measure<S: System>(
    server: &S,
    setup: &Setup,
    corpus: &Corpus,
    form: Form,
) -> anyhow::Result<Ingested> {
    let before = server.process().used()?.cpu_seconds;
    let begun = Instant::now();
    let put_off = send(server, &corpus.parcels, form).await?;
    let acknowledged_seconds = begun.elapsed().as_secs_f64();
    server.flush().await?;
    wait_until_searchable(server, corpus).await?;
    let searchable_seconds = begun.elapsed().as_secs_f64();
    server.settle().await?;
    let settled = server.process().used()?;
    let stored_in = S::stored_in(&setup.data);
    let stored_bytes = files::bytes(&stored_in)?;
    server.compact().await?;
    let merged = server.process().used()?;
    Ok(Ingested {
        acknowledged_seconds,
        searchable_seconds,
        cpu_seconds: settled.cpu_seconds - before,
        cpu_merged_seconds: merged.cpu_seconds - before,
        memory_bytes_max: merged.memory_bytes_max,
        stored_bytes,
        stored_merged_bytes: files::bytes(&stored_in)?,
        put_off,
    })
}

/// Removes what an earlier run left.
pub(crate) fn clear(data: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(data) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", data.display())),
    }
}

/// Sends all parcels, each lane's in order, the lanes side by side; how often the server asked to wait.
async fn send<S: System>(server: &S, parcels: &Parcels, form: Form) -> anyhow::Result<u64> {
    let lanes = (0..LANES).map(|lane| async move {
        let mut put_off = 0;
        for parcel in parcels.all.iter().filter(|parcel| parcel.lane == lane) {
            put_off += send_one(server, parcels, parcel, form).await?;
        }
        anyhow::Ok(put_off)
    });
    Ok(try_join_all(lanes).await?.into_iter().sum())
}

async fn send_one<S: System>(
    server: &S,
    parcels: &Parcels,
    parcel: &Parcel,
    form: Form,
) -> anyhow::Result<u64> {
    let mut put_off = 0;
    loop {
        let answer = server.post(parcel, form, parcels.body(parcel, form)?).send().await;
        let answer = answer.with_context(|| server.process().last_words())?;
        let status = answer.status();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let after = answer.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
            tokio::time::sleep(Duration::from_secs(after.unwrap_or(1)).min(WAIT_MAX)).await;
            put_off += 1;
            continue;
        }
        let body = answer.text().await?;
        if !status.is_success() || (form == Form::Bulk && !body.contains("\"errors\":false")) {
            bail!("{} refused a parcel with {status}: {:.500}", S::NAME, body);
        }
        return Ok(put_off);
    }
}

async fn wait_until_searchable<S: System>(server: &S, corpus: &Corpus) -> anyhow::Result<()> {
    let everything = Question {
        name: "count of everything",
        text: String::new(),
        logsql: "*".to_owned(),
        tenant: None,
        want: Want::Count,
        test: Test::Any,
    };
    let deadline = Instant::now() + SEARCHABLE_PATIENCE;
    let expected = corpus.parcels.documents();
    let mut found = 0;
    while Instant::now() < deadline {
        let answer = server.ask(&everything, &corpus.truth.range).send().await?.error_for_status()?;
        if let Answer::Count(count) = S::read(&everything, &answer.bytes().await?)? {
            if count == expected {
                return Ok(());
            }
            found = count;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("{} finds {found} of {expected} lines", S::NAME)
}
