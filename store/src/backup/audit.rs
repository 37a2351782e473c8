//! The audit log in the backup of a catalog: its head, and its rows in files of so many.

use data_encoding::BASE64;
use heliograph_model::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::folder::{Reader, Writer};
use crate::audit::{Head, Row};
use crate::catalog::Catalog;
use crate::error::{Error, Result};

const HEAD: &str = "audit-head.json";
/// Rows of one file: some MiB, which are in memory at once.
const ROWS_AT_ONCE: u32 = 10_000;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadJson {
    anchor: u64,
    anchor_hash: String,
    seq: u64,
    hash: String,
    broken: u64,
    mac: String,
}

/// A row as a list: number, nanoseconds, who, what, tenant and its uid, from where, outcome, details, hash.
type RowJson = (u64, i64, String, String, Option<String>, Option<String>, String, String, String, String);

fn file(number: usize) -> String {
    format!("audit-{number:06}.ndjson")
}

/// Copies the rows from the anchor to the head. Those that come in meanwhile are not in it.
pub(super) async fn back_up(catalog: &dyn Catalog, writer: &mut Writer) -> Result<()> {
    let head = catalog.audit_head().await?;
    let (mut after, mut number) = (head.anchor, 0);
    while after < head.seq {
        let mut rows = catalog.audit_rows(after, ROWS_AT_ONCE).await?;
        rows.retain(|row| row.seq <= head.seq);
        let Some(last) = rows.last() else { break };
        after = last.seq;
        number += 1;
        let mut lines = String::new();
        for row in &rows {
            lines.push_str(&json(&row_json(row))?);
            lines.push('\n');
        }
        writer.put(&file(number), lines.as_bytes())?;
    }
    writer.put(HEAD, json(&head_json(&head))?.as_bytes())
}

/// Puts the rows into an audit log that has none. A backup from before there was one has none, either.
pub(super) async fn restore(catalog: &dyn Catalog, reader: &Reader) -> Result<()> {
    let Some(head) = reader.find(HEAD)? else { return Ok(()) };
    let head = head_of(serde_json::from_slice(&head).map_err(|e| damaged(HEAD, &e.to_string()))?)?;
    let mut number = 1;
    while let Some(bytes) = reader.find(&file(number))? {
        let name = file(number);
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let row = |line: &[u8]| {
            row_of(serde_json::from_slice(line).map_err(|e| damaged(&name, &e.to_string()))?, &name)
        };
        catalog.load_audit(&lines.map(row).collect::<Result<Vec<_>>>()?, None).await?;
        number += 1;
    }
    catalog.load_audit(&[], Some(&head)).await
}

fn damaged(file: &str, reason: &str) -> Error {
    Error::Corrupt { object: format!("{file} of the backup"), reason: reason.to_owned() }
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| damaged("the audit log", &e.to_string()))
}

fn bytes(text: &str, file: &str) -> Result<Vec<u8>> {
    BASE64.decode(text.as_bytes()).map_err(|e| damaged(file, &e.to_string()))
}

fn head_json(head: &Head) -> HeadJson {
    HeadJson {
        anchor: head.anchor,
        anchor_hash: BASE64.encode(&head.anchor_hash),
        seq: head.seq,
        hash: BASE64.encode(&head.hash),
        broken: head.broken,
        mac: BASE64.encode(&head.mac),
    }
}

fn head_of(json: HeadJson) -> Result<Head> {
    Ok(Head {
        anchor: json.anchor,
        anchor_hash: bytes(&json.anchor_hash, HEAD)?,
        seq: json.seq,
        hash: bytes(&json.hash, HEAD)?,
        broken: json.broken,
        mac: bytes(&json.mac, HEAD)?,
    })
}

fn row_json(row: &Row) -> RowJson {
    (
        row.seq,
        row.at.as_nanos(),
        row.actor.clone(),
        row.action.clone(),
        row.tenant.clone(),
        row.tenant_uid.as_ref().map(|uid| BASE64.encode(uid)),
        row.source.clone(),
        row.outcome.clone(),
        row.details.clone(),
        BASE64.encode(&row.hash),
    )
}

fn row_of(json: RowJson, file: &str) -> Result<Row> {
    let (seq, at, actor, action, tenant, uid, source, outcome, details, hash) = json;
    Ok(Row {
        seq,
        at: Timestamp::from_nanos(at),
        actor,
        action,
        tenant,
        tenant_uid: uid.map(|uid| bytes(&uid, file)).transpose()?,
        source,
        outcome,
        details,
        hash: bytes(&hash, file)?,
    })
}
