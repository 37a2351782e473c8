//! One server's life: it is given batches, asked, and met anew.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use heliograph_model::tenant::TenantId;
use reqwest::Client;

use crate::batches::Batches;
use crate::files;
use crate::series::Series;
use crate::system::{Heliograph, Setup, Shape, System, create_token};

const TENANT: &str = "team";
/// Requests at the same time while it is given records.
const SENDERS: usize = 4;
/// New connections of which each asks once.
const CONNECTIONS: usize = 200;
/// All of the corpus' times.
const RANGE: [(&str, &str); 2] = [("start", "2026-11-01T00:00:00Z"), ("end", "2026-12-31T00:00:00Z")];
const NEWEST: (&str, &[(&str, &str)]) = ("search", &[("q", ""), ("limit", "100")]);
const COUNT: (&str, &[(&str, &str)]) = ("histogram", &[("q", crate::questions::COMMON), ("interval", "52w")]);

/// What was measured.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Lived {
    pub(super) ingest_cpu_seconds: f64,
    pub(super) acknowledged_ms: f64,
    /// What segments hold, in MiB; write-ahead objects were as much once more, and are gone.
    pub(super) sealed_mib: f64,
    pub(super) newest_ms: f64,
    pub(super) newest_cpu_ms: f64,
    pub(super) count_ms: f64,
    pub(super) count_cpu_ms: f64,
    pub(super) connect_ms: f64,
}

pub(super) async fn measure(
    setup: &Setup,
    shape: &Shape,
    batches: &Batches,
    questions: u32,
) -> anyhow::Result<Lived> {
    let server = Heliograph::start_as(setup, None, shape).await?;
    let tenant = TenantId::parse(TENANT)?;
    let before = server.process().used()?.cpu_seconds;
    let (sending, to, of) = (batches.bodies.iter().enumerate(), &server, &tenant);
    let sending = sending.map(|(number, body)| async move {
        let begun = Instant::now();
        let answer = to.send(of, &format!("producer-{number}"), 1, body.clone()).send().await?;
        answer.error_for_status().context("a batch was refused")?;
        anyhow::Ok(begun.elapsed())
    });
    let acks: Vec<Duration> = stream::iter(sending).buffer_unordered(SENDERS).try_collect().await?;
    server.settle().await?;
    let ingest_cpu_seconds = server.process().used()?.cpu_seconds - before;
    let sealed_mib = crate::size::mib(files::bytes(&setup.data)?);
    let token = create_token(&setup.program, &setup.data, TENANT).await?;
    let client = shape.client()?;
    let (newest_ms, newest_cpu_ms) = asked(&server, &client, &token, NEWEST, questions).await?;
    let (count_ms, count_cpu_ms) = asked(&server, &client, &token, COUNT, questions).await?;
    let mut connects = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = shape.client()?;
        let begun = Instant::now();
        client.get(format!("{}/healthz", server.base)).send().await?.error_for_status()?;
        connects.push(begun.elapsed());
    }
    server.stop().await?;
    Ok(Lived {
        ingest_cpu_seconds,
        acknowledged_ms: median_ms(&acks),
        sealed_mib,
        newest_ms,
        newest_cpu_ms,
        count_ms,
        count_cpu_ms,
        connect_ms: median_ms(&connects),
    })
}

fn median_ms(times: &[Duration]) -> f64 {
    Series::new(times.iter().map(|time| time.as_secs_f64() * 1_000.0).collect()).median()
}

/// The median time of a question that is asked again and again, and the server's CPU time for one, in milliseconds.
async fn asked(
    server: &Heliograph,
    client: &Client,
    token: &str,
    (route, parameters): (&str, &[(&str, &str)]),
    times: u32,
) -> anyhow::Result<(f64, f64)> {
    let url = format!("{}/api/v1/{route}", server.base);
    let ask = async || {
        let begun = Instant::now();
        let request = client.get(&url).query(&RANGE).query(parameters).bearer_auth(token);
        request.send().await?.error_for_status()?.bytes().await?;
        anyhow::Ok(begun.elapsed())
    };
    // Caches are filled by then.
    for _ in 0..5 {
        ask().await?;
    }
    let before = server.process().used()?.cpu_seconds;
    let mut took = Vec::new();
    for _ in 0..times.max(1) {
        took.push(ask().await?);
    }
    let cpu = server.process().used()?.cpu_seconds - before;
    Ok((median_ms(&took), cpu * 1_000.0 / f64::from(times.max(1))))
}
