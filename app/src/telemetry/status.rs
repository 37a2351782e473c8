//! `/healthz`, `/readyz` and `/metrics`, the same on every role's port.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus::{Registry, TextEncoder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use crate::config;

/// Which parts there are, and whether each is ready.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Vec<(&'static str, watch::Receiver<bool>)>);

impl Readiness {
    /// Adds a part, not ready yet; what it tells its being ready with.
    pub(crate) fn add(&mut self, part: &'static str) -> watch::Sender<bool> {
        let (sender, receiver) = watch::channel(false);
        self.0.push((part, receiver));
        sender
    }

    /// The parts that are not ready.
    pub(crate) fn waiting_for(&self) -> Vec<&'static str> {
        self.0.iter().filter(|(_, ready)| !*ready.borrow()).map(|(part, _)| *part).collect()
    }

    /// Waits until every part is ready, or has gone.
    pub(crate) async fn wait(&self) {
        for (_, ready) in &self.0 {
            // A part that has gone is reported by whoever waits for its end.
            _ = ready.clone().wait_for(|ready| *ready).await;
        }
    }
}

/// What the routes answer from. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Status(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    readiness: Readiness,
    metrics_open: bool,
    metrics_token: Option<SecretString>,
}

impl Status {
    /// Of these parts.
    pub(crate) fn new(registry: Registry, readiness: Readiness, config: &config::Telemetry) -> Self {
        Self(Arc::new(Inner {
            registry,
            readiness,
            metrics_open: config.metrics_open,
            metrics_token: config.metrics_token.clone(),
        }))
    }

    /// The routes.
    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self.clone())
    }

    fn may_read_metrics(&self, headers: &HeaderMap) -> bool {
        if self.0.metrics_open {
            return true;
        }
        let Some(token) = &self.0.metrics_token else { return false };
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else { return false };
        value.as_bytes().split_at_checked(b"Bearer ".len()).is_some_and(|(scheme, presented)| {
            scheme.eq_ignore_ascii_case(b"Bearer ")
                && bool::from(presented.ct_eq(token.expose_secret().as_bytes()))
        })
    }
}

async fn ready(State(status): State<Status>) -> Response {
    let waiting_for = status.0.readiness.waiting_for();
    let code = if waiting_for.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({"ready": waiting_for.is_empty(), "waiting_for": waiting_for}))).into_response()
}

async fn metrics(State(status): State<Status>, headers: HeaderMap) -> Response {
    if !status.may_read_metrics(&headers) {
        let body = json!({"error": {
            "code": "unauthenticated",
            "message": "metrics need a token",
            "hint": "send telemetry.metrics_token as a Bearer token, or set telemetry.metrics_open",
        }});
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], Json(body))
            .into_response();
    }
    match TextEncoder::new().encode_to_string(&status.0.registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics could not be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
