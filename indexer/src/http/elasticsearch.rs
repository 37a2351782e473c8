//! Answers to Elasticsearch's clients, as they know them.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use crate::budget::Room;
use crate::error::Error;
use crate::receive::Items;

/// Without it, Elastic's own clients refuse to talk.
const PRODUCT: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-elastic-product"), HeaderValue::from_static("Elasticsearch"));
/// Bytes of an answer that are handed on at a time.
const PIECE_BYTES: usize = 64 << 10;

/// 200: every document is durable whose item says 201. Shippers look for the first bytes as they stand here. The
/// answer's `room` is given back when the connection has taken the last piece.
pub(super) fn accepted(items: Items, took: Duration, room: Room) -> Response {
    let Items { bytes, has_errors } = items;
    let head = format!("{{\"took\":{},\"errors\":{has_errors},\"items\":[", took.as_millis());
    let tail = Bytes::from_static(b"]}");
    let length = head.len() + bytes.len() + tail.len();
    let pieces =
        stream::unfold((Bytes::from(head), bytes, tail, room), |(piece, mut rest, tail, room)| async {
            if piece.is_empty() {
                return None;
            }
            if rest.is_empty() {
                return Some((piece, (tail, rest, Bytes::new(), room)));
            }
            let next = rest.split_to(rest.len().min(PIECE_BYTES));
            Some((piece, (next, rest, tail, room)))
        });
    let body = Body::from_stream(futures::StreamExt::map(pieces, Ok::<_, std::convert::Infallible>));
    let mut response = respond(StatusCode::OK, body);
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

/// What the error says.
pub(super) fn refused(error: &Error) -> Response {
    let status = error.status();
    let cause = json!({ "type": kind(status), "reason": error.public_text() });
    let mut whole = json!({ "error": cause, "status": status.as_u16() });
    // Where Elastic's clients look for what they show.
    if let Some(error) = whole.get_mut("error").and_then(serde_json::Value::as_object_mut) {
        error.insert("root_cause".to_owned(), json!([cause]));
    }
    respond(status, Body::from(whole.to_string()))
}

/// What Elasticsearch calls an error of this status.
fn kind(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "security_exception",
        StatusCode::CONFLICT => "version_conflict_engine_exception",
        StatusCode::PAYLOAD_TOO_LARGE => "content_too_long_exception",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "media_type_header_exception",
        StatusCode::REQUEST_TIMEOUT => "timeout_exception",
        StatusCode::TOO_MANY_REQUESTS => "es_rejected_execution_exception",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable_shards_exception",
        StatusCode::INTERNAL_SERVER_ERROR => "exception",
        _ => "illegal_argument_exception",
    }
}

fn respond(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(PRODUCT.0, PRODUCT.1);
    response
}
