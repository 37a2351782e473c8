//! A whole sign-in by an identity provider, against the real program as it is configured.

use std::time::{SystemTime, UNIX_EPOCH};

use heliograph_testbed::idp::{CLIENT_ID, CLIENT_SECRET, Idp};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::server::{Place, Server};

pub(crate) fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the program under test has the real clock, too")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// A header of an answer that leads elsewhere, or gives a cookie.
fn header(answer: &Response, name: &str) -> String {
    answer.headers()[name].to_str().unwrap().to_owned()
}

/// Where a sign-in leads, and the session's cookie if there is one.
pub(crate) async fn sign_in(server: &Server, idp: &Idp) -> (String, Option<String>) {
    let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let base = server.base("query.listen");
    let begun =
        browser.get(format!("{base}/api/v1/auth/ours/login?return_to=/%3Fq%3Dx")).send().await.unwrap();
    assert_eq!(begun.status(), StatusCode::SEE_OTHER);
    let (place, pending) = (header(&begun, "location"), header(&begun, "set-cookie"));
    assert!(place.starts_with(&idp.url), "{place}");
    let back = header(&browser.get(place).send().await.unwrap(), "location");
    let path = back.strip_prefix("http://logs.test").unwrap();
    let pending = pending.split(';').next().unwrap();
    let done = browser.get(format!("{base}{path}")).header("cookie", pending).send().await.unwrap();
    let cookies = done.headers().get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap());
    let session =
        cookies.filter_map(|cookie| cookie.split(';').next()).find(|c| c.starts_with("heliograph="));
    (header(&done, "location"), session.map(str::to_owned))
}

#[tokio::test]
async fn people_sign_in_by_the_provider_of_the_configuration() {
    let place = Place::new();
    let idp = Idp::start(now).await;
    let secret = place.logs().join("secret");
    std::fs::write(&secret, format!("{CLIENT_SECRET}\n")).unwrap();
    let set = |key: &str, value: &str| (format!("HELIOGRAPH_QUERY__{key}"), value.to_owned());
    let mappings = r#"[{ group = "readers", tenant = "team-a", role = "viewer" }]"#;
    let environment = [
        set("PUBLIC_URLS", r#"["http://logs.test"]"#),
        set("OIDC__OURS__ISSUER", &idp.url),
        set("OIDC__OURS__CLIENT_ID", CLIENT_ID),
        set("OIDC__OURS__CLIENT_SECRET_FILE", secret.to_str().unwrap()),
        set("OIDC__OURS__ALLOW_LOOPBACK", "true"),
        set("OIDC__OURS__MAPPINGS", mappings),
    ];
    let environment: Vec<_> = environment.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let server = place.up_with(&[], &environment).await;
    place.admin(&["tenant", "create", "team-a"]).await;

    idp.state().visitor = json!({ "sub": "1", "preferred_username": "ann", "groups": ["readers"] });
    let (led_to, session) = sign_in(&server, &idp).await;
    assert_eq!(led_to, "/?q=x");
    let who = server.api(reqwest::Method::GET, "/api/v1/session").header("cookie", session.unwrap());
    let who: Value = who.send().await.unwrap().json().await.unwrap();
    assert_eq!((&who["user"], &who["tenants"][0]["name"]), (&json!("ours/ann"), &json!("team-a")));
    let grants = place.admin(&["grant", "list", "--user", "ours/ann"]).await;
    assert!(grants.contains("viewer") && grants.contains(&idp.url), "{grants}");

    idp.state().visitor = json!({ "sub": "2", "groups": ["others"] });
    assert_eq!(sign_in(&server, &idp).await, ("/?sign_in=not_allowed".to_owned(), None));
    let users = place.admin(&["user", "list"]).await;
    assert!(users.contains("by a provider") && users.lines().count() == 3, "{users}");
    assert!(!server.said().contains(CLIENT_SECRET), "no secret is told");
    server.stop().await;
}
