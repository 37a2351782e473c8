//! PEM files → what rustls serves with. A key is read into memory that rustls wipes, and nowhere else.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{ClientCertificates, TlsFiles};
use crate::error::{Error, Result};

/// What connections begin with.
pub(super) struct Material {
    pub(super) server: Arc<ServerConfig>,
    /// When the first certificate of the chain expires, in seconds since 1970.
    pub(super) expires: i64,
}

impl Material {
    /// Reads all files; they must fit one another.
    pub(super) fn read(files: &TlsFiles) -> Result<Self> {
        let chain = certificates("cert_file", &files.cert_file)?;
        let expires = expiry(&chain).map_err(|e| Error::file("cert_file", &files.cert_file, e))?;
        let key = PrivateKeyDer::from_pem_file(&files.key_file)
            .map_err(|e| Error::file("key_file", &files.key_file, format!("no private key in PEM: {e}")))?;
        // Named, not the process's default: others in the tree may bring one of their own.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|e| Error::file("cert_file", &files.cert_file, e))?;
        let builder = match &files.clients {
            Some((path, clients)) => builder.with_client_cert_verifier(verifier(path, *clients, provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_single_cert(chain, key).map_err(|e| {
            let key = files.key_file.display();
            Error::file("cert_file", &files.cert_file, format!("does not serve with the key {key}: {e}"))
        })?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { server: Arc::new(server), expires })
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

fn verifier(
    path: &Path,
    clients: ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for authority in certificates("client_ca_file", path)? {
        roots.add(authority).map_err(|e| Error::file("client_ca_file", path, e))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match clients {
        ClientCertificates::Required => builder,
        ClientCertificates::ExceptStatus | ClientCertificates::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|e| Error::file("client_ca_file", path, e))
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
