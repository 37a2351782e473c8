//! PEM files → what rustls serves with. A key is read into memory that rustls wipes, and nowhere else.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::lists::Lists;
use super::{ClientCertificates, Clients, TlsFiles};
use crate::error::{Error, Result};

/// What connections begin with.
pub(super) struct Material {
    pub(super) server: Arc<ServerConfig>,
    /// When the first certificate of the chain expires, in seconds since 1970.
    pub(super) expires: i64,
    /// Tells whether a client's certificate holds; none, where nobody is asked for one.
    pub(super) verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// What is taken back, where a file says so.
    pub(super) lists: Option<Lists>,
    /// What is wrong with that file, if older lists are used than are there.
    pub(super) complaint: Option<Error>,
}

/// The last revocation lists that could be used. A bad one must neither let anybody in again nor keep a new certificate of
/// the port from being used.
pub(super) type LastLists = Mutex<Option<Lists>>;

impl Material {
    /// Reads all files; they must fit one another, but for revocation lists, in whose place the last ones are taken.
    pub(super) fn read(files: &TlsFiles, last: &LastLists) -> Result<Self> {
        let chain = certificates("cert_file", &files.cert_file)?;
        let expires = expiry(&chain).map_err(|e| Error::file("cert_file", &files.cert_file, e))?;
        let key = PrivateKeyDer::from_pem_file(&files.key_file)
            .map_err(|e| Error::file("key_file", &files.key_file, format!("no private key in PEM: {e}")))?;
        // Named, not the process's default: others in the tree may bring one of their own.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients =
            files.clients.as_ref().map(|clients| Known::read(clients, &provider, last)).transpose()?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|e| Error::file("cert_file", &files.cert_file, e))?;
        let Known { verifier, lists, complaint } = clients.unwrap_or_default();
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_single_cert(chain, key).map_err(|e| {
            let key = files.key_file.display();
            Error::file("cert_file", &files.cert_file, format!("does not serve with the key {key}: {e}"))
        })?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Only now is it what is used.
        last.lock().clone_from(&lists);
        Ok(Self { server: Arc::new(server), expires, verifier, lists, complaint })
    }
}

/// By what clients are known.
#[derive(Default)]
struct Known {
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    lists: Option<Lists>,
    complaint: Option<Error>,
}

impl Known {
    fn read(clients: &Clients, provider: &Arc<CryptoProvider>, last: &LastLists) -> Result<Self> {
        let authorities = certificates("client_ca_file", &clients.ca_file)?;
        let bad = |e: &dyn std::fmt::Display| Error::file("client_ca_file", &clients.ca_file, e);
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            roots.add(authority.clone()).map_err(|e| bad(&e))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = match clients.needed {
            ClientCertificates::Required => builder,
            ClientCertificates::ExceptStatus | ClientCertificates::Optional => {
                builder.allow_unauthenticated()
            }
        };
        let Some(path) = &clients.crl_file else {
            return Ok(Self { verifier: Some(builder.build().map_err(|e| bad(&e))?), ..Self::default() });
        };
        // An authority without a list has taken nothing back, as far as we are told. That a list has run out is no reason
        // to turn everybody away: it is told at the start, and by a figure.
        let builder = builder.allow_unknown_revocation_status();
        let by = |lists: &Lists| builder.clone().with_crls(lists.lists.iter().cloned()).build();
        let read = Lists::read(path, &authorities)
            .and_then(|lists| Ok((by(&lists).map_err(|e| Error::file("client_crl_file", path, e))?, lists)));
        let (verifier, lists, complaint) = match (read, last.lock().clone()) {
            (Ok((verifier, lists)), _) => (verifier, lists, None),
            (Err(error), Some(last)) => (by(&last).map_err(|e| bad(&e))?, last, Some(error)),
            (Err(error), None) => return Err(error),
        };
        Ok(Self { verifier: Some(verifier), lists: Some(lists), complaint })
    }
}

fn certificates(field: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| Error::file(field, path, e))?;
    if chain.is_empty() {
        return Err(Error::file(field, path, "it has no certificate: give PEM"));
    }
    Ok(chain)
}

/// When the first certificate of a PEM file expires, in seconds since 1970. `field` is the setting that names the file.
pub fn certificates_expire(field: &'static str, path: &Path) -> Result<i64> {
    expiry(&certificates(field, path)?).map_err(|e| Error::file(field, path, e))
}

/// When the first of a chain expires.
fn expiry(chain: &[CertificateDer<'_>]) -> Result<i64, String> {
    let ends = chain.iter().map(|der| {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|e| e.to_string())?;
        Ok(certificate.validity().not_after.timestamp())
    });
    let ends = ends.collect::<Result<Vec<_>, String>>()?;
    ends.into_iter().min().ok_or_else(|| "it has no certificate".to_owned())
}
