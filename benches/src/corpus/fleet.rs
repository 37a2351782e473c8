//! Who writes: tenants, their DAGs, and the pods of each.

use std::sync::Arc;

use anyhow::Context;
use heliograph_model::source::{Component, Source, SourceId};
use heliograph_model::tenant::TenantId;

use super::rng::Rng;
use super::task::TaskTry;
use super::words::{ACTIONS, ADJECTIVES, DOMAINS, OBJECTS, RHYTHMS, TASKS, THINGS};

/// Agents that ship the lines, so that each tenant's come over two connections, in order on each.
pub(crate) const LANES: usize = 2;

/// Nodes of the cluster.
const NODES: u64 = 40;

/// What kind of program writes a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Worker,
    Scheduler,
    Webserver,
    Triggerer,
    DagProcessor,
    Nginx,
    Kubelet,
    Postgres,
    Sshd,
    Hdfs,
    Metastore,
}

impl Kind {
    /// Each kind, its share of the lines in thousandths, and how many pods a tenant of a small fleet has of it.
    const ALL: [(Self, u64, u64); 11] = [
        (Self::Worker, 215, 12),
        (Self::Scheduler, 160, 2),
        (Self::Webserver, 140, 2),
        (Self::Triggerer, 30, 1),
        (Self::DagProcessor, 50, 1),
        (Self::Nginx, 155, 2),
        (Self::Kubelet, 95, 3),
        (Self::Postgres, 55, 1),
        (Self::Sshd, 45, 3),
        (Self::Hdfs, 30, 2),
        (Self::Metastore, 25, 1),
    ];

    /// A kind, by its share.
    pub(crate) fn any(rng: &mut Rng) -> Self {
        let mut left = rng.below(1_000);
        for (kind, share, _) in Self::ALL {
            match left.checked_sub(share) {
                Some(rest) => left = rest,
                None => return kind,
            }
        }
        Self::Worker
    }

    fn component(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Scheduler => "scheduler",
            Self::Webserver => "webserver",
            Self::Triggerer => "triggerer",
            Self::DagProcessor => "dag-processor",
            Self::Nginx => "ingress",
            Self::Kubelet => "kubelet",
            Self::Postgres => "postgres",
            Self::Sshd => "sshd",
            Self::Hdfs => "datanode",
            Self::Metastore => "metastore",
        }
    }
}

/// A DAG of a tenant.
#[derive(Debug)]
pub(crate) struct Dag {
    pub(crate) id: Arc<str>,
    pub(crate) file: String,
    pub(crate) tasks: Vec<Arc<str>>,
}

impl Dag {
    pub(crate) fn named(id: &str, rng: &mut Rng) -> Self {
        let from = rng.index(TASKS.len() / 2);
        let count = 3 + rng.index(8);
        let tasks = TASKS.iter().skip(from).take(count).map(|task| Arc::from(*task)).collect();
        Self { id: id.into(), file: format!("{id}.py"), tasks }
    }
}

/// One stream of lines, in the order of its file.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) source: Arc<Source>,
    /// Which agent follows it.
    pub(crate) lane: usize,
    /// Its last line's time.
    pub(crate) last: i64,
    /// Bytes that it has written so far.
    pub(crate) offset: u64,
    /// What a worker runs.
    pub(crate) task: Option<TaskTry>,
}

/// A tenant, its DAGs and pods.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    pub(crate) dags: Vec<Dag>,
    pods: Vec<(Kind, Vec<Pod>)>,
}

impl Tenant {
    /// One of the tenant's pods of a kind.
    pub(crate) fn pod(&mut self, kind: Kind, rng: &mut Rng) -> Option<&mut Pod> {
        let pods = self.pods.iter_mut().find(|(of, _)| *of == kind).map(|(_, pods)| pods)?;
        let index = rng.skewed_index(pods.len());
        pods.get_mut(index)
    }

    pub(crate) fn pods(&self) -> usize {
        self.pods.iter().map(|(_, pods)| pods.len()).sum()
    }
}

/// All tenants; the first writes most.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) tenants: Vec<Tenant>,
    /// Sums of the weights up to and with each tenant.
    weights: Vec<u64>,
}

impl Fleet {
    pub(crate) fn new(tenants: usize, rng: &mut Rng) -> anyhow::Result<Self> {
        let mut weights = Vec::with_capacity(tenants);
        let mut sum = 0;
        let mut all = Vec::with_capacity(tenants);
        for n in 0..tenants as u64 {
            // Zipf with exponent 1.
            sum += 1_000_000_000 / (n + 1);
            weights.push(sum);
            all.push(tenant(n, tenants > 50, rng)?);
        }
        Ok(Self { tenants: all, weights })
    }

    /// A tenant, by its weight.
    pub(crate) fn any(&self, rng: &mut Rng) -> usize {
        let at = rng.below(self.weights.last().copied().unwrap_or(1));
        self.weights.partition_point(|sum| *sum <= at)
    }

    pub(crate) fn pods(&self) -> usize {
        self.tenants.iter().map(Tenant::pods).sum()
    }
}

fn tenant(n: u64, many: bool, rng: &mut Rng) -> anyhow::Result<Tenant> {
    let name = format!("{}-{}-{}", rng.word(ADJECTIVES), rng.word(OBJECTS), 1_000 + n * 3);
    let id = TenantId::parse(&name)?;
    // Where there are many tenants, most are small.
    let dags = if many { 3 + rng.skewed(30) } else { 40 + 700 / (n + 1) };
    let dags = (0..dags)
        .map(|_| {
            let (domain, action) = (rng.word(DOMAINS), rng.word(ACTIONS));
            Dag::named(&format!("{domain}_{action}_{}_{}", rng.word(THINGS), rng.word(RHYTHMS)), rng)
        })
        .collect();
    let mut pods = Vec::new();
    let mut lane = 0;
    for (kind, _, count) in Kind::ALL {
        let count = if many { 1 } else { count };
        let of_kind = (0..count).map(|_| {
            lane += 1;
            pod(&name, kind, lane % LANES, rng)
        });
        pods.push((kind, of_kind.collect::<anyhow::Result<Vec<_>>>()?));
    }
    Ok(Tenant { id, dags, pods })
}

fn pod(tenant: &str, kind: Kind, lane: usize, rng: &mut Rng) -> anyhow::Result<Pod> {
    let component = kind.component();
    let name = format!("{component}-{}-{}", rng.hex(9), rng.hex(5));
    let node = rng.below(NODES);
    let path = format!("/var/log/pods/{tenant}_{name}_{}/{component}/0.log", rng.uuid());
    let source = Source {
        id: SourceId::of(producer(lane), &path),
        component: Some(Component::parse(component).context("a component's name")?),
        namespace: Some(tenant.into()),
        pod: Some(name.into()),
        container: Some(component.into()),
        node: Some(format!("ip-10-0-{}-{}", node / 8, 10 + node * 5).into()),
        path: Some(path.into()),
    };
    Ok(Pod { source: Arc::new(source), lane, last: i64::MIN, offset: 0, task: None })
}

/// The agent of a lane, by its name.
pub(crate) fn producer(lane: usize) -> &'static str {
    if lane == 0 { "bench-node-a" } else { "bench-node-b" }
}
