//! Browser sessions: an opaque random cookie, of which the catalog knows the hash.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::digest;
use data_encoding::BASE64URL_NOPAD;
use heliograph_model::cipher;
use heliograph_store::catalog::Session;
use http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};

use super::sign_in::Recall;
use super::{Access, Caller};
use crate::error::{Error, Result};

/// The session cookie's name and attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cookie {
    /// Whether it is sent over TLS only.
    pub(crate) secure: bool,
}

impl Cookie {
    fn name(self) -> &'static str {
        if self.secure { "__Host-heliograph" } else { "heliograph" }
    }

    /// The cookie's value; two different ones are refused.
    pub(crate) fn of(self, headers: &HeaderMap) -> Result<Option<SecretString>> {
        let mut found: Option<&str> = None;
        for header in headers.get_all(header::COOKIE) {
            let Ok(text) = header.to_str() else { continue };
            for pair in text.split(';') {
                let Some((name, value)) = pair.trim().split_once('=') else { continue };
                if name != self.name() {
                    continue;
                }
                if found.is_some_and(|before| before != value) {
                    return Err(Error::invalid("the request carries two session cookies"));
                }
                found = Some(value);
            }
        }
        Ok(found.map(SecretString::from))
    }

    fn set(self, value: &str, max_age: Duration) -> Result<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}",
            self.name(),
            max_age.as_secs()
        );
        let mut header = HeaderValue::from_str(&text).map_err(|e| Error::server("the cookie", e))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

/// What the catalog knows of a cookie.
pub(super) fn hash(cookie: &SecretString) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, cookie.expose_secret().as_bytes()).as_ref());
    out
}

impl Access {
    /// Signs a person in: a new session each time; the one whose cookie the request carries ends.
    pub(crate) async fn sign_in(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        name: &str,
        password: &SecretString,
    ) -> Result<(Caller, HeaderValue)> {
        let user = self.sign_ins.check(name, password, peer, Recall::No).await?;
        let now = self.clock.now();
        if let Some(old) = self.cookie.of(headers)? {
            self.catalog.end_session(&hash(&old), now).await?;
        }
        let random: [u8; 32] = cipher::random().map_err(|e| Error::server("random bytes", e))?;
        let value = SecretString::from(BASE64URL_NOPAD.encode(&random));
        let ttl_nanos = i64::try_from(self.session_ttl.as_nanos()).unwrap_or(i64::MAX);
        let session = Session {
            id_hash: hash(&value),
            user: user.name.clone(),
            created: now,
            expires: now.saturating_add_nanos(ttl_nanos),
        };
        self.catalog.create_session(&session).await?;
        let caller = self.of_user(user, super::Proof::Session(session.id_hash)).await?;
        Ok((caller, self.cookie.set(value.expose_secret(), self.session_ttl)?))
    }

    /// Ends the session of the request's cookie; the header takes the cookie back.
    pub(crate) async fn sign_out(&self, headers: &HeaderMap) -> Result<HeaderValue> {
        if let Some(cookie) = self.cookie.of(headers)? {
            self.catalog.end_session(&hash(&cookie), self.clock.now()).await?;
        }
        self.cookie.set("", Duration::ZERO)
    }

    /// Whether the request carries a session cookie, whatever it is worth.
    pub(crate) fn has_cookie(&self, headers: &HeaderMap) -> bool {
        !matches!(self.cookie.of(headers), Ok(None))
    }
}
