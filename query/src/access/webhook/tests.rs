//! Callers whom only the platform knows, and a platform that is slow, broken, or lies.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use heliograph_egress::webhook::Keep;
use heliograph_egress::{Bounds, Guard, Target};
use heliograph_store::catalog::Role;
use heliograph_testbed::service::{Asked, Reply, Service as Fake};
use http::{Method, Uri, header};
use serde_json::{Value, json};

use crate::Error;
use crate::access::tests::sign_in;
use crate::access::{Access, Call, Platform};
use crate::config::AuthorizationWebhook;
use crate::metrics::Metrics;
use crate::stage::{PASSWORD, Stage};

fn basic(user: &str, secret: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{secret}")))
}

/// Lets tenants in with the secret of their name.
fn platform(asked: &Asked) -> Reply {
    let good = ["a", "b", "ann", "gone"].iter().find(|name| {
        *asked.headers.get("authorization").unwrap() == basic(name, &format!("secret of {name}"))
    });
    if good.is_some() { Reply::status(200) } else { Reply::status(401) }
}

async fn stage(fake: &Fake, timeout: Duration) -> Stage {
    let webhook = AuthorizationWebhook {
        target: Target {
            url: format!("{}/v1/check", fake.url()).parse().unwrap(),
            bounds: Bounds {
                allow_http: false,
                ca_file: None,
                timeout,
                body_bytes_max: 1 << 16,
                guard: Guard::public_and(&["127.0.0.0/8".parse().unwrap()]),
            },
        },
        keep: Keep { allowed: Duration::from_secs(60), denied: Duration::from_secs(10), answers_max: 100 },
        roles: [Role::Viewer, Role::Writer].into(),
    };
    Stage::with(|config| config.authorization_webhook = Some(webhook)).await
}

async fn stages() -> (Fake, Stage) {
    let fake = Fake::on("127.0.0.1", platform).await;
    let stage = stage(&fake, Duration::from_secs(20)).await;
    (fake, stage)
}

/// The status of an answer, and its body.
async fn ask(stage: &Stage, path: &str, authorization: &str) -> (u16, Value) {
    let request = stage.client.get(format!("{}/api/v1/{path}", stage.url));
    let response = request.header("authorization", authorization).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn a_tenant_that_only_the_platform_knows_reads_its_own_and_nothing_else() {
    let (fake, stage) = stages().await;
    let (status, who) = ask(&stage, "session", &basic("a", "secret of a")).await;
    let own = json!([{ "name": "a", "workspace": "w", "roles": ["viewer", "writer"] }]);
    assert_eq!((status, who), (200, json!({ "user": "platform:a", "admin": false, "tenants": own })));
    let asked = fake.asked();
    let header = |name: &str| asked[0].headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!((asked[0].method.as_str(), asked[0].uri.as_str()), ("GET", "/v1/check"));
    assert_eq!(header("authorization"), basic("a", "secret of a"));
    assert_eq!(
        (header("x-original-method").as_str(), header("x-original-uri").as_str()),
        ("GET", "/api/v1/session")
    );
    assert_eq!(ask(&stage, "search?tenant=a", &basic("a", "secret of a")).await.0, 200);
    let foreign = ask(&stage, "search?tenant=b", &basic("a", "secret of a")).await;
    assert_eq!((foreign.0, foreign.1["error"]["code"].as_str()), (403, Some("forbidden")));
    assert_eq!(ask(&stage, "admin/users", &basic("a", "secret of a")).await.0, 403);
    assert_eq!(fake.asked().len(), 0, "known for a while");
    // What the platform lets in, but we have no tenant for; and what it does not let in.
    for authorization in [basic("gone", "secret of gone"), basic("b", "secret of a"), basic("b", "x")] {
        let (status, body) = ask(&stage, "session", &authorization).await;
        assert_eq!((status, body["error"]["code"].as_str()), (401, Some("unauthenticated")), "{body}");
    }
}

#[tokio::test]
async fn what_is_ours_is_never_asked_about() {
    let (fake, stage) = stages().await;
    let (_, token) = stage.token("a", &[Role::Viewer]).await;
    let cookie = sign_in(&stage, "ann").await;
    for authorization in [
        format!("Bearer {token}"),
        basic("a", &token),
        basic("b", &token),
        basic("ann", PASSWORD),
        format!("Bearer {token}x"),
        "Bearer hg_unknown_secret".to_owned(),
        basic("a", "hg_unknown_secret"),
        // No tenant can have these names, so the platform knows none either.
        basic("Ann", "x"),
        basic("../a", "x"),
        basic("a\r\nX-Original-URI: /", "x"),
        "Digest username=a".to_owned(),
        "Basic".to_owned(),
        "Basic !".to_owned(),
    ] {
        ask(&stage, "session", &authorization).await;
    }
    let request = stage.client.get(format!("{}/api/v1/session", stage.url)).header("cookie", cookie);
    assert_eq!(request.send().await.unwrap().status(), 200);
    let post = stage.client.post(format!("{}/api/v1/session", stage.url));
    let signed_in = post.json(&json!({ "user": "a", "password": "secret of a" })).send().await.unwrap();
    assert_eq!(signed_in.status(), 401, "a session is for people");
    assert_eq!(fake.asked().len(), 0);
}

#[tokio::test]
async fn a_bearer_is_whoever_the_answer_names_with_the_roles_that_it_names() {
    let (fake, stage) = stages().await;
    let answer = |headers: &[(&'static str, &str)]| {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        fake.answer(move |_| Reply::Is(200, headers.clone(), String::new()));
    };
    answer(&[("x-heliograph-tenant", "b"), ("x-heliograph-roles", "viewer")]);
    let (_, who) = ask(&stage, "session", "Bearer eyJ.eyJ.sig").await;
    assert_eq!(who["tenants"], json!([{ "name": "b", "workspace": "w", "roles": ["viewer"] }]));
    // More than the configuration gives is not given, whatever the answer says.
    answer(&[("x-heliograph-tenant", "b"), ("x-heliograph-roles", "admin,operator,root,*")]);
    let (status, who) = ask(&stage, "session", "Bearer other").await;
    assert_eq!((status, &who["tenants"], &who["admin"]), (200, &json!([]), &json!(false)));
    for lie in [&[][..], &[("x-heliograph-tenant", "*")], &[("x-heliograph-tenant", "a,b")]] {
        answer(lie);
        let (status, body) = ask(&stage, "session", "Bearer third").await;
        assert_eq!((status, body["error"]["code"].as_str()), (503, Some("unavailable")), "{lie:?}");
    }
    answer(&[("x-heliograph-tenant", "b")]);
    assert_eq!(ask(&stage, "session", &basic("a", "secret")).await.0, 503, "another than it names itself");
}

#[tokio::test]
async fn a_platform_that_fails_lets_nobody_in_and_is_counted() {
    let fake = Fake::on("127.0.0.1", platform).await;
    let stage = stage(&fake, Duration::from_millis(300)).await;
    let elsewhere = Fake::on("127.0.0.1", |_| Reply::status(200)).await;
    let there = elsewhere.url();
    let late = Reply::Late(Duration::from_secs(600), Box::new(Reply::status(200)));
    for (reply, outcome) in [
        (Reply::status(500), "webhook_status"),
        (Reply::status(404), "webhook_status"),
        (Reply::Is(302, vec![("location", there)], String::new()), "webhook_redirect"),
        (Reply::Endless, "webhook_too_large"),
        (Reply::Stalls, "webhook_timeout"),
        (late, "webhook_timeout"),
        (Reply::HangsUp, "webhook_unreachable"),
    ] {
        fake.answer(move |_| reply.clone());
        let before = answers(&stage, outcome);
        let (status, body) = ask(&stage, "session", &basic("a", "secret of a")).await;
        assert_eq!((status, body["error"]["code"].as_str()), (503, Some("unavailable")), "{outcome}: {body}");
        assert_eq!(answers(&stage, outcome), before + 1.0, "{outcome}");
    }
    assert_eq!(elsewhere.asked().len(), 0);
    // People sign in all the same, and it was nobody's wrong guess.
    assert_eq!(ask(&stage, "session", &basic("ann", PASSWORD)).await.0, 200);
    fake.answer(platform);
    assert_eq!(ask(&stage, "session", &basic("a", "secret of a")).await.0, 200);
}

fn answers(stage: &Stage, outcome: &str) -> f64 {
    let families = stage.registry.gather();
    let family = families.iter().find(|f| f.name() == "heliograph_query_webhook_answers_total");
    let is_it = |m: &&prometheus::proto::Metric| m.get_label().iter().any(|label| label.value() == outcome);
    family.and_then(|f| f.get_metric().iter().find(is_it)).map_or(0.0, |m| m.get_counter().get_value())
}

/// A user's name, a tenant's and nobody's are refused alike, ask the platform alike, and are throttled alike.
#[tokio::test]
async fn a_refusal_does_not_tell_who_is_known() {
    let (fake, stage) = stages().await;
    let mut bodies = Vec::new();
    for name in ["ann", "a", "no-such"] {
        let (status, mut body) = ask(&stage, "session", &basic(name, "wrong")).await;
        body["error"]["request_id"].take();
        bodies.push((status, body, fake.asked().len()));
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(bodies[0].2, 1);
    let mut statuses = Vec::new();
    for n in 0..10 {
        statuses.push(ask(&stage, "session", &format!("Bearer {n}")).await.0);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 401, 401, 429, 429, 429]);
    assert_eq!(fake.asked().len(), 7);
}

#[tokio::test]
async fn a_user_of_a_tenants_name_stays_a_user() {
    let (fake, stage) = stages().await;
    // The platform would let in somebody by the name of our user; that is a tenant then, and there is none.
    assert_eq!(ask(&stage, "session", &basic("ann", "secret of ann")).await.0, 401);
    assert_eq!(fake.asked().len(), 1);
    let (_, who) = ask(&stage, "session", &basic("ann", PASSWORD)).await;
    assert_eq!(who["user"], "ann");
}

/// What goes on, as a tail does, is asked about anew; and its credential stands nowhere.
#[tokio::test]
async fn what_goes_on_ends_when_the_platform_says_no_or_nothing() {
    let (fake, stage) = stages().await;
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let webhook = stage.config.authorization_webhook.clone().unwrap();
    let platform = Arc::new(Platform::open(webhook, metrics.clone()).await.unwrap());
    let (catalog, clock) = (Arc::clone(&stage.store.catalog), Arc::new(stage.clock.clone()));
    let access = Access::new(&stage.config, catalog, clock, metrics, Some(platform)).unwrap();
    let authorization = basic("a", "secret of a");
    let headers = [(header::AUTHORIZATION, authorization.parse().unwrap())].into_iter().collect();
    let (method, uri) = (Method::GET, Uri::from_static("/api/v1/tail?tenant=a"));
    let from = std::net::Ipv4Addr::LOCALHOST.into();
    let call = Call { headers: &headers, from, vouched: None, method: &method, uri: &uri };
    let caller = access.authenticate(call).await.unwrap();
    let shown = format!("{caller:?}");
    assert!(!shown.contains(&authorization) && !shown.contains("secret"), "{shown}");
    let later = async || {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(60)).await;
        tokio::time::resume();
    };
    access.again(&caller).await.unwrap();
    later().await;
    access.again(&caller).await.unwrap();
    assert_eq!(fake.asked().len(), 2, "when the first answer was old");
    for reply in [Reply::status(401), Reply::status(500), Reply::HangsUp] {
        later().await;
        fake.answer(move |_| reply.clone());
        assert!(matches!(access.again(&caller).await, Err(Error::Unauthenticated)));
    }
    later().await;
    fake.answer(platform_of_all);
    assert!(access.again(&caller).await.is_ok(), "the same credential is good again");
}

fn platform_of_all(_: &Asked) -> Reply {
    Reply::status(200)
}
