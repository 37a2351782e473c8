//! What the API takes and answers, as a document of OpenAPI 3.1, made from [`ROUTES`].
//!
//! A route that is not told here fails a test, and so does a parameter or a field of a body that its handler does not
//! know, or knows beside these: the test asks the handler.

use axum::Json;
use http::{Method, Uri};
use serde_json::{Map, Value, json};

use super::record::Rule;
use super::{ROUTES, gate};
use crate::error::{Error, Result};

/// A field of a body: its name, its type, whether it must be there.
pub(super) type Field = (&'static str, &'static str, bool);

/// What is told of a method of a route.
#[derive(Clone, Copy)]
pub(super) struct Told {
    /// In a line.
    what: &'static str,
    /// The query's parameters.
    pub(super) parameters: &'static [&'static str],
    /// The body's fields; none where there is no body.
    pub(super) body: Option<&'static [Field]>,
    /// The status when it is done.
    done: u16,
}

const fn read(what: &'static str, parameters: &'static [&'static str]) -> Told {
    Told { what, parameters, body: None, done: 200 }
}

const fn sent(what: &'static str, done: u16, body: &'static [Field]) -> Told {
    Told { what, parameters: &[], body: Some(body), done }
}

const fn ended(what: &'static str) -> Told {
    Told { what, parameters: &[], body: None, done: 204 }
}

const PASSWORD: Field = ("password", "string", true);
const GRANT: &[Field] = &[
    ("user", "string", true),
    ("tenant", "string", false),
    ("workspace", "string", false),
    ("role", "string", true),
];

/// What a method of a route takes; nothing of what is no route.
#[rustfmt::skip]
pub(super) fn told(method: &str, path: &str) -> Option<Told> {
    let under = path.strip_prefix("/api/v1/")?;
    Some(match (method, under) {
        ("GET", "openapi.json") => read("This document.", &[]),
        ("GET", "session") => read("Who one is, and what one may read.", &[]),
        ("POST", "session") => sent("Signs in, and sets a cookie.", 200, &[("user", "string", true), PASSWORD]),
        ("DELETE", "session") => ended("Signs out; with 200 and a body, also where to sign out at the provider."),
        ("GET", "sessions") => read("One's own sessions.", &[]),
        ("DELETE", "sessions") => Told { done: 200, ..ended("Ends one's own sessions but this.") },
        ("DELETE", "sessions/{session}") => ended("Ends one of one's own sessions."),
        ("GET", "auth/providers") => read("By whom one may sign in.", &[]),
        ("GET", "auth/{provider}/login") => Told { done: 303, ..read("Leads a browser to a provider.", &["return_to"]) },
        ("GET", "auth/{provider}/callback") => Told { done: 303, ..read("Where a provider leads a browser back to.", &["code", "state", "iss", "error"]) },
        ("POST", "invitations/accept") => sent("Makes the account of an invitation.", 201, &[("token", "string", true), PASSWORD]),
        ("GET", "search") => read("Records, in the order of their time.", &["tenant", "q", "start", "end", "order", "limit", "cursor", "explain", "budget"]),
        ("GET", "histogram") => read("Counts per bucket of time.", &["tenant", "q", "start", "end", "interval", "by", "explain"]),
        ("GET", "values") => read("Values of a field, the most frequent first.", &["tenant", "q", "start", "end", "field", "limit", "explain"]),
        ("GET", "fields") => read("Which fields there are.", &["tenant", "q", "start", "end"]),
        ("GET", "context") => read("Records before and after one of the same source.", &["tenant", "id", "before", "after", "q"]),
        ("GET", "export") => read("All records of a question, streamed.", &["tenant", "q", "start", "end", "order", "format"]),
        ("GET", "tail") => Told { done: 101, ..read("New records as they come, over a WebSocket.", &["tenant", "q", "since", "resume", "last"]) },
        ("POST", "tail/ticket") => sent("A ticket for a tail by session cookie.", 200, &[]),
        ("GET", "admin/tenants") => read("All tenants.", &[]),
        ("POST", "admin/tenants") => sent("Makes a tenant.", 201, &[("name", "string", true), ("workspace", "string", false)]),
        ("GET", "admin/users") => read("All users.", &[]),
        ("POST", "admin/users") => sent("Makes a user.", 201, &[("name", "string", true), PASSWORD, ("admin", "boolean", false)]),
        ("PUT", "admin/users/{name}/password") => sent("Sets a user's password, and ends the sessions.", 204, &[PASSWORD]),
        ("POST", "admin/users/{name}/disable") => ended("Locks a user out, and ends the sessions."),
        ("POST", "admin/users/{name}/enable") => ended("Lets a user in again."),
        ("DELETE", "admin/users/{name}/sessions") => Told { done: 200, ..ended("Ends a user's sessions.") },
        ("GET", "admin/invitations") => read("Open invitations that one could have made.", &[]),
        ("POST", "admin/invitations") => sent("Invites somebody; the link is shown here only.", 201, &[("email", "string", false), ("user", "string", false), ("grants", "array", false), ("ttl", "string", false)]),
        ("DELETE", "admin/invitations/{invitation}") => ended("Takes an invitation back."),
        ("GET", "admin/grants") => read("Who has which role.", &["user"]),
        ("POST", "admin/grants") => sent("Gives a role over a tenant or a workspace.", 201, GRANT),
        ("DELETE", "admin/grants") => sent("Takes a role.", 204, GRANT),
        ("GET", "admin/tokens") => read("Tokens, without their secrets.", &["tenant"]),
        ("POST", "admin/tokens") => sent("Makes a token; its secret is shown here only.", 201, &[("tenant", "string", true), ("roles", "array", true), ("ttl", "string", false)]),
        ("DELETE", "admin/tokens/{id}") => ended("Revokes a token."),
        ("GET", "admin/erasures") => read("Requests to erase records.", &["tenant"]),
        ("POST", "admin/erasures") => sent("Asks for the erasure of records, or of a whole tenant.", 202, &[("tenant", "string", true), ("query", "string", false), ("start", "string", false), ("end", "string", false), ("everything", "boolean", false), ("confirm", "string", false)]),
        ("GET", "admin/erasures/{erasure}") => read("An erasure's receipt.", &[]),
        ("GET", "admin/audit") => read("A page of the audit log.", &["tenant", "start", "end", "action", "actor", "limit", "cursor"]),
        ("GET", "admin/audit/export") => read("All rows of the audit log, streamed.", &["tenant", "start", "end", "action", "actor"]),
        ("GET", "admin/usage") => read("What tenants have stored.", &["tenant"]),
        _ => return None,
    })
}

/// Refuses a query where a route takes none: the handlers of the others read theirs to the end themselves.
pub(super) fn refuse_query(method: &Method, route: &str, uri: &Uri) -> Result<()> {
    let takes_none = told(method.as_str(), route).is_none_or(|told| told.parameters.is_empty());
    match uri.query() {
        Some(query) if takes_none && !query.is_empty() => {
            Err(Error::invalid_hint("there are no parameters here", "call it without a query"))
        }
        _ => Ok(()),
    }
}

/// `GET /openapi.json`.
pub(super) async fn show() -> Json<Value> {
    Json(document())
}

/// The whole document.
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let operations = route.methods.iter().filter_map(|(method, rule)| {
            let told = told(method, route.path)?;
            Some((method.to_ascii_lowercase(), operation(method, route.path, *rule, told)))
        });
        paths.insert(route.path.to_owned(), Value::Object(operations.collect()));
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Heliograph", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "security": [{ "token": [] }, { "password": [] }, { "session": [] }],
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "password": { "type": "http", "scheme": "basic", "description": "user:password, or tenant:token" },
                "session": { "type": "apiKey", "in": "cookie", "name": "__Host-heliograph" },
            },
            "schemas": { "Error": error() },
        },
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": { "error": {
            "type": "object",
            "required": ["code", "message", "request_id"],
            "properties": {
                "code": { "type": "string" },
                "message": { "type": "string" },
                "hint": { "type": "string" },
                "position": { "type": "integer", "description": "where in q, in characters from 0" },
                "request_id": { "type": "string" },
            },
        } },
    })
}

fn operation(method: &str, path: &str, rule: Rule, told: Told) -> Value {
    let in_path =
        path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).map(
            |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }),
        );
    let parameters: Vec<Value> = in_path.chain(told.parameters.iter().map(|name| parameter(name))).collect();
    let mut operation = json!({
        "summary": told.what,
        "operationId": format!("{} {path}", method.to_ascii_lowercase()),
        "parameters": parameters,
        "responses": answers(method, path, rule, told),
    });
    if let (Some(fields), Value::Object(operation)) = (told.body, &mut operation) {
        operation.insert("requestBody".to_owned(), body(fields));
    }
    if let (true, Value::Object(operation)) = (gate::is_open(method, path), &mut operation) {
        operation.insert("security".to_owned(), json!([]));
    }
    operation
}

fn parameter(name: &str) -> Value {
    let (schema, what) = match name {
        "tenant" => (json!({ "type": "string" }), "whose; all that the caller may where it is left out"),
        "q" => {
            (json!({ "type": "string", "maxLength": 10_240 }), "the query; every record where it is left out")
        }
        "start" | "end" | "since" => (json!({ "type": "string" }), "a time, or one like now-1h"),
        "order" => (json!({ "type": "string", "enum": ["asc", "desc"] }), "by time"),
        "limit" | "before" | "after" | "last" => {
            (json!({ "type": "integer", "minimum": 0 }), "so many at most")
        }
        "cursor" | "resume" => (json!({ "type": "string" }), "where an answer before ended"),
        "explain" => (json!({ "type": "boolean" }), "what it would cost, instead of an answer"),
        "by" => (json!({ "type": "string", "enum": ["level"] }), "counts apart"),
        "format" => (json!({ "type": "string", "enum": ["ndjson", "text", "csv"] }), "of the file"),
        _ => (json!({ "type": "string" }), "told in docs/api.md"),
    };
    json!({ "name": name, "in": "query", "required": is_required(name), "schema": schema, "description": what })
}

/// Whether a parameter must be given: it must wherever it is known.
pub(super) fn is_required(name: &str) -> bool {
    matches!(name, "field" | "id")
}

fn body(fields: &[Field]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|(name, kind, _)| {
            let schema = match *kind {
                "array" => json!({ "type": "array", "items": { "type": "string" } }),
                kind => json!({ "type": kind }),
            };
            ((*name).to_owned(), schema)
        })
        .collect();
    let required: Vec<&str> = fields.iter().filter(|(.., must)| *must).map(|(name, ..)| *name).collect();
    let schema = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    });
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

/// What it may be answered.
fn answers(method: &str, path: &str, rule: Rule, told: Told) -> Value {
    let mut statuses = vec![400, 401, 405, 429, 500, 503];
    if !matches!(rule, Rule::Nothing | Rule::SignIn) || method != "GET" || path.ends_with("/sessions") {
        // A role that is lacking, or an origin that is foreign.
        statuses.push(403);
    }
    if matches!(rule, Rule::Records(_)) {
        statuses.push(504);
    }
    if told.body.is_some() {
        statuses.extend([408, 413, 415]);
    } else if method != "GET" {
        statuses.push(415);
    }
    let is_about_one = path.contains('{') || path.ends_with("/context") || path.ends_with("/accept");
    if path.starts_with("/api/v1/admin/") || is_about_one {
        statuses.push(404);
    }
    if told.done == 201 {
        statuses.push(409);
    }
    let reference = json!({ "schema": { "$ref": "#/components/schemas/Error" } });
    let refused = |status: u16| {
        let what = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let value = json!({
            "description": what.unwrap_or_default(), "content": { "application/json": reference },
        });
        (status.to_string(), value)
    };
    let done = (told.done.to_string(), json!({ "description": told.what }));
    std::iter::once(done).chain(statuses.into_iter().map(refused)).collect::<Map<_, _>>().into()
}
