//! The document of the API is what its handlers do: each route, parameter, field and status.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::openapi::{document, is_required, told};
use super::matrix::{ACCESS, Target, any_request};
use super::{ROUTES, root};
use crate::stage::{Stage, record, tenant};

#[test]
fn every_route_is_in_the_document_and_back() {
    let document = document();
    let mut told = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            told.insert((method.to_uppercase(), path.as_str()));
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
            let of_path = operation["parameters"].as_array().unwrap().iter().filter(|p| p["in"] == "path");
            assert_eq!(of_path.count(), path.matches('{').count(), "{method} {path}");
        }
    }
    let routes: BTreeSet<_> = ROUTES
        .iter()
        .flat_map(|route| route.methods.iter().map(|(method, _)| ((*method).to_owned(), route.path)))
        .collect();
    assert_eq!(told, routes);
    assert_refers(&document, &document);
}

/// That each reference leads somewhere.
fn assert_refers(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(Value::String(to)) = fields.get("$ref") {
                assert!(document.pointer(to.strip_prefix('#').unwrap()).is_some(), "{to}");
            }
            fields.values().for_each(|part| assert_refers(document, part));
        }
        Value::Array(parts) => parts.iter().for_each(|part| assert_refers(document, part)),
        _ => {}
    }
}

#[test]
fn every_status_of_the_table_is_in_the_document() {
    let document = document();
    let mut operation = &Value::Null;
    let mut seen = 0;
    for line in ACCESS.lines().filter(|line| !line.starts_with('#')) {
        let Some(callers) = line.strip_prefix("    ") else {
            let (method, path) = line.split_once(' ').unwrap();
            operation = &document["paths"][path][method.to_lowercase()];
            continue;
        };
        for status in callers.split([' ', '/', ',']).filter(|word| word.starts_with(['2', '4', '5'])) {
            assert!(operation["responses"][status].is_object(), "{status} of {operation}");
            seen += 1;
        }
    }
    assert!(seen > 200, "{seen}");
}

/// Right calls of every method of every route, made anew for each call, as an administrator.
struct Calls {
    stage: Stage,
    cookie: String,
    record: String,
}

impl Calls {
    async fn new() -> Self {
        let stage = Stage::new().await;
        stage.indexer.commit(&tenant("a"), &[record(1, 1, 1, "x")]).await;
        let (_, token) = stage.token("a", &[heliograph_store::catalog::Role::Viewer]).await;
        let (_, found) = stage.get(&token, "/api/v1/search").await;
        let record = found["records"][0]["id"].as_str().unwrap().to_owned();
        Self { cookie: root(&stage).await, record, stage }
    }

    fn right(&self, method: &str, route: &str) -> (String, Option<Value>) {
        let (record, token) = (self.record.clone(), "000000000000".to_owned());
        any_request(
            method,
            route,
            &Target {
                tenant: "a",
                record,
                token,
                erasure: Uuid::nil(),
                invitation: "000000000000".to_owned(),
            },
        )
        .unwrap_or_else(|| panic!("{method} {route} has no request"))
    }

    async fn call(&self, method: &str, path: &str, body: Option<String>) -> (u16, Value) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.stage.client.request(method, format!("{}{path}", self.stage.url));
        let request = request.header("cookie", &self.cookie).header("origin", &self.stage.url);
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// What is in the catalog of people and rights.
    async fn rights(&self) -> String {
        let catalog = &self.stage.store.catalog;
        let mut rights = String::new();
        for user in catalog.users().await.unwrap() {
            let grants = catalog.grants(&user.name).await.unwrap();
            rights.push_str(&format!("{} {} {} {grants:?}\n", user.name, user.admin, user.password_hash));
        }
        let tenants: Vec<_> = catalog.tenants().await.unwrap().into_iter().map(|t| t.name).collect();
        let tokens: Vec<_> = catalog.tokens(None).await.unwrap().into_iter().map(|t| t.id).collect();
        let erasures = catalog.erasures().await.unwrap().len();
        format!("{rights}{tenants:?}{tokens:?}{erasures}")
    }
}

/// A query with one more parameter.
fn with(path: &str, more: &str) -> String {
    format!("{path}{}{more}", if path.contains('?') { '&' } else { '?' })
}

#[tokio::test]
async fn each_parameter_that_is_told_is_known_and_no_other_is() {
    let calls = Calls::new().await;
    for route in ROUTES {
        for (method, _) in route.methods {
            let told = told(method, route.path).unwrap();
            if route.path.contains("/auth/{provider}/") {
                // Answered where a provider is configured only; what it adds is its own affair.
                continue;
            }
            let (path, body) = calls.right(method, route.path);
            let body = body.map(|body| body.to_string());
            let (status, said) = calls.call(method, &with(&path, "zzz=1"), body.clone()).await;
            let what = format!("{method} {path}: {status} {said}");
            assert_eq!(status, 400, "{what}");
            let hint = said["error"]["hint"].as_str().unwrap_or_else(|| panic!("{what}"));
            let known: BTreeSet<&str> = hint
                .strip_prefix("known are ")
                .map_or_else(BTreeSet::new, |known| known.split(", ").collect());
            assert_eq!(known, told.parameters.iter().copied().collect(), "{what}");
            for name in told.parameters {
                let without = path.split(['?', '&']).filter(|part| !part.starts_with(&format!("{name}=")));
                let (first, rest) = (without.clone().next().unwrap(), without.skip(1));
                let without = format!("{first}?{}", rest.collect::<Vec<_>>().join("&"));
                let (status, said) = calls.call(method, &without, body.clone()).await;
                let is_missed = status == 400 && said.to_string().contains(&format!("{name} is missing"));
                assert_eq!(is_missed, is_required(name), "{method} {without}: {status} {said}");
                let twice = with(&with(&without, &format!("{name}=1")), &format!("{name}=1"));
                let (status, said) = calls.call(method, &twice, body.clone()).await;
                let is_refused = status == 400 && said.to_string().contains("given twice");
                let may_repeat = *name == "tenant" && !route.path.contains("/admin/");
                assert_eq!(is_refused, !may_repeat, "{method} {twice}: {status} {said}");
            }
        }
    }
}

#[tokio::test]
async fn each_field_that_is_told_is_known_and_no_other_is() {
    let calls = Calls::new().await;
    let mut bodies = 0;
    for route in ROUTES {
        for (method, _) in route.methods {
            let fields = told(method, route.path).unwrap().body;
            let (path, body) = calls.right(method, route.path);
            assert_eq!(fields.is_some(), body.is_some(), "{method} {path}");
            let (Some(fields), Some(Value::Object(body))) = (fields, body) else { continue };
            bodies += 1;
            let mut more = body.clone();
            more.insert("zzz".to_owned(), json!(1));
            let (status, said) = calls.call(method, &path, Some(json!(more).to_string())).await;
            let what = format!("{method} {path}: {status} {said}");
            let message = said["error"]["message"].as_str().unwrap_or_else(|| panic!("{what}"));
            assert!(status == 400 && message.contains("unknown field `zzz`"), "{what}");
            let known: BTreeSet<&str> = message.split('`').skip(3).step_by(2).collect();
            assert_eq!(known, fields.iter().map(|(name, ..)| *name).collect(), "{what}");
            for (name, _, must) in fields {
                let mut less = body.clone();
                drop(less.remove(*name));
                let (_, said) = calls.call(method, &path, Some(json!(less).to_string())).await;
                let is_missed = said.to_string().contains(&format!("missing field `{name}`"));
                assert_eq!(is_missed, *must, "{method} {path} without {name}: {said}");
            }
        }
    }
    assert!(bodies > 7, "{bodies}");
}

/// What a caller would like to set for itself.
const WISHED: [&str; 14] = [
    "role",
    "roles",
    "admin",
    "is_admin",
    "tenant",
    "tenant_id",
    "tenants",
    "uid",
    "user_id",
    "password_hash",
    "created",
    "expires",
    "by",
    "__proto__",
];

#[tokio::test]
async fn no_body_sets_what_its_route_does_not_set() {
    let calls = Calls::new().await;
    for route in ROUTES {
        for (method, _) in route.methods {
            let (path, body) = calls.right(method, route.path);
            let Some(Value::Object(body)) = body else { continue };
            let known = told(method, route.path).unwrap().body.unwrap();
            let before = calls.rights().await;
            for wish in WISHED.iter().filter(|wish| !known.iter().any(|(name, ..)| name == *wish)) {
                for value in [json!("admin"), json!(true), json!(["operator"]), Value::Null] {
                    let mut more = body.clone();
                    more.insert((*wish).to_owned(), value);
                    let (status, said) = calls.call(method, &path, Some(json!(more).to_string())).await;
                    assert_eq!(status, 400, "{method} {path} {wish}: {said}");
                }
            }
            // The same field twice, of which one reader would take the first and another the last.
            if let Some((name, value)) = body.iter().next() {
                let written = json!(body).to_string();
                let twice = written.replacen('{', &format!("{{\"{name}\":{value},"), 1);
                let (status, said) = calls.call(method, &path, Some(twice)).await;
                assert_eq!(status, 400, "{method} {path} {name} twice: {said}");
            }
            assert_eq!(calls.rights().await, before, "{method} {path}");
        }
    }
}
