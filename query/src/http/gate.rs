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
use super::{Shared, body, record, ticket};
use crate::access::{Call, Identity};
use crate::error::{Error, Result};

/// The header that carries a request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How a call that needs no credential is guarded all the same.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// It makes a credential, or tells names: a foreign page must not send it.
    ToOurPage,
    /// A browser goes there by itself, also from a provider's page. It tells nothing and is bound to the browser by its
    /// own means.
    ToNavigation,
}

/// The calls of the API that need no credential, each with its reason.
const OPEN: [(Method, &str, Open); 5] = [
    // It makes one, of a password.
    (Method::POST, "/api/v1/session", Open::ToOurPage),
    // It makes an account, of an invitation's secret.
    (Method::POST, "/api/v1/invitations/accept", Open::ToOurPage),
    // The sign-in page asks before anybody is signed in; names only.
    (Method::GET, "/api/v1/auth/providers", Open::ToOurPage),
    // The way to a provider, and back with what the provider gives: `state` and a sealed cookie bind the two.
    (Method::GET, "/api/v1/auth/{provider}/login", Open::ToNavigation),
    (Method::GET, "/api/v1/auth/{provider}/callback", Open::ToNavigation),
];
/// What every answer says to a browser, unless it says otherwise itself: it is what its type says, stands in no frame, is
/// not read by pages of others, runs nothing, and is kept by nobody.
const HARDENED: [(HeaderName, &str); 8] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), hid=(), magnetometer=(), \
         microphone=(), midi=(), payment=(), serial=(), usb=()",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

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
    let origins = api.access.origins();
    if let Some(open) = open(request) {
        let is_ambient = api.access.has_cookie(headers) || vouched.is_some();
        return match open {
            Open::ToOurPage if request.method().is_safe() => origins.check(headers, false),
            // Who makes somebody sign in under another name reads what he then does.
            Open::ToOurPage => {
                origins.check_change(headers, is_ambient).and_then(|()| body::require_json(request))
            }
            Open::ToNavigation => Ok(()),
        }
        .inspect_err(|_| refused("origin"));
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
    if !request.method().is_safe() {
        origins.check_change(headers, caller.is_ambient()).inspect_err(|_| refused("origin"))?;
        body::require_json(request)?;
    }
    // It changes nothing, but a foreign page could read from it: the same-origin policy does not hold for WebSockets.
    if ticket::is_upgrade(request) {
        origins.check(headers, caller.is_ambient()).inspect_err(|_| refused("origin"))?;
    }
    request.extensions_mut().insert(caller);
    Ok(())
}

/// Whether a method of a route needs no credential.
pub(super) fn is_open(method: &str, path: &str) -> bool {
    OPEN.iter().any(|(open, route, _)| open.as_str() == method && *route == path)
}

/// How a call is open, if it is.
fn open(request: &Request) -> Option<Open> {
    let matched = request.extensions().get::<MatchedPath>()?;
    let is_it =
        |(method, path, _): &&(Method, &str, Open)| request.method() == method && matched.as_str() == *path;
    OPEN.iter().find(is_it).map(|(_, _, open)| *open)
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
    response
}

/// Gives every answer, of the API, the page and the status routes, the headers that browsers want.
pub(super) async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HARDENED {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
