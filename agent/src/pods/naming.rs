//! What the labels and annotations of Airflow's Helm chart, of its KubernetesExecutor and pod operator, and of
//! platforms built on them say of a pod's component and task.

use std::collections::BTreeMap;
use std::sync::Arc;

use heliograph_model::source::Component;

use super::facts::Task;

/// Airflow's parts, as its Helm chart labels them.
const COMPONENTS: [&str; 12] = [
    "api-server",
    "cleanup",
    "dag-processor",
    "flower",
    "pgbouncer",
    "redis",
    "scheduler",
    "statsd",
    "triggerer",
    "webserver",
    "worker",
    "workers",
];
/// The container in which an executor's or operator's pod runs the task.
const TASK_CONTAINER: &str = "base";

type Pairs = BTreeMap<String, String>;

/// The component that a pod's labels name.
pub(super) fn component(labels: &Pairs) -> Option<Component> {
    let label = |key: &str| labels.get(key).map(String::as_str);
    let is_airflow = |name: &&str| COMPONENTS.contains(name);
    // `component` is the chart's own label; elsewhere it may mean anything, unless it names one of Airflow's parts.
    let chart = label("component").filter(|name| label("tier") == Some("airflow") || is_airflow(name));
    let common = label("app.kubernetes.io/component").filter(is_airflow);
    let is_task = label("kubernetes_executor").or(label("kubernetes_pod_operator")) == Some("True");
    let name = chart.or(common).or(is_task.then_some("worker"))?;
    Component::parse(if name == "workers" { "worker" } else { name }).ok()
}

/// Which of a pod's containers its component is. The others (log groomers, git-sync, …) go by their own names.
pub(super) fn main_container<'a>(component: &Component, containers: &[&'a str]) -> Option<&'a str> {
    let named = |name: &str| containers.iter().copied().find(|c| *c == name);
    named(component.as_str()).or_else(|| named(TASK_CONTAINER)).or(containers.first().copied())
}

/// The task try that a pod was made for.
///
/// Annotations hold the names as they are. A label holds them cut and cleaned where they did not fit, with a hash
/// behind: such a one names no task that exists, and is not taken.
pub(super) fn task(labels: &Pairs, annotations: &Pairs) -> Task {
    let label = |key: &str| labels.get(key).map(String::as_str);
    let is_task = label("kubernetes_executor") == Some("True")
        || label("kubernetes_pod_operator") == Some("True")
        || labels.contains_key("airflow-worker")
        || labels.contains_key("airflow_version");
    if !is_task || !(labels.contains_key("dag_id") || annotations.contains_key("dag_id")) {
        return Task::default();
    }
    let exact = |key: &str| annotations.get(key).map(String::as_str).filter(|v| !v.is_empty());
    let name = |key: &str| exact(key).or(label(key).filter(|v| !v.is_empty() && !is_shortened(v)));
    Task {
        dag_id: name("dag_id").map(Arc::from),
        task_id: name("task_id").map(Arc::from),
        run_id: name("run_id").map(Arc::from),
        map_index: name("map_index").and_then(|n| n.parse().ok()),
        try_number: name("try_number").and_then(|n| n.parse().ok()),
    }
}

/// Whether Airflow changed a value to fit into a label: then it ends in `-` and nine digits of a hash.
fn is_shortened(value: &str) -> bool {
    value
        .rsplit_once('-')
        .is_some_and(|(_, hash)| hash.len() == 9 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Pairs {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[track_caller]
    fn check_component(labels: &[(&str, &str)], expected: Option<&str>) {
        assert_eq!(component(&pairs(labels)).as_ref().map(Component::as_str), expected);
    }

    #[test]
    fn components() {
        check_component(&[("component", "scheduler"), ("tier", "airflow")], Some("scheduler"));
        check_component(
            &[("component", "run-airflow-migrations"), ("tier", "airflow")],
            Some("run-airflow-migrations"),
        );
        check_component(&[("component", "triggerer")], Some("triggerer"));
        check_component(&[("component", "frontend")], None);
        check_component(&[("app.kubernetes.io/component", "workers")], Some("worker"));
        check_component(&[("app.kubernetes.io/component", "primary")], None);
        check_component(&[("kubernetes_executor", "True")], Some("worker"));
        check_component(
            &[("kubernetes_executor", "True"), ("component", "No Name"), ("tier", "airflow")],
            None,
        );
        check_component(&[], None);
    }

    #[track_caller]
    fn check_main(name: &str, containers: &[&str], expected: Option<&str>) {
        assert_eq!(main_container(&Component::parse(name).unwrap(), containers), expected);
    }

    #[test]
    fn the_component_is_one_container() {
        check_main("scheduler", &["scheduler-log-groomer", "scheduler"], Some("scheduler"));
        check_main("worker", &["istio-proxy", "base"], Some("base"));
        check_main("webserver", &["airflow-web", "git-sync"], Some("airflow-web"));
        check_main("webserver", &[], None);
    }

    #[test]
    fn a_task_by_annotations_then_by_labels_that_are_whole() {
        let labels = pairs(&[
            ("kubernetes_executor", "True"),
            ("dag_id", "etl"),
            ("task_id", "load.x"),
            ("run_id", "manual__2026-11-23T220313.0000000000-95bc4ab60"),
            ("try_number", "2"),
            ("map_index", "7"),
        ]);
        let by_labels = task(&labels, &pairs(&[]));
        assert_eq!(
            (by_labels.dag_id.as_deref(), by_labels.task_id.as_deref()),
            (Some("etl"), Some("load.x"))
        );
        assert_eq!(
            (by_labels.run_id.as_deref(), by_labels.try_number, by_labels.map_index),
            (None, Some(2), Some(7))
        );
        let annotations = pairs(&[("run_id", "manual__2026-11-23T22:03:13+00:00"), ("dag_id", "étl")]);
        let exact = task(&labels, &annotations);
        assert_eq!(exact.run_id.as_deref(), Some("manual__2026-11-23T22:03:13+00:00"));
        assert_eq!(exact.dag_id.as_deref(), Some("étl"));
        assert_eq!(task(&pairs(&[("dag_id", "somebody's own")]), &pairs(&[])), Task::default());
    }
}
