//! The way there and back: what is bound to what, and what is good once.

use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use heliograph_model::time::Clock;
use heliograph_serve::{Bounds, Port, TlsFiles, TlsMetrics};
use heliograph_testbed::authority::Authority;
use heliograph_testbed::idp::{Algorithm, Keys};
use http::StatusCode;
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{EXPIRED, IN, REFUSED, World, an_idp, provider};
use crate::Tls;
use crate::access::provider::Providers;
use crate::stage::{Stage, TestClock};

/// The value of a parameter of an address.
pub(super) fn parameter(place: &str, name: &str) -> Option<String> {
    let url = Url::parse("https://h").unwrap().join(place).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[tokio::test]
async fn a_whole_sign_in_with_each_kind_of_key() {
    let world = World::new().await;
    let (status, _, listed) = world.browser().get("/api/v1/auth/providers").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(listed, json!({ "providers": [{ "name": "idp", "display_name": "Our provider" }] }));
    for (n, algorithm) in [Algorithm::Rsa, Algorithm::Ec, Algorithm::Ed].into_iter().enumerate() {
        world.idp.state().algorithm = algorithm;
        let email = format!("p{n}@example.com");
        world.visitor(
            json!({ "sub": n.to_string(), "email": email, "email_verified": true, "groups": "readers" }),
        );
        let mut browser = world.browser();
        let place = browser.begin("idp").await;
        for (name, expected) in [
            ("response_type", "code"),
            ("client_id", "heliograph"),
            ("scope", "openid email"),
            ("code_challenge_method", "S256"),
            ("redirect_uri", "https://logs.example.com/api/v1/auth/idp/callback"),
        ] {
            assert_eq!(parameter(&place, name).as_deref(), Some(expected), "{place}");
        }
        assert!(!place.contains("canary"), "{place}");
        let back = browser.at_provider(&place).await;
        assert_eq!(browser.come_back(&back).await, IN, "{algorithm:?}");
        assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["heliograph"], "the other one is taken back");
        let who = browser.who().await.unwrap();
        assert_eq!((&who["user"], &who["admin"]), (&json!(email), &json!(false)));
        assert_eq!(who["tenants"], json!([{ "name": "a", "workspace": "w", "roles": ["viewer"] }]));
    }
    let (actor, action, outcome, details) = world.last_row().await;
    assert_eq!((&*actor, &*action, &*outcome), ("user:p2@example.com", "session.create", "done"));
    assert_eq!((&details["provider"], &details["subject"]), (&json!("idp"), &json!("2")));
    assert_eq!(details["roles_by_groups"], json!(["viewer of tenant a"]));
    assert_eq!((&details["account_made"], &details["admin_by_groups"]), (&json!(true), &json!(false)));
    assert!(!details.to_string().contains("code"), "{details}");
}

#[tokio::test]
async fn a_state_is_good_once() {
    let world = World::new().await;
    world.visitor(json!({ "sub": "1", "groups": "readers" }));
    let mut browser = world.browser();
    let place = browser.begin("idp").await;
    let back = browser.at_provider(&place).await;
    let before = browser.clone();
    assert_eq!(browser.come_back(&back).await, IN);
    assert_eq!(browser.come_back(&back).await, EXPIRED, "the cookie is gone");
    let asked = world.idp.state().tokens_asked;
    let mut replayed = before;
    assert_eq!(replayed.come_back(&back).await, EXPIRED, "and would not help");
    assert!(replayed.who().await.is_none());
    assert_eq!(world.idp.state().tokens_asked, asked, "the provider is not asked");
    let (actor, action, outcome, details) = world.last_row().await;
    assert_eq!((&*actor, &*action, &*outcome), ("nobody", "session.refused", "refused"));
    assert_eq!(
        details,
        json!({ "provider": "idp", "reason": "expired", "why": "the state was used before" })
    );
}

#[tokio::test]
async fn login_csrf_leads_nobody_into_anothers_account() {
    let world = World::new().await;
    world.visitor(json!({ "sub": "mallory", "groups": "readers" }));
    let mut mallory = world.browser();
    let place = mallory.begin("idp").await;
    let back = mallory.at_provider(&place).await;
    // The victim has begun nothing, or something else.
    let mut victim = world.browser();
    assert_eq!(victim.come_back(&back).await, EXPIRED);
    victim.begin("idp").await;
    assert_eq!(victim.come_back(&back).await, EXPIRED);
    let state = parameter(&back, "state").unwrap();
    for broken in [
        back.replace(&state, ""),
        back.replace(&state, state.split_at(1).1),
        back.replace("state=", "stat="),
        format!("{}&state=x", back.replace("state=", "x=")),
    ] {
        assert_eq!(victim.come_back(&broken).await, EXPIRED, "{broken}");
    }
    assert_eq!(victim.get(&format!("{back}&state=x")).await.0, StatusCode::BAD_REQUEST, "two states");
    assert!(victim.who().await.is_none());
    // A cookie of somebody's making does not open.
    let (name, value) = victim.cookies.pop_first().unwrap();
    assert_eq!(name, "heliograph-sign-in");
    for forged in ["x".to_owned(), value.chars().rev().collect(), format!("{value}A")] {
        victim.cookies.insert(name.clone(), forged);
        assert_eq!(victim.come_back(&back).await, EXPIRED);
    }
    assert_eq!(mallory.come_back(&back).await, IN, "all that time it was good for whoever began");
}

#[tokio::test]
async fn an_injected_code_is_refused() {
    let world = World::new().await;
    world.visitor(json!({ "sub": "victim", "groups": "roots" }));
    let mut victim = world.browser();
    let place = victim.begin("idp").await;
    let stolen = parameter(&victim.at_provider(&place).await, "code").unwrap();
    world.visitor(json!({ "sub": "mallory", "groups": "readers" }));
    let mut mallory = world.browser();
    let place = mallory.begin("idp").await;
    let back = mallory.at_provider(&place).await;
    let own = parameter(&back, "code").unwrap();
    // The provider holds the code against the verifier of this browser.
    assert_eq!(mallory.come_back(&back.replace(&own, &stolen)).await, REFUSED);
    assert!(mallory.who().await.is_none());
    // Where a provider does not, the nonce of the token is the other browser's.
    world.idp.state().forge = Some(Box::new(|keys: &Keys, claims: &Value| {
        let mut claims = claims.clone();
        claims["sub"] = json!("victim");
        claims["nonce"] = json!("of-the-victim");
        keys.sign(Algorithm::Rsa, &keys.head(Algorithm::Rsa), &claims.to_string())
    }));
    assert_eq!(world.browser().sign_in("idp").await, REFUSED);
}

#[tokio::test]
async fn a_mix_up_of_providers_is_refused() {
    let later = Arc::default();
    let other = an_idp(&later).await;
    let other_url = other.url.clone();
    let world = World::with(|providers| {
        let mut second = provider(&other_url);
        second.name = "other".to_owned();
        providers.push(second);
    })
    .await;
    for idp in [&world.idp, &other] {
        idp.state().visitor = json!({ "sub": "1", "groups": "readers" });
        let name = idp.url.clone();
        idp.state().names_itself = Some(name);
    }
    let mut browser = world.browser();
    assert_eq!(browser.sign_in("idp").await, IN);
    let name_of = async |world: &World| world.browser().sign_in("other").await;
    assert_eq!(name_of(&world).await, IN);
    assert_eq!(world.users().await.iter().filter(|name| name.contains('/')).count(), 2, "two identities");

    // Begun with one, sent back to the other's address.
    let place = browser.begin("idp").await;
    let back = browser.at_provider(&place).await;
    assert_eq!(browser.come_back(&back.replace("/idp/", "/other/")).await, EXPIRED);
    // Sent back by one that names another, or does not name itself though it says so.
    for name in [Some(other.url.as_str()), Some(""), None] {
        let place = browser.begin("idp").await;
        let back = browser.at_provider(&place).await;
        let (head, _) = back.split_once("&iss=").unwrap();
        let asked = world.idp.state().tokens_asked;
        let named = name.map(|name| format!("&iss={name}")).unwrap_or_default();
        assert_eq!(browser.come_back(&format!("{head}{named}")).await, REFUSED, "{name:?}");
        assert_eq!(world.idp.state().tokens_asked, asked, "the code goes nowhere");
    }
}

#[tokio::test]
async fn two_issuers_with_the_same_names_of_keys_are_two() {
    let later = Arc::default();
    let other = an_idp(&later).await;
    let world = World::new().await;
    world.visitor(json!({ "sub": "1", "groups": "roots" }));
    // Signed by a key of the same name, by somebody who is trusted elsewhere.
    let foreign = other.state().keys.prefix.clone();
    assert_eq!(foreign, world.idp.state().keys.prefix);
    for algorithm in [Algorithm::Rsa, Algorithm::Ec, Algorithm::Ed] {
        let others = Keys::new(&foreign);
        world.idp.state().forge = Some(Box::new(move |_: &Keys, claims: &Value| {
            others.sign(algorithm, &others.head(algorithm), &claims.to_string())
        }));
        world.sign_in(REFUSED).await;
    }
}

#[tokio::test]
async fn an_open_redirect_is_refused_before_anything_begins() {
    let world = World::new().await;
    for foreign in
        ["//evil.example", "/%5Cevil.example", "https://evil.example", "%2F%2Fevil.example", "/%09/evil"]
    {
        let mut browser = world.browser();
        let (status, place, _) = browser.get(&format!("/api/v1/auth/idp/login?return_to={foreign}")).await;
        assert_eq!((status, place.as_str()), (StatusCode::BAD_REQUEST, ""), "{foreign}");
        assert!(browser.cookies.is_empty());
    }
    let unknown = world.browser().get("/api/v1/auth/idp/login?next=/").await;
    assert_eq!(unknown.0, StatusCode::BAD_REQUEST, "and an unknown parameter");
    // Where a provider sends back to is configured: the request's own words do not count.
    let client =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let login = client.get(format!("{}/api/v1/auth/idp/login", world.stage.url));
    let answer =
        login.header("host", "evil.example").header("x-forwarded-host", "evil.example").send().await.unwrap();
    let place = answer.headers()["location"].to_str().unwrap();
    assert!(parameter(place, "redirect_uri").unwrap().starts_with("https://logs.example.com/"), "{place}");
}

#[tokio::test]
async fn a_sign_in_ends_after_ten_minutes_and_at_the_providers_no() {
    let world = World::new().await;
    world.visitor(json!({ "sub": "1", "groups": "readers" }));
    let mut browser = world.browser();
    let place = browser.begin("idp").await;
    let back = browser.at_provider(&place).await;
    world.advance(600);
    assert_eq!(browser.come_back(&back).await, EXPIRED);
    for (error, expected) in [("access_denied", "/?sign_in=cancelled"), ("server_error", REFUSED)] {
        let place = browser.begin("idp").await;
        let back = browser.at_provider(&place).await;
        let (_, rest) = back.split_once("&state=").unwrap();
        let path = format!("/api/v1/auth/idp/callback?error={error}&error_description=x&state={rest}");
        assert_eq!(browser.come_back(&path).await, expected);
    }
    let place = browser.begin("idp").await;
    let back = browser.at_provider(&place).await;
    let (_, rest) = back.split_once("&state=").unwrap();
    assert_eq!(
        browser.come_back(&format!("/api/v1/auth/idp/callback?state={rest}")).await,
        REFUSED,
        "no code"
    );
}

#[tokio::test]
async fn a_new_key_is_asked_for_and_unknown_ones_not_without_end() {
    let world = World::new().await;
    world.visitor(json!({ "sub": "1", "groups": "readers" }));
    world.sign_in(IN).await;
    assert_eq!(world.idp.state().keys_asked, 1);
    world.idp.state().keys = Keys::new("next");
    world.sign_in(REFUSED).await;
    assert_eq!(world.idp.state().keys_asked, 1, "they were asked for this minute");
    world.advance(61);
    world.sign_in(IN).await;
    assert_eq!(world.idp.state().keys_asked, 2);
    world.idp.state().forge = Some(Box::new(|_: &Keys, claims: &Value| {
        let unknown = Keys::new("unknown");
        unknown.sign(Algorithm::Ec, &unknown.head(Algorithm::Ec), &claims.to_string())
    }));
    world.advance(61);
    for _ in 0..3 {
        world.sign_in(REFUSED).await;
    }
    assert_eq!(world.idp.state().keys_asked, 3);
}

#[tokio::test]
async fn what_a_provider_says_of_itself_reaches_no_inner_service() {
    let inner = [
        json!({ "token_endpoint": "https://169.254.169.254/latest" }),
        json!({ "token_endpoint": "http://10.0.0.1/token" }),
        json!({ "jwks_uri": "https://169.254.169.254/jwks" }),
        json!({ "jwks_uri": "file:///etc/passwd" }),
        json!({ "authorization_endpoint": "javascript:alert(1)" }),
        json!({ "authorization_endpoint": "http://evil.example/authorize" }),
        json!({ "issuer": "https://evil.example" }),
    ];
    for said in inner {
        let world = World::new().await;
        world.visitor(json!({ "sub": "1", "groups": "readers" }));
        world.idp.state().discovery = said.clone();
        let mut browser = world.browser();
        let begun = tokio::time::timeout(Duration::from_secs(3), browser.sign_in("idp")).await;
        assert_eq!(begun.expect("nothing is waited for"), REFUSED, "{said}");
    }
    // And an issuer on loopback is no setting of a real provider.
    let later = Arc::default();
    let idp = an_idp(&later).await;
    let mut strict = provider(&idp.url);
    strict.allow_loopback = false;
    let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
    assert!(Providers::open(&[strict], &Tls::default(), &[], &clock).await.is_err());
}

#[tokio::test]
async fn a_changed_authority_is_trusted_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (Authority::new("before"), Authority::new("after"));
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, before.pem()).unwrap();
    let (cert_file, key_file) = after.issue("idp", &["127.0.0.1"]).put(folder.path(), "idp");
    let files = TlsFiles { cert_file, key_file, clients: None };
    let tls = heliograph_serve::Tls::open(files, "idp", &TlsMetrics::new(&Registry::new()).unwrap()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let said = json!({
        "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "jwks_uri": format!("{url}/jwks"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    });
    let routes = Router::new()
        .route("/.well-known/openid-configuration", get(move || async move { Json(said) }))
        .route("/jwks", get(|| async { Json(json!({ "keys": [] })) }));
    let bounds = Bounds { connections_max: 8, drain_max: Duration::ZERO, connections: None };
    let stop = CancellationToken::new();
    let mut serving = JoinSet::new();
    let port = Port::encrypted(listener, tls.unwrap());
    serving.spawn(heliograph_serve::serve(port, routes, bounds, stop.clone()));

    let later = Arc::default();
    let stage = Stage::with(|config| {
        config.providers = vec![provider(&url)];
        config.tls.ca_file = Some(ca_file.clone());
    });
    let world = World { stage: stage.await, idp: an_idp(&later).await, later };
    let mut browser = world.browser();
    assert_eq!(browser.begin("idp").await, REFUSED, "of an authority that nobody trusts");
    std::fs::write(&ca_file, after.pem()).unwrap();
    // The file is looked at every three seconds.
    let mut place = String::new();
    for _ in 0..600 {
        // So that it is asked again.
        world.advance(61);
        place = browser.begin("idp").await;
        if place != REFUSED {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(place.starts_with(&url), "{place}");
}
