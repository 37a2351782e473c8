//! Airflow's `log_id`: the three templates, read and written.
//!
//! The id stays an opaque key; what is read from it only fills what a line does not say by itself. Ids may
//! hold the separators `-` and `_` themselves, so a part is given only where there is one way to read it.

use std::sync::Arc;

use super::{Identity, stamp};

/// How the run ids that Airflow makes begin.
const RUN_TYPES: [&str; 7] = [
    "manual__",
    "scheduled__",
    "backfill__",
    "dataset_triggered__",
    "asset_triggered__",
    "asset_materialization__",
    "operator_triggered__",
];

/// What a `log_id` says, given what is known of its beginning.
pub fn parse(log_id: &str, dag_id: Option<&str>, task_id: Option<&str>) -> Identity {
    let known = |separator: char| {
        let rest = log_id.strip_prefix(dag_id?)?.strip_prefix(separator)?;
        rest.strip_prefix(task_id?)?.strip_prefix(separator)
    };
    for separator in ['-', '_'] {
        if let Some(rest) = known(separator) {
            return end(rest, separator).unwrap_or_default();
        }
    }
    anchored(log_id)
}

/// The `log_id` under each of Airflow's templates, in the order: `-` (the provider's default), `_`
/// (Astronomer on Airflow 3), and the one before Airflow 2.3, where the run is named by its date.
/// Empty where a part is not known.
pub fn log_ids(identity: &Identity) -> Vec<String> {
    let (Some(dag), Some(task), Some(run), Some(try_number)) =
        (&identity.dag_id, &identity.task_id, &identity.run_id, identity.try_number)
    else {
        return Vec::new();
    };
    let mut ids = Vec::with_capacity(3);
    if let Some(map_index) = identity.map_index {
        ids.push(format!("{dag}-{task}-{run}-{map_index}-{try_number}"));
        ids.push(format!("{dag}_{task}_{run}_{map_index}_{try_number}"));
    }
    if is_date(run) {
        ids.push(format!("{dag}_{task}_{run}_{try_number}"));
    }
    ids
}

/// Whether a `log_id` may be that of this task try: under one of the templates it begins with the DAG and the task, and
/// names no other run, index or try. An execution date is not compared with a run id that may be named by another.
pub fn agrees(log_id: &str, with: &Identity) -> bool {
    let (Some(dag), Some(task)) = (&with.dag_id, &with.task_id) else { return false };
    ['-', '_'].into_iter().any(|separator| {
        let rest = log_id.strip_prefix(&**dag).and_then(|rest| rest.strip_prefix(separator));
        let rest = rest.and_then(|rest| rest.strip_prefix(&**task)?.strip_prefix(separator));
        let Some(said) = rest.and_then(|rest| end(rest, separator)) else { return false };
        let is_run = |run: &str| match (is_date(run), with.run_id.as_deref()) {
            (true, Some(run_id)) if !is_date(run_id) => true,
            (_, run_id) => run_id == Some(run),
        };
        said.run_id.as_deref().is_some_and(is_run)
            && said.map_index.unwrap_or(-1) == with.map_index.unwrap_or(-1)
            && said.try_number == with.try_number
    })
}

/// Reads `{run_id}{s}{map_index}{s}{try_number}` or `{execution_date}{s}{try_number}`.
fn end(rest: &str, separator: char) -> Option<Identity> {
    let (rest, try_number) = rest.rsplit_once(separator)?;
    let try_number = number(try_number)?;
    if is_date(rest) {
        return Some(identity(rest, None, try_number));
    }
    let (run_id, index) = rest.rsplit_once(separator)?;
    let index: i32 = number(index)?;
    // `--1`: no run id that Airflow makes ends with `-`, so that one is the sign.
    if separator == '-'
        && let Some(run_id) = run_id.strip_suffix('-')
    {
        return (index == 1 && !run_id.is_empty()).then(|| identity(run_id, Some(-1), try_number));
    }
    (!run_id.is_empty()).then(|| identity(run_id, Some(index), try_number))
}

fn identity(run_id: &str, map_index: Option<i32>, try_number: u32) -> Identity {
    Identity { run_id: Some(run_id.into()), map_index, try_number: Some(try_number), ..Identity::default() }
}

/// Reads a `log_id` of unknown DAG and task by a run type that stands in it exactly once.
fn anchored(log_id: &str) -> Identity {
    let mut found = None;
    for run_type in RUN_TYPES {
        for (at, _) in log_id.match_indices(run_type) {
            let separator = log_id.get(..at).and_then(|before| before.chars().next_back());
            if let Some(separator @ ('-' | '_')) = separator {
                if found.is_some() {
                    return Identity::default();
                }
                found = Some((at, separator));
            }
        }
    }
    let Some((at, separator)) = found else { return Identity::default() };
    let (before, rest) = log_id.split_at_checked(at).unwrap_or_default();
    let Some(mut identity) = end(rest, separator) else { return Identity::default() };
    if let Some(names) = before.strip_suffix(separator)
        && let Some((dag, task)) = names.split_once(separator)
        && !dag.is_empty()
        && !task.is_empty()
        && !task.contains(separator)
    {
        identity.dag_id = Some(Arc::from(dag));
        identity.task_id = Some(Arc::from(task));
    }
    identity
}

fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Whether the text is an execution date: ISO 8601, or `2026_11_23T22_03_13_957608` as ids write it.
fn is_date(text: &str) -> bool {
    let shape = "0000_00_00T00_00_00_000000";
    let cleaned = text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(b, s)| if s == b'0' { b.is_ascii_digit() } else { b == s });
    cleaned || stamp::whole(text).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RUN: &str = "manual__2026-11-23T22:03:46.926530+00:00";

    #[track_caller]
    fn check(
        log_id: &str,
        dag_task: Option<(&str, &str)>,
        run: Option<&str>,
        map: Option<i32>,
        attempt: u32,
    ) {
        let said = parse(log_id, dag_task.map(|d| d.0), dag_task.map(|d| d.1));
        assert_eq!((said.run_id.as_deref(), said.map_index), (run, map), "{log_id}");
        assert_eq!(said.try_number, (attempt > 0).then_some(attempt), "{log_id}");
    }

    #[test]
    fn with_dag_and_task() {
        let work = Some(("t_mapped", "work"));
        check(&format!("t_mapped-work-{RUN}-2-1"), work, Some(RUN), Some(2), 1);
        check(&format!("t_mapped-work-{RUN}--1-13"), work, Some(RUN), Some(-1), 13);
        check(&format!("t_mapped_work_{RUN}_-1_1"), work, Some(RUN), Some(-1), 1);
        check("a-b-my-run-7--1-2", Some(("a", "b")), Some("my-run-7"), Some(-1), 2);
        check("a_b_my_run_3_2", Some(("a", "b")), Some("my_run"), Some(3), 2);
        check("x.y-z_a-b_run_-1_4", Some(("x.y-z", "a-b")), Some("run"), Some(-1), 4);
        check("another_task_run_-1_4", Some(("x", "y")), None, None, 0);
        let date = "2026-11-23T22:03:13.957608+00:00";
        check(&format!("d_t_{date}_4"), Some(("d", "t")), Some(date), None, 4);
        check(&format!("d-t-{date}-4"), Some(("d", "t")), Some(date), None, 4);
        check(
            "d_t_2026_11_23T22_03_13_957608_4",
            Some(("d", "t")),
            Some("2026_11_23T22_03_13_957608"),
            None,
            4,
        );
    }

    #[test]
    fn without_them_only_where_there_is_one_way() {
        let dash = parse(&format!("t_fail-boom-{RUN}--1-1"), None, None);
        assert_eq!(dash.dag_id.as_deref(), Some("t_fail"));
        assert_eq!(dash.task_id.as_deref(), Some("boom"));
        assert_eq!((dash.run_id.as_deref(), dash.map_index, dash.try_number), (Some(RUN), Some(-1), Some(1)));
        let under = parse(&format!("t_fail_boom_{RUN}_-1_1"), None, None);
        assert_eq!((under.dag_id, under.task_id), (None, None));
        assert_eq!(
            (under.run_id.as_deref(), under.map_index, under.try_number),
            (Some(RUN), Some(-1), Some(1))
        );
        check("d-t-my-own-run--1-1", None, None, None, 0);
        check(&format!("manual__x-{RUN}-{RUN}--1-1"), None, None, None, 0);
        check("", None, None, None, 0);
    }

    #[test]
    fn an_id_of_another_try_does_not_agree() {
        let of = |task: &str, run: &str, map_index, try_number| Identity {
            dag_id: Some("etl".into()),
            task_id: Some(task.into()),
            run_id: Some(run.into()),
            map_index,
            try_number: Some(try_number),
            ..Identity::default()
        };
        let load = of("load", "r-1", None, 2);
        for fine in ["etl-load-r-1--1-2", "etl_load_r-1_-1_2", "etl_load_2026_11_23T22_03_13_957608_2"] {
            assert!(agrees(fine, &load), "{fine}");
        }
        for other in [
            "etl-load-r-1--1-1",
            "etl-load-r-1-0-2",
            "etl-load-r-2--1-2",
            "etl-load-2-r-1--1-2",
            "etl-load_all-r-1--1-2",
            "etl2-load-r-1--1-2",
            "load-r-1--1-2",
            "etl-load-",
            "",
        ] {
            assert!(!agrees(other, &load), "{other}");
        }
        assert!(agrees("etl-load-r-1-7-2", &of("load", "r-1", Some(7), 2)));
        // Of one whose tasks' names begin alike, and of a run that is a date.
        assert!(!agrees("etl-load-all-r-1--1-2", &load));
        let dated = of("load", "2026-11-23T22:03:46+00:00", None, 2);
        assert!(agrees("etl_load_2026-11-23T22:03:46+00:00_2", &dated));
        assert!(!agrees("etl_load_2026-11-24T22:03:46+00:00_2", &dated));
        assert!(!agrees("etl-load-r-1--1-2", &Identity { task_id: None, ..load }));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            dag in "[a-zA-Z0-9_.-]{1,12}", task in "[a-zA-Z0-9_.-]{1,12}", run in "[a-zA-Z0-9_.:+~-]{0,12}[a-z]",
            map in -1_i32..2000, attempt in 1_u32..99,
        ) {
            let full = Identity {
                dag_id: Some(dag.as_str().into()), task_id: Some(task.as_str().into()),
                run_id: Some(run.as_str().into()), map_index: Some(map), try_number: Some(attempt),
                ..Identity::default()
            };
            for id in log_ids(&full) {
                let said = parse(&id, Some(&dag), Some(&task));
                // One id can stand for several tries where ids hold the separators: then it may be unread.
                if said.run_id.is_some() {
                    prop_assert_eq!(said.try_number, Some(attempt));
                }
            }
        }

        #[test]
        fn never_panics(id in ".{0,60}", dag in ".{0,5}", task in ".{0,5}") {
            let _ = (parse(&id, Some(&dag), Some(&task)), parse(&id, None, None));
        }
    }
}
