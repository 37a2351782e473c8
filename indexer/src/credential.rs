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
use prometheus::IntCounterVec;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::node::{Nodes, Reach};
use crate::platform::Platform;
use crate::receive::Head;
use crate::review::Reviews;

/// How long a token that was good is taken as good: a revocation acts within this time.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// Tokens remembered at most.
const KEPT_MAX: usize = 10_000;

/// What tokens of tenants begin with.
const TOKEN_PREFIX: &str = "hg_";

/// Who sends records.
#[derive(Clone, Debug)]
pub(crate) enum Sender {
    /// An agent: names the tenant itself, out of those that it may ship for.
    Agent(Arc<Reach>),
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
    nodes: Nodes,
    platform: Option<Arc<Platform>>,
    reviews: Option<Arc<Reviews>>,
    /// Refused credentials by what was wrong.
    refused: IntCounterVec,
}

type Hash = [u8; 32];

/// Secrets are compared by their hashes: in constant time whatever their lengths.
fn hash(secret: &str) -> Hash {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    out
}

/// Whether it has the form of a signed token: three parts.
fn is_jwt(secret: &str) -> bool {
    secret.split('.').filter(|part| !part.is_empty()).count() == 3 && secret.matches('.').count() == 2
}

/// What an `Authorization` header presents.
enum Presented {
    Bearer(SecretString),
    Basic { user: String, password: SecretString },
}

fn presented(headers: &HeaderMap) -> Option<Presented> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (first, None) = (given.next()?, given.next()) else { return None };
    let (scheme, value) = first.to_str().ok()?.split_once(' ')?;
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
    #[expect(clippy::too_many_arguments, reason = "each is one way to prove oneself")]
    pub(crate) fn new(
        agent: Option<&SecretString>,
        cluster: &SecretString,
        catalog: Arc<dyn Catalog>,
        clock: Arc<dyn Clock>,
        nodes: Nodes,
        platform: Option<Arc<Platform>>,
        reviews: Option<Arc<Reviews>>,
        metrics: &Metrics,
    ) -> Self {
        // An empty secret would be proved by an empty credential.
        let agent = agent.map(|s| s.expose_secret()).filter(|s| !s.is_empty()).map(hash);
        let cluster = hash(cluster.expose_secret());
        Self {
            agent,
            cluster,
            catalog,
            clock,
            kept: Mutex::default(),
            nodes,
            platform,
            reviews,
            refused: metrics.credentials_refused.clone(),
        }
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

    /// Who sends records: by the `Authorization` header, or without one by the certificate of the connection.
    pub(crate) async fn sender(&self, head: Head<'_>) -> Result<Sender> {
        let sender = Box::pin(self.proved(head)).await;
        match &sender {
            Err(Error::Unauthenticated) if !head.headers.contains_key(AUTHORIZATION) => self.refuse("none"),
            Err(Error::Unauthenticated) => self.refuse("wrong"),
            Err(Error::Forbidden { .. }) => self.refuse("not_for_this"),
            Err(Error::Throttled { .. }) => self.refuse("throttled"),
            Err(Error::Unavailable { .. }) => self.refuse("unanswered"),
            _ => {}
        }
        sender
    }

    fn refuse(&self, reason: &'static str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    /// Refuses what a sender may not send. Tenants of others and those that nobody has are refused alike.
    pub(crate) async fn may_ship(&self, sender: &Sender, tenant: &TenantId) -> Result<()> {
        let Sender::Agent(reach) = sender else { return Ok(()) };
        if self.nodes.reaches(reach, tenant).await? {
            return Ok(());
        }
        self.refuse("tenant_of_others");
        Err(Error::Forbidden { reason: "this agent may not ship for the tenant" })
    }

    async fn proved(&self, head: Head<'_>) -> Result<Sender> {
        let Head { headers, certificate, .. } = head;
        let by_certificate = || certificate.and_then(|peer| self.nodes.by_certificate(peer));
        if !headers.contains_key(AUTHORIZATION) {
            return by_certificate().map(Sender::Agent).ok_or(Error::Unauthenticated);
        }
        let presented = presented(headers).ok_or(Error::Unauthenticated)?;
        let (user, secret) = match &presented {
            Presented::Bearer(secret) => (None, secret.expose_secret()),
            Presented::Basic { user, password } => (Some(user), password.expose_secret()),
        };
        let hashed = hash(secret);
        if user.is_none() && self.agent.is_some_and(|agent| hashed.ct_eq(&agent).into()) {
            if !self.nodes.are_named() {
                return Ok(Sender::Agent(Reach::all()));
            }
            // The token is all agents': it does not say which one this is.
            let reason = "the agents' token is not enough here: show a certificate that indexer.nodes names";
            return by_certificate().map(Sender::Agent).ok_or(Error::Forbidden { reason });
        }
        let Some(token) = self.token(hashed, secret).await? else {
            // What looks like one of ours is nobody else's.
            let is_ours = secret.starts_with(TOKEN_PREFIX);
            return match &self.reviews {
                _ if is_ours => Err(Error::Unauthenticated),
                // What may be one of Kubernetes is shown to nobody else.
                Some(reviews) if user.is_none() && is_jwt(secret) => {
                    let node = reviews.node(secret, hashed, head.from).await?;
                    let reason = "no rule of indexer.nodes names this agent's node";
                    self.nodes.by_node(&node).map(Sender::Agent).ok_or(Error::Forbidden { reason })
                }
                _ => self.elsewhere(head, user).await,
            };
        };
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

    /// Who the platform says that this is, if there is one to ask: the writer of one tenant.
    async fn elsewhere(&self, head: Head<'_>, user: Option<&String>) -> Result<Sender> {
        let (Some(platform), Some(authorization)) = (&self.platform, head.headers.get(AUTHORIZATION)) else {
            return Err(Error::Unauthenticated);
        };
        // A name that no tenant can have, the platform does not know either.
        let tenant =
            user.map(|name| TenantId::parse(name)).transpose().map_err(|_| Error::Unauthenticated)?;
        let tenant = platform.writer(head, authorization, tenant).await?;
        Ok(Sender::Token { id: format!("platform:{tenant}"), tenant })
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

/// What headers present, for the fuzz targets.
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz {
    use super::*;

    /// Reads a value of `Authorization`: what it presents is what somebody would have put in so.
    pub fn authorization(bytes: &[u8]) {
        let Ok(value) = http::HeaderValue::from_bytes(bytes) else { return };
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.clone());
        match presented(&headers) {
            None => {}
            Some(Presented::Bearer(secret)) => {
                assert!(bytes.trim_ascii_end().ends_with(secret.expose_secret().as_bytes()));
            }
            Some(Presented::Basic { user, password }) => {
                assert!(!user.contains(':'));
                let again = BASE64.encode(format!("{user}:{}", password.expose_secret()));
                let text = String::from_utf8_lossy(bytes);
                assert!(text.trim_end().ends_with(&again), "{again}");
            }
        }
        headers.append(AUTHORIZATION, value);
        assert!(presented(&headers).is_none(), "two are none");
    }
}
