//! A listener and what it speaks.

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use crate::tls::{ClientCertificates, PeerCertificate, Tls};

/// What a caller without a certificate is told.
const NO_CERTIFICATE: &str =
    r#"{"error":{"code":"certificate_required","message":"this route needs a client certificate"}}"#;

/// Where a router is served.
#[derive(Debug)]
pub struct Port {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Tls>,
}

impl Port {
    /// Without TLS: for loopback, and where something else encrypts.
    pub fn plain(listener: TcpListener) -> Self {
        Self { listener, tls: None }
    }

    /// With TLS.
    pub fn encrypted(listener: TcpListener, tls: Tls) -> Self {
        Self { listener, tls: Some(tls) }
    }

    /// Whether it speaks TLS.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// The address that it got.
    pub fn local_addr(&self) -> std::io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// The same routes, but where clients need a certificate for all except the status routes, none of these without:
    /// they answer 403. To be called before the status routes are merged.
    pub fn guard(&self, router: Router) -> Router {
        match self.tls.as_ref().and_then(Tls::clients) {
            Some(ClientCertificates::ExceptStatus) => router.layer(from_fn(certified)),
            Some(ClientCertificates::Required | ClientCertificates::Optional) | None => router,
        }
    }
}

async fn certified(request: Request, next: Next) -> Response {
    if request.extensions().get::<PeerCertificate>().is_some() {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, [(header::CONTENT_TYPE, "application/json")], NO_CERTIFICATE).into_response()
}
