//! The audit log at the command line: whether it is whole, and all of it as lines of JSON.

use anyhow::{Context as _, anyhow};
use data_encoding::HEXLOWER;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{Clock, Timestamp};
use heliograph_store::Store;
use heliograph_store::audit::{Action, Log, Seen};

use super::erase::time;
use super::open;
use super::record::Change;
use crate::cli::AuditCommand;
use crate::clock::SystemClock;
use crate::console;
use crate::exit::{Failure, Outcome};

/// Rows that are read, and written, at once.
const ROWS_AT_ONCE: u32 = 1_000;

pub(super) async fn run(command: AuditCommand) -> Outcome {
    match command {
        AuditCommand::Verify { seen, place } => verify(&open(&place).await?, seen.as_ref()).await,
        AuditCommand::Export { since, until, tenant, place } => {
            let now = SystemClock.now();
            let since = time("--since", since.as_deref(), Timestamp::MIN, now)?;
            let until = time("--until", until.as_deref(), Timestamp::MAX, now)?;
            if since >= until {
                return Err(Failure::Usage(anyhow!("--since lies behind --until")));
            }
            let store = open(&place).await?;
            let mut change = Change::new(&store, Action::AuditRead);
            if let Some(tenant) = &tenant {
                change = change.about(tenant).await?;
            }
            change.make(export(&store, (since, until), tenant.as_ref())).await
        }
    }
}

async fn verify(store: &Store, seen: Option<&Seen>) -> Outcome {
    let found = Log::of(store).verify(seen).await?;
    let last = &found.last;
    let head = format!(
        "{} rows from {} on; the last is {}:{}",
        found.rows,
        found.anchor + 1,
        last.seq,
        HEXLOWER.encode(&last.hash)
    );
    if found.is_whole() {
        return Ok(console::line(&format!("whole: {head}"))?);
    }
    for fault in &found.faults {
        console::line(fault)?;
    }
    if found.more_faults > 0 {
        console::line(&format!("and {} more", found.more_faults))?;
    }
    Err(Failure::Failed(anyhow!("the audit log was changed or is damaged: {head}")))
}

async fn export(store: &Store, (since, until): (Timestamp, Timestamp), tenant: Option<&TenantId>) -> Outcome {
    let log = Log::of(store);
    // What comes in meanwhile is not in it: it would never end beside a busy server.
    let head = log.head().await?;
    let mut after = head.anchor;
    while after < head.seq {
        let rows = log.rows(after, ROWS_AT_ONCE).await?;
        let Some(last) = rows.last() else { break };
        after = last.row.seq;
        let mut lines = Vec::new();
        for told in &rows {
            let row = &told.row;
            let is_asked = row.seq <= head.seq
                && (since..until).contains(&row.at)
                && tenant.is_none_or(|tenant| row.tenant.as_deref() == Some(tenant.as_str()));
            if is_asked {
                serde_json::to_writer(&mut lines, told).context("a row cannot be written")?;
                lines.push(b'\n');
            }
        }
        console::output(&lines)?;
    }
    Ok(())
}
