//! Stack traces: one message of many lines each.

use super::rng::Rng;
use super::words::{ACTIONS, DOMAINS, THINGS};

const PACKAGES: &[&str] = &[
    "airflow/models/taskinstance.py",
    "airflow/utils/operator_helpers.py",
    "airflow/models/baseoperator.py",
    "airflow/decorators/base.py",
    "airflow/operators/python.py",
    "airflow/providers/postgres/hooks/postgres.py",
    "airflow/providers/amazon/aws/hooks/s3.py",
    "sqlalchemy/engine/base.py",
    "sqlalchemy/pool/impl.py",
    "requests/adapters.py",
    "urllib3/connectionpool.py",
    "pandas/core/frame.py",
    "pandas/core/indexes/base.py",
    "botocore/client.py",
];

const CALLS: &[(&str, &str)] = &[
    ("_execute_task", "result = _execute_callable(context=context, **execute_callable_kwargs)"),
    ("_execute_callable", "return ExecutionCallableRunner("),
    ("run", "return self.func(*args, **kwargs)"),
    ("wrapper", "return func(self, *args, **kwargs)"),
    ("execute", "return_value = self.execute_callable()"),
    ("get_records", "cur.execute(sql, parameters)"),
    ("urlopen", "response = self._make_request("),
    ("send", "raise ConnectionError(err, request=request)"),
    ("get_loc", "raise KeyError(key) from err"),
    ("_make_api_call", "raise error_class(parsed_response, operation_name)"),
    ("inner", "return transform(frame, columns=columns)"),
];

/// A Python traceback that ends in an exception of the user's code.
pub(crate) fn python(file: &str, rng: &mut Rng) -> String {
    let mut text = "Task failed with exception\nTraceback (most recent call last):\n".to_owned();
    for _ in 0..rng.range(5, 16) {
        let (name, code) = CALLS.get(rng.index(CALLS.len())).copied().unwrap_or_default();
        text.push_str(&format!(
            "  File \"/opt/airflow/venv/lib/python3.11/site-packages/{}\", line {}, in {name}\n    {code}\n",
            rng.word(PACKAGES),
            20 + rng.skewed(3_000)
        ));
    }
    text.push_str(&format!(
        "  File \"/opt/airflow/dags/{file}\", line {}, in {}_{}\n",
        5 + rng.skewed(400),
        rng.word(ACTIONS),
        rng.word(THINGS)
    ));
    text.push_str(&exception(rng));
    text
}

fn exception(rng: &mut Rng) -> String {
    match rng.below(6) {
        0 => format!("KeyError: '{}_{}'", rng.word(THINGS), rng.word(DOMAINS)),
        1 => format!("ValueError: could not convert string to float: '{}'", rng.sentence(2)),
        2 => format!(
            "psycopg2.OperationalError: connection to server at \"{}\", port 5432 failed: timeout expired",
            rng.host_address()
        ),
        3 => format!("requests.exceptions.ConnectionError: ('connection reset by peer', {})", rng.below(200)),
        4 => format!("airflow.exceptions.AirflowException: {} {}", rng.word(THINGS), rng.sentence(6)),
        _ => format!(
            "botocore.exceptions.ClientError: An error occurred (NoSuchKey) when calling the GetObject operation: {}",
            rng.hex(32)
        ),
    }
}

/// A Java stack trace, as the metastore writes one.
pub(crate) fn java(rng: &mut Rng) -> String {
    const CLASSES: &[&str] = &[
        "org.apache.hadoop.hive.metastore.HiveMetaStore$HMSHandler",
        "org.apache.hadoop.hive.metastore.RetryingHMSHandler",
        "org.apache.hadoop.hive.metastore.ObjectStore",
        "org.apache.thrift.ProcessFunction",
        "org.apache.thrift.TBaseProcessor",
        "org.apache.thrift.server.TThreadPoolServer$WorkerProcess",
        "org.datanucleus.store.rdbms.query.JDOQLQuery",
        "org.datanucleus.api.jdo.JDOPersistenceManager",
        "com.zaxxer.hikari.pool.HikariPool",
        "java.util.concurrent.ThreadPoolExecutor",
        "java.lang.Thread",
    ];
    const METHODS: &[&str] = &[
        "get_table_core",
        "invokeInternal",
        "invoke",
        "getMTable",
        "process",
        "run",
        "runWorker",
        "execute",
        "getConnection",
    ];
    let mut text = format!(
        "Retrying HMSHandler after 2000 ms (attempt {} of 10) with error: \
         javax.jdo.JDODataStoreException: {} {}\n",
        1 + rng.below(9),
        rng.word(ACTIONS),
        rng.sentence(5)
    );
    for _ in 0..rng.range(6, 20) {
        let class = rng.word(CLASSES);
        let file = class.rsplit('.').next().and_then(|c| c.split('$').next()).unwrap_or_default();
        text.push_str(&format!(
            "\tat {class}.{}({file}.java:{})\n",
            rng.word(METHODS),
            10 + rng.skewed(4_000)
        ));
    }
    text.push_str(&format!(
        "Caused by: java.sql.SQLTransientConnectionException: HikariPool-1 - Connection is not available, \
         request timed out after {}ms.",
        rng.range(30_000, 31_000)
    ));
    text
}
