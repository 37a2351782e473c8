//! TLS of a port: certificate, key, the authorities of clients and what those have taken back, read anew when their files
//! change. A client whose certificate does not hold any more then is let go.
//!
//! TLS 1.2 and 1.3 with the suites that rustls deems safe; HTTP/2 or 1.1 as the client likes.

mod lists;
mod material;
mod peer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::server::TlsStream;

use crate::error::Result;
use crate::watched::{RENEW_EVERY, Renewal, Watched};
use lists::Lists;
pub use material::certificates_expire;
use material::{LastLists, Material};
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
    pub clients: Option<Clients>,
}

/// By what clients are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// Their authorities.
    pub ca_file: PathBuf,
    /// Revocation lists, at most one of each authority; of one without a list, every certificate holds.
    pub crl_file: Option<PathBuf>,
    /// Who needs a certificate.
    pub needed: ClientCertificates,
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
    lists_expire: IntGaugeVec,
    reload_failures: IntCounterVec,
    handshake_failures: IntCounterVec,
    ended: IntCounterVec,
}

impl TlsMetrics {
    /// Registers them, once a process.
    pub fn new(registry: &Registry) -> Result<Self> {
        let role = &["role"];
        let expires = Opts::new(
            "heliograph_tls_certificate_expires_seconds",
            "When the certificate of a port that is in use expires, in seconds since 1970",
        );
        let lists_expire = Opts::new(
            "heliograph_tls_revocation_list_expires_seconds",
            "When the first revocation list that is in use runs out, in seconds since 1970",
        );
        let ended = Opts::new(
            "heliograph_tls_connections_ended_total",
            "Connections that were ended as the client's certificate does not hold any more",
        );
        let reload_failures = Opts::new(
            "heliograph_tls_reload_failures_total",
            "Changed files of a port's certificates that could not be used",
        );
        let handshake_failures =
            Opts::new("heliograph_tls_handshake_failures_total", "TLS handshakes of clients that failed");
        let metrics = Self {
            expires: IntGaugeVec::new(expires, role)?,
            lists_expire: IntGaugeVec::new(lists_expire, role)?,
            ended: IntCounterVec::new(ended, role)?,
            reload_failures: IntCounterVec::new(reload_failures, role)?,
            handshake_failures: IntCounterVec::new(handshake_failures, role)?,
        };
        registry.register(Box::new(metrics.expires.clone()))?;
        registry.register(Box::new(metrics.lists_expire.clone()))?;
        registry.register(Box::new(metrics.ended.clone()))?;
        registry.register(Box::new(metrics.reload_failures.clone()))?;
        registry.register(Box::new(metrics.handshake_failures.clone()))?;
        Ok(metrics)
    }
}

/// TLS of one port. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls {
    role: &'static str,
    material: Arc<Watched<Material>>,
    /// Told whenever there is new material.
    renewed: Arc<watch::Sender<()>>,
    /// Held by who looks at the files; whether it was told that a list has run out.
    looking: Arc<Mutex<bool>>,
    clients: Option<ClientCertificates>,
    metrics: TlsMetrics,
}

impl Tls {
    /// Reads and checks the files. `role` is what metrics and log call the port.
    pub async fn open(files: TlsFiles, role: &'static str, metrics: &TlsMetrics) -> Result<Self> {
        let clients = files.clients.as_ref().map(|clients| clients.needed);
        let of_clients = files.clients.iter().flat_map(|of| [&of.ca_file].into_iter().chain(&of.crl_file));
        let paths = [&files.cert_file, &files.key_file].into_iter().chain(of_clients).cloned().collect();
        let last = LastLists::default();
        let material = Watched::open(role, paths, move || Material::read(&files, &last)).await?;
        let tls = Self {
            role,
            material: Arc::new(material),
            renewed: Arc::new(watch::Sender::new(())),
            looking: Arc::default(),
            clients,
            metrics: metrics.clone(),
        };
        tls.show();
        // Shown from the start, so that the first one is seen as a rise.
        for counter in [&metrics.reload_failures, &metrics.handshake_failures, &metrics.ended] {
            counter.with_label_values(&[role]);
        }
        Ok(tls)
    }

    /// Looks whether the files have changed. New ones hold for connections that begin later; those that are there end, if
    /// their client's certificate does not hold any more.
    pub async fn renew(&self) -> Renewal {
        let mut is_told = self.looking.lock().await;
        let renewal = self.material.renew().await;
        match renewal {
            Renewal::Renewed => {
                self.show();
                self.renewed.send_replace(());
                if let Some(error) = &self.material.get().complaint {
                    let (role, error) = (self.role, error.to_string());
                    tracing::warn!(
                        role,
                        error,
                        "the revocation list cannot be read anew, the last one is used"
                    );
                    self.metrics.reload_failures.with_label_values(&[role]).inc();
                }
            }
            Renewal::Refused { known: false } => {
                self.metrics.reload_failures.with_label_values(&[self.role]).inc();
            }
            Renewal::Same | Renewal::Refused { known: true } => {}
        }
        let has_run_out = self.material.get().lists.as_ref().is_some_and(Lists::has_run_out);
        if has_run_out && !*is_told {
            tracing::warn!(
                role = self.role,
                "a revocation list has run out: it is used until there is a newer one"
            );
        }
        *is_told = has_run_out;
        renewal
    }

    /// Puts into figures what is in use.
    fn show(&self) {
        let (material, role) = (self.material.get(), &[self.role]);
        self.metrics.expires.with_label_values(role).set(material.expires);
        if let Some(lists) = &material.lists {
            self.metrics.lists_expire.with_label_values(role).set(lists.expires);
        }
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
    pub(crate) async fn handshake(&self, stream: TcpStream) -> Option<Agreed> {
        // Before the material: of what comes after it, it is told.
        let renewed = self.renewed.subscribe();
        let acceptor = TlsAcceptor::from(Arc::clone(&self.material.get().server));
        let failed = match timeout(HANDSHAKE_MAX, acceptor.accept(stream).into_fallible()).await {
            Ok(Ok(stream)) => match PeerCertificate::of(stream.get_ref().1) {
                Ok(certificate) => {
                    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                    let chain = chain.iter().map(|one| one.clone().into_owned()).collect();
                    let standing = Standing { chain, tls: self.clone(), renewed };
                    return Some(Agreed { stream, certificate, standing });
                }
                // It is verified, but not to be read by us: who it is stays unknown, so it is nobody.
                Err(error) => Some((error.to_string(), None)),
            },
            Ok(Err((error, stream))) => Some((error.to_string(), Some(stream))),
            Err(_) => None,
        };
        self.metrics.handshake_failures.with_label_values(&[self.role]).inc();
        let (error, stream) = failed.unwrap_or_else(|| ("it took too long".to_owned(), None));
        tracing::debug!(error, "a TLS handshake failed");
        if let Some(stream) = stream {
            // It has gone, or reads: both are the client's matter.
            drop(timeout(ALERT_MAX, part(stream)).await);
        }
        None
    }
}

/// A connection that is agreed on.
pub(crate) struct Agreed {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) certificate: Option<PeerCertificate>,
    pub(crate) standing: Standing,
}

/// What a connection's client has proved itself with, and whether that still holds.
pub(crate) struct Standing {
    /// Its certificate first; empty, if it has shown none.
    chain: Vec<CertificateDer<'static>>,
    tls: Tls,
    renewed: watch::Receiver<()>,
}

impl Standing {
    /// Ends when the client's certificate does not hold any more: when it, or its authority, was taken back. Its time is
    /// looked at then, too.
    pub(crate) async fn lost(mut self) {
        let Some((own, between)) = self.chain.split_first() else { return std::future::pending().await };
        while self.renewed.changed().await.is_ok() {
            let material = self.tls.material.get();
            let verified =
                material.verifier.as_ref().map(|v| v.verify_client_cert(own, between, UnixTime::now()));
            if !matches!(verified, Some(Ok(_))) {
                self.tls.metrics.ended.with_label_values(&[self.tls.role]).inc();
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

/// Says that nothing more comes, and listens until the client has heard it.
async fn part(mut stream: TcpStream) -> std::io::Result<()> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(ALERT_BYTES_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}
