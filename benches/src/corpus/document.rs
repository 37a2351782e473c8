//! A record as the JSON document that any shipper would send.

use heliograph_model::level::Level;
use heliograph_model::record::Record;
use heliograph_model::source::{Component, Stream};
use heliograph_model::time::Timestamp;
use serde::Serialize;

/// Absent fields are left out; the tenant never stands in the document.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: Timestamp,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<Level>,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<&'a Component>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<Stream>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dag_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    map_index: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    try_number: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logger: Option<&'a str>,
}

/// Appends the document and a line feed; attributes stand beside the named fields.
pub(crate) fn write(record: &Record, out: &mut Vec<u8>) -> anyhow::Result<()> {
    let (source, identity) = (&record.source, &record.identity);
    let document = Document {
        timestamp: record.time,
        message: &record.message,
        level: record.level,
        component: source.component.as_ref(),
        namespace: source.namespace.as_deref(),
        pod: source.pod.as_deref(),
        container: source.container.as_deref(),
        node: source.node.as_deref(),
        stream: record.stream,
        dag_id: identity.dag_id.as_deref(),
        task_id: identity.task_id.as_deref(),
        run_id: identity.run_id.as_deref(),
        map_index: identity.map_index,
        try_number: identity.try_number,
        log_id: identity.log_id.as_deref(),
        logger: identity.logger.as_deref(),
    };
    serde_json::to_writer(&mut *out, &document)?;
    if let Some(inner) = record.attributes.as_json().strip_prefix('{') {
        out.pop();
        out.push(b',');
        out.extend_from_slice(inner.as_bytes());
    }
    out.push(b'\n');
    Ok(())
}
