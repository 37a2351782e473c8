//! `[[indexer.nodes]]`: for whom agents may ship.

use globset::{GlobBuilder, GlobMatcher};
use heliograph_indexer::{NodeName, NodeRule, Reach};
use heliograph_model::tenant::Workspace;

use super::reader::Reader;
use super::values::{Setting, Shown};
use super::written::Written;
use super::{Indexer, Mistake};

/// `certificate = "agent-*"`, and for whom: `tenants = ["team-a"]`, `workspaces = ["w"]`, or `all = true`.
pub(super) fn read_rule(r: &mut Reader<'_>) -> Option<NodeRule> {
    let certificate: Option<Pattern> = r.required("certificate");
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
    Some(NodeRule { who: NodeName::Certificate(certificate?.0), may })
}

/// Rules that nobody can be named by.
pub(super) fn check(indexer: &Indexer) -> Option<Mistake> {
    let takes_certificates = indexer.listener.tls.as_ref().is_some_and(|tls| tls.clients.is_some());
    (!indexer.nodes.is_empty() && !takes_certificates).then(|| {
        Mistake::new(
            "indexer.nodes: names certificates, and nobody is asked for one: set indexer.tls.client_ca_file"
                .to_owned(),
        )
    })
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
        let NodeName::Certificate(pattern) = &first.who;
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
        check(&rule("tenants = [\"a\"]"), "indexer.nodes[0].certificate: is missing");
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
}
