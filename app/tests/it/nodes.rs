//! An agent that is known by its certificate alone, and ships for the tenants that it may ship for.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::Command;

use crate::command::{heliograph, run};
use crate::server::{PASSWORD, PATIENCE, Place, Server};
use crate::tls::{append, certificates, client, section};

/// A role with its certificates.
fn of_role(dir: &Path, role: &str) -> Command {
    let mut command = heliograph();
    command.arg(role);
    for (name, file) in [("CA_FILE", "ca.crt"), ("CERT_FILE", "tls.crt"), ("KEY_FILE", "tls.key")] {
        command.env(format!("HELIOGRAPH_TLS__{name}"), dir.join(role).join(file));
    }
    command
}

/// Waits until a role shows this figure.
async fn wait_for_metric(client: &reqwest::Client, base: &str, name: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = client.get(format!("{base}/metrics")).send().await.unwrap().text().await.unwrap();
        if text.lines().any(|line| line.starts_with(name)) {
            return;
        }
        assert!(Instant::now() < deadline, "{text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Tenant t that came into being and what was refused for u are on record soon, by whom they came about.
async fn check_records(config: &str) {
    let (made, refused) = loop {
        let rows = run(&["admin", "audit", "export", "--config", config]).await.fine();
        let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |action: &str| rows.iter().find(|row| row["action"] == action).cloned();
        if let Some(both) = of("tenant.create").zip(of("ingest.refused")) {
            break both;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!((&made["actor"], &made["tenant"]), (&"agent:heliograph agent".into(), &"t".into()));
    assert_eq!(refused["actor"], made["actor"]);
    assert_eq!((&refused["tenant"], &refused["details"]["tenant"]), (&Value::Null, &"u".into()));
}

#[tokio::test]
async fn an_agent_ships_by_its_certificate_alone_and_for_its_tenants_only() {
    let place = Place::new();
    let root = place.logs().parent().unwrap().to_owned();
    let dir = certificates(&root, "30").await;
    let config = place.write_shared_config(
        &[
            "[telemetry]\nmetrics_open = true\n[indexer]\nlisten = \"127.0.0.1:0\"\n",
            "[[indexer.nodes]]\ncertificate = \"heliograph-agent\"\ntenants = [\"t\"]\n",
            &section("indexer.tls", &dir, "indexer", Some("client_ca_file")),
        ]
        .concat(),
    );
    let of_role = |role: &'static str| of_role(&dir, role);
    let start = async |mut command: Command, setting: &'static str| {
        command.env("HELIOGRAPH_BOOTSTRAP__ADMIN_PASSWORD", PASSWORD);
        let mut server = Server::spawn_for(client(&dir, Some("query")), command, setting);
        server.wait_until_ready().await;
        server
    };
    let mut command = of_role("indexer");
    command.arg("--config").arg(&config);
    let indexer = start(command, "indexer.listen").await;
    let mut command = of_role("query");
    command.arg("--config").arg(&config);
    let query = start(command, "query.listen").await;

    // Told by its environment alone: it has no token at all.
    let (own, foreign) = (place.logs().join("own.log"), place.logs().join("foreign.log"));
    append(&foreign, "canary of u\n");
    append(&own, "line of t\n");
    let input = |path: &Path, tenant: &str| {
        format!("{{kind = \"files\", glob = \"{}\", tenant = \"{tenant}\"}}", path.display())
    };
    let mut command = of_role("agent");
    command
        .env("HELIOGRAPH_AGENT__INPUTS", format!("[{}, {}]", input(&own, "t"), input(&foreign, "u")))
        .env(
            "HELIOGRAPH_AGENT__INDEXERS",
            format!("[{:?}]", indexer.base("indexer.listen").replace("127.0.0.1", "localhost")),
        )
        .env("HELIOGRAPH_AGENT__DATA_DIR", root.join("agent"))
        .env("HELIOGRAPH_AGENT__STATUS_LISTEN", "127.0.0.1:0");
    let agent = start(command, "agent.status_listen").await;

    let config = config.to_str().unwrap();
    let token = async |tenant: &str| {
        run(&["admin", "token", "create", "--tenant", tenant, "--role", "viewer", "--config", config]).await
    };
    let token_of_t = loop {
        let said = token("t").await;
        if said.code == Some(0) {
            break said.out.trim().to_owned();
        }
        said.failed(1, &["there is no tenant"]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    query.wait_for(&token_of_t, "", 1).await;
    let refused = "heliograph_indexer_credentials_refused_total{reason=\"tenant_of_others\"}";
    wait_for_metric(&client(&dir, Some("agent")), &indexer.base("indexer.listen"), refused).await;
    // Its tenant was not even made, and its lines wait at the agent.
    token("u").await.failed(1, &["there is no tenant"]);
    check_records(config).await;
    append(&own, "another line of t\n");
    query.wait_for(&token_of_t, "", 2).await;
    let told = agent.said();
    assert!(told.contains("indexer refuses the agent's credential"), "{told}");
    for server in [agent, query, indexer] {
        server.stop().await;
    }
}

#[tokio::test]
async fn a_node_whose_certificate_is_taken_back_ships_nothing_more() {
    let place = Place::new();
    let dir = certificates(place.logs().parent().unwrap(), "30").await;
    let to = dir.to_str().unwrap();
    run(&["admin", "tls", "node", "n1", "n2", "--dir", to]).await.fine();
    let config = place.write_shared_config(
        &[
            "[indexer]\nlisten = \"127.0.0.1:0\"\n",
            "[[indexer.nodes]]\ncertificate = \"n*\"\ntenants = [\"t\"]\n",
            &section("indexer.tls", &dir, "indexer", Some("client_ca_file")),
            &format!("client_crl_file = {:?}\n", dir.join("indexer/ca.crl").display().to_string()),
        ]
        .concat(),
    );
    let mut command = heliograph();
    command.arg("indexer").arg("--config").arg(&config);
    let mut indexer = Server::spawn_for(client(&dir, Some("query")), command, "indexer.listen");
    indexer.wait_until_ready().await;
    let url = format!("{}/v1/logs", indexer.base("indexer.listen"));
    let [one, two] = ["agent-n1", "agent-n2"].map(|node| client(&dir, Some(node)));
    let ship = async |client: &reqwest::Client| {
        let request = client.post(&url).header("x-heliograph-tenant", "t").json(&serde_json::json!({}));
        request.send().await.map(|answer| answer.status().as_u16()).map_err(|error| format!("{error:?}"))
    };
    assert_eq!((ship(&one).await, ship(&two).await), (Ok(200), Ok(200)));
    let stolen = dir.join("agent-n1/tls.crt").display().to_string();
    run(&["admin", "tls", "revoke", &stolen, "--dir", to]).await.fine();
    let deadline = Instant::now() + PATIENCE;
    // The connection that it has goes first, and how that looks from there is open.
    while !ship(&one).await.is_err_and(|error| error.contains("CertificateRevoked")) {
        assert!(Instant::now() < deadline, "it still ships");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ship(&two).await, Ok(200));
    indexer.stop().await;
}
