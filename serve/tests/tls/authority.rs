//! A certificate authority of a test, and the folder of a port with what it has issued.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use heliograph_serve::{ClientCertificates, Clients, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use time::OffsetDateTime;

/// Each certificate has its own.
static SERIALS: AtomicU64 = AtomicU64::new(1);

/// An authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
    serial: SerialNumber,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
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
        let serial = SerialNumber::from(SERIALS.fetch_add(1, Ordering::Relaxed));
        params.serial_number = Some(serial.clone());
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem(), serial }
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A list of what it has taken back, which is to be replaced by then, in seconds since 1970.
    pub(crate) fn list(&self, revoked: &[&Issued], end: i64) -> String {
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        let entry = |issued: &&Issued| RevokedCertParams {
            serial_number: issued.serial.clone(),
            revocation_time: at(1_000_000_000),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: at(900_000_000),
            next_update: at(end),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
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

    /// Likewise, with what the authority has taken back.
    pub(crate) fn files_with_list(
        &self,
        authority: &Authority,
        list: &str,
        who: ClientCertificates,
    ) -> TlsFiles {
        self.write("clients.crl", list);
        let files = self.files(Some((authority, who)));
        let clients = files.clients.map(|of| Clients { crl_file: Some(self.path("clients.crl")), ..of });
        TlsFiles { clients, ..files }
    }

    pub(crate) fn files(&self, clients: Option<(&Authority, ClientCertificates)>) -> TlsFiles {
        let clients = clients.map(|(authority, who)| {
            self.write("clients.crt", &authority.pem());
            Clients { ca_file: self.path("clients.crt"), crl_file: None, needed: who }
        });
        TlsFiles { cert_file: self.path("tls.crt"), key_file: self.path("tls.key"), clients }
    }
}
