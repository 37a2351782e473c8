//! What every request to the API passes: proof of the caller before anything else, and a finished answer behind.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use heliograph_model::cipher;
use http::{HeaderName, HeaderValue, Method, header};
use serde_json::json;

use super::error::{ErrorBody, Failed};
use super::{Shared, record};
use crate::access::{Call, Identity};
use crate::error::{Error, Result};

/// The header that carries a request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The one call of the API that needs no credential: it makes one.
pub(super) const SIGN_IN: (Method, &str) = (Method::POST, "/api/v1/session");
/// A call that changes nothing, but that a foreign page could read from: checked like one that does.
pub(super) const TAIL: &str = "/api/v1/tail";

/// Lets proved callers through, with what they may do; refuses what a foreign page may have sent.
pub(super) async fn prove(State(api): State<Shared>, mut request: Request, next: Next) -> Response {
    match proved(&api, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

async fn proved(api: &Shared, request: &mut Request) -> Result<()> {
    let (headers, vouched) = (request.headers(), request.extensions().get::<Identity>());
    let path = request.uri().path();
    let refused = |reason: &'static str| api.metrics.credentials_refused.with_label_values(&[reason]).inc();
    if request.method() == SIGN_IN.0 && path == SIGN_IN.1 {
        let is_ambient = api.access.has_cookie(headers) || vouched.is_some();
        return api.access.origins().check(headers, is_ambient).inspect_err(|_| refused("origin"));
    }
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(peer)| peer.ip())
        .ok_or_else(|| Error::server("the connection", "no peer address"))?;
    let call = Call { headers, from: peer, vouched, method: request.method(), uri: request.uri() };
    let caller = match api.access.authenticate(call).await {
        Err(error @ (Error::Unauthenticated | Error::Throttled { .. })) => {
            let by = record::tried(api, request);
            refused(match (&error, by) {
                (Error::Throttled { .. }, _) => "throttled",
                (_, Some("forwarded")) => "untrusted_proxy",
                (_, Some(_)) => "wrong",
                (_, None) => "none",
            });
            record::refused(api, by, peer, path).await;
            return Err(error);
        }
        Err(error @ Error::Invalid { .. }) => {
            refused("ambiguous");
            return Err(error);
        }
        Err(error @ Error::Unanswered) => {
            refused("unanswered");
            return Err(error);
        }
        proved => proved?,
    };
    if !request.method().is_safe() || path == TAIL {
        api.access.origins().check(headers, caller.is_by_cookie()).inspect_err(|_| refused("origin"))?;
    }
    request.extensions_mut().insert(caller);
    Ok(())
}

/// Takes off what only proxies in front may say, before anything else sees the request.
pub(super) async fn admit(State(api): State<Shared>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match api.access.admit(&mut parts) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(error) => {
            api.metrics.credentials_refused.with_label_values(&["malformed"]).inc();
            error.into_response()
        }
    }
}

/// Gives every answer its id, its headers and, where it is an error, its body; counts it.
pub(super) async fn finish(State(api): State<Shared>, request: Request, next: Next) -> Response {
    let route =
        request.extensions().get::<MatchedPath>().map_or("page".to_owned(), |p| p.as_str().to_owned());
    // An id that cannot be made is not worth failing for.
    let id = cipher::random::<8>().map_or_else(|_| "0".to_owned(), |bytes| HEXLOWER.encode(&bytes));
    let mut response = next.run(request).await;
    if let Some(Failed(error)) = response.extensions_mut().remove::<Failed>() {
        if response.status().is_server_error() && !is_expected(&error) {
            tracing::error!(
                request_id = id,
                route,
                error = &*error as &dyn std::error::Error,
                "a request failed"
            );
        }
        let body = json!({ "error": ErrorBody::of(&error).with_request_id(&id) }).to_string();
        let headers = std::mem::take(response.headers_mut());
        response = (response.status(), body).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().extend(
            headers
                .into_iter()
                .filter_map(|(n, v)| Some((n?, v)))
                .filter(|(n, _)| *n != header::CONTENT_LENGTH && *n != header::CONTENT_TYPE),
        );
    }
    let class = match response.status().as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    api.metrics.requests.with_label_values(&[route.as_str(), class]).inc();
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whether a failure is told elsewhere, or is no failure of ours.
fn is_expected(error: &Error) -> bool {
    matches!(error, Error::Busy { .. } | Error::Unrecorded | Error::Unanswered)
}

/// Answers of the API are one caller's: nobody keeps them for another.
pub(super) async fn private(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.append(header::VARY, HeaderValue::from_static("Authorization, Cookie"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    response
}
