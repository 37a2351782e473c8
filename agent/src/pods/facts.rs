//! What is kept of a pod: what its records carry, and how its containers ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use heliograph_model::airflow::Identity;
use heliograph_model::source::Component;
use heliograph_model::time::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, PodStatus};
use serde::{Deserialize, Serialize};

use super::naming;

/// Annotation of a static pod: its files carry this uid, not that of the pod which the API server shows for it.
const STATIC_POD_UID: &str = "kubernetes.io/config.hash";
/// Most bytes of a text that the kubelet gives as the cause of an end.
const CAUSE_BYTES_MAX: usize = 1024;
/// How many newer ends of a container one that is seen to is kept behind, as the API server may show it again.
const SETTLED_ENDS: usize = 2;
/// The same of one that nobody has seen to yet: a container that fails again and again is started every 5 minutes.
const UNSETTLED_ENDS: usize = 64;

/// A pod of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pod {
    /// The uid in the paths of its files.
    pub uid: Box<str>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// The component that its labels name …
    pub component: Option<Component>,
    /// … and the container which that is; the others go by their own names.
    pub main: Option<Box<str>>,
    /// The task try that it runs, as labels and annotations say.
    pub task: Task,
    /// The Helm release.
    pub release: Option<Box<str>>,
    /// Airflow's version.
    pub airflow_version: Option<Box<str>>,
    /// Kind and name of what made it, as in `StatefulSet/airflow-worker`.
    pub owner: Option<Box<str>>,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: Option<Box<str>>,
    /// The latest instance of each of its containers.
    pub instances: BTreeMap<Box<str>, u32>,
    /// How its containers ended: the latest instances of each.
    pub ends: Vec<ContainerEnd>,
}

/// A task try.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    /// DAG.
    pub dag_id: Option<Arc<str>>,
    /// Task.
    pub task_id: Option<Arc<str>>,
    /// DAG run.
    pub run_id: Option<Arc<str>>,
    /// Index of a mapped task.
    pub map_index: Option<i32>,
    /// Which try.
    pub try_number: Option<u32>,
}

/// How an instance of a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerEnd {
    /// Its name.
    pub container: Box<str>,
    /// How often it had been restarted: the number in its log file's name.
    pub number: u32,
    /// What its process ended with; unknown where the kubelet lost it.
    pub exit_code: Option<i32>,
    /// The signal, where the runtime tells.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `Evicted`, ….
    pub reason: Box<str>,
    /// What else was said of it.
    pub cause: Option<Box<str>>,
    /// When; whole seconds.
    pub at: Option<Timestamp>,
}

/// The uid in the paths of a pod's files.
pub(super) fn uid_of(pod: &k8s_openapi::api::core::v1::Pod) -> Option<&str> {
    let meta = &pod.metadata;
    let of_static = meta.annotations.as_ref().and_then(|a| a.get(STATIC_POD_UID));
    of_static.or(meta.uid.as_ref()).map(String::as_str)
}

impl ContainerEnd {
    /// Names it within its pod.
    pub(crate) fn key(&self) -> (Box<str>, u32) {
        (self.container.clone(), self.number)
    }
}

impl Task {
    /// As records have it.
    pub(crate) fn identity(&self) -> Identity {
        Identity {
            dag_id: self.dag_id.clone(),
            task_id: self.task_id.clone(),
            run_id: self.run_id.clone(),
            map_index: self.map_index,
            try_number: self.try_number,
            ..Identity::default()
        }
    }
}

impl Pod {
    /// What counts of a pod as the API server has it; none without uid, namespace or name.
    pub(crate) fn read(pod: &k8s_openapi::api::core::v1::Pod) -> Option<Self> {
        let meta = &pod.metadata;
        let none = BTreeMap::new();
        let labels = meta.labels.as_ref().unwrap_or(&none);
        let annotations = meta.annotations.as_ref().unwrap_or(&none);
        let uid = uid_of(pod)?;
        let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
        let names: Vec<&str> = containers.iter().map(|c| c.name.as_str()).collect();
        let component = naming::component(labels);
        let owners = meta.owner_references.as_deref().unwrap_or_default();
        let owner = owners.iter().find(|o| o.controller == Some(true)).or(owners.first());
        let label = |key: &str| labels.get(key).map(|v| v.as_str().into());
        let status = pod.status.as_ref();
        Some(Self {
            uid: uid.into(),
            namespace: meta.namespace.as_deref()?.into(),
            name: meta.name.as_deref()?.into(),
            main: component.as_ref().and_then(|c| naming::main_container(c, &names)).map(Into::into),
            component,
            task: naming::task(labels, annotations),
            release: label("release"),
            airflow_version: label("airflow_version"),
            owner: owner.map(|o| format!("{}/{}", o.kind, o.name).into()),
            phase: status.and_then(|s| s.phase.as_deref()).map(Into::into),
            instances: status.map(instances).unwrap_or_default(),
            ends: status.map(ends).unwrap_or_default(),
        })
    }

    /// The component of one of its containers, where that is not what the container's name says.
    pub(crate) fn component_of(&self, container: &str) -> Option<&Component> {
        self.component.as_ref().filter(|_| self.main.as_deref() == Some(container))
    }

    /// This pod as it follows on `before`: with ends that the API server shows no longer, as it names an instance
    /// and the one before it, and several may end between two looks. Those that are `settled` go sooner.
    pub(super) fn after(mut self, before: &Self, settled: impl Fn(&ContainerEnd) -> bool) -> Self {
        // The newest first: each then sees how many are newer.
        for end in before.ends.iter().rev() {
            let newer = self.ends.iter().filter(|e| e.container == end.container && e.number > end.number);
            let is_known = self.ends.iter().any(|e| e.key() == end.key());
            let keep = if settled(end) { SETTLED_ENDS } else { UNSETTLED_ENDS };
            if !is_known && newer.count() < keep {
                self.ends.push(end.clone());
            }
        }
        self.ends.sort_by_key(ContainerEnd::key);
        self
    }

    /// Containers that ran in `before` and of which the status of a failed pod says nothing any more ended with it.
    pub(super) fn with_lost_instances(mut self, before: &Self, status: &PodStatus) -> Self {
        let Some(reason) = status.reason.as_deref().filter(|_| self.phase.as_deref() == Some("Failed"))
        else {
            return self;
        };
        for (container, number) in &before.instances {
            if !self.instances.contains_key(container) {
                self.instances.insert(container.clone(), *number);
                let (container, cause) = (container.clone(), cause(status.message.as_deref()));
                let (number, reason) = (*number, reason.into());
                let lost = ContainerEnd {
                    container,
                    number,
                    exit_code: None,
                    signal: None,
                    reason,
                    cause,
                    at: None,
                };
                if !before.ends.iter().any(|e| e.key() == lost.key()) {
                    self.ends.push(lost);
                }
            }
        }
        self
    }
}

/// The latest instance of each container.
fn instances(status: &PodStatus) -> BTreeMap<Box<str>, u32> {
    let number = |c: &ContainerStatus| u32::try_from(c.restart_count).unwrap_or_default();
    statuses(status).map(|c| (c.name.as_str().into(), number(c))).collect()
}

fn statuses(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    let all =
        [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    all.into_iter().flatten().flatten()
}

/// The ends that a status shows.
fn ends(status: &PodStatus) -> Vec<ContainerEnd> {
    let mut ends: Vec<_> = statuses(status).flat_map(|c| ends_of(c, status)).collect();
    ends.sort_by_key(ContainerEnd::key);
    ends
}

/// A container's end and that of the instance before it.
fn ends_of(container: &ContainerStatus, pod: &PodStatus) -> Vec<ContainerEnd> {
    let number = u32::try_from(container.restart_count).unwrap_or_default();
    let terminated = |state: &Option<ContainerState>| state.as_ref().and_then(|s| s.terminated.clone());
    let waits = container.state.as_ref().is_some_and(|s| s.waiting.is_some());
    let mut ends = vec![];
    if let Some(end) = terminated(&container.state) {
        ends.push(read_end(container, number, &end, Some(pod)));
    }
    if let Some(end) = terminated(&container.last_state) {
        // While it waits to be started again, the count is still that of the instance that ended.
        let number = if waits { Some(number) } else { number.checked_sub(1) };
        ends.extend(number.map(|number| read_end(container, number, &end, None)));
    }
    ends
}

fn read_end(
    container: &ContainerStatus,
    number: u32,
    end: &ContainerStateTerminated,
    pod: Option<&PodStatus>,
) -> ContainerEnd {
    let own = end.reason.as_deref().filter(|reason| !reason.is_empty());
    // Evicted, Preempting, NodeLost, …: the pod's reason is the cause, unless the container died of its own.
    let of_pod = pod.filter(|p| p.phase.as_deref() == Some("Failed")).and_then(|p| p.reason.as_deref());
    let of_pod = of_pod.filter(|_| own != Some("OOMKilled"));
    let lost = own == Some("ContainerStatusUnknown");
    let by_code = if end.exit_code == 0 { "Completed" } else { "Error" };
    let said = match of_pod {
        Some(_) => pod.and_then(|p| p.message.as_deref()),
        None => end.message.as_deref(),
    };
    ContainerEnd {
        container: container.name.as_str().into(),
        number,
        // The kubelet gives 137 for what it lost, too.
        exit_code: Some(end.exit_code).filter(|_| !lost),
        signal: end.signal.filter(|signal| *signal != 0),
        reason: of_pod.or(own).unwrap_or(by_code).into(),
        cause: cause(said),
        at: end.finished_at.as_ref().and_then(time),
    }
}

fn cause(said: Option<&str>) -> Option<Box<str>> {
    let said = said.map(str::trim).filter(|said| !said.is_empty())?;
    Some(heliograph_model::record::cut(said, CAUSE_BYTES_MAX).into())
}

fn time(time: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time) -> Option<Timestamp> {
    time.0.as_second().checked_mul(1_000_000_000).map(Timestamp::from_nanos)
}
