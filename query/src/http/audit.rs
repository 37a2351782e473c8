//! The audit log, read: by operators that of their own tenants, by platform administrators all of it.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::{Extension, State};
use heliograph_model::time::Timestamp;
use heliograph_store::audit::{Action, Log, Of, Page, Told};
use http::Uri;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Shared;
use super::params::{Params, RangeText};
use crate::access::Caller;
use crate::cursor::Binding;
use crate::error::{Error, Result};

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// What a cursor holds: the moment of the first page, and the last row of the page before.
#[derive(Serialize, Deserialize)]
struct Left {
    now: i64,
    at: i64,
    seq: u64,
}

/// `GET /admin/audit`: newest first.
pub(super) async fn list(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<Value>> {
    let mut params = Params::of(&uri)?;
    let tenant = params.one("tenant")?;
    let range = RangeText::of(&mut params)?;
    let action = params.one("action")?;
    let limit = params.count("limit", LIMIT_DEFAULT, 1, LIMIT_MAX)?;
    let cursor = params.one("cursor")?.filter(|cursor| !cursor.is_empty());
    params.finish()?;
    let of = whose(&caller, tenant.as_deref())?;
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    let binding = [&tenant, &range.start, &range.end, &action]
        .into_iter()
        .fold(Binding::new("audit", caller.principal()), |binding, text| binding.with(&part(text)));
    let left: Option<Left> =
        cursor.map(|text| api.cursors.open(&binding, &text, api.clock.now())).transpose()?;
    let now = left.as_ref().map_or_else(|| api.clock.now(), |left| Timestamp::from_nanos(left.now));
    let page = Page {
        of: Of::Everything,
        range: range.resolve(now)?,
        action: action.as_deref().map(named).transpose()?,
        after: left.map(|left| (Timestamp::from_nanos(left.at), left.seq)),
        limit: u32::try_from(limit + 1).unwrap_or(u32::MAX),
    };
    let (rows, next) = read(&api, of, &page, limit).await?;
    let next = next.map(|(at, seq)| {
        let left = Left { now: now.as_nanos(), at: at.as_nanos(), seq };
        api.cursors.seal(&binding, &left, api.clock.now())
    });
    let is_admin = caller.is_admin();
    let events: Vec<Value> = rows.iter().map(|row| shown(row, is_admin)).collect();
    Ok(Json(json!({ "events": events, "next_cursor": next.transpose()? })))
}

/// Whose rows a caller may ask for: never none, and all only for an administrator.
fn whose(caller: &Caller, tenant: Option<&str>) -> Result<Vec<Of>> {
    let uid = |name| caller.tenants().get(name).map(|rights| Of::Tenant(rights.uid));
    let of: Vec<Of> = match tenant {
        Some(name) => uid(&caller.operated(name)?).into_iter().collect(),
        None if caller.is_admin() => vec![Of::Everything],
        None => caller.tenants().keys().filter(|name| caller.operates(name)).filter_map(uid).collect(),
    };
    match (of.is_empty(), caller.is_admin()) {
        (false, _) => Ok(of),
        (true, true) => Err(Error::NotFound { what: "tenant" }),
        (true, false) => Err(Error::Forbidden),
    }
}

/// A page over all that are asked for, and where the next begins.
async fn read(
    api: &Shared,
    of: Vec<Of>,
    page: &Page,
    limit: usize,
) -> Result<(Vec<Told>, Option<(Timestamp, u64)>)> {
    let log = Log::of(&api.store);
    let mut rows: Vec<Told> = Vec::new();
    for of in of {
        rows.extend(log.page(&Page { of, ..page.clone() }).await?);
        rows.sort_by_key(|told| Reverse((told.row.at, told.row.seq)));
        rows.truncate(limit + 1);
    }
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| has_more).map(|told| (told.row.at, told.row.seq));
    Ok((rows, last))
}

fn named(action: &str) -> Result<Action> {
    Action::parse(action).ok_or_else(|| {
        let known: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
        Error::invalid_hint(
            format!("there is no action {action:?}"),
            format!("known are {}", known.join(", ")),
        )
    })
}

/// Whoever wants to check hashes exports the log at the command line; an operator is not shown the numbers, either, which
/// tell how much others do.
fn shown(row: &Told, is_admin: bool) -> Value {
    let mut shown = serde_json::to_value(row).unwrap_or_default();
    if let Value::Object(row) = &mut shown {
        drop(row.shift_remove("stored"));
        if !is_admin {
            ["seq", "hash"].iter().for_each(|key| drop(row.shift_remove(*key)));
        }
    }
    shown
}
