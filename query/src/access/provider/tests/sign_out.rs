//! Signing out here, and where that is done at the provider.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::flow::parameter;
use super::{IN, World};

#[tokio::test]
async fn who_signs_out_is_told_where_the_providers_own_sign_out_is() {
    let world = World::new().await;
    world.visitor(json!({ "sub": "1", "groups": "readers" }));
    let endpoint = format!("{}/logout?realm=a", world.idp.url);
    world.idp.state().discovery = json!({ "end_session_endpoint": endpoint });
    let mut browser = world.sign_in(IN).await;
    let mut copied = browser.clone();
    let (status, _, told) = browser.call(Method::DELETE, "/api/v1/session").await;
    assert_eq!((status, &told["provider"]), (StatusCode::OK, &json!("Our provider")));
    let url = told["sign_out_url"].as_str().unwrap();
    assert!(url.starts_with(&endpoint), "{url}");
    assert_eq!(parameter(url, "client_id").as_deref(), Some("heliograph"));
    assert_eq!(parameter(url, "post_logout_redirect_uri").as_deref(), Some("https://logs.example.com/"));
    assert!(browser.cookies.is_empty() && browser.who().await.is_none() && copied.who().await.is_none());
    let (status, _, again) = copied.call(Method::DELETE, "/api/v1/session").await;
    assert_eq!((status, &again["provider"]), (StatusCode::UNAUTHORIZED, &Value::Null));

    let mut renamed = world.sign_in(IN).await;
    let cookie = renamed.cookies.get_mut("heliograph").unwrap();
    assert!(cookie.ends_with(".idp"), "{cookie}");
    *cookie = cookie.replace(".idp", ".other");
    assert!(renamed.who().await.is_none(), "the name is a part of what proves the session");

    let mut by_password = world.browser();
    let cookie = crate::access::tests::sign_in(&world.stage, "ann").await;
    by_password
        .cookies
        .extend(cookie.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(by_password.who().await.is_some());
    assert_eq!(by_password.call(Method::DELETE, "/api/v1/session").await.0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_sign_out_leads_to_no_other_place_than_a_provider_may_have() {
    for said in [
        json!({}),
        json!({ "end_session_endpoint": null }),
        json!({ "end_session_endpoint": 5 }),
        json!({ "end_session_endpoint": "" }),
        json!({ "end_session_endpoint": "/logout" }),
        json!({ "end_session_endpoint": "javascript:alert(1)" }),
        json!({ "end_session_endpoint": "data:text/html,x" }),
        json!({ "end_session_endpoint": "http://idp.example.com/logout" }),
        json!({ "end_session_endpoint": "https://169.254.169.254/logout" }),
        json!({ "end_session_endpoint": "https://u:p@idp.example.com/logout" }),
    ] {
        let world = World::new().await;
        world.visitor(json!({ "sub": "1", "groups": "readers" }));
        world.idp.state().discovery = said.clone();
        let mut browser = world.sign_in(IN).await;
        let (status, _, told) = browser.call(Method::DELETE, "/api/v1/session").await;
        assert_eq!((status, &told), (StatusCode::NO_CONTENT, &Value::Null), "{said}");
        assert!(browser.who().await.is_none(), "{said}");
    }
}
