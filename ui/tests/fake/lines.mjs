// Made-up Airflow lines, each a function of its number alone: so that search, tail, counts and
// context, asked in any order, tell of the same lines. A number is a slice of time.
// @ts-check

/** One number lasts so long: two lines a second, some 170,000 a day. */
export const STEP_MS = 480;

const TENANTS = ["acme", "globex", "initech", "umbrella"];
/** @type {[string, string[]][]} */
const DAGS = [
  ["etl_daily", ["extract", "transform", "load_warehouse", "notify"]],
  ["ml_feature_store.refresh", ["fetch_features", "materialize_offline_store", "validate"]],
  ["billing_export", ["collect_usage", "render_invoices", "upload_to_bucket"]],
  ["sync_salesforce_accounts_incremental", ["wait_for_partition", "pull_accounts", "merge"]],
  ["dbt_nightly", ["dbt_deps", "dbt_run", "dbt_test"]],
];
const LOGGERS = ["airflow.task", "airflow.providers.http.hooks", "task.stdout", "airflow.models.taskinstance"];

/** @param {number} number @param {number} salt */
export function chance(number, salt) {
  let hash = Math.imul(number ^ (salt * 0x9e3779b9), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 4294967296;
}

/** @template T @param {number} number @param {number} salt @param {readonly T[]} choices @returns {T} */
export function pick(number, salt, choices) {
  return /** @type {T} */ (choices[Math.floor(chance(number, salt) * choices.length)]);
}

/** Trouble comes in bursts of some minutes. @param {number} number */
function trouble(number) {
  const minute = Math.floor((number * STEP_MS) / 60_000);
  return chance(Math.floor(minute / 4), 91) > 0.9 ? 0.3 : 0.012;
}

/** @param {number} number @returns {string} */
export function levelAt(number) {
  const at = chance(number, 1);
  const bad = trouble(number);
  if (at < bad * 0.06) return "critical";
  if (at < bad * 0.55) return "error";
  if (at < bad + 0.04) return "warning";
  if (at < bad + 0.16) return "debug";
  return "info";
}

/** @param {number} number */
export function tenantAt(number) {
  return pick(number, 2, TENANTS);
}

/** @param {number} number */
export function timeAt(number) {
  return number * STEP_MS + Math.floor(chance(number, 3) * STEP_MS);
}

/** @param {number} number */
function stamp(number) {
  const nanos = String(Math.floor(chance(number, 4) * 1e6)).padStart(6, "0");
  return new Date(timeAt(number)).toISOString().replace("Z", `${nanos}Z`);
}

/** @param {number} number @returns {Record<string, any>} */
export function recordAt(number) {
  const level = levelAt(number);
  const tenant = tenantAt(number);
  /** @type {Record<string, any>} */
  const record = {
    id: `n${number}`,
    "@timestamp": stamp(number),
    message: "",
    level,
    tenant,
    namespace: `airflow-${tenant}`,
    node: `ip-10-0-${Math.floor(chance(number, 5) * 4)}-17`,
    stream: level === "error" || level === "critical" ? "stderr" : "stdout",
  };
  if (chance(number, 6) < 0.68) return taskLine(record, number, level);
  return componentLine(record, number, level);
}

/** @param {Record<string, any>} record @param {number} number @param {string} level */
function taskLine(record, number, level) {
  const [dag, tasks] = pick(number, 7, DAGS);
  const task = pick(number, 8, tasks);
  const day = new Date(timeAt(number)).toISOString().slice(0, 10);
  const attempt = level === "error" && chance(number, 9) < 0.5 ? 2 : 1;
  const mapped = task === "render_invoices" ? Math.floor(chance(number, 10) * 12) : -1;
  const run = `scheduled__${day}T00:00:00+00:00`;
  Object.assign(record, {
    component: "worker",
    pod: `${String(dag).replaceAll(/[._]/g, "-").slice(0, 24)}-${Math.floor(chance(Math.floor(number / 500), 11) * 1e8).toString(36)}`,
    container: "base",
    dag_id: dag,
    task_id: task,
    run_id: run,
    map_index: mapped,
    try_number: attempt,
    log_id: `${dag}_${task}_${run}_${mapped}_${attempt}`,
    logger: pick(number, 12, LOGGERS),
    attributes: { filename: "taskinstance.py", lineno: 400 + (number % 900) },
  });
  record["message"] = taskMessage(number, level, String(dag), task);
  if (record["message"].includes("gnp.exe")) {
    // Not the message alone is written by others.
    record["logger"] = "root\u202e\u0007";
    record["attributes"]["user\u202eagent"] = "curl\u200b/8\r\nX-Forged: 1\u001b]8;;http://evil.example\u001b\\";
  }
  if (chance(number, 13) < 0.06) {
    record["attributes"].request = { method: "GET", path: "/v2/accounts", status: level === "error" ? 502 : 200, tags: ["sync", "retry"] };
    record["attributes"].duration_ms = Math.round(chance(number, 14) * 4000) / 10;
  }
  return record;
}

/** @param {number} number @param {string} level @param {string} dag @param {string} task */
function taskMessage(number, level, dag, task) {
  const rows = Math.floor(chance(number, 15) * 90_000);
  if (level === "critical") return `Task ${dag}.${task} was killed: out of memory (limit 2Gi, used 2.0Gi). The pod will not be restarted.`;
  if (level === "error") {
    return pick(number, 16, [
      traceback(task, rows),
      `Task failed with exception after ${rows % 90} s`,
      `HTTP error: 502 Bad Gateway for url https://api.example.com/v2/accounts?page=${rows % 70}`,
      "psycopg2.OperationalError: could not connect to server: Connection refused\n\tIs the server running on host \"10.0.0.7\" and accepting\n\tTCP/IP connections on port 5432?",
    ]);
  }
  if (level === "warning") {
    return pick(number, 17, [
      `Retrying (Retry(total=${rows % 5}, connect=None)) after connection broken by 'ReadTimeoutError("HTTPSConnectionPool(host='api.example.com', port=443): Read timed out. (read timeout=30)")': /v2/accounts`,
      `\u001b[33mDeprecationWarning\u001b[0m: The \u001b[1mschedule_interval\u001b[0m parameter is deprecated, use \u001b[1;36mschedule\u001b[0m instead`,
      `Slow query: ${rows} ms SELECT id, account_id, updated_at FROM accounts WHERE updated_at > '2026-11-20' ORDER BY updated_at`,
    ]);
  }
  if (level === "debug") return `cache lookup key=features:${rows.toString(16)} hit=${rows % 3 === 0}`;
  return pick(number, 18, [
    `Processed ${rows} rows in ${(rows / 4100).toFixed(2)} s`,
    `Executing <Task(PythonOperator): ${task}> on ${new Date(timeAt(number)).toISOString()}`,
    `\u001b[34mINFO\u001b[0m  uploaded part \u001b[32m${rows % 40}/40\u001b[0m to s3://warehouse/${dag}/part-${rows}.parquet`,
    `Marking task as SUCCESS. dag_id=${dag}, task_id=${task}, run_duration=${(rows / 1000).toFixed(3)}`,
    `Running command: ['bash', '-c', 'dbt run --select tag:nightly --threads ${(rows % 8) + 1}']`,
    "::group::Pre task execution logs",
    `Dependencies all met for dep_context=non-requeueable deps ti=<TaskInstance: ${dag}.${task} scheduled__2026-11-24T00:00:00+00:00 [queued]>`,
    ...hostile(number),
  ]);
}

/** Lines as someone would write them who wants to mislead a reader; rare. @param {number} number */
function hostile(number) {
  return number % 23 === 0
    ? [
        "user input: \u202egnp.exe\u202c accepted\u0007 \u001b]0;owned\u0007",
        "ok\r2026-11-24 00:00:00 ERROR everything is lost\u200b <script>alert(1)</script> <img src=x onerror=alert(2)>",
        `payload ${"{\"k\":\"v\"},".repeat(900)}`,
      ]
    : [];
}

/** @param {string} task @param {number} rows */
function traceback(task, rows) {
  return [
    "Task failed with exception",
    "Traceback (most recent call last):",
    '  File "/home/airflow/.local/lib/python3.12/site-packages/airflow/models/taskinstance.py", line 767, in _execute_task',
    "    result = _execute_callable(context=context, **execute_callable_kwargs)",
    '  File "/home/airflow/.local/lib/python3.12/site-packages/airflow/operators/python.py", line 202, in execute',
    "    return_value = self.execute_callable()",
    `  File "/opt/airflow/dags/pipeline.py", line ${rows % 300}, in ${task}`,
    "    rate = total / len(rows)",
    "ZeroDivisionError: division by zero",
  ].join("\n");
}

/** @param {Record<string, any>} record @param {number} number @param {string} level */
function componentLine(record, number, level) {
  const component = pick(number, 20, ["scheduler", "scheduler", "triggerer", "dag-processor", "webserver"]);
  const rows = Math.floor(chance(number, 21) * 5000);
  Object.assign(record, { component, pod: `airflow-${component}-7d9f8c6b5-x${(number % 3) + 2}kqz`, container: component });
  const [dag, tasks] = pick(number, 22, DAGS);
  if (level === "error" || level === "critical") record["message"] = `Executor reports task instance <TaskInstance: ${dag}.${tasks[0]} scheduled__2026-11-24 [queued]> finished (failed) although the task says it's queued. Was the task killed externally?`;
  else if (level === "warning") record["message"] = `DAG processing took ${rows / 100} s for /opt/airflow/dags/${String(dag).replaceAll(".", "/")}.py, over the limit of 30 s`;
  else if (component === "webserver") record["message"] = `10.0.${rows % 255}.${rows % 200} - - "GET /api/v1/dags/${dag}/dagRuns?limit=25 HTTP/1.1" 200 ${rows} "-" "Mozilla/5.0"`;
  else if (component === "scheduler") record["message"] = rows % 2 ? `Sending TaskInstanceKey(dag_id='${dag}', task_id='${tasks[0]}', try_number=1, map_index=-1) to KubernetesExecutor with priority ${rows % 9} and queue default` : `${rows % 12} tasks up for execution`;
  else if (component === "triggerer") record["message"] = `${rows % 40} triggers currently running`;
  else record["message"] = `Filling up the DagBag from /opt/airflow/dags/${String(dag).replaceAll(".", "/")}.py`;
  return record;
}

/** What context calls a file. @param {Record<string, any>} record */
export function sourceKey(record) {
  return `${record["tenant"]} ${record["log_id"] ?? record["pod"]}`;
}
