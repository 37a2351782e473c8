//! `[[indexer.nodes]]` and `[indexer.token_review]`: who agents are, and for whom they may ship.

use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use heliograph_egress::{Bounds, Error, Guard, Target};
use heliograph_indexer::{NodeName, NodeRule, Reach, TokenReview};
use heliograph_model::tenant::Workspace;
use reqwest::Url;

use super::reader::Reader;
use super::values::{BaseUrl, Setting, Shown, Span};
use super::written::Written;
use super::{Indexer, Mistake};

/// How long a review holds.
const REVIEW_KEEP: Duration = Duration::from_mins(1);
/// Longest time of a review.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(5);
/// A review is the token and a few names.
const REVIEW_BYTES_MAX: usize = 256 << 10;
/// Where Kubernetes puts a pod's own token and the API server's authority.
const OWN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// `certificate = "agent-*"` or `node = "gpu-*"`, and for whom: `tenants = ["team-a"]`, `workspaces = ["w"]`, or
/// `all = true`.
pub(super) fn read_rule(r: &mut Reader<'_>) -> Option<NodeRule> {
    let (certificate, node): (Option<Pattern>, Option<Pattern>) =
        (r.optional("certificate"), r.optional("node"));
    let who = match (certificate, node) {
        (Some(certificate), None) => NodeName::Certificate(certificate.0),
        (None, Some(node)) => NodeName::Node(node.0),
        _ => {
            let path = r.path_of("certificate");
            r.mistake(Mistake::new(format!("{path}: expected either this or node, as a name")));
            return None;
        }
    };
    let tenants: Vec<Pattern> = r.optional("tenants").unwrap_or_default();
    let workspaces: Vec<Workspace> = r.optional("workspaces").unwrap_or_default();
    let all = r.optional("all").unwrap_or(false);
    let is_some = !tenants.is_empty() || !workspaces.is_empty();
    if all == is_some {
        let path = r.path_of("tenants");
        let why = "expected tenants or workspaces, or all = true alone";
        r.mistake(Mistake::new(format!("{path}: {why}")));
        return None;
    }
    let tenants = tenants.into_iter().map(|pattern| pattern.0).collect();
    let may = Reach { all, tenants, workspaces: workspaces.into_iter().collect() };
    Some(NodeRule { who, may })
}

/// `[indexer.token_review]`: the API server that says whose a token is. None where nothing of it is set.
pub(super) fn read_review(r: &mut Reader<'_>) -> Option<TokenReview> {
    let url: Option<BaseUrl> = r.optional("api_url");
    let (ca_file, token_file): (Option<PathBuf>, Option<PathBuf>) =
        (r.optional("ca_file"), r.optional("token_file"));
    let audiences: Option<Vec<String>> = r.optional("audiences");
    let accounts: Option<Vec<String>> = r.optional("service_accounts");
    let (keep, timeout): (Option<Span>, Option<Span>) = (r.optional("cache"), r.optional("timeout"));
    let is_given = url.is_some()
        || ca_file.is_some()
        || token_file.is_some()
        || audiences.is_some()
        || accounts.is_some()
        || keep.is_some()
        || timeout.is_some();
    if !is_given {
        return None;
    }
    let path = |key: &str| r.path_of(key);
    let (audiences, accounts) = (audiences.unwrap_or_default(), accounts.unwrap_or_default());
    let is_account = |name: &String| {
        let parts: Vec<_> = name.split('/').collect();
        matches!(parts.as_slice(), [namespace, name] if !namespace.is_empty() && !name.is_empty())
    };
    let mistake = if audiences.is_empty() {
        Some(format!("{}: is missing: whom tokens must be for, as in [\"heliograph\"]", path("audiences")))
    } else if accounts.is_empty() || !accounts.iter().all(is_account) {
        let key = path("service_accounts");
        Some(format!("{key}: expected the agents' accounts, as in [\"heliograph/heliograph-agent\"]"))
    } else {
        None
    };
    let url = url.map_or_else(|| "https://kubernetes.default.svc".to_owned(), |url| url.0);
    let mistake = mistake.map(Mistake::new);
    let api = Target {
        url: Url::parse(&url).ok()?,
        bounds: Bounds {
            // BaseUrl has seen that it is one; plain text would show tokens.
            allow_http: false,
            ca_file: Some(ca_file.unwrap_or_else(|| Path::new(OWN).join("ca.crt"))),
            timeout: timeout.map_or(REVIEW_TIMEOUT, |span| span.0),
            body_bytes_max: REVIEW_BYTES_MAX,
            // Inside the cluster, as a rule.
            guard: Guard::Off,
        },
    };
    let mistake = mistake.or_else(|| {
        let why = match api.check().err()? {
            Error::PlainText { url } => format!("{url} is plain text to another machine: give https://…"),
            other => other.to_string(),
        };
        Some(Mistake::new(format!("{}: {why}", path("api_url"))))
    });
    if let Some(mistake) = mistake {
        r.mistake(mistake);
    }
    Some(TokenReview {
        api,
        token_file: token_file.unwrap_or_else(|| Path::new(OWN).join("token")),
        audiences,
        accounts: accounts.into_iter().collect(),
        keep: keep.map_or(REVIEW_KEEP, |span| span.0),
    })
}

/// Rules that nobody can be named by, and what proves agents that no rule names.
pub(super) fn check(indexer: &Indexer) -> Vec<Mistake> {
    let takes_certificates = indexer.listener.tls.as_ref().is_some_and(|tls| tls.clients.is_some());
    let (certificates, nodes): (Vec<_>, Vec<_>) =
        indexer.nodes.iter().partition(|rule| matches!(rule.who, NodeName::Certificate(_)));
    let mut mistakes = Vec::new();
    let mut mistake = |text: &str| mistakes.push(Mistake::new(text.to_owned()));
    if !certificates.is_empty() && !takes_certificates {
        mistake(
            "indexer.nodes: names certificates, and nobody is asked for one: set indexer.tls.client_ca_file",
        );
    }
    match (nodes.is_empty(), indexer.token_review.is_some()) {
        (false, false) => {
            mistake(
                "indexer.nodes: names nodes, and nobody says which one an agent is on: set indexer.token_review",
            );
        }
        (true, true) => mistake(
            "indexer.token_review: no rule of indexer.nodes names a node: give one, as in { node = \"*\", all = true }",
        ),
        _ => {}
    }
    mistakes
}

/// A name, with `*` for any characters.
#[derive(Clone)]
pub(super) struct Pattern(pub(super) GlobMatcher);

impl Setting for Pattern {
    fn read(written: &Written) -> Result<Self, String> {
        const EXPECTED: &str = "expected a name, with * for any characters";
        let Written::Text(text) = written else {
            return Err(format!("{EXPECTED}, found {}", written.kind()));
        };
        let bad = || format!("{EXPECTED}, found {text:?}");
        // No more than that: a name with brackets would mean something else than it says.
        if text.is_empty() || text.contains(['[', ']', '{', '}', '?', '\\']) {
            return Err(bad());
        }
        GlobBuilder::new(text).build().map(|glob| Self(glob.compile_matcher())).map_err(|_| bad())
    }
    fn show(&self) -> Shown {
        Shown::Text(self.0.glob().glob().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;

    const TLS: &str = "[indexer.tls]\ncert_file = \"/c\"\nkey_file = \"/k\"\nclient_ca_file = \"/a\"\n";

    #[test]
    fn nodes_are_names_and_what_they_may_ship() {
        let text = format!(
            "{TLS}[[indexer.nodes]]\ncertificate = \"agent-*\"\ntenants = [\"team-a\", \"x-*\"]\nworkspaces = [\"w\"]\n\
             [[indexer.nodes]]\ncertificate = \"gateway\"\nall = true\n"
        );
        let config = read(&text, &[]).unwrap();
        let [first, second] = config.indexer.nodes.as_slice() else { panic!("two rules") };
        let NodeName::Certificate(pattern) = &first.who else { panic!("a certificate") };
        assert!(pattern.is_match("agent-1.example") && !pattern.is_match("xagent-1"));
        assert_eq!((first.may.all, first.may.tenants.len(), first.may.workspaces.len()), (false, 2, 1));
        assert!(second.may.all);
        let shown = config.to_toml();
        assert!(shown.contains("certificate = \"agent-*\""), "{shown}");
    }

    #[test]
    fn rules_that_name_nobody_or_nothing_are_refused() {
        let check = |text: &str, expected: &str| {
            let error = read(text, &[]).map(|config| config.to_toml()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        let rule = |rule: &str| format!("{TLS}[[indexer.nodes]]\n{rule}\n");
        check(&rule("tenants = [\"a\"]"), "indexer.nodes[0].certificate: expected either this or node");
        check(&rule("certificate = \"a\"\nnode = \"b\"\nall = true"), "expected either this or node");
        check("[[indexer.nodes]]\nnode = \"a\"\nall = true\n", "names nodes, and nobody says which one");
        check(
            &rule("certificate = \"a\""),
            "indexer.nodes[0].tenants: expected tenants or workspaces, or all",
        );
        check(&rule("certificate = \"a\"\nall = true\ntenants = [\"a\"]"), "or all = true alone");
        check(&rule("certificate = \"a\"\nall = false"), "expected tenants or workspaces");
        for pattern in ["", "a[b]", "{a,b}", "a?"] {
            check(
                &rule(&format!("certificate = {pattern:?}\nall = true")),
                "expected a name, with * for any",
            );
        }
        check("[[indexer.nodes]]\ncertificate = \"a\"\nall = true\n", "set indexer.tls.client_ca_file");
    }

    #[test]
    fn a_review_is_for_an_audience_and_accounts() {
        let nodes = "[[indexer.nodes]]\nnode = \"*\"\nall = true\n";
        let review = |more: &str| format!("[indexer.token_review]\n{more}\n");
        let whole = "audiences = [\"heliograph\"]\nservice_accounts = [\"heliograph/heliograph-agent\"]\n";
        let config = read(&format!("{}{nodes}", review(whole)), &[]).unwrap();
        let told = config.indexer.token_review.as_ref().unwrap();
        assert_eq!(told.api.url.as_str(), "https://kubernetes.default.svc/");
        assert_eq!(told.token_file, Path::new(OWN).join("token"));
        let check = |text: &str, expected: &str| {
            let error = read(text, &[]).map(|config| config.to_toml()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(&review(whole), "indexer.token_review: no rule of indexer.nodes names a node");
        check(
            &format!("{}{nodes}", review("service_accounts = [\"a/b\"]")),
            "indexer.token_review.audiences: is missing",
        );
        for accounts in ["[]", "[\"heliograph-agent\"]", "[\"a/b/c\"]", "[\"a/\"]"] {
            let text = review(&format!("audiences = [\"h\"]\nservice_accounts = {accounts}"));
            check(&format!("{text}{nodes}"), "indexer.token_review.service_accounts: expected");
        }
        let plain = review(&format!("api_url = \"http://10.0.0.1:6443\"\n{whole}"));
        check(
            &format!("{plain}{nodes}"),
            "indexer.token_review.api_url: http://10.0.0.1:6443/ is plain text",
        );
    }
}
