//! Logs as our users have them, made up from a seed: each kind of line is modelled on real ones, README.md names
//! them. What is asked for later is planted or counted while the lines are made.

mod airflow;
mod document;
mod fleet;
mod parcel;
mod planted;
mod rng;
mod said;
mod system;
mod task;
mod trace;
mod user_code;
mod words;

use std::path::Path;

use anyhow::Context;
use clap::Args;
use heliograph_model::airflow::Identity;
use heliograph_model::record::{Attributes, Record};
use heliograph_model::source::Position;
use heliograph_model::time::{TimeRange, Timestamp};

use crate::truth::Truth;
use fleet::{Dag, Fleet, Kind};
pub(crate) use fleet::{LANES, producer};
pub(crate) use parcel::{Form, Parcel, Parcels};
pub(crate) use planted::Planted;
use planted::{Due, Schedule};
use rng::Rng;
use said::Said;
use task::TaskTry;

/// When every corpus begins: 2026-11-02T06:00:00Z. Fixed, so that a seed always means the same bytes.
const BEGIN: i64 = 1_793_599_200_000_000_000;
const HOUR: i64 = 3_600_000_000_000;
/// What a document is expected to take, to spread the times.
const DOCUMENT_BYTES: u64 = 450;
/// Lines of the one task try that is looked up.
const PLANTED_LINES: u64 = 70;

/// Which corpus.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The same seed makes the same bytes.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Bytes of its documents as NDJSON.
    #[arg(long, default_value = "1GiB", value_parser = crate::size::parse)]
    pub(crate) bytes: u64,
    /// Tenants; the nth writes 1/n of what the first does.
    #[arg(long, default_value_t = 10)]
    pub(crate) tenants: usize,
    /// Hours that its times span.
    #[arg(long, default_value_t = 6)]
    pub(crate) hours: u32,
}

/// A corpus, ready to be sent, and what there is to know of it.
pub(crate) struct Corpus {
    pub(crate) parcels: Parcels,
    pub(crate) truth: Truth,
    pub(crate) shape: Shape,
}

/// What a corpus is like.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(crate) struct Shape {
    pub(crate) documents: u64,
    pub(crate) document_bytes: u64,
    pub(crate) message_bytes: u64,
    pub(crate) tenants: usize,
    pub(crate) pods: usize,
    pub(crate) dags: usize,
    pub(crate) parcels: usize,
    pub(crate) bulk_bytes: u64,
    pub(crate) binary_bytes: u64,
}

/// Makes a corpus; its parcels lie in `folder`.
pub(crate) fn make(options: &Options, folder: &Path) -> anyhow::Result<Corpus> {
    let mut rng = Rng::new(options.seed);
    let planted = Planted::new(options.seed);
    let fleet = Fleet::new(options.tenants.max(1), &mut rng)?;
    let range = TimeRange {
        start: Timestamp::from_nanos(BEGIN - HOUR),
        end: Timestamp::from_nanos(BEGIN + (i64::from(options.hours.max(1)) + 1) * HOUR),
    };
    let tenants: Vec<_> = fleet.tenants.iter().map(|t| t.id.clone()).collect();
    let mut maker = Maker { rng, options: options.clone(), planted, fleet, planted_log_id: None };
    let log_id = maker.plant_task()?;
    let dag = maker.fleet.tenants.first().and_then(|t| t.dags.get(1)).context("a tenant without DAGs")?;
    let truth_inputs = crate::questions::Inputs {
        planted: maker.planted.clone(),
        log_id,
        tenant: tenants.first().cloned().context("no tenant")?,
        path: format!("/opt/airflow/dags/{}", dag.file),
    };
    let mut truth = Truth::new(crate::questions::all(&truth_inputs)?, range);
    let mut shape = Shape {
        tenants: tenants.len(),
        pods: maker.fleet.pods(),
        dags: maker.fleet.tenants.iter().map(|t| t.dags.len()).sum(),
        ..Shape::default()
    };
    let mut packer = parcel::Packer::new(tenants, folder)?;
    let mut schedule = Schedule::default();
    while shape.document_bytes < options.bytes {
        let due = schedule.next(shape.document_bytes, options.bytes);
        let (tenant, lane, record) = maker.line(shape.documents, due)?;
        let name = maker.fleet.tenants.get(tenant).map(|t| &t.id).context("no such tenant")?;
        truth.observe(name, &record);
        shape.documents += 1;
        shape.message_bytes += record.message.len() as u64;
        shape.document_bytes += packer.add(tenant, lane, record)?;
    }
    let parcels = packer.finish()?;
    shape.parcels = parcels.all.len();
    (shape.bulk_bytes, shape.binary_bytes) = (parcels.bulk_bytes, parcels.binary_bytes);
    Ok(Corpus { parcels, truth, shape })
}

/// Makes lines, one after the other.
struct Maker {
    rng: Rng,
    options: Options,
    planted: Planted,
    fleet: Fleet,
    /// The planted try, until a worker runs it.
    planted_log_id: Option<TaskTry>,
}

impl Maker {
    /// Makes the try that is looked up later; its `log_id`.
    fn plant_task(&mut self) -> anyhow::Result<String> {
        let dag = Dag::named(self.planted.dag, &mut self.rng);
        let task = TaskTry::begin(&dag, BEGIN, &mut self.rng).with_body(PLANTED_LINES);
        let log_id = task.log_id().context("a try without a log_id")?;
        self.planted_log_id = Some(task);
        Ok(log_id.to_string())
    }

    /// The corpus' clock at its nth line: it rises evenly, as if the load were the same at every hour.
    fn now(&self, n: u64) -> i64 {
        let expected = (self.options.bytes / DOCUMENT_BYTES).max(1);
        let span = i128::from(self.options.hours.max(1)) * i128::from(HOUR);
        let past = span * i128::from(n.min(expected)) / i128::from(expected);
        BEGIN + i64::try_from(past).unwrap_or(0)
    }

    /// The nth line: whose it is, which agent sends it, and the line.
    fn line(&mut self, n: u64, due: Option<Due>) -> anyhow::Result<(usize, usize, Record)> {
        let now = self.now(n);
        let rng = &mut self.rng;
        // A planted task is the largest tenant's; all else may be anybody's.
        let (index, kind) = match due {
            Some(Due::Task | Due::Trace) => (0, Kind::Worker),
            _ => (self.fleet.any(rng), Kind::any(rng)),
        };
        let tenant = self.fleet.tenants.get_mut(index).context("no such tenant")?;
        let dags = std::mem::take(&mut tenant.dags);
        let pod = tenant.pod(kind, rng).context("a tenant without such a pod")?;
        if due == Some(Due::Task) {
            pod.task = self.planted_log_id.take();
        }
        let at = dags.get(rng.skewed_index(dags.len())).context("a tenant without DAGs")?;
        let (mut said, identity) = match kind {
            Kind::Worker => {
                let task = pod.task.get_or_insert_with(|| TaskTry::begin(at, now, rng));
                let said = task.next(rng);
                if task.is_over() {
                    pod.task = None;
                }
                said
            }
            other => (of_others(other, at, &dags, now, rng), Identity::default()),
        };
        match due {
            Some(Due::Needle) => said.message.push_str(&format!(" correlation={}", self.planted.needle)),
            Some(Due::Ten) => said.message.push_str(&format!(" correlation={}", self.planted.ten)),
            Some(Due::Rare) => said.message.push_str(&format!(" {}", self.planted.rare)),
            Some(Due::Trace) => said.trace_id = Some(self.planted.trace.clone()),
            Some(Due::Task) | None => {}
        }
        // Sources run up to 40 ms apart; within one, time never falls.
        let jitter = i64::try_from(rng.below(40_000_000)).unwrap_or(0);
        let time = (now + jitter).max(pod.last.saturating_add(1_000));
        pod.last = time;
        let position = Position::in_file(0, pod.offset);
        pod.offset += said.message.len() as u64 + 1;
        let (lane, source) = (pod.lane, pod.source.clone());
        // Every second tenant runs Airflow 2, whose lines name their place in the program; Airflow 3's, their logger.
        let (logger, place) = if index % 2 == 1 { (said.logger, None) } else { (None, said.place) };
        tenant.dags = dags;
        let record = Record {
            time: Timestamp::from_nanos(time),
            observed: Timestamp::from_nanos(time),
            position,
            source,
            level: said.level,
            stream: Some(said.stream),
            identity: Identity { logger: logger.map(Into::into), ..identity },
            attributes: attributes(place, said.trace_id.as_deref()),
            message: said.message.into(),
        };
        Ok((index, lane, record))
    }
}

fn of_others(kind: Kind, dag: &Dag, dags: &[Dag], now: i64, rng: &mut Rng) -> Said {
    match kind {
        Kind::Worker | Kind::Scheduler => airflow::scheduler(dag, now, rng),
        Kind::Webserver => airflow::webserver(dag, now, rng),
        Kind::Triggerer => airflow::triggerer(dag, now, rng),
        Kind::DagProcessor => airflow::dag_processor(dags, now, rng),
        Kind::Nginx => system::nginx(now, rng),
        Kind::Kubelet => system::kubelet(rng),
        Kind::Postgres => system::postgres(rng),
        Kind::Sshd => system::sshd(rng),
        Kind::Hdfs => system::hdfs(rng),
        Kind::Metastore => system::metastore(rng),
    }
}

fn attributes(place: Option<(&str, u32)>, trace_id: Option<&str>) -> Attributes {
    let mut map = serde_json::Map::new();
    if let Some((file, line)) = place {
        map.insert("filename".to_owned(), file.into());
        map.insert("lineno".to_owned(), line.into());
    }
    if let Some(trace_id) = trace_id {
        map.insert("trace_id".to_owned(), trace_id.into());
    }
    Attributes::from_map(&map)
}

#[cfg(test)]
mod tests;
