//! What the code of our users' users says: whatever they like.

use heliograph_model::level::Level;

use super::rng::Rng;
use super::said::Said;
use super::words::{ACTIONS, DOMAINS, FIRST_NAMES, FOREIGN, LAST_NAMES, THINGS};

/// One line of a task; `file` is the DAG's.
pub(crate) fn line(file: &str, rng: &mut Rng) -> Said {
    let (level, message) = said(file, rng);
    // Roughly half of it comes by print(), whose logger is another.
    let mut said = if rng.one_in(2) {
        Said::by("task.stdout", "logging_mixin.py", 190, message)
    } else {
        Said::by("airflow.task", "python.py", 200 + u32::try_from(rng.below(60)).unwrap_or(0), message)
    };
    said.level = Some(level);
    if rng.one_in(40) {
        said.trace_id = Some(rng.hex(32));
    }
    said
}

/// A person, as they are written in logs.
pub(crate) fn user(rng: &mut Rng) -> String {
    let first = FIRST_NAMES.get(rng.skewed_index(FIRST_NAMES.len())).copied().unwrap_or_default();
    let last = LAST_NAMES.get(rng.skewed_index(LAST_NAMES.len())).copied().unwrap_or_default();
    format!("{first}.{last}")
}

fn table(rng: &mut Rng) -> String {
    format!("{}.{}_{}", rng.word(DOMAINS), rng.word(ACTIONS), rng.word(THINGS))
}

fn said(file: &str, rng: &mut Rng) -> (Level, String) {
    match rng.below(100) {
        0..60 => (Level::Info, of_work(file, rng)),
        60..73 => (Level::Debug, of_detail(rng)),
        73..79 => (Level::Warning, slow_query(rng)),
        79..82 => (Level::Warning, retry(rng)),
        82..87 => (Level::Error, trouble(rng)),
        87..91 => {
            let words = rng.range(3, 9);
            (Level::Info, format!("{}: {}", rng.word(FOREIGN), rng.sentence(words)))
        }
        _ => {
            let words = rng.range(6, 24);
            (Level::Info, rng.sentence(words))
        }
    }
}

/// How far it is.
fn of_work(file: &str, rng: &mut Rng) -> String {
    match rng.below(60) {
        0..14 => data(rng),
        14..24 => format!(
            "Query on {} took {}ms, rows={} bytes={}",
            table(rng),
            rng.skewed(9_000),
            rng.skewed(2_000_000),
            rng.skewed(900_000_000)
        ),
        24..34 => format!(
            "{{\"metric\": \"{}_{}\", \"value\": 0.{:016}, \"i\": {}, \"rows\": {}}}",
            rng.word(THINGS),
            rng.word(ACTIONS),
            rng.below(10_000_000_000_000_000),
            rng.skewed(10_000),
            rng.skewed(100_000)
        ),
        34..47 => {
            let words = rng.range(4, 16);
            format!("{} for user {}", rng.sentence(words), user(rng))
        }
        47..55 => format!(
            "processing chunk {}/{} of {} from {file}",
            rng.below(80),
            80 + rng.below(400),
            table(rng)
        ),
        _ => format!(
            "checkpoint {} written to /data/{}/{}/{}.parquet",
            rng.hex(40),
            rng.word(DOMAINS),
            rng.word(THINGS),
            rng.hex(12)
        ),
    }
}

/// What only its author understands.
fn of_detail(rng: &mut Rng) -> String {
    if rng.one_in(3) {
        return format!(
            "cache miss key={}:{} ttl={}s size={}KiB",
            rng.word(THINGS),
            rng.hex(16),
            rng.skewed(3_600),
            rng.skewed(2_048)
        );
    }
    format!(
        "GET https://{}.internal.example.com/v2/{}/{}?page={} -> 200 in 0.{:03}s request_id={}",
        rng.word(DOMAINS),
        rng.word(THINGS),
        rng.hex(24),
        rng.skewed(300),
        rng.below(1_000),
        rng.uuid()
    )
}

fn slow_query(rng: &mut Rng) -> String {
    format!(
        "slow query ({} ms): SELECT * FROM {} WHERE customer_id={} AND region='{}' ORDER BY updated_at",
        rng.range(500, 30_000),
        table(rng),
        rng.below(5_000_000),
        rng.word(DOMAINS)
    )
}

fn data(rng: &mut Rng) -> String {
    format!(
        "Loaded partition s3://{}-lake/{}/date=2026-{:02}-{:02}/part-{:05}.parquet rows={}",
        rng.word(DOMAINS),
        rng.word(THINGS),
        1 + rng.below(12),
        1 + rng.below(28),
        rng.below(100_000),
        rng.skewed(6_000_000)
    )
}

fn trouble(rng: &mut Rng) -> String {
    let words = rng.range(4, 12);
    let (user, sentence) = (user(rng), rng.sentence(words));
    match rng.below(4) {
        0 => format!("failed to {} {} for user {user}: {sentence}", rng.word(ACTIONS), rng.word(THINGS)),
        1 => format!(
            "upload to {} failed: connection reset by peer after {} bytes",
            rng.host_address(),
            rng.skewed(9_000_000)
        ),
        2 => format!("permission denied for user {user} on relation {}", table(rng)),
        _ => format!("record {} rejected: {sentence}", rng.uuid()),
    }
}

fn retry(rng: &mut Rng) -> String {
    format!(
        "request to {}:{} timed out after {}ms, attempt {} of 5, waiting {}s",
        rng.host_address(),
        8_000 + rng.skewed(400),
        rng.range(1_000, 60_000),
        1 + rng.below(5),
        rng.skewed(60)
    )
}
