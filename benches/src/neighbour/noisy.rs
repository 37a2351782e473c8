//! A tenant that sends ten times its quota, does not wait when it is told to, and asks the dearest question without
//! a pause.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use serde::Serialize;
use tokio::time::interval;

use super::Stage;
use crate::series::Series;

/// How many times its quota it sends.
const TIMES: u32 = 10;
/// Producers that it sends by.
const PRODUCERS: u32 = 4;
/// No word of it can be looked up: every line is looked at.
const DEAR: &str = "/(l|i|n|e| )+[0-9]*x$/";

/// What became of it.
#[derive(Serialize)]
pub(super) struct Noise {
    pub(super) sent_bytes: u64,
    pub(super) taken_bytes: u64,
    pub(super) refused: u64,
    /// Milliseconds of its questions.
    pub(super) questions: Series,
}

/// Makes noise so long.
pub(super) async fn live(stage: &Stage, quota: u64, dear: usize, time: Duration) -> anyhow::Result<Noise> {
    let begun = Instant::now();
    let sending = try_join_all((0..PRODUCERS).map(|producer| send(stage, producer, quota, begun, time)));
    let asking = try_join_all((0..dear).map(|_| async {
        let mut millis = Vec::new();
        while begun.elapsed() < time {
            let since = Instant::now();
            stage.ask(&stage.noisy, "histogram", &[("q", DEAR), ("interval", "52w")]).await?;
            millis.push(since.elapsed().as_secs_f64() * 1_000.0);
        }
        anyhow::Ok(millis)
    }));
    let (sent, questions) = tokio::try_join!(sending, asking)?;
    let (number, taken): (Vec<u64>, Vec<u64>) = sent.into_iter().unzip();
    let (number, taken) = (number.iter().sum::<u64>(), taken.iter().sum::<u64>());
    Ok(Noise {
        sent_bytes: number * stage.batches.bytes,
        taken_bytes: taken * stage.batches.bytes,
        refused: number - taken,
        questions: Series::new(questions.into_iter().flatten().collect()),
    })
}

/// How many batches one producer has sent, and how many of them were taken.
async fn send(
    stage: &Stage,
    producer: u32,
    quota: u64,
    begun: Instant,
    time: Duration,
) -> anyhow::Result<(u64, u64)> {
    let each = Duration::from_secs(stage.batches.bytes) * PRODUCERS / TIMES;
    let mut ticks = interval(each.div_f64(crate::size::float(quota.max(1))));
    let (mut sent, mut taken) = (0, 0);
    for body in stage.batches.bodies.iter().cycle() {
        ticks.tick().await;
        if begun.elapsed() >= time {
            break;
        }
        let name = format!("noisy-{producer}");
        let answer = stage.server.send(&stage.noisy.tenant, &name, taken + 1, body.clone()).send().await?;
        sent += 1;
        taken += u64::from(answer.status().is_success());
    }
    Ok((sent, taken))
}
