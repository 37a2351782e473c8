//! A service that an operator names by its URL, and calls to it.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use reqwest::RequestBuilder;
use url::Url;

use crate::client::{Answer, Bounds, Client, Error, Failure, without_credentials};
use crate::guard::{Lookup, System};

/// What is called, and how. Shown, it has only the part of its URL that is no credential.
#[derive(Clone)]
pub struct Target {
    /// Where.
    pub url: Url,
    /// What holds for each call.
    pub bounds: Bounds,
}

impl Target {
    /// Whether it may be called at all, as far as the URL tells.
    pub fn check(&self) -> Result<(), Error> {
        self.bounds.check(&self.url)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, bounds } = self;
        let url = without_credentials(url);
        f.debug_struct("Target").field("url", &url.as_str()).field("bounds", bounds).finish()
    }
}

/// Calls one service. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    client: Client,
    url: Url,
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
        let client = Client::open_by(what, target.bounds, lookup).await?;
        Ok(Self { client, url: target.url })
    }

    /// Looks from time to time whether the authorities have changed, for ever.
    pub async fn keep_fresh(&self) -> Infallible {
        self.client.keep_fresh().await
    }

    /// The service's URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// A request to the service that is still to be [sent](Self::send).
    pub fn request(&self, method: http::Method, url: &Url) -> Result<RequestBuilder, Failure> {
        self.client.request(method, url)
    }

    /// Sends a request of this service and takes its whole answer.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        self.client.send(request).await
    }
}
