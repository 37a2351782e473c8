//! A JSON body: bounded, of the right content type, without unknown fields.

use axum::extract::{FromRequest, Request};
use http::header;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Longest body: the largest of ours names a few dozen roles.
const BYTES_MAX: usize = 64 << 10;

/// A body of a type that refuses unknown fields.
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        // A form or plain text could be sent by a foreign page without asking.
        let is_json =
            request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|v| {
                v.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
            });
        if !is_json {
            return Err(Error::ContentType);
        }
        let body = Limited::new(request.into_body(), BYTES_MAX).collect().await.map_err(|e| {
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
