//! People whom a provider vouches for, who is invited, who is locked out, and when sessions end.

use std::sync::Arc;

use heliograph_store::Error;
use heliograph_store::catalog::{Catalog, Extent, Grant, Identity, Invitation, Mapped, Role, Session, User};

use crate::Place;
use crate::words::{add_tenants, at, name, user, workspace};

fn identity(subject: &str) -> Identity {
    Identity {
        issuer: "https://idp".to_owned(),
        subject: subject.to_owned(),
        email: Some("a@example.com".to_owned()),
    }
}

fn no_password(name: &str) -> User {
    User { password_hash: String::new(), ..user(name) }
}

fn session(n: u8, user: &str) -> Session {
    Session { id_hash: [n; 32], user: user.to_owned(), created: at(3), expires: at(90), idle_end: at(20) }
}

async fn is_in(catalog: &dyn Catalog, n: u8) -> bool {
    catalog.session_user(&[n; 32], at(5)).await.unwrap().is_some()
}

pub(crate) async fn an_identity_has_one_account(place: &dyn Place) {
    let catalog = place.open().await;
    assert!(catalog.known("https://idp", "1").await.unwrap().is_none());
    catalog.create_user(&user("taken")).await.unwrap();
    catalog.create_known(&identity("1"), &no_password("one")).await.unwrap();
    let taken = catalog.create_known(&identity("2"), &no_password("taken")).await;
    assert!(matches!(taken, Err(Error::Exists { what: "user", .. })), "no account of another is taken over");
    let twice = catalog.create_known(&identity("1"), &no_password("other")).await;
    assert!(matches!(twice, Err(Error::Exists { what: "identity", .. })));
    assert!(catalog.user("other").await.unwrap().is_none(), "all or nothing");
    let known = catalog.known("https://idp", "1").await.unwrap().unwrap();
    assert_eq!((known.user.name.as_str(), known.user.admin, known.invited), ("one", false, false));
    for (issuer, subject) in [("https://other", "1"), ("https://idp", "2"), ("https://idp", "1\0")] {
        assert!(catalog.known(issuer, subject).await.unwrap().is_none(), "{issuer} {subject}");
    }
}

pub(crate) async fn what_groups_give_they_take(place: &dyn Place) {
    let catalog = place.open().await;
    add_tenants(&*catalog, &["a", "b"]).await;
    let mapped = |admin, grants: &[(Extent, Role)]| Mapped { admin, grants: grants.to_vec() };
    let (over_a, over_w) = (Extent::Tenant(name("a")), Extent::Workspace(workspace("w")));
    let gone = Extent::Tenant(name("no-such-tenant"));
    let missing = catalog.set_mapped(&identity("1"), &Mapped::default()).await;
    assert!(matches!(missing, Err(Error::Missing { what: "identity", .. })));
    catalog.create_known(&identity("1"), &no_password("one")).await.unwrap();
    let by_hand = Grant { user: "one".to_owned(), extent: over_a.clone(), role: Role::Viewer };
    catalog.grant(&by_hand).await.unwrap();
    catalog.create_session(&session(1, "one")).await.unwrap();

    let both =
        mapped(true, &[(over_w.clone(), Role::Writer), (over_a.clone(), Role::Viewer), (gone, Role::Viewer)]);
    assert!(catalog.set_mapped(&identity("1"), &both).await.unwrap());
    assert!(!is_in(&*catalog, 1).await, "a change ends sessions");
    let held = |extent: &Extent, role| {
        ("https://idp".to_owned(), Grant { user: "one".to_owned(), extent: extent.clone(), role })
    };
    let expected = [held(&over_w, Role::Writer), held(&over_a, Role::Viewer)];
    assert_eq!(catalog.mapped_grants("one").await.unwrap(), expected);
    assert!(catalog.user("one").await.unwrap().unwrap().admin);
    catalog.create_session(&session(2, "one")).await.unwrap();
    assert!(!catalog.set_mapped(&identity("1"), &both).await.unwrap());
    assert!(is_in(&*catalog, 2).await, "the same again changes nothing");

    assert!(catalog.set_mapped(&identity("1"), &Mapped::default()).await.unwrap());
    assert!(!is_in(&*catalog, 2).await);
    assert_eq!(catalog.mapped_grants("one").await.unwrap(), []);
    assert!(!catalog.user("one").await.unwrap().unwrap().admin);
    assert_eq!(catalog.grants("one").await.unwrap(), [by_hand], "what was given by hand stays");
    assert_eq!(catalog.mapped_grants("nobody").await.unwrap(), []);
}

pub(crate) async fn who_is_locked_out_has_no_session(place: &dyn Place) {
    let catalog = place.open().await;
    add_tenants(&*catalog, &["a"]).await;
    catalog.create_user(&user("u")).await.unwrap();
    catalog.create_session(&session(1, "u")).await.unwrap();
    catalog.set_disabled("u", true).await.unwrap();
    assert!(catalog.user("u").await.unwrap().unwrap().disabled);
    assert!(!is_in(&*catalog, 1).await);
    catalog.create_session(&session(2, "u")).await.unwrap();
    assert!(!is_in(&*catalog, 2).await, "nor one that is made meanwhile");
    catalog.set_disabled("u", false).await.unwrap();
    assert!(!is_in(&*catalog, 1).await && is_in(&*catalog, 2).await);
    let missing = catalog.set_disabled("eve", true).await;
    assert!(matches!(missing, Err(Error::Missing { what: "user", .. })));

    let grant = Grant { user: "u".to_owned(), extent: Extent::Tenant(name("a")), role: Role::Viewer };
    for (n, change) in (3..).zip([true, false]) {
        catalog.create_session(&session(n, "u")).await.unwrap();
        match change {
            true => catalog.grant(&grant).await.unwrap(),
            false => assert!(catalog.revoke_grant(&grant).await.unwrap()),
        }
        assert!(!is_in(&*catalog, n).await, "another role ends sessions");
    }
}

pub(crate) async fn sessions_end_unused(place: &dyn Place) {
    let catalog = place.open().await;
    for name in ["u", "v"] {
        catalog.create_user(&user(name)).await.unwrap();
    }
    for (n, of) in [(1, "u"), (2, "u"), (3, "u"), (4, "v")] {
        catalog.create_session(&session(n, of)).await.unwrap();
    }
    let found = catalog.session_user(&[1; 32], at(19)).await.unwrap().unwrap();
    assert_eq!((found.user.name.as_str(), found.idle_end), ("u", at(20)));
    assert!(catalog.session_user(&[1; 32], at(20)).await.unwrap().is_none());
    catalog.touch_session(&[1; 32], at(200)).await.unwrap();
    catalog.touch_session(&[1; 32], at(150)).await.unwrap();
    assert!(catalog.session_user(&[1; 32], at(89)).await.unwrap().is_some());
    assert!(catalog.session_user(&[1; 32], at(90)).await.unwrap().is_none(), "used or not, it ends");
    let listed = catalog.sessions("u", at(5)).await.unwrap();
    assert_eq!(listed.iter().map(|s| s.id_hash[0]).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(format!("{:?}", listed[0]), format!("{:?}", Session { idle_end: at(200), ..session(1, "u") }));
    assert_eq!(catalog.sessions("u", at(30)).await.unwrap().len(), 1);
    assert_eq!(catalog.end_sessions("u", Some(&[2; 32])).await.unwrap(), 2);
    assert!(is_in(&*catalog, 2).await && is_in(&*catalog, 4).await && !is_in(&*catalog, 1).await);
    assert_eq!(catalog.end_sessions("u", None).await.unwrap(), 1);
    assert_eq!(catalog.end_sessions("nobody", None).await.unwrap(), 0);
    catalog.end_session(&[9; 32], at(50)).await.unwrap();
    assert!(!is_in(&*catalog, 4).await, "those that ended unused are cleared away");
}

fn invitation(id: &str, grants: &[(Extent, Role)]) -> Invitation {
    Invitation {
        id: id.to_owned(),
        secret_hash: [4; 32],
        email: Some("new@example.com".to_owned()),
        user_name: "new".to_owned(),
        grants: grants.to_vec(),
        invited_by: "user:root".to_owned(),
        created: at(1),
        expires: at(50),
    }
}

pub(crate) async fn invitations_are_used_once(place: &dyn Place) {
    let catalog = place.open().await;
    add_tenants(&*catalog, &["a"]).await;
    let over_a = Extent::Tenant(name("a"));
    let grants = [(Extent::Workspace(workspace("w")), Role::Writer), (over_a.clone(), Role::Viewer)];
    let unknown = invitation("i0", &[(Extent::Tenant(name("no")), Role::Viewer)]);
    let refused = catalog.create_invitation(&unknown, at(1)).await;
    assert!(matches!(refused, Err(Error::Missing { what: "tenant", .. })));
    let open = [
        invitation("i1", &grants),
        Invitation { email: None, created: at(2), ..invitation("i2", &[]) },
        Invitation { created: at(3), ..invitation("i3", &grants[1..]) },
    ];
    for one in &open {
        catalog.create_invitation(one, at(1)).await.unwrap();
    }
    assert_eq!(catalog.invitations(at(49)).await.unwrap(), open);
    assert_eq!(catalog.invitations(at(50)).await.unwrap(), [], "they expire");

    let late = catalog.accept_invitation("i1", &user("new"), None, at(50)).await;
    assert!(matches!(late, Err(Error::Missing { what: "invitation", .. })));
    assert!(catalog.user("new").await.unwrap().is_none());
    let account = user("new");
    let twice: Vec<_> = {
        let accept = |catalog: Arc<dyn Catalog>| {
            let account = account.clone();
            async move { catalog.accept_invitation("i1", &account, None, at(10)).await }
        };
        let (one, two) = tokio::join!(accept(Arc::clone(&catalog)), accept(place.open().await));
        [one, two].into_iter().collect()
    };
    assert_eq!(twice.iter().filter(|accepted| accepted.is_ok()).count(), 1, "{twice:?}");
    let has: Vec<_> = catalog.grants("new").await.unwrap().into_iter().map(|g| (g.extent, g.role)).collect();
    assert_eq!(has, grants);

    let taken = catalog.accept_invitation("i2", &user("new"), None, at(10)).await;
    assert!(matches!(taken, Err(Error::Exists { what: "user", .. })));
    assert_eq!(catalog.invitations(at(10)).await.unwrap(), open[1..], "it stays open");

    // An identity that has an account keeps it, and needs no group from then on.
    catalog.create_known(&identity("1"), &no_password("one")).await.unwrap();
    catalog.create_session(&session(1, "one")).await.unwrap();
    catalog.accept_invitation("i3", &no_password("unused"), Some(&identity("1")), at(10)).await.unwrap();
    assert!(catalog.user("unused").await.unwrap().is_none() && !is_in(&*catalog, 1).await);
    assert!(catalog.known("https://idp", "1").await.unwrap().unwrap().invited);
    assert_eq!(catalog.grants("one").await.unwrap().len(), 1);
    // Another gets one.
    catalog.create_invitation(&invitation("i4", &grants[1..]), at(1)).await.unwrap();
    catalog.accept_invitation("i4", &no_password("two"), Some(&identity("2")), at(10)).await.unwrap();
    let known = catalog.known("https://idp", "2").await.unwrap().unwrap();
    assert_eq!((known.user.name.as_str(), known.invited), ("two", true));

    assert!(catalog.revoke_invitation("i2").await.unwrap());
    assert!(!catalog.revoke_invitation("i2").await.unwrap());
    assert_eq!(catalog.invitations(at(10)).await.unwrap(), []);
}

pub(crate) async fn a_value_is_spent_once(place: &dyn Place) {
    let catalog = place.open().await;
    // At whichever node it is shown, and at all of them at once.
    let mut shown = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let node = place.open().await;
        shown.spawn(async move { node.spend(&[1; 32], at(50), at(1)).await.unwrap() });
    }
    let taken = shown.join_all().await;
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1, "{taken:?}");
    assert!(!catalog.spend(&[1; 32], at(50), at(2)).await.unwrap());
    assert!(!place.open().await.spend(&[1; 32], at(50), at(49)).await.unwrap());
    assert!(catalog.spend(&[2; 32], at(50), at(2)).await.unwrap());
    assert!(catalog.spend(&[1; 32], at(90), at(50)).await.unwrap(), "it was not good any more by then");
}
