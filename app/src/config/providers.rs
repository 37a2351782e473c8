//! `[query.oidc.NAME]`, `[query.github]`: who vouches for people beside us, and what their groups give.

use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_query::{GitHub, Gives, Mapping, Oidc, Provider, ProviderKind};
use heliograph_store::catalog::{Extent, Role};

use super::Mistake;
use super::reader::Reader;
use super::values::{BaseUrl, Setting, Shown, quoted};
use super::written::Written;

/// Google says by a claim of its own of which company somebody is: any address may have an account of its own there.
const GOOGLE: &str = "https://accounts.google.com";
const GOOGLE_DOMAIN_CLAIM: &str = "hd";
/// The name of GitHub, and of nobody else.
const GITHUB: &str = "github";
const NAME_CHARS_MAX: usize = 32;

/// All of them, by name.
pub(super) fn read(r: &mut Reader<'_>) -> Vec<Provider> {
    let mut providers = r.sections("oidc", read_oidc);
    if r.has(GITHUB) {
        providers.extend(r.section(GITHUB, read_github));
    }
    providers
}

fn read_oidc(r: &mut Reader<'_>, name: &str) -> Option<Provider> {
    let is_name = (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !is_name || name == GITHUB || name == "providers" {
        mistake(
            r,
            "issuer",
            &format!("{name:?} cannot be a provider's name: small letters, digits and dashes"),
        );
    }
    let allow_loopback = r.setting("allow_loopback", false);
    let issuer: Option<String> = r.required("issuer");
    if let Some(issuer) = issuer.as_deref().filter(|issuer| !is_reachable(issuer, allow_loopback)) {
        mistake(
            r,
            "issuer",
            &format!("{} is not an address like \"https://accounts.example.com\"", quoted(issuer)),
        );
    }
    let is_google = issuer.as_deref() == Some(GOOGLE);
    let domain_claim: Option<String> = r.optional("domain_claim");
    let kind = Oidc {
        issuer: issuer.unwrap_or_default(),
        scopes: r.setting("scopes", ["email", "profile"].map(str::to_owned).to_vec()),
        groups_claim: r.setting("groups_claim", "groups".to_owned()),
        allowed_domains: r.setting("allowed_domains", Vec::new()),
        domain_claim: domain_claim.or_else(|| is_google.then(|| GOOGLE_DOMAIN_CLAIM.to_owned())),
    };
    read_rest(r, name, allow_loopback, ProviderKind::Oidc(kind))
}

fn read_github(r: &mut Reader<'_>) -> Option<Provider> {
    let allow_loopback = r.setting("allow_loopback", false);
    let url = r.setting("url", BaseUrl("https://github.com".to_owned())).0;
    let api_url = r.setting("api_url", BaseUrl("https://api.github.com".to_owned())).0;
    for (key, url) in [("url", &url), ("api_url", &api_url)] {
        if !is_reachable(url, allow_loopback) {
            mistake(r, key, &format!("{url:?} is not an address like \"https://github.example.com\""));
        }
    }
    let allowed_organizations = r.setting("allowed_organizations", Vec::new());
    let kind = ProviderKind::GitHub(GitHub { url, api_url, allowed_organizations });
    let mut provider = read_rest(r, GITHUB, allow_loopback, kind)?;
    // GitHub's names differ by more than case.
    provider.mappings.iter_mut().for_each(|mapping| mapping.group.make_ascii_lowercase());
    Some(provider)
}

/// What both kinds have.
fn read_rest(r: &mut Reader<'_>, name: &str, allow_loopback: bool, kind: ProviderKind) -> Option<Provider> {
    let client_id: Option<String> = r.required("client_id");
    let client_secret = r.secret("client_secret", "client_secret_file");
    if client_secret.is_none() {
        mistake(r, "client_secret_file", "is needed: the file that holds the secret of client_id");
    }
    let display_name = r.setting("display_name", default_display_name(name));
    let mappings = r.list("mappings", read_mapping);
    Some(Provider {
        name: name.to_owned(),
        display_name,
        client_id: client_id?,
        client_secret: client_secret?,
        mappings,
        allow_loopback,
        kind,
    })
}

fn default_display_name(name: &str) -> String {
    if name == GITHUB {
        return "GitHub".to_owned();
    }
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// `{ group = "dev", tenant = "a", role = "viewer" }`, with `workspace` for `tenant`, or `{ group = "ops", admin = true }`.
pub(super) fn read_mapping(r: &mut Reader<'_>) -> Option<Mapping> {
    let group: Option<String> = r.required("group");
    let before = r.mistakes();
    let (tenant, workspace): (Option<TenantId>, Option<Workspace>) =
        (r.optional("tenant"), r.optional("workspace"));
    let (role, admin) = (r.optional::<Role>("role"), r.setting("admin", false));
    let gives = match (admin, role, tenant, workspace) {
        (true, None, None, None) => Gives::Admin,
        (false, Some(role), Some(tenant), None) => Gives::Role(Extent::Tenant(tenant), role),
        (false, Some(role), None, Some(workspace)) => Gives::Role(Extent::Workspace(workspace), role),
        // What is wrong with one of them was told.
        _ if r.mistakes() > before => return None,
        _ => {
            mistake(r, "role", "give role with tenant or with workspace, or admin = true alone");
            return None;
        }
    };
    Some(Mapping { group: group?, gives })
}

/// Whether this is https, or on loopback where that is allowed.
fn is_reachable(text: &str, allow_loopback: bool) -> bool {
    let Ok(url) = reqwest::Url::parse(text) else { return false };
    let is_loopback = match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    };
    let has_credential = !url.username().is_empty() || url.password().is_some();
    let is_plain_address = url.query().is_none() && url.fragment().is_none() && !has_credential;
    let is_scheme = match url.scheme() {
        "https" => allow_loopback || !is_loopback,
        "http" => allow_loopback && is_loopback,
        _ => false,
    };
    is_plain_address && is_scheme
}

fn mistake(r: &mut Reader<'_>, key: &str, what: &str) {
    let path = r.path_of(key);
    r.mistake(Mistake::new(format!("{path}: {what}")));
}

impl Setting for Role {
    fn read(written: &Written) -> Result<Self, String> {
        let names = Self::ALL.map(Self::as_str).join(", ");
        match written {
            Written::Text(text) => {
                Self::parse(text).ok_or_else(|| format!("there is no role {text:?}: the roles are {names}"))
            }
            other => Err(format!("expected a role ({names}), found {}", other.kind())),
        }
    }
    fn show(&self) -> Shown {
        Shown::Text(self.as_str().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use heliograph_query::{Gives, ProviderKind};

    use super::super::tests::{read, refuses};

    #[test]
    fn providers_and_what_their_groups_give() {
        let text = r#"
            [query]
            public_urls = ["https://logs.example.com"]
            [query.oidc.google]
            issuer = "https://accounts.google.com"
            client_id = "x"
            client_secret = "canary-secret"
            allowed_domains = ["example.com"]
            [query.oidc.okta]
            issuer = "https://example.okta.com/"
            client_id = "y"
            client_secret = "canary-secret"
            display_name = "Okta of Example"
            [[query.oidc.okta.mappings]]
            group = "ops"
            workspace = "w"
            role = "operator"
            [[query.oidc.okta.mappings]]
            group = "roots"
            admin = true
            [query.github]
            client_id = "z"
            client_secret = "canary-secret"
            [[query.github.mappings]]
            group = "Acme/Data-Eng"
            tenant = "a"
            role = "viewer"
        "#;
        let config = read(text, &[]).unwrap();
        let [google, okta, github] = config.query.providers.as_slice() else { panic!("{config:?}") };
        assert_eq!((google.name.as_str(), google.display_name.as_str()), ("google", "Google"));
        let ProviderKind::Oidc(oidc) = &google.kind else { panic!() };
        assert_eq!((oidc.domain_claim.as_deref(), oidc.groups_claim.as_str()), (Some("hd"), "groups"));
        let ProviderKind::Oidc(oidc) = &okta.kind else { panic!() };
        assert_eq!((oidc.issuer.as_str(), &oidc.domain_claim), ("https://example.okta.com/", &None));
        assert_eq!(okta.display_name, "Okta of Example");
        assert_eq!((okta.mappings.len(), &okta.mappings[1].gives), (2, &Gives::Admin));
        assert_eq!((github.name.as_str(), github.mappings[0].group.as_str()), ("github", "acme/data-eng"));
        assert!(!format!("{config:?}{}{}", config.to_toml(), config.to_line()).contains("canary"));
        let variable = ("HELIOGRAPH_QUERY__OIDC__OKTA__CLIENT_ID", "other");
        assert_eq!(read(text, &[variable]).unwrap().query.providers[1].client_id, "other");
    }

    #[test]
    fn mistakes_name_their_setting() {
        const REST: &str = "client_id = \"x\"\nclient_secret = \"y\"\n";
        const URLS: &str = "[query]\npublic_urls = [\"https://l\"]\n";
        let begin = "invalid configuration: ";
        refuses(
            &format!("[query.oidc.a]\nissuer = \"https://i\"\n{REST}"),
            &format!(
                "{begin}query.public_urls: is needed to sign in by a provider: it sends browsers back there, as \
                 https://HOST/api/v1/auth/NAME/callback"
            ),
        );
        for issuer in
            ["http://i", "http://127.0.0.1:1", "https://127.0.0.1", "https://[::1]", "file:///x", "i"]
        {
            refuses(
                &format!("{URLS}[query.oidc.a]\nissuer = \"{issuer}\"\n{REST}"),
                &format!(
                    "{begin}query.oidc.a.issuer: {issuer:?} is not an address like \"https://accounts.example.com\""
                ),
            );
        }
        let loopback = "issuer = \"http://127.0.0.1:1\"\nallow_loopback = true\n";
        assert!(read(&format!("{URLS}[query.oidc.a]\n{loopback}{REST}"), &[]).is_ok());
        refuses(
            &format!("{URLS}[query.oidc.A]\nissuer = \"https://i\"\n{REST}"),
            &format!(
                "{begin}query.oidc.A.issuer: \"A\" cannot be a provider's name: small letters, digits and dashes"
            ),
        );
        refuses(
            &format!("{URLS}[query.github]\nclient_id = \"x\"\n"),
            &format!(
                "{begin}query.github.client_secret_file: is needed: the file that holds the secret of client_id"
            ),
        );
        let mapping = "[[query.github.mappings]]\ngroup = \"a\"\nrole = \"viewer\"\nadmin = true\n";
        refuses(
            &format!("{URLS}[query.github]\n{REST}{mapping}"),
            &format!(
                "{begin}query.github.mappings[0].role: give role with tenant or with workspace, or admin = true alone"
            ),
        );
        for (lines, expected) in [
            (
                "role = \"Viewer\"",
                "role: there is no role \"Viewer\": the roles are viewer, writer, operator",
            ),
            ("role = 1", "role: expected a role (viewer, writer, operator), found a number"),
            ("role = \"viewer\"\ntenant = \"A\"", "tenant: "),
            ("role = \"viewer\"\nadmin = \"x\"", "admin: "),
        ] {
            let tenant = if lines.contains("tenant") { "" } else { "tenant = \"a\"\n" };
            let mapping = format!("[[query.github.mappings]]\ngroup = \"a\"\n{tenant}{lines}\n");
            let error = read(&format!("{URLS}[query.github]\n{REST}{mapping}"), &[]);
            let error = error.map(|config| config.to_toml()).unwrap_err();
            assert!(error.contains(&format!("query.github.mappings[0].{expected}")), "{error}");
            assert_eq!(error.matches("mappings[0]").count(), 1, "one cause, one error: {error}");
        }
        let read_error =
            read(&format!("{URLS}[query.oidc.a]\nisuer = \"https://i\"\n{REST}"), &[]).unwrap_err();
        assert!(read_error.contains("did you mean `issuer`?"), "{read_error}");
    }
}
