//! Agents by service-account tokens: whose, for whom, on which node; and an API server that fails or lies.

use std::path::Path;
use std::time::Duration;

use globset::Glob;
use heliograph_egress::{Bounds, Guard, Target};
use heliograph_indexer::{Config, NodeName, NodeRule, Reach, TokenReview};
use heliograph_testbed::kubernetes::{ApiServer, DEFAULT_AUDIENCE};
use heliograph_testbed::service::Reply;
use serde_json::{Value, json};

use crate::bench::{AGENT, Server, config};
use crate::nodes::tenants;

const AUDIENCE: &str = "heliograph";
const OWN: &str = "own.token.of-the-indexer";
const AGENTS: &str = "heliograph:heliograph-agent";

fn node(pattern: &str, may: Reach) -> NodeRule {
    NodeRule { who: NodeName::Node(Glob::new(pattern).unwrap().compile_matcher()), may }
}

struct World {
    api: ApiServer,
    server: Server,
    folder: tempfile::TempDir,
}

impl World {
    async fn start(timeout: Duration) -> Self {
        let api = ApiServer::start(OWN).await;
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, format!("{OWN}\n")).unwrap();
        let config = asking(&api, &token_file, timeout);
        let server = Server::start_with(folder.path(), config, |store| store).await;
        Self { api, server, folder }
    }

    /// The status of an answer to a record for a tenant, and whether the API server was asked.
    async fn send(&self, token: &str, tenant: &str) -> (u16, usize) {
        let record = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [{ "body": { "stringValue": "x" } }] }] }] });
        let request = self.server.post("/v1/logs").json(&record).bearer_auth(token);
        let response = request.header("x-heliograph-tenant", tenant).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        assert!(!text.contains(token) && !text.contains(OWN), "{text}");
        (status, self.api.service.asked().len())
    }
}

fn asking(api: &ApiServer, token_file: &Path, timeout: Duration) -> Config {
    let review = TokenReview {
        api: Target {
            url: api.service.url().parse().unwrap(),
            bounds: Bounds {
                allow_http: false,
                ca_file: None,
                timeout,
                body_bytes_max: 1 << 16,
                guard: Guard::Off,
            },
        },
        token_file: token_file.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        accounts: ["heliograph/heliograph-agent".to_owned()].into(),
        keep: Duration::from_secs(60),
    };
    let nodes = vec![node("node-1", tenants(&["team-a", "shared-*"])), node("gpu-*", tenants(&["team-b"]))];
    Config { token_review: Some(review), nodes, ..config() }
}

#[tokio::test]
async fn an_agents_token_is_its_nodes_and_ships_for_that_nodes_tenants() {
    let world = World::start(Duration::from_secs(20)).await;
    world.api.give("a.good.1", AGENTS, AUDIENCE, Some("node-1"));
    world.api.give("a.good.2", AGENTS, AUDIENCE, Some("gpu-7"));
    world.api.give("a.good.3", AGENTS, AUDIENCE, Some("other"));
    assert_eq!(world.send("a.good.1", "team-a").await, (200, 1));
    assert_eq!(world.send("a.good.1", "shared-x").await, (200, 0), "known for a while");
    assert_eq!(world.send("a.good.1", "team-b").await, (403, 0), "another node's");
    assert_eq!(world.send("a.good.1", "no-such").await, (403, 0));
    assert_eq!(world.send("a.good.2", "team-b").await, (200, 1));
    assert_eq!(world.send("a.good.2", "team-a").await, (403, 0));
    assert_eq!(world.send("a.good.3", "team-a").await, (403, 1), "no rule names the node");
    // The token of all agents does not say which node it is on.
    assert_eq!(world.send(AGENT, "team-a").await, (403, 0));
    // An agent reads nothing.
    let internal = world.server.post("/internal/v1/scan").bearer_auth("a.good.1").send().await.unwrap();
    assert_eq!(internal.status(), 401);
    world.server.stop().await;
}

#[tokio::test]
async fn a_service_account_token_of_another_audience_is_refused() {
    let world = World::start(Duration::from_secs(20)).await;
    // Every pod has one of these, the agent's too.
    world.api.give("for.the.api", AGENTS, DEFAULT_AUDIENCE, Some("node-1"));
    world.api.give("for.the.vault", AGENTS, "vault", Some("node-1"));
    world.api.give("for.almost.us", AGENTS, "heliograph.evil", Some("node-1"));
    world.api.give("of.another.account", "heliograph:default", AUDIENCE, Some("node-1"));
    world.api.give("of.another.namespace", "evil:heliograph-agent", AUDIENCE, Some("node-1"));
    world.api.give("of.no.node", AGENTS, AUDIENCE, None);
    for token in
        ["for.the.api", "for.the.vault", "for.almost.us", "of.another.account", "of.another.namespace"]
    {
        assert_eq!(world.send(token, "team-a").await, (401, 1), "{token}");
        assert_eq!(world.send(token, "team-a").await, (401, 0), "{token}, not asked about again at once");
    }
    assert_eq!(world.send("of.no.node", "team-a").await, (403, 1));
    // An API server that checks no audience names none, and its word is not enough.
    world.api.forget_audiences();
    world.api.give("other.for.the-api", AGENTS, DEFAULT_AUDIENCE, Some("node-1"));
    assert_eq!(world.send("other.for.the-api", "team-a").await, (401, 1));
    // Neither is asked about what has not the form of such a token, or is one of ours.
    world.api.be_honest();
    for token in ["hg_a.b.c", "nothing", "a.b", "a..c", "a.b.c.d"] {
        assert_eq!(world.send(token, "team-a").await, (401, 0), "{token}");
    }
    world.server.stop().await;
}

#[tokio::test]
async fn an_api_server_that_fails_or_lies_proves_nobody() {
    let world = World::start(Duration::from_millis(300)).await;
    let mut count = 0;
    let mut answered = async |reply: Reply| {
        count += 1;
        world.api.service.answer(move |_| reply.clone());
        world.send(&format!("a.fresh.{count}"), "team-a").await.0
    };
    let reply = |status: &Value| Reply::json(json!({ "status": status }));
    let good = json!({
        "authenticated": true,
        "audiences": [AUDIENCE],
        "user": {
            "username": "system:serviceaccount:heliograph:heliograph-agent",
            "extra": { "authentication.kubernetes.io/node-name": ["node-1"] },
        },
    });
    let changed = |path: &[&str], value: Value| {
        let mut status = good.clone();
        *path.iter().fold(&mut status, |at, key| &mut at[*key]) = value;
        status
    };
    assert_eq!(answered(reply(&good)).await, 200);
    for (path, value, expected) in [
        (&["authenticated"][..], json!(false), 401),
        (&["authenticated"], Value::Null, 503),
        (&["authenticated"], json!("true"), 503),
        (&["error"], json!("but expired"), 401),
        (&["audiences"], json!([]), 401),
        (&["audiences"], json!(["*"]), 401),
        (&["audiences"], json!("heliograph"), 503),
        (&["user", "username"], json!("heliograph/heliograph-agent"), 401),
        (&["user", "username"], json!("system:node:node-1"), 401),
        (&["user", "username"], json!("system:serviceaccount:heliograph:heliograph-agent:x"), 401),
        (&["user", "username"], json!("system:serviceaccount:heliograph/heliograph-agent:"), 401),
        (&["user", "extra"], json!({}), 403),
        (&["user", "extra", "authentication.kubernetes.io/node-name"], json!(["node-1", "gpu-1"]), 403),
        (&["user", "extra", "authentication.kubernetes.io/node-name"], json!(["Node-1"]), 403),
        (&["user", "extra", "authentication.kubernetes.io/node-name"], json!([""]), 403),
        (&["user", "extra", "authentication.kubernetes.io/node-name"], json!("node-1"), 503),
    ] {
        // Fewer of them are wrong than are throttled.
        assert_eq!(answered(reply(&changed(path, value.clone()))).await, expected, "{path:?} = {value}");
    }
    let late = Reply::Late(Duration::from_secs(600), Box::new(reply(&good)));
    for (what, reply) in [
        ("no JSON", Reply::Is(201, Vec::new(), "<html>".to_owned())),
        ("empty", Reply::status(201)),
        ("no status", Reply::json("{}")),
        ("endless", Reply::Endless),
        ("too large", Reply::json(json!({ "status": good, "more": "x".repeat(1 << 16) }))),
        ("late", late),
        ("stalls", Reply::Stalls),
        ("hangs up", Reply::HangsUp),
        ("redirects", Reply::Is(307, vec![("location", world.api.service.url())], String::new())),
        ("500", Reply::status(500)),
        ("not for us", Reply::status(403)),
        ("204", Reply::status(204)),
    ] {
        assert_eq!(answered(reply).await, 503, "{what}");
    }
    world.server.stop().await;
}

/// The indexer's own token is renewed beneath it; and a token of a deleted pod holds no longer than a review does.
#[tokio::test]
async fn the_indexers_own_token_is_read_anew_and_guesses_are_throttled() {
    let world = World::start(Duration::from_secs(20)).await;
    world.api.give("a.good.1", AGENTS, AUDIENCE, Some("node-1"));
    let own = world.folder.path().join("token");
    std::fs::write(&own, "old").unwrap();
    assert_eq!(world.send("a.good.1", "team-a").await, (503, 1), "the API server does not know us");
    std::fs::remove_file(&own).unwrap();
    assert_eq!(world.send("a.good.1", "team-a").await, (503, 0));
    std::fs::write(&own, OWN).unwrap();
    assert_eq!(world.send("a.good.1", "team-a").await, (200, 1));
    world.api.take_back("a.good.1");
    assert_eq!(world.send("a.good.1", "team-a").await, (200, 0), "known for a minute");
    for n in 0..10 {
        assert_eq!(world.send(&format!("a.guess.{n}"), "team-a").await, (401, 1));
    }
    assert_eq!(world.send("a.guess.11", "team-a").await, (429, 0));
    assert_eq!(world.send("a.good.1", "team-a").await, (200, 0), "who is known is not held up");
    world.server.stop().await;
}
