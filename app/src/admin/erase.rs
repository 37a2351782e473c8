//! Removes records for ever. The indexers do it; this asks them, waits, and prints the receipt.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use heliograph_model::filter::Filter;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{Clock, TimeRange, Timestamp, duration_nanos};
use heliograph_store::Store;
use heliograph_store::audit::Action;
use heliograph_store::catalog::{ErasureKind, LISTED_WITHIN, NewErasure, NewTenantErasure};
use heliograph_store::erasure::{self, Receipt};
use uuid::Uuid;

use super::open;
use super::record::Change;
use crate::cli::{Erase, EraseCommand};
use crate::clock::SystemClock;
use crate::console;
use crate::exit::{Failure, Outcome};

/// How often it is looked how far the indexers are.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// From when the objects are deleted until query nodes have dropped what they kept of them.
const DROPPED_WITHIN: Duration = LISTED_WITHIN.saturating_mul(2);

pub(super) async fn run(words: Erase) -> Outcome {
    match &words.command {
        Some(EraseCommand::List { place }) => list(&open(place).await?).await,
        Some(EraseCommand::Show { id, json, place }) => {
            print(&erasure::receipt(&open(place).await?, *id).await?, None, *json)
        }
        Some(EraseCommand::Check { tenant, query: Some(query), place }) => {
            check(&open(place).await?, tenant, query).await
        }
        Some(EraseCommand::Check { tenant, query: None, place }) => {
            check_erased(&open(place).await?, tenant).await
        }
        None => match (&words.tenant, &words.query) {
            (Some(tenant), None) if words.everything => erase_tenant(tenant, &words).await,
            (Some(tenant), Some(query)) => erase(tenant, query, &words).await,
            // The command line asks for both.
            _ => Err(Failure::Usage(anyhow!("give --tenant and --query"))),
        },
    }
}

async fn list(store: &Store) -> Outcome {
    let all = store.catalog.erasures().await?;
    let rows = all.into_iter().map(|erasure| {
        let receipt = Receipt::new(erasure, Vec::new());
        [
            receipt.id.to_string(),
            receipt.tenant.to_string(),
            kind(receipt.kind).to_owned(),
            receipt.requested.to_string(),
            receipt.requested_by,
            receipt.state.to_owned(),
            receipt.trouble.unwrap_or_default(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    Ok(console::table(["id", "tenant", "of", "requested", "by", "state", "trouble"], &rows)?)
}

async fn erase(tenant: &TenantId, query: &str, words: &Erase) -> Outcome {
    let now = SystemClock.now();
    let filter = parse(query, now)?;
    let range = TimeRange {
        start: time("--since", words.since.as_deref(), Timestamp::MIN, now)?,
        end: time("--until", words.until.as_deref(), Timestamp::MAX, now)?,
    };
    if range.is_empty() {
        return Err(Failure::Usage(anyhow!("--since lies behind --until")));
    }
    let store = open(&words.place).await?;
    if words.dry_run {
        let found = sealed(&store, tenant, &filter, &range).await?;
        return Ok(console::line(&format!(
            "{found} records; those that are not sealed yet are not counted"
        ))?);
    }
    let new = NewErasure {
        id: Uuid::new_v4(),
        tenant: tenant.clone(),
        query: query.to_owned(),
        filter,
        range,
        by: operator(),
        at: now,
    };
    // Not the query: it may hold what is to be erased, and the receipt has its hash.
    let change = Change::new(&store, Action::ErasureRequest).about(tenant).await?;
    let change = change.with("erasure", new.id.to_string()).with("everything", false);
    change.make(async { Ok(store.catalog.request_erasure(&new).await?) }).await?;
    finish(&store, new.id, Some(query), words).await
}

async fn erase_tenant(tenant: &TenantId, words: &Erase) -> Outcome {
    let store = open(&words.place).await?;
    if words.dry_run {
        let usage = store.catalog.usage_of(tenant).await?;
        let Some(usage) = usage else { return Err(Failure::Failed(anyhow!("there is no tenant {tenant}"))) };
        return Ok(console::line(&format!(
            "{} records in {} segments, {} bytes; what is not sealed yet is not counted",
            usage.records, usage.segments, usage.stored_bytes
        ))?);
    }
    if words.confirm.as_deref() != Some(tenant.as_str()) {
        return Err(Failure::Usage(anyhow!(
            "--everything destroys the key of {tenant}, and nothing brings its records back: add --confirm {tenant}"
        )));
    }
    let new = NewTenantErasure {
        id: Uuid::new_v4(),
        tenant: tenant.clone(),
        by: operator(),
        at: SystemClock.now(),
    };
    let change = Change::new(&store, Action::ErasureRequest).about(tenant).await?;
    let change = change.with("erasure", new.id.to_string()).with("everything", true);
    change.make(async { Ok(store.catalog.erase_tenant(&new).await?) }).await?;
    console::say(&format!("the key of {tenant} is destroyed: what is left of it cannot be read any more"));
    finish(&store, new.id, None, words).await
}

fn operator() -> String {
    format!("uid {} at the command line", rustix::process::getuid().as_raw())
}

/// Waits for the indexers, and prints the receipt.
async fn finish(store: &Store, id: Uuid, query: Option<&str>, words: &Erase) -> Outcome {
    console::say(&format!(
        "erasure {id}: the indexers do it; to stop waiting leaves it to them, and `admin erase show` prints the receipt"
    ));
    let receipt = wait(store, id).await?;
    tokio::time::sleep(DROPPED_WITHIN).await;
    print(&receipt, query, words.json)
}

const fn kind(of: ErasureKind) -> &'static str {
    match of {
        ErasureKind::Records => "records",
        ErasureKind::Tenant => "tenant",
    }
}

/// Waits until all is done, and says what is waited for.
async fn wait(store: &Store, id: Uuid) -> Outcome<Receipt> {
    let mut said = String::new();
    loop {
        let receipt = erasure::receipt(store, id).await?;
        if receipt.done.is_some() {
            return Ok(receipt);
        }
        let left = receipt.write_ahead_objects_left;
        let now = match (&receipt.trouble, left) {
            (Some(trouble), _) => format!("trouble: {trouble}"),
            (None, 0) => format!("segments: {}", receipt.state),
            (None, left) => format!("{left} write-ahead objects are to be sealed or dropped first"),
        };
        if now != said {
            console::say(&now);
            said = now;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn sealed(store: &Store, tenant: &TenantId, filter: &Filter, range: &TimeRange) -> Outcome<u64> {
    // An unknown tenant is an error here, not one without records.
    store.tenants.get(tenant).await?;
    let mut found = 0;
    for segment in store.catalog.segments(tenant, range).await? {
        found += erasure::count(store, &segment, filter, range).await?;
    }
    Ok(found)
}

async fn check(store: &Store, tenant: &TenantId, query: &str) -> Outcome {
    let filter = parse(query, SystemClock.now())?;
    let found = erasure::check(store, tenant, &filter).await?;
    let looked = format!(
        "{} of {} records, in {} segments and {} write-ahead objects; {} objects are about to be deleted",
        found.found, found.records, found.segments, found.write_ahead_objects, found.other_objects
    );
    if found.found == 0 { Ok(console::line(&looked)?) } else { Err(Failure::Failed(anyhow!(looked))) }
}

async fn check_erased(store: &Store, tenant: &TenantId) -> Outcome {
    if store.catalog.tenant(tenant).await?.is_some() {
        let reason =
            format!("{tenant} is there: give --query, and see `admin erase list` for what was erased");
        return Err(Failure::Failed(anyhow!(reason)));
    }
    let left = erasure::check_erased(store, tenant).await?;
    let looked = format!(
        "{} objects, {} batches written ahead and {} rows are left of {} erased tenants of this name; {} erasures are under way",
        left.objects, left.batches, left.rows, left.erasures, left.pending
    );
    let is_gone = (left.objects, left.batches, left.rows, left.pending) == (0, 0, 0, 0);
    if is_gone { Ok(console::line(&looked)?) } else { Err(Failure::Failed(anyhow!(looked))) }
}

fn parse(query: &str, now: Timestamp) -> Outcome<Filter> {
    match heliograph_query::parse_query(query, now) {
        Ok(Filter::All) => {
            Err(Failure::Usage(anyhow!("--query {query:?} means every record: name what is to be erased")))
        }
        Ok(filter) => Ok(filter),
        Err(heliograph_query::Error::Invalid { message, hint, position }) => {
            let at = position.map_or_else(String::new, |at| format!(" at character {}", at + 1));
            let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
            Err(Failure::Usage(anyhow!("--query: {message}{at}{hint}")))
        }
        Err(error) => Err(Failure::Failed(error.into())),
    }
}

/// A moment as `search` takes it; a mere length of time means so long ago.
pub(super) fn time(option: &str, text: Option<&str>, open: Timestamp, now: Timestamp) -> Outcome<Timestamp> {
    let Some(text) = text else { return Ok(open) };
    let ago = duration_nanos(text).map(|_| format!("now-{text}"));
    Timestamp::parse_relative(ago.as_deref().unwrap_or(text), now)
        .map_err(|error| Failure::Usage(anyhow!("{option}: {error}")))
}

fn print(receipt: &Receipt, query: Option<&str>, as_json: bool) -> Outcome {
    let mut receipt = receipt.clone();
    receipt.query = receipt.query.or_else(|| query.map(str::to_owned));
    if as_json {
        let text = serde_json::to_string_pretty(&receipt).context("the receipt cannot be written")?;
        return Ok(console::line(&text)?);
    }
    let or = |time: Option<Timestamp>, open: &str| time.map_or_else(|| open.to_owned(), |at| at.to_string());
    let mut rows = vec![
        ["erasure".to_owned(), receipt.id.to_string()],
        ["state".to_owned(), receipt.state.to_owned()],
        ["of".to_owned(), kind(receipt.kind).to_owned()],
        ["tenant".to_owned(), receipt.tenant.to_string()],
    ];
    if let Some(hash) = &receipt.query_sha256 {
        let times = format!("{} to {}", or(receipt.start, "first"), or(receipt.end, "last"));
        rows.push(["query".to_owned(), receipt.query.clone().unwrap_or_else(|| "not kept".to_owned())]);
        rows.push(["sha256 of query".to_owned(), hash.clone()]);
        rows.push(["event times".to_owned(), times]);
    }
    rows.push(["requested".to_owned(), format!("{} by {}", receipt.requested, receipt.requested_by)]);
    rows.extend(receipt.key_destroyed.map(|at| ["key destroyed".to_owned(), at.to_string()]));
    rows.extend([
        ["done".to_owned(), or(receipt.done, "not yet")],
        ["records removed".to_owned(), receipt.records_removed.to_string()],
        ["write-ahead objects released".to_owned(), receipt.write_ahead_objects_released.to_string()],
        ["objects taken away".to_owned(), receipt.objects.len().to_string()],
    ]);
    for object in &receipt.objects {
        let left = object.successor.map_or_else(|| "nothing".to_owned(), |id| id.simple().to_string());
        let said = match object.removed {
            0 => format!("{}, {} bytes", object.what.as_str(), object.bytes),
            removed => format!("{removed} records removed of {} bytes, {left} left", object.bytes),
        };
        rows.push([object.object.simple().to_string(), said]);
    }
    rows.extend(receipt.not_reached.iter().map(|what| ["not reached".to_owned(), (*what).to_owned()]));
    Ok(console::table(["receipt", ""], &rows)?)
}
