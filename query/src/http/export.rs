//! All records of a question, streamed: one page is held at a time, and the next is read when the client has
//! taken it. A stream that ends early breaks off, so that its reader sees that it is not whole.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use heliograph_model::hidden;
use heliograph_model::record::{ApiRecord, Record};
use heliograph_model::scan::Order;
use heliograph_model::tenant::TenantId;
use http::{Uri, header};

use super::Shared;
use super::params::Params;
use super::search::{Asked, order, record_lines};
use crate::access::{Caller, RECHECK, Scope};
use crate::error::{Error, Result};
use crate::search::{Page, Pager};
use crate::shares::Place;

/// The columns of CSV, in their order.
const COLUMNS: [&str; 19] = [
    "@timestamp",
    "level",
    "tenant",
    "component",
    "namespace",
    "pod",
    "container",
    "node",
    "stream",
    "dag_id",
    "task_id",
    "run_id",
    "map_index",
    "try_number",
    "log_id",
    "logger",
    "message",
    "attributes",
    "id",
];

#[derive(Clone, Copy)]
enum Format {
    Ndjson,
    Text,
    Csv,
}

impl Format {
    fn of(params: &mut Params) -> Result<Self> {
        match params.one("format")?.as_deref() {
            None | Some("ndjson") => Ok(Self::Ndjson),
            Some("text") => Ok(Self::Text),
            Some("csv") => Ok(Self::Csv),
            Some(other) => Err(Error::invalid_hint(
                format!("format={other:?} is not known"),
                "format is ndjson, text or csv",
            )),
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Text => "text/plain; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    fn file_name(self) -> &'static str {
        match self {
            Self::Ndjson => "attachment; filename=\"logs.ndjson\"",
            Self::Text => "attachment; filename=\"logs.txt\"",
            Self::Csv => "attachment; filename=\"logs.csv\"",
        }
    }

    fn head(self) -> Bytes {
        match self {
            Self::Csv => Bytes::from(format!("{}\r\n", COLUMNS.join(","))),
            Self::Ndjson | Self::Text => Bytes::new(),
        }
    }

    fn write(self, page: &Page) -> Result<Bytes> {
        match self {
            Self::Ndjson => record_lines(page),
            Self::Text => Ok(page.records.iter().map(|(_, r)| text_line(r)).collect::<String>().into()),
            Self::Csv => Ok(page.records.iter().map(|(t, r)| csv_row(t, r)).collect::<String>().into()),
        }
    }
}

struct Export {
    api: Shared,
    caller: Caller,
    scope: Scope,
    format: Format,
    pager: Pager,
    checked: Instant,
    _turn: Place,
}

impl Export {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.api.stop.is_cancelled() {
            return Err(Error::Busy { what: "exports while stopping" });
        }
        let search = Arc::clone(&self.api.search);
        let Some(page) = search.in_turn_patiently(&self.scope, self.pager.next()).await? else {
            return Ok(None);
        };
        if !page.outcome.is_complete() {
            // A file that lacks records without saying so would be worse than none.
            return Err(Error::server("the export", "a part of the records cannot be read"));
        }
        // After the page was read, which may have taken a while: what is sent is looked at last.
        if self.checked.elapsed() >= RECHECK {
            if !self.api.access.still(&self.caller, &self.scope).await? {
                return Err(Error::Forbidden);
            }
            self.checked = Instant::now();
        }
        let bytes = self.format.write(&page)?;
        self.api.metrics.export_bytes.inc_by(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(Some(bytes))
    }
}

/// `GET /export`.
pub(super) async fn export(
    State(api): State<Shared>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response> {
    let mut params = Params::of(&uri)?;
    let asked = Asked::of(&caller, &mut params)?;
    let order = order(&mut params, Order::Asc)?;
    let format = Format::of(&mut params)?;
    params.finish()?;
    let now = api.clock.now();
    let question = asked.question(now)?;
    let turn = api.exports.begin(asked.scope.principal().name(), asked.scope.tenants().to_vec(), now)?;
    let search = Arc::clone(&api.search);
    let pager = Pager::new(search, asked.scope.clone(), question, order, None, usize::MAX);
    let mut export =
        Export { api, caller, scope: asked.scope, format, pager, checked: Instant::now(), _turn: turn };
    // The first page before the status: an error is still an answer then.
    let first = export.next().await?;
    let head = stream::iter([Ok(format.head())]);
    let rest = stream::try_unfold((export, first), |(mut export, waiting)| async move {
        let Some(bytes) = waiting else { return Ok::<_, Error>(None) };
        let next = export.next().await.inspect_err(|error| {
            tracing::warn!(error = error as &dyn std::error::Error, "an export broke off");
        })?;
        Ok(Some((bytes, (export, next))))
    });
    let body = Body::from_stream(futures::StreamExt::chain(head, rest));
    let headers =
        [(header::CONTENT_TYPE, format.content_type()), (header::CONTENT_DISPOSITION, format.file_name())];
    Ok((headers, body).into_response())
}

/// Time, level and message; what would steer, turn or hide is shown, not obeyed: a terminal may print the file.
fn text_line(record: &Record) -> String {
    let level = record.level.map_or("-", |l| l.as_str());
    let mut line = format!("{} {:<8} ", record.time, level.to_ascii_uppercase());
    line.push_str(&hidden::escaped(&record.message));
    line.push('\n');
    line
}

fn csv_row(tenant: &TenantId, record: &Record) -> String {
    let ApiRecord {
        id,
        timestamp,
        message,
        level,
        tenant,
        component,
        namespace,
        pod,
        container,
        node,
        stream,
        dag_id,
        task_id,
        run_id,
        map_index,
        try_number,
        log_id,
        logger,
        attributes,
    } = record.to_api(tenant);
    // Numbers are ours and cannot be formulas; every text may be one.
    let number = |n: Option<i64>| n.map_or_else(String::new, |n| n.to_string());
    let cell = |text: Option<&str>| csv_cell(text.unwrap_or_default());
    let mut row = [
        timestamp.to_string(),
        cell(level.map(|l| l.as_str())),
        cell(Some(tenant.as_str())),
        cell(component.as_ref().map(|c| c.as_str())),
        cell(namespace.as_deref()),
        cell(pod.as_deref()),
        cell(container.as_deref()),
        cell(node.as_deref()),
        cell(stream.map(|s| s.as_str())),
        cell(dag_id.as_deref()),
        cell(task_id.as_deref()),
        cell(run_id.as_deref()),
        number(map_index.map(i64::from)),
        number(try_number.map(i64::from)),
        cell(log_id.as_deref()),
        cell(logger.as_deref()),
        cell(Some(&message)),
        cell(attributes.as_ref().map(|a| a.get())),
        cell(Some(&id)),
    ]
    .join(",");
    row.push_str("\r\n");
    row
}

/// A cell of RFC 4180 that no spreadsheet takes for a formula: such a text gets an apostrophe in front.
fn csv_cell(text: &str) -> String {
    let may_be_formula = text
        .trim_start_matches(|c: char| c.is_whitespace() || hidden::is_hidden(c))
        .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
        || text.starts_with(['\t', '\r']);
    let guard = if may_be_formula { "'" } else { "" };
    let text = text.replace('\0', "\u{fffd}");
    if guard.is_empty() && !text.contains([',', '"', '\n', '\r', ';', '\t']) {
        text
    } else {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    }
}

#[cfg(test)]
mod tests {
    use heliograph_model::airflow::Identity;
    use heliograph_model::level::Level;
    use heliograph_model::record::Attributes;
    use heliograph_model::source::{Position, Source};
    use heliograph_model::time::Timestamp;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(csv_cell(text), expected);
    }

    #[test]
    fn cells_are_never_formulas() {
        check("plain", "plain");
        check("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\"");
        check("+1", "\"'+1\"");
        check("-1", "\"'-1\"");
        check("@SUM(A1)", "\"'@SUM(A1)\"");
        check("  =1", "\"'  =1\"");
        check("\t=1", "\"'\t=1\"");
        check("\r=1", "\"'\r=1\"");
        check("＝1", "\"'＝1\"");
        check("\n=1", "\"'\n=1\"");
        check("\u{feff}\u{200b}=1", "\"'\u{feff}\u{200b}=1\"");
        check("a=b", "a=b");
    }

    #[test]
    fn cells_are_quoted_where_needed() {
        check("a,b", "\"a,b\"");
        check("say \"no\"", "\"say \"\"no\"\"\"");
        check("two\nlines", "\"two\nlines\"");
        check("", "");
    }

    fn record(message: &str) -> Record {
        Record {
            time: Timestamp::from_nanos(0),
            observed: Timestamp::from_nanos(0),
            position: Position(1),
            source: Arc::new(Source::default()),
            level: Some(Level::Warning),
            stream: None,
            identity: Identity { map_index: Some(-1), dag_id: Some("=evil".into()), ..Identity::default() },
            message: message.into(),
            attributes: Attributes::from_json(r#"{"a":1}"#).unwrap(),
        }
    }

    #[test]
    fn a_row_has_a_cell_for_each_column() {
        let row = csv_row(&TenantId::parse("t").unwrap(), &record("m"));
        assert!(row.starts_with("1970-01-01T00:00:00.000000000Z,warning,t,"), "{row}");
        assert!(row.contains(",\"'=evil\",,,-1,,,,m,\"{\"\"a\"\":1}\","), "{row}");
        assert_eq!(row.matches(',').count() + 1, COLUMNS.len());
    }

    #[test]
    fn text_obeys_no_control_character() {
        let line = text_line(&record("a\x1b]52;c;x\x07b\n\tc\u{9b}d\u{202e}e"));
        let expected = "a\\u{1b}]52;c;x\\u{7}b\n\tc\\u{9b}d\\u{202e}e\n";
        assert_eq!(line, format!("1970-01-01T00:00:00.000000000Z WARNING  {expected}"));
    }
}
