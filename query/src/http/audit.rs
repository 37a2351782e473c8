//! The audit log, read: by operators that of their own tenants, by platform administrators all of it.

use std::cmp::Reverse;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use heliograph_model::time::Timestamp;
use heliograph_store::audit::{Action, Log, Of, Page, Told};
use http::{Uri, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Shared;
use super::lines::NDJSON;
use super::params::{Params, RangeText};
use crate::access::{Caller, RECHECK};
use crate::cursor::Binding;
use crate::error::{Error, Result};
use crate::shares::Place;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// What a cursor holds: the moment of the first page, and the last row of the page before.
#[derive(Serialize, Deserialize)]
struct Left {
    now: i64,
    at: i64,
    seq: u64,
}

/// What is asked about the log, beside the page.
struct Asked {
    tenant: Option<String>,
    range: RangeText,
    action: Option<String>,
    actor: Option<String>,
}

impl Asked {
    /// Takes `tenant`, `start`, `end`, `action` and `actor`.
    fn of(params: &mut Params) -> Result<Self> {
        Ok(Self {
            tenant: params.one("tenant")?,
            range: RangeText::of(params)?,
            action: params.one("action")?,
            actor: params.one("actor")?,
        })
    }

    fn binding(&self, caller: &Caller) -> Binding {
        [&self.tenant, &self.range.start, &self.range.end, &self.action, &self.actor]
            .into_iter()
            .fold(Binding::new("audit", caller.principal()), |binding, text| {
                binding.with(text.as_deref().unwrap_or_default())
            })
    }

    /// The page behind a place, with relative times as seen from `now`.
    fn page(&self, now: Timestamp, after: Option<(Timestamp, u64)>, limit: usize) -> Result<Page> {
        if self.actor.as_ref().is_some_and(|actor| actor.chars().any(char::is_control)) {
            return Err(Error::invalid_hint("no actor has such a name", "an actor looks like user:ann"));
        }
        Ok(Page {
            of: Of::Everything,
            range: self.range.resolve(now)?,
            action: self.action.as_deref().map(named).transpose()?,
            actor: self.actor.clone(),
            after,
            limit: u32::try_from(limit + 1).unwrap_or(u32::MAX),
        })
    }
}

/// `GET /admin/audit`: newest first.
pub(super) async fn list(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Json<Value>> {
    let mut params = Params::of(&uri)?;
    let asked = Asked::of(&mut params)?;
    let limit = params.count("limit", LIMIT_DEFAULT, 1, LIMIT_MAX)?;
    let cursor = params.one("cursor")?.filter(|cursor| !cursor.is_empty());
    params.finish()?;
    let of = whose(&caller, asked.tenant.as_deref())?;
    let binding = asked.binding(&caller);
    let left: Option<Left> =
        cursor.map(|text| api.cursors.open(&binding, &text, api.clock.now())).transpose()?;
    let now = left.as_ref().map_or_else(|| api.clock.now(), |left| Timestamp::from_nanos(left.now));
    let after = left.map(|left| (Timestamp::from_nanos(left.at), left.seq));
    let (rows, next) = read(&api, &of, &asked.page(now, after, limit)?, limit).await?;
    let next = next.map(|(at, seq)| {
        let left = Left { now: now.as_nanos(), at: at.as_nanos(), seq };
        api.cursors.seal(&binding, &left, api.clock.now())
    });
    let is_admin = caller.is_admin();
    let events: Vec<Value> = rows.iter().map(|row| shown(row, is_admin)).collect();
    Ok(Json(json!({ "events": events, "next_cursor": next.transpose()? })))
}

/// All rows of a question, as a stream.
struct Export {
    api: Shared,
    caller: Caller,
    of: Vec<Of>,
    tenant: Option<String>,
    page: Page,
    checked: Instant,
    is_done: bool,
    _turn: Place,
}

impl Export {
    /// The next rows as lines of JSON.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.is_done {
            return Ok(None);
        }
        if self.api.stop.is_cancelled() {
            return Err(Error::Busy { what: "exports while stopping" });
        }
        let (rows, next) = read(&self.api, &self.of, &self.page, LIMIT_MAX).await?;
        if self.checked.elapsed() >= RECHECK {
            let now = self.api.access.again(&self.caller).await?;
            if whose(&now, self.tenant.as_deref())? != self.of {
                return Err(Error::Forbidden);
            }
            self.checked = Instant::now();
        }
        self.page.after = next;
        self.is_done = next.is_none();
        let is_admin = self.caller.is_admin();
        Ok(Some(rows.iter().map(|row| format!("{}\n", shown(row, is_admin))).collect::<String>().into()))
    }
}

/// `GET /admin/audit/export`: all rows, newest first, a line of JSON each.
pub(super) async fn export(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response> {
    let mut params = Params::of(&uri)?;
    let asked = Asked::of(&mut params)?;
    params.finish()?;
    let of = whose(&caller, asked.tenant.as_deref())?;
    let now = api.clock.now();
    let page = asked.page(now, None, LIMIT_MAX)?;
    let turn = api.exports.begin(caller.principal().name(), Vec::new(), now)?;
    let tenant = asked.tenant;
    let checked = Instant::now();
    let mut export = Export { api, caller, of, tenant, page, checked, is_done: false, _turn: turn };
    // The first page before the status: an error is still an answer then.
    let first = export.next().await?;
    let lines = stream::try_unfold((export, first), |(mut export, waiting)| async move {
        let Some(bytes) = waiting else { return Ok::<_, Error>(None) };
        let next = export.next().await.inspect_err(|error| {
            tracing::warn!(error = error as &dyn std::error::Error, "an export of the audit log broke off");
        })?;
        Ok(Some((bytes, (export, next))))
    });
    let headers = [
        (header::CONTENT_TYPE, NDJSON),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"audit.ndjson\""),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
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
    of: &[Of],
    page: &Page,
    limit: usize,
) -> Result<(Vec<Told>, Option<(Timestamp, u64)>)> {
    let log = Log::of(&api.store);
    let mut rows: Vec<Told> = Vec::new();
    for of in of {
        rows.extend(log.page(&Page { of: *of, ..page.clone() }).await?);
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
