//! A certificate authority of a test, and the folder of a port with what it has issued.

use std::path::PathBuf;

use heliograph_serve::{ClientCertificates, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use time::OffsetDateTime;

/// An authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// For a host name or address.
    pub(crate) fn issue(&self, name: &str) -> Issued {
        self.issue_until(name, i64::from(u32::MAX))
    }

    /// Likewise, until then, in seconds since 1970.
    pub(crate) fn issue_until(&self, name: &str, end: i64) -> Issued {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("the {name}"));
        params.not_after = OffsetDateTime::from_unix_timestamp(end).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A client that trusts this authority only, and proves itself so.
    pub(crate) fn client(&self, own: Option<&Issued>) -> reqwest::ClientBuilder {
        let trusted = reqwest::Certificate::from_pem(self.pem().as_bytes()).unwrap();
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]);
        match own {
            Some(own) => {
                let pem = format!("{}{}", own.certificate, own.key);
                builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap())
            }
            None => builder,
        }
    }
}

/// What a port reads.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new(own: &Issued) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.put(own);
        folder
    }

    /// Puts another certificate and its key in the place, one after the other.
    pub(crate) fn put(&self, own: &Issued) {
        self.write("tls.crt", &own.certificate);
        self.write("tls.key", &own.key);
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn files(&self, clients: Option<(&Authority, ClientCertificates)>) -> TlsFiles {
        let clients = clients.map(|(authority, who)| {
            self.write("clients.crt", &authority.pem());
            (self.path("clients.crt"), who)
        });
        TlsFiles { cert_file: self.path("tls.crt"), key_file: self.path("tls.key"), clients }
    }
}
