//! Who an agent is by its certificate, and for whom it may ship.

use std::net::SocketAddr;
use std::path::Path;

use globset::Glob;
use heliograph_indexer::{Config, NodeName, NodeRule, Reach};
use heliograph_model::tenant::{TenantId, Workspace};
use heliograph_serve::{ClientCertificates, Clients, Port, Tls, TlsFiles, TlsMetrics};
use heliograph_store::Store;
use heliograph_store::catalog::Role;
use heliograph_testbed::authority::{Authority, Issued};
use prometheus::Registry;
use reqwest::Client;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bench::{self, AGENT, CLUSTER, all_of, clock, config, near, open_store};

pub(crate) fn certificate(pattern: &str, may: Reach) -> NodeRule {
    NodeRule { who: NodeName::Certificate(Glob::new(pattern).unwrap().compile_matcher()), may }
}

pub(crate) fn tenants(patterns: &[&str]) -> Reach {
    let tenants = patterns.iter().map(|p| Glob::new(p).unwrap().compile_matcher()).collect();
    Reach { tenants, ..Reach::default() }
}

/// An indexer behind TLS that takes certificates of its authority.
pub(crate) struct Server {
    address: SocketAddr,
    pub(crate) authority: Authority,
    pub(crate) store: Store,
    registry: Registry,
    stop: CancellationToken,
    running: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(folder: &Path, nodes: Vec<NodeRule>) -> Self {
        let authority = Authority::new("the cluster's");
        let (cert_file, key_file) = authority.issue("indexer", &["127.0.0.1"]).put(folder, "indexer");
        std::fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
        let (ca_file, needed) = (folder.join("ca.crt"), ClientCertificates::Optional);
        let clients = Some(Clients { ca_file, crl_file: None, needed });
        let registry = Registry::new();
        let metrics = TlsMetrics::new(&registry).unwrap();
        let tls = Tls::open(TlsFiles { cert_file, key_file, clients }, "indexer", &metrics).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let store = open_store(folder, near(folder)).await;
        let config = Config { nodes, ..config() };
        let (ready, mut is_ready) = watch::channel(false);
        let mut running = JoinSet::new();
        let stop = CancellationToken::new();
        let (used, shown, halt) = (store.clone(), registry.clone(), stop.clone());
        running.spawn(async move {
            let port = Port::encrypted(listener, tls);
            let status = axum::Router::new();
            Box::pin(heliograph_indexer::run(config, port, used, clock(), &shown, status, ready, halt))
                .await
                .unwrap();
        });
        is_ready.wait_for(|ready| *ready).await.unwrap();
        Self { address, authority, store, registry, stop, running }
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        self.running.join_next().await.unwrap().unwrap();
    }

    pub(crate) fn post(&self, client: &Client, path: &str) -> reqwest::RequestBuilder {
        client.post(format!("https://{}{path}", self.address))
    }

    pub(crate) fn client(&self, own: Option<&Issued>) -> Client {
        let trusted = reqwest::Certificate::from_pem(self.authority.pem().as_bytes()).unwrap();
        let builder = Client::builder().no_proxy().tls_certs_only([trusted]);
        let builder = match own {
            Some(own) => builder.identity(reqwest::Identity::from_pem(own.pem().as_bytes()).unwrap()),
            None => builder,
        };
        builder.build().unwrap()
    }

    /// The answer to a record for a tenant: status and text.
    pub(crate) async fn send(&self, client: &Client, tenant: &str, authorization: &[&str]) -> (u16, String) {
        let record = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [{ "body": { "stringValue": "x" } }] }] }] });
        let mut request = self.post(client, "/v1/logs").json(&record);
        if !tenant.is_empty() {
            request = request.header("x-heliograph-tenant", tenant);
        }
        for value in authorization {
            request = request.header("authorization", *value);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    fn refused(&self, reason: &str) -> f64 {
        let families = self.registry.gather();
        let name = "heliograph_indexer_credentials_refused_total";
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let is_it = |m: &&prometheus::proto::Metric| m.get_label().iter().any(|l| l.value() == reason);
        family.get_metric().iter().find(is_it).map_or(0.0, |m| m.get_counter().get_value())
    }
}

#[tokio::test]
async fn a_node_ships_by_its_certificate_and_only_for_the_tenants_it_may_ship_for() {
    let folder = tempfile::tempdir().unwrap();
    let red = Workspace::parse("red").unwrap();
    let rules = vec![
        certificate("node-a", tenants(&["team-a", "shared-*"])),
        certificate("node-a*", tenants(&["extra"])),
        certificate("node-red", Reach { workspaces: [red.clone()].into(), ..Reach::default() }),
        certificate("node-new", Reach { workspaces: [config().workspace].into(), ..Reach::default() }),
        certificate("gateway.*", Reach { all: true, ..Reach::default() }),
        certificate("*", tenants(&["for-anybody"])),
    ];
    let server = Server::start(folder.path(), rules).await;
    for (name, workspace) in [("in-red", &red), ("in-default", &config().workspace), ("team-a", &red)] {
        server.store.tenants.create(&TenantId::parse(name).unwrap(), workspace).await.unwrap();
    }
    let check = async |subject: &str, names: &[&str], tenant: &str, expected: u16| {
        let own = server.authority.issue(subject, names);
        let (status, text) = server.send(&server.client(Some(&own)), tenant, &[]).await;
        assert_eq!(status, expected, "{subject} {names:?} for {tenant}: {text}");
        text
    };
    check("node-a", &[], "team-a", 200).await;
    check("node-a", &[], "shared-7", 200).await;
    check("node-a", &[], "extra", 200).await;
    check("some", &["node-a"], "team-a", 200).await;
    check("node-a", &[], "for-anybody", 200).await;
    let foreign = check("node-a", &[], "in-red", 403).await;
    assert_eq!(check("node-a", &[], "no-such-tenant", 403).await, foreign, "alike");
    check("node-a", &[], "team-ab", 403).await;
    check("node-a", &[], "xteam-a", 403).await;
    check("node-a2", &[], "team-a", 403).await;
    check("NODE-A", &[], "team-a", 403).await;
    check("node-red", &[], "in-red", 200).await;
    check("node-red", &[], "in-default", 403).await;
    check("node-red", &[], "no-such-tenant", 403).await;
    check("node-new", &[], "in-default", 200).await;
    check("node-new", &[], "in-red", 403).await;
    check("node-new", &[], "made-by-it", 200).await;
    check("gateway.7", &[], "in-red", 200).await;
    check("node-a", &[], "", 400).await;
    check("node-a", &[], "../etc", 400).await;
    // Who has no name is not anybody.
    let (status, _) =
        server.send(&server.client(Some(&server.authority.issue("", &[]))), "for-anybody", &[]).await;
    assert_eq!(status, 401);
    // What was refused has made no tenant.
    let made = server.store.catalog.tenants().await.unwrap();
    assert!(!made.iter().any(|tenant| tenant.name.as_str().starts_with("no-such")));
    assert_eq!((server.refused("tenant_of_others"), server.refused("none")), (9.0, 1.0));
}

#[tokio::test]
async fn the_agents_token_alone_is_no_agent_where_nodes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), vec![certificate("node-a", tenants(&["team-a"]))]).await;
    let own = server.authority.issue("node-a", &[]);
    let (named, unnamed) =
        (server.client(Some(&own)), server.client(Some(&server.authority.issue("node-b", &[]))));
    let nobody = server.client(None);
    let agent = format!("Bearer {AGENT}");
    let check = async |client: &Client, tenant: &str, authorization: &[&str], expected: u16| {
        let (status, text) = server.send(client, tenant, authorization).await;
        assert_eq!(status, expected, "{tenant} {authorization:?}: {text}");
        assert!(!text.contains(AGENT));
    };
    check(&named, "team-a", &[&agent], 200).await;
    check(&named, "team-b", &[&agent], 403).await;
    for client in [&unnamed, &nobody] {
        check(client, "team-a", &[&agent], 403).await;
        check(client, "team-a", &[], 401).await;
    }
    // A wrong credential is not made good by a certificate, and two are none.
    for wrong in
        [&["Bearer x"][..], &["Bearer "], &["Basic !"], &["x"], &[&agent, &agent], &[&agent, "Bearer x"]]
    {
        check(&named, "team-a", wrong, 401).await;
    }
    let internal = server.post(&named, "/internal/v1/scan");
    assert_eq!(internal.send().await.unwrap().status(), 401, "an agent reads nothing");
    let twice = server.post(&named, "/internal/v1/scan").bearer_auth(CLUSTER);
    let twice = twice.header("authorization", "Bearer x").send().await.unwrap();
    assert_eq!(twice.status(), 401, "two credentials");

    // A tenant's token is its tenant's, whoever brings it.
    let team = TenantId::parse("team-b").unwrap();
    server.store.tenants.create(&team, &config().workspace).await.unwrap();
    let (token, secret) =
        heliograph_store::token::issue(&team, &[Role::Writer], None, clock().now()).unwrap();
    server.store.catalog.create_token(&token).await.unwrap();
    let bearer = format!("Bearer {}", secret.expose_secret());
    check(&named, "", &[&bearer], 200).await;
    check(&nobody, "team-b", &[&bearer], 200).await;
    check(&named, "team-a", &[&bearer], 403).await;
}

/// Header names that mean something elsewhere prove and name nothing.
#[tokio::test]
async fn no_other_header_makes_an_agent_or_names_a_tenant() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), vec![certificate("node-a", tenants(&["team-a"]))]).await;
    let own = server.authority.issue("node-a", &[]);
    let post = |client: &Client| server.post(client, "/v1/logs").json(&json!({}));
    let forged = [
        ("x-forwarded-client-cert", "Subject=\"CN=node-a\""),
        ("x-ssl-client-s-dn", "CN=node-a"),
        ("x-client-cert", "node-a"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-remote-user", "node-a"),
        ("x_heliograph_tenant", "team-a"),
    ];
    for (name, value) in forged {
        let request = post(&server.client(None)).header(name, value).header("x-heliograph-tenant", "team-a");
        assert_eq!(request.send().await.unwrap().status(), 401, "{name}");
    }
    for (name, value) in
        [("x-scope-orgid", "team-a"), ("x-tenant", "team-a"), ("x_heliograph_tenant", "team-a")]
    {
        let request = post(&server.client(Some(&own))).header(name, value);
        assert_eq!(request.send().await.unwrap().status(), 400, "{name} names no tenant");
    }
    let both = post(&server.client(Some(&own))).header("x-heliograph-tenant", "team-a");
    let both = both.header("x-heliograph-tenant", "team-b").send().await.unwrap();
    assert_eq!(both.status(), 400, "two tenants");
}

/// What a batch of one line of a producer is answered.
async fn ship(server: &Server, client: &Client, line: &str, (epoch, sequence): (u64, u64)) -> u16 {
    let record = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [{ "body": { "stringValue": line } }] }] }] });
    let request = server.post(client, "/v1/logs").json(&record).header("x-heliograph-tenant", "team-a");
    let request = request.header("x-heliograph-producer", "p").header("x-heliograph-epoch", epoch);
    request.header("x-heliograph-sequence", sequence).send().await.unwrap().status().as_u16()
}

/// The lines of team-a that are in memory, by number.
async fn lines(server: &Server) -> usize {
    let scans = heliograph_model::scan::Scans::from(all_of("team-a"));
    let request = server.post(&server.client(None), "/internal/v1/scan").bearer_auth(CLUSTER).json(&scans);
    request.send().await.unwrap().text().await.unwrap().lines().count() - 1
}

#[tokio::test]
async fn a_node_that_takes_anothers_producer_name_moves_nothing_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), vec![certificate("node-*", tenants(&["team-a"]))]).await;
    let [victim, thief] =
        ["node-a", "node-b"].map(|node| server.client(Some(&server.authority.issue(node, &[]))));
    assert_eq!(ship(&server, &victim, "1", (1, 1)).await, 200);
    // Neither ahead, so that the other's next would be a repeat, nor in a later epoch.
    assert_eq!(ship(&server, &thief, "false 2", (1, 2)).await, 409);
    assert_eq!(ship(&server, &thief, "false 1", (1, 1)).await, 200);
    assert_eq!(ship(&server, &thief, "false 2", (1, 2)).await, 200);
    assert_eq!(ship(&server, &thief, "false 3", (9, 1)).await, 200);
    assert_eq!(ship(&server, &victim, "2", (1, 2)).await, 200);
    assert_eq!(ship(&server, &victim, "2", (1, 2)).await, 200, "its own repeat");
    assert_eq!(lines(&server).await, 5);
}

#[tokio::test]
async fn what_was_stored_before_nodes_were_named_is_not_stored_again() {
    let folder = tempfile::tempdir().unwrap();
    let before = bench::Server::start(folder.path()).await;
    for sequence in [1, 2] {
        let batch = bench::records("a", sequence - 1..sequence);
        assert_eq!(before.send("team-a", "p", sequence, &batch).await, 200);
    }
    before.kill().await;
    let server = Server::start(folder.path(), vec![certificate("node-*", tenants(&["team-a"]))]).await;
    let node = server.client(Some(&server.authority.issue("node-a", &[])));
    // Its answer was lost: the batch comes again, in the same epoch.
    assert_eq!(ship(&server, &node, "again", (1, 2)).await, 200);
    assert_eq!(lines(&server).await, 2);
    // The next goes on in another epoch, as an agent does after this answer, or begins anew.
    assert_eq!(ship(&server, &node, "3", (1, 3)).await, 409);
    assert_eq!(ship(&server, &node, "3", (2, 1)).await, 200);
    assert_eq!(ship(&server, &node, "3", (2, 1)).await, 200);
    assert_eq!(lines(&server).await, 3);
}
