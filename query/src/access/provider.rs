//! Providers that vouch for people: the way there and back, by OAuth's code flow with PKCE.
//!
//! ```text
//! begin  → address of the provider, and what only the browser that began has: Pending, sealed in a cookie
//! finish ← state, code  → the provider's token endpoint → who it is: Profile
//! ```
//! What comes back is held against the `Pending` of the same browser: another's code, state or provider is refused.
//! Whether somebody is let in is not decided here.

mod github;
mod id_token;
mod oidc;
mod outside;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use heliograph_model::time::{Clock, Timestamp};
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    ExtraTokenFields, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, StandardRevocableToken,
    StandardTokenResponse, TokenResponse, TokenUrl,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use url::Url;

use crate::config::{self, ProviderKind};
use crate::error::{Error, Result};
use github::GitHub;
use oidc::Oidc;
use outside::Outside;

/// People on their way back from a provider at the same time: each makes us ask the provider.
const TURNS: usize = 16;
/// How long somebody who signs out waits for what the provider says of itself.
const SIGN_OUT_WAIT: Duration = Duration::from_secs(2);
/// Most groups of somebody that are looked at.
const GROUPS_MAX: usize = 2_000;
/// Longest subject, in characters: as OpenID Connect bounds it.
const SUBJECT_CHARS_MAX: usize = 255;

/// Why somebody is not signed in, as the page is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The way back does not fit the way there: too late, used before, another browser's.
    Expired,
    /// They said no at the provider, or it did.
    Cancelled,
    /// The provider did not answer, or not in a way that proves anything.
    Provider,
    /// No group, domain or invitation lets them in.
    NotAllowed,
    /// They are locked out.
    Disabled,
}

impl Reason {
    /// As it stands in addresses and in the audit log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Provider => "provider",
            Self::NotAllowed => "not_allowed",
            Self::Disabled => "disabled",
        }
    }
}

/// A sign-in that ends here.
#[derive(Debug)]
pub(crate) struct Denied {
    pub(crate) reason: Reason,
    /// For the audit log: what was wrong; no secret.
    pub(crate) why: String,
}

impl Denied {
    pub(crate) fn new(reason: Reason, why: impl Into<String>) -> Self {
        Self { reason, why: why.into() }
    }

    fn provider(why: impl Into<String>) -> Self {
        Self::new(Reason::Provider, why)
    }
}

/// Somebody as a provider vouches for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    /// The provider's name for itself.
    pub(crate) issuer: String,
    /// Who it is there, for ever.
    pub(crate) subject: String,
    /// An address of theirs that the provider has verified.
    pub(crate) email: Option<String>,
    /// What they are called there; may be another's tomorrow.
    pub(crate) handle: Option<String>,
    /// Of which domain they are.
    pub(crate) domain: Option<String>,
    /// Their groups.
    pub(crate) groups: BTreeSet<String>,
}

/// What the browser that is on its way holds, sealed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) provider: String,
    pub(crate) state: String,
    nonce: String,
    verifier: String,
    redirect: String,
    /// Where on our page it began.
    pub(crate) return_to: String,
    pub(crate) expires: i64,
}

/// What the provider sends the browser back with.
#[derive(Default)]
pub(crate) struct Returned {
    pub(crate) state: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) iss: Option<String>,
    pub(crate) error: Option<String>,
}

/// All configured providers.
pub(crate) struct Providers {
    list: Vec<Provider>,
    public_urls: Vec<Url>,
    turns: Semaphore,
}

/// One provider.
pub(crate) struct Provider {
    pub(crate) config: config::Provider,
    speaks: Speaks,
}

enum Speaks {
    Oidc(Box<Oidc>),
    GitHub(GitHub),
}

impl Providers {
    /// As configured; asks nobody anything yet.
    pub(crate) async fn open(
        list: &[config::Provider],
        tls: &config::Tls,
        public_urls: &[String],
        clock: &Arc<dyn Clock>,
    ) -> Result<Self> {
        let one = async |config: &config::Provider| -> Result<Provider> {
            let outside = Outside::open(tls, config.allow_loopback).await?;
            let speaks = match &config.kind {
                ProviderKind::Oidc(oidc) => Speaks::Oidc(Box::new(Oidc::new(
                    oidc.clone(),
                    config.client_id.clone(),
                    outside,
                    Arc::clone(clock),
                )?)),
                ProviderKind::GitHub(github) => Speaks::GitHub(GitHub::new(github.clone(), outside)),
            };
            Ok(Provider { config: config.clone(), speaks })
        };
        let list = try_join_all(list.iter().map(one)).await?;
        let url = |text: &String| Url::parse(text).map_err(|e| Error::server("query.public_urls", e));
        let public_urls = public_urls.iter().map(url).collect::<Result<_>>()?;
        Ok(Self { list, public_urls, turns: Semaphore::new(TURNS) })
    }

    /// Reads the authorities of all anew when they change, for ever.
    pub(crate) async fn keep_fresh(&self) {
        join_all(self.list.iter().map(|provider| provider.outside().keep_fresh())).await;
    }

    /// In the order of the configuration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.list.iter()
    }

    /// The provider of this name.
    pub(crate) fn find(&self, name: &str) -> Result<&Provider> {
        self.list.iter().find(|p| p.config.name == name).ok_or(Error::NotFound { what: "provider" })
    }

    /// Where a provider sends browsers back to: an address of ours that is configured, never one that a request claims.
    /// With several it is the one that the browser is at.
    pub(crate) fn callback(&self, provider: &Provider, host: Option<&str>) -> Result<String> {
        let base = self.base(host);
        let base =
            base.ok_or_else(|| Error::server("query.public_urls", "is needed to sign in by a provider"))?;
        Ok(format!("{base}/api/v1/auth/{}/callback", provider.config.name))
    }

    /// The provider of this name, and where people end their session there, who then come back to our page; nothing,
    /// if it has no such place, or does not say so now.
    pub(crate) async fn sign_out(&self, name: &str, host: Option<&str>) -> Option<(&Provider, Url)> {
        let provider = self.find(name).ok()?;
        let Speaks::Oidc(oidc) = &provider.speaks else { return None };
        let back = format!("{}/", self.base(host)?);
        let _turn = self.turn().ok()?;
        let found = tokio::time::timeout(SIGN_OUT_WAIT, oidc.end_session_url()).await;
        let mut url = found.ok()??;
        url.query_pairs_mut()
            .append_pair("client_id", &provider.config.client_id)
            .append_pair("post_logout_redirect_uri", &back);
        Some((provider, url))
    }

    /// Our own address, without a slash at its end.
    fn base(&self, host: Option<&str>) -> Option<&str> {
        let is_here = |url: &&Url| {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            url.host_str().map(|name| format!("{name}{port}")).as_deref() == host
        };
        let url = self.public_urls.iter().find(is_here).or(self.public_urls.first())?;
        Some(url.as_str().trim_end_matches('/'))
    }

    /// The address of a place on our page; without a public URL only its path.
    pub(crate) fn page(&self, place: &str) -> String {
        let base = self.public_urls.first().map(|url| url.as_str().trim_end_matches('/')).unwrap_or_default();
        format!("{base}/{place}")
    }

    /// A turn to ask a provider.
    pub(crate) fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>> {
        self.turns.try_acquire().map_err(|_| Error::Busy { what: "sign-ins" })
    }
}

impl Provider {
    /// The address to send the browser to, and what it must bring back.
    pub(crate) async fn begin(
        &self,
        redirect: String,
        return_to: String,
        expires: Timestamp,
    ) -> Result<(Url, Pending), Denied> {
        let (authorize, scopes) = match &self.speaks {
            Speaks::Oidc(oidc) => (oidc.authorization_url().await?, oidc.scopes()),
            Speaks::GitHub(github) => (github.authorization_url()?, GitHub::scopes()),
        };
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let nonce = CsrfToken::new_random().into_secret();
        let client = self.client().set_auth_uri(authorize).set_redirect_uri(redirect_url(&redirect)?);
        let mut request = client
            .authorize_url(CsrfToken::new_random)
            .set_pkce_challenge(challenge)
            .add_scopes(scopes.into_iter().map(Scope::new));
        if matches!(self.speaks, Speaks::Oidc(_)) {
            request = request.add_extra_param("nonce", nonce.clone());
        }
        let (url, state) = request.url();
        let pending = Pending {
            provider: self.config.name.clone(),
            state: state.into_secret(),
            nonce,
            verifier: verifier.into_secret(),
            redirect,
            return_to,
            expires: expires.as_nanos(),
        };
        Ok((url, pending))
    }

    /// Who came back. The state has been compared by then.
    pub(crate) async fn finish(&self, pending: &Pending, returned: Returned) -> Result<Profile, Denied> {
        if let Speaks::Oidc(oidc) = &self.speaks {
            oidc.check_issuer(returned.iss.as_deref()).await?;
        }
        if let Some(error) = returned.error {
            return Err(match error.as_str() {
                "access_denied" | "interaction_required" | "login_required" | "consent_required" => {
                    Denied::new(Reason::Cancelled, "the provider says that access was denied")
                }
                _ => Denied::provider("the provider reports an error of its own"),
            });
        }
        let code = returned.code.ok_or_else(|| Denied::provider("the provider sent no code"))?;
        let answer = self.exchange(pending, code).await?;
        let access_token = answer.access_token().secret();
        let profile = match &self.speaks {
            Speaks::Oidc(oidc) => {
                let id_token = answer.extra_fields().id_token.as_deref();
                let id_token = id_token.ok_or_else(|| Denied::provider("the provider sent no ID token"))?;
                oidc.profile(id_token, &pending.nonce, access_token).await?
            }
            Speaks::GitHub(github) => github.profile(access_token).await?,
        };
        let is_subject = (1..=SUBJECT_CHARS_MAX).contains(&profile.subject.chars().count())
            && !profile.subject.chars().any(char::is_control);
        match is_subject {
            true => Ok(profile),
            false => Err(Denied::provider("the provider's subject is empty, too long, or no text")),
        }
    }

    fn outside(&self) -> &Outside {
        match &self.speaks {
            Speaks::Oidc(oidc) => &oidc.outside,
            Speaks::GitHub(github) => &github.outside,
        }
    }

    fn client(&self) -> Client {
        let secret = self.config.client_secret.expose_secret().to_owned();
        Client::new(ClientId::new(self.config.client_id.clone())).set_client_secret(ClientSecret::new(secret))
    }

    /// A code for tokens.
    async fn exchange(&self, pending: &Pending, code: String) -> Result<Tokens, Denied> {
        let (url, auth) = match &self.speaks {
            Speaks::Oidc(oidc) => oidc.token_url().await?,
            Speaks::GitHub(github) => (github.token_url()?, AuthType::RequestBody),
        };
        let client: Client<EndpointNotSet, EndpointSet> = self
            .client()
            .set_auth_type(auth)
            .set_token_uri(url)
            .set_redirect_uri(redirect_url(&pending.redirect)?);
        let answer = client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(pending.verifier.clone()))
            .request_async(&self.outside().caller())
            .await;
        // The error may hold the answer with its tokens: only its kind is told.
        answer.map_err(|error| {
            Denied::provider(match error {
                oauth2::RequestTokenError::ServerResponse(_) => "the provider does not take the code",
                oauth2::RequestTokenError::Request(_) => "the provider's token endpoint does not answer",
                _ => "the answer of the provider's token endpoint cannot be read",
            })
        })
    }
}

type Client<HasAuthUrl = EndpointNotSet, HasTokenUrl = EndpointNotSet> = oauth2::Client<
    BasicErrorResponse,
    Tokens,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    HasAuthUrl,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    HasTokenUrl,
>;

type Tokens = StandardTokenResponse<WithIdToken, BasicTokenType>;

/// What a token endpoint answers beside the access token. The ID token is not looked into here.
#[derive(Serialize, Deserialize)]
struct WithIdToken {
    id_token: Option<String>,
}

impl ExtraTokenFields for WithIdToken {}

impl std::fmt::Debug for WithIdToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WithIdToken")
    }
}

fn redirect_url(text: &str) -> Result<RedirectUrl, Denied> {
    RedirectUrl::new(text.to_owned()).map_err(|_| Denied::provider("query.public_urls holds no URL"))
}

fn auth_url(url: &Url) -> AuthUrl {
    AuthUrl::from_url(url.clone())
}

fn token_url(url: &Url) -> TokenUrl {
    TokenUrl::from_url(url.clone())
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
pub(crate) fn is_same(a: &str, b: &str) -> bool {
    bool::from(a.as_bytes().ct_eq(b.as_bytes()))
}

#[cfg(test)]
mod tests;
