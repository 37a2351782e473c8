//! Whatever text comes in: it comes out byte for byte, or is refused by name, and is a part of no statement.

use std::time::Duration;

use heliograph_model::filter::{Field, Filter, Test};
use heliograph_model::time::TimeRange;
use heliograph_store::audit::{Action, Actor, Details, Event, Of, Outcome, Page, Subject};
use heliograph_store::catalog::{
    Catalog, Extent, Grant, Identity, Invitation, NewErasure, Role, Session, Token, User,
};
use heliograph_store::{Error, Result};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use crate::Place;
use crate::audit::log;
use crate::words::{add_tenants, at, name, user};

/// Random texts beside those below.
const RANDOM: usize = 12;

/// What SQL, its two dialects here, and their drivers have a meaning for.
fn texts() -> Vec<String> {
    let fixed = [
        "'",
        "''",
        "\"",
        "`",
        "\\",
        "\\'",
        "';",
        "--",
        "/*",
        "*/",
        "%",
        "_",
        "%%",
        "$1",
        "$$",
        "$a$",
        "?",
        "?1",
        ":a",
        "@a",
        "{}",
        "{0}",
        "NULL",
        "null",
        "true",
        "0",
        "-1",
        "1e400",
        " ",
        "\t",
        "\r\n",
        "\u{1}",
        "\u{7f}",
        "\u{0}",
        "a\u{0}b",
        "x\u{0}",
        "'; DROP TABLE users; --",
        "' OR '1'='1",
        "\" OR \"1\"=\"1",
        "a' UNION SELECT password_hash FROM users --",
        "'); DELETE FROM tenants; --",
        "E'\\x41'",
        "x'00'",
        "U&'\\0041'",
        "pg_sleep(9)",
        "load_extension('x')",
        "Ünïcödé \u{1f980}",
        "a\u{301}",
        "á",
        "\u{feff}",
        "what somebody seeks\0and nobody is told",
        "\u{202e}",
        "\u{fffd}",
        "\u{10ffff}",
        "ＤＲＯＰ",
        "ſ",
        "İ",
        "ß",
    ];
    let mut texts: Vec<_> = fixed.map(str::to_owned).into();
    texts.push("'x".repeat(5 << 10));
    texts.push("ä".repeat(5 << 10));
    let mut runner = TestRunner::deterministic();
    let any = prop_oneof![any::<String>(), "[\\x00-\\x7f]{1,40}", "['\"$?%_;\\\\\\-]{1,20}"];
    let random = (0..RANDOM).map(|_| any.new_tree(&mut runner).unwrap().current());
    texts.extend(random.filter(|text| !text.is_empty()));
    texts.sort();
    texts.dedup();
    texts
}

/// What was taken. Only a NUL is refused, and said to be why.
#[track_caller]
fn taken<T>(text: &str, result: Result<T>) -> Option<T> {
    match result {
        Ok(taken) => Some(taken),
        Err(error) => {
            let told = error.to_string();
            assert!(text.contains('\0') && told.contains("holds a NUL"), "{text:?}: {told}");
            assert!(!matches!(error, Error::Catalog(_)), "{text:?}: {told}");
            let is_shown = |part: &str| part.len() >= 12 && told.contains(part);
            assert!(!text.split('\0').any(is_shown), "it may be a secret: {told}");
            None
        }
    }
}

pub(crate) async fn any_text_is_a_value_and_nothing_else(place: &dyn Place) {
    let catalog = place.open().await;
    add_tenants(&*catalog, &["a", "b"]).await;
    catalog.create_user(&user("neighbour")).await.unwrap();
    let texts = texts();
    let (mut accounts, mut whole) = (0, 0);
    for (n, text) in texts.iter().enumerate() {
        let is_whole = a_person(&*catalog, text).await
            & an_identity(&*catalog, text, n).await
            & an_invitation(&*catalog, text, n).await
            & a_token(&*catalog, text).await
            & an_erasure(&*catalog, text).await;
        assert!(is_whole || text.contains('\0'), "{text:?}");
        whole += usize::from(is_whole);
        accounts += usize::from(catalog.user(text).await.unwrap().is_some());
    }
    assert!(whole > texts.len() / 2, "{whole} of {} are taken", texts.len());
    events(place, &texts).await;
    addresses(&*catalog, &texts).await;

    let users = catalog.users().await.unwrap();
    let known = users.iter().filter(|user| user.name.starts_with("known-")).count();
    assert_eq!(users.len(), 1 + accounts + known, "each is one, and no other has come or gone");
    let neighbour = catalog.user("neighbour").await.unwrap().unwrap();
    assert_eq!(
        (neighbour.password_hash.as_str(), neighbour.admin, neighbour.disabled),
        ("$argon2id$x", false, false)
    );
    assert_eq!(catalog.grants("neighbour").await.unwrap(), []);
    let tenants: Vec<_> = catalog.tenants().await.unwrap().into_iter().map(|tenant| tenant.name).collect();
    assert_eq!(tenants, [name("a"), name("b")]);
}

async fn a_person(catalog: &dyn Catalog, text: &str) -> bool {
    let new = User { password_hash: text.to_owned(), ..user(text) };
    if taken(text, catalog.create_user(&new).await).is_none() {
        assert!(
            catalog.user(text).await.unwrap().is_none() && catalog.grants(text).await.unwrap().is_empty()
        );
        assert!(catalog.sessions(text, at(1)).await.unwrap().is_empty());
        let missing = catalog.set_password(text, "x").await.unwrap_err();
        assert!(matches!(missing, Error::Missing { .. }), "{missing}");
        return false;
    }
    let found = catalog.user(text).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.password_hash.as_str()), (text, text));
    let again = catalog.create_user(&new).await.unwrap_err();
    assert!(matches!(again, Error::Exists { what: "user", .. }), "{again}");
    let second = format!("{text}{text}");
    catalog.set_password(text, &second).await.unwrap();
    assert_eq!(catalog.user(text).await.unwrap().unwrap().password_hash, second);
    let grant = Grant { user: text.to_owned(), extent: Extent::Tenant(name("a")), role: Role::Viewer };
    catalog.grant(&grant).await.unwrap();
    assert_eq!(catalog.grants(text).await.unwrap(), std::slice::from_ref(&grant));
    let mut id_hash = [0; 32];
    id_hash.iter_mut().zip(text.bytes()).for_each(|(to, byte)| *to = byte);
    let session = Session { id_hash, user: text.to_owned(), created: at(0), expires: at(9), idle_end: at(9) };
    catalog.create_session(&session).await.unwrap();
    assert_eq!(catalog.session_user(&id_hash, at(1)).await.unwrap().unwrap().user.name, text);
    assert_eq!(catalog.end_sessions(text, None).await.unwrap(), 1, "its own");
    assert!(catalog.revoke_grant(&grant).await.unwrap());
    catalog.set_disabled(text, true).await.unwrap();
    assert!(catalog.user(text).await.unwrap().unwrap().disabled);
    true
}

async fn an_identity(catalog: &dyn Catalog, text: &str, n: usize) -> bool {
    let identity =
        Identity { issuer: text.to_owned(), subject: text.to_owned(), email: Some(text.to_owned()) };
    let account = user(&format!("known-{n}"));
    let made = taken(text, catalog.create_known(&identity, &account).await);
    let known = catalog.known(text, text).await.unwrap();
    assert_eq!(known.map(|known| known.user.name), made.map(|()| account.name.clone()));
    assert_eq!(catalog.user(&account.name).await.unwrap().is_some(), made.is_some(), "all or nothing");
    assert!(catalog.known("https://other", text).await.unwrap().is_none());
    assert!(catalog.known(text, "other").await.unwrap().is_none());
    made.is_some()
}

async fn an_invitation(catalog: &dyn Catalog, text: &str, n: usize) -> bool {
    let made = Invitation {
        id: format!("{n}{text}"),
        secret_hash: [7; 32],
        email: Some(text.to_owned()),
        user_name: text.to_owned(),
        grants: vec![(Extent::Tenant(name("a")), Role::Viewer)],
        invited_by: text.to_owned(),
        created: at(1),
        expires: at(9),
    };
    let is_made = taken(text, catalog.create_invitation(&made, at(1)).await).is_some();
    let open = catalog.invitations(at(2)).await.unwrap();
    assert_eq!(open, if is_made { vec![made.clone()] } else { Vec::new() });
    let accepted = catalog.accept_invitation(text, &user("guest"), None, at(2)).await.unwrap_err();
    assert!(matches!(accepted, Error::Missing { .. }), "{text:?}: {accepted}");
    assert_eq!(catalog.revoke_invitation(&made.id).await.unwrap(), is_made);
    is_made
}

async fn a_token(catalog: &dyn Catalog, text: &str) -> bool {
    let token = Token {
        id: text.to_owned(),
        secret_hash: [3; 32],
        tenant: name("a"),
        roles: vec![Role::Writer],
        created: at(1),
        expires: None,
        revoked: None,
    };
    if taken(text, catalog.create_token(&token).await).is_none() {
        assert!(catalog.token(text).await.unwrap().is_none());
        return false;
    }
    catalog.revoke_token(text, at(5)).await.unwrap();
    let found = catalog.token(text).await.unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.revoked, found.tenant), (text, Some(at(5)), name("a")));
    assert!(catalog.tokens(Some(&name("b"))).await.unwrap().is_empty());
    true
}

async fn an_erasure(catalog: &dyn Catalog, text: &str) -> bool {
    let new = NewErasure {
        id: Uuid::new_v4(),
        tenant: name("a"),
        query: text.to_owned(),
        filter: Filter::Is(Field::Message, Test::Text(text.to_owned())),
        range: TimeRange { start: at(-5), end: at(5) },
        by: text.to_owned(),
        at: at(9),
    };
    if taken(text, catalog.request_erasure(&new).await).is_none() {
        return false;
    }
    let trouble = taken(text, catalog.set_erasure_trouble(new.id, Some(text)).await);
    let all = catalog.erasures().await.unwrap();
    let found = all.iter().find(|erasure| erasure.id == new.id).unwrap();
    assert_eq!((found.query.as_deref(), found.by.as_str()), (Some(text), text));
    assert_eq!(found.trouble.as_deref(), trouble.map(|()| text));
    let pending = catalog.pending_erasures().await.unwrap();
    let [pending] = pending.as_slice() else { panic!("{pending:?}") };
    assert_eq!(format!("{:?}", pending.filter), format!("{:?}", new.filter));
    catalog.finish_erasure(new.id, at(9)).await.unwrap();
    trouble.is_some()
}

async fn events(place: &dyn Place, texts: &[String]) {
    let log = log(place).await;
    for (n, text) in texts.iter().enumerate() {
        let serde_json::Value::Object(details) = serde_json::json!({ "user": text }) else { panic!() };
        let event = Event {
            at: at(i64::try_from(n).unwrap()),
            actor: Actor::User(text.clone()),
            action: Action::Search,
            subject: Subject::Platform,
            from: None,
            outcome: Outcome::Done,
            details: Details::new(details.clone()),
        };
        let appended = taken(text, log.append(&[event]).await);
        let page = Page {
            of: Of::Everything,
            range: TimeRange::ALL,
            action: None,
            actor: Some(format!("user:{text}")),
            after: None,
            limit: 10,
        };
        let rows: Vec<_> = log.page(&page).await.unwrap();
        let actors: Vec<_> = rows.iter().map(|told| told.row.actor.as_str()).collect();
        let expected = format!("user:{text}");
        assert_eq!(actors, if appended.is_some() { vec![expected.as_str()] } else { Vec::new() });
        let told: Vec<serde_json::Value> =
            rows.iter().map(|told| serde_json::from_str(&told.row.details).unwrap()).collect();
        // What is long is cut there.
        assert!(text.len() > 1_000 || told.iter().all(|told| told["user"] == *text), "{text:?}: {told:?}");
    }
    assert!(log.verify(None).await.unwrap().is_whole());
}

async fn addresses(catalog: &dyn Catalog, texts: &[String]) {
    for text in texts {
        let id = Uuid::new_v4();
        let lease = taken(text, catalog.register_indexer(id, text, Duration::from_mins(1)).await);
        let all = catalog.indexers().await.unwrap();
        let found =
            all.iter().find(|indexer| indexer.lease.indexer == id).map(|indexer| indexer.address.clone());
        assert_eq!(found, lease.as_ref().map(|_| text.clone()));
        taken(text, catalog.claim_indexer(text, Duration::from_mins(1), &[]).await);
        if let Some(lease) = lease {
            assert!(catalog.retire_indexer(&lease).await.unwrap());
        }
    }
}
