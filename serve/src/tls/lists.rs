//! Revocation lists: clients' certificates that are taken back before their time has run out.

use std::path::Path;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::error::{Error, Result};

/// The setting that names their file.
const FIELD: &str = "client_crl_file";

/// What authorities have taken back. Cheap enough to clone: it is at each renewal.
#[derive(Clone)]
pub(super) struct Lists {
    pub(super) lists: Vec<CertificateRevocationListDer<'static>>,
    /// When the first of them should have been replaced by a newer one, in seconds since 1970.
    pub(super) expires: i64,
}

impl Lists {
    /// Reads one or more lists, at most one of each of these authorities. Whoever else signed one is refused: it would say
    /// nothing about any client.
    pub(super) fn read(path: &Path, authorities: &[CertificateDer<'_>]) -> Result<Self> {
        let bad = |reason: String| Error::file(FIELD, path, reason);
        let lists = CertificateRevocationListDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| bad(e.to_string()))?;
        let (mut issuers, mut expires) = (Vec::new(), i64::MAX);
        for list in &lists {
            let (_, list) = CertificateRevocationList::from_der(list).map_err(|e| bad(e.to_string()))?;
            check(&list, authorities).map_err(bad)?;
            let issuer = list.issuer().to_string();
            if issuers.contains(&issuer) {
                return Err(bad(format!(
                    "it has two lists of {issuer:?}: give the newest of each authority"
                )));
            }
            issuers.push(issuer);
            expires = expires.min(list.next_update().map_or(i64::MAX, |end| end.timestamp()));
        }
        if lists.is_empty() {
            return Err(bad("it has no revocation list: give PEM".to_owned()));
        }
        let lists = Self { lists, expires };
        if lists.has_run_out() {
            return Err(bad(format!(
                "a list in it has run out, at {} seconds since 1970: bring a newer one",
                lists.expires
            )));
        }
        Ok(lists)
    }

    /// Whether there should be a newer one by now.
    pub(super) fn has_run_out(&self) -> bool {
        i64::try_from(UnixTime::now().as_secs()).is_ok_and(|now| self.expires < now)
    }
}

/// Whether the list is of one of the authorities; of several with the same name, of each, as names are all that a
/// certificate says.
fn check(list: &CertificateRevocationList<'_>, authorities: &[CertificateDer<'_>]) -> Result<(), String> {
    let issuer = list.issuer();
    let mut is_known = false;
    for authority in authorities {
        let (_, authority) = X509Certificate::from_der(authority).map_err(|e| e.to_string())?;
        if authority.subject().as_raw() != issuer.as_raw() {
            continue;
        }
        let usage = authority.key_usage().map_err(|e| e.to_string())?;
        if usage.is_some_and(|usage| !usage.value.crl_sign()) {
            return Err(format!("the authority \"{issuer}\" may not sign revocation lists"));
        }
        list.verify_signature(authority.public_key())
            .map_err(|_| format!("the list of \"{issuer}\" is not signed by that authority's key"))?;
        is_known = true;
    }
    if is_known {
        Ok(())
    } else {
        Err(format!("client_ca_file has no authority \"{issuer}\", whose list it is"))
    }
}
