//! A worker's task try, line by line, as Airflow writes one: what it is, what it prepares, what the user's code
//! says, how it ends.

use std::sync::Arc;

use heliograph_model::airflow::Identity;
use heliograph_model::level::Level;

use super::fleet::Dag;
use super::rng::Rng;
use super::said::Said;
use super::{trace, user_code};

/// One try under way.
#[derive(Debug)]
pub(crate) struct TaskTry {
    identity: Identity,
    file: String,
    dag: Arc<str>,
    task: Arc<str>,
    run: Arc<str>,
    /// Lines that the user's code will say.
    body: u64,
    step: u64,
    fails: bool,
    pid: u64,
    job: u64,
}

/// Lines before the user's code speaks.
const BEFORE: u64 = 10;
/// Lines after it.
const AFTER: u64 = 4;

impl TaskTry {
    /// A try of one of the tenant's DAGs.
    pub(crate) fn begin(dag: &Dag, now: i64, rng: &mut Rng) -> Self {
        let task = dag.tasks.get(rng.index(dag.tasks.len())).map_or_else(|| Arc::from("start"), Arc::clone);
        let map_index = if rng.one_in(6) { i32::try_from(rng.skewed(200)).unwrap_or(0) } else { -1 };
        let try_number = if rng.one_in(12) { 2 } else { 1 };
        let run = run_id(now, rng);
        let log_id = format!("{}-{task}-{run}-{map_index}-{try_number}", dag.id);
        let identity = Identity {
            dag_id: Some(Arc::clone(&dag.id)),
            task_id: Some(Arc::clone(&task)),
            run_id: Some(Arc::clone(&run)),
            map_index: Some(map_index),
            try_number: Some(try_number),
            log_id: Some(log_id.into()),
            logger: None,
        };
        let body = 3 + rng.skewed(260);
        Self {
            identity,
            file: dag.file.clone(),
            dag: Arc::clone(&dag.id),
            task,
            run,
            body,
            step: 0,
            fails: rng.one_in(25),
            pid: rng.range(80, 32_000),
            job: rng.range(10_000, 900_000),
        }
    }

    /// The same, with so many lines of the user's code and a good end.
    pub(crate) fn with_body(mut self, lines: u64) -> Self {
        self.body = lines;
        self.fails = false;
        self
    }

    pub(crate) fn log_id(&self) -> Option<Arc<str>> {
        self.identity.log_id.clone()
    }

    /// Whether it has said everything.
    pub(crate) fn is_over(&self) -> bool {
        self.step >= BEFORE + self.body + AFTER
    }

    /// Its next line, and whose it is.
    pub(crate) fn next(&mut self, rng: &mut Rng) -> (Said, Identity) {
        let step = self.step;
        self.step += 1;
        let said = match step {
            n if n < BEFORE => self.before(n),
            n if n < BEFORE + self.body => user_code::line(&self.file, rng),
            n => self.after(n - BEFORE - self.body, rng),
        };
        (said, self.identity.clone())
    }

    fn before(&self, step: u64) -> Said {
        const INSTANCE: (&str, &str) = ("airflow.models.taskinstance.TaskInstance", "taskinstance.py");
        const RUNNER: (&str, &str) =
            ("airflow.task.task_runner.standard_task_runner.StandardTaskRunner", "standard_task_runner.py");
        let (dag, task, run) = (&self.dag, &self.task, &self.run);
        let instance = format!("<TaskInstance: {dag}.{task} {run} [queued]>");
        let ((logger, file), line, message) = match step {
            0 => (INSTANCE, 2613, "::group::Pre task execution logs".to_owned()),
            1 => (
                INSTANCE,
                2632,
                format!("Dependencies all met for dep_context=non-requeueable deps ti={instance}"),
            ),
            2 => (
                INSTANCE,
                2632,
                format!("Dependencies all met for dep_context=requeueable deps ti={instance}"),
            ),
            3 => (INSTANCE, 2885, format!("Starting attempt {} of 3", self.identity.try_number.unwrap_or(1))),
            4 => (INSTANCE, 2908, format!("Executing <Task(_PythonDecoratedOperator): {task}> on {run}")),
            5 => (RUNNER, 72, format!("Started process {} to run task", self.pid)),
            6 => (
                RUNNER,
                104,
                format!(
                    "Running: ['airflow', 'tasks', 'run', '{dag}', '{task}', '{run}', '--job-id', '{}', '--raw', \
                     '--subdir', 'DAGS_FOLDER/{}', '--cfg-path', '/tmp/tmp{:x}']",
                    self.job,
                    self.file,
                    self.job * 7919
                ),
            ),
            7 => (RUNNER, 105, format!("Job {}: Subtask {task}", self.job)),
            8 => (
                INSTANCE,
                3158,
                format!(
                    "Exporting env vars: AIRFLOW_CTX_DAG_OWNER='airflow' AIRFLOW_CTX_DAG_ID='{dag}' \
                     AIRFLOW_CTX_TASK_ID='{task}' AIRFLOW_CTX_DAG_RUN_ID='{run}'"
                ),
            ),
            _ => (INSTANCE, 740, "::endgroup::".to_owned()),
        };
        Said::by(logger, file, line, message)
    }

    fn after(&self, step: u64, rng: &mut Rng) -> Said {
        const INSTANCE: &str = "airflow.models.taskinstance.TaskInstance";
        const JOB: (&str, &str) =
            ("airflow.jobs.local_task_job_runner.LocalTaskJobRunner", "local_task_job_runner.py");
        let (dag, task, run) = (&self.dag, &self.task, &self.run);
        match (step, self.fails) {
            (0, false) => Said::by(
                "airflow.task.operators.PythonDecoratedOperator",
                "python.py",
                240,
                format!("Done. Returned value was: {{'rows': {}}}", rng.skewed(4_000_000)),
            ),
            (0, true) => {
                Said::by(INSTANCE, "taskinstance.py", 3313, trace::python(&self.file, rng)).at(Level::Error)
            }
            (1, fails) => Said::by(
                INSTANCE,
                "taskinstance.py",
                361,
                format!(
                    "Marking task as {}. dag_id={dag}, task_id={task}, run_id={run}, run_duration={}.{:06}",
                    if fails { "UP_FOR_RETRY" } else { "SUCCESS" },
                    rng.skewed(900),
                    rng.below(1_000_000)
                ),
            ),
            (2, fails) => {
                Said::by(JOB.0, JOB.1, 266, format!("Task exited with return code {}", u8::from(fails)))
            }
            (_, _) => Said::by(
                INSTANCE,
                "taskinstance.py",
                3925,
                format!("{} downstream tasks scheduled from follow-on schedule check", rng.skewed(6)),
            ),
        }
    }
}

/// As Airflow names runs.
pub(crate) fn run_id(now: i64, rng: &mut Rng) -> Arc<str> {
    const HOUR: i64 = 3_600_000_000_000;
    if rng.one_in(8) {
        let time = jiff::Timestamp::from_nanosecond(i128::from(now)).unwrap_or_default();
        format!("manual__{time:.6}").replace('Z', "+00:00").into()
    } else {
        let hour =
            jiff::Timestamp::from_nanosecond(i128::from(now - now.rem_euclid(HOUR))).unwrap_or_default();
        format!("scheduled__{hour:.0}").replace('Z', "+00:00").into()
    }
}
