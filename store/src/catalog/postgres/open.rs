//! Opens the database: waits for its server, looks whether it will do, brings its schema up to date.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use secrecy::SecretString;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Row};

use super::connection::{options, pool};
use crate::catalog::url::Url;
use crate::catalog::{not_migrated, unusable};
use crate::crash;
use crate::error::{Error, Result};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// How long a start waits for the server: long enough for one that is starting, or moving to another node.
const START_MAX: Duration = Duration::from_secs(60);
/// Pauses between its tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Longest time of one try.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Why a database cannot be used.
struct Refusal {
    reason: String,
    /// Whether it may pass by itself.
    may_pass: bool,
}

pub(super) async fn open(url: &Url, password: Option<&SecretString>) -> Result<PgPool> {
    let options = options(url, password)?;
    let pauses = ExponentialBuilder::default()
        .with_min_delay(PAUSES.0)
        .with_max_delay(PAUSES.1)
        .with_total_delay(Some(START_MAX))
        .without_max_times()
        .with_jitter();
    let connected = (|| connect(&options))
        .retry(pauses)
        .when(|refusal| refusal.may_pass)
        .notify(|refusal, pause| {
            tracing::warn!(catalog = %url, reason = refusal.reason, ?pause, "the catalog is not ready, will try again");
        })
        .await;
    let mut connection = connected.map_err(|refusal| {
        let waited =
            if refusal.may_pass { format!(" (waited for {} s)", START_MAX.as_secs()) } else { String::new() };
        unusable(format!("{url}: {}{waited}", refusal.reason))
    })?;
    crash::point("catalog.migrate.before");
    MIGRATIONS.run_direct(None, &mut connection, false).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => unusable(format!(
            "{url}: its schema cannot be brought up to date: {}",
            Refusal::from(error).reason
        )),
        error => not_migrated(&url.to_string(), &MIGRATIONS, error),
    })?;
    crash::point("catalog.migrate.after");
    connection.close().await.map_err(Error::Catalog)?;
    Ok(pool(options))
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, Refusal> {
    let connected = tokio::time::timeout(CONNECT_MAX, options.connect()).await;
    let mut connection = connected.map_err(|_| sqlx::Error::Io(io::ErrorKind::TimedOut.into()))??;
    let row = sqlx::query(
        "SELECT pg_is_in_recovery() AS standby, current_setting('server_encoding') AS encoding,
             current_setting('fsync') AS fsync",
    )
    .fetch_one(&mut connection)
    .await?;
    if row.try_get("standby")? {
        // In the middle of a failover it may be the primary soon.
        return Err(Refusal { reason: "it is a standby: name the primary".to_owned(), may_pass: true });
    }
    let encoding: &str = row.try_get("encoding")?;
    if encoding != "UTF8" {
        let reason = format!("its encoding is {encoding}: make one with CREATE DATABASE … ENCODING 'UTF8'");
        return Err(Refusal { reason, may_pass: false });
    }
    if row.try_get::<&str, _>("fsync")? == "off" {
        tracing::warn!(
            "the catalog's server runs with fsync = off: a crash of its machine loses what was acknowledged"
        );
    }
    Ok(connection)
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default().into_owned();
        // Full, starting, or stopping; a server that cannot be reached at all. A certificate that is not trusted
        // comes as invalid data.
        let may_pass = match &error {
            sqlx::Error::Io(error) => error.kind() != io::ErrorKind::InvalidData,
            _ => matches!(code.as_str(), "53300" | "57P01" | "57P02" | "57P03"),
        };
        // The whole text would name a line of the server's own source.
        let said = error.as_database_error().map(|e| e.message().to_owned());
        let mut reason = said.unwrap_or_else(|| error.to_string());
        let hint = match (&error, code.as_str()) {
            (_, "28P01" | "28000") => "check its user, and catalog.password",
            (_, "3D000") => "make it first: CREATE DATABASE … ENCODING 'UTF8'",
            (_, "42501") => "give its user the right to make tables: GRANT CREATE ON SCHEMA public TO …",
            (sqlx::Error::Tls(_), _) => {
                "add sslrootcert=FILE to trust its authority, or say sslmode=… otherwise"
            }
            (sqlx::Error::Io(e), _) if e.kind() == io::ErrorKind::InvalidData => {
                "add sslrootcert=FILE to trust its authority, or say sslmode=… otherwise"
            }
            _ => "",
        };
        if !hint.is_empty() && write!(reason, ": {hint}").is_err() {
            reason.clear();
        }
        Self { reason, may_pass }
    }
}
