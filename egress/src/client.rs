//! The client that all calls are made with: to addresses that the guard lets through, encrypted, bounded in time and
//! bytes, and nothing followed.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use heliograph_serve::{Error as FileError, RENEW_EVERY, Watched};
use http::{HeaderMap, StatusCode};
use reqwest::RequestBuilder;
use reqwest::redirect::Policy;
use url::{Host, Url};

use crate::guard::{Checked, Guard, LOCALHOST, Lookup, Refused, System, is_loopback};

/// What holds for each call of a client.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Whether plain text to other machines is allowed; to this one it always is, where the guard lets it through.
    pub allow_http: bool,
    /// PEM of authorities to trust besides the system's, read anew when it changes.
    pub ca_file: Option<PathBuf>,
    /// Longest time from the first byte to the last.
    pub timeout: Duration,
    /// Largest body of an answer, in bytes.
    pub body_bytes_max: usize,
    /// Which addresses may be called.
    pub guard: Guard,
}

impl Bounds {
    /// Whether this may be called, as far as the URL tells: what a name stands for is looked at when it is called.
    pub fn check(&self, url: &Url) -> Result<(), Error> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::Credential);
        }
        let told = || without_credentials(url).to_string();
        // A host that is an address is never looked up, and so must be checked here.
        let literal = match url.host() {
            Some(Host::Ipv4(v4)) => Some(v4.into()),
            Some(Host::Ipv6(v6)) => Some(v6.into()),
            Some(Host::Domain(name)) if !name.is_empty() => None,
            Some(Host::Domain(_)) | None => return Err(Error::Url { url: told() }),
        };
        if let Some(address) = literal {
            self.guard.check(address)?;
        }
        let is_local = match literal {
            Some(address) => is_loopback(address),
            // The resolver sees to it that it stands for no other machine.
            None => url.host_str() == Some(LOCALHOST) && self.guard.passes_loopback(),
        };
        match url.scheme() {
            "https" => Ok(()),
            "http" if is_local || self.allow_http => Ok(()),
            "http" => Err(Error::PlainText { url: told() }),
            _ => Err(Error::Url { url: told() }),
        }
    }
}

/// A URL as it may be shown: services take keys in the query, too.
pub(crate) fn without_credentials(url: &Url) -> Url {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    // These fail where there is no host, and so nobody to be named to.
    let _nobody = shown.set_username("").and_then(|()| shown.set_password(None));
    shown
}

/// Why something cannot be called at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Plain text that others could read.
    #[error("url: {url} is plain text to another machine: give https://…, or set allow_http = true")]
    PlainText {
        /// Which URL.
        url: String,
    },
    /// A URL that cannot be called.
    #[error("url: {url} is not the URL of a service like \"https://auth.example.com/check\"")]
    Url {
        /// Which URL.
        url: String,
    },
    /// A URL with a user or a password in it, which is not told.
    #[error("url: a URL must not hold a credential")]
    Credential,
    /// An address that may not be called.
    #[error("url: {0}")]
    Address(#[from] Refused),
    /// Something is wrong with the authorities.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why a call came to nothing. Whoever called knows nothing by it, and lets nothing happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It is, or its name stands for, an address that may not be called.
    #[error(
        "it has an address that may not be called; a webhook's in our own network stands in allow_addresses"
    )]
    Address,
    /// It took too long.
    #[error("it did not answer in time")]
    Timeout,
    /// There was no connection, or it broke.
    #[error("it cannot be reached, or broke off")]
    Unreachable,
    /// The answer has a larger body than it may have.
    #[error("its answer is too large")]
    TooLarge,
    /// It wanted us to ask somebody else.
    #[error("it answered with a redirect, and those are not followed")]
    Redirect,
}

impl Failure {
    /// The metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::TooLarge => "too_large",
            Self::Redirect => "redirect",
        }
    }
}

/// A whole answer, of any other status than a redirect's.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Makes calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    client: Arc<Watched<reqwest::Client>>,
    bounds: Arc<Bounds>,
}

impl Client {
    /// Reads the authorities. `what` is what our log calls it.
    pub async fn open(what: &'static str, bounds: Bounds) -> Result<Self, Error> {
        Self::open_by(what, bounds, Arc::new(System)).await
    }

    /// Likewise, with another way to find addresses.
    pub async fn open_by(what: &'static str, bounds: Bounds, lookup: Arc<dyn Lookup>) -> Result<Self, Error> {
        let paths = bounds.ca_file.iter().cloned().collect();
        let bounds = Arc::new(bounds);
        let of = Arc::clone(&bounds);
        let client = Arc::new(Watched::open(what, paths, move || build(&of, &lookup)).await?);
        Ok(Self { client, bounds })
    }

    /// Looks from time to time whether the authorities have changed, for ever.
    pub async fn keep_fresh(&self) -> Infallible {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            self.client.renew().await;
        }
    }

    /// Whether this may be called, as far as the URL tells.
    pub fn check(&self, url: &Url) -> Result<(), Error> {
        self.bounds.check(url)
    }

    /// A request that is still to be [sent](Self::send), if this may be called.
    pub fn request(&self, method: http::Method, url: &Url) -> Result<RequestBuilder, Failure> {
        self.check(url).map_err(|_| Failure::Address)?;
        Ok(self.client.get().request(method, url.clone()))
    }

    /// Sends a request of this client and takes its whole answer.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let timeout = self.bounds.timeout;
        tokio::time::timeout(timeout, self.whole(request)).await.unwrap_or(Err(Failure::Timeout))
    }

    async fn whole(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let mut response = request.send().await.map_err(|error| failure(&error))?;
        if response.status().is_redirection() {
            return Err(Failure::Redirect);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            if body.len() + chunk.len() > self.bounds.body_bytes_max {
                return Err(Failure::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let headers = std::mem::take(response.headers_mut());
        Ok(Answer { status: response.status(), headers, body: body.freeze() })
    }
}

fn failure(error: &reqwest::Error) -> Failure {
    let mut causes = std::iter::successors(Some(error as &(dyn StdError + 'static)), |e| (*e).source());
    if causes.any(|cause| cause.is::<Refused>()) {
        Failure::Address
    } else if error.is_timeout() {
        Failure::Timeout
    } else {
        // What exactly was wrong with the connection may stand in our log, but not with its URL.
        tracing::debug!(cause = ?error.source(), "a call failed");
        Failure::Unreachable
    }
}

fn build(bounds: &Bounds, lookup: &Arc<dyn Lookup>) -> Result<reqwest::Client, FileError> {
    let resolver = Checked { guard: bounds.guard.clone(), lookup: Arc::clone(lookup) };
    let mut builder = reqwest::Client::builder()
        // A proxy of the environment would look names up in our place.
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(bounds.timeout)
        .dns_resolver(Arc::new(resolver));
    let ca_file = bounds.ca_file.as_deref();
    let path = ca_file.unwrap_or(Path::new(""));
    let bad = |e: reqwest::Error| {
        let causes = std::iter::successors(Some(&e as &dyn StdError), |e| (*e).source());
        FileError::file("ca_file", path, causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
    };
    if let Some(path) = ca_file {
        let pem = std::fs::read(path).map_err(|e| FileError::file("ca_file", path, e))?;
        let authorities = reqwest::Certificate::from_pem_bundle(&pem).map_err(bad)?;
        if authorities.is_empty() {
            return Err(FileError::file("ca_file", path, "it has no certificate: give PEM"));
        }
        builder = builder.tls_certs_merge(authorities);
    }
    builder.build().map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, outside: bool, with_loopback: bool) {
        let url = Url::parse(url).unwrap();
        for (loopback, expected) in [(false, outside), (true, with_loopback)] {
            let bounds = Bounds {
                allow_http: false,
                ca_file: None,
                timeout: Duration::from_secs(1),
                body_bytes_max: 1,
                guard: Guard::Private { loopback },
            };
            assert_eq!(bounds.check(&url).is_ok(), expected, "{url} {loopback}");
        }
    }

    #[test]
    fn a_discovered_address_reaches_no_inner_service() {
        check("https://accounts.example.com/x", true, true);
        check("https://10.1.2.3/x", true, true);
        check("http://accounts.example.com/x", false, false);
        check("http://10.1.2.3/x", false, false);
        check("http://127.0.0.1:80/x", false, true);
        check("http://localhost:80/x", false, true);
        check("http://localhost.evil.com/x", false, false);
        for inner in [
            "https://127.0.0.1/x",
            "https://127.1/x",
            "https://0x7f000001/x",
            "https://2130706433/x",
            "https://[::1]/x",
            "https://[::ffff:127.0.0.1]/x",
        ] {
            check(inner, false, true);
        }
        for never in [
            "https://169.254.169.254/latest/meta-data",
            "https://[::ffff:169.254.169.254]/x",
            "https://[fe80::1]/x",
            "https://[64:ff9b::169.254.169.254]/x",
            "https://[fd00:ec2::254]/x",
            "https://0.0.0.0/x",
            "https://[::]/x",
            "https://224.0.0.1/x",
            "https://255.255.255.255/x",
            "https://user:secret@accounts.example.com/x",
            "file:///etc/passwd",
            "ftp://accounts.example.com/x",
            "javascript:alert(1)",
        ] {
            check(never, false, false);
        }
    }
}
