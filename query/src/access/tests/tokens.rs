//! Tokens: kept as hashes, listed without their secret, good for so long, and ended at once.

use std::sync::Arc;
use std::time::Duration;

use heliograph_model::time::Clock as _;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::Error;
use crate::access::tests::sign_in;
use crate::access::{Access, Call};
use crate::metrics::Metrics;
use crate::stage::{Stage, tenant};
use heliograph_store::catalog::Role;

async fn admin(stage: &Stage, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let cookie = sign_in(stage, "root").await;
    let request = stage.client.request(method, format!("{}/api/v1/admin/{path}", stage.url));
    let request = request.header("cookie", cookie).header("origin", &stage.url);
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn a_token_is_shown_once_kept_as_a_hash_and_ends_at_once_when_it_is_revoked() {
    let stage = Stage::new().await;
    let new = json!({ "tenant": "a", "roles": ["viewer"], "ttl": "30d" });
    let (status, made) = admin(&stage, Method::POST, "tokens", Some(new)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let token = made["token"].as_str().unwrap().to_owned();
    let id = token.split('_').nth(1).unwrap();
    let secret = token.rsplit_once(&format!("{id}_")).unwrap().1;
    assert_eq!(secret.len(), 43, "256 bits");
    assert_eq!(stage.get(&token, "/api/v1/search?tenant=a").await.0, StatusCode::OK);
    assert_eq!(stage.get(&token, "/api/v1/search?tenant=b").await.0, StatusCode::FORBIDDEN);

    let (_, listed) = admin(&stage, Method::GET, "tokens", None).await;
    let row = listed["tokens"].as_array().unwrap().iter().find(|row| row["id"] == id).unwrap();
    assert_eq!((&row["tenant"], &row["roles"]), (&json!("a"), &json!(["viewer"])));
    assert!(row["expires"].is_string() && row["revoked"].is_null() && row["created"].is_string());
    let rows = stage.store.catalog.audit_rows(0, 1_000).await.unwrap();
    let debug = format!("{:?}", stage.store.catalog.token(id).await.unwrap());
    for text in [listed.to_string(), format!("{rows:?}"), debug] {
        assert!(!text.contains(secret), "{text}");
    }
    // Neither in the catalog's file nor in what SQLite writes ahead of it.
    let file = stage.catalog_file();
    for file in [file.clone(), file.with_extension("sqlite-wal"), format!("{}-wal", file.display()).into()] {
        let Ok(bytes) = std::fs::read(&file) else { continue };
        assert!(!bytes.windows(secret.len()).any(|at| at == secret.as_bytes()), "{}", file.display());
    }

    let (status, _) = admin(&stage, Method::DELETE, &format!("tokens/{id}"), None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, body) = stage.get(&token, "/api/v1/search?tenant=a").await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthenticated")));
    let (_, listed) = admin(&stage, Method::GET, "tokens", None).await;
    let row = listed["tokens"].as_array().unwrap().iter().find(|row| row["id"] == id).unwrap();
    assert!(row["revoked"].is_string(), "it stays on the list");
}

/// For calls, and for what goes on: a tail proves its caller again and again.
#[tokio::test]
async fn a_token_ends_by_itself() {
    let stage = Stage::new().await;
    let now = stage.clock.now();
    let expires = now.saturating_add_nanos(60_000_000_000);
    let (kept, token) =
        heliograph_store::token::issue(&tenant("a"), &[Role::Viewer], Some(expires), now).unwrap();
    stage.store.catalog.create_token(&kept).await.unwrap();
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let catalog = Arc::clone(&stage.store.catalog);
    let access = Access::new(&stage.config, catalog, Arc::new(stage.clock.clone()), metrics, None).unwrap();
    let bearer = format!("Bearer {}", token.expose_secret());
    let headers: HeaderMap = [(header::AUTHORIZATION, bearer.parse().unwrap())].into_iter().collect();
    let (method, uri) = (Method::GET, Uri::from_static("/api/v1/tail"));
    let from = std::net::Ipv4Addr::LOCALHOST.into();
    let call = Call { headers: &headers, from, vouched: None, method: &method, uri: &uri };
    let caller = access.authenticate(call).await.unwrap();
    stage.clock.advance(Duration::from_secs(59));
    access.again(&caller).await.unwrap();
    stage.clock.advance(Duration::from_secs(1));
    assert!(matches!(access.again(&caller).await, Err(Error::Unauthenticated)));
    assert!(matches!(access.authenticate(call).await, Err(Error::Unauthenticated)));
}
