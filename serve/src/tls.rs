//! TLS of a port: certificate, key and the authorities of clients, read anew when their files change.
//!
//! TLS 1.2 and 1.3 with the suites that rustls deems safe; HTTP/2 or 1.1 as the client likes.

mod material;
mod peer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::error::Result;
use crate::watched::{RENEW_EVERY, Renewal, Watched};
use material::Material;
pub use peer::PeerCertificate;

/// Longest time of a handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long a client whose handshake failed may take to read why; a close at once would take the alert with it.
const ALERT_MAX: Duration = Duration::from_secs(1);
/// Most that such a client is listened to.
const ALERT_BYTES_MAX: u64 = 64 << 10;

/// Where a port's certificates lie: PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The port's certificate, and those between it and its authority.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// The authorities of clients, and who needs a certificate of theirs; nobody is asked without.
    pub clients: Option<(PathBuf, ClientCertificates)>,
}

/// Who needs a certificate of an authority that is known. One of an unknown authority ends the handshake anyhow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Everybody; the handshake fails without.
    Required,
    /// Who calls anything but the status routes: probes of Kubernetes show none. See [`crate::Port::guard`].
    ExceptStatus,
    /// Nobody; who shows one is known by it.
    Optional,
}

/// What the ports of a process tell about their TLS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TlsMetrics {
    expires: IntGaugeVec,
    reload_failures: IntCounterVec,
    handshake_failures: IntCounterVec,
}

impl TlsMetrics {
    /// Registers them, once a process.
    pub fn new(registry: &Registry) -> Result<Self> {
        let role = &["role"];
        let expires = Opts::new(
            "heliograph_tls_certificate_expires_seconds",
            "When the certificate of a port that is in use expires, in seconds since 1970",
        );
        let reload_failures = Opts::new(
            "heliograph_tls_reload_failures_total",
            "Changed files of a port's certificates that could not be used",
        );
        let handshake_failures =
            Opts::new("heliograph_tls_handshake_failures_total", "TLS handshakes of clients that failed");
        let metrics = Self {
            expires: IntGaugeVec::new(expires, role)?,
            reload_failures: IntCounterVec::new(reload_failures, role)?,
            handshake_failures: IntCounterVec::new(handshake_failures, role)?,
        };
        registry.register(Box::new(metrics.expires.clone()))?;
        registry.register(Box::new(metrics.reload_failures.clone()))?;
        registry.register(Box::new(metrics.handshake_failures.clone()))?;
        Ok(metrics)
    }
}

/// TLS of one port. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls {
    material: Arc<Watched<Material>>,
    clients: Option<ClientCertificates>,
    expires: IntGauge,
    reload_failures: IntCounter,
    handshake_failures: IntCounter,
}

impl Tls {
    /// Reads and checks the files. `role` is what metrics and log call the port.
    pub async fn open(files: TlsFiles, role: &'static str, metrics: &TlsMetrics) -> Result<Self> {
        let clients = files.clients.as_ref().map(|(_, clients)| *clients);
        let paths = [&files.cert_file, &files.key_file]
            .into_iter()
            .chain(files.clients.as_ref().map(|(ca, _)| ca))
            .cloned()
            .collect();
        let material = Watched::open(role, paths, move || Material::read(&files)).await?;
        let tls = Self {
            material: Arc::new(material),
            clients,
            expires: metrics.expires.with_label_values(&[role]),
            reload_failures: metrics.reload_failures.with_label_values(&[role]),
            handshake_failures: metrics.handshake_failures.with_label_values(&[role]),
        };
        tls.expires.set(tls.material.get().expires);
        Ok(tls)
    }

    /// Looks whether the files have changed; new ones hold for connections that begin later.
    pub async fn renew(&self) -> Renewal {
        let renewal = self.material.renew().await;
        match renewal {
            Renewal::Renewed => self.expires.set(self.material.get().expires),
            Renewal::Refused { known: false } => self.reload_failures.inc(),
            Renewal::Same | Renewal::Refused { known: true } => {}
        }
        renewal
    }

    /// Looks from time to time, for ever.
    pub(crate) async fn keep_fresh(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            self.renew().await;
        }
    }

    /// Who needs a certificate.
    pub(crate) fn clients(&self) -> Option<ClientCertificates> {
        self.clients
    }

    /// Agrees with a client, and learns who it is; nothing, if that fails or takes too long.
    pub(crate) async fn handshake(
        &self,
        stream: TcpStream,
    ) -> Option<(TlsStream<TcpStream>, Option<PeerCertificate>)> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.material.get().server));
        let failed = match timeout(HANDSHAKE_MAX, acceptor.accept(stream).into_fallible()).await {
            Ok(Ok(stream)) => match PeerCertificate::of(stream.get_ref().1) {
                Ok(peer) => return Some((stream, peer)),
                // It is verified, but not to be read by us: who it is stays unknown, so it is nobody.
                Err(error) => Some((error.to_string(), None)),
            },
            Ok(Err((error, stream))) => Some((error.to_string(), Some(stream))),
            Err(_) => None,
        };
        self.handshake_failures.inc();
        let (error, stream) = failed.unwrap_or_else(|| ("it took too long".to_owned(), None));
        tracing::debug!(error, "a TLS handshake failed");
        if let Some(stream) = stream {
            // It has gone, or reads: both are the client's matter.
            drop(timeout(ALERT_MAX, part(stream)).await);
        }
        None
    }
}

/// Says that nothing more comes, and listens until the client has heard it.
async fn part(mut stream: TcpStream) -> std::io::Result<()> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(ALERT_BYTES_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}
