//! Who there is, and what they may do.

use heliograph_store::Error;
use heliograph_store::catalog::{Extent, Grant, Role, Session, Token, User};

use crate::Place;
use crate::words::{add_tenants, at, name, tenant, user, workspace};

pub(crate) async fn tenants_have_one_name_each(place: &dyn Place) {
    let catalog = place.open().await;
    assert!(catalog.tenant(&name("a")).await.unwrap().is_none());
    let a = tenant("a");
    catalog.create_tenant(&tenant("b")).await.unwrap();
    catalog.create_tenant(&a).await.unwrap();
    let error = catalog.create_tenant(&tenant("a")).await.unwrap_err();
    assert_eq!(error.to_string(), "tenant \"a\" exists already");

    let found = catalog.tenant(&name("a")).await.unwrap().unwrap();
    assert_eq!(format!("{found:?}"), format!("{a:?}"));
    let names: Vec<_> = catalog.tenants().await.unwrap().into_iter().map(|t| t.name).collect();
    assert_eq!(names, [name("a"), name("b")]);
}

pub(crate) async fn users_and_passwords(place: &dyn Place) {
    let catalog = place.open().await;
    let admin = User { admin: true, ..user("Zoë O'Neil; --") };
    catalog.create_user(&admin).await.unwrap();
    catalog.create_user(&user("bob")).await.unwrap();
    assert!(matches!(catalog.create_user(&user("bob")).await, Err(Error::Exists { what: "user", .. })));
    assert!(catalog.user("BOB").await.unwrap().is_none(), "names differ by case");

    let found = catalog.user(&admin.name).await.unwrap().unwrap();
    assert!(found.admin && found.created == at(-5) && found.password_hash == "$argon2id$x");
    assert_eq!(catalog.users().await.unwrap().len(), 2);

    let session = |n| Session {
        id_hash: [n; 32],
        user: "bob".to_owned(),
        created: at(0),
        expires: at(100),
        idle_end: at(100),
    };
    for n in [1, 2] {
        catalog.create_session(&session(n)).await.unwrap();
    }
    catalog.set_password("bob", "new").await.unwrap();
    assert_eq!(catalog.user("bob").await.unwrap().unwrap().password_hash, "new");
    assert!(catalog.session_user(&[1; 32], at(1)).await.unwrap().is_none(), "a new password ends sessions");
    let error = catalog.set_password("eve", "new").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no user \"eve\"");
}

pub(crate) async fn grants_add_up(place: &dyn Place) {
    let catalog = place.open().await;
    add_tenants(&*catalog, &["a"]).await;
    catalog.create_user(&user("u")).await.unwrap();
    catalog.create_user(&user("v")).await.unwrap();
    let grant =
        |user: &str, extent: &Extent, role| Grant { user: user.to_owned(), extent: extent.clone(), role };
    let (over_a, over_w) = (Extent::Tenant(name("a")), Extent::Workspace(workspace("later")));
    let given = [
        grant("u", &over_w, Role::Viewer),
        grant("u", &over_a, Role::Operator),
        grant("u", &over_a, Role::Viewer),
    ];
    for grant in given.iter().chain(&given) {
        catalog.grant(grant).await.unwrap();
    }
    assert_eq!(catalog.grants("u").await.unwrap(), given, "each once, workspaces first");
    assert_eq!(catalog.grants("v").await.unwrap(), []);
    assert_eq!(catalog.grants("nobody").await.unwrap(), []);

    for (user, extent) in [("eve", over_a.clone()), ("u", Extent::Tenant(name("no")))] {
        let refused = catalog.grant(&grant(user, &extent, Role::Viewer)).await;
        assert!(matches!(refused, Err(Error::Missing { .. })));
        assert!(!catalog.revoke_grant(&grant(user, &extent, Role::Viewer)).await.unwrap());
    }
    assert!(catalog.revoke_grant(&given[1]).await.unwrap());
    assert!(!catalog.revoke_grant(&given[1]).await.unwrap());
    assert!(catalog.revoke_grant(&given[0]).await.unwrap());
    assert_eq!(catalog.grants("u").await.unwrap(), given[2..]);
}

pub(crate) async fn sessions_end(place: &dyn Place) {
    let catalog = place.open().await;
    catalog.create_user(&user("u")).await.unwrap();
    let session = |n, expires| Session {
        id_hash: [n; 32],
        user: "u".to_owned(),
        created: at(3),
        expires: at(expires),
        idle_end: at(90),
    };
    for s in [session(1, 10), session(2, 50), session(3, 50)] {
        catalog.create_session(&s).await.unwrap();
    }
    let eve = Session { user: "eve".to_owned(), ..session(4, 50) };
    assert!(matches!(catalog.create_session(&eve).await, Err(Error::Missing { what: "user", .. })));

    assert_eq!(catalog.session_user(&[1; 32], at(9)).await.unwrap().unwrap().user.name, "u");
    assert!(catalog.session_user(&[1; 32], at(10)).await.unwrap().is_none(), "over at its end");
    catalog.end_session(&[2; 32], at(10)).await.unwrap();
    assert!(catalog.session_user(&[1; 32], at(9)).await.unwrap().is_none(), "expired ones are cleared away");
    assert!(catalog.session_user(&[2; 32], at(9)).await.unwrap().is_none());
    assert!(catalog.session_user(&[3; 32], at(9)).await.unwrap().is_some());
}

pub(crate) async fn tokens_are_listed_and_revoked(place: &dyn Place) {
    let catalog = place.open().await;
    add_tenants(&*catalog, &["a", "b"]).await;
    let token = |id: &str, tenant, created| Token {
        id: id.to_owned(),
        secret_hash: [9; 32],
        tenant: name(tenant),
        roles: vec![Role::Writer, Role::Viewer],
        created: at(created),
        expires: Some(at(1000)),
        revoked: None,
    };
    let eternal = Token { expires: None, roles: vec![], ..token("k1", "a", 30) };
    for t in [&eternal, &token("k2", "b", 20), &token("k3", "a", 10)] {
        catalog.create_token(t).await.unwrap();
    }
    let again = catalog.create_token(&token("k2", "a", 1)).await;
    assert!(matches!(again, Err(Error::Exists { what: "token", .. })));
    let nowhere = catalog.create_token(&token("k4", "no", 1)).await;
    assert!(matches!(nowhere, Err(Error::Missing { what: "tenant", .. })));

    let ids = |tokens: Vec<Token>| tokens.into_iter().map(|t| t.id).collect::<Vec<_>>();
    assert_eq!(ids(catalog.tokens(None).await.unwrap()), ["k3", "k2", "k1"]);
    assert_eq!(ids(catalog.tokens(Some(&name("a"))).await.unwrap()), ["k3", "k1"]);
    let found = catalog.token("k1").await.unwrap().unwrap();
    assert_eq!(format!("{found:?}"), format!("{eternal:?}"));

    catalog.revoke_token("k2", at(500)).await.unwrap();
    catalog.revoke_token("k2", at(900)).await.unwrap();
    let found = catalog.token("k2").await.unwrap().unwrap();
    assert_eq!(found.revoked, Some(at(500)), "the first revocation counts");
    assert_eq!(found.roles, [Role::Writer, Role::Viewer]);
    assert!(matches!(catalog.revoke_token("k9", at(1)).await, Err(Error::Missing { .. })));
    assert!(catalog.token("k9").await.unwrap().is_none());
}
