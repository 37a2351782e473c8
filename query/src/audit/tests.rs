//! What is recorded of real calls, what is not answered, and what that costs.

use std::sync::Arc;
use std::time::Duration;

use heliograph_model::time::Clock;
use heliograph_store::audit::{Log, Told};
use heliograph_store::catalog::Role;
use http::StatusCode;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::access::tests::sign_in;
use crate::stage::{PASSWORD, Stage, record, tenant};

/// The rows that there are when the queue is empty.
async fn rows(stage: &Stage) -> Vec<Told> {
    loop {
        let waiting =
            stage.registry.gather().into_iter().find(|of| of.name() == "heliograph_query_audit_queue");
        if waiting.is_none_or(|of| of.get_metric()[0].get_gauge().get_value() == 0.0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Log::of(&stage.store).rows(0, 10_000).await.unwrap()
}

fn metric(stage: &Stage, name: &str) -> f64 {
    let of = stage.registry.gather().into_iter().filter(|of| of.name() == name);
    of.map(|of| of.get_metric()[0].get_counter().get_value()).sum()
}

/// Does to the catalog what only somebody else, or a disk, would do.
async fn tamper(stage: &Stage, sql: &'static str) {
    let url = format!("sqlite:{}", stage.catalog_file().display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn short(told: &Told) -> (&str, &str, Option<&str>, &str) {
    let row = &told.row;
    (&row.actor, &row.action, row.tenant.as_deref(), &row.outcome)
}

#[tokio::test]
async fn a_read_is_a_row_for_each_tenant_and_names_no_other() {
    let stage = Stage::new().await;
    let bob = sign_in(&stage, "bob").await;
    let url = format!("{}/api/v1/search?q=dag_id:x&start=now-1h&tenant=a&tenant=b", stage.url);
    assert_eq!(stage.client.get(&url).header("cookie", &bob).send().await.unwrap().status(), 200);
    let (id, token) = stage.token("a", &[Role::Viewer]).await;
    assert_eq!(stage.get(&token, "/api/v1/fields?tenant=b&password=hunter2").await.0, StatusCode::FORBIDDEN);
    // What GET answers, HEAD asks for, too.
    let head =
        stage.client.head(format!("{}/api/v1/export", stage.url)).bearer_auth(&token).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(stage.get(&token, "/api/v1/session").await.0, StatusCode::OK);
    assert_eq!(stage.get(&token, "/api/v1/nothing").await.0, StatusCode::NOT_FOUND);
    let rows = rows(&stage).await;
    let token = format!("token:{id}");
    assert_eq!(
        rows.iter().map(short).collect::<Vec<_>>(),
        [
            ("user:bob", "session.create", None, "done"),
            ("user:bob", "search", Some("a"), "done"),
            ("user:bob", "search", Some("b"), "done"),
            (&token, "fields", None, "refused"),
            (&token, "export", Some("a"), "done"),
        ]
    );
    assert_eq!(rows[1].details(), json!({ "q": "dag_id:x", "start": "now-1h" }));
    assert_eq!(rows[1].details(), rows[2].details());
    // The text of a question lies there sealed, each with a key of its own.
    assert!(!rows[1].row.details.contains("dag_id") && rows[1].row.details != rows[2].row.details);
    assert_eq!(
        rows[3].details(),
        json!({ "tenant": ["b"], "status": 403 }),
        "and nothing that is no parameter"
    );
    assert_eq!(rows[1].row.source, "127.0.0.1");
    assert!(Log::of(&stage.store).verify(None).await.unwrap().is_whole());
}

#[tokio::test]
async fn a_change_is_on_disk_before_its_answer_and_holds_no_secret() {
    let stage = Stage::new().await;
    let root = sign_in(&stage, "root").await;
    let send = async |method: &str, path: &str, body: Value| {
        let method = http::Method::from_bytes(method.as_bytes()).unwrap();
        let request = stage.client.request(method, format!("{}/api/v1/{path}", stage.url)).json(&body);
        let answer = request.header("cookie", &root).header("origin", &stage.url).send().await.unwrap();
        let text = answer.text().await.unwrap();
        // The row is there now, not soon.
        let last = Log::of(&stage.store).rows(0, 1_000).await.unwrap().pop().unwrap();
        (last, serde_json::from_str::<Value>(&text).unwrap_or_default())
    };
    let check = |(row, _): &(Told, Value), action: &str, tenant: Option<&str>, expected: Value| {
        assert_eq!(short(row), ("user:root", action, tenant, "done"));
        assert_eq!(row.details(), expected);
    };
    let made = send("POST", "admin/tenants", json!({ "name": "new" })).await;
    check(&made, "tenant.create", Some("new"), json!({ "tenant": "new", "workspace": "default" }));
    let made = send("POST", "admin/users", json!({ "name": "eve", "password": "canary-password" })).await;
    check(&made, "user.create", None, json!({ "user": "eve", "admin": false }));
    let made = send("PUT", "admin/users/eve/password", json!({ "password": "canary-password" })).await;
    check(&made, "user.password", None, json!({ "user": "eve" }));
    let made =
        send("POST", "admin/grants", json!({ "user": "eve", "workspace": "w", "role": "operator" })).await;
    check(&made, "grant.give", Some("b"), json!({ "user": "eve", "workspace": "w", "role": "operator" }));
    let grant = json!({ "user": "eve", "tenant": "a", "role": "viewer" });
    send("POST", "admin/grants", grant.clone()).await;
    let gone = send("DELETE", "admin/grants", grant).await;
    check(&gone, "grant.take", Some("a"), json!({ "user": "eve", "role": "viewer" }));
    let made = send("POST", "admin/tokens", json!({ "tenant": "a", "roles": ["viewer"], "ttl": "1d" })).await;
    let (id, secret) = (made.1["id"].clone(), made.1["token"].as_str().unwrap().to_owned());
    check(&made, "token.create", Some("a"), json!({ "roles": ["viewer"], "ttl": "1d", "token": id }));
    let gone = send("DELETE", &format!("admin/tokens/{}", id.as_str().unwrap()), Value::Null).await;
    check(&gone, "token.revoke", Some("a"), json!({ "token": id }));
    let asked = send("POST", "admin/erasures", json!({ "tenant": "a", "query": "canary-person" })).await;
    check(&asked, "erasure.request", Some("a"), json!({ "erasure": asked.1["id"], "everything": false }));
    let all = rows(&stage).await;
    for row in &all {
        for secret in [&secret, "canary-password", "canary-person", PASSWORD, root.split('=').nth(1).unwrap()]
        {
            assert!(!format!("{row:?}").contains(secret), "{row:?}");
        }
    }
    assert_eq!(
        all.iter().filter(|told| told.row.action == "grant.give").count(),
        3,
        "of a workspace: one for each tenant"
    );
}

#[tokio::test]
async fn refused_credentials_are_recorded_but_not_without_end() {
    let stage = Stage::new().await;
    let sign_in = |user: &str, password: &str| {
        let body = json!({ "user": user, "password": password });
        stage.client.post(format!("{}/api/v1/session", stage.url)).json(&body).send()
    };
    assert_eq!(sign_in("ann", "canary-wrong").await.unwrap().status(), 401);
    assert_eq!(stage.get("hg_0123456789ab_canary", "/api/v1/search").await.0, StatusCode::UNAUTHORIZED);
    let none = stage.client.get(format!("{}/api/v1/search", stage.url)).send().await.unwrap();
    assert_eq!(none.status(), 401);
    for _ in 0..30 {
        assert_eq!(stage.get("hg_0123456789ab_canary", "/api/v1/search").await.0, StatusCode::UNAUTHORIZED);
    }
    let found = rows(&stage).await;
    assert_eq!(found.len(), 10, "of one address in a minute");
    assert!(found.iter().all(|row| short(row) == ("nobody", "session.refused", None, "refused")));
    assert_eq!(found[0].details(), json!({ "user": "ann", "status": 401 }));
    assert_eq!(found[1].details(), json!({ "path": "/api/v1/search", "by": "authorization" }));
    assert!(!format!("{found:?}").contains("canary"));
    assert_eq!(metric(&stage, "heliograph_query_audit_refusals_left_out_total"), 22.0);
    // Who is signed in is not kept from being recorded.
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    assert_eq!(stage.get(&token, "/api/v1/search").await.0, StatusCode::OK);
    assert_eq!(rows(&stage).await.len(), 11);
}

#[tokio::test]
async fn while_nothing_can_be_recorded_nothing_is_changed_and_reads_wait_for_it() {
    let stage = Stage::new().await;
    stage.indexer.commit(&tenant("a"), &[record(1, 1, 1, "canary of a")]).await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let root = sign_in(&stage, "root").await;
    let change = async || {
        let request = stage.client.post(format!("{}/api/v1/admin/tenants", stage.url));
        let request = request.header("cookie", &root).header("origin", &stage.url);
        let answer = request.json(&json!({ "name": "new" })).send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    // As a full or damaged disk does: nothing can be put in.
    tamper(&stage, "CREATE TRIGGER no_rows BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END")
        .await;
    assert_eq!(stage.messages(&token, "/api/v1/search").await, ["canary of a"]);
    // Once the writer knows.
    while metric(&stage, "heliograph_query_audit_failures_total") == 0.0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        stage.messages(&token, "/api/v1/search?q=canary").await,
        ["canary of a"],
        "who looks can look"
    );
    let (status, refused) = change().await;
    assert_eq!((status, &refused["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unrecorded")));
    assert_eq!(stage.store.catalog.tenants().await.unwrap().len(), 2, "it was not made");
    tamper(&stage, "DROP TRIGGER no_rows").await;
    let kept = rows(&stage).await;
    let told: Vec<_> = kept.iter().map(short).map(|(_, action, tenant, _)| (action, tenant)).collect();
    assert_eq!(told, [("session.create", None), ("search", Some("a")), ("search", Some("a"))]);
    assert_eq!(change().await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn what_has_no_room_to_wait_is_not_answered() {
    let stage = Stage::new().await;
    let metrics = crate::metrics::Metrics::new(&prometheus::Registry::new()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(stage.clock.clone());
    let (recorder, _nobody_writes) = super::recorder(Log::of(&stage.store), None, clock, metrics);
    let mut slots = Vec::new();
    for _ in 0..super::QUEUE_EVENTS {
        slots.push(recorder.slot().await.unwrap());
    }
    assert!(matches!(recorder.slot().await, Err(crate::Error::Unrecorded)));
    slots.pop().unwrap().leave();
    assert!(recorder.slot().await.is_ok());
}

#[tokio::test]
async fn an_operator_reads_the_rows_of_the_own_tenants_alone() {
    let stage = Stage::new().await;
    let root = sign_in(&stage, "root").await;
    let (_, a) = stage.token("a", &[Role::Viewer, Role::Operator]).await;
    let (_, b) = stage.token("b", &[Role::Viewer, Role::Operator]).await;
    for n in 0..3 {
        assert_eq!(stage.get(&a, &format!("/api/v1/search?q=canary{n}")).await.0, StatusCode::OK);
        stage.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(stage.get(&b, "/api/v1/search?q=other").await.0, StatusCode::OK);
    rows(&stage).await;
    let (status, seen) = stage.get(&a, "/api/v1/admin/audit?action=search").await;
    assert_eq!(status, StatusCode::OK);
    let queries: Vec<_> = seen["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["details"]["q"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(queries, ["canary2", "canary1", "canary0"]);
    let first = seen["events"][0].as_object().unwrap();
    assert!(!first.contains_key("seq") && !first.contains_key("hash"), "{first:?}");
    assert!(!stage.get(&b, "/api/v1/admin/audit").await.1.to_string().contains("canary"));
    assert_eq!(stage.get(&b, "/api/v1/admin/audit?tenant=a").await.0, StatusCode::NOT_FOUND);
    // Page by page, and a page of one's own.
    let (_, page) = stage.get(&a, "/api/v1/admin/audit?action=search&limit=2").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = format!("/api/v1/admin/audit?action=search&limit=2&cursor={cursor}");
    let (_, rest) = stage.get(&a, &next).await;
    assert_eq!(
        (rest["events"][0]["details"]["q"].as_str(), &rest["next_cursor"]),
        (Some("canary0"), &Value::Null)
    );
    assert_eq!(stage.get(&b, &next).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(stage.get(&a, "/api/v1/admin/audit?action=nothing").await.0, StatusCode::BAD_REQUEST);
    let (_, ranged) = stage
        .get(&a, "/api/v1/admin/audit?action=search&start=2026-11-24T10:00:01Z&end=2026-11-24T10:00:02Z")
        .await;
    assert_eq!(ranged["events"].as_array().unwrap().len(), 1);
    rows(&stage).await;
    let all = stage.client.get(format!("{}/api/v1/admin/audit", stage.url)).header("cookie", &root);
    let all: Value = all.send().await.unwrap().json().await.unwrap();
    let actions: Vec<_> =
        all["events"].as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert!(actions.contains(&"session.create") && actions.contains(&"audit.read"), "{actions:?}");
    assert!(all["events"][0]["seq"].is_u64() && all["events"][0]["hash"].is_string());
    // A new tenant of an old name has not the old one's rows.
    let new = heliograph_store::catalog::NewTenantErasure {
        id: uuid::Uuid::new_v4(),
        tenant: tenant("a"),
        by: "a test".to_owned(),
        at: stage.store.catalog.tenants().await.unwrap()[0].created,
    };
    stage.store.catalog.erase_tenant(&new).await.unwrap();
    stage.store.catalog.finish_erasure(new.id, new.at).await.unwrap();
    let workspace = heliograph_model::tenant::Workspace::parse("w").unwrap();
    stage.store.tenants.create(&tenant("a"), &workspace).await.unwrap();
    let (_, again) = stage.token("a", &[Role::Operator]).await;
    let (status, seen) = stage.get(&again, "/api/v1/admin/audit").await;
    assert_eq!((status, seen["events"].as_array().map(Vec::len)), (StatusCode::OK, Some(0)), "{seen}");
}

#[tokio::test]
async fn an_export_has_all_rows_of_the_own_tenants_and_actors_can_be_asked_for() {
    use heliograph_store::audit::{Action, Actor, Details, Event, Outcome, Subject};
    let stage = Stage::new().await;
    let (id, a) = stage.token("a", &[Role::Operator]).await;
    let (_, b) = stage.token("b", &[Role::Operator]).await;
    let uid = stage.store.catalog.tenant(&tenant("a")).await.unwrap().unwrap().uid;
    let now = Clock::now(&stage.clock);
    let event = |n: i64| Event {
        at: now.saturating_add_nanos(-n - 1),
        actor: Actor::User(if n % 3 == 0 { "ann" } else { "bob" }.to_owned()),
        action: Action::Search,
        subject: Subject::Tenant { name: tenant("a"), uid },
        from: None,
        outcome: Outcome::Done,
        details: Details::new([("q".to_owned(), format!("canary {n}").into())].into_iter().collect()),
    };
    // More than two pages.
    let events: Vec<_> = (0..2_500).map(event).collect();
    Log::of(&stage.store).append(&events).await.unwrap();
    let export = async |token: &str, query: &str| {
        let url = format!("{}/api/v1/admin/audit/export?{query}", stage.url);
        let answer = stage.client.get(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
        assert!(answer.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
        let text = answer.text().await.unwrap();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let all = export(&a, "action=search").await;
    let queries: Vec<_> = all.iter().map(|event| event["details"]["q"].as_str().unwrap()).collect();
    assert_eq!(queries, (0..2_500).map(|n| format!("canary {n}")).collect::<Vec<_>>());
    assert!(all.iter().all(|event| event.get("seq").is_none()));
    assert_eq!(export(&a, "actor=user:ann").await.len(), 834);
    assert_eq!(export(&a, "actor=user:an").await, [Value::Null; 0]);
    assert!(export(&b, "").await.iter().all(|event| event["tenant"] == "b"));
    let (_, page) = stage.get(&a, "/api/v1/admin/audit?actor=user:ann&limit=2").await;
    assert_eq!(page["events"][1]["details"]["q"], "canary 3");
    let cursor = page["next_cursor"].as_str().unwrap();
    let other = format!("/api/v1/admin/audit?actor=user:bob&limit=2&cursor={cursor}");
    assert_eq!(stage.get(&a, &other).await.0, StatusCode::BAD_REQUEST, "another question's cursor");
    let (status, _) = stage.get(&a, "/api/v1/admin/audit?actor=user:%00").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    // That it was read is recorded, with what was asked.
    let read = rows(&stage).await.into_iter().rfind(|row| row.row.details.contains("user:an\"")).unwrap();
    assert_eq!(short(&read), (format!("token:{id}").as_str(), "audit.read", Some("a"), "done"));
    assert_eq!(read.details(), json!({ "path": "/api/v1/admin/audit/export", "actor": "user:an" }));
}
