//! All rows out, and into an empty catalog.

use sqlx::{AssertSqlSafe, Row};

use super::Sqlite;
use crate::catalog::dump::{Cell, Dump, Kind, LEASE_END, Rows, TABLES, Table};
use crate::error::{Error, Result};

pub(super) async fn dump(catalog: &Sqlite) -> Result<Dump> {
    // One transaction sees one moment, from its first statement on.
    let mut read = catalog.readers.begin().await?;
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
                        Kind::Integer | Kind::Boolean => {
                            row.try_get::<Option<i64>, _>(at)?.map(Cell::Integer)
                        }
                        Kind::Text => row.try_get::<Option<String>, _>(at)?.map(Cell::Text),
                        Kind::Bytes | Kind::Uuid => row.try_get::<Option<Vec<u8>>, _>(at)?.map(Cell::Bytes),
                    }
                    .unwrap_or(Cell::Null))
                })
                .collect()
        });
        let rows = rows.collect::<Result<_>>()?;
        let drawn: Option<i64> = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = ?1")
            .bind(table.name)
            .fetch_optional(&mut *read)
            .await?;
        tables.push(Rows { table: table.name, rows, drawn: drawn.unwrap_or(0) });
    }
    Ok(Dump { tables })
}

pub(super) async fn load(catalog: &Sqlite, dump: &Dump) -> Result<()> {
    let mut write = catalog.write().await?;
    for table in TABLES {
        let sql = AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM {})", table.name));
        if sqlx::query_scalar::<_, bool>(sql).fetch_one(&mut *write).await? {
            return Err(Error::Exists {
                what: "catalog that is not empty: rows of",
                name: table.name.to_owned(),
            });
        }
    }
    for (table, rows) in TABLES.iter().zip(&dump.tables) {
        let ended = if table.name == LEASE_END.0 {
            (format!(", {}", LEASE_END.1), ", 0")
        } else {
            Default::default()
        };
        let places: Vec<_> = (1..=table.columns.len()).map(|n| format!("?{n}")).collect();
        let sql = format!(
            "INSERT INTO {} ({}{}) VALUES ({}{})",
            table.name,
            columns(table),
            ended.0,
            places.join(", "),
            ended.1
        );
        for row in &rows.rows {
            let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
            for cell in row {
                query = match cell {
                    Cell::Null => query.bind(None::<i64>),
                    Cell::Integer(n) => query.bind(*n),
                    Cell::Text(text) => query.bind(text.clone()),
                    Cell::Bytes(bytes) => query.bind(bytes.clone()),
                };
            }
            query.execute(&mut *write).await?;
        }
        if table.draws_ids {
            for sql in [
                "DELETE FROM sqlite_sequence WHERE name = ?1 AND seq < ?2",
                "INSERT INTO sqlite_sequence (name, seq) SELECT ?1, ?2
                 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?1)",
            ] {
                sqlx::query(sql).bind(table.name).bind(rows.drawn).execute(&mut *write).await?;
            }
        }
    }
    Ok(write.commit().await?)
}

fn columns(table: &Table) -> String {
    table.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table or column that is added must be kept, too, or named here. The audit log has files of its own in a backup.
    #[tokio::test]
    async fn every_table_and_column_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Sqlite::open(folder.path().join("c.db").to_str().unwrap()).await.unwrap();
        let found: Vec<(String, String)> = sqlx::query_as(
            "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
             WHERE m.type = 'table' AND m.name NOT IN ('sessions', 'spent', 'audit', 'audit_head', '_sqlx_migrations',
                 'sqlite_sequence')",
        )
        .fetch_all(&catalog.readers)
        .await
        .unwrap();
        let mut found: Vec<_> = found.iter().map(|(t, c)| (t.as_str(), c.as_str())).collect();
        let mut kept: Vec<_> =
            TABLES.iter().flat_map(|t| t.columns.iter().map(|(column, _)| (t.name, *column))).collect();
        kept.push(LEASE_END);
        found.sort_unstable();
        kept.sort_unstable();
        assert_eq!(found, kept);
    }
}
