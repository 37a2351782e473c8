//! Credential → `Caller` → `Scope`, the only proof of the right to read a tenant.
//!
//! Nothing but a credential decides: no header, path or parameter names a tenant into being. A tenant that does
//! not exist and one that is somebody else's are refused alike.

pub(crate) mod account;
mod forwarded;
mod invitation;
mod mapping;
mod origin;
pub mod password;
pub(crate) mod provider;
mod session;
mod sign_in;
mod throttle;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use heliograph_egress::webhook::Question;
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_model::time::{Clock, Timestamp};
use heliograph_store::audit::Subject;
use heliograph_store::catalog::{Catalog, Extent, Role, Tenant, Token, User};
use http::{HeaderMap, Method, Uri, header};
use secrecy::SecretString;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::metrics::Metrics;

pub use account::is_user_name;
pub(crate) use forwarded::{Forged, Identity};
pub(crate) use origin::Origins;
pub(crate) use session::{Cookie, PENDING_FOR, public_id};
use sign_in::SignIns;
pub(crate) use throttle::{Key, Refusals, Throttle};
pub(crate) use webhook::Platform;

/// How often the right to what still runs is looked at again; the promise is 5 s.
pub(crate) const RECHECK: Duration =
    if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(3) };
/// How long it runs on while the right cannot be looked at.
pub(crate) const UNCHECKED_MAX: Duration =
    if cfg!(test) { Duration::from_millis(500) } else { Duration::from_mins(1) };
/// What a machine's token begins with: a Basic password that begins so is a token, never a person's password.
pub(crate) const TOKEN_PREFIX: &str = "hg_";

/// Who is calling, without what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    /// A person.
    User(String),
    /// A machine's token, by its public id.
    Token(String),
    /// A person whom a proxy in front names: another one than the user of that name.
    Forwarded(String),
    /// A machine of this tenant, which the platform knows and we do not.
    Platform(TenantId),
}

impl Principal {
    /// The name under which cursors are bound and calls are logged.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::User(name) => format!("user:{name}"),
            Self::Token(id) => format!("token:{id}"),
            Self::Forwarded(name) => format!("forwarded:{name}"),
            Self::Platform(tenant) => format!("platform:{tenant}"),
        }
    }
}

/// What proved the caller, so that it can be proved again later without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Proof {
    Session([u8; 32]),
    Token(String),
    Password {
        user: String,
        hash: String,
    },
    /// A proxy's word, and until when it is taken.
    Forwarded {
        identity: Arc<Identity>,
        until: Timestamp,
    },
    /// The platform's word about a credential, which it is asked for anew.
    Platform(Arc<Question>),
}

/// What a caller may do with one tenant.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    /// The tenant's lasting id.
    pub(crate) uid: Uuid,
    /// The tenant's workspace.
    pub(crate) workspace: Workspace,
    /// The roles, added up.
    pub(crate) roles: BTreeSet<Role>,
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    principal: Principal,
    proof: Proof,
    admin: bool,
    tenants: BTreeMap<TenantId, Rights>,
}

impl Caller {
    /// Who it is.
    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Whether it is a platform administrator.
    pub(crate) fn is_admin(&self) -> bool {
        self.admin
    }

    /// The tenants it may do anything with.
    pub(crate) fn tenants(&self) -> &BTreeMap<TenantId, Rights> {
        &self.tenants
    }

    /// The hash of the cookie it came by.
    pub(crate) fn session(&self) -> Option<&[u8; 32]> {
        match &self.proof {
            Proof::Session(hash) => Some(hash),
            _ => None,
        }
    }

    /// Whether a browser may have sent its credential by itself: it came by cookie, or by a proxy, which has cookies of
    /// its own.
    pub(crate) fn is_ambient(&self) -> bool {
        matches!(self.proof, Proof::Session(_) | Proof::Forwarded { .. })
    }

    /// What proved it, to bind things to; no secret. Of a session its own, of others only their kind.
    pub(crate) fn proved_by(&self) -> String {
        match &self.proof {
            Proof::Session(hash) => format!("session:{}", HEXLOWER.encode(hash)),
            Proof::Token(_) => "token".to_owned(),
            Proof::Password { .. } => "password".to_owned(),
            Proof::Forwarded { .. } => "forwarded".to_owned(),
            Proof::Platform(_) => "platform".to_owned(),
        }
    }

    /// The right to read the named tenants, or without names all that the caller may read.
    pub(crate) fn scope(&self, named: &[String]) -> Result<Scope> {
        let may_read = |rights: &Rights| rights.roles.contains(&Role::Viewer);
        let mut tenants: Vec<TenantId> = if named.is_empty() {
            self.tenants.iter().filter(|(_, rights)| may_read(rights)).map(|(t, _)| t.clone()).collect()
        } else {
            let one = |name: &String| {
                // A name that no tenant can have is as unknown as any other.
                let tenant = TenantId::parse(name).map_err(|_| Error::Forbidden)?;
                if self.tenants.get(&tenant).is_some_and(may_read) {
                    Ok(tenant)
                } else {
                    Err(Error::Forbidden)
                }
            };
            named.iter().map(one).collect::<Result<_>>()?
        };
        tenants.sort();
        tenants.dedup();
        Ok(Scope { principal: self.principal.clone(), tenants })
    }

    /// Whether it may read all that a scope holds, each the tenant that it was before, and not another of its name.
    fn still_reads(&self, scope: &Scope, before: &Self) -> bool {
        scope.tenants.iter().all(|tenant| match (self.tenants.get(tenant), before.tenants.get(tenant)) {
            (Some(now), Some(was)) => now.roles.contains(&Role::Viewer) && now.uid == was.uid,
            _ => false,
        })
    }

    /// Whether it runs a tenant: an operator of it, and a platform administrator.
    pub(crate) fn operates(&self, tenant: &TenantId) -> bool {
        let is_operator = |rights: &Rights| rights.roles.contains(&Role::Operator);
        self.admin || self.tenants.get(tenant).is_some_and(is_operator)
    }

    /// The tenant of this name, if the caller operates it. A foreign one answers as one that does not exist.
    pub(crate) fn operated(&self, name: &str) -> Result<TenantId> {
        let unknown = || Error::NotFound { what: "tenant" };
        let name = TenantId::parse(name).map_err(|_| unknown())?;
        if self.operates(&name) {
            Ok(name)
        } else if self.tenants.contains_key(&name) {
            Err(Error::Forbidden)
        } else {
            Err(unknown())
        }
    }

    /// A tenant as the audit log names it; none of the caller's is nobody's.
    pub(crate) fn subject(&self, name: &TenantId) -> Subject {
        match self.tenants.get(name) {
            Some(rights) => Subject::Tenant { name: name.clone(), uid: rights.uid },
            None => Subject::Platform,
        }
    }

    /// Passes platform administrators only.
    pub(crate) fn require_admin(&self) -> Result<()> {
        if self.admin { Ok(()) } else { Err(Error::Forbidden) }
    }
}

/// The right of one caller to read these tenants now. Made by [`Caller::scope`] only; every read takes one.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    principal: Principal,
    tenants: Vec<TenantId>,
}

impl Scope {
    /// Whose right it is.
    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The tenants, by name; none means that there is nothing to read.
    pub(crate) fn tenants(&self) -> &[TenantId] {
        &self.tenants
    }

    /// The part of the right over the tenants that a condition keeps.
    pub(crate) fn narrowed(&self, keep: impl Fn(&TenantId) -> bool) -> Self {
        Self {
            principal: self.principal.clone(),
            tenants: self.tenants.iter().filter(|t| keep(t)).cloned().collect(),
        }
    }
}

/// Proves callers.
pub(crate) struct Access {
    catalog: Arc<dyn Catalog>,
    clock: Arc<dyn Clock>,
    sign_ins: SignIns,
    cookie: Cookie,
    session_ttl: Duration,
    session_idle: Duration,
    origins: Origins,
    proxies: Option<forwarded::Proxies>,
    platform: Option<Arc<Platform>>,
}

/// What of a request tells who calls.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    /// Its headers, without those of proxies.
    pub(crate) headers: &'a HeaderMap,
    /// Where it came from.
    pub(crate) from: IpAddr,
    /// Whom a proxy vouches for.
    pub(crate) vouched: Option<&'a Identity>,
    /// What is called …
    pub(crate) method: &'a Method,
    /// … and where.
    pub(crate) uri: &'a Uri,
}

impl Access {
    /// Ready to prove callers of this catalog.
    pub(crate) fn new(
        config: &crate::Config,
        catalog: Arc<dyn Catalog>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        platform: Option<Arc<Platform>>,
    ) -> Result<Self> {
        Ok(Self {
            platform,
            sign_ins: SignIns::new(Arc::clone(&catalog), Arc::clone(&clock), metrics)?,
            catalog,
            clock,
            cookie: Cookie { secure: config.secure_cookies },
            session_ttl: config.session_ttl,
            session_idle: config.session_idle,
            origins: Origins::new(&config.public_urls, config.secure_cookies),
            proxies: config.forward_auth.clone().map(forwarded::Proxies::new),
        })
    }

    /// The cookies that we give browsers.
    pub(crate) fn cookie(&self) -> Cookie {
        self.cookie
    }

    /// The hash of a password that somebody is to have; bounded as those of sign-ins are.
    pub(crate) async fn hash(&self, password: SecretString) -> Result<String> {
        self.sign_ins.hash(password).await
    }

    /// Which pages may use the cookie.
    pub(crate) fn origins(&self) -> &Origins {
        &self.origins
    }

    /// The caller that the request's credential proves, with two both the same; or the one that a proxy vouches for,
    /// and then there is no other credential.
    pub(crate) async fn authenticate(&self, call: Call<'_>) -> Result<Caller> {
        let has_other = || call.headers.contains_key(header::AUTHORIZATION) || self.has_cookie(call.headers);
        match call.vouched {
            None => self.by_headers(call).await,
            // Whatever else is there, only a proxy can name this one.
            Some(_) if has_other() => Err(disagree()),
            Some(identity) => self.of_forwarded(identity).await,
        }
    }

    async fn by_headers(&self, call: Call<'_>) -> Result<Caller> {
        let mut authorizations = call.headers.get_all(header::AUTHORIZATION).iter();
        let authorization = authorizations.next();
        if authorizations.next().is_some() {
            return Err(disagree());
        }
        match (authorization, self.cookie.of(call.headers)?) {
            (None, None) => Err(Error::Unauthenticated),
            (None, Some(cookie)) => self.by_session(&session::hash(&cookie)).await,
            (Some(value), None) => self.by_authorization(value.as_bytes(), call).await,
            (Some(value), Some(cookie)) => {
                let by_cookie = self.by_session(&session::hash(&cookie)).await;
                let by_header = self.by_authorization(value.as_bytes(), call).await?;
                match by_cookie {
                    // The answer by cookie is the one that must also pass the Origin check.
                    Ok(caller) if caller.principal == by_header.principal => Ok(caller),
                    Ok(_) | Err(Error::Unauthenticated) => Err(disagree()),
                    Err(other) => Err(other),
                }
            }
        }
    }

    /// The caller as it stands now; refused if its credential ended in the meantime.
    pub(crate) async fn again(&self, caller: &Caller) -> Result<Caller> {
        match &caller.proof {
            Proof::Session(hash) => self.still_by_session(hash).await,
            Proof::Token(id) => {
                let token = self.catalog.token(id).await?.ok_or(Error::Unauthenticated)?;
                let now = self.clock.now();
                if token.revoked.is_some() || token.expires.is_some_and(|at| at <= now) {
                    return Err(Error::Unauthenticated);
                }
                self.of_token(token).await
            }
            Proof::Password { user, hash } => match self.catalog.user(user).await? {
                Some(user) if user.password_hash == *hash => self.of_password(user).await,
                _ => Err(Error::Unauthenticated),
            },
            Proof::Forwarded { identity, until } => self.forwarded(Arc::clone(identity), *until).await,
            // Without its word there is no right.
            Proof::Platform(question) => {
                self.by_platform(Some(question)).await.map_err(|_| Error::Unauthenticated)
            }
        }
    }

    /// Whether the caller, as it stands now, still may read all that a scope holds. An error says nothing about that.
    pub(crate) async fn still(&self, caller: &Caller, scope: &Scope) -> Result<bool> {
        match self.again(caller).await {
            Ok(now) => Ok(now.still_reads(scope, caller)),
            Err(Error::Unauthenticated | Error::Forbidden) => Ok(false),
            Err(other) => Err(other),
        }
    }

    async fn by_authorization(&self, value: &[u8], call: Call<'_>) -> Result<Caller> {
        let text = std::str::from_utf8(value).map_err(|_| Error::Unauthenticated)?;
        let (scheme, rest) = text.split_once(' ').ok_or(Error::Unauthenticated)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return match self.token(rest).await {
                // What looks like one of ours is nobody else's.
                Err(Error::Unauthenticated) if !rest.starts_with(TOKEN_PREFIX) => {
                    self.by_platform(webhook::question(&call, None).as_ref()).await
                }
                token => self.of_token(token?).await,
            };
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(Error::Unauthenticated);
        }
        let decoded = STANDARD.decode(rest).map_err(|_| Error::Unauthenticated)?;
        let decoded = String::from_utf8(decoded).map_err(|_| Error::Unauthenticated)?;
        let (user, secret) = decoded.split_once(':').ok_or(Error::Unauthenticated)?;
        if decoded.chars().any(char::is_control) {
            return Err(Error::Unauthenticated);
        }
        if secret.starts_with(TOKEN_PREFIX) {
            let token = self.token(secret).await?;
            if token.tenant.as_str() != user {
                return Err(Error::Unauthenticated);
            }
            return self.of_token(token).await;
        }
        let question = match TenantId::parse(user) {
            Ok(tenant) if self.platform.is_some() => webhook::question(&call, Some(tenant)),
            _ => None,
        };
        if let Some(question) = &question
            && let Some(caller) = self.known_elsewhere(question).await?
        {
            return Ok(caller);
        }
        // Whether there is a user of that name or not: neither the answer nor its time tells.
        let elsewhere = async || self.by_platform(question.as_ref()).await;
        let secret = SecretString::from(secret);
        match self.sign_ins.check_or(user, &secret, call.from, sign_in::Recall::Yes, elsewhere).await? {
            sign_in::Proved::User(user) => self.of_password(user).await,
            sign_in::Proved::Elsewhere(caller) => Ok(caller),
        }
    }

    async fn token(&self, presented: &str) -> Result<Token> {
        let found =
            heliograph_store::token::authenticate(self.catalog.as_ref(), presented, self.clock.now()).await?;
        found.ok_or(Error::Unauthenticated)
    }

    async fn of_token(&self, token: Token) -> Result<Caller> {
        let tenant = self.catalog.tenant(&token.tenant).await?.ok_or(Error::Unauthenticated)?;
        let roles = token.roles.into_iter().collect();
        let rights = Rights { uid: tenant.uid, workspace: tenant.workspace, roles };
        Ok(Caller {
            principal: Principal::Token(token.id.clone()),
            proof: Proof::Token(token.id),
            admin: false,
            tenants: BTreeMap::from([(token.tenant, rights)]),
        })
    }

    async fn of_password(&self, user: User) -> Result<Caller> {
        let proof = Proof::Password { user: user.name.clone(), hash: user.password_hash.clone() };
        self.of_user(user, proof).await
    }

    async fn of_user(&self, user: User, proof: Proof) -> Result<Caller> {
        if user.disabled {
            return Err(Error::Unauthenticated);
        }
        // An administrator needs no grants; for others all is asked for at once, as each takes a way to a thread.
        let (grants, mapped, all) = match user.admin {
            true => (Vec::new(), Vec::new(), self.catalog.tenants().await?),
            false => tokio::try_join!(
                self.catalog.grants(&user.name),
                self.catalog.mapped_grants(&user.name),
                self.catalog.tenants()
            )?,
        };
        let grants: Vec<_> = grants
            .into_iter()
            .chain(mapped.into_iter().map(|(_, grant)| grant))
            .map(|grant| (grant.extent, grant.role))
            .collect();
        let tenants = tenants_of(user.admin, &grants, all);
        Ok(Caller { principal: Principal::User(user.name), proof, admin: user.admin, tenants })
    }
}

/// Those of all tenants that somebody may do anything with, and what.
fn tenants_of(admin: bool, grants: &[(Extent, Role)], all: Vec<Tenant>) -> BTreeMap<TenantId, Rights> {
    let mut tenants = BTreeMap::new();
    if !admin && grants.is_empty() {
        return tenants;
    }
    for tenant in all {
        let covers = |extent: &Extent| match extent {
            Extent::Tenant(name) => *name == tenant.name,
            Extent::Workspace(workspace) => *workspace == tenant.workspace,
        };
        let roles: BTreeSet<Role> = if admin {
            Role::ALL.into_iter().collect()
        } else {
            grants.iter().filter(|(extent, _)| covers(extent)).map(|(_, role)| *role).collect()
        };
        if !roles.is_empty() {
            let rights = Rights { uid: tenant.uid, workspace: tenant.workspace, roles };
            tenants.insert(tenant.name, rights);
        }
    }
    tenants
}

fn disagree() -> Error {
    Error::invalid_hint(
        "the request carries two credentials that disagree",
        "send one Authorization header, or the session cookie",
    )
}

#[cfg(test)]
pub(crate) mod tests;
