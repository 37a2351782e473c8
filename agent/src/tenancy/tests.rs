//! Which rule names the tenant, and when the answer has to wait.

use heliograph_model::tenant::TenantId;
use prometheus::Registry;

use super::*;
use crate::config::{ApiAccess, Kubernetes, LabelSelector, Otherwise};

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn config(tenants: TenantRules, namespaces: NamespaceSelection, rights: Option<Rights>) -> Config {
    let kubernetes = rights.map(|rights| Kubernetes { access: ApiAccess::InCluster, rights });
    Config { tenants, namespaces, kubernetes, ..Config::blank() }
}

fn tenancy(tenants: TenantRules, namespaces: NamespaceSelection) -> Tenancy {
    let metrics = Metrics::new(&Registry::new()).unwrap();
    Tenancy::new(&config(tenants, namespaces, Some(Rights::Cluster)), metrics).unwrap()
}

fn rules(otherwise: Otherwise) -> TenantRules {
    TenantRules {
        exact: [("airflow".to_owned(), tenant("main"))].into(),
        label: None,
        prefix: [("team-a-".to_owned(), tenant("team-a")), ("team-a-x".to_owned(), tenant("x"))].into(),
        otherwise,
    }
}

fn namespace(labels: &[(&str, &str)]) -> Namespace {
    Namespace { labels: labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(), gone: None }
}

#[track_caller]
fn check(tenancy: &Tenancy, namespace: &str, expected: Option<&str>) {
    let expected = expected.map_or(Decision::NotCollected, |name| Decision::Tenant(tenant(name)));
    assert_eq!(tenancy.decide(namespace), expected, "{namespace}");
}

#[test]
fn the_exact_rule_wins_and_what_no_rule_names_is_not_collected() {
    let none = tenancy(rules(Otherwise::NotCollected), NamespaceSelection::All);
    check(&none, "airflow", Some("main"));
    check(&none, "kube-system", None);
    check(&none, "team-a-1", Some("team-a"));
    check(&none, "team-a-x1", Some("x"));
    let same = tenancy(rules(Otherwise::SameName), NamespaceSelection::All);
    check(&same, "team-b", Some("team-b"));
    check(&same, "../etc", None);
    let strip = tenancy(rules(Otherwise::StripPrefix("astro-".into())), NamespaceSelection::All);
    check(&strip, "airflow", Some("main"));
    check(&strip, "astro-team-b", Some("team-b"));
    check(&strip, "astro-", None);
    check(&strip, "team-b", None);
}

#[test]
fn a_list_selects_before_rules_name() {
    let listed = NamespaceSelection::Listed(["airflow".to_owned(), "odd".to_owned()].into());
    let tenancy = tenancy(rules(Otherwise::NotCollected), listed);
    check(&tenancy, "airflow", Some("main"));
    check(&tenancy, "team-a-1", None);
    check(&tenancy, "odd", None);
}

#[test]
fn a_label_names_the_tenant_and_an_unknown_namespace_waits() {
    let labelled = TenantRules { label: Some("h/tenant".into()), ..rules(Otherwise::SameName) };
    let tenancy = tenancy(labelled, NamespaceSelection::All);
    check(&tenancy, "airflow", Some("main"));
    assert_eq!(tenancy.decide("team-b"), Decision::Unknown);
    assert_eq!(tenancy.decide("team-a-1"), Decision::Unknown);
    assert_eq!(tenancy.tenant_of("team-b"), None);
    tenancy.show(Instant::now());
    assert_eq!(tenancy.metrics.namespaces_held_back.get(), 1);
    let before = tenancy.version();
    assert!(tenancy.learn("team-b", namespace(&[("h/tenant", "blue"), ("x", "y")])));
    assert!(!tenancy.learn("team-b", namespace(&[("h/tenant", "blue"), ("x", "y")])));
    assert_eq!(tenancy.version(), before + 1);
    tenancy.show(Instant::now());
    assert_eq!(tenancy.metrics.namespaces_held_back.get(), 0);
    check(&tenancy, "team-b", Some("blue"));
    tenancy.learn("team-b", namespace(&[("h/tenant", "../etc")]));
    check(&tenancy, "team-b", None);
    tenancy.learn("team-a-1", namespace(&[]));
    check(&tenancy, "team-a-1", Some("team-a"));
    // Deleted, its labels hold for the last lines; then it is as if never seen.
    tenancy.gone("team-a-1", Timestamp::from_nanos(5));
    check(&tenancy, "team-a-1", Some("team-a"));
    tenancy.prune(Timestamp::from_nanos(6));
    assert_eq!(tenancy.decide("team-a-1"), Decision::Unknown);
}

#[test]
fn a_label_selects() {
    let selector = LabelSelector::parse("collect=yes").unwrap();
    let tenancy = tenancy(rules(Otherwise::SameName), NamespaceSelection::Labelled(selector));
    assert_eq!(tenancy.decide("airflow"), Decision::Unknown);
    tenancy.learn("airflow", namespace(&[("collect", "yes")]));
    check(&tenancy, "airflow", Some("main"));
    tenancy.learn("airflow", namespace(&[("collect", "no")]));
    check(&tenancy, "airflow", None);
}

#[test]
fn labels_need_cluster_wide_rights() {
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let labelled = TenantRules { label: Some("h/tenant".into()), ..TenantRules::default() };
    for rights in [None, Some(Rights::Namespaces(["a".to_owned()].into()))] {
        let config = config(labelled.clone(), NamespaceSelection::All, rights);
        let error = Tenancy::new(&config, metrics.clone()).unwrap_err().to_string();
        assert!(error.starts_with("invalid tenant rule \"h/tenant\": labels of namespaces need"), "{error}");
    }
}
