//! What is compared: a log server that takes parcels in and answers questions.

mod heliograph;
mod opensearch;
mod victorialogs;

use heliograph_model::time::TimeRange;
use reqwest::RequestBuilder;

use crate::corpus::{Form, Parcel};
use crate::process::Process;
use crate::questions::Question;
use crate::truth::Answer;

pub(crate) use heliograph::{Heliograph, Shape, admin, create_token};
pub(crate) use opensearch::OpenSearch;
pub(crate) use victorialogs::VictoriaLogs;

use std::path::{Path, PathBuf};

/// How a server is started.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The program.
    pub(crate) program: PathBuf,
    /// Where its data lies; started on the same folder, it has the same data.
    pub(crate) data: PathBuf,
}

/// A running server.
pub(crate) trait System: Sized {
    /// Its name in tables.
    const NAME: &'static str;
    /// The same where there is little room.
    const SHORT: &'static str;

    /// How often each question is asked before the clock runs.
    const WARM_UPS: u32 = 2;

    /// Starts it, ready to take parcels and questions.
    async fn start(setup: &Setup) -> anyhow::Result<Self>;

    /// The part of its data folder whose files count as stored.
    fn stored_in(data: &Path) -> PathBuf {
        data.to_owned()
    }

    /// Its process.
    fn process(&self) -> &Process;

    /// The request that hands a parcel in.
    fn post(&self, parcel: &Parcel, form: Form, body: Vec<u8>) -> RequestBuilder;

    /// Whether its language can say exactly what is asked for; what it cannot, it is not asked.
    fn can_ask(_question: &Question) -> bool {
        true
    }

    /// The request that asks a question.
    fn ask(&self, question: &Question, range: &TimeRange) -> RequestBuilder;

    /// Reads the answer to a question.
    fn read(question: &Question, body: &[u8]) -> anyhow::Result<Answer>;

    /// Makes what was acknowledged searchable, if it is not.
    async fn flush(&self) -> anyhow::Result<()>;

    /// Waits until it has put everything in its final place.
    async fn settle(&self) -> anyhow::Result<()>;

    /// Merges what it has as far as it goes; nothing where there is no such call.
    async fn compact(&self) -> anyhow::Result<()>;

    /// Stops it and waits for its end.
    async fn stop(self) -> anyhow::Result<()>;
}

/// The value of an unlabelled metric in a `/metrics` text.
pub(crate) async fn metric(client: &reqwest::Client, url: &str, name: &str) -> anyhow::Result<Option<f64>> {
    let text = client.get(url).send().await?.error_for_status()?.text().await?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.and_then(|value| value.trim().parse().ok()))
}
