//! Where a role listens, and whether what is said there is encrypted.

use std::net::SocketAddr;
use std::path::PathBuf;

use heliograph_serve::{ClientCertificates, Clients, TlsFiles};

use super::reader::Reader;
use super::values::{Setting, Shown};
use super::written::Written;
use super::{Mistake, loopback};

/// `listen`, `tls` and `allow_plain_text` of a role's section.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    /// The path of the address's setting, as in `query.listen`.
    pub(crate) setting: String,
    /// The path of the section of certificates, as in `query.tls`.
    pub(crate) section: String,
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<TlsFiles>,
    allow_plain_text: bool,
}

impl Listener {
    /// What stands in a role's section; the address under `key`.
    pub(super) fn read(r: &mut Reader<'_>, key: &'static str, port: u16) -> Self {
        Self {
            setting: r.path_of(key),
            section: r.path_of("tls"),
            address: r.setting(key, loopback(port)),
            tls: r.section("tls", read_files),
            allow_plain_text: r.setting("allow_plain_text", false),
        }
    }

    /// Refuses plain text where other machines could read it.
    pub(crate) fn check(&self) -> Result<(), Mistake> {
        let is_local = self.address.ip().to_canonical().is_loopback();
        if is_local || self.tls.is_some() || self.allow_plain_text {
            return Ok(());
        }
        let Self { setting, section, address, .. } = self;
        let role = section.trim_end_matches(".tls");
        Err(Mistake::new(format!(
            "{setting}: {address} is not loopback, and others could read what is said there: set {section}.cert_file \
             and {section}.key_file (`heliograph admin tls init` makes both), or {role}.allow_plain_text = true where \
             something else encrypts"
        )))
    }
}

fn read_files(r: &mut Reader<'_>) -> Option<TlsFiles> {
    let (chain, key): (Option<PathBuf>, Option<PathBuf>) = (r.optional("cert_file"), r.optional("key_file"));
    let (authority, lists): (Option<PathBuf>, Option<PathBuf>) =
        (r.optional("client_ca_file"), r.optional("client_crl_file"));
    let needed = r.optional("client_certificates");
    let path = |key: &str| r.path_of(key);
    let mistake = match (&chain, &key, &authority, needed) {
        (Some(_), None, ..) | (None, Some(_), ..) => {
            Some(format!("{} and {} belong together: give both or none", path("cert_file"), path("key_file")))
        }
        (None, None, Some(_), _) => {
            Some(format!("{} needs {} and {}", path("client_ca_file"), path("cert_file"), path("key_file")))
        }
        (_, _, None, Some(_)) => {
            Some(format!("{} needs {}", path("client_certificates"), path("client_ca_file")))
        }
        (_, _, None, None) if lists.is_some() => {
            Some(format!("{} needs {}", path("client_crl_file"), path("client_ca_file")))
        }
        _ => None,
    };
    if let Some(mistake) = mistake {
        r.mistake(Mistake::new(mistake));
    }
    let (cert_file, key_file) = chain.zip(key)?;
    let needed = needed.unwrap_or(ClientCertificates::Required);
    let clients = authority.map(|ca_file| Clients { ca_file, crl_file: lists, needed });
    Some(TlsFiles { cert_file, key_file, clients })
}

impl Setting for ClientCertificates {
    fn read(written: &Written) -> Result<Self, String> {
        const EXPECTED: &str = "expected \"required\", \"except_status\" or \"optional\"";
        match written {
            Written::Text(text) if text == "required" => Ok(Self::Required),
            Written::Text(text) if text == "except_status" => Ok(Self::ExceptStatus),
            Written::Text(text) if text == "optional" => Ok(Self::Optional),
            Written::Text(text) => Err(format!("{EXPECTED}, found {text:?}")),
            other => Err(format!("{EXPECTED}, found {}", other.kind())),
        }
    }
    fn show(&self) -> Shown {
        let name = match self {
            Self::Required => "required",
            Self::ExceptStatus => "except_status",
            Self::Optional => "optional",
        };
        Shown::Text(name.to_owned())
    }
}
