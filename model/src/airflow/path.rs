//! What the paths of Airflow's own log files say.

use std::path::Path;

use super::Identity;

/// A task's log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFile {
    /// Which task try.
    pub identity: Identity,
    /// For a triggerer's file, the id of the triggerer's job.
    pub trigger: Option<u64>,
}

/// A file with the log of parsing one DAG file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DagFile {
    /// The component that writes it: `dag-processor`, or `scheduler` in Airflow 2.
    pub component: &'static str,
    /// Airflow 3: the bundle.
    pub bundle: Option<String>,
    /// The DAG file within its bundle or folder.
    pub dag_file: String,
}

/// Reads `…/dag_id=D/run_id=R/task_id=T/[map_index=M/]attempt=N.log[.trigger.J.log]`.
pub fn task_from_path(path: impl AsRef<Path>) -> Option<TaskFile> {
    let mut parts = path.as_ref().iter().rev().map(|part| part.to_str());
    let (try_number, trigger) = attempt(parts.next()??)?;
    let mut part = parts.next()??;
    let map_index = match part.strip_prefix("map_index=") {
        Some(index) => {
            part = parts.next()??;
            index.parse().ok()?
        }
        None => -1,
    };
    let task_id = part.strip_prefix("task_id=").filter(|id| !id.is_empty())?;
    let run_id = parts.next()??.strip_prefix("run_id=").filter(|id| !id.is_empty())?;
    let dag_id = parts.next()??.strip_prefix("dag_id=").filter(|id| !id.is_empty())?;
    let identity = Identity {
        dag_id: Some(dag_id.into()),
        task_id: Some(task_id.into()),
        run_id: Some(run_id.into()),
        map_index: Some(map_index),
        try_number: Some(try_number),
        log_id: None,
        logger: None,
    };
    Some(TaskFile { identity, trigger })
}

/// Reads `attempt=N.log` or `attempt=N.log.trigger.J.log`.
fn attempt(name: &str) -> Option<(u32, Option<u64>)> {
    let name = name.strip_prefix("attempt=")?;
    let (number, rest) = name.split_once(".log")?;
    let number = digits(number)?;
    if rest.is_empty() {
        return Some((number, None));
    }
    let trigger = digits(rest.strip_prefix(".trigger.")?.strip_suffix(".log")?)?;
    Some((number, Some(trigger)))
}

fn digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Reads `…/dag_processor/<date>/<bundle>/<dag file>.log` (Airflow 3) and `…/scheduler/<date>/<dag file>.log`
/// (Airflow 2); the links named `latest` are neither.
pub fn dag_file_from_path(path: impl AsRef<Path>) -> Option<DagFile> {
    let parts: Vec<&str> = path.as_ref().iter().map(|part| part.to_str()).collect::<Option<_>>()?;
    let at = parts.iter().rposition(|part| is_day(part))?;
    let (before, after) = parts.split_at_checked(at)?;
    let mut after: Vec<&str> = after.get(1..)?.to_vec();
    let (component, bundle) = match *before.last()? {
        "dag_processor" if after.len() >= 2 => ("dag-processor", Some(after.remove(0).to_owned())),
        "dag_processor" => ("dag-processor", None),
        "scheduler" => ("scheduler", None),
        _ => return None,
    };
    let dag_file = after.join("/").strip_suffix(".log").filter(|f| !f.is_empty())?.to_owned();
    Some(DagFile { component, bundle, dag_file })
}

fn is_day(text: &str) -> bool {
    let shape = "0000-00-00";
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(b, s)| if s == b'0' { b.is_ascii_digit() } else { b == s })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// DAG, run, task, map index, try, triggerer.
    type Said<'a> = (&'a str, &'a str, &'a str, i32, u32, Option<u64>);

    #[track_caller]
    fn check(path: &str, expected: Option<Said<'_>>) {
        let found = task_from_path(path);
        let found = found.as_ref().map(|f| {
            let id = &f.identity;
            let text = |s: &'_ Option<std::sync::Arc<str>>| s.as_deref().unwrap().to_owned();
            (
                text(&id.dag_id),
                text(&id.run_id),
                text(&id.task_id),
                id.map_index.unwrap(),
                id.try_number.unwrap(),
            )
        });
        let wanted = expected.map(|e| (e.0.to_owned(), e.1.to_owned(), e.2.to_owned(), e.3, e.4));
        assert_eq!(found, wanted, "{path}");
        assert_eq!(task_from_path(path).and_then(|f| f.trigger), expected.and_then(|e| e.5), "{path}");
    }

    #[test]
    fn task_files() {
        let run = "manual__2026-11-23T22:03:13.757544+00:00";
        let base = format!("/var/lib/kubelet/x/logs/dag_id=team.etl=v2/run_id={run}/task_id=group a.load.x");
        let (dag, task) = ("team.etl=v2", "group a.load.x");
        check(&format!("{base}/attempt=1.log"), Some((dag, run, task, -1, 1, None)));
        check(&format!("{base}/map_index=2/attempt=12.log"), Some((dag, run, task, 2, 12, None)));
        check(&format!("{base}/attempt=1.log.trigger.2.log"), Some((dag, run, task, -1, 1, Some(2))));
        check("dag_id=d/run_id=r/task_id=t/attempt=3.log", Some(("d", "r", "t", -1, 3, None)));
        for other in [
            "/logs/dag_id=d/run_id=r/task_id=t/attempt=x.log",
            "/logs/dag_id=d/run_id=r/task_id=t/attempt=1.log.gz",
            "/logs/dag_id=d/run_id=r/attempt=1.log",
            "/logs/dag_id=/run_id=r/task_id=t/attempt=1.log",
            "/logs/dag_id=d/run_id=r/task_id=t/map_index=x/attempt=1.log",
            "attempt=1.log",
            "",
        ] {
            check(other, None);
        }
    }

    #[test]
    fn dag_files() {
        let check = |path: &str, expected: Option<(&'static str, Option<&str>, &str)>| {
            let wanted = expected.map(|(component, bundle, file)| DagFile {
                component,
                bundle: bundle.map(str::to_owned),
                dag_file: file.to_owned(),
            });
            assert_eq!(dag_file_from_path(path), wanted, "{path}");
        };
        check(
            "logs/dag_processor/2026-11-23/dags-folder/sub/t_fail.py.log",
            Some(("dag-processor", Some("dags-folder"), "sub/t_fail.py")),
        );
        check("/a/logs/scheduler/2026-11-23/t_fail.py.log", Some(("scheduler", None, "t_fail.py")));
        check("logs/dag_processor/latest", None);
        check("logs/scheduler/latest/t_fail.py.log", None);
        check("logs/dag_processor_manager/dag_processor_manager.log", None);
        check("logs/scheduler/2026-11-23", None);
    }

    proptest! {
        #[test]
        fn never_panics(path in "(dag_id=|run_id=|task_id=|map_index=|attempt=|scheduler|[0-9-]{1,10}|\\.log|/|.){0,12}") {
            let _ = (task_from_path(&path), dag_file_from_path(&path));
        }
    }
}
