//! Groups that somebody else vouches for → what their members may do here. Pure.

use std::collections::BTreeSet;

use heliograph_store::catalog::{Extent, Role};

/// What the members of a group get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The group's name, as it is vouched for: compared byte by byte.
    pub group: String,
    /// What its members get.
    pub gives: Gives,
}

/// What a group gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gives {
    /// Everything: platform administration.
    Admin,
    /// A role over a tenant or a workspace.
    Role(Extent, Role),
}

/// What somebody may do by all of its groups together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// Platform administrator.
    pub(crate) admin: bool,
    /// Roles, in the order of the rules.
    pub(crate) grants: Vec<(Extent, Role)>,
}

/// What the groups give, added up; a group without a rule gives nothing.
pub(crate) fn map(rules: &[Rule], groups: &BTreeSet<String>) -> Mapped {
    let mut mapped = Mapped::default();
    for rule in rules.iter().filter(|rule| groups.contains(&rule.group)) {
        match &rule.gives {
            Gives::Admin => mapped.admin = true,
            Gives::Role(extent, role) => mapped.grants.push((extent.clone(), *role)),
        }
    }
    mapped
}

#[cfg(test)]
mod tests {
    use heliograph_model::tenant::{TenantId, Workspace};

    use super::*;

    #[test]
    fn groups_add_up_and_what_no_rule_names_gives_nothing() {
        let tenant = Extent::Tenant(TenantId::parse("a").unwrap());
        let workspace = Extent::Workspace(Workspace::parse("w").unwrap());
        let rule = |group: &str, gives: &Gives| Rule { group: group.to_owned(), gives: gives.clone() };
        let reads = Gives::Role(tenant.clone(), Role::Viewer);
        let runs = Gives::Role(workspace.clone(), Role::Operator);
        let rules =
            [rule("dev", &reads), rule("ops", &runs), rule("ops", &reads), rule("root", &Gives::Admin)];
        let check = |groups: &[&str], admin: bool, grants: &[(&Extent, Role)]| {
            let groups = groups.iter().map(|group| (*group).to_owned()).collect();
            let grants = grants.iter().map(|(extent, role)| ((*extent).clone(), *role)).collect();
            assert_eq!(map(&rules, &groups), Mapped { admin, grants }, "{groups:?}");
        };
        check(&[], false, &[]);
        check(&["dev"], false, &[(&tenant, Role::Viewer)]);
        check(
            &["dev", "ops"],
            false,
            &[(&tenant, Role::Viewer), (&workspace, Role::Operator), (&tenant, Role::Viewer)],
        );
        check(&["root"], true, &[]);
        check(&["Dev", "dev ", "DEV", "d", "", "roots"], false, &[]);
    }
}
