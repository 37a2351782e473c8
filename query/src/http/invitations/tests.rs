//! Who may invite whom to what, and what a link is good for.

use std::time::Duration;

use heliograph_store::catalog::{Extent, Grant, Role};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::access::tests::sign_in;
use crate::stage::{Stage, tenant};

struct Person<'a> {
    stage: &'a Stage,
    cookie: String,
}

impl<'a> Person<'a> {
    async fn new(stage: &'a Stage, name: &str) -> Self {
        Self { stage, cookie: sign_in(stage, name).await }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/api/v1/admin/invitations{path}", self.stage.url);
        let request = self.stage.client.request(method, url).json(&body);
        let request = request.header("cookie", &self.cookie).header("origin", &self.stage.url);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn invite(&self, body: Value) -> (u16, Value) {
        self.call(Method::POST, "", body).await
    }

    async fn listed(&self) -> Vec<String> {
        let (status, body) = self.call(Method::GET, "", Value::Null).await;
        assert_eq!(status, 200, "{body}");
        let all = body["invitations"].as_array().unwrap();
        all.iter().map(|one| one["user"].as_str().unwrap().to_owned()).collect()
    }
}

async fn accept(stage: &Stage, token: &str, password: &str) -> (u16, Value) {
    let url = format!("{}/api/v1/invitations/accept", stage.url);
    let request = stage.client.post(url).json(&json!({ "token": token, "password": password }));
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

fn over(tenant: &str, role: &str) -> Value {
    json!([{ "tenant": tenant, "role": role }])
}

#[tokio::test]
async fn an_invitation_makes_one_account_once() {
    let stage = Stage::new().await;
    let root = Person::new(&stage, "root").await;
    let (status, made) =
        root.invite(json!({ "user": "new", "grants": over("a", "viewer"), "ttl": "1d" })).await;
    assert_eq!(status, 201, "{made}");
    let token = made["token"].as_str().unwrap();
    assert_eq!(made["link"], format!("https://logs.example.com/#invitation={token}"));
    assert_eq!(made["expires"], "2026-11-25T10:00:00.000000000Z");
    let (_, list) = root.call(Method::GET, "", Value::Null).await;
    assert!(!list.to_string().contains(token), "it is shown once");
    assert_eq!(list["invitations"][0]["invited_by"], "user:root");

    assert_eq!(accept(&stage, token, "short").await.0, 400, "and stays open");
    assert_eq!(accept(&stage, token, "hg_is-how-tokens-begin").await.0, 400);
    let (status, body) = accept(&stage, token, "long enough").await;
    assert_eq!((status, &body), (201, &json!({ "user": "new" })));
    assert_eq!(accept(&stage, token, "long enough").await.0, 404, "used");
    let body = json!({ "user": "new", "password": "long enough" });
    let signed_in =
        stage.client.post(format!("{}/api/v1/session", stage.url)).json(&body).send().await.unwrap();
    let who: Value = signed_in.json().await.unwrap();
    assert_eq!((&who["admin"], &who["tenants"][0]["name"]), (&json!(false), &json!("a")));
    let row = stage.store.catalog.audit_rows(0, 1_000).await.unwrap();
    let row = row.into_iter().find(|row| row.action == "invitation.accept" && row.outcome == "done").unwrap();
    assert_eq!((row.actor.as_str(), row.details.contains("canary")), ("nobody", false));
    assert!(row.details.contains("\"user\":\"new\"") && !row.details.contains(token), "{}", row.details);
}

#[tokio::test]
async fn a_link_that_is_old_taken_back_or_guessed_opens_nothing() {
    let stage = Stage::new().await;
    let root = Person::new(&stage, "root").await;
    let token = async |user: &str| {
        let (status, made) = root.invite(json!({ "user": user, "ttl": "1h" })).await;
        assert_eq!(status, 201, "{made}");
        (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
    };
    let (id, revoked) = token("one").await;
    assert_eq!(root.call(Method::DELETE, &format!("/{id}"), Value::Null).await.0, 204);
    assert_eq!(root.call(Method::DELETE, &format!("/{id}"), Value::Null).await.0, 404);
    let (_, taken) = token("ann").await;
    assert_eq!(accept(&stage, &taken, "long enough").await.0, 409, "no account is taken over");
    let (_, old) = token("two").await;
    stage.clock.advance(Duration::from_secs(3_600));
    let forged = format!("{}{}", old.split_at(old.len() - 4).0, "AAAA");
    for token in [&revoked, &old, &forged, "", "hgi_000000000000_x", "' OR 1=1", "\0"] {
        let (status, body) = accept(&stage, token, "long enough").await;
        assert_eq!(
            (status, &body["error"]["message"]),
            (404, &json!("there is no such invitation")),
            "{token:?}"
        );
    }
    // Guesses are counted like wrong passwords.
    for _ in 0..3 {
        accept(&stage, &forged, "long enough").await;
    }
    assert_eq!(accept(&stage, &forged, "long enough").await.0, 429);
    assert_eq!(stage.store.catalog.users().await.unwrap().len(), 4);
}

#[tokio::test]
async fn an_operator_invites_to_the_own_tenant_only() {
    let stage = Stage::new().await;
    let operator =
        Grant { user: "ann".to_owned(), extent: Extent::Tenant(tenant("a")), role: Role::Operator };
    stage.store.catalog.grant(&operator).await.unwrap();
    let (root, ann) = (Person::new(&stage, "root").await, Person::new(&stage, "ann").await);
    let bob = Person::new(&stage, "bob").await;
    let workspace = json!([{ "workspace": "w", "role": "viewer" }]);
    let both = json!([{ "tenant": "a", "role": "viewer" }, { "tenant": "b", "role": "viewer" }]);
    for (grants, expected) in [
        (over("a", "operator"), 201),
        (over("b", "viewer"), 404),
        (over("no-such-tenant", "viewer"), 404),
        (over("*", "viewer"), 404),
        (both, 404),
        (workspace.clone(), 403),
        (json!([]), 403),
    ] {
        let (status, body) = ann.invite(json!({ "user": "of-ann", "grants": grants })).await;
        assert_eq!(status, expected, "{grants}: {body}");
    }
    assert_eq!(bob.invite(json!({ "user": "x", "grants": over("a", "viewer") })).await.0, 403, "a viewer");
    assert_eq!(bob.call(Method::GET, "", Value::Null).await.0, 403);
    // They are listed by the time at which they were made.
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(root.invite(json!({ "user": "of-root", "grants": workspace })).await.0, 201);
    assert_eq!(root.listed().await, ["of-ann", "of-root"]);
    assert_eq!(ann.listed().await, ["of-ann"], "no other tenant's are seen");
    let (_, list) = root.call(Method::GET, "", Value::Null).await;
    let of_root = list["invitations"][1]["id"].as_str().unwrap();
    assert_eq!(ann.call(Method::DELETE, &format!("/{of_root}"), Value::Null).await.0, 404);
    // A machine's token invites nobody, whatever its roles.
    let (_, machine) = stage.token("a", &Role::ALL).await;
    let url = format!("{}/api/v1/admin/invitations", stage.url);
    let body = json!({ "user": "x", "grants": over("a", "viewer") });
    let answer = stage.client.post(&url).bearer_auth(&machine).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    for wrong in [
        json!({ "grants": over("a", "viewer") }),
        json!({ "user": "a:b" }),
        json!({ "email": "nobody" }),
        json!({ "user": "x", "ttl": "31d" }),
        json!({ "user": "x", "ttl": "0s" }),
        json!({ "user": "x", "admin": true }),
        json!({ "user": "x", "grants": [{ "role": "viewer" }] }),
        json!({ "user": "x", "grants": [{ "tenant": "a", "role": "admin" }] }),
    ] {
        assert_eq!(root.invite(wrong.clone()).await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn an_invitation_counts_while_its_maker_could_make_it() {
    let stage = Stage::new().await;
    let operator =
        Grant { user: "ann".to_owned(), extent: Extent::Tenant(tenant("a")), role: Role::Operator };
    let catalog = &stage.store.catalog;
    catalog.grant(&operator).await.unwrap();
    let ann = Person::new(&stage, "ann").await;
    let mut links = Vec::new();
    for name in ["one", "two", "three"] {
        let (status, made) = ann.invite(json!({ "user": name, "grants": over("a", "viewer") })).await;
        assert_eq!(status, 201, "{made}");
        links.push(made["token"].as_str().unwrap().to_owned());
    }
    let try_each = async |expected: u16| {
        for link in &links[1..] {
            let (status, body) = accept(&stage, link, "long enough").await;
            assert_eq!(status, expected, "{body}");
        }
    };
    assert_eq!(accept(&stage, &links[0], "long enough").await.0, 201);
    // Locked out …
    catalog.set_disabled("ann", true).await.unwrap();
    try_each(404).await;
    catalog.set_disabled("ann", false).await.unwrap();
    // … or still there, but no operator.
    catalog.revoke_grant(&operator).await.unwrap();
    try_each(404).await;
    assert_eq!(catalog.users().await.unwrap().len(), 5, "one account was made");
    // Refusals are written soon, not at once.
    let mut told = 0;
    for _ in 0..100 {
        let rows = catalog.audit_rows(0, 1_000).await.unwrap();
        let refused = rows.iter().filter(|row| row.action == "invitation.accept" && row.outcome == "refused");
        told = refused.filter(|row| row.details.contains("could not make it now")).count();
        if told == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(told, 4);
    catalog.grant(&operator).await.unwrap();
    try_each(201).await;
    // What a maker could give is asked, not only whether they could give anything.
    let root = Person::new(&stage, "root").await;
    let (_, made) = root.invite(json!({ "user": "four", "grants": over("b", "viewer") })).await;
    catalog.set_disabled("root", true).await.unwrap();
    assert_eq!(accept(&stage, made["token"].as_str().unwrap(), "long enough").await.0, 404);
}
