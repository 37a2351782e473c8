//! Calls to providers: over https to addresses that may be theirs, without redirects, bounded in time and bytes.
//!
//! A discovery document names addresses that we then ask. None of them reaches this machine, the link, or a cloud's
//! metadata service: neither by number nor by what a name resolves to at the moment of the call.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use oauth2::{HttpRequest, HttpResponse};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::config::Tls;
use crate::error::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the first byte sent to the last received.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer: a page of a hundred teams has some 200 KiB, a set of keys a few.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The metadata service of a cloud, by IPv6.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Why a call was not made, or has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("this address must not be asked")]
    Address,
    #[error("the answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error("the call failed")]
    Failed(#[source] reqwest::Error),
    #[error("the call cannot be made")]
    Unusable(#[source] http::Error),
}

/// Makes calls to one provider. Cheap to clone.
#[derive(Clone)]
pub(super) struct Outside {
    client: reqwest::Client,
    allow_loopback: bool,
}

impl Outside {
    /// With the system's authorities, and those of `[tls]`.
    pub(super) fn new(tls: &Tls, allow_loopback: bool) -> Result<Self> {
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .https_only(!allow_loopback)
            .dns_resolver(Arc::new(Resolver { allow_loopback }));
        if let Some(path) = &tls.ca_file {
            let pem = std::fs::read(path).map_err(|e| Error::server("tls.ca_file", e))?;
            let authorities =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| Error::server("tls.ca_file", e))?;
            builder = builder.tls_certs_merge(authorities);
        }
        let client = builder.build().map_err(|e| Error::server("the client for identity providers", e))?;
        Ok(Self { client, allow_loopback })
    }

    /// Whether this may be an address of a provider. Names are looked at when they are resolved.
    pub(super) fn may_ask(&self, url: &Url) -> bool {
        let is_ours = |address: IpAddr| is_outside(address, self.allow_loopback);
        let (is_host, is_loopback) = match url.host() {
            Some(Host::Ipv4(address)) => (is_ours(address.into()), address.is_loopback()),
            Some(Host::Ipv6(address)) => (is_ours(address.into()), address.is_loopback()),
            Some(Host::Domain(name)) => (!name.is_empty(), name == "localhost"),
            None => (false, false),
        };
        let is_scheme = match url.scheme() {
            "https" => true,
            "http" => self.allow_loopback && is_loopback,
            _ => false,
        };
        is_host && is_scheme && url.username().is_empty() && url.password().is_none()
    }

    /// The same as a function, as the libraries take it.
    pub(super) fn caller(
        &self,
    ) -> impl Fn(HttpRequest) -> BoxFuture<'static, Result<HttpResponse, CallError>> {
        let outside = self.clone();
        move |request| {
            let outside = outside.clone();
            async move { outside.call(request).await }.boxed()
        }
    }

    /// The answer to a call, whatever its status.
    pub(super) async fn call(&self, request: HttpRequest) -> Result<HttpResponse, CallError> {
        let url = Url::parse(&request.uri().to_string()).map_err(|_| CallError::Address)?;
        if !self.may_ask(&url) {
            return Err(CallError::Address);
        }
        let (head, body) = request.into_parts();
        let call = self.client.request(head.method, url).headers(head.headers).body(body);
        let mut answer = call.send().await.map_err(CallError::Failed)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(CallError::Failed)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(CallError::TooLong);
            }
            bytes.extend_from_slice(&chunk);
        }
        let mut response = http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            *headers = std::mem::take(answer.headers_mut());
        }
        response.body(bytes).map_err(CallError::Unusable)
    }
}

/// Gives only addresses that a provider may have: what a name means is looked at here, and nowhere again.
struct Resolver {
    allow_loopback: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_loopback = self.allow_loopback;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let kept: Vec<SocketAddr> =
                found.filter(|address| is_outside(address.ip(), allow_loopback)).collect();
            if kept.is_empty() {
                return Err("the name has no address that may be asked".into());
            }
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}

/// Whether a provider may have this address. A company's own may be in a private network.
fn is_outside(address: IpAddr, allow_loopback: bool) -> bool {
    let address = match address {
        IpAddr::V6(v6) => embedded(v6).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    let is_never = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.octets().first() == Some(&0),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == METADATA,
    };
    // `::1` becomes 0.0.0.1 above, as one of the addresses that embed an IPv4 one.
    let is_loopback = address.is_loopback() || address == IpAddr::from([0, 0, 0, 1]);
    if is_loopback {
        return allow_loopback;
    }
    !(is_never || address.is_unspecified() || address.is_multicast())
}

/// The IPv4 address that an IPv6 one leads to: as a mapped one, or through a translator (NAT64).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            let [.., a, b, c, d] = v6.octets();
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => v6.to_ipv4(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, public: bool, with_loopback: bool) {
        let url = Url::parse(url).unwrap();
        for (allow_loopback, expected) in [(false, public), (true, with_loopback)] {
            let outside = Outside::new(&Tls::default(), allow_loopback).unwrap();
            assert_eq!(outside.may_ask(&url), expected, "{url} {allow_loopback}");
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

    #[tokio::test]
    async fn a_name_is_looked_at_when_it_is_resolved() {
        let name = || "localhost".parse().unwrap();
        assert!(Resolver { allow_loopback: false }.resolve(name()).await.is_err());
        assert!(
            Resolver { allow_loopback: true }.resolve(name()).await.is_ok_and(|mut a| a.next().is_some())
        );
    }
}
