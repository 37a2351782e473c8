//! OpenID Connect: discovery, keys and their renewal, and from an ID token to a profile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use heliograph_model::time::{Clock, Timestamp};
use oauth2::{AuthType, AuthUrl, TokenUrl};
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey,
    CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode,
    CoreResponseType, CoreSubjectIdentifierType,
};
use openidconnect::{AdditionalProviderMetadata, IssuerUrl, ProviderMetadata};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use url::Url;

use super::id_token::{self, Expected, Refused};
use super::outside::Outside;
use super::{Denied, GROUPS_MAX, Profile, auth_url, token_url};
use crate::config;
use crate::error::{Error, Result};

/// How long what a provider says of itself is taken to be true.
const FRESH_FOR: Duration = Duration::from_secs(3600);
/// How long after asking for keys an unknown one does not make us ask again; likewise after a failure.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);
const ASK_AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct More {
    /// RFC 9207: it names itself when it sends a browser back.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    /// OpenID Connect RP-Initiated Logout 1.0: where people end their session at the provider. Whatever it is, people
    /// can sign in.
    #[serde(default)]
    end_session_endpoint: Value,
}

impl AdditionalProviderMetadata for More {}

type Metadata = ProviderMetadata<
    More,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// One provider, with what it says of itself once it was asked.
pub(super) struct Oidc {
    config: config::Oidc,
    issuer: IssuerUrl,
    client_id: String,
    pub(super) outside: Outside,
    clock: Arc<dyn Clock>,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    metadata: Option<Arc<Metadata>>,
    asked: Option<Timestamp>,
    failed: Option<Timestamp>,
}

impl Oidc {
    /// Not asked yet.
    pub(super) fn new(
        config: config::Oidc,
        client_id: String,
        outside: Outside,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let issuer =
            IssuerUrl::new(config.issuer.clone()).map_err(|e| Error::server("query.oidc.issuer", e))?;
        if !outside.may_ask(issuer.url()) {
            return Err(Error::server("query.oidc.issuer", format!("{} must not be asked", config.issuer)));
        }
        Ok(Self { config, issuer, client_id, outside, clock, found: Mutex::default() })
    }

    /// What is asked for.
    pub(super) fn scopes(&self) -> Vec<String> {
        let own = self.config.scopes.iter().filter(|scope| *scope != "openid");
        std::iter::once("openid".to_owned()).chain(own.cloned()).collect()
    }

    /// Where people sign in.
    pub(super) async fn authorization_url(&self) -> Result<AuthUrl, Denied> {
        let metadata = self.metadata(FRESH_FOR).await?;
        let url = metadata.authorization_endpoint().url();
        match self.outside.may_ask(url) {
            true => Ok(auth_url(url)),
            false => Err(Denied::provider("the provider's authorization endpoint must not be asked")),
        }
    }

    /// Where people end their session at the provider itself.
    pub(super) async fn end_session_url(&self) -> Option<Url> {
        let metadata = self.metadata(FRESH_FOR).await.ok()?;
        let said = metadata.additional_metadata().end_session_endpoint.as_str()?;
        Url::parse(said).ok().filter(|url| self.outside.may_ask(url))
    }

    /// Where a code is exchanged, and how we prove who we are there.
    pub(super) async fn token_url(&self) -> Result<(TokenUrl, AuthType), Denied> {
        let metadata = self.metadata(FRESH_FOR).await?;
        let url = metadata.token_endpoint().ok_or_else(|| Denied::provider("no token endpoint"))?;
        let is_post_only = metadata.token_endpoint_auth_methods_supported().is_some_and(|methods| {
            methods.contains(&CoreClientAuthMethod::ClientSecretPost)
                && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
        });
        let auth = if is_post_only { AuthType::RequestBody } else { AuthType::BasicAuth };
        Ok((token_url(url.url()), auth))
    }

    /// Refuses what another provider has sent back (RFC 9207).
    pub(super) async fn check_issuer(&self, said: Option<&str>) -> Result<(), Denied> {
        let metadata = self.metadata(FRESH_FOR).await?;
        let must_say = metadata.additional_metadata().authorization_response_iss_parameter_supported;
        match said {
            Some(said) if said == self.issuer.as_str() => Ok(()),
            None if !must_say => Ok(()),
            Some(_) => Err(Denied::provider("another provider has sent the browser back")),
            None => Err(Denied::provider("the provider has not named itself, as it says that it does")),
        }
    }

    /// Who an ID token is about; what it lacks is asked for with the access token.
    pub(super) async fn profile(
        &self,
        id_token: &str,
        nonce: &str,
        access_token: &str,
    ) -> Result<Profile, Denied> {
        let now = self.clock.now();
        let expected = Expected { issuer: &self.issuer, client_id: &self.client_id, nonce, now };
        let keys = |metadata: &Metadata| -> CoreJsonWebKeySet { metadata.jwks().clone() };
        let metadata = self.metadata(FRESH_FOR).await?;
        let claims = match id_token::verify(id_token, &keys(&metadata), &expected) {
            Err(Refused::UnknownKey) => {
                let metadata = self.metadata(ASK_AGAIN_AFTER).await?;
                id_token::verify(id_token, &keys(&metadata), &expected)
            }
            verified => verified,
        };
        let mut claims = claims.map_err(|refused| match refused {
            Refused::UnknownKey => Denied::provider("the ID token's key is not the provider's"),
            Refused::Wrong(why) => Denied::provider(why),
        })?;
        self.complete(&mut claims, &metadata, access_token).await?;
        Ok(self.of_claims(&claims))
    }

    /// Adds address and groups from the provider's user info, where the ID token has none.
    async fn complete(
        &self,
        claims: &mut Map<String, Value>,
        metadata: &Metadata,
        access_token: &str,
    ) -> Result<(), Denied> {
        let has = |claims: &Map<String, Value>, name: &str| claims.contains_key(name);
        let Some(endpoint) = metadata.userinfo_endpoint() else { return Ok(()) };
        let lacks_email = !has(claims, "email");
        let groups = self.config.groups_claim.as_str();
        if !lacks_email && claim(claims, groups).is_some() {
            return Ok(());
        }
        let failed = || Denied::provider("the provider's user info cannot be read");
        let request = http::Request::get(endpoint.url().as_str())
            .header(http::header::AUTHORIZATION, format!("Bearer {access_token}"))
            .header(http::header::ACCEPT, "application/json")
            .body(Vec::new())
            .map_err(|_| failed())?;
        let answer = self.outside.call(request).await.map_err(|_| failed())?;
        if !answer.status().is_success() {
            return Err(failed());
        }
        let info = id_token::unique(answer.body()).map_err(|_| failed())?;
        if info.get("sub") != claims.get("sub") {
            return Err(Denied::provider("the provider's user info is about somebody else"));
        }
        // The address and whether it is verified belong together: both come from one place.
        let names: &[&str] = if lacks_email { &["email", "email_verified"] } else { &[] };
        for name in names {
            if let Some(value) = info.get(*name) {
                claims.insert((*name).to_owned(), value.clone());
            }
        }
        if claim(claims, groups).is_none()
            && let Some(value) = claim(&info, groups)
        {
            // The name as a whole comes before what it says as a path.
            claims.insert(groups.to_owned(), value.clone());
        }
        Ok(())
    }

    fn of_claims(&self, claims: &Map<String, Value>) -> Profile {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        // Some write it as a text.
        let is_verified = matches!(claims.get("email_verified"), Some(Value::Bool(true)))
            || text("email_verified") == Some("true");
        let email =
            text("email").filter(|email| is_verified && heliograph_store::invitation::is_email(email));
        let domain = match &self.config.domain_claim {
            Some(claim) => text(claim),
            None => email.and_then(|email| email.rsplit_once('@')).map(|(_, domain)| domain),
        };
        let groups = match claim(claims, &self.config.groups_claim) {
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).take(GROUPS_MAX).map(str::to_owned).collect()
            }
            Some(Value::String(name)) => BTreeSet::from([name.clone()]),
            _ => BTreeSet::new(),
        };
        Profile {
            issuer: self.issuer.as_str().to_owned(),
            subject: text("sub").unwrap_or_default().to_owned(),
            email: email.map(str::to_owned),
            handle: text("preferred_username").map(str::to_owned),
            domain: domain.map(str::to_owned),
            groups,
        }
    }

    /// What the provider says of itself, asked for anew if that is older than this. One asks at a time; what there is
    /// stays good while the provider does not answer.
    async fn metadata(&self, older_than: Duration) -> Result<Arc<Metadata>, Denied> {
        let mut found = self.found.lock().await;
        let now = self.clock.now();
        let is_within = |at: Option<Timestamp>, span: Duration| {
            at.is_some_and(|at| {
                u64::try_from(now.nanos_since(at)).is_ok_and(|age| u128::from(age) < span.as_nanos())
            })
        };
        if let Some(metadata) = found.metadata.as_ref().filter(|_| is_within(found.asked, older_than)) {
            return Ok(Arc::clone(metadata));
        }
        let silent = || Denied::provider("the provider does not say what it is");
        if !is_within(found.failed, ASK_AGAIN_AFTER_FAILURE) {
            match Metadata::discover_async(self.issuer.clone(), &self.outside.caller()).await {
                Ok(metadata) => {
                    let metadata = Arc::new(metadata);
                    *found = Found { metadata: Some(Arc::clone(&metadata)), asked: Some(now), failed: None };
                    return Ok(metadata);
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(issuer = self.issuer.as_str(), error, "a provider cannot be discovered");
                    found.failed = Some(now);
                }
            }
        }
        found.metadata.as_ref().map(Arc::clone).ok_or_else(silent)
    }
}

/// The value of the claim of this name; without one, what it leads to as a path of names with dots between, any of
/// which may have dots itself: the longest that is there counts. (`https://example.com/groups` is one of Auth0's,
/// `resource_access.CLIENT.roles` a path of Keycloak's.)
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        name.rmatch_indices('.').find_map(|(dot, _)| {
            let (outer, rest) = (name.get(..dot)?, name.get(dot + 1..)?);
            claim(claims.get(outer)?.as_object()?, rest)
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_named_or_reached_by_a_path() {
        let claims = json!({
            "groups": 1,
            "https://example.com/groups": 2,
            "realm_access": { "roles": 3, "a.b": { "c": 4 } },
            "resource_access": { "my.client": { "roles": 5 }, "my": { "client": { "roles": 6, "only": 7 } } },
            "x.y": 8,
            "x": { "y": 9, "": 10 },
            "list": [{ "roles": 11 }],
        });
        let check = |name: &str, expected: Option<i64>| {
            let found = claim(claims.as_object().unwrap(), name).and_then(Value::as_i64);
            assert_eq!(found, expected, "{name}");
        };
        check("groups", Some(1));
        check("https://example.com/groups", Some(2));
        check("realm_access.roles", Some(3));
        check("realm_access.a.b.c", Some(4));
        check("resource_access.my.client.roles", Some(5));
        check("resource_access.my.client.only", Some(7));
        check("x.y", Some(8));
        check("x.", Some(10));
        for none in ["", ".", "roles", "realm_access", "realm_access.", ".roles", "realm_access..roles"] {
            check(none, None);
        }
        for none in ["realm_access.roles.x", "list.roles", "list.0.roles", "https://example.com", "a.b.c.d"] {
            check(none, None);
        }
    }
}
