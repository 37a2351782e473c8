//! Opens the file: makes it for its owner alone, sets how it is written, brings its schema up to date.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};

use super::Sqlite;
use crate::catalog::{not_migrated, unusable};
use crate::crash;
use crate::error::{Error, Result};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a write waits for another process's write.
const BUSY_FOR: Duration = Duration::from_secs(10);
/// How long a caller waits for a connection: longer than one busy write takes.
const ACQUIRE_FOR: Duration = Duration::from_secs(15);
/// Reads are short; more connections than this would only wait for the same cores.
const READERS: u32 = 4;
/// SQLite does not wait for the lock that a change of the journal needs, so we try again, this often …
const JOURNAL_TRIES: u32 = 200;
/// … at this distance.
const JOURNAL_PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn open(path: &str) -> Result<Sqlite> {
    let path = absolute(path)?;
    tokio::task::spawn_blocking({
        let path = path.clone();
        move || make_file(&path)
    })
    .await
    .map_err(|e| Error::File { path: path.display().to_string(), source: e.into() })??;

    let options = SqliteConnectOptions::new()
        .filename(&path)
        .foreign_keys(true)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_FOR)
        // What is deleted is written over: an erased tenant's key, and the query of an erasure.
        .pragma("secure_delete", "ON")
        .disable_statement_logging();
    prepare(&path, &options).await?;
    let reading = options.clone().pragma("query_only", "ON");
    let catalog = Sqlite { writer: pool(1, options), readers: pool(READERS, reading) };
    Ok(catalog)
}

fn absolute(path: &str) -> Result<PathBuf> {
    if path.is_empty() || path.starts_with(':') {
        return Err(unusable(format!("\"sqlite:{path}\" names no file: give sqlite:PATH")));
    }
    std::path::absolute(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Makes the file before SQLite would: its journal files take over its mode.
fn make_file(path: &Path) -> Result<()> {
    let at = |path: &Path| {
        let path = path.display().to_string();
        |source| Error::File { path, source }
    };
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop).map_err(at(path))
}

fn pool(connections: u32, options: SqliteConnectOptions) -> SqlitePool {
    // Connections to a file do not grow stale; what they have prepared is worth keeping.
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_FOR)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        // When the disk is full or fails, SQLite takes a transaction back by itself, and sqlx goes on counting
        // it as open: that connection would refuse every later write.
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        .connect_lazy_with(options)
}

async fn prepare(path: &Path, options: &SqliteConnectOptions) -> Result<()> {
    let mut connection = journal(path, options).await?;
    // SQLite's migrator takes no lock of its own; in this transaction only one process migrates at a time.
    let mut migration = connection.begin_with("BEGIN IMMEDIATE").await?;
    MIGRATIONS
        .run_direct(None, &mut *migration, false)
        .await
        .map_err(|e| not_migrated(&path.display().to_string(), &MIGRATIONS, e))?;
    crash::point("catalog.migrate.before");
    migration.commit().await?;
    crash::point("catalog.migrate.after");
    Ok(connection.close().await?)
}

/// A connection, after the journal has become a write-ahead log; that lasts in the file.
async fn journal(path: &Path, options: &SqliteConnectOptions) -> Result<SqliteConnection> {
    let options = options.clone().journal_mode(SqliteJournalMode::Wal);
    let mut tries = 0;
    loop {
        match options.connect().await {
            Err(error) if is_busy(&error) && tries < JOURNAL_TRIES => {
                tries += 1;
                tokio::time::sleep(JOURNAL_PAUSE).await;
            }
            opened => return opened.map_err(|e| unusable(format!("{}: {e}", path.display()))),
        }
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code()).and_then(|c| c.parse::<u32>().ok());
    // The low byte is the primary code: SQLITE_BUSY is 5, SQLITE_LOCKED is 6.
    code.is_some_and(|c| matches!(c & 0xff, 5 | 6))
}
