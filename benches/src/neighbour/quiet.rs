//! A tenant that sends a batch and asks a question at a steady rate.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::Stage;
use crate::questions;
use crate::series::Series;

/// From one batch to the next.
const BATCH_EVERY: Duration = Duration::from_millis(50);
/// From one question to the next.
const QUESTION_EVERY: Duration = Duration::from_millis(50);

/// What it met.
#[derive(Serialize)]
pub(super) struct Life {
    /// Milliseconds until batches were acknowledged.
    pub(super) acks: Series,
    pub(super) refused: u64,
    /// Milliseconds until questions were answered.
    pub(super) questions: Series,
}

/// Lives so long; each of its lives sends by a producer of its own.
pub(super) async fn live(stage: &Stage, life: u32, time: Duration) -> anyhow::Result<Life> {
    let begun = Instant::now();
    let sending = async {
        let producer = format!("quiet-{life}");
        let (mut ticks, mut millis, mut refused, mut sequence) = (interval(BATCH_EVERY), Vec::new(), 0, 1);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for body in stage.batches.bodies.iter().cycle() {
            ticks.tick().await;
            if begun.elapsed() >= time {
                break;
            }
            let since = Instant::now();
            let request = stage.server.send(&stage.quiet.tenant, &producer, sequence, body.clone());
            if request.send().await?.status().is_success() {
                sequence += 1;
                millis.push(since.elapsed().as_secs_f64() * 1_000.0);
            } else {
                refused += 1;
            }
        }
        anyhow::Ok((millis, refused))
    };
    let asking = async {
        let (mut ticks, mut millis) = (interval(QUESTION_EVERY), Vec::new());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while begun.elapsed() < time {
            ticks.tick().await;
            let since = Instant::now();
            stage.ask(&stage.quiet, "search", &[("q", questions::COMMON), ("limit", "100")]).await?;
            millis.push(since.elapsed().as_secs_f64() * 1_000.0);
        }
        anyhow::Ok(millis)
    };
    let ((acks, refused), questions) = tokio::try_join!(sending, asking)?;
    Ok(Life { acks: Series::new(acks), refused, questions: Series::new(questions) })
}
