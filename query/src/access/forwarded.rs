//! Callers that a proxy in front vouches for: which proxies are believed, and what they say.
//!
//! What a proxy says stands in headers, which anybody can send. So they count on connections of listed proxies only,
//! and are taken off every request before anything else sees it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::ConnectInfo;
use heliograph_model::time::Timestamp;
use heliograph_serve::PeerCertificate;
use heliograph_store::catalog::Mapped;
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use super::{Access, Caller, Principal, Proof, mapping, tenants_of};
use crate::config::ForwardAuth;
use crate::error::{Error, Result};

/// Where a proxy names the client and the proxies before it.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Longest name of a person or group, in characters, and longest e-mail address.
const NAME_CHARS_MAX: usize = 256;
/// Groups of one person.
const GROUPS_MAX: usize = 500;

/// A person, as a proxy names one. No header of the request says so any more.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    user: String,
    email: Option<String>,
    groups: BTreeSet<String>,
}

/// What a person is called and belongs to is its own affair.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Somebody who is no proxy of ours has sent a header that only those may send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forged;

/// The proxies that are believed.
#[derive(Debug)]
pub(super) struct Proxies(ForwardAuth);

impl Proxies {
    pub(super) fn new(config: ForwardAuth) -> Self {
        Self(config)
    }

    /// Takes what proxies say off a request: from one of ours it becomes an [`Identity`] and the client's address;
    /// from anybody else, nothing but [`Forged`].
    fn admit(&self, parts: &mut Parts) -> Result<()> {
        let Some(ConnectInfo(peer)) = parts.extensions.get::<ConnectInfo<SocketAddr>>().copied() else {
            return Err(Error::server("the connection", "no peer address"));
        };
        if !self.believes(peer.ip(), parts.extensions.get()) {
            if self.strip(&mut parts.headers) {
                parts.extensions.insert(Forged);
            }
            return Ok(());
        }
        let client = self.client(&parts.headers).unwrap_or(peer.ip());
        parts.extensions.insert(ConnectInfo(SocketAddr::new(client, 0)));
        let identity = self.identity(&parts.headers);
        self.strip(&mut parts.headers);
        if let Some(identity) = identity? {
            parts.extensions.insert(identity);
        }
        Ok(())
    }

    /// Whether whoever is at the other end is one of ours: by all that is configured to tell one.
    fn believes(&self, peer: IpAddr, certificate: Option<&PeerCertificate>) -> bool {
        let Self(ForwardAuth { networks, certificates, .. }) = self;
        let is_named = |certificate: &PeerCertificate| {
            certificates
                .iter()
                .any(|name| *name == certificate.subject || certificate.dns_names.contains(name))
        };
        let by_address = networks.is_empty() || self.is_ours(peer);
        let by_certificate = certificates.is_empty() || certificate.is_some_and(is_named);
        // Nothing that tells one means that there is none.
        (!networks.is_empty() || !certificates.is_empty()) && by_address && by_certificate
    }

    fn is_ours(&self, address: IpAddr) -> bool {
        self.0.networks.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// Takes off what only proxies may send; whether there was anything.
    fn strip(&self, headers: &mut HeaderMap) -> bool {
        let names = [Some(&self.0.user_header), self.0.email_header.as_ref(), self.0.groups_header.as_ref()];
        let mut found = false;
        for name in names.into_iter().flatten() {
            found |= headers.remove(name).is_some();
        }
        found
    }

    /// The address that the outermost of our proxies was called from: the last that is none of ours. What stands
    /// before it, that caller has written, and is not looked at.
    fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut last = None;
        for header in headers.get_all(FORWARDED_FOR).iter().rev() {
            for hop in header.to_str().ok()?.rsplit(',') {
                let address = address(hop.trim())?;
                last = Some(address);
                if !self.is_ours(address) {
                    return last;
                }
            }
        }
        last
    }

    fn identity(&self, headers: &HeaderMap) -> Result<Option<Identity>> {
        let Some(user) = one(headers, &self.0.user_header)? else { return Ok(None) };
        // A comma is how two headers are made one on the way.
        if !is_name(user) || user.contains([',', ';', ':']) || user.chars().any(char::is_whitespace) {
            return Err(malformed(&self.0.user_header));
        }
        let optional = |name: &Option<HeaderName>| match name {
            Some(name) => one(headers, name).map(|text| text.map(str::to_owned)),
            None => Ok(None),
        };
        let (email, groups) = (optional(&self.0.email_header)?, optional(&self.0.groups_header)?);
        if email.as_deref().is_some_and(|email| !is_name(email)) {
            return Err(Error::invalid("the header with the e-mail address is malformed"));
        }
        let groups = groups.unwrap_or_default();
        let groups: BTreeSet<String> = groups
            .split(',')
            .map(|group| group.trim_matches(' '))
            .filter(|group| !group.is_empty())
            .map(str::to_owned)
            .collect();
        if groups.len() > GROUPS_MAX || !groups.iter().all(|group| is_name(group)) {
            return Err(Error::invalid(format!(
                "the header with groups is malformed, or names more than {GROUPS_MAX}"
            )));
        }
        Ok(Some(Identity { user: user.to_owned(), email, groups }))
    }
}

/// A header's only value, without what is blank around it; an empty one is none.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::invalid(format!("header {name} is given twice")));
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| malformed(name))?.trim_matches([' ', '\t']);
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn malformed(name: &HeaderName) -> Error {
    Error::invalid(format!("header {name} is malformed"))
}

fn is_name(text: &str) -> bool {
    text.chars().count() <= NAME_CHARS_MAX && !text.chars().any(char::is_control)
}

/// An address as proxies write it: bare, or with a port, IPv6 then in brackets.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.parse::<IpAddr>().ok();
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    bare.or_else(bracketed)
        .or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|ip| ip.to_canonical())
}

impl Access {
    /// Takes what proxies say off a request, whoever sent it.
    pub(crate) fn admit(&self, parts: &mut Parts) -> Result<()> {
        match &self.proxies {
            Some(proxies) => proxies.admit(parts),
            None => Ok(()),
        }
    }

    /// Who a proxy vouches for, for so long as it is not asked again.
    pub(super) async fn of_forwarded(&self, identity: &Identity) -> Result<Caller> {
        let recheck = self.proxies.as_ref().map(|proxies| proxies.0.recheck_after).unwrap_or_default();
        let nanos = i64::try_from(recheck.as_nanos()).unwrap_or(i64::MAX);
        self.forwarded(Arc::new(identity.clone()), self.clock.now().saturating_add_nanos(nanos)).await
    }

    /// The same person with what it may do now.
    pub(super) async fn forwarded(&self, identity: Arc<Identity>, until: Timestamp) -> Result<Caller> {
        let Some(Proxies(config)) = &self.proxies else { return Err(Error::Unauthenticated) };
        if until <= self.clock.now() {
            return Err(Error::Unauthenticated);
        }
        let (Mapped { admin, grants }, _) = mapping::mapped(&config.groups, &identity.groups);
        let tenants = tenants_of(admin, &grants, self.catalog.tenants().await?);
        let principal = Principal::Forwarded(identity.user.clone());
        Ok(Caller { principal, proof: Proof::Forwarded { identity, until }, admin, tenants })
    }
}

impl Caller {
    /// The e-mail address that a proxy has named.
    pub(crate) fn email(&self) -> Option<&str> {
        match &self.proof {
            Proof::Forwarded { identity, .. } => identity.email.as_deref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
