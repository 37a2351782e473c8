//! Lines of Airflow's own components, modelled on the real ones in `model/tests/data/airflow`.

use heliograph_model::level::Level;

use super::fleet::Dag;
use super::rng::Rng;
use super::said::Said;
use super::task::run_id;
use super::trace;
use super::user_code::user;

fn task_of(dag: &Dag, rng: &mut Rng) -> String {
    dag.tasks.get(rng.index(dag.tasks.len())).map_or_else(String::new, |t| t.to_string())
}

/// A scheduler's line.
pub(crate) fn scheduler(dag: &Dag, now: i64, rng: &mut Rng) -> Said {
    const JOB: (&str, &str) =
        ("airflow.jobs.scheduler_job_runner.SchedulerJobRunner", "scheduler_job_runner.py");
    let (id, task, run) = (&dag.id, task_of(dag, rng), run_id(now, rng));
    let job = |line, message| Said::by(JOB.0, JOB.1, line, message);
    match rng.below(100) {
        0..10 => job(435, format!("{} tasks up for execution:\n\t<TaskInstance: {id}.{task} {run} [scheduled]>", 1 + rng.skewed(9))),
        10..22 => job(507, format!("DAG {id} has {}/16 running and queued tasks", rng.below(16))),
        22..34 => job(
            646,
            format!("Setting the following tasks to queued state:\n\t<TaskInstance: {id}.{task} {run} [scheduled]>"),
        ),
        34..46 => job(
            692,
            format!(
                "Sending TaskInstanceKey(dag_id='{id}', task_id='{task}', run_id='{run}', try_number=1, map_index=-1) \
                 to CeleryExecutor with priority {} and queue default",
                1 + rng.below(20)
            ),
        ),
        46..58 => Said::by(
            "airflow.executors.base_executor.BaseExecutor",
            "base_executor.py",
            169,
            format!(
                "Adding to queue: ['airflow', 'tasks', 'run', '{id}', '{task}', '{run}', '--local', '--subdir', \
                 'DAGS_FOLDER/{}']",
                dag.file
            ),
        ),
        58..70 => job(
            776,
            format!(
                "Received executor event with state success for task instance TaskInstanceKey(dag_id='{id}', \
                 task_id='{task}', run_id='{run}', try_number=1, map_index=-1)"
            ),
        ),
        70..82 => job(
            813,
            format!(
                "TaskInstance Finished: dag_id={id}, task_id={task}, run_id={run}, map_index=-1, run_duration={}.{:06}, \
                 state=success, executor=CeleryExecutor(parallelism=32), executor_state=success, try_number=1, \
                 max_tries=2, job_id={}, pool=default_pool, queue=default, priority_weight={}, operator=PythonOperator, \
                 pid={}",
                rng.skewed(900),
                rng.below(1_000_000),
                rng.range(10_000, 900_000),
                1 + rng.below(20),
                rng.range(80, 32_000)
            ),
        ),
        82..88 => Said::by(
            "airflow.models.dagrun.DagRun",
            "dagrun.py",
            823,
            format!("Marking run <DagRun {id} @ {run}: {run}, state:running, externally triggered: False> failed"),
        )
        .at(Level::Error),
        88..94 => Said::by(
            "airflow.dag_processing.dagbag.DagBag",
            "dagbag.py",
            588,
            format!("Filling up the DagBag from /opt/airflow/dags/{}", dag.file),
        ),
        94..97 => job(1993, "Adopting or resetting orphaned tasks for active dag runs".to_owned()),
        _ => job(
            1050,
            format!("Executor reports task instance <TaskInstance: {id}.{task} {run} [queued]> finished although the task says it is queued"),
        )
        .at(Level::Warning),
    }
}

/// A webserver's line: mostly the access log.
pub(crate) fn webserver(dag: &Dag, now: i64, rng: &mut Rng) -> Said {
    let run = run_id(now, rng).replace(':', "%3A").replace('+', "%2B");
    let task = task_of(dag, rng);
    match rng.below(100) {
        0..80 => {
            let path = match rng.below(5) {
                0 => format!("/api/v1/dags/{}/dagRuns/{run}/taskInstances/{task}", dag.id),
                1 => {
                    format!("/api/v1/dags/{}/dagRuns/{run}/taskInstances/{task}/logs/1?map_index=-1", dag.id)
                }
                2 => format!("/dags/{}/grid?dag_run_id={run}&tab=logs", dag.id),
                3 => format!("/object/grid_data?dag_id={}&num_runs=25", dag.id),
                _ => "/health".to_owned(),
            };
            let status =
                [200, 200, 200, 200, 302, 304, 404, 500].get(rng.skewed_index(8)).copied().unwrap_or(200);
            let time = jiff::Timestamp::from_nanosecond(i128::from(now)).unwrap_or_default();
            Said::plain(
                None,
                format!(
                    "{} - {} [{}] \"GET {path} HTTP/1.1\" {status} {} \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\"",
                    rng.host_address(),
                    user(rng),
                    time.strftime("%d/%b/%Y:%H:%M:%S +0000"),
                    rng.skewed(90_000)
                ),
            )
            .on_stderr()
        }
        80..90 => Said::by(
            "airflow.www.security_manager",
            "override.py",
            1699,
            format!("Updated user {}", user(rng).replace('.', " ")),
        ),
        90..97 => Said::by(
            "airflow.www.fab_security",
            "override.py",
            1932,
            format!(
                "Created Permission View: can {} on DAG:{}",
                if rng.one_in(2) { "read" } else { "edit" },
                dag.id
            ),
        ),
        _ => {
            Said::by("airflow.www.auth", "decorators.py", 91, format!("login failed for user {}", user(rng)))
                .at(Level::Warning)
        }
    }
}

/// A triggerer's line.
pub(crate) fn triggerer(dag: &Dag, now: i64, rng: &mut Rng) -> Said {
    const JOB: (&str, &str) =
        ("airflow.jobs.triggerer_job_runner.TriggererJobRunner", "triggerer_job_runner.py");
    let name =
        format!("{}/{}/{}/-1/1 (ID {})", dag.id, run_id(now, rng), task_of(dag, rng), rng.below(900_000));
    match rng.below(10) {
        0..3 => Said::by(JOB.0, JOB.1, 510, format!("{} triggers currently running", rng.skewed(400))),
        3..6 => Said::by(JOB.0, JOB.1, 627, format!("trigger {name} starting")),
        6..9 => Said::by(
            JOB.0,
            JOB.1,
            633,
            format!(
                "Trigger {name} fired: TriggerEvent<{{'status': 'success', 'message': '{}'}}>",
                rng.sentence(4)
            ),
        ),
        _ => Said::by(
            JOB.0,
            JOB.1,
            605,
            format!(
                "Triggerer's async thread was blocked for 0.{:02} seconds, likely by a badly-written trigger. \
                 Set PYTHONASYNCIODEBUG=1 to get more information on overrunning coroutines.",
                rng.range(20, 99)
            ),
        ),
    }
}

/// A DAG processor's line: now and then the table of all files.
pub(crate) fn dag_processor(dags: &[Dag], now: i64, rng: &mut Rng) -> Said {
    let Some(dag) = dags.get(rng.skewed_index(dags.len())) else { return Said::plain(None, String::new()) };
    let file = format!("/opt/airflow/dags/{}", dag.file);
    let by = |line, message| Said::by("airflow.processor", "processor.py", line, message);
    match rng.below(100) {
        0..3 => table(dags, now, rng),
        3..35 => by(186, format!("Started process (PID={}) to work on {file}", rng.range(80, 32_000))),
        35..60 => by(914, format!("Processing file {file} for tasks to queue")),
        60..78 => by(925, format!("DAG(s) '{}' retrieved from {file}", dag.id)),
        78..96 => {
            by(208, format!("Processing {file} took {}.{:03} seconds", rng.skewed(9), rng.below(1_000)))
        }
        _ => Said::by(
            "airflow.models.dagbag.DagBag",
            "dagbag.py",
            387,
            format!("Failed to import: {file}\n{}", trace::python(&dag.file, rng)),
        )
        .at(Level::Error),
    }
}

fn table(dags: &[Dag], now: i64, rng: &mut Rng) -> Said {
    let line = "=".repeat(80);
    let mut text = format!(
        "\n{line}\nDAG File Processing Stats\n\nFile Path                                          PID  Runtime      \
         # DAGs    # Errors  Last Runtime    Last Run\n"
    );
    let from = rng.index(dags.len());
    let time = jiff::Timestamp::from_nanosecond(i128::from(now)).unwrap_or_default();
    for dag in dags.iter().skip(from).take(12) {
        text.push_str(&format!(
            "/opt/airflow/dags/{:<46} {:>5}  {}.{:02}s             1           0  {}.{:02}s           {}\n",
            dag.file,
            rng.below(32_000),
            rng.below(3),
            rng.below(100),
            rng.below(3),
            rng.below(100),
            time.strftime("%Y-%m-%dT%H:%M:%S")
        ));
    }
    text.push_str(&line);
    Said::by("airflow.dag_processing.manager.DagFileProcessorManager", "manager.py", 997, text)
}
