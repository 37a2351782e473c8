//! Browser sessions: an opaque random cookie, of which the catalog knows the hash.
//!
//! The cookie of whoever came by a provider is `RANDOM.PROVIDER`. The hash is of both, so nobody changes the name.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::digest;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use heliograph_model::cipher;
use heliograph_model::time::Timestamp;
use heliograph_store::catalog::{Session, User};
use http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};

use super::sign_in::Recall;
use super::{Access, Caller};
use crate::error::{Error, Result};

/// How long a session is used before that is written down.
const TOUCH_AFTER: Duration = Duration::from_secs(300);

/// What the name of a provider stands behind in a cookie; neither it nor base64 has one.
const PROVIDER_AFTER: char = '.';

/// The session cookie's name and attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cookie {
    /// Whether it is sent over TLS only.
    pub(crate) secure: bool,
}

/// The name of the cookie that a browser holds on its way to a provider and back.
const PENDING: &str = "-sign-in";
/// How long that may take.
pub(crate) const PENDING_FOR: Duration = Duration::from_secs(600);

impl Cookie {
    fn name(self) -> &'static str {
        if self.secure { "__Host-heliograph" } else { "heliograph" }
    }

    /// The cookie's value; two different ones are refused.
    pub(crate) fn of(self, headers: &HeaderMap) -> Result<Option<SecretString>> {
        Self::named(self.name(), headers)
    }

    /// What a browser holds that comes back from a provider.
    pub(crate) fn pending_of(self, headers: &HeaderMap) -> Result<Option<SecretString>> {
        Self::named(&format!("{}{PENDING}", self.name()), headers)
    }

    /// Gives it that; an empty one takes it back.
    pub(crate) fn set_pending(self, value: &str) -> Result<HeaderValue> {
        let max_age = if value.is_empty() { Duration::ZERO } else { PENDING_FOR };
        self.set_named(&format!("{}{PENDING}", self.name()), value, max_age)
    }

    fn named(wanted: &str, headers: &HeaderMap) -> Result<Option<SecretString>> {
        let mut found: Option<&str> = None;
        for header in headers.get_all(header::COOKIE) {
            let Ok(text) = header.to_str() else { continue };
            for pair in text.split(';') {
                let Some((name, value)) = pair.trim().split_once('=') else { continue };
                if name != wanted {
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
        self.set_named(self.name(), value, max_age)
    }

    fn set_named(self, name: &str, value: &str, max_age: Duration) -> Result<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let seconds = max_age.as_secs();
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
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

fn after(now: Timestamp, span: Duration) -> Timestamp {
    now.saturating_add_nanos(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
}

/// The public name of a session: the hash tells nothing of the cookie.
pub(crate) fn public_id(id_hash: &[u8; 32]) -> String {
    HEXLOWER.encode(id_hash.first_chunk::<8>().map_or(&[], |head| head.as_slice()))
}

impl Access {
    /// The caller of a session; one who calls uses it, and it stays open.
    pub(super) async fn by_session(&self, hash: &[u8; 32]) -> Result<Caller> {
        let now = self.clock.now();
        let found = self.catalog.session_user(hash, now).await?.ok_or(Error::Unauthenticated)?;
        let idle_end = after(now, self.session_idle);
        // Not with every call: that would be a write for each.
        let step = TOUCH_AFTER.min(self.session_idle / 4);
        if after(found.idle_end, step) <= idle_end {
            self.catalog.touch_session(hash, idle_end).await?;
        }
        self.of_user(found.user, super::Proof::Session(*hash)).await
    }

    /// The caller of a session that something of theirs still runs by; that alone does not keep it open.
    pub(super) async fn still_by_session(&self, hash: &[u8; 32]) -> Result<Caller> {
        let found = self.catalog.session_user(hash, self.clock.now()).await?.ok_or(Error::Unauthenticated)?;
        self.of_user(found.user, super::Proof::Session(*hash)).await
    }

    /// Signs a person in by their password.
    pub(crate) async fn sign_in(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        name: &str,
        password: &SecretString,
    ) -> Result<(Caller, HeaderValue)> {
        let user = self.sign_ins.check(name, password, peer, Recall::No).await?;
        self.open_session(headers, user, None).await
    }

    /// A new session each time, by the provider of this name or by none; the one whose cookie the request carries ends.
    pub(super) async fn open_session(
        &self,
        headers: &HeaderMap,
        user: User,
        provider: Option<&str>,
    ) -> Result<(Caller, HeaderValue)> {
        let now = self.clock.now();
        if let Some(old) = self.cookie.of(headers)? {
            self.catalog.end_session(&hash(&old), now).await?;
        }
        let random: [u8; 32] = cipher::random().map_err(|e| Error::server("random bytes", e))?;
        let mut value = BASE64URL_NOPAD.encode(&random);
        if let Some(name) = provider {
            value.push(PROVIDER_AFTER);
            value.push_str(name);
        }
        let value = SecretString::from(value);
        let session = Session {
            id_hash: hash(&value),
            user: user.name.clone(),
            created: now,
            expires: after(now, self.session_ttl),
            idle_end: after(now, self.session_idle),
        };
        self.catalog.create_session(&session).await?;
        let caller = self.of_user(user, super::Proof::Session(session.id_hash)).await?;
        Ok((caller, self.cookie.set(value.expose_secret(), self.session_ttl)?))
    }

    /// Ends the session of the request's cookie. The header takes the cookie back; the name is of the provider that the
    /// session came by.
    pub(crate) async fn sign_out(&self, headers: &HeaderMap) -> Result<(HeaderValue, Option<String>)> {
        let mut provider = None;
        if let Some(cookie) = self.cookie.of(headers)? {
            // The gate let the cookie through, and so the name, too.
            let named = cookie.expose_secret().split_once(PROVIDER_AFTER);
            provider = named.map(|(_, name)| name.to_owned());
            self.catalog.end_session(&hash(&cookie), self.clock.now()).await?;
        }
        Ok((self.cookie.set("", Duration::ZERO)?, provider))
    }

    /// Whether the request carries a session cookie, whatever it is worth.
    pub(crate) fn has_cookie(&self, headers: &HeaderMap) -> bool {
        !matches!(self.cookie.of(headers), Ok(None))
    }
}
