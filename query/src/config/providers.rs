//! Who vouches for people beside us: OpenID Connect providers and GitHub, and what their groups give.

use heliograph_store::catalog::{Extent, Role};
use secrecy::SecretString;

/// A provider that people may sign in with.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name in addresses: `google`.
    pub name: String,
    /// Its name on the page: `Google`.
    pub display_name: String,
    /// Who we are there.
    pub client_id: String,
    /// What proves it.
    pub client_secret: SecretString,
    /// What its groups give; a group that gives something lets its members in, too.
    pub mappings: Vec<Mapping>,
    /// Whether it may be reached over plain http and on loopback: for tests and development.
    pub allow_loopback: bool,
    /// What it speaks.
    pub kind: ProviderKind,
}

/// What a provider speaks.
#[derive(Clone, Debug)]
pub enum ProviderKind {
    /// OpenID Connect.
    Oidc(Oidc),
    /// GitHub's own, of github.com or an Enterprise server.
    GitHub(GitHub),
}

/// An OpenID Connect provider.
#[derive(Clone, Debug)]
pub struct Oidc {
    /// Its issuer's URL, exactly as it names itself.
    pub issuer: String,
    /// What is asked for beside `openid`.
    pub scopes: Vec<String>,
    /// The claim that holds somebody's groups: a list of names, or one.
    pub groups_claim: String,
    /// Domains whose people are let in, whatever their groups.
    pub allowed_domains: Vec<String>,
    /// The claim that says of which domain somebody is; without, it is that of the verified e-mail address.
    pub domain_claim: Option<String>,
}

/// GitHub.
#[derive(Clone, Debug)]
pub struct GitHub {
    /// Where people sign in: `https://github.com`. Names the provider's identities, too.
    pub url: String,
    /// Its API: `https://api.github.com`, `https://HOST/api/v3`.
    pub api_url: String,
    /// Organisations whose members are let in, whatever their teams.
    pub allowed_organizations: Vec<String>,
}

/// What one group gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The group; of GitHub `organisation` or `organisation/team`, in lower case.
    pub group: String,
    /// What its members have.
    pub gives: Gives,
}

/// What members of a group have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gives {
    /// Platform administration.
    Admin,
    /// A role over something.
    Role(Extent, Role),
}
