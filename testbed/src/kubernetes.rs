//! The part of a Kubernetes API server that reviews tokens: it knows some, and for whom each is.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::service::{Asked, Reply, Service};

/// The audience of tokens for the API server itself.
pub const DEFAULT_AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

/// A token that the server has given out.
#[derive(Clone, Debug)]
pub struct Token {
    /// `namespace:name` of the service account.
    pub account: String,
    /// Whom it is for.
    pub audience: String,
    /// The node of the pod that it is bound to, where the server tells it.
    pub node: Option<String>,
}

type Tokens = Arc<Mutex<BTreeMap<String, Token>>>;

/// The server, while it is held.
pub struct ApiServer {
    /// What it was asked, and what it answers instead.
    pub service: Service,
    tokens: Tokens,
    reviewer: String,
}

impl ApiServer {
    /// One that lets the holder of `reviewer` review tokens.
    pub async fn start(reviewer: &str) -> Self {
        let tokens = Tokens::default();
        let reviewer = format!("Bearer {reviewer}");
        let service = Service::on("127.0.0.1", honest(&tokens, &reviewer)).await;
        Self { service, tokens, reviewer }
    }

    /// Gives out a token.
    pub fn give(&self, token: &str, account: &str, audience: &str, node: Option<&str>) {
        let (account, audience, node) = (account.to_owned(), audience.to_owned(), node.map(str::to_owned));
        self.tokens.lock().insert(token.to_owned(), Token { account, audience, node });
    }

    /// The token holds no longer: its pod was deleted.
    pub fn take_back(&self, token: &str) {
        self.tokens.lock().remove(token);
    }

    /// Answers as it should again.
    pub fn be_honest(&self) {
        self.service.answer(honest(&self.tokens, &self.reviewer));
    }

    /// Knows nothing of audiences, as servers without that feature do: whatever is good for itself is good.
    pub fn forget_audiences(&self) {
        let honest = honest(&self.tokens, &self.reviewer);
        let tokens = Arc::clone(&self.tokens);
        self.service.answer(move |asked| {
            let Some(token) = asked_token(asked).and_then(|token| tokens.lock().get(&token).cloned()) else {
                return honest(asked);
            };
            Reply::json(json!({ "status": { "authenticated": true, "user": user(&token) } }))
        });
    }
}

fn asked_token(asked: &Asked) -> Option<String> {
    let review: Value = serde_json::from_slice(&asked.body).ok()?;
    review["spec"]["token"].as_str().map(str::to_owned)
}

fn user(token: &Token) -> Value {
    let mut extra = json!({ "authentication.kubernetes.io/pod-name": ["heliograph-agent-x"] });
    if let Some(node) = &token.node {
        extra["authentication.kubernetes.io/node-name"] = json!([node]);
    }
    json!({
        "username": format!("system:serviceaccount:{}", token.account),
        "uid": "5f0c1e4b-6b57-4f0e-9d0e-3f8b6d3f1a10",
        "groups": ["system:serviceaccounts", "system:authenticated"],
        "extra": extra,
    })
}

fn honest(tokens: &Tokens, reviewer: &str) -> impl Fn(&Asked) -> Reply + Send + Sync + use<> {
    let (tokens, reviewer) = (Arc::clone(tokens), reviewer.to_owned());
    move |asked| {
        if asked.uri != "/apis/authentication.k8s.io/v1/tokenreviews" || asked.method != "POST" {
            return Reply::status(404);
        }
        if asked.headers.get("authorization").is_none_or(|given| *given != reviewer) {
            return Reply::status(401);
        }
        let review: Value = serde_json::from_slice(&asked.body).unwrap();
        let wanted: Vec<String> = match review["spec"]["audiences"].as_array() {
            Some(all) if !all.is_empty() => all.iter().map(|a| a.as_str().unwrap().to_owned()).collect(),
            _ => vec![DEFAULT_AUDIENCE.to_owned()],
        };
        let found = asked_token(asked).and_then(|token| tokens.lock().get(&token).cloned());
        let status = match found {
            Some(token) if wanted.contains(&token.audience) => {
                json!({ "authenticated": true, "user": user(&token), "audiences": [token.audience] })
            }
            Some(_) => json!({ "user": {}, "error": "token audiences are invalid for the target audiences" }),
            None => json!({ "user": {}, "error": "invalid bearer token" }),
        };
        let mut reviewed = review;
        reviewed["status"] = status;
        Reply::Is(201, vec![("content-type", "application/json".to_owned())], reviewed.to_string())
    }
}
