//! A JSON body: bounded, of the right content type, without unknown fields.

use std::time::Duration;

use axum::body::HttpBody as _;
use axum::extract::{FromRequest, Request};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Longest body: the largest of ours names a few dozen roles.
const BYTES_MAX: usize = 64 << 10;
/// Longest time from its first to its last byte: as long as a head may take.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Refuses a body that does not say it is JSON: a foreign page could send a form, plain text, or bytes without a type,
/// without asking first.
pub(super) fn require_json(request: &Request) -> Result<()> {
    match content_type(request.headers()) {
        Some(true) => Ok(()),
        None if request.body().is_end_stream() => Ok(()),
        Some(false) | None => Err(Error::ContentType),
    }
}

/// Whether the content type is JSON; none without one. Two are none of ours.
fn content_type(headers: &HeaderMap) -> Option<bool> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let is_json = |value: &HeaderValue| {
        value.to_str().is_ok_and(|value| {
            let (essence, rest) = value.split_once(';').unwrap_or((value, ""));
            let is_parameter = rest.trim().is_empty() || rest.trim().eq_ignore_ascii_case("charset=utf-8");
            essence.trim().eq_ignore_ascii_case("application/json") && is_parameter
        })
    };
    match (types.next(), types.next()) {
        (None, _) => None,
        (Some(one), None) => Some(is_json(one)),
        (Some(_), Some(_)) => Some(false),
    }
}

/// A body of a type that refuses unknown fields.
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        if content_type(request.headers()) != Some(true) {
            return Err(Error::ContentType);
        }
        let read = Limited::new(request.into_body(), BYTES_MAX).collect();
        let read = tokio::time::timeout(TIME_MAX, read).await;
        let body = read.map_err(|_| Error::Slow { limit: TIME_MAX })?.map_err(|e| {
            if e.downcast_ref::<LengthLimitError>().is_some() {
                Error::TooLarge { limit: BYTES_MAX }
            } else {
                Error::invalid("the body broke off")
            }
        })?;
        serde_json::from_slice(&body.to_bytes())
            .map(Self)
            .map_err(|e| Error::invalid(format!("the body cannot be read: {e}")))
    }
}
