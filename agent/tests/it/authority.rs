//! A certificate authority of a test, and the folder of a pod with what it has issued.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heliograph_agent::Tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// An authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub(crate) struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for a host name or address.
    pub(crate) fn issue(&self, name: &str) -> Issued {
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// For a server called `name`, which takes clients with a certificate of `clients` only.
    pub(crate) fn server(&self, name: &str, clients: &Self) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(clients.0.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let Issued { certificate, key } = self.issue(name);
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = ServerConfig::builder().with_client_cert_verifier(verifier);
        Arc::new(config.with_single_cert(vec![der(&certificate)], key).unwrap())
    }
}

/// A certificate as it goes over the wire.
pub(crate) fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A folder as the kubelet fills it from Secrets and tokens: what it holds changes as a whole, by a link.
pub(crate) struct Projected {
    dir: PathBuf,
    versions: usize,
}

impl Projected {
    /// What a pod is given: the authority that it trusts, its own certificate if it has one, and its token.
    pub(crate) fn new(dir: &Path, trusted: &Authority, own: Option<&Issued>, token: &str) -> Self {
        let mut projected = Self { dir: dir.to_owned(), versions: 0 };
        projected.swap(trusted, own, token);
        for name in ["ca.crt", "tls.crt", "tls.key", "token"] {
            symlink(Path::new("..data").join(name), dir.join(name)).unwrap();
        }
        projected
    }

    /// Puts other content in the place.
    pub(crate) fn swap(&mut self, trusted: &Authority, own: Option<&Issued>, token: &str) {
        let name = format!("..version_{}", self.versions);
        self.versions += 1;
        let fresh = self.dir.join(&name);
        fs::create_dir_all(&fresh).unwrap();
        fs::write(fresh.join("ca.crt"), trusted.0.pem()).unwrap();
        fs::write(fresh.join("token"), token).unwrap();
        if let Some(Issued { certificate, key }) = own {
            fs::write(fresh.join("tls.crt"), certificate).unwrap();
            fs::write(fresh.join("tls.key"), key).unwrap();
        }
        symlink(&name, self.dir.join("..data_tmp")).unwrap();
        fs::rename(self.dir.join("..data_tmp"), self.dir.join("..data")).unwrap();
    }

    /// The setting that names these files.
    pub(crate) fn tls(&self, has_own: bool) -> Tls {
        let identity = has_own.then(|| (self.dir.join("tls.crt"), self.dir.join("tls.key")));
        Tls { ca_file: Some(self.dir.join("ca.crt")), identity }
    }

    /// The token's file.
    pub(crate) fn token(&self) -> PathBuf {
        self.dir.join("token")
    }
}
