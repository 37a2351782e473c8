//! What the authority has taken back: its revocation list.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::{Pem, parse_x509_pem};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::{Authority, CLOCKS_DIFFER, READABLE, ROLES, date, put, read};

/// The list and its number.
#[derive(Default)]
struct Revoked {
    number: u64,
    entries: Vec<RevokedCertParams>,
}

/// Takes all certificates of these files back, beside those that were before. Nothing is changed if one of them cannot be.
pub(super) fn revoke(dir: &Path, files: &[PathBuf], now: OffsetDateTime) -> anyhow::Result<String> {
    let authority = Authority::there(dir)?;
    let mut revoked = Revoked::of(dir, &authority)?;
    let mut said = String::new();
    for file in files {
        let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let found = revoked.add(&text, &authority, now).with_context(|| file.display().to_string())?;
        said.push_str(&found);
    }
    revoked.number += 1;
    let list = revoked.signed(&authority, now)?;
    put(&dir.join("ca.crl"), &list, READABLE)?;
    for role in &ROLES {
        let folder = dir.join(role.name);
        if std::fs::exists(&folder).with_context(|| folder.display().to_string())? {
            put(&folder.join("ca.crl"), &list, READABLE)?;
        }
    }
    said.push_str(&format!(
        "\n{} in all are in {}: bring it to all indexers, as client_crl_file. They take it within seconds.\n",
        revoked.entries.len(),
        dir.join("ca.crl").display(),
    ));
    Ok(said)
}

/// The list as it is; an empty one of an authority that has none.
pub(super) fn list(dir: &Path, authority: &Authority, now: OffsetDateTime) -> anyhow::Result<String> {
    let path = dir.join("ca.crl");
    if !authority.is_new {
        Revoked::of(dir, authority)?;
        if let Some(list) = read(&path)? {
            return Ok(list);
        }
    }
    let list = Revoked { number: 1, entries: Vec::new() }.signed(authority, now)?;
    put(&path, &list, READABLE)?;
    Ok(list)
}

impl Revoked {
    /// What was taken back before.
    fn of(dir: &Path, authority: &Authority) -> anyhow::Result<Self> {
        let path = dir.join("ca.crl");
        let Some(text) = read(&path)? else { return Ok(Self::default()) };
        Self::read(&text, authority).with_context(|| path.display().to_string())
    }

    fn read(text: &str, authority: &Authority) -> anyhow::Result<Self> {
        let (_, pem) = parse_x509_pem(text.as_bytes()).context("it is no revocation list in PEM")?;
        let (_, list) =
            CertificateRevocationList::from_der(&pem.contents).context("it is no revocation list")?;
        let (_, parsed) = parse_x509_pem(authority.pem.as_bytes())?;
        list.verify_signature(parsed.parse_x509()?.public_key())
            .map_err(|_| anyhow!("it is not signed by the authority here: bring the right one back"))?;
        let entries = list.iter_revoked_certificates().map(|entry| RevokedCertParams {
            serial_number: SerialNumber::from_slice(entry.raw_serial()),
            revocation_time: entry.revocation_date.to_datetime(),
            reason_code: None,
            invalidity_date: None,
        });
        let number = list.crl_number().and_then(|number| number.iter_u64_digits().next());
        Ok(Self { number: number.unwrap_or_default(), entries: entries.collect() })
    }

    /// Adds the certificates of a file; says which.
    fn add(&mut self, text: &[u8], authority: &Authority, now: OffsetDateTime) -> anyhow::Result<String> {
        let (_, own) = parse_x509_pem(authority.pem.as_bytes())?;
        let own = own.parse_x509()?;
        let mut said = String::new();
        for pem in Pem::iter_from_buffer(text) {
            let pem = pem.context("it is no certificate in PEM")?;
            let certificate = pem.parse_x509().context("it is no certificate")?;
            let subject = certificate.subject();
            if certificate.public_key().raw == own.public_key().raw {
                bail!("it is the authority itself, which cannot take itself back: make a new one by --force");
            }
            if !is_issued_by(&certificate, &own) {
                bail!("\"{subject}\" is not of the authority here: whoever issued it takes it back");
            }
            let serial = SerialNumber::from_slice(certificate.raw_serial());
            let end = date(certificate.validity().not_after.to_datetime());
            let is_known = self.entries.iter().any(|entry| entry.serial_number == serial);
            let what = if is_known { "is revoked already" } else { "is revoked" };
            said.push_str(&format!(
                "{what}: {subject}, until {end}, serial {}\n",
                certificate.raw_serial_as_string()
            ));
            if !is_known {
                self.entries.push(RevokedCertParams {
                    serial_number: serial,
                    revocation_time: now,
                    reason_code: None,
                    invalidity_date: None,
                });
            }
        }
        if said.is_empty() {
            bail!("it has no certificate: give PEM");
        }
        Ok(said)
    }

    /// The list, signed. It holds as long as the authority: when there is a newer one, only we know.
    fn signed(&self, authority: &Authority, now: OffsetDateTime) -> anyhow::Result<String> {
        let params = CertificateRevocationListParams {
            this_update: now - CLOCKS_DIFFER,
            next_update: authority.end,
            crl_number: SerialNumber::from(self.number),
            issuing_distribution_point: None,
            revoked_certs: self.entries.clone(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&authority.issuer)?.pem()?)
    }
}

fn is_issued_by(certificate: &X509Certificate<'_>, authority: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == authority.subject().as_raw()
        && certificate.verify_signature(Some(authority.public_key())).is_ok()
}
