//! `[query.forward_auth]`: which proxies are believed about their callers, and what groups may do.

use std::net::IpAddr;
use std::time::Duration;

use heliograph_query::ForwardAuth;
use heliograph_store::catalog::Role;
use http::{HeaderName, header};
use ipnet::IpNet;

use super::Mistake;
use super::providers::read_mapping;
use super::reader::Reader;
use super::values::{Setting, Shown, Span};
use super::written::Written;

/// A tail by a proxy's word goes on so long: about as long as proxies take a sign-in as fresh.
const RECHECK_AFTER: Duration = Duration::from_mins(10);

/// Reads the section; none where nothing of it is set.
pub(super) fn read(r: &mut Reader<'_>) -> Option<ForwardAuth> {
    let networks: Option<Vec<Network>> = r.optional("proxies");
    let certificates: Option<Vec<String>> = r.optional("proxy_certificates");
    let user = r.optional::<Header>("user_header");
    let (email, groups) = (r.optional::<Header>("email_header"), r.optional::<Header>("groups_header"));
    let rules = r.list("groups", read_mapping);
    let recheck_after: Option<Span> = r.optional("recheck_after");
    let is_given = networks.is_some()
        || certificates.is_some()
        || user.is_some()
        || email.is_some()
        || groups.is_some()
        || recheck_after.is_some()
        || !rules.is_empty();
    if !is_given {
        return None;
    }
    let networks: Vec<IpNet> = networks.unwrap_or_default().into_iter().map(|network| network.0).collect();
    let certificates = certificates.unwrap_or_default();
    if networks.is_empty() && certificates.is_empty() {
        let why = ": is missing: name the proxies that are believed, by address or network as in \"10.0.0.0/8\", or by \
                   proxy_certificates";
        mistake(r, "proxies", why);
    }
    if !rules.is_empty() && groups.is_none() {
        mistake(r, "groups_header", ": is missing: the header that names the groups");
    }
    let names: Vec<_> = [&user, &email, &groups].into_iter().flatten().map(|name| &name.0).collect();
    if names.iter().enumerate().any(|(n, name)| names.iter().take(n).any(|other| other == name)) {
        mistake(r, "user_header", ", email_header and groups_header: each needs a header of its own");
    }
    let Some(Header(user_header)) = user else {
        mistake(r, "user_header", ": is missing: the header in which the proxy names the person");
        return None;
    };
    Some(ForwardAuth {
        networks,
        certificates,
        user_header,
        email_header: email.map(|name| name.0),
        groups_header: groups.map(|name| name.0),
        groups: rules,
        recheck_after: recheck_after.map_or(RECHECK_AFTER, |span| span.0),
    })
}

fn mistake(r: &mut Reader<'_>, key: &str, why: &str) {
    let path = r.path_of(key);
    r.mistake(Mistake::new(format!("{path}{why}")));
}

/// A network, or one address: `10.0.0.0/8`, `::1`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network(pub(super) IpNet);

impl Setting for Network {
    fn read(written: &Written) -> Result<Self, String> {
        const EXPECTED: &str = "an address or network like \"10.0.0.7\", \"10.0.0.0/8\" or \"fd00::/8\"";
        let Written::Text(text) = written else {
            return Err(format!("expected {EXPECTED}, found {}", written.kind()));
        };
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network.map(Self).ok_or_else(|| format!("expected {EXPECTED}, found {text:?}"))
    }
    fn show(&self) -> Shown {
        Shown::Text(self.0.to_string())
    }
}

/// The name of a header that nothing else has a use for.
struct Header(HeaderName);

/// Headers that mean something by themselves.
const TAKEN: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::ORIGIN,
    header::CONTENT_TYPE,
    header::ACCEPT,
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
];

impl Setting for Header {
    fn read(written: &Written) -> Result<Self, String> {
        const EXPECTED: &str = "expected a header's name like \"X-Remote-User\"";
        let Written::Text(text) = written else {
            return Err(format!("{EXPECTED}, found {}", written.kind()));
        };
        let name: HeaderName = text.parse().map_err(|_| format!("{EXPECTED}, found {text:?}"))?;
        // Some proxies take an underscore for a hyphen, and so let a stranger's header through.
        if TAKEN.contains(&name) || name.as_str().contains('_') {
            return Err(format!("{EXPECTED}, found {text:?}, which has another use"));
        }
        Ok(Self(name))
    }
    fn show(&self) -> Shown {
        Shown::Text(self.0.to_string())
    }
}

/// A role by its name.
pub(super) struct RoleName(pub(super) Role);

impl Setting for RoleName {
    fn read(written: &Written) -> Result<Self, String> {
        const EXPECTED: &str = "expected \"viewer\", \"writer\" or \"operator\"";
        let Written::Text(text) = written else {
            return Err(format!("{EXPECTED}, found {}", written.kind()));
        };
        Role::parse(text).map(Self).ok_or_else(|| format!("{EXPECTED}, found {text:?}"))
    }
    fn show(&self) -> Shown {
        Shown::Text(self.0.as_str().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use heliograph_query::Gives;
    use heliograph_store::catalog::Extent;

    use super::super::tests::{read, refuses};
    use super::*;

    #[test]
    fn proxies_headers_and_groups_as_written() {
        let config = read(
            "[query.forward_auth]\nproxies = [\"10.1.2.3\", \"fd00::/8\"]\nproxy_certificates = [\"ingress\"]\n\
             user_header = \"X-Remote-User\"\ngroups_header = \"X-Remote-Groups\"\ngroups = [\n\
             { group = \"dev\", tenant = \"a\", role = \"viewer\" },\n\
             { group = \"dev\", workspace = \"w\", role = \"operator\" },\n{ group = \"ops\", admin = true },\n]\n",
            &[],
        );
        let config = config.unwrap().query.forward_auth.unwrap();
        let networks: Vec<_> = config.networks.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["10.1.2.3/32", "fd00::/8"]);
        assert_eq!(config.user_header, "x-remote-user");
        assert_eq!(config.recheck_after, RECHECK_AFTER);
        let gives: Vec<_> = config.groups.iter().map(|rule| (rule.group.as_str(), &rule.gives)).collect();
        let tenant = heliograph_model::tenant::TenantId::parse("a").unwrap();
        let workspace = heliograph_model::tenant::Workspace::parse("w").unwrap();
        assert_eq!(
            gives,
            [
                ("dev", &Gives::Role(Extent::Tenant(tenant), Role::Viewer)),
                ("dev", &Gives::Role(Extent::Workspace(workspace), Role::Operator)),
                ("ops", &Gives::Admin),
            ]
        );
        assert!(read("[query.forward_auth]\n", &[]).unwrap().query.forward_auth.is_none());
    }

    #[test]
    fn a_proxy_that_cannot_be_told_from_others_is_refused() {
        let section = |more: &str| format!("[query.forward_auth]\n{more}\n");
        let starts = |more: &str, expected: &str| {
            let error = read(&section(more), &[]).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        starts("user_header = \"X-U\"", "query.forward_auth.proxies: is missing: name the proxies");
        starts("proxies = []\nuser_header = \"X-U\"", "query.forward_auth.proxies: is missing");
        starts("proxies = [\"10.0.0.0/33\"]\nuser_header = \"X-U\"", "expected an address or network");
        starts("proxies = [\"10.0.0.1\"]", "query.forward_auth.user_header: is missing");
        for header in ["Authorization", "cookie", "X-Forwarded-For", "X_Remote_User", "a b", ""] {
            starts(
                &format!("proxies = [\"::1\"]\nuser_header = {header:?}"),
                "expected a header's name like",
            );
        }
        starts("proxies = [\"::1\"]\nuser_header = \"X-U\"\ngroups_header = \"x-u\"", "a header of its own");
        let rule = |rule: &str| {
            format!("proxies = [\"::1\"]\nuser_header = \"X-U\"\ngroups_header = \"X-G\"\ngroups = [{rule}]")
        };
        starts(
            &rule("{ group = \"g\" }"),
            "groups[0].role: give role with tenant or with workspace, or admin = true alone",
        );
        starts(
            &rule("{ group = \"g\", tenant = \"a\", admin = true, role = \"viewer\" }"),
            "or admin = true alone",
        );
        starts(
            &rule("{ group = \"g\", tenant = \"a\", role = \"root\" }"),
            "there is no role \"root\": the roles are viewer, writer, operator",
        );
        starts(&rule("{ tenant = \"a\", role = \"viewer\" }"), "groups[0].group: is missing");
        starts(
            &rule("{ group = \"g\", tenant = \"a\", workspace = \"w\", role = \"viewer\" }"),
            "with tenant or with workspace",
        );
        starts(
            "proxies = [\"::1\"]\nuser_header = \"X-U\"\ngroups = [{ group = \"g\", admin = true }]",
            "groups_header: is missing",
        );
        refuses(
            "[query.forward_auth]\nproxies = [\"::1\"]\nuser_header = \"X-U\"\nuser_heder = \"X\"\n",
            "invalid configuration: FILE:4: unknown key `query.forward_auth.user_heder`: did you mean `user_header`?",
        );
    }
}
