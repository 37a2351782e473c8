//! A connection: from the URL to what the server is asked to hold to.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};

use crate::catalog::unusable;
use crate::catalog::url::Url;
use crate::error::{Error, Result};

/// Calls that run at the same time in one process: more would wait for the same disk. A server allows 100 by
/// default, for all its clients together.
const CONNECTIONS_MAX: u32 = 12;
/// How long a call waits for a connection, and for a server that does not answer.
const ACQUIRE_FOR: Duration = Duration::from_secs(5);
/// A connection that was used so lately is taken to be well.
const FRESH_FOR: Duration = Duration::from_millis(500);
/// How long a connection has to show that it is well.
const PING_MAX: Duration = Duration::from_secs(2);
/// What every connection asks of the server: an end to all that could last for ever, above all to a transaction
/// whose client was stopped in the middle. Commits wait for the disk even where the database is set not to.
const SESSION: &str = "
    SET statement_timeout = '10s';
    SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '8s';
    SET default_transaction_isolation = 'read committed';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Parameters of a URL: those of libpq that we know.
const PARAMETERS: [&str; 11] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

/// The server that a URL means, and how to talk to it. What it leaves out is as for other clients: `PGUSER` and
/// the like, and the password file.
pub(super) fn options(url: &Url, password: Option<&SecretString>) -> Result<PgConnectOptions> {
    let unreadable = |reason: String| {
        unusable(format!(
            "{url} is not understood: {reason}: give postgres://USER@HOST:PORT/DATABASE?sslmode=…"
        ))
    };
    let parsed = url::Url::parse(url.text()).map_err(|e| unreadable(e.to_string()))?;
    let named = |name: &str| parsed.query_pairs().any(|(key, _)| key == name);
    if let Some((unknown, _)) = parsed.query_pairs().find(|(key, _)| !PARAMETERS.contains(&key.as_ref())) {
        // Behind a `?` in a password, all up to the host would be parameters.
        let is_clear = parsed.query().is_some_and(|query| !query.contains('@'));
        let unknown = if is_clear { format!(" {unknown:?}") } else { String::new() };
        return Err(unreadable(format!("unknown parameter{unknown}, known are {}", PARAMETERS.join(", "))));
    }
    if password.is_some() && (parsed.password().is_some() || named("password")) {
        let reason = "catalog.url holds a password, too: give one".to_owned();
        return Err(Error::Config { setting: "catalog.password", reason });
    }
    let mut options: PgConnectOptions = match url.text().parse() {
        Ok(options) => options,
        Err(error) => {
            let reason = match error {
                sqlx::Error::Configuration(error) => error.to_string(),
                error => error.to_string(),
            };
            // No value is shown: one of them may be a password.
            let told = parsed.query_pairs().find(|(_, value)| !value.is_empty() && reason.contains(&**value));
            let told = told.map(|(key, _)| format!("{key} has a value that is not known"));
            return Err(unreadable(told.unwrap_or(reason)));
        }
    };
    if options.get_database().is_none() {
        return Err(unreadable("it names no database".to_owned()));
    }
    if let Some(password) = password {
        options = options.password(password.expose_secret());
    }
    // Not said otherwise, a server elsewhere must show who it is: what it is told are the keys to all data.
    if matches!(options.get_ssl_mode(), PgSslMode::Prefer) && !named("sslmode") && !is_local(&options) {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    if options.get_application_name().is_none() {
        options = options.application_name("heliograph");
    }
    Ok(options.disable_statement_logging())
}

fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let is_loopback = |ip: IpAddr| ip.is_loopback();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.trim_matches(['[', ']']).parse().is_ok_and(is_loopback)
}

/// A pool of connections that are made when they are needed.
pub(super) fn pool(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE_FOR)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > FRESH_FOR {
                    ping(connection).await?;
                }
                Ok(true)
            })
        })
        // A call that was given up leaves its connection in the middle of an answer that may never come.
        .after_release(|connection, _| Box::pin(async move { ping(connection).await.map(|()| true) }))
        .after_connect(|connection, _| {
            Box::pin(async move { sqlx::raw_sql(SESSION).execute(connection).await.map(drop) })
        })
        .connect_lazy_with(options)
}

async fn ping(connection: &mut PgConnection) -> sqlx::Result<()> {
    let late = |_| sqlx::Error::Io(io::ErrorKind::TimedOut.into());
    tokio::time::timeout(PING_MAX, connection.ping()).await.map_err(late)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<PgConnectOptions> {
        options(&Url::from(url), None)
    }

    #[track_caller]
    fn check(url: &str, mode: &str) {
        assert_eq!(format!("{:?}", read(url).unwrap().get_ssl_mode()), mode, "{url}");
    }

    #[track_caller]
    fn refused(url: &str, expected: &str) {
        let text = read(url).unwrap_err().to_string();
        assert!(text.starts_with("catalog.url: ") && text.contains(expected), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_server_elsewhere_must_show_who_it_is() {
        check("postgres://me:hunter2@db.example/logs", "VerifyFull");
        check("postgres://me@db.example/logs?sslmode=disable", "Disable");
        check("postgres://me@db.example/logs?sslmode=prefer", "Prefer");
        check("postgresql://me@127.0.0.1/logs", "Prefer");
        check("postgres://me@[::1]:5433/logs", "Prefer");
        check("postgres:///logs?host=/run/postgresql", "Prefer");
        check("postgres://me@localhost.example/logs", "VerifyFull");
    }

    #[test]
    fn what_is_not_understood_is_told_without_the_password() {
        refused(
            "postgres://me:hunter2@db",
            "postgres://me@db is not understood: it names no database: give postgres://",
        );
        refused(
            "postgres://me:hunter2@db/logs?sslmod=require",
            "unknown parameter \"sslmod\", known are sslmode, ",
        );
        refused("postgres://me:hunter2@db/logs?pasword=hunter2", "unknown parameter \"pasword\"");
        refused(
            "postgres://me@db/logs?sslmode=hunter2",
            "postgres://me@db/logs is not understood: sslmode has a value that is not known: give",
        );
        refused(
            "postgres://me:12?hunter2@db/logs",
            "postgres:… is not understood: unknown parameter, known are",
        );
        refused("postgres://me:hunter2@db:port/logs", "postgres:… is not understood: invalid port number");
        let both = options(&Url::from("postgres://me:hunter2@db/logs"), Some(&SecretString::from("hunter3")));
        let text = both.unwrap_err().to_string();
        assert_eq!(text, "catalog.password: catalog.url holds a password, too: give one");
    }
}
