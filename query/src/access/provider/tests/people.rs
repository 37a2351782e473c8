//! Who is let in, which account is theirs, and what it may do.

use heliograph_model::time::Timestamp;
use heliograph_store::catalog::{Extent, Grant, Role, User};
use heliograph_store::invitation::{self, Guest};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Browser, IN, NOT_ALLOWED, World};
use crate::access::tests::sign_in;
use crate::config::ProviderKind;
use crate::stage::{NOW, tenant};

#[tokio::test]
async fn who_is_not_allowed_has_no_account() {
    let world = World::new().await;
    let before = world.users().await;
    for visitor in [
        json!({ "sub": "1" }),
        json!({ "sub": "1", "groups": ["other", "Readers"] }),
        json!({ "sub": "1", "email": "x@evil.example", "email_verified": true }),
        json!({ "sub": "1", "email": "x@sub.example.com", "email_verified": true }),
        // An address that the provider has not verified is anybody's.
        json!({ "sub": "1", "email": "x@example.com" }),
        json!({ "sub": "1", "email": "x@example.com", "email_verified": false }),
        json!({ "sub": "1", "email": "x@example.com", "email_verified": "false" }),
        json!({ "sub": "1", "email": "x@evil.example@example.com", "email_verified": true }),
    ] {
        world.visitor(visitor);
        world.sign_in(NOT_ALLOWED).await;
    }
    assert_eq!(world.users().await, before);
    let (actor, action, outcome, details) = world.last_row().await;
    assert_eq!((&*actor, &*action, &*outcome), ("nobody", "session.refused", "refused"));
    assert_eq!((&details["reason"], &details["subject"]), (&json!("not_allowed"), &json!("1")));
    // A verified address of an allowed domain lets in, and gives nothing.
    world.visitor(json!({ "sub": "1", "email": "x@Example.com", "email_verified": "true" }));
    let who = world.sign_in(IN).await.who().await.unwrap();
    assert_eq!(who, json!({ "user": "x@Example.com", "admin": false, "tenants": [] }));
}

#[tokio::test]
async fn user_info_completes_a_token_and_must_be_about_the_same_person() {
    let world = World::new().await;
    world.visitor(json!({ "sub": "1" }));
    world.idp.state().user_info =
        json!({ "email": "u@example.com", "email_verified": true, "groups": ["readers"] });
    let who = world.sign_in(IN).await.who().await.unwrap();
    assert_eq!((&who["user"], &who["tenants"][0]["name"]), (&json!("u@example.com"), &json!("a")));
    // An address of the token is not made verified from elsewhere.
    world.visitor(json!({ "sub": "2", "email": "v@example.com" }));
    world.idp.state().user_info = json!({ "email": "other@example.com", "email_verified": true });
    world.sign_in(NOT_ALLOWED).await;
    world.visitor(json!({ "sub": "3" }));
    world.idp.state().user_info = json!({ "sub": "1", "groups": ["readers"] });
    world.sign_in(super::REFUSED).await;
}

#[tokio::test]
async fn an_account_stays_with_its_identity_when_addresses_move() {
    let world = World::new().await;
    world.visitor(
        json!({ "sub": "1", "email": "ann@example.com", "email_verified": true, "groups": "roots" }),
    );
    let who = world.sign_in(IN).await.who().await.unwrap();
    assert_eq!((&who["user"], &who["admin"]), (&json!("ann@example.com"), &json!(true)));
    // Another takes the address, as addresses are given anew.
    world.visitor(json!({ "sub": "2", "email": "ann@example.com", "email_verified": true }));
    let other = world.sign_in(IN).await.who().await.unwrap();
    assert!(other["user"].as_str().unwrap().starts_with("idp/"), "{other}");
    assert_eq!(other["admin"], false);
    // The first one has another address now, and is still who it was.
    world.visitor(
        json!({ "sub": "1", "email": "new@example.com", "email_verified": true, "groups": "roots" }),
    );
    assert_eq!(world.sign_in(IN).await.who().await.unwrap(), who);
    // Nor does an address lead into the account of somebody with a password.
    world.visitor(json!({ "sub": "3", "preferred_username": "root", "email": "ann", "email_verified": true,
        "groups": "readers" }));
    let third = world.sign_in(IN).await.who().await.unwrap();
    assert_eq!((&third["user"], &third["admin"]), (&json!("idp/root"), &json!(false)));
}

#[tokio::test]
async fn groups_give_and_take_at_each_sign_in() {
    let world = World::new().await;
    let catalog = &world.stage.store.catalog;
    let visit = |groups: Value| {
        world.visitor(
            json!({ "sub": "1", "email": "e@example.com", "email_verified": true, "groups": groups }),
        );
    };
    visit(json!(["readers", "ops"]));
    let mut first = world.sign_in(IN).await;
    let roles = |who: &Value| who["tenants"].clone();
    let all = json!([
        { "name": "a", "workspace": "w", "roles": ["viewer", "operator"] },
        { "name": "b", "workspace": "w", "roles": ["operator"] },
    ]);
    assert_eq!(roles(&first.who().await.unwrap()), all);
    assert_eq!(roles(&world.sign_in(IN).await.who().await.unwrap()), all);
    assert!(first.who().await.is_some(), "the same again ends nothing");
    let by_hand =
        Grant { user: "e@example.com".to_owned(), extent: Extent::Tenant(tenant("b")), role: Role::Viewer };
    catalog.grant(&by_hand).await.unwrap();
    assert!(first.who().await.is_none(), "another role ends sessions");
    let mut second = world.sign_in(IN).await;

    visit(json!(["readers"]));
    let who = world.sign_in(IN).await.who().await.unwrap();
    assert!(second.who().await.is_none(), "and so do other groups");
    let viewer = |name: &str| json!({ "name": name, "workspace": "w", "roles": ["viewer"] });
    assert_eq!(roles(&who), json!([viewer("a"), viewer("b")]), "what was given by hand stays");
    assert_eq!(catalog.grants("e@example.com").await.unwrap(), [by_hand]);

    let root = sign_in(&world.stage, "root").await;
    let request =
        world.stage.client.get(format!("{}/api/v1/admin/grants?user=e@example.com", world.stage.url));
    let listed: Value = request.header("cookie", root).send().await.unwrap().json().await.unwrap();
    assert_eq!(listed["grants"][0].get("source"), None);
    assert_eq!(listed["grants"][1]["source"], world.idp.url.as_str());
}

#[tokio::test]
async fn who_is_in_no_group_any_more_is_out() {
    let world = World::new().await;
    world.visitor(json!({ "sub": "1", "groups": ["roots"] }));
    let mut browser = world.sign_in(IN).await;
    assert_eq!(browser.who().await.unwrap()["admin"], true);
    world.visitor(json!({ "sub": "1" }));
    world.sign_in(NOT_ALLOWED).await;
    assert!(browser.who().await.is_none(), "other sessions end, too");
    let user = world.users().await.into_iter().find(|name| name.starts_with("idp/")).unwrap();
    assert!(!world.stage.store.catalog.user(&user).await.unwrap().unwrap().admin);
    // Likewise of whom only the domain let in, which gave nothing that could be taken.
    world.visitor(json!({ "sub": "2", "email": "p@example.com", "email_verified": true }));
    let mut browser = world.sign_in(IN).await;
    world.visitor(json!({ "sub": "2", "email": "p@other.example", "email_verified": true }));
    world.sign_in(NOT_ALLOWED).await;
    assert!(browser.who().await.is_none());
}

#[tokio::test]
async fn a_sign_in_by_a_provider_rotates_the_session() {
    let world = World::new().await;
    world.visitor(json!({ "sub": "1", "groups": "readers" }));
    let mut browser = world.browser();
    // An id that somebody has planted becomes nobody's session, and one that was there ends.
    browser.cookies.insert("heliograph".to_owned(), "planted".to_owned());
    assert_eq!(browser.sign_in("idp").await, IN);
    let first = browser.cookies["heliograph"].clone();
    assert_ne!(first, "planted");
    assert_eq!(browser.sign_in("idp").await, IN);
    let second = browser.cookies["heliograph"].clone();
    assert_ne!(first, second);
    assert!(browser.who().await.is_some());
    browser.cookies.insert("heliograph".to_owned(), first);
    assert!(browser.who().await.is_none(), "the old one has ended");
}

#[tokio::test]
async fn a_user_of_a_provider_has_no_password() {
    let world = World::new().await;
    world.visitor(json!({ "sub": "1", "email": "p@example.com", "email_verified": true }));
    world.sign_in(IN).await;
    for password in ["", "x", "$argon2id$"] {
        let body = json!({ "user": "p@example.com", "password": password });
        let request = world.stage.client.post(format!("{}/api/v1/session", world.stage.url)).json(&body);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "{password:?}");
    }
}

#[tokio::test]
async fn who_is_locked_out_does_not_come_back_by_a_provider() {
    let world = World::new().await;
    world.visitor(json!({ "sub": "1", "email": "p@example.com", "email_verified": true }));
    let mut browser = world.sign_in(IN).await;
    world.stage.store.catalog.set_disabled("p@example.com", true).await.unwrap();
    assert!(browser.who().await.is_none());
    world.sign_in("/?sign_in=disabled").await;
    world.stage.store.catalog.set_disabled("p@example.com", false).await.unwrap();
    world.sign_in(IN).await;
}

/// A call of an administrator; its answer.
async fn admin(world: &World, method: Method, path: &str, body: Value) -> (u16, Value) {
    let root = sign_in(&world.stage, "root").await;
    let url = format!("{}/api/v1/{path}", world.stage.url);
    let request = world.stage.client.request(method, url).json(&body);
    let answer = request.header("cookie", root).header("origin", &world.stage.url).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

#[tokio::test]
async fn an_invitation_lets_in_whose_verified_address_it_names() {
    let world = World::new().await;
    let invite = json!({ "email": "Guest@Other.example", "grants": [{ "tenant": "a", "role": "viewer" }] });
    let (status, made) = admin(&world, Method::POST, "admin/invitations", invite).await;
    assert_eq!((status, &made["email"]), (201, &json!("guest@other.example")));
    let guest = |sub: &str, email: &str, verified: bool| {
        world.visitor(json!({ "sub": sub, "email": email, "email_verified": verified }));
    };
    guest("9", "guest@other.example", false);
    world.sign_in(NOT_ALLOWED).await;
    // A letter that becomes an ASCII one in lower case is another letter.
    guest("9", "guest@other.example".replace('k', "\u{212a}").replace('s', "\u{17f}").as_str(), true);
    world.sign_in(NOT_ALLOWED).await;
    guest("1", "GUEST@other.example", true);
    let who = world.sign_in(IN).await.who().await.unwrap();
    assert_eq!((&who["user"], &who["tenants"][0]["name"]), (&json!("GUEST@other.example"), &json!("a")));
    let (_, _, _, details) = world.last_row().await;
    assert_eq!(details["invitation"], made["id"]);
    assert_eq!(
        admin(&world, Method::GET, "admin/invitations", Value::Null).await.1["invitations"],
        json!([])
    );
    // It was good once, and whoever came by it stays without a group.
    guest("2", "guest@other.example", true);
    world.sign_in(NOT_ALLOWED).await;
    guest("1", "moved@other.example", true);
    world.sign_in(IN).await;
}

#[tokio::test]
async fn an_invitation_of_somebody_locked_out_lets_nobody_in() {
    let world = World::new().await;
    let catalog = &world.stage.store.catalog;
    let user = |name: &str| User {
        name: name.to_owned(),
        password_hash: String::new(),
        admin: true,
        disabled: false,
        created: Timestamp::parse(NOW).unwrap(),
    };
    let now = Timestamp::parse(NOW).unwrap();
    for (seconds, maker) in [(0, "first"), (1, "second")] {
        catalog.create_user(&user(maker)).await.unwrap();
        let guest = Guest { email: Some("guest@other.example".to_owned()), user_name: maker.to_owned() };
        let grants = vec![(Extent::Tenant(tenant("a")), Role::Viewer)];
        let by = format!("user:{maker}");
        let later = |seconds: i64| now.saturating_add_nanos(seconds * 1_000_000_000);
        let (invitation, _) = invitation::issue(guest, grants, by, later(3_600), later(seconds)).unwrap();
        catalog.create_invitation(&invitation, now).await.unwrap();
        catalog.set_disabled(maker, true).await.unwrap();
    }
    world.visitor(json!({ "sub": "1", "email": "guest@other.example", "email_verified": true }));
    world.sign_in(NOT_ALLOWED).await;
    // One that does not count hides none that does.
    catalog.set_disabled("second", false).await.unwrap();
    world.sign_in(IN).await;
    assert_eq!(catalog.invitations(now).await.unwrap().len(), 1);
}

#[tokio::test]
async fn groups_may_be_inside_a_claim() {
    let world = World::with(|providers| {
        let ProviderKind::Oidc(oidc) = &mut providers[0].kind else { panic!("of OpenID Connect") };
        oidc.groups_claim = "realm_access.roles".to_owned();
    })
    .await;
    let tenants = async |visitor: Value, info: Value| {
        world.visitor(visitor);
        world.idp.state().user_info = info;
        let mut browser = world.browser();
        match browser.sign_in("idp").await.as_str() {
            IN => browser.who().await.unwrap()["tenants"].as_array().unwrap().len(),
            other => panic!("{other}"),
        }
    };
    let with = |sub: &str, more: Value| {
        let mut visitor =
            json!({ "sub": sub, "email": format!("p{sub}@example.com"), "email_verified": true });
        visitor.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        visitor
    };
    let nested = || json!({ "realm_access": { "roles": ["offline_access", "readers"] } });
    assert_eq!(tenants(with("1", nested()), json!({})).await, 1, "in the ID token");
    assert_eq!(tenants(with("2", json!({})), nested()).await, 1, "in the user info");
    let exact = json!({ "realm_access.roles": ["none"], "realm_access": { "roles": ["readers"] } });
    assert_eq!(tenants(with("3", exact), nested()).await, 0, "a claim of that very name comes first");
    let flat = json!({ "realm_access": ["readers"], "roles": ["readers"], "groups": ["readers"] });
    assert_eq!(tenants(with("4", flat), json!({})).await, 0);
}

#[tokio::test]
async fn own_sessions_are_listed_and_ended() {
    let world = World::new().await;
    world.visitor(json!({ "sub": "1", "email": "p@example.com", "email_verified": true }));
    let mut here = world.sign_in(IN).await;
    let (mut there, mut elsewhere) = (world.sign_in(IN).await, world.sign_in(IN).await);
    let (_, _, listed) = here.get("/api/v1/sessions").await;
    let sessions = listed["sessions"].as_array().unwrap();
    let own: Vec<bool> = sessions.iter().map(|s| s["current"].as_bool().unwrap()).collect();
    assert_eq!((sessions.len(), own.iter().filter(|own| **own).count()), (3, 1), "{listed}");
    assert!(!listed.to_string().contains(&here.cookies["heliograph"]));
    let id = |browser: &mut Browser| {
        let mut browser = browser.clone();
        async move {
            let (_, _, listed) = browser.get("/api/v1/sessions").await;
            let all = listed["sessions"].as_array().unwrap().clone();
            all.iter().find(|s| s["current"] == true).unwrap()["id"].as_str().unwrap().to_owned()
        }
    };
    let of_there = id(&mut there).await;
    let gone = here.call(Method::DELETE, &format!("/api/v1/sessions/{of_there}")).await;
    assert_eq!(gone.0, StatusCode::NO_CONTENT);
    assert!(there.who().await.is_none() && elsewhere.who().await.is_some());
    let of_root = {
        let root = sign_in(&world.stage, "root").await;
        let all = world
            .stage
            .store
            .catalog
            .sessions("root", heliograph_model::time::Clock::now(&world.stage.clock));
        assert!(!root.is_empty());
        crate::access::public_id(&all.await.unwrap()[0].id_hash)
    };
    let foreign = here.call(Method::DELETE, &format!("/api/v1/sessions/{of_root}")).await;
    assert_eq!(foreign.0, StatusCode::NOT_FOUND, "another's is none");
    let (_, _, ended) = here.call(Method::DELETE, "/api/v1/sessions").await;
    assert_eq!(ended, json!({ "ended": 1 }));
    assert!(elsewhere.who().await.is_none() && here.who().await.is_some());
    let (status, ended) =
        admin(&world, Method::DELETE, "admin/users/p@example.com/sessions", Value::Null).await;
    assert_eq!((status, ended), (200, json!({ "ended": 1 })));
    assert!(here.who().await.is_none());
}
