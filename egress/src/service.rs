//! A service that an operator names by its URL, and calls to it.

use std::error::Error as StdError;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use heliograph_serve::{Error as FileError, RENEW_EVERY, Watched};
use http::{HeaderMap, StatusCode};
use reqwest::RequestBuilder;
use reqwest::redirect::Policy;
use url::{Host, Url};

use crate::guard::{Checked, Guard, Lookup, Refused, System};

/// What is called, and how. Shown, it has only the part of its URL that is no credential.
#[derive(Clone)]
pub struct Target {
    /// Where: `https`, or `http` to this machine or where that is allowed.
    pub url: Url,
    /// Whether plain text to other machines is allowed.
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

impl Target {
    /// Whether it may be called at all, as far as the URL tells.
    pub fn check(&self) -> Result<(), Error> {
        let url = || without_credentials(&self.url).to_string();
        // A host that is an address is never looked up, and so must be checked here.
        let literal = match self.url.host() {
            Some(Host::Ipv4(v4)) => Some(v4.into()),
            Some(Host::Ipv6(v6)) => Some(v6.into()),
            Some(Host::Domain(_)) => None,
            None => return Err(Error::Url { url: url() }),
        };
        if let Some(address) = literal {
            self.guard.check(address)?;
        }
        let is_local = literal.is_some_and(|address: IpAddr| address.to_canonical().is_loopback());
        match self.url.scheme() {
            "https" => Ok(()),
            "http" if is_local || self.allow_http => Ok(()),
            "http" => Err(Error::PlainText { url: url() }),
            _ => Err(Error::Url { url: url() }),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, allow_http, ca_file, timeout, body_bytes_max, guard } = self;
        f.debug_struct("Target")
            .field("url", &without_credentials(url).as_str())
            .field("allow_http", allow_http)
            .field("ca_file", ca_file)
            .field("timeout", timeout)
            .field("body_bytes_max", body_bytes_max)
            .field("guard", guard)
            .finish()
    }
}

/// A URL as it may be shown: services take keys in the query, too.
fn without_credentials(url: &Url) -> Url {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    // These fail where there is no host, and so nobody to be named to.
    let _nobody = shown.set_username("").and_then(|()| shown.set_password(None));
    shown
}

/// Why a target cannot be called at all.
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
    /// The name stands for an address that may not be called.
    #[error("its name stands for an address of our own network that allow_addresses does not list")]
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

/// Calls one service. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    client: Arc<Watched<reqwest::Client>>,
    url: Url,
    timeout: Duration,
    body_bytes_max: usize,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("url", &without_credentials(&self.url).as_str())
            .finish_non_exhaustive()
    }
}

impl Service {
    /// Checks the target and reads its authorities. `what` is what our log calls it.
    pub async fn open(what: &'static str, target: Target) -> Result<Self, Error> {
        Self::open_by(what, target, Arc::new(System)).await
    }

    /// Likewise, with another way to find addresses.
    pub async fn open_by(what: &'static str, target: Target, lookup: Arc<dyn Lookup>) -> Result<Self, Error> {
        target.check()?;
        let Target { url, ca_file, timeout, body_bytes_max, guard, .. } = target;
        let paths = ca_file.iter().cloned().collect();
        let make = move || build(ca_file.as_deref(), timeout, &guard, &lookup);
        let client = Arc::new(Watched::open(what, paths, make).await?);
        Ok(Self { client, url, timeout, body_bytes_max })
    }

    /// Looks from time to time whether the authorities have changed, for ever.
    pub async fn keep_fresh(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            self.client.renew().await;
        }
    }

    /// The service's URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// A request to the service that is still to be [sent](Self::send).
    pub fn request(&self, method: http::Method, url: &Url) -> RequestBuilder {
        self.client.get().request(method, url.clone())
    }

    /// Sends a request of this service and takes its whole answer.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        tokio::time::timeout(self.timeout, self.whole(request)).await.unwrap_or(Err(Failure::Timeout))
    }

    async fn whole(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let mut response = request.send().await.map_err(|error| failure(&error))?;
        if response.status().is_redirection() {
            return Err(Failure::Redirect);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            if body.len() + chunk.len() > self.body_bytes_max {
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

fn build(
    ca_file: Option<&Path>,
    timeout: Duration,
    guard: &Guard,
    lookup: &Arc<dyn Lookup>,
) -> Result<reqwest::Client, FileError> {
    let resolver = Checked { guard: guard.clone(), lookup: Arc::clone(lookup) };
    let mut builder = reqwest::Client::builder()
        // A proxy of the environment would look names up in our place.
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(timeout)
        .dns_resolver(Arc::new(resolver));
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
