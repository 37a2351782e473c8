//! Agents that prove themselves by a service-account token of Kubernetes: the API server is asked whose it is.
//!
//! A token counts for its audience only. One that a pod has for the API server, or for somebody else, is none here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use heliograph_egress::tries::Tries;
use heliograph_egress::{Failure, Service, Target};
use http::Method;
use prometheus::IntCounterVec;
use quick_cache::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// Where the API server reviews tokens.
const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
/// What the name of a service account begins with.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
/// Where a review names the node of the pod that a token is bound to.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
/// How long a token that is none is not asked about again.
const DENIED_FOR: Duration = Duration::from_secs(10);
/// Tokens remembered at most: a few of each node of a large cluster.
const KEPT_MAX: usize = 20_000;
/// Reviews under way at the same time.
const UNDER_WAY_MAX: usize = 32;
/// Longest token; those of the API server have about a thousand bytes.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// How tokens are reviewed.
#[derive(Clone, Debug)]
pub struct TokenReview {
    /// The API server.
    pub api: Target,
    /// What we prove ourselves to it with; read for each review, as it is renewed.
    pub token_file: PathBuf,
    /// Whom tokens must be for: one of these.
    pub audiences: Vec<String>,
    /// Service accounts of agents, as `namespace/name`.
    pub accounts: BTreeSet<String>,
    /// How long a review holds.
    pub keep: Duration,
}

/// A review's answer, as far as it is looked at.
#[derive(Deserialize)]
struct Reviewed {
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    authenticated: bool,
    #[serde(default)]
    user: User,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default)]
    error: String,
}

#[derive(Default, Deserialize)]
struct User {
    #[serde(default)]
    username: String,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// An agent's, on this node.
    Agent(Arc<str>),
    /// Nobody's, another account's, or for another audience.
    Nobody,
    /// An agent's, but the review does not say on which node.
    Nowhere,
}

type Hash = [u8; 32];

/// Asks the API server.
pub(crate) struct Reviews {
    service: Service,
    url: Url,
    token_file: PathBuf,
    audiences: Vec<String>,
    accounts: BTreeSet<String>,
    keep: Duration,
    kept: Cache<Hash, (Verdict, Instant)>,
    under_way: Semaphore,
    tries: Tries,
    /// Reviews by what came of them.
    answers: IntCounterVec,
}

impl Reviews {
    /// Checks where the API server is.
    pub(crate) async fn open(config: TokenReview, metrics: &Metrics) -> Result<Self> {
        let TokenReview { api, token_file, audiences, accounts, keep } = config;
        let failed = |source| Error::Service { section: "token_review", source };
        let mut url = api.url.clone();
        url.set_path(PATH);
        Ok(Self {
            service: Service::open("token reviews", api).await.map_err(failed)?,
            url,
            token_file,
            audiences,
            accounts,
            keep,
            kept: Cache::new(KEPT_MAX),
            under_way: Semaphore::new(UNDER_WAY_MAX),
            tries: Tries::default(),
            answers: metrics.token_reviews.clone(),
        })
    }

    /// Reads its authorities anew when they change, for ever.
    pub(crate) async fn keep_fresh(&self) -> std::convert::Infallible {
        self.service.keep_fresh().await
    }

    /// The node of the agent whose token this is; `hash` is the token's.
    pub(crate) async fn node(&self, token: &str, hash: Hash, from: IpAddr) -> Result<Arc<str>> {
        let verdict = match self.kept(&hash) {
            Some(verdict) => verdict,
            None => self.fresh(token, hash, from).await?,
        };
        match verdict {
            Verdict::Agent(node) => Ok(node),
            Verdict::Nobody => Err(Error::Unauthenticated),
            Verdict::Nowhere => {
                Err(Error::Forbidden { reason: "the token's review names no node: it needs Kubernetes 1.30" })
            }
        }
    }

    fn kept(&self, hash: &Hash) -> Option<Verdict> {
        let (verdict, until) = self.kept.get(hash)?;
        if until <= Instant::now() {
            self.kept.remove(hash);
            return None;
        }
        Some(verdict)
    }

    async fn fresh(&self, token: &str, hash: Hash, from: IpAddr) -> Result<Verdict> {
        let count = |outcome: &str| self.answers.with_label_values(&[outcome]).inc();
        let now = Instant::now();
        self.tries.begin(from, now).map_err(|after| {
            count("throttled");
            Error::Throttled { after }
        })?;
        let verdict = self.asked(token).await;
        if !matches!(verdict, Ok(Verdict::Nobody)) {
            self.tries.take_back(from, now);
        }
        let (verdict, keep) = match verdict {
            Ok(Verdict::Nobody) => (Verdict::Nobody, DENIED_FOR),
            Ok(verdict) => (verdict, self.keep),
            Err(outcome) => {
                count(outcome);
                tracing::debug!(outcome, "a token could not be reviewed");
                // Nothing is known by it: the next one asks again.
                return Err(Error::Unavailable { reason: "the credential cannot be checked now" });
            }
        };
        count(match verdict {
            Verdict::Agent(_) => "allowed",
            Verdict::Nobody => "denied",
            Verdict::Nowhere => "no_node",
        });
        self.kept.insert(hash, (verdict.clone(), now + keep));
        Ok(verdict)
    }

    /// Asks; the error is what our figures call it.
    async fn asked(&self, token: &str) -> Result<Verdict, &'static str> {
        if token.len() > TOKEN_BYTES_MAX {
            return Ok(Verdict::Nobody);
        }
        let _permit = self.under_way.try_acquire().map_err(|_| "busy")?;
        let own = tokio::fs::read_to_string(&self.token_file).await.map_err(|error| {
            tracing::warn!(%error, "indexer.token_review.token_file cannot be read");
            "own_token"
        })?;
        let own = SecretString::from(own.trim_end());
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": { "token": token, "audiences": self.audiences },
        });
        let request = self.service.request(Method::POST, &self.url).map_err(Failure::label)?;
        let request = request.bearer_auth(own.expose_secret()).json(&body);
        let answer = self.service.send(request).await.map_err(Failure::label)?;
        match answer.status.as_u16() {
            200 | 201 => {}
            401 | 403 => {
                tracing::warn!("the API server does not let us review tokens: see indexer.token_review");
                return Err("not_allowed");
            }
            _ => return Err("status"),
        }
        let reviewed: Reviewed = serde_json::from_slice(&answer.body).map_err(|_| "malformed")?;
        Ok(self.verdict(&reviewed.status))
    }

    fn verdict(&self, status: &Status) -> Verdict {
        // An API server that knows no audiences names none: then it was checked for nobody in particular.
        let is_for_us = status.audiences.iter().any(|audience| self.audiences.contains(audience));
        let account =
            status.user.username.strip_prefix(SERVICE_ACCOUNT).and_then(|name| name.split_once(':'));
        let is_agent = account.is_some_and(|(namespace, name)| {
            !name.contains([':', '/']) && self.accounts.contains(&format!("{namespace}/{name}"))
        });
        if !status.authenticated || !status.error.is_empty() || !is_for_us || !is_agent {
            return Verdict::Nobody;
        }
        match status.user.extra.get(NODE_NAME).map(Vec::as_slice) {
            Some([node]) if is_node_name(node) => Verdict::Agent(node.as_str().into()),
            _ => Verdict::Nowhere,
        }
    }
}

/// As Kubernetes names nodes: a DNS subdomain.
fn is_node_name(name: &str) -> bool {
    (1..=253).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
}
