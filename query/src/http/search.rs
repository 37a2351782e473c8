//! Searches and contexts: parameters in, JSON out.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures::stream;
use heliograph_model::record::{ApiRecord, RecordId, RecordKey};
use heliograph_model::scan::{Order, Want};
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp};
use http::{HeaderMap, Uri, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Shared;
use super::params::{Params, RangeText};
use crate::access::{Caller, Scope};
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
const NDJSON: &str = "application/x-ndjson";

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
struct Running {
    api: Shared,
    scope: Scope,
    binding: Binding,
    now: Timestamp,
    begun: Instant,
    pager: Pager,
    outcome: Outcome,
}

impl Running {
    /// A stream that outlives us is cut, so that its reader sees that it is not whole.
    fn ensure_up(&self) -> Result<()> {
        if self.api.stop.is_cancelled() {
            Err(Error::Busy { what: "searches while stopping" })
        } else {
            Ok(())
        }
    }

    fn next_cursor(&self) -> Result<Option<String>> {
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
    let pager = Pager::new(Arc::clone(&api.search), scope.clone(), question, order, after, limit);
    let running =
        Running { api, scope, binding, now, begun: Instant::now(), pager, outcome: Outcome::default() };
    let streams = headers.get(header::ACCEPT).is_some_and(|a| a.to_str().is_ok_and(|a| a.contains(NDJSON)));
    if streams { as_lines(running).await } else { as_page(running).await }
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
        complete: running.outcome.is_complete(),
        stats: Some(stats(&running.outcome, running.begun)),
    })
}

/// Records as lines as they are found, then one line with what a page says beside its records.
async fn as_lines(mut running: Running) -> Result<Response> {
    let search = Arc::clone(&running.api.search);
    // The first page before the status: an error is still an answer then.
    let first = search.in_turn(&running.scope, running.pager.next()).await?;
    let lines = stream::try_unfold((running, Some(first)), |(mut running, waiting)| async move {
        let page = match waiting {
            None => return Ok::<_, Error>(None),
            Some(Some(page)) => page,
            Some(None) => {
                let rest = json!({
                    "next_cursor": running.next_cursor()?,
                    "complete": running.outcome.is_complete(),
                    "stats": stats(&running.outcome, running.begun),
                });
                return Ok(Some((Bytes::from(format!("{rest}\n")), (running, None))));
            }
        };
        let lines = record_lines(&page)?;
        running.outcome.merge(page.outcome);
        running.ensure_up()?;
        let search = Arc::clone(&running.api.search);
        let next = search.in_turn_patiently(&running.scope, running.pager.next()).await?;
        Ok(Some((lines, (running, Some(next)))))
    });
    Ok(([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(lines)).into_response())
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
        stats: None,
    })
}
