//! What the agent's TLS connections are made with: PEM files, read anew when they change.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::blocking;
use super::complaint::{Complaints, with_causes};
use super::stamp::Stamp;
use crate::config::Tls;
use crate::error::{Error, Result};

/// How long a connection may take: an indexer is near, or away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an answer may take; then the batch is sent again, and recognised.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The certificates of the moment.
pub(super) struct Certificates {
    files: Tls,
    held: Mutex<(Arc<Pem>, Vec<Stamp>)>,
    complaints: Complaints,
}

/// What clients are made with.
#[derive(Default)]
pub(super) struct Pem {
    authorities: Vec<reqwest::Certificate>,
    identity: Option<reqwest::Identity>,
    /// When the first certificate of it expires, in seconds since 1970.
    expires: Option<i64>,
}

impl Certificates {
    /// Reads and checks the files.
    pub(super) async fn open(files: Tls) -> Result<Self> {
        let of = files.clone();
        let held = blocking(move || {
            // Before the content: a change in between is seen the next time.
            let stamps = stamps(&of)?;
            Ok((Arc::new(Pem::read(&of)?), stamps))
        });
        Ok(Self { files, held: Mutex::new(held.await?), complaints: Complaints::default() })
    }

    /// Looks whether the files have changed; says whether new ones are in use. Where they cannot be read, or do not
    /// fit one another (yet), the last ones stay.
    pub(super) async fn renew(&self) -> bool {
        if paths(&self.files).next().is_none() {
            return false;
        }
        let (files, known) = (self.files.clone(), self.held.lock().1.clone());
        let read = blocking(move || {
            let stamps = stamps(&files)?;
            if stamps == known { Ok(None) } else { Ok(Some((Arc::new(Pem::read(&files)?), stamps))) }
        });
        match read.await {
            Ok(None) => false,
            Ok(Some(read)) => {
                *self.held.lock() = read;
                tracing::info!("certificates read anew");
                true
            }
            Err(error) => {
                let error = with_causes(&error);
                if self.complaints.is_due(&error, Instant::now()) {
                    tracing::warn!(error, "certificates cannot be read anew, the last ones are used");
                }
                false
            }
        }
    }

    /// What is in use.
    pub(super) fn pem(&self) -> Arc<Pem> {
        Arc::clone(&self.held.lock().0)
    }
}

impl Pem {
    fn read(files: &Tls) -> Result<Self> {
        let read = |path: &Path| std::fs::read(path).map_err(Error::disk(path));
        let bad = |what: &'static str, path: &Path| {
            let value = path.display().to_string();
            move |e: reqwest::Error| Error::Config { what, value, reason: with_causes(&e) }
        };
        let mut pem = Self::default();
        if let Some(path) = &files.ca_file {
            pem.authorities =
                reqwest::Certificate::from_pem_bundle(&read(path)?).map_err(bad("CA file", path))?;
            if pem.authorities.is_empty() {
                let reason = "it has no certificate: give PEM".to_owned();
                return Err(Error::Config { what: "CA file", value: path.display().to_string(), reason });
            }
            // Whether they are certificates at all shows when a client is made.
            pem.builder().build().map_err(bad("CA file", path))?;
        }
        if let Some((chain, key)) = &files.identity {
            let text = zeroize::Zeroizing::new([read(chain)?, vec![b'\n'], read(key)?].concat());
            let identity = reqwest::Identity::from_pem(&text).map_err(bad("client certificate", chain))?;
            pem.identity = Some(identity);
            pem.expires = expiry(&text);
            // So does whether the key is that of the certificate.
            pem.builder().build().map_err(bad("client certificate", chain))?;
        }
        Ok(pem)
    }

    fn builder(&self) -> reqwest::ClientBuilder {
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true);
        if !self.authorities.is_empty() {
            builder = builder.tls_certs_merge(self.authorities.iter().cloned());
        }
        if let Some(identity) = &self.identity {
            builder = builder.identity(identity.clone());
        }
        builder
    }

    /// When the agent's own certificate expires, in seconds since 1970, if it has one.
    pub(super) fn expires(&self) -> Option<i64> {
        self.expires
    }

    /// A client whose connections go to `address`, if that is given.
    pub(super) fn client(&self, url: &str, address: Option<SocketAddr>) -> Result<reqwest::Client> {
        let mut builder = self.builder();
        let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
        if let Some((host, address)) = host.zip(address) {
            builder = builder.resolve(&host, address);
        }
        builder
            .build()
            .map_err(|e| Error::Unavailable { what: "make an HTTP client", reason: with_causes(&e) })
    }
}

/// When the first certificate expires of those that are here; keys are passed over.
fn expiry(text: &[u8]) -> Option<i64> {
    let certificates =
        x509_parser::pem::Pem::iter_from_buffer(text).flatten().filter(|pem| pem.label == "CERTIFICATE");
    let ends = certificates.filter_map(|pem| Some(pem.parse_x509().ok()?.validity().not_after.timestamp()));
    ends.min()
}

fn paths(files: &Tls) -> impl Iterator<Item = &PathBuf> {
    let identity = files.identity.iter().flat_map(|(chain, key)| [chain, key]);
    files.ca_file.iter().chain(identity)
}

fn stamps(files: &Tls) -> Result<Vec<Stamp>> {
    paths(files).map(|path| Stamp::of(path)).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    #[tokio::test]
    async fn files_that_do_not_fit_one_another_are_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let (chain, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
        let files = Tls { ca_file: None, identity: Some((chain.clone(), key.clone())) };
        let pair = || generate_simple_self_signed(["agent".to_owned()]).unwrap();
        let (first, second): (CertifiedKey<_>, CertifiedKey<_>) = (pair(), pair());
        // As rcgen has it where nothing else is said: the first second of 4096.
        const END: i64 = 67_090_118_400;
        std::fs::write(&chain, first.cert.pem()).unwrap();
        std::fs::write(&key, second.signing_key.serialize_pem()).unwrap();
        let refused = Certificates::open(files.clone()).await.map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("invalid client certificate") && refused.contains("keys"), "{refused}");

        std::fs::write(&key, first.signing_key.serialize_pem()).unwrap();
        let certificates = Certificates::open(files).await.unwrap();
        assert_eq!(certificates.pem().expires(), Some(END));
        let check = async |renewed: bool| {
            let before = certificates.pem();
            assert_eq!(certificates.renew().await, renewed);
            assert_eq!(Arc::ptr_eq(&before, &certificates.pem()), !renewed);
        };
        check(false).await;
        // Written one after the other.
        std::fs::remove_file(&chain).unwrap();
        check(false).await;
        std::fs::write(&chain, second.cert.pem()).unwrap();
        check(false).await;
        std::fs::write(&key, second.signing_key.serialize_pem()).unwrap();
        check(true).await;
        check(false).await;
    }
}
