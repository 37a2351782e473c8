//! Searches and contexts: parameters in, JSON out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use heliograph_model::record::{ApiRecord, RecordId, RecordKey};
use heliograph_model::scan::{Order, Want};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp, duration_nanos};
use http::{HeaderMap, Uri, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Shared;
use super::lines::{self, NDJSON};
use super::params::{Params, RangeText};
use crate::access::{Caller, RECHECK, Scope};
use crate::cursor::Binding;
use crate::error::{Error, Result};
use crate::search::{Outcome, Page, Pager, Place, Plan, Question};
use crate::tail;

/// Records of one answer where the caller says nothing.
const LIMIT_DEFAULT: usize = 100;
/// Records of one answer, at most; export has no cap.
const LIMIT_MAX: usize = 10_000;
/// Memory of one answer's records: beyond, it ends early, with a cursor.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Lines on each side of a context.
const CONTEXT_MAX: usize = 1_000;
const CONTEXT_DEFAULT: usize = 50;

/// What every reading call takes: whose records, which, and from when.
pub(super) struct Asked {
    pub(super) scope: Scope,
    pub(super) named: Vec<String>,
    pub(super) text: String,
    pub(super) range: RangeText,
}

impl Asked {
    /// Takes `tenant`, `q`, `start` and `end`.
    pub(super) fn of(caller: &Caller, params: &mut Params) -> Result<Self> {
        let named = params.all("tenant");
        let text = params.one("q")?.unwrap_or_default();
        Ok(Self { scope: caller.scope(&named)?, named, text, range: RangeText::of(params)? })
    }

    /// The question, with relative times as seen from `now`.
    pub(super) fn question(&self, now: Timestamp) -> Result<Question> {
        tail::question(&self.text, self.range.resolve(now)?, now)
    }
}

/// Takes `order`.
pub(super) fn order(params: &mut Params, default: Order) -> Result<Order> {
    match params.one("order")?.as_deref() {
        None => Ok(default),
        Some("desc") => Ok(Order::Desc),
        Some("asc") => Ok(Order::Asc),
        Some(other) => {
            Err(Error::invalid_hint(format!("order={other:?} is not known"), "order is desc or asc"))
        }
    }
}

/// What a search's cursor holds.
#[derive(Serialize, Deserialize)]
struct Left {
    /// The moment of the first page, from which relative times count on all pages.
    now: i64,
    key: String,
    tenant: TenantId,
}

impl Left {
    fn at(now: Timestamp, place: &Place) -> Self {
        Self {
            now: now.as_nanos(),
            key: HEXLOWER.encode(&place.key.to_bytes()),
            tenant: place.tenant.clone(),
        }
    }

    fn place(&self) -> Result<Place> {
        let bytes = HEXLOWER.decode(self.key.as_bytes()).map_err(|_| Error::Cursor)?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| Error::Cursor)?;
        Ok(Place { key: RecordKey::from_bytes(&bytes), tenant: self.tenant.clone() })
    }
}

/// One search under way.
pub(super) struct Running {
    pub(super) api: Shared,
    pub(super) scope: Scope,
    pub(super) order: Order,
    pub(super) begun: Instant,
    pub(super) pager: Pager,
    pub(super) outcome: Outcome,
    binding: Binding,
    now: Timestamp,
    caller: Caller,
    checked: Instant,
}

impl Running {
    /// A stream that outlives us is cut, so that its reader sees that it is not whole.
    pub(super) fn ensure_up(&self) -> Result<()> {
        if self.api.stop.is_cancelled() {
            Err(Error::Busy { what: "searches while stopping" })
        } else {
            Ok(())
        }
    }

    /// A stream whose right has ended is cut likewise.
    pub(super) async fn ensure_allowed(&mut self) -> Result<()> {
        if self.checked.elapsed() >= RECHECK {
            if !self.api.access.still(&self.caller, &self.scope).await? {
                return Err(Error::Forbidden);
            }
            self.checked = Instant::now();
        }
        Ok(())
    }

    pub(super) fn is_complete(&self) -> bool {
        self.outcome.is_complete() && self.pager.searched_to().is_none()
    }

    /// The time up to which all is searched, by its name, where the search's own time was over before the end.
    pub(super) fn searched_to(&self) -> Option<(String, Value)> {
        self.pager.searched_to().map(|time| (lines::searched(self.order).to_owned(), json!(time)))
    }

    pub(super) fn next_cursor(&self) -> Result<Option<String>> {
        let seal =
            |place| self.api.cursors.seal(&self.binding, &Left::at(self.now, place), self.api.clock.now());
        self.pager.place().map(seal).transpose()
    }
}

/// `GET /search`.
pub(super) async fn search(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response> {
    let mut params = Params::of(&uri)?;
    let asked = Asked::of(&caller, &mut params)?;
    let order = order(&mut params, Order::Desc)?;
    let limit = params.count("limit", LIMIT_DEFAULT, 1, LIMIT_MAX)?;
    let cursor = params.one("cursor")?.filter(|c| !c.is_empty());
    let explains = params.flag("explain")?;
    let budget = budget(&mut params)?;
    params.finish()?;

    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    let binding = Binding::new("search", caller.principal())
        .with(&asked.text)
        .with(&part(&asked.range.start))
        .with(&part(&asked.range.end))
        .with(if order == Order::Desc { "desc" } else { "asc" })
        .with_all(&asked.named);
    let left: Option<Left> =
        cursor.map(|text| api.cursors.open(&binding, &text, api.clock.now())).transpose()?;
    let now = left.as_ref().map_or_else(|| api.clock.now(), |left| Timestamp::from_nanos(left.now));
    let after = left.map(|left| left.place()).transpose()?;
    let question = asked.question(now)?;
    if explains {
        let want = Want::Records { order, limit, after: after.map(|place| place.key) };
        return explained(&api, &asked.scope, &question, &want).await;
    }
    let scope = asked.scope;
    let begun = Instant::now();
    let pager = Pager::new(Arc::clone(&api.search), scope.clone(), question, order, after, limit)
        .until(budget.and_then(|budget| begun.checked_add(budget)));
    let outcome = Outcome::default();
    let running = Running { api, scope, order, begun, pager, outcome, binding, now, caller, checked: begun };
    let streams = headers.get(header::ACCEPT).is_some_and(|a| a.to_str().is_ok_and(|a| a.contains(NDJSON)));
    if streams { lines::stream(running).await } else { as_page(running).await }
}

/// Takes `budget`: how long a search may look before it answers with what it has.
fn budget(params: &mut Params) -> Result<Option<Duration>> {
    let Some(text) = params.one("budget")? else { return Ok(None) };
    let budget = match text.strip_suffix("ms") {
        Some(number) => number.parse().ok().map(Duration::from_millis),
        None => duration_nanos(&text).and_then(|n| u64::try_from(n).ok()).map(Duration::from_nanos),
    };
    budget.map(Some).ok_or_else(|| {
        Error::invalid_hint(format!("budget={text:?} cannot be read"), "a budget looks like 500ms or 2s")
    })
}

async fn as_page(mut running: Running) -> Result<Response> {
    let (search, scope) = (Arc::clone(&running.api.search), running.scope.clone());
    let records = search
        .in_turn(&scope, async {
            let (mut records, mut bytes) = (Vec::new(), 0);
            while let Some(page) = running.pager.next().await? {
                running.outcome.merge(page.outcome);
                bytes += page.records.iter().map(|(_, r)| r.memory_bytes()).sum::<usize>();
                records.extend(page.records);
                if bytes > ANSWER_BYTES_MAX {
                    break;
                }
            }
            Ok(records)
        })
        .await?;
    written(&Answer {
        records: records.iter().map(|(tenant, record)| record.to_api(tenant)).collect(),
        next_cursor: Some(running.next_cursor()?),
        complete: running.is_complete(),
        searched: running.searched_to().into_iter().collect(),
        stats: Some(stats(&running.outcome, running.begun)),
    })
}

/// Each record as a line of JSON.
pub(super) fn record_lines(page: &Page) -> Result<Bytes> {
    let mut out = Vec::new();
    for (tenant, record) in &page.records {
        serde_json::to_writer(&mut out, &record.to_api(tenant))
            .map_err(|e| Error::server("writing a record", e))?;
        out.push(b'\n');
    }
    Ok(out.into())
}

/// A plan instead of an answer: nothing is searched.
pub(super) async fn explained(
    api: &Shared,
    scope: &Scope,
    question: &Question,
    want: &Want,
) -> Result<Response> {
    let plan = api.search.in_turn(scope, api.search.explain(scope, question, want)).await?;
    written(&Explained { plan })
}

#[derive(Serialize)]
struct Explained {
    plan: Plan,
}

/// Records with what is said of them.
#[derive(Serialize)]
struct Answer<'a> {
    records: Vec<ApiRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<Option<String>>,
    complete: bool,
    /// How far, where that is not to the end.
    #[serde(flatten)]
    searched: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<Value>,
}

pub(super) fn written(answer: &impl Serialize) -> Result<Response> {
    let text = serde_json::to_string(answer).map_err(|e| Error::server("writing an answer", e))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

pub(super) fn stats(outcome: &Outcome, begun: Instant) -> Value {
    let mut stats = json!({
        "segments": outcome.stats.segments,
        "blocks": outcome.stats.blocks,
        "bytes": outcome.stats.bytes,
        "elapsed_ms": u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    if let Value::Object(stats) = &mut stats {
        if !outcome.unreachable.is_empty() {
            stats.insert("unreachable".to_owned(), json!(outcome.unreachable));
        }
        if outcome.damaged > 0 {
            stats.insert("damaged".to_owned(), json!(outcome.damaged));
        }
    }
    stats
}

/// `GET /context`.
pub(super) async fn context(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response> {
    let mut params = Params::of(&uri)?;
    let scope = caller.scope(&params.all("tenant"))?;
    let id = params.one("id")?.ok_or_else(|| Error::invalid_hint("id is missing", "a record's id"))?;
    let before = params.count("before", CONTEXT_DEFAULT, 0, CONTEXT_MAX)?;
    let after = params.count("after", CONTEXT_DEFAULT, 0, CONTEXT_MAX)?;
    let text = params.one("q")?.unwrap_or_default();
    params.finish()?;
    // An id that cannot be one names a record that does not exist.
    let id = RecordId::parse(&id).map_err(|_| Error::NotFound { what: "record" })?;
    let question = tail::question(&text, TimeRange::ALL, api.clock.now())?;
    let work = api.search.context(&scope, id, before, after, &question);
    let page = api.search.in_turn(&scope, work).await?;
    written(&Answer {
        records: page.records.iter().map(|(tenant, record)| record.to_api(tenant)).collect(),
        next_cursor: None,
        complete: page.outcome.is_complete(),
        searched: Map::new(),
        stats: None,
    })
}
