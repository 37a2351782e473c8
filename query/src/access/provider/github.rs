//! GitHub: who somebody is by their numeric id, and which organisations and teams they are in.
//!
//! A login name is nobody's for ever: whoever gives it up, another may take it. So it names no account.

use std::collections::BTreeSet;

use oauth2::{AuthUrl, TokenUrl};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::outside::Outside;
use super::{Denied, GROUPS_MAX, Profile, auth_url, token_url};
use crate::config;

/// Entries of a page, and pages that are asked for: 1,000 organisations, and as many teams.
const PAGE: usize = 100;
const PAGES_MAX: usize = 10;

/// GitHub, or an Enterprise server.
pub(super) struct GitHub {
    config: config::GitHub,
    pub(super) outside: Outside,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
}

#[derive(Deserialize)]
struct Email {
    email: String,
    primary: bool,
    verified: bool,
}

#[derive(Deserialize)]
struct Organisation {
    login: String,
}

#[derive(Deserialize)]
struct Team {
    slug: String,
    organization: Organisation,
}

impl GitHub {
    /// As configured.
    pub(super) fn new(config: config::GitHub, outside: Outside) -> Self {
        Self { config, outside }
    }

    /// What is asked for: addresses, and membership also where it is not public.
    pub(super) fn scopes() -> Vec<String> {
        vec!["read:org".to_owned(), "user:email".to_owned()]
    }

    /// Where people sign in.
    pub(super) fn authorization_url(&self) -> Result<AuthUrl, Denied> {
        self.page("login/oauth/authorize").map(|url| auth_url(&url))
    }

    /// Where a code is exchanged.
    pub(super) fn token_url(&self) -> Result<TokenUrl, Denied> {
        self.page("login/oauth/access_token").map(|url| token_url(&url))
    }

    fn page(&self, path: &str) -> Result<Url, Denied> {
        let url = Url::parse(&format!("{}/{path}", self.config.url));
        url.ok()
            .filter(|url| self.outside.may_ask(url))
            .ok_or_else(|| Denied::provider("query.github.url must not be asked"))
    }

    /// Who an access token is of.
    pub(super) async fn profile(&self, access_token: &str) -> Result<Profile, Denied> {
        let user: User = self.get("user", access_token).await?;
        let emails: Vec<Email> = self.all("user/emails", access_token).await?;
        let email = emails.into_iter().find(|email| email.primary && email.verified);
        let email =
            email.map(|email| email.email).filter(|email| heliograph_store::invitation::is_email(email));
        let organisations: Vec<Organisation> = self.all("user/orgs", access_token).await?;
        let teams: Vec<Team> = self.all("user/teams", access_token).await?;
        let name = |organisation: &Organisation| organisation.login.to_ascii_lowercase();
        let mut groups: BTreeSet<String> = organisations.iter().map(name).collect();
        groups.extend(
            teams
                .iter()
                .map(|team| format!("{}/{}", name(&team.organization), team.slug.to_ascii_lowercase())),
        );
        Ok(Profile {
            issuer: self.config.url.clone(),
            subject: user.id.to_string(),
            email,
            handle: Some(user.login),
            domain: None,
            groups: groups.into_iter().take(GROUPS_MAX).collect(),
        })
    }

    /// All pages, by number: an address in an answer is not followed.
    async fn all<T: DeserializeOwned>(&self, path: &str, access_token: &str) -> Result<Vec<T>, Denied> {
        let mut all = Vec::new();
        for page in 1..=PAGES_MAX {
            let path = format!("{path}?per_page={PAGE}&page={page}");
            let found: Vec<T> = self.get(&path, access_token).await?;
            let is_last = found.len() < PAGE;
            all.extend(found);
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, access_token: &str) -> Result<T, Denied> {
        let failed = || Denied::provider("GitHub's API does not answer as it should");
        let request = http::Request::get(format!("{}/{path}", self.config.api_url))
            .header(http::header::AUTHORIZATION, format!("Bearer {access_token}"))
            .header(http::header::ACCEPT, "application/vnd.github+json")
            .header(http::header::USER_AGENT, "heliograph")
            .header("x-github-api-version", "2022-11-28")
            .body(Vec::new())
            .map_err(|_| failed())?;
        let answer = self.outside.call(request).await.map_err(|_| failed())?;
        if !answer.status().is_success() {
            return Err(failed());
        }
        serde_json::from_slice(answer.body()).map_err(|_| failed())
    }
}
