//! The client commands: records for people at a terminal, plain text in a pipe. Knows the query API only.

mod api;
mod line;
mod live;

use anyhow::Context as _;
use heliograph_model::hidden;
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
    let mut shown = console::output_is_terminal().then(|| Shown::new(options.format));
    while let Some(bytes) = answer.chunk().await.context("the export broke off before its end")? {
        match &mut shown {
            None => console::output(&bytes)?,
            Some(shown) => console::output(shown.lines(&bytes).as_bytes())?,
        }
    }
    Ok(())
}

/// An export on a terminal: the same lines, with nothing in them that could steer the terminal.
struct Shown {
    escape: fn(&str) -> String,
    /// The beginning of a line whose end did not come yet.
    rest: Vec<u8>,
}

impl Shown {
    fn new(format: ExportFormat) -> Self {
        let escape = match format {
            ExportFormat::Ndjson => hidden::escaped_json,
            ExportFormat::Text => hidden::escaped,
            // Its rows end as files of CSV do.
            ExportFormat::Csv => |rows: &str| hidden::escaped(&rows.replace("\r\n", "\n")),
        };
        Self { escape, rest: Vec::new() }
    }

    /// The lines that are whole now; each export ends with one that is.
    fn lines(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        (self.escape)(&String::from_utf8_lossy(&whole))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_on_a_terminal_steers_nothing_wherever_it_is_cut() {
        let text = "a\u{202e}b\x1b[2J é\n\"\u{9b}\"\r\n";
        for (format, expected) in [
            (ExportFormat::Text, "a\\u{202e}b\\u{1b}[2J é\n\"\\u{9b}\"\\u{d}\n"),
            (ExportFormat::Csv, "a\\u{202e}b\\u{1b}[2J é\n\"\\u{9b}\"\n"),
            (ExportFormat::Ndjson, "a\\u202eb\\u001b[2J é\n\"\\u009b\"\\u000d\n"),
        ] {
            for cut in 0..=text.len() {
                let mut shown = Shown::new(format);
                let (before, after) = text.as_bytes().split_at(cut);
                assert_eq!(shown.lines(before) + &shown.lines(after), expected);
            }
        }
    }
}
