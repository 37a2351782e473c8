//! Asks a server every question, holds each answer against the truth, and measures how long it took.

use std::time::Instant;

use anyhow::Context;
use heliograph_model::time::TimeRange;
use serde::Serialize;

use crate::files;
use crate::questions::Question;
use crate::series::Series;
use crate::system::{Setup, System};
use crate::truth::{Answer, Truth};

/// How long one question's answers took, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Timed {
    pub(crate) question: &'static str,
    /// The first after a start with an empty page cache, where that was measured.
    pub(crate) cold_ms: Option<f64>,
    /// Empty where it was not asked, as its language cannot say it.
    pub(crate) warm_ms: Vec<f64>,
    /// What was found, in few words.
    pub(crate) found: String,
    /// What is wrong with it.
    pub(crate) wrong: Option<String>,
}

impl Timed {
    pub(crate) fn warm(&self) -> Series {
        Series::new(self.warm_ms.clone())
    }
}

/// What the whole table took of the server.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Asked {
    pub(crate) timed: Vec<Timed>,
    /// Of the process that answered the warm questions.
    pub(crate) memory_bytes_max: u64,
}

/// How a table is made.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Warm runs of each question.
    #[arg(long, default_value_t = 15)]
    pub(crate) queries: u32,
    /// Leave out the cold runs, each of which restarts the server.
    #[arg(long)]
    pub(crate) no_cold: bool,
}

/// Asks everything.
pub(crate) async fn all<S: System>(setup: &Setup, truth: &Truth, options: Options) -> anyhow::Result<Asked> {
    let mut timed = Vec::new();
    for (question, _) in &truth.asked {
        let is_cold = !options.no_cold && S::can_ask(question);
        let cold_ms = if is_cold { Some(cold::<S>(setup, question, truth).await?) } else { None };
        let (question, found) = (question.name, String::new());
        timed.push(Timed { question, cold_ms, warm_ms: Vec::new(), found, wrong: None });
    }
    let server = S::start(setup).await?;
    for ((question, tally), timed) in truth.asked.iter().zip(&mut timed) {
        if !S::can_ask(question) {
            continue;
        }
        let expected = tally.answer(question.want);
        for n in 0..S::WARM_UPS + options.queries.max(1) {
            let (millis, body) = once(&server, question, &truth.range).await?;
            if n >= S::WARM_UPS {
                timed.warm_ms.push(millis);
            }
            match S::read(question, &body) {
                Ok(answer) => {
                    timed.found = answer.summary();
                    timed.wrong = timed.wrong.take().or_else(|| difference(&expected, &answer));
                }
                Err(error) => timed.wrong = Some(format!("{error:#}")),
            }
        }
    }
    let memory_bytes_max = server.process().used()?.memory_bytes_max;
    server.stop().await?;
    Ok(Asked { timed, memory_bytes_max })
}

/// The first question after a start, none of the data's files being in the page cache.
async fn cold<S: System>(setup: &Setup, question: &Question, truth: &Truth) -> anyhow::Result<f64> {
    files::evict(&setup.data)?;
    let server = S::start(setup).await?;
    let asked = once(&server, question, &truth.range).await;
    server.stop().await?;
    Ok(asked?.0)
}

/// Milliseconds from the request to the answer's last byte, and the answer.
pub(crate) async fn once<S: System>(
    server: &S,
    question: &Question,
    range: &TimeRange,
) -> anyhow::Result<(f64, Vec<u8>)> {
    let request = server.ask(question, range);
    let begun = Instant::now();
    let answer = request.send().await.with_context(|| server.process().last_words())?;
    let status = answer.status();
    let body = answer.bytes().await?;
    let millis = begun.elapsed().as_secs_f64() * 1_000.0;
    anyhow::ensure!(
        status.is_success(),
        "{} answers {:?} with {status}: {:.500}",
        S::NAME,
        question.name,
        String::from_utf8_lossy(&body)
    );
    Ok((millis, body.into()))
}

fn difference(expected: &Answer, answer: &Answer) -> Option<String> {
    (answer != expected).then(|| {
        let (found, right) = (answer.summary(), expected.summary());
        if found == right {
            format!("{found}, but not the right ones")
        } else {
            format!("{found}, not {right}")
        }
    })
}
