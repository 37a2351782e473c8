//! Which status and body each error becomes: the only file that chooses.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::error::Error;

/// How long to stay away when too much is under way.
const BUSY_WAIT: Duration = Duration::from_secs(1);
/// How long to stay away when what we stand on is away.
const UNAVAILABLE_WAIT: Duration = Duration::from_secs(5);

/// The body of an error: `{"error": …}` holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ErrorBody {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<usize>,
    /// The id of the request, by which it is found in our own log.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

impl ErrorBody {
    /// What the caller may know of an error.
    pub(crate) fn of(error: &Error) -> Self {
        let (hint, position) = match error {
            Error::Invalid { hint, position, .. } => (hint.clone(), *position),
            Error::Cursor => (Some("begin again without it".to_owned()), None),
            Error::Timeout { .. } => (Some("ask for a shorter time, or for rarer words".to_owned()), None),
            _ => (None, None),
        };
        Self { code: code(error).1, message: error.to_string(), hint, position, request_id: None }
    }

    /// The same with the request's id.
    pub(crate) fn with_request_id(mut self, id: &str) -> Self {
        self.request_id = Some(id.to_owned());
        self
    }
}

fn code(error: &Error) -> (StatusCode, &'static str) {
    match error {
        Error::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
        Error::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
        Error::Ticket => (StatusCode::FORBIDDEN, "ticket"),
        Error::NotFound { .. } => (StatusCode::NOT_FOUND, "not_found"),
        Error::Method => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        Error::Invalid { position: Some(_), .. } => (StatusCode::BAD_REQUEST, "syntax"),
        Error::Invalid { .. } => (StatusCode::BAD_REQUEST, "invalid"),
        Error::ContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type"),
        Error::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        Error::Slow { .. } => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
        Error::Cursor => (StatusCode::BAD_REQUEST, "invalid_cursor"),
        Error::Exists { .. } => (StatusCode::CONFLICT, "exists"),
        Error::Throttled { .. } | Error::TooOften { .. } => (StatusCode::TOO_MANY_REQUESTS, "throttled"),
        Error::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        Error::Unanswered => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        Error::Unrecorded => (StatusCode::SERVICE_UNAVAILABLE, "unrecorded"),
        Error::Timeout { .. } => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
        Error::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        Error::Server { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

/// The error that a response stands for, for whoever finishes and logs it.
#[derive(Clone, Debug)]
pub(crate) struct Failed(pub(crate) Arc<Error>);

impl IntoResponse for Error {
    /// Without a body: that is written where the request's id is known.
    fn into_response(self) -> Response {
        let mut response = code(&self).0.into_response();
        let wait = match &self {
            Self::Throttled { retry_after } | Self::TooOften { retry_after, .. } => Some(*retry_after),
            Self::Busy { .. } => Some(BUSY_WAIT),
            Self::Store(_) | Self::Unrecorded | Self::Unanswered => Some(UNAVAILABLE_WAIT),
            _ => None,
        };
        if let Some(wait) = wait {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if matches!(self, Self::Slow { .. }) {
            // What is left of the body is not waited for.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if matches!(self, Self::Unauthenticated) {
            // Not Basic: a browser would open a window of its own for that.
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Failed(Arc::new(self)));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What went wrong within is for our own log.
    #[test]
    fn an_error_tells_callers_nothing_of_what_is_within() {
        let inner = "panicked at /srv/src/catalog.rs:7: SELECT * FROM tenants";
        let of_store = heliograph_model::Error::Decode { what: "row", reason: inner.to_owned() };
        for (error, code) in
            [(Error::Store(of_store.into()), "unavailable"), (Error::server("the export", inner), "internal")]
        {
            let told = serde_json::to_string(&ErrorBody::of(&error)).unwrap();
            assert!(told.contains(code) && !told.contains("SELECT") && !told.contains("panicked"), "{told}");
        }
    }
}
