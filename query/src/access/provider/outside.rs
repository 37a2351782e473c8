//! Calls to providers: over https to addresses that may be theirs, without redirects, bounded in time and bytes.
//!
//! A discovery document names addresses that we then ask. A company's own may be in its private network; none of them
//! reaches this machine, the link, or a cloud's metadata service: neither by number nor by what a name resolves to at
//! the moment of the call.

use std::convert::Infallible;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use heliograph_egress::{Bounds, Client, Failure, Guard};
use oauth2::{HttpRequest, HttpResponse};
use url::Url;

use crate::config::Tls;
use crate::error::{Error, Result};

/// From the first byte sent to the last received.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer: a page of a hundred teams has some 200 KiB, a set of keys a few.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Makes calls to one provider. Cheap to clone.
#[derive(Clone)]
pub(super) struct Outside(Client);

impl Outside {
    /// With the system's authorities, and those of `[tls]`; this machine is called by a switch only.
    pub(super) async fn open(tls: &Tls, allow_loopback: bool) -> Result<Self> {
        let bounds = Bounds {
            allow_http: false,
            ca_file: tls.ca_file.clone(),
            timeout: CALL_TIMEOUT,
            body_bytes_max: ANSWER_BYTES_MAX,
            guard: Guard::Private { loopback: allow_loopback },
        };
        let opened = Client::open("identity provider", bounds).await;
        opened.map(Self).map_err(|e| Error::server("the client for identity providers, [tls]", e))
    }

    /// Reads its authorities anew when they change, for ever.
    pub(super) async fn keep_fresh(&self) -> Infallible {
        self.0.keep_fresh().await
    }

    /// Whether this may be an address of a provider. Names are looked at when they are resolved.
    pub(super) fn may_ask(&self, url: &Url) -> bool {
        self.0.check(url).is_ok()
    }

    /// The same as a function, as the libraries take it.
    pub(super) fn caller(&self) -> impl Fn(HttpRequest) -> BoxFuture<'static, Result<HttpResponse, Failure>> {
        let outside = self.clone();
        move |request| {
            let outside = outside.clone();
            async move { outside.call(request).await }.boxed()
        }
    }

    /// The answer to a call, whatever its status.
    pub(super) async fn call(&self, request: HttpRequest) -> Result<HttpResponse, Failure> {
        let url = Url::parse(&request.uri().to_string()).map_err(|_| Failure::Address)?;
        let (head, body) = request.into_parts();
        let call = self.0.request(head.method, &url)?.headers(head.headers).body(body);
        let answer = self.0.send(call).await?;
        let mut response = HttpResponse::new(answer.body.into());
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}
