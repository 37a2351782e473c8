//! Who a client is, by the certificate that it proved to have.

use tokio_rustls::rustls::ServerConnection;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate, X509Error};

/// A client's certificate, verified against the port's authorities: an extension of each request of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The common name of its subject; empty, if it has none.
    pub subject: String,
    /// The DNS names that it is for.
    pub dns_names: Vec<String>,
}

impl PeerCertificate {
    /// Of a connection whose handshake is finished; nothing, if the client showed none.
    pub(super) fn of(connection: &ServerConnection) -> Result<Option<Self>, X509Error> {
        let Some([shown, ..]) = connection.peer_certificates() else { return Ok(None) };
        let (_, certificate) = X509Certificate::from_der(shown).map_err(|_| X509Error::InvalidCertificate)?;
        let subject = match certificate.subject().iter_common_name().next() {
            Some(name) => name.as_str()?.to_owned(),
            None => String::new(),
        };
        let names = certificate.subject_alternative_name()?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let dns_names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        Ok(Some(Self { subject, dns_names: dns_names.collect() }))
    }
}
