//! A service that proves callers in our place, by the contract of nginx's `auth_request`: it gets the caller's
//! `Authorization`, and says 2xx, 401 or 403. Whatever else comes of it proves nobody.
//!
//! Answers are kept for a moment under a hash: no credential is.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::rand;
use heliograph_model::tenant::TenantId;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::client::Failure;
use crate::service::Service;
use crate::tries::Tries;

/// The path and query that the caller asked for.
const ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
/// Its method.
const ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
/// The tenant: in the question the one that the caller names, in the answer the one that it is.
const TENANT: HeaderName = HeaderName::from_static("x-heliograph-tenant");
/// Roles in the answer, with commas between.
const ROLES: HeaderName = HeaderName::from_static("x-heliograph-roles");
/// Questions under way at the same time.
const UNDER_WAY_MAX: usize = 64;
/// Largest credential that is passed on, in bytes.
const AUTHORIZATION_BYTES_MAX: usize = 16 << 10;

/// How long answers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Of those that are allowed.
    pub allowed: Duration,
    /// Of those that are not.
    pub denied: Duration,
    /// Answers kept at most.
    pub answers_max: usize,
}

/// Who calls for what.
#[derive(Clone, PartialEq, Eq)]
pub struct Question {
    /// The `Authorization` header.
    pub authorization: HeaderValue,
    /// The tenant that the credential names, if it does.
    pub tenant: Option<TenantId>,
    /// The request's method …
    pub method: Method,
    /// … and its path and query.
    pub uri: HeaderValue,
    /// Where it came from.
    pub from: IpAddr,
}

/// Without the credential.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("tenant", &self.tenant)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

/// A caller that the service proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Whose it is.
    pub tenant: TenantId,
    /// Names of the roles that it has; without, all that the configuration gives.
    pub roles: Option<Vec<String>>,
}

/// Why nobody is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The service says no.
    #[error("the authorization webhook refuses the credential")]
    Denied,
    /// Too many credentials of this address proved nothing.
    #[error("too many credentials proved nothing")]
    Throttled {
        /// How long to wait.
        retry_after: Duration,
    },
    /// As many are asked about as may be.
    #[error("too many questions to the authorization webhook at the same time")]
    Busy,
    /// There was no answer.
    #[error("the authorization webhook: {0}")]
    Failed(#[from] Failure),
    /// The status is neither 2xx, 401 nor 403.
    #[error("the authorization webhook answered {0}")]
    Status(u16),
    /// It allows it, but names no tenant, another one than the credential, or what is no tenant or role.
    #[error("the authorization webhook's answer names no tenant, or another than the credential")]
    Malformed,
}

impl Refusal {
    /// The metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Denied => "webhook_denied",
            Self::Throttled { .. } => "throttled",
            Self::Busy => "webhook_busy",
            Self::Failed(failure) => match failure {
                Failure::Address => "webhook_address",
                Failure::Timeout => "webhook_timeout",
                Failure::Unreachable => "webhook_unreachable",
                Failure::TooLarge => "webhook_too_large",
                Failure::Redirect => "webhook_redirect",
            },
            Self::Status(_) => "webhook_status",
            Self::Malformed => "webhook_malformed",
        }
    }
}

/// A question's place among the answers: of whom, and a keyed hash of what proves it.
type Key = (Option<TenantId>, [u8; 32]);

#[derive(Clone)]
struct Kept {
    answer: Result<Allowed, ()>,
    until: Instant,
}

/// Asks the service. Cheap to clone.
#[derive(Clone)]
pub struct Webhook(Arc<Inner>);

struct Inner {
    service: Service,
    keep: Keep,
    kept: Cache<Key, Kept>,
    /// Makes the keys worthless to who reads our memory later.
    salt: [u8; 32],
    under_way: Semaphore,
    tries: Tries,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("service", &self.0.service).finish_non_exhaustive()
    }
}

impl Webhook {
    /// Asks this service; nothing, if the machine gives no random bytes.
    pub fn new(service: Service, keep: Keep) -> Option<Self> {
        let mut salt = [0; 32];
        rand::fill(&mut salt).ok()?;
        Some(Self(Arc::new(Inner {
            service,
            keep,
            kept: Cache::new(keep.answers_max),
            salt,
            under_way: Semaphore::new(UNDER_WAY_MAX),
            tries: Tries::default(),
        })))
    }

    /// Reads the service's authorities anew when they change, for ever.
    pub async fn keep_fresh(&self) -> std::convert::Infallible {
        self.0.service.keep_fresh().await
    }

    /// Who was proved by this lately.
    pub fn known(&self, question: &Question) -> Option<Allowed> {
        self.kept(&self.key(question))?.ok()
    }

    /// Who is proved by this: as is known, or as the service says.
    pub async fn ask(&self, question: &Question) -> Result<Allowed, Refusal> {
        let key = self.key(question);
        if let Some(answer) = self.kept(&key) {
            return answer.map_err(|()| Refusal::Denied);
        }
        let now = Instant::now();
        let tries = &self.0.tries;
        tries.begin(question.from, now).map_err(|retry_after| Refusal::Throttled { retry_after })?;
        let answer = self.asked(question).await;
        if !matches!(answer, Err(Refusal::Denied)) {
            tries.take_back(question.from, now);
        }
        let (kept, keep_for) = match &answer {
            Ok(allowed) => (Ok(allowed.clone()), self.0.keep.allowed),
            Err(Refusal::Denied) => (Err(()), self.0.keep.denied),
            // Nothing is known by it: the next one asks again.
            Err(_) => return answer,
        };
        self.0.kept.insert(key, Kept { answer: kept, until: now + keep_for });
        answer
    }

    async fn asked(&self, question: &Question) -> Result<Allowed, Refusal> {
        let Inner { service, under_way, .. } = &*self.0;
        if question.authorization.len() > AUTHORIZATION_BYTES_MAX {
            return Err(Refusal::Denied);
        }
        let _permit = under_way.try_acquire().map_err(|_| Refusal::Busy)?;
        let mut authorization = question.authorization.clone();
        authorization.set_sensitive(true);
        let mut request = service
            .request(Method::GET, service.url())?
            .header(header::AUTHORIZATION, authorization)
            .header(ORIGINAL_URI, question.uri.clone())
            .header(ORIGINAL_METHOD, question.method.as_str());
        if let Some(tenant) = &question.tenant {
            request = request.header(TENANT, tenant.as_str());
        }
        let answer = service.send(request).await?;
        match answer.status.as_u16() {
            200..=299 => named(&answer.headers, question.tenant.as_ref()).ok_or(Refusal::Malformed),
            401 | 403 => Err(Refusal::Denied),
            other => Err(Refusal::Status(other)),
        }
    }

    fn kept(&self, key: &Key) -> Option<Result<Allowed, ()>> {
        let kept = self.0.kept.get(key)?;
        if kept.until <= Instant::now() {
            self.0.kept.remove(key);
            return None;
        }
        Some(kept.answer)
    }

    fn key(&self, question: &Question) -> Key {
        let mut context = Context::new(&SHA256);
        context.update(&self.0.salt);
        context.update(question.authorization.as_bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        (question.tenant.clone(), hash)
    }
}

/// Who it is by an answer that allows it; the credential's own tenant, where it names one, and no other.
fn named(headers: &HeaderMap, asked: Option<&TenantId>) -> Option<Allowed> {
    let said = match one(headers, &TENANT)? {
        Some(text) => Some(TenantId::parse(text).ok()?),
        None => None,
    };
    let tenant = match (asked, said) {
        (Some(asked), Some(said)) if *asked != said => return None,
        (Some(asked), _) => asked.clone(),
        (None, said) => said?,
    };
    let roles = one(headers, &ROLES)?.map(|text| {
        text.split(',').map(str::trim).filter(|role| !role.is_empty()).map(str::to_owned).collect()
    });
    Some(Allowed { tenant, roles })
}

/// A header's text, if it is there; `None` outside, if it is there twice or is no text.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Some(None),
        (Some(value), None) => value.to_str().ok().map(|text| Some(text.trim())),
        (Some(_), Some(_)) => None,
    }
}
