//! The client commands: records for people at a terminal, plain text in a pipe. Knows the query API only.

mod api;
mod line;
mod live;

use anyhow::Context as _;
use heliograph_model::time::duration_nanos;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cli::{Context, Export, ExportFormat, Order, Search};
use crate::console;
use crate::exit::Outcome;
use api::Api;
use line::Style;

pub(crate) use live::tail;

/// Records per request; the API's own bound is 10,000.
const PAGE_RECORDS: u64 = 5_000;

/// An answer of `search` or `context`. Records stay as the server wrote them, so that `--json` shows all fields.
#[derive(Deserialize)]
struct Page {
    records: Vec<Box<RawValue>>,
    #[serde(default)]
    next_cursor: Option<String>,
    #[serde(default = "yes")]
    complete: bool,
}

fn yes() -> bool {
    true
}

/// `heliograph search`.
pub(crate) async fn search(options: Search) -> Outcome {
    let api = Api::new(&options.server)?;
    let style = Style::new(options.json);
    // Without an order, the newest records as a log shows them: the newest at the end.
    let (order, turned) = (options.order.unwrap_or(Order::Desc), options.order.is_none());
    let mut parameters = selection(&options.selection.query, &options.selection.tenant);
    push_time(&mut parameters, "start", options.since.as_deref());
    push_time(&mut parameters, "end", options.until.as_deref());
    parameters.push(("order", order.as_str().to_owned()));
    let (mut left, mut held, mut complete) = (options.limit, Vec::new(), true);
    let mut cursor = None;
    while left > 0 {
        let mut asked = parameters.clone();
        asked.push(("limit", left.min(PAGE_RECORDS).to_string()));
        asked.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page: Page = api.get_json("search", &asked, &options.selection.query).await?;
        left = left.saturating_sub(page.records.len() as u64);
        complete &= page.complete;
        if turned {
            held.extend(page.records);
        } else {
            page.records.iter().try_for_each(|record| style.print(record))?;
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    held.iter().rev().try_for_each(|record| style.print(record))?;
    if !complete {
        console::say("note: not everything could be searched; narrow the time or ask again");
    }
    Ok(())
}

/// `heliograph context`.
pub(crate) async fn context(options: Context) -> Outcome {
    let api = Api::new(&options.server)?;
    let style = Style::new(options.json);
    let mut parameters: Vec<(&str, String)> =
        options.tenant.iter().map(|t| ("tenant", t.to_string())).collect();
    parameters.push(("id", options.id));
    parameters.push(("before", options.before.to_string()));
    parameters.push(("after", options.after.to_string()));
    let page: Page = api.get_json("context", &parameters, "").await?;
    Ok(page.records.iter().try_for_each(|record| style.print(record))?)
}

/// `heliograph export`.
pub(crate) async fn export(options: Export) -> Outcome {
    let api = Api::new(&options.server)?;
    let mut parameters = selection(&options.selection.query, &options.selection.tenant);
    push_time(&mut parameters, "start", options.since.as_deref());
    push_time(&mut parameters, "end", options.until.as_deref());
    let format = match options.format {
        ExportFormat::Ndjson => "ndjson",
        ExportFormat::Text => "text",
        ExportFormat::Csv => "csv",
    };
    parameters.push(("order", options.order.as_str().to_owned()));
    parameters.push(("format", format.to_owned()));
    let mut answer = api.get("export", &parameters, &options.selection.query).await?;
    while let Some(bytes) = answer.chunk().await.context("the export broke off before its end")? {
        console::output(&bytes)?;
    }
    Ok(())
}

fn selection(query: &str, tenants: &[heliograph_model::tenant::TenantId]) -> Vec<(&'static str, String)> {
    let mut parameters = vec![("q", query.to_owned())];
    parameters.extend(tenants.iter().map(|tenant| ("tenant", tenant.to_string())));
    parameters
}

/// A time as the API takes it; a mere length of time means so long ago.
fn push_time(parameters: &mut Vec<(&'static str, String)>, name: &'static str, time: Option<&str>) {
    let Some(time) = time else { return };
    let ago = duration_nanos(time).is_some();
    parameters.push((name, if ago { format!("now-{time}") } else { time.to_owned() }));
}
