//! What senders are refused, and tenants that agents bring, are in the audit log; and that holds nobody up.

use std::path::Path;

use heliograph_model::tenant::TenantId;
use heliograph_store::Store;
use heliograph_store::audit::{Log, Row};
use heliograph_store::catalog::Role;
use reqwest::Client;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::bench::{AGENT, Server, clock, config, once, records, until};
use crate::faults::with_database;
use crate::nodes::{self, certificate, tenants};

async fn rows(store: &Store) -> Vec<Row> {
    Log::of(store).rows(0, 10_000).await.unwrap().into_iter().map(|told| told.row).collect()
}

/// Who, what, whose, what came of it, why; and the tenant that details name.
fn short(row: &Row) -> [String; 6] {
    let details: Value = serde_json::from_str(&row.details).unwrap();
    let text = |key: &str| details[key].as_str().unwrap_or_default().to_owned();
    let tenant = row.tenant.clone().unwrap_or_default();
    [row.actor.clone(), row.action.clone(), tenant, row.outcome.clone(), text("reason"), text("tenant")]
}

fn count(row: &Row) -> u64 {
    serde_json::from_str::<Value>(&row.details).unwrap()["count"].as_u64().unwrap()
}

/// An indexer that knows node-a and tenant team-b, and team-c with its tokens.
struct Known {
    server: nodes::Server,
    /// Ids, and what their holders send.
    writer: (String, String),
    ended: (String, String),
    viewer: (String, String),
}

impl Known {
    async fn start(folder: &Path) -> Self {
        let rules =
            vec![certificate("node-a", tenants(&["team-a"])), certificate("node-b", tenants(&["team-b"]))];
        let server = nodes::Server::start(folder, rules).await;
        let (tenants, catalog) = (&server.store.tenants, &server.store.catalog);
        for name in ["team-b", "team-c"] {
            tenants.create(&team(name), &config().workspace).await.unwrap();
        }
        let issue = async |role: Role| {
            let (token, secret) =
                heliograph_store::token::issue(&team("team-c"), &[role], None, clock().now()).unwrap();
            catalog.create_token(&token).await.unwrap();
            (format!("token:{}", token.id), format!("Bearer {}", secret.expose_secret()))
        };
        let (writer, ended, viewer) =
            (issue(Role::Writer).await, issue(Role::Writer).await, issue(Role::Viewer).await);
        catalog.revoke_token(ended.0.trim_start_matches("token:"), clock().now()).await.unwrap();
        Self { server, writer, ended, viewer }
    }

    /// Everything that is refused, and two things that are not.
    async fn try_all(&self) {
        let server = &self.server;
        let with = |subject: &str| server.client(Some(&server.authority.issue(subject, &["other"])));
        let (node, unknown, nobody) = (with("node-a"), with("node-x"), server.client(None));
        let check = async |client: &Client, tenant: &str, authorization: &[&str], expected: u16| {
            let (status, text) = server.send(client, tenant, authorization).await;
            assert_eq!(status, expected, "{tenant} {authorization:?}: {text}");
        };
        let agents = format!("Bearer {AGENT}");
        check(&node, "team-a", &[], 200).await;
        check(&node, "team-b", &[], 403).await;
        check(&node, "no-such", &[], 403).await;
        check(&unknown, "team-b", &[], 401).await;
        check(&unknown, "no-such", &[&agents], 403).await;
        check(&nobody, "team-b", &[&agents], 403).await;
        check(&nobody, "", &["Bearer walnut"], 401).await;
        check(&nobody, "", &["Basic dGVhbS1iOndhbG51dA=="], 401).await;
        check(&nobody, "team-b", &[&self.writer.1], 403).await;
        check(&nobody, "", &[&self.ended.1], 401).await;
        check(&nobody, "", &[&self.viewer.1], 403).await;
        // Who shows nothing has tried nothing; and this is no refusal.
        check(&nobody, "team-b", &[], 401).await;
        check(&nobody, "", &[&self.writer.1], 200).await;
        let scan = server.post(&node, "/internal/v1/scan").bearer_auth("walnut").send().await.unwrap();
        assert_eq!(scan.status(), 401);
    }
}

fn team(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

#[tokio::test]
async fn a_refusal_is_a_row_of_whom_it_is_about_and_holds_nothing_that_was_shown() {
    let folder = tempfile::tempdir().unwrap();
    let known = Known::start(folder.path()).await;
    known.try_all().await;
    let Known { server, writer, ended, viewer } = known;
    let (store, made) = (server.store.clone(), server.store.tenants.get(&team("team-a")).await.unwrap().uid);
    server.stop().await;

    let rows = rows(&store).await;
    let mut found: Vec<_> = rows.iter().map(short).collect();
    let refused = |actor: &str, tenant: &str, reason: &str, named: &str| {
        [actor, "ingest.refused", tenant, "refused", reason, named].map(str::to_owned)
    };
    let foreign = "this agent may not ship for the tenant";
    let not_enough = "the agents' token is not enough here: show a certificate that indexer.nodes names";
    let wrong = "the credential proves nothing";
    let mut expected = vec![
        ["agent:node-a", "tenant.create", "team-a", "done", "", "team-a"].map(str::to_owned),
        refused("agent:node-a", "team-b", foreign, ""),
        refused("agent:node-a", "", foreign, "no-such"),
        refused("agent:node-x", "team-b", "no rule of indexer.nodes names the certificate", ""),
        refused("agent:node-x", "", not_enough, "no-such"),
        refused("agent", "team-b", not_enough, ""),
        refused("nobody", "", wrong, ""),
        refused("nobody", "team-b", wrong, ""),
        refused(&writer.0, "team-b", "the token is for another tenant than the header names", ""),
        refused(&ended.0, "team-c", "the token has expired or was revoked", ""),
        refused(&viewer.0, "team-c", "the token lacks the role writer", ""),
        refused("nobody", "", "the credential is not the query role's", ""),
    ];
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert!(rows.iter().all(|row| row.source == "127.0.0.1"), "{rows:?}");
    let row = rows.iter().find(|row| row.action == "tenant.create").unwrap();
    assert_eq!(row.tenant_uid.as_deref(), Some(&made.as_bytes()[..]));
    let told = format!("{rows:?}");
    let secrets = [&writer.1, &ended.1, &viewer.1].map(|sent| sent.get(23..).unwrap());
    for secret in ["walnut", "dGVh", AGENT].iter().chain(&secrets) {
        assert!(!told.contains(secret), "{secret} is in {told}");
    }
}

#[tokio::test]
async fn a_flood_of_refusals_is_few_rows_that_count_all_of_it_and_is_told_while_it_lasts() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    assert_eq!(server.send("t", "p", 1, &records("a", 0..1)).await, 200);
    let mut sent = 0;
    let refuse = async |tenant: &str, secret: &str| {
        let request = server.post("/v1/logs").bearer_auth(secret).header("x-heliograph-tenant", tenant);
        assert_eq!(request.json(&json!({})).send().await.unwrap().status(), 401);
    };
    for n in 0..300 {
        refuse(&format!("t{n}"), &format!("guess {n}")).await;
        refuse("t", &format!("guess {n}")).await;
        sent += 2;
    }
    let store = server.store.clone();
    let refusals = async || -> Vec<Row> {
        rows(&store).await.into_iter().filter(|row| row.action == "ingest.refused").collect()
    };
    until("the first are rows", async || !refusals().await.is_empty()).await;
    server.stop().await;
    let found = refusals().await;
    assert_eq!(found.iter().map(count).sum::<u64>(), sent);
    // Eight of an address and what is beyond, once when it began and once at the end.
    assert!(found.len() <= 2 * 9, "{}", found.len());
    let of_t: u64 = found.iter().filter(|row| row.tenant.as_deref() == Some("t")).map(count).sum();
    assert_eq!(of_t, 300, "the tenant's operators see all that was tried in its name");
}

#[tokio::test]
async fn an_audit_log_that_cannot_be_written_holds_no_batch_up_and_is_made_up_for() {
    let folder = tempfile::tempdir().unwrap();
    let (server, database) = with_database(folder.path(), config()).await;
    database.audit_refused.set(usize::MAX);
    let refused = || server.post("/v1/logs").bearer_auth("walnut").json(&json!({})).send();
    assert_eq!(refused().await.unwrap().status(), 401);
    // A new tenant, which waits to be recorded; and its batches do not.
    assert_eq!(server.send("t", "p", 1, &records("a", 0..10)).await, 200);
    until("it was tried", async || server.figure("heliograph_indexer_audit_failures_total") >= 2.0).await;
    assert_eq!(server.send("t", "p", 2, &records("a", 10..20)).await, 200);
    assert_eq!(refused().await.unwrap().status(), 401);
    assert_eq!(server.everything("t").await, once(&records("a", 0..20)));
    assert_eq!(rows(&server.store).await.len(), 0);

    database.audit_refused.set(0);
    until("the first are written", async || !rows(&server.store).await.is_empty()).await;
    assert_eq!(server.figure("heliograph_indexer_audit_lost_total"), 0.0);
    let store = server.store.clone();
    server.stop().await;
    let rows = rows(&store).await;
    let made = rows.iter().filter(|row| row.action == "tenant.create" && row.actor == "agent");
    assert_eq!(made.count(), 1);
    assert_eq!(rows.iter().filter(|row| row.action == "ingest.refused").map(count).sum::<u64>(), 2);
}
