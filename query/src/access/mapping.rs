//! What groups give that somebody else vouches for, and whether a provider's person is let in at all. Pure.

use std::collections::BTreeSet;

use heliograph_store::catalog::Mapped;

use super::provider::Profile;
use crate::config::{Gives, Mapping, Provider, ProviderKind};

/// What somebody has by their groups, and whether groups or domain let them in. Whom they do not, an invitation may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) mapped: Mapped,
    pub(super) is_let_in: bool,
}

impl Verdict {
    /// By the provider's settings.
    pub(super) fn of(provider: &Provider, profile: &Profile) -> Self {
        let (mapped, has_group) = mapped(&provider.mappings, &profile.groups);
        let is_one_of = |list: &[String], name: &str| list.iter().any(|one| one.eq_ignore_ascii_case(name));
        let is_welcome = match &provider.kind {
            ProviderKind::Oidc(oidc) => {
                profile.domain.as_deref().is_some_and(|domain| is_one_of(&oidc.allowed_domains, domain))
            }
            ProviderKind::GitHub(github) => {
                profile.groups.iter().any(|group| is_one_of(&github.allowed_organizations, group))
            }
        };
        Self { mapped, is_let_in: has_group || is_welcome }
    }
}

/// What groups give, added up, and whether any of them is named at all. Names are compared byte by byte.
pub(super) fn mapped(mappings: &[Mapping], groups: &BTreeSet<String>) -> (Mapped, bool) {
    let mut mapped = Mapped::default();
    let mut has_group = false;
    for mapping in mappings.iter().filter(|mapping| groups.contains(&mapping.group)) {
        has_group = true;
        match &mapping.gives {
            Gives::Admin => mapped.admin = true,
            Gives::Role(extent, role) => mapped.grants.push((extent.clone(), *role)),
        }
    }
    (mapped, has_group)
}

#[cfg(test)]
mod tests {
    use heliograph_model::tenant::{TenantId, Workspace};
    use heliograph_store::catalog::{Extent, Role};

    use super::*;
    use crate::config::{GitHub, Oidc};

    fn provider(kind: ProviderKind) -> Provider {
        let over = |group: &str, gives| Mapping { group: group.to_owned(), gives };
        let tenant = Extent::Tenant(TenantId::parse("a").unwrap());
        let workspace = Extent::Workspace(Workspace::parse("w").unwrap());
        Provider {
            name: "p".to_owned(),
            display_name: "P".to_owned(),
            client_id: "c".to_owned(),
            client_secret: "s".into(),
            mappings: vec![
                over("ops", Gives::Role(workspace, Role::Operator)),
                over("ops", Gives::Role(tenant, Role::Viewer)),
                over("root", Gives::Admin),
            ],
            allow_loopback: false,
            kind,
        }
    }

    fn oidc() -> Provider {
        provider(ProviderKind::Oidc(Oidc {
            issuer: "https://idp".to_owned(),
            scopes: Vec::new(),
            groups_claim: "groups".to_owned(),
            allowed_domains: vec!["example.com".to_owned()],
            domain_claim: None,
        }))
    }

    #[track_caller]
    fn check(provider: &Provider, groups: &[&str], domain: Option<&str>, expected: (bool, usize, bool)) {
        let profile = Profile {
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            domain: domain.map(str::to_owned),
            ..Profile::default()
        };
        let verdict = Verdict::of(provider, &profile);
        let found = (verdict.is_let_in, verdict.mapped.grants.len(), verdict.mapped.admin);
        assert_eq!(found, expected, "{groups:?} {domain:?}");
    }

    #[test]
    fn groups_give_and_let_in() {
        check(&oidc(), &[], None, (false, 0, false));
        check(&oidc(), &["other", "Ops", "ops2", ""], None, (false, 0, false));
        check(&oidc(), &["ops"], None, (true, 2, false));
        check(&oidc(), &["root", "ops"], None, (true, 2, true));
    }

    #[test]
    fn a_domain_lets_in_and_gives_nothing() {
        check(&oidc(), &[], Some("example.com"), (true, 0, false));
        check(&oidc(), &[], Some("Example.COM"), (true, 0, false));
        for foreign in ["evil-example.com", "sub.example.com", "example.com.evil.com", "", "com"] {
            check(&oidc(), &[], Some(foreign), (false, 0, false));
        }
    }

    #[test]
    fn organisations_let_in() {
        let github = provider(ProviderKind::GitHub(GitHub {
            url: "https://github.com".to_owned(),
            api_url: "https://api.github.com".to_owned(),
            allowed_organizations: vec!["Acme".to_owned()],
        }));
        check(&github, &["acme"], None, (true, 0, false));
        check(&github, &["acme/ops"], None, (false, 0, false));
        check(&github, &["acme2"], Some("acme"), (false, 0, false));
        check(&github, &["ops"], None, (true, 2, false));
    }
}
