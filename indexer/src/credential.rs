//! Who is calling: the query role, an agent, or the holder of a tenant's token.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use heliograph_model::batch::TENANT_HEADER;
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::Clock;
use heliograph_serve::PeerCertificate;
use heliograph_store::audit::Actor;
use heliograph_store::catalog::{Catalog, Role, Token};
use heliograph_store::tenants::OpenTenant;
use heliograph_store::token::{Proof, prove};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use prometheus::IntCounterVec;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::audit::{Recorder, Refusal};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::node::{self, Nodes, Reach};
use crate::platform::Platform;
use crate::receive::Head;
use crate::review::Reviews;

/// How long a token that was good is taken as good: a revocation acts within this time.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// Tokens remembered at most.
const KEPT_MAX: usize = 10_000;

/// What tokens of tenants begin with.
const TOKEN_PREFIX: &str = "hg_";

/// What stands in the place of a token's public part where the platform vouches: no token has such a one.
const PLATFORM: &str = "platform:";

/// Who sends records.
#[derive(Clone, Debug)]
pub(crate) enum Sender {
    /// An agent: names the tenant itself.
    Agent {
        /// Its node, or the name in its certificate; none, where all agents prove the same.
        name: Option<Arc<str>>,
        /// For whom it may ship.
        may: Arc<Reach>,
    },
    /// The holder of a token: the tenant is the token's.
    Token {
        /// The token's public part.
        id: String,
        /// Whose it is.
        tenant: TenantId,
    },
}

impl Sender {
    /// Who the audit log says that it is.
    pub(crate) fn actor(&self) -> Actor {
        match self {
            Self::Agent { name, .. } => Actor::Agent(name.clone()),
            Self::Token { id, tenant } if id.starts_with(PLATFORM) => Actor::Platform(tenant.clone()),
            Self::Token { id, .. } => Actor::Token(id.clone()),
        }
    }
}

/// A refusal, and what is known of who it was and whose records it was about.
struct Refused {
    error: Error,
    actor: Actor,
    /// None: what the request itself names.
    tenant: Option<TenantId>,
    /// What the audit log says; else what the sender is told.
    reason: Option<&'static str>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, actor: Actor::Nobody, tenant: None, reason: None }
    }
}

impl Refused {
    /// A credential that is good, but not for this.
    fn forbidden(reason: &'static str, actor: Actor) -> Self {
        Self { actor, ..Error::Forbidden { reason }.into() }
    }

    fn about(self, tenant: Option<TenantId>) -> Self {
        Self { tenant, ..self }
    }
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
    recorder: Recorder,
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
        recorder: Recorder,
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
            recorder,
        }
    }

    /// Whether the query role is calling.
    pub(crate) fn is_query(&self, head: Head<'_>) -> Result<()> {
        match presented(head.headers) {
            Some(Presented::Bearer(secret))
                if !secret.expose_secret().is_empty()
                    && bool::from(hash(secret.expose_secret()).ct_eq(&self.cluster)) =>
            {
                Ok(())
            }
            _ => {
                let reason = Some("the credential is not the query role's");
                Err(self.refuse(head, Refused { reason, ..Error::Unauthenticated.into() }))
            }
        }
    }

    /// Who sends records: by the `Authorization` header, or without one by the certificate of the connection.
    pub(crate) async fn sender(&self, head: Head<'_>) -> Result<Sender> {
        Box::pin(self.proved(head)).await.map_err(|refused| self.refuse(head, refused))
    }

    /// Counts a refusal, and has it recorded if somebody tried to be somebody: who shows nothing is only told so.
    fn refuse(&self, head: Head<'_>, refused: Refused) -> Error {
        let Refused { error, actor, tenant, reason } = refused;
        let has_tried = head.headers.contains_key(AUTHORIZATION);
        let (label, reason) = match &error {
            Error::Unauthenticated if !has_tried => ("none", reason),
            Error::Unauthenticated => ("wrong", reason.or(Some("the credential proves nothing"))),
            Error::Forbidden { reason: told } => ("not_for_this", reason.or(Some(told))),
            Error::Throttled { .. } => ("throttled", None),
            Error::Unavailable { .. } => ("unanswered", None),
            _ => return error,
        };
        self.refused.with_label_values(&[label]).inc();
        if let Some(reason) = reason.filter(|_| has_tried || actor != Actor::Nobody) {
            let tenant = tenant.or_else(|| named(head.headers));
            self.recorder.refused(Refusal { actor, from: Some(head.from), tenant, reason });
        }
        error
    }

    /// Refuses what a sender may not send. Tenants of others and those that nobody has are refused alike.
    pub(crate) async fn may_ship(&self, head: Head<'_>, sender: &Sender, tenant: &TenantId) -> Result<()> {
        let reason = match sender {
            Sender::Agent { may, .. } if self.nodes.reaches(may, tenant).await? => return Ok(()),
            Sender::Token { tenant: own, .. } if own == tenant => return Ok(()),
            Sender::Agent { .. } => "this agent may not ship for the tenant",
            Sender::Token { .. } => "the token is for another tenant than the header names",
        };
        self.refused.with_label_values(&["tenant_of_others"]).inc();
        let (from, tenant) = (Some(head.from), Some(tenant.clone()));
        self.recorder.refused(Refusal { actor: sender.actor(), from, tenant, reason });
        Err(Error::Forbidden { reason })
    }

    /// A tenant came into being by what was sent.
    pub(crate) fn made(&self, tenant: &OpenTenant, workspace: &Workspace, by: &Sender, from: IpAddr) {
        self.recorder.made(tenant, workspace, by.actor(), from);
    }

    async fn proved(&self, head: Head<'_>) -> Result<Sender, Refused> {
        let Head { headers, certificate, .. } = head;
        if !headers.contains_key(AUTHORIZATION) {
            let reason = certificate.map(|_| "no rule of indexer.nodes names the certificate");
            let actor = certificate.map_or(Actor::Nobody, |peer| Actor::Agent(node::name(peer)));
            let refused = Refused { actor, reason, ..Error::Unauthenticated.into() };
            return self.by_certificate(certificate).ok_or(refused);
        }
        let presented = presented(headers).ok_or(Error::Unauthenticated)?;
        let (user, secret) = match &presented {
            Presented::Bearer(secret) => (None, secret.expose_secret()),
            Presented::Basic { user, password } => (Some(user), password.expose_secret()),
        };
        let hashed = hash(secret);
        if user.is_none() && self.agent.is_some_and(|agent| hashed.ct_eq(&agent).into()) {
            if !self.nodes.are_named() {
                return Ok(Sender::Agent { name: None, may: Reach::all() });
            }
            // The token is all agents': it does not say which one this is.
            let reason = "the agents' token is not enough here: show a certificate that indexer.nodes names";
            let actor = Actor::Agent(certificate.and_then(node::name));
            return self.by_certificate(certificate).ok_or_else(|| Refused::forbidden(reason, actor));
        }
        let token = match self.token(hashed, secret).await? {
            Proof::Good(token) => token,
            Proof::Ended(Token { id, tenant, .. }) => {
                let reason = Some("the token has expired or was revoked");
                let tenant = Some(tenant);
                let actor = Actor::Token(id);
                return Err(Refused { error: Error::Unauthenticated, actor, tenant, reason });
            }
            // What looks like one of ours is nobody else's.
            Proof::Nothing if secret.starts_with(TOKEN_PREFIX) => return Err(Error::Unauthenticated.into()),
            Proof::Nothing => match &self.reviews {
                // What may be one of Kubernetes is shown to nobody else.
                Some(reviews) if user.is_none() && is_jwt(secret) => {
                    let node = reviews.node(secret, hashed, head.from).await?;
                    let reason = "no rule of indexer.nodes names this agent's node";
                    let may = self.nodes.by_node(&node);
                    let name = Some(node);
                    let refused = Refused::forbidden(reason, Actor::Agent(name.clone()));
                    return may.map(|may| Sender::Agent { name, may }).ok_or(refused);
                }
                _ => return Ok(self.elsewhere(head, user).await?),
            },
        };
        let actor = || Actor::Token(token.id.clone());
        if user.is_some_and(|user| user != token.tenant.as_str()) {
            let reason = "the token is for another tenant than the user name says";
            let named = user.and_then(|name| TenantId::parse(name).ok());
            return Err(Refused::forbidden(reason, actor()).about(named));
        }
        if !token.roles.contains(&Role::Writer) {
            let refused = Refused::forbidden("the token lacks the role writer", actor());
            return Err(refused.about(Some(token.tenant)));
        }
        Ok(Sender::Token { id: token.id, tenant: token.tenant })
    }

    fn by_certificate(&self, certificate: Option<&PeerCertificate>) -> Option<Sender> {
        let peer = certificate?;
        let may = self.nodes.by_certificate(peer)?;
        Some(Sender::Agent { name: node::name(peer), may })
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
        Ok(Sender::Token { id: format!("{PLATFORM}{tenant}"), tenant })
    }

    async fn token(&self, hashed: Hash, secret: &str) -> Result<Proof> {
        let now = self.clock.now();
        let kept = self.kept.lock().get(&hashed).cloned();
        if let Some((token, since)) = kept
            && since.elapsed() < KEPT_FOR
            && token.expires.is_none_or(|end| now < end)
        {
            return Ok(Proof::Good(token));
        }
        let asked = Instant::now();
        let proof = prove(&*self.catalog, secret, now).await?;
        let mut kept = self.kept.lock();
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, (_, since)| since.elapsed() < KEPT_FOR);
        }
        match &proof {
            Proof::Good(token) if kept.len() < KEPT_MAX => {
                kept.insert(hashed, (token.clone(), asked));
            }
            _ => {
                kept.remove(&hashed);
            }
        }
        Ok(proof)
    }
}

/// The tenant that a request names, in its header or as the user.
fn named(headers: &HeaderMap) -> Option<TenantId> {
    let named = headers.get(TENANT_HEADER).and_then(|name| name.to_str().ok());
    let user = || match presented(headers) {
        Some(Presented::Basic { user, .. }) => TenantId::parse(&user).ok(),
        _ => None,
    };
    named.and_then(|name| TenantId::parse(name).ok()).or_else(user)
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
