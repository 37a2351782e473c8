//! All rows out, and into an empty catalog.

use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::Postgres;
use crate::catalog::damaged;
use crate::catalog::dump::{Cell, Dump, Kind, LEASE_END, Rows, TABLES, Table};
use crate::error::{Error, Result};

/// Rows that are added by one statement: each a round trip of its own takes minutes for a large catalog.
const ROWS_AT_ONCE: usize = 500;

pub(super) async fn dump(catalog: &Postgres) -> Result<Dump> {
    let mut read = catalog.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let mut tables = Vec::new();
    for table in TABLES {
        let found = sqlx::query(AssertSqlSafe(format!("SELECT {} FROM {}", columns(table), table.name)))
            .fetch_all(&mut *read)
            .await?;
        let rows = found.iter().map(|row| {
            table
                .columns
                .iter()
                .enumerate()
                .map(|(at, (_, kind))| {
                    Ok(match kind {
                        Kind::Integer => row.try_get::<Option<i64>, _>(at)?.map(Cell::Integer),
                        Kind::Boolean => row.try_get::<Option<bool>, _>(at)?.map(|b| Cell::Integer(b.into())),
                        Kind::Text => row.try_get::<Option<String>, _>(at)?.map(Cell::Text),
                        Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(at)?.map(Cell::Bytes),
                        Kind::Uuid => {
                            row.try_get::<Option<Uuid>, _>(at)?.map(|id| Cell::Bytes(id.as_bytes().to_vec()))
                        }
                    }
                    .unwrap_or(Cell::Null))
                })
                .collect()
        });
        let rows = rows.collect::<Result<_>>()?;
        let drawn = if table.draws_ids {
            // A sequence that was never used says 1, and that this was not drawn.
            let sql =
                format!("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {}_id_seq", table.name);
            sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql)).fetch_one(&mut *read).await?
        } else {
            0
        };
        tables.push(Rows { table: table.name, rows, drawn });
    }
    Ok(Dump { tables })
}

pub(super) async fn load(catalog: &Postgres, dump: &Dump) -> Result<()> {
    let mut write = catalog.write().await?;
    for (table, rows) in TABLES.iter().zip(&dump.tables) {
        // Before the look, so that nobody comes between.
        let locked = AssertSqlSafe(format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", table.name));
        sqlx::query(locked).execute(&mut *write).await?;
        let sql = AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM {})", table.name));
        if sqlx::query_scalar::<_, bool>(sql).fetch_one(&mut *write).await? {
            return Err(Error::Exists {
                what: "catalog that is not empty: rows of",
                name: table.name.to_owned(),
            });
        }
        let ended = if table.name == LEASE_END.0 {
            (format!(", {}", LEASE_END.1), ", to_timestamp(0)")
        } else {
            Default::default()
        };
        for rows in rows.rows.chunks(ROWS_AT_ONCE) {
            let width = table.columns.len();
            let places = |row: usize| (1..=width).map(move |n| format!("${}", row * width + n));
            let values: Vec<_> = (0..rows.len())
                .map(|row| format!("({}{})", places(row).collect::<Vec<_>>().join(", "), ended.1))
                .collect();
            let sql = format!(
                "INSERT INTO {} ({}{}) OVERRIDING SYSTEM VALUE VALUES {}",
                table.name,
                columns(table),
                ended.0,
                values.join(", ")
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (cell, (column, kind)) in rows.iter().flat_map(|row| row.iter().zip(table.columns)) {
                query = match (cell, kind) {
                    (Cell::Integer(n), Kind::Integer) => query.bind(*n),
                    (Cell::Integer(n), Kind::Boolean) => query.bind(*n != 0),
                    (Cell::Text(text), Kind::Text) => query.bind(text.clone()),
                    (Cell::Bytes(bytes), Kind::Bytes) => query.bind(bytes.clone()),
                    (Cell::Bytes(_), Kind::Uuid) => query.bind(cell.uuid()),
                    (Cell::Null, Kind::Integer) => query.bind(None::<i64>),
                    (Cell::Null, Kind::Text) => query.bind(None::<String>),
                    _ => return Err(damaged(column, "a value of another kind".to_owned())),
                };
            }
            query.execute(&mut *write).await?;
        }
        if table.draws_ids && rows.drawn > 0 {
            let sql = AssertSqlSafe(format!("SELECT setval('{}_id_seq', $1)", table.name));
            sqlx::query(sql).bind(rows.drawn).execute(&mut *write).await?;
        }
    }
    // Or the first queries are planned as if there was next to nothing.
    sqlx::query("ANALYZE").execute(&mut *write).await?;
    Ok(write.commit().await?)
}

fn columns(table: &Table) -> String {
    // "user" is a word of SQL here.
    let name = |name: &'static str| if name == "user" { "user_id" } else { name };
    table.columns.iter().map(|(column, _)| name(column)).collect::<Vec<_>>().join(", ")
}
