//! Counts: per bucket of time, per value of a field, and which fields there are.

use std::time::Instant;

use axum::extract::{Extension, State};
use axum::response::Response;
use heliograph_model::filter::Field;
use heliograph_model::scan::Want;
use heliograph_model::time::duration_nanos;
use http::Uri;
use serde_json::{Map, Value, json};

use super::Shared;
use super::params::Params;
use super::search::{Asked, explained, stats, written};
use crate::access::Caller;
use crate::error::{Error, Result};
use crate::search::{Width, histogram_want, slot_name};

/// Attributes that are named, the most frequent first.
const FIELDS_MAX: usize = 1_000;

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
    let explains = params.flag("explain")?;
    params.finish()?;
    let question = asked.question(api.clock.now())?;
    if explains {
        let want = histogram_want(&question, width)?;
        return explained(&api, &asked.scope, &question, &want).await;
    }
    let work = api.search.histogram(&asked.scope, &question, width, by_level);
    let (counts, outcome) = api.search.in_turn(&asked.scope, work).await?;
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
    let explains = params.flag("explain")?;
    params.finish()?;
    let field = Field::named(&name);
    if matches!(field, Field::Message | Field::Timestamp) {
        return Err(Error::invalid_hint(
            format!("the values of {name} are not counted"),
            "nearly every record has one of its own: use search or histogram",
        ));
    }
    let question = asked.question(api.clock.now())?;
    if explains {
        return explained(&api, &asked.scope, &question, &Want::Values { field }).await;
    }
    let work = api.search.values(&asked.scope, &question, &field);
    let (counts, outcome) = api.search.in_turn(&asked.scope, work).await?;
    let values: Vec<Value> = counts
        .top(limit)
        .into_iter()
        .map(|(value, count)| json!({ "value": value, "count": count }))
        .collect();
    written(&json!({
        "field": field.text(),
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
    let work = api.search.fields(&asked.scope, &question);
    let (counts, outcome) = api.search.in_turn(&asked.scope, work).await?;
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
