//! The HTTP client that indexers are asked with; its certificates are read anew when their files change.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use heliograph_serve::{Error, RENEW_EVERY, Renewal, Watched, certificates_expire};

use crate::config::Tls;
use crate::metrics::Metrics;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client(Arc<Watched<Made>>);

/// Of the files of one moment.
struct Made {
    client: reqwest::Client,
    /// When the client's own certificate expires, in seconds since 1970, if it has one.
    expires: Option<i64>,
}

impl Client {
    /// Reads and checks the files.
    pub(crate) async fn open(files: &Tls) -> Result<Self, Error> {
        let identity = files.identity.iter().flat_map(|(chain, key)| [chain, key]);
        let paths = files.ca_file.iter().chain(identity).cloned().collect();
        let files = files.clone();
        Watched::open("indexers", paths, move || build(&files)).await.map(|client| Self(Arc::new(client)))
    }

    /// The client of the moment. What was begun with an earlier one goes on.
    pub(super) fn get(&self) -> reqwest::Client {
        self.0.get().client.clone()
    }

    /// Looks from time to time whether the files have changed, for ever; counts those that cannot be used, and shows when
    /// the certificate in use expires.
    pub(crate) async fn keep_fresh(&self, metrics: &Metrics) {
        loop {
            if let Some(expires) = self.0.get().expires {
                metrics.tls_certificate_expires.with_label_values(&["tls.cert_file"]).set(expires);
            }
            tokio::time::sleep(RENEW_EVERY).await;
            if self.0.renew().await == (Renewal::Refused { known: false }) {
                metrics.tls_reload_failures.inc();
            }
        }
    }
}

fn build(files: &Tls) -> Result<Made, Error> {
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        // A connection for each: feeds without end would use up the streams that one connection may have.
        .http1_only();
    if let Some(path) = &files.ca_file {
        let bad = |e: reqwest::Error| refused("ca_file", path, &e);
        let authorities = reqwest::Certificate::from_pem_bundle(&read("ca_file", path)?).map_err(bad)?;
        if authorities.is_empty() {
            return Err(Error::file("ca_file", path, "it has no certificate: give PEM"));
        }
        builder = builder.tls_certs_merge(authorities);
    }
    let mut last = files.ca_file.as_deref().map(|path| ("ca_file", path));
    if let Some((chain, key)) = &files.identity {
        let pem = [read("cert_file", chain)?, vec![b'\n'], read("key_file", key)?].concat();
        let pem = zeroize::Zeroizing::new(pem);
        let identity = reqwest::Identity::from_pem(&pem).map_err(|e| refused("cert_file", chain, &e))?;
        builder = builder.identity(identity);
        last = Some(("cert_file", chain));
    }
    // Whether they are certificates at all, and the key theirs, shows only here.
    let (field, path) = last.unwrap_or(("ca_file", Path::new("")));
    let client = builder.build().map_err(|e| refused(field, path, &e))?;
    let own = files.identity.as_ref();
    let expires = own.map(|(chain, _)| certificates_expire("cert_file", chain)).transpose()?;
    Ok(Made { client, expires })
}

fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|e| Error::file(field, path, e))
}

/// With all causes: what is wrong with a certificate, only the last one tells.
fn refused(field: &'static str, path: &Path, error: &reqwest::Error) -> Error {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
    Error::file(field, path, causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}
