//! Who is calling: the query role, an agent, or the holder of a tenant's token.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Clock;
use heliograph_store::catalog::{Catalog, Role, Token};
use heliograph_store::token::authenticate;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::error::{Error, Result};

/// How long a token that was good is taken as good: a revocation acts within this time.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// Tokens remembered at most.
const KEPT_MAX: usize = 10_000;

/// Who sends records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// An agent: names the tenant itself.
    Agent,
    /// The holder of a token: the tenant is the token's.
    Token {
        /// The token's public part.
        id: String,
        /// Whose it is.
        tenant: TenantId,
    },
}

/// Checks credentials.
pub(crate) struct Credentials {
    agent: Option<Hash>,
    cluster: Hash,
    catalog: Arc<dyn Catalog>,
    clock: Arc<dyn Clock>,
    kept: Mutex<HashMap<Hash, (Token, Instant)>>,
}

type Hash = [u8; 32];

/// Secrets are compared by their hashes: in constant time whatever their lengths.
fn hash(secret: &str) -> Hash {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    out
}

/// What an `Authorization` header presents.
enum Presented {
    Bearer(SecretString),
    Basic { user: String, password: SecretString },
}

fn presented(headers: &HeaderMap) -> Option<Presented> {
    let (scheme, value) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Presented::Bearer(value.into()));
    }
    // Elasticsearch's clients pair a key with its id in the same way.
    if !scheme.eq_ignore_ascii_case("basic") && !scheme.eq_ignore_ascii_case("apikey") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(value).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Presented::Basic { user: user.to_owned(), password: password.into() })
}

impl Credentials {
    /// Checks against the configured secrets and the catalog's tokens.
    pub(crate) fn new(
        agent: Option<&SecretString>,
        cluster: &SecretString,
        catalog: Arc<dyn Catalog>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        // An empty secret would be proved by an empty credential.
        let agent = agent.map(|s| s.expose_secret()).filter(|s| !s.is_empty()).map(hash);
        let cluster = hash(cluster.expose_secret());
        Self { agent, cluster, catalog, clock, kept: Mutex::default() }
    }

    /// Whether the query role is calling.
    pub(crate) fn is_query(&self, headers: &HeaderMap) -> Result<()> {
        match presented(headers) {
            Some(Presented::Bearer(secret))
                if !secret.expose_secret().is_empty()
                    && bool::from(hash(secret.expose_secret()).ct_eq(&self.cluster)) =>
            {
                Ok(())
            }
            _ => Err(Error::Unauthenticated),
        }
    }

    /// Who sends records.
    pub(crate) async fn sender(&self, headers: &HeaderMap) -> Result<Sender> {
        let presented = presented(headers).ok_or(Error::Unauthenticated)?;
        let (user, secret) = match &presented {
            Presented::Bearer(secret) => (None, secret.expose_secret()),
            Presented::Basic { user, password } => (Some(user), password.expose_secret()),
        };
        let hashed = hash(secret);
        if user.is_none() && self.agent.is_some_and(|agent| hashed.ct_eq(&agent).into()) {
            return Ok(Sender::Agent);
        }
        let token = self.token(hashed, secret).await?.ok_or(Error::Unauthenticated)?;
        if user.is_some_and(|user| user != token.tenant.as_str()) {
            return Err(Error::Forbidden {
                reason: "the token is for another tenant than the user name says",
            });
        }
        if !token.roles.contains(&Role::Writer) {
            return Err(Error::Forbidden { reason: "the token lacks the role writer" });
        }
        Ok(Sender::Token { id: token.id, tenant: token.tenant })
    }

    async fn token(&self, hashed: Hash, secret: &str) -> Result<Option<Token>> {
        let now = self.clock.now();
        let kept = self.kept.lock().get(&hashed).cloned();
        if let Some((token, since)) = kept
            && since.elapsed() < KEPT_FOR
            && token.expires.is_none_or(|end| now < end)
        {
            return Ok(Some(token));
        }
        let asked = Instant::now();
        let token = authenticate(&*self.catalog, secret, now).await?;
        let mut kept = self.kept.lock();
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, (_, since)| since.elapsed() < KEPT_FOR);
        }
        match &token {
            Some(token) if kept.len() < KEPT_MAX => {
                kept.insert(hashed, (token.clone(), asked));
            }
            _ => {
                kept.remove(&hashed);
            }
        }
        Ok(token)
    }
}
