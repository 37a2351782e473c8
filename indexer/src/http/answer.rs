//! Answers to senders, in the form of their request: for OTLP an empty `ExportLogsServiceResponse`, or a
//! `google.rpc.Status`.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use prost::Message;
use serde_json::json;
use tokio::time::timeout;

use super::elasticsearch;
use crate::error::Error;
use crate::receive::Format;

/// Bytes of a refused body that are read away …
const DRAIN_BYTES_MAX: usize = 32 << 20;
/// … within this time.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// `google.rpc.Status`, without details.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// The forms that answers have: each that of its request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// Of OTLP.
    Otlp(Format),
    /// Of Elasticsearch.
    Elasticsearch,
}

/// 200: full success leaves `partial_success` unset.
pub(super) fn accepted(form: Format) -> Response {
    let body = match form {
        Format::Protobuf => Body::empty(),
        Format::Json => Body::from("{}"),
    };
    respond(StatusCode::OK, form.content_type(), body)
}

/// What the error says. Reads away what is left of the request first, within bounds: a connection that is closed
/// over unread bytes takes the answer with it.
pub(super) async fn refused(error: &Error, form: Form, rest: Body) -> Response {
    if error.status().is_server_error() && !matches!(error, Error::Unavailable { .. }) {
        tracing::error!(error = error as &dyn std::error::Error, "a request failed");
    }
    drop(timeout(DRAIN_MAX, drain(rest)).await);
    let mut response = match form {
        Form::Otlp(format) => status(error, format),
        Form::Elasticsearch => elasticsearch::refused(error),
    };
    let headers = response.headers_mut();
    if let Some(seconds) = error.retry_after_seconds() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if error.status() == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"heliograph\""));
    }
    response
}

/// The error as a `google.rpc.Status`; what a producer's next batch is, and that a tenant is erased, as JSON: who throws
/// batches away does so by our word, not by a status that others use, too.
fn status(error: &Error, format: Format) -> Response {
    let (code, message) = (error.rpc_code(), error.public_text());
    match (error, format) {
        (Error::Gap { expected, epoch }, _) => {
            let body = json!({ "expected": expected, "epoch": epoch, "code": code, "message": message });
            respond(error.status(), Format::Json.content_type(), Body::from(body.to_string()))
        }
        (Error::Erased { .. }, _) => {
            let body = json!({ "erased": true, "code": code, "message": message });
            respond(error.status(), Format::Json.content_type(), Body::from(body.to_string()))
        }
        (_, Format::Json) => {
            let body = json!({ "code": code, "message": message });
            respond(error.status(), format.content_type(), Body::from(body.to_string()))
        }
        (_, Format::Protobuf) => {
            let body = Status { code, message }.encode_to_vec();
            respond(error.status(), format.content_type(), Body::from(body))
        }
    }
}

async fn drain(mut body: Body) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, bytes::Bytes::len);
        if read > DRAIN_BYTES_MAX {
            break;
        }
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
