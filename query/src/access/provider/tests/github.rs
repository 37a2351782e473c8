//! GitHub: an identity by number, organisations and teams by pages.

use heliograph_store::catalog::{Extent, Role};
use heliograph_testbed::idp::{Account, Team};
use serde_json::json;

use super::{IN, NOT_ALLOWED, World};
use crate::config::{self, Gives, Mapping, ProviderKind};
use crate::stage::tenant;

async fn world() -> World {
    World::with(|providers| {
        let oidc = providers.pop().unwrap();
        let ProviderKind::Oidc(config::Oidc { issuer: url, .. }) = oidc.kind else { panic!() };
        let role = |name: &str| Gives::Role(Extent::Tenant(tenant(name)), Role::Viewer);
        providers.push(config::Provider {
            name: "github".to_owned(),
            mappings: vec![
                Mapping { group: "acme/data-eng".to_owned(), gives: role("a") },
                Mapping { group: "umbrella".to_owned(), gives: role("b") },
            ],
            kind: ProviderKind::GitHub(config::GitHub {
                api_url: url.clone(),
                url,
                allowed_organizations: vec!["acme".to_owned()],
            }),
            ..oidc
        });
    })
    .await
}

async fn who(world: &World, expected: &str) -> serde_json::Value {
    let mut browser = world.browser();
    assert_eq!(browser.sign_in("github").await, expected);
    browser.who().await.unwrap_or_default()
}

#[tokio::test]
async fn an_account_is_its_number_and_a_login_nobodys() {
    let world = world().await;
    let account = |id, login: &str| Account {
        id,
        login: login.to_owned(),
        organisations: vec!["Acme".to_owned()],
        ..Account::default()
    };
    world.idp.state().account = account(7, "octocat");
    let first = who(&world, IN).await;
    assert_eq!(first["user"], "github/octocat");
    world.idp.state().account = account(7, "renamed");
    assert_eq!(who(&world, IN).await, first);
    world.idp.state().account = account(8, "octocat");
    let second = who(&world, IN).await;
    assert!(second["user"] != first["user"], "{second}");
}

#[tokio::test]
async fn organisations_and_teams_let_in_and_give() {
    let world = world().await;
    let team = |organisation: &str, slug: &str| Team {
        organisation: organisation.to_owned(),
        slug: slug.to_owned(),
    };
    world.idp.state().account = Account { organisations: vec!["other".to_owned()], ..Account::default() };
    who(&world, NOT_ALLOWED).await;
    // Of another organisation, a team of that name is another.
    world.idp.state().account.teams = vec![team("evil", "data-eng")];
    who(&world, NOT_ALLOWED).await;
    world.idp.state().account.organisations = vec!["ACME".to_owned()];
    assert_eq!(who(&world, IN).await["tenants"], json!([]));
    world.idp.state().account.teams = vec![team("Acme", "Data-Eng")];
    assert_eq!(who(&world, IN).await["tenants"][0]["name"], "a");
    // What is on a later page counts, too.
    let mut organisations: Vec<String> = (0..250).map(|n| format!("org-{n}")).collect();
    organisations.push("umbrella".to_owned());
    let mut teams: Vec<Team> = (0..130).map(|n| team("x", &n.to_string())).collect();
    teams.push(team("acme", "data-eng"));
    world.idp.state().account.organisations = organisations;
    world.idp.state().account.teams = teams;
    assert_eq!(who(&world, IN).await["tenants"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn only_the_verified_primary_address_is_theirs() {
    let world = world().await;
    let emails = |list: &[(&str, bool, bool)]| -> Vec<(String, bool, bool)> {
        list.iter().map(|(email, primary, verified)| ((*email).to_owned(), *primary, *verified)).collect()
    };
    for (id, list, expected) in [
        (1, emails(&[("a@x.example", true, true)]), "a@x.example"),
        (2, emails(&[("b@x.example", true, false)]), "github/octocat"),
        (3, emails(&[("c@x.example", false, true), ("d@x.example", true, true)]), "d@x.example"),
    ] {
        world.idp.state().account =
            Account { id, emails: list, organisations: vec!["acme".to_owned()], ..Account::default() };
        assert_eq!(who(&world, IN).await["user"], expected);
    }
}
