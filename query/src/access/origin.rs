//! Which pages may use the session cookie: a browser sends it along with requests of any page.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::error::{Error, Result};

/// Where a browser says how a page is related to what it asks.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origins whose pages are ours.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    /// As browsers write them: scheme, host and port, without a path.
    known: Vec<String>,
    https_only: bool,
}

impl Origins {
    /// From the configured public URLs.
    pub(crate) fn new(public_urls: &[String], https_only: bool) -> Self {
        let known = public_urls.iter().map(|url| origin_of(url)).collect();
        Self { known, https_only }
    }

    /// Refuses an unsafe request that a foreign page may have sent. A page of ours is of the same origin, and a neighbour
    /// of the same site is foreign, too.
    ///
    /// `needs_origin` as for [`Self::check`].
    pub(crate) fn check_change(&self, headers: &HeaderMap, needs_origin: bool) -> Result<()> {
        let is_own = |site: &HeaderValue| site == "same-origin" || site == "none";
        if !headers.get_all(SEC_FETCH_SITE).iter().all(is_own) {
            return Err(Error::Forbidden);
        }
        self.check(headers, needs_origin)
    }

    /// Refuses what a foreign page may have sent, by the origin that the browser names. Before an upgrade this is all: not
    /// every browser tells the site of one as it does for other requests.
    ///
    /// `needs_origin`: the credential came by cookie, so a request without an origin is refused, too.
    pub(crate) fn check(&self, headers: &HeaderMap, needs_origin: bool) -> Result<()> {
        if headers.get_all(SEC_FETCH_SITE).iter().any(|site| site == "cross-site") {
            return Err(Error::Forbidden);
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let is_ours = match (origins.next(), origins.next()) {
            (None, _) => !needs_origin,
            (Some(origin), None) => origin.to_str().is_ok_and(|o| self.is_ours(o, headers)),
            (Some(_), Some(_)) => false,
        };
        if is_ours { Ok(()) } else { Err(Error::Forbidden) }
    }

    fn is_ours(&self, origin: &str, headers: &HeaderMap) -> bool {
        if self.known.iter().any(|known| known == origin) {
            return true;
        }
        let authority = match origin.split_once("://") {
            Some(("https", authority)) => authority,
            Some(("http", authority)) if !self.https_only => authority,
            _ => return false,
        };
        let mut hosts = headers.get_all(header::HOST).iter();
        match (hosts.next(), hosts.next()) {
            (Some(host), None) => !authority.is_empty() && host.as_bytes() == authority.as_bytes(),
            _ => false,
        }
    }
}

/// Scheme, host and port of a URL, lower-cased, without a port that the scheme implies.
fn origin_of(url: &str) -> String {
    let url = url.trim().to_ascii_lowercase();
    let Some((scheme, rest)) = url.split_once("://") else { return url };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let implied = match scheme {
        "https" => ":443",
        _ => ":80",
    };
    format!("{scheme}://{}", authority.strip_suffix(implied).unwrap_or(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(origin: Option<&'static str>, expected: bool) {
        let origins = Origins::new(&["https://Logs.example.com:443/".to_owned()], false);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:7700"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        assert_eq!(origins.check(&headers, true).is_ok(), expected, "{origin:?}");
    }

    #[test]
    fn only_our_own_pages() {
        check(Some("https://logs.example.com"), true);
        check(Some("http://127.0.0.1:7700"), true);
        for foreign in [
            "null",
            "",
            "https://logs.example.com.evil.com",
            "https://evil.com",
            "http://logs.example.com",
            "https://logs.example.com:8443",
            "https://sub.logs.example.com",
            "https://LOGS.example.com",
            "https://evil.com#logs.example.com",
            "http://127.0.0.1",
            "http://127.0.0.1:77001",
            "ftp://127.0.0.1:7700",
            "http://user@127.0.0.1:7700",
            "file://",
        ] {
            check(Some(foreign), false);
        }
        check(None, false);
    }

    #[test]
    fn a_plain_page_does_not_use_a_secure_cookie() {
        let origins = Origins::new(&[], true);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("h:1"));
        headers.insert(header::ORIGIN, HeaderValue::from_static("http://h:1"));
        assert!(origins.check(&headers, true).is_err());
        headers.insert(header::ORIGIN, HeaderValue::from_static("https://h:1"));
        assert!(origins.check(&headers, true).is_ok());
        headers.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
        assert!(origins.check(&headers, true).is_err());
    }

    #[test]
    fn two_origins_are_none() {
        let origins = Origins::new(&["https://a".to_owned(), "https://b".to_owned()], false);
        let mut headers = HeaderMap::new();
        headers.append(header::ORIGIN, HeaderValue::from_static("https://a"));
        headers.append(header::ORIGIN, HeaderValue::from_static("https://b"));
        assert!(origins.check(&headers, false).is_err());
    }
}
