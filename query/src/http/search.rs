//! Searches, counts and contexts: parameters in, JSON out.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures::stream;
use heliograph_model::filter::Field;
use heliograph_model::record::{ApiRecord, RecordId, RecordKey};
use heliograph_model::scan::Order;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::{TimeRange, Timestamp, duration_nanos};
use http::{HeaderMap, Uri, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Shared;
use super::params::{Params, RangeText};
use crate::access::{Caller, Scope};
use crate::cursor::Binding;
use crate::error::{Error, Result};
use crate::search::{Outcome, Page, Pager, Place, Question, Width, slot_name};
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
/// Attributes that are named, the most frequent first.
const FIELDS_MAX: usize = 1_000;
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
    let pager = Pager::new(Arc::clone(&api.search), asked.scope, question, order, after, limit);
    let running = Running { api, binding, now, begun: Instant::now(), pager, outcome: Outcome::default() };
    let streams = headers.get(header::ACCEPT).is_some_and(|a| a.to_str().is_ok_and(|a| a.contains(NDJSON)));
    if streams { as_lines(running).await } else { as_page(running).await }
}

async fn as_page(mut running: Running) -> Result<Response> {
    let search = Arc::clone(&running.api.search);
    let records = search
        .in_turn(async {
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
    let first = search.in_turn(running.pager.next()).await?;
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
        let next = search.in_turn_patiently(running.pager.next()).await?;
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

fn written(answer: &impl Serialize) -> Result<Response> {
    let text = serde_json::to_string(answer).map_err(|e| Error::server("writing an answer", e))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

fn stats(outcome: &Outcome, begun: Instant) -> Value {
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

/// `GET /histogram`.
pub(super) async fn histogram(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response> {
    let begun = Instant::now();
    let mut params = Params::of(&uri)?;
    let asked = Asked::of(&caller, &mut params)?;
    let width = match params.one("interval")?.as_deref() {
        None | Some("" | "auto") => Width::Auto,
        Some(text) => duration_nanos(text).filter(|n| *n > 0).map(Width::Nanos).ok_or_else(|| {
            Error::invalid_hint(
                format!("interval={text:?} cannot be read"),
                "intervals look like 30s, 5m, 1h, or auto",
            )
        })?,
    };
    let by_level = match params.one("by")?.as_deref() {
        None => false,
        Some("level") => true,
        Some(other) => {
            return Err(Error::invalid_hint(format!("by={other:?} is not known"), "counts go by level"));
        }
    };
    params.finish()?;
    let question = asked.question(api.clock.now())?;
    let work = api.search.histogram(&asked.scope, &question, width);
    let (counts, outcome) = api.search.in_turn(work).await?;
    let buckets: Vec<Value> = counts
        .buckets
        .iter()
        .map(|(start, counts)| {
            let mut bucket = json!({ "start": start, "total": counts.iter().sum::<u64>() });
            if by_level && let Value::Object(bucket) = &mut bucket {
                let by: Map<String, Value> = (0..counts.len())
                    .filter_map(|slot| {
                        counts.get(slot).filter(|c| **c > 0).map(|c| (slot_name(slot).to_owned(), json!(c)))
                    })
                    .collect();
                bucket.insert("by".to_owned(), Value::Object(by));
            }
            bucket
        })
        .collect();
    written(&json!({
        "interval_ms": counts.interval_nanos / 1_000_000,
        "buckets": buckets,
        "complete": outcome.is_complete(),
        "stats": stats(&outcome, begun),
    }))
}

/// `GET /values`.
pub(super) async fn values(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response> {
    let begun = Instant::now();
    let mut params = Params::of(&uri)?;
    let asked = Asked::of(&caller, &mut params)?;
    let name = params
        .one("field")?
        .filter(|f| !f.is_empty())
        .ok_or_else(|| Error::invalid_hint("field is missing", "name one, as in field=dag_id"))?;
    let limit = params.count("limit", 10, 1, 1_000)?;
    params.finish()?;
    let field = Field::named(&name);
    if matches!(field, Field::Message | Field::Timestamp) {
        return Err(Error::invalid_hint(
            format!("the values of {name} are not counted"),
            "nearly every record has one of its own: use search or histogram",
        ));
    }
    let question = asked.question(api.clock.now())?;
    let work = api.search.values(&asked.scope, &question, &field);
    let (counts, outcome) = api.search.in_turn(work).await?;
    let values: Vec<Value> = counts
        .top(limit)
        .into_iter()
        .map(|(value, count)| json!({ "value": value, "count": count }))
        .collect();
    written(&json!({
        "field": field.name(),
        "values": values,
        "complete": outcome.is_complete() && !counts.truncated,
        "stats": stats(&outcome, begun),
    }))
}

/// `GET /fields`.
pub(super) async fn fields(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response> {
    let begun = Instant::now();
    let mut params = Params::of(&uri)?;
    let asked = Asked::of(&caller, &mut params)?;
    params.finish()?;
    let question = asked.question(api.clock.now())?;
    let (counts, outcome) = api.search.in_turn(api.search.fields(&asked.scope, &question)).await?;
    let named = Field::NAMED.iter().map(|field| json!({ "name": field.name() }));
    let attributes = counts.top(FIELDS_MAX).into_iter().map(|(name, count)| {
        // An attribute that has a named field's name is asked for by its long one.
        let is_plain = matches!(Field::named(name), Field::Attribute(_)) && !name.starts_with("attributes.");
        let name = if is_plain { name.to_owned() } else { format!("attributes.{name}") };
        json!({ "name": name, "count": count })
    });
    written(&json!({
        "fields": named.chain(attributes).collect::<Vec<_>>(),
        "complete": outcome.is_complete() && !counts.truncated,
        "stats": stats(&outcome, begun),
    }))
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
    let page = api.search.in_turn(api.search.context(&scope, id, before, after, &question)).await?;
    written(&Answer {
        records: page.records.iter().map(|(tenant, record)| record.to_api(tenant)).collect(),
        next_cursor: None,
        complete: page.outcome.is_complete(),
        stats: None,
    })
}
