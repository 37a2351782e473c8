//! The rows of a catalog apart from its engine: what a backup keeps of it.
//!
//! Sessions and spent values are left out: people sign in again. The audit log is left out, too: it may be larger than all else together,
//! and is read and written page by page. Leases come back as run out, so that whoever starts on the restored
//! catalog may take over at once.

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Text,
    Bytes,
    Uuid,
    Boolean,
}

use Kind::{Boolean, Bytes, Integer, Text, Uuid};

/// A table that is kept.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, Kind)],
    /// Whether its `id` is drawn by the engine, each once.
    pub(super) draws_ids: bool,
}

/// All tables that are kept, those first that others refer to. A test holds this against the schema.
pub(super) const TABLES: &[Table] = &[
    Table { name: "settings", columns: &[("name", Text), ("value", Uuid)], draws_ids: false },
    Table {
        name: "tenants",
        columns: &[
            ("id", Integer),
            ("name", Text),
            ("workspace", Text),
            ("uid", Uuid),
            ("wrapped_key", Bytes),
            ("created", Integer),
        ],
        draws_ids: true,
    },
    Table {
        name: "users",
        columns: &[
            ("id", Integer),
            ("name", Text),
            ("password_hash", Text),
            ("admin", Boolean),
            ("created", Integer),
            ("disabled", Boolean),
        ],
        draws_ids: true,
    },
    Table {
        name: "identities",
        columns: &[
            ("id", Integer),
            ("issuer", Text),
            ("subject", Text),
            ("user", Integer),
            ("email", Text),
            ("invited", Boolean),
            ("admin", Boolean),
            ("created", Integer),
        ],
        draws_ids: true,
    },
    Table {
        name: "mapped_grants",
        columns: &[("identity", Integer), ("tenant", Integer), ("workspace", Text), ("role", Text)],
        draws_ids: false,
    },
    Table {
        name: "invitations",
        columns: &[
            ("id", Text),
            ("secret_hash", Bytes),
            ("email", Text),
            ("user_name", Text),
            ("invited_by", Text),
            ("created", Integer),
            ("expires", Integer),
        ],
        draws_ids: false,
    },
    Table {
        name: "invitation_grants",
        columns: &[("invitation", Text), ("tenant", Integer), ("workspace", Text), ("role", Text)],
        draws_ids: false,
    },
    Table {
        name: "grants",
        columns: &[("user", Integer), ("tenant", Integer), ("workspace", Text), ("role", Text)],
        draws_ids: false,
    },
    Table {
        name: "tokens",
        columns: &[
            ("id", Text),
            ("secret_hash", Bytes),
            ("tenant", Integer),
            ("roles", Text),
            ("created", Integer),
            ("expires", Integer),
            ("revoked", Integer),
        ],
        draws_ids: false,
    },
    Table {
        name: "tenant_limits",
        columns: &[
            ("tenant", Integer),
            ("ingest_per_second", Integer),
            ("ingest_burst", Integer),
            ("hot", Integer),
            ("stored", Integer),
        ],
        draws_ids: false,
    },
    Table {
        name: "indexers",
        columns: &[("id", Uuid), ("epoch", Integer), ("address", Text)],
        draws_ids: false,
    },
    Table {
        name: "commits",
        columns: &[("id", Integer), ("indexer", Uuid), ("object", Uuid), ("bytes", Integer), ("at", Integer)],
        draws_ids: true,
    },
    Table {
        name: "producers",
        columns: &[("tenant", Integer), ("producer", Text), ("epoch", Integer), ("sequence", Integer)],
        draws_ids: false,
    },
    Table {
        name: "seal_marks",
        columns: &[("indexer", Uuid), ("tenant", Integer), ("through", Integer)],
        draws_ids: false,
    },
    Table {
        name: "segments",
        columns: &[
            ("id", Uuid),
            ("tenant", Integer),
            ("bytes", Integer),
            ("index_offset", Integer),
            ("records", Integer),
            ("raw_bytes", Integer),
            ("first", Integer),
            ("last", Integer),
            ("indexer", Uuid),
            ("commits_after", Integer),
            ("commits_through", Integer),
            ("created", Integer),
            ("merges", Integer),
        ],
        draws_ids: false,
    },
    Table {
        name: "retired_segments",
        columns: &[("id", Uuid), ("tenant", Integer), ("bytes", Integer), ("reason", Text), ("at", Integer)],
        draws_ids: false,
    },
    Table { name: "discarded_segments", columns: &[("id", Uuid), ("at", Integer)], draws_ids: false },
    Table {
        name: "retention",
        columns: &[("tenant", Integer), ("age", Integer), ("bytes", Integer)],
        draws_ids: false,
    },
    Table { name: "retention_clock", columns: &[("one", Boolean), ("time", Integer)], draws_ids: false },
    Table {
        name: "erasures",
        columns: &[
            ("id", Uuid),
            ("tenant", Text),
            ("uid", Uuid),
            ("query", Text),
            ("filter", Text),
            ("query_hash", Bytes),
            ("range_start", Integer),
            ("range_end", Integer),
            ("through", Integer),
            ("written_ahead", Integer),
            ("requested_by", Text),
            ("requested", Integer),
            ("trouble", Text),
            ("done", Integer),
            ("kind", Text),
        ],
        draws_ids: false,
    },
    Table {
        name: "erased_objects",
        columns: &[
            ("erasure", Uuid),
            ("object", Uuid),
            ("what", Text),
            ("bytes", Integer),
            ("removed", Integer),
            ("successor", Uuid),
        ],
        draws_ids: false,
    },
];

/// The column whose value is not kept: on loading every lease has run out.
pub(super) const LEASE_END: (&str, &str) = ("indexers", "lease_until");

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// None.
    Null,
    /// A number, a time, or false and true as 0 and 1.
    Integer(i64),
    /// A text.
    Text(String),
    /// Bytes; a uuid's are 16.
    Bytes(Vec<u8>),
}

/// The rows of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) table: &'static str,
    pub(super) rows: Vec<Vec<Cell>>,
    /// The highest id that was ever drawn, where ids are.
    pub(super) drawn: i64,
}

/// A whole catalog at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    pub(super) tables: Vec<Rows>,
}

impl Dump {
    /// The catalog as lines of JSON: for each table one that names it with its columns, then one for each row.
    pub fn to_lines(&self) -> String {
        let mut out = String::new();
        for (table, rows) in TABLES.iter().zip(&self.tables) {
            let columns: Vec<_> = table.columns.iter().map(|(name, _)| *name).collect();
            let head = json!({ "table": table.name, "columns": columns, "rows": rows.rows.len(), "drawn": rows.drawn });
            out.push_str(&format!("{head}\n"));
            for row in &rows.rows {
                out.push_str(&format!("{}\n", Value::Array(row.iter().map(Cell::to_json).collect())));
            }
        }
        out
    }

    /// The other way round.
    pub fn from_lines(text: &str) -> Result<Self> {
        let bad = |number: usize, reason: &str| Error::Corrupt {
            object: "the catalog in the backup".to_owned(),
            reason: format!("line {}: {reason}", number + 1),
        };
        let mut lines = text.lines().enumerate();
        let mut tables = Vec::new();
        for table in TABLES {
            let (number, line) = lines.next().ok_or_else(|| bad(0, "it is cut off"))?;
            let head: Value = serde_json::from_str(line).map_err(|e| bad(number, &e.to_string()))?;
            let columns: Vec<_> = table.columns.iter().map(|(name, _)| *name).collect();
            if head["table"] != table.name || head["columns"] != json!(columns) {
                return Err(bad(number, &format!("not the table {} with its columns", table.name)));
            }
            let count = head["rows"].as_u64().ok_or_else(|| bad(number, "no number of rows"))?;
            let mut rows = Vec::new();
            for _ in 0..count {
                let (number, line) = lines.next().ok_or_else(|| bad(number, "its rows are cut off"))?;
                let row: Vec<Value> = serde_json::from_str(line).map_err(|e| bad(number, &e.to_string()))?;
                if row.len() != table.columns.len() {
                    return Err(bad(number, "another number of columns"));
                }
                let cells =
                    row.iter().zip(table.columns).map(|(value, (_, kind))| Cell::of_json(value, *kind));
                rows.push(
                    cells.collect::<Option<_>>().ok_or_else(|| bad(number, "a value of another kind"))?,
                );
            }
            tables.push(Rows { table: table.name, rows, drawn: head["drawn"].as_i64().unwrap_or(0) });
        }
        if let Some((number, _)) = lines.next() {
            return Err(bad(number, "more than the catalog has"));
        }
        Ok(Self { tables })
    }

    /// Rows that have a uuid in a column, but for those of some tables.
    pub(crate) fn rows_with(&self, uuid: uuid::Uuid, but_for: &[&str]) -> u64 {
        let is_it = |cell: &Cell| matches!(cell, Cell::Bytes(bytes) if bytes == uuid.as_bytes());
        let tables = self.tables.iter().filter(|of| !but_for.contains(&of.table));
        let rows = tables.flat_map(|of| &of.rows).filter(|row| row.iter().any(is_it));
        rows.count() as u64
    }

    /// The values of some columns, row by row.
    pub(crate) fn columns<const N: usize>(&self, table: &str, columns: [&str; N]) -> Vec<[Cell; N]> {
        let Some(of) = TABLES.iter().find(|t| t.name == table) else { return Vec::new() };
        let Some(rows) = self.tables.iter().find(|rows| rows.table == table) else { return Vec::new() };
        let places = columns.map(|column| of.columns.iter().position(|(name, _)| *name == column));
        let cells = |row: &'_ Vec<Cell>| places.map(|place| place.and_then(|at| row.get(at)).cloned());
        rows.rows.iter().map(|row| cells(row).map(|cell| cell.unwrap_or(Cell::Null))).collect()
    }
}

impl Cell {
    fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Integer(n) => json!(n),
            Self::Text(text) => json!(text),
            Self::Bytes(bytes) => json!(BASE64.encode(bytes)),
        }
    }

    fn of_json(value: &Value, kind: Kind) -> Option<Self> {
        Some(match (value, kind) {
            (Value::Null, _) => Self::Null,
            (Value::Number(n), Integer | Boolean) => Self::Integer(n.as_i64()?),
            (Value::String(text), Text) => Self::Text(text.clone()),
            (Value::String(text), Bytes | Uuid) => {
                let bytes = BASE64.decode(text.as_bytes()).ok()?;
                (kind == Bytes || bytes.len() == 16).then_some(Self::Bytes(bytes))?
            }
            _ => return None,
        })
    }

    pub(crate) fn integer(&self) -> i64 {
        if let Self::Integer(n) = self { *n } else { 0 }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        if let Self::Bytes(bytes) = self { bytes } else { &[] }
    }

    pub(crate) fn uuid(&self) -> uuid::Uuid {
        uuid::Uuid::from_slice(self.bytes()).unwrap_or_default()
    }
}
