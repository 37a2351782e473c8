//! The roles as processes of their own, as on a cluster: configuration by file, secrets by file.

use crate::command::{heliograph, run};
use crate::server::{PASSWORD, Place, Server};

#[tokio::test]
async fn three_processes_are_one_heliograph() {
    let place = Place::new();
    let root = place.logs().parent().unwrap().to_owned();
    let path = |name: &str| root.join(name).display().to_string();
    for secret in ["agent-token", "cluster-token"] {
        std::fs::write(root.join(secret), format!("secret-of-{secret}\n")).unwrap();
    }
    let shared = format!(
        "[catalog]\nurl = \"sqlite:{}\"\n[storage]\nurl = \"file:{}\"\n[keys]\nmaster_key_file = {:?}\n\
         [auth]\nagent_token_file = {:?}\ncluster_token_file = {:?}\n",
        path("catalog.sqlite"),
        path("objects"),
        path("master.key"),
        path("agent-token"),
        path("cluster-token"),
    );
    let start = async |role: &str, sections: String, main: &'static str| {
        let file = path(&format!("{role}.toml"));
        std::fs::write(&file, format!("{shared}{sections}")).unwrap();
        let mut command = heliograph();
        command.args([role, "--config", &file]).env("HELIOGRAPH_BOOTSTRAP__ADMIN_PASSWORD", PASSWORD);
        let mut server = Server::spawn(command, main);
        server.wait_until_ready().await;
        server
    };
    let indexer =
        start("indexer", "[indexer]\nlisten = \"127.0.0.1:0\"\n".to_owned(), "indexer.listen").await;
    let indexers = format!("indexers = [\"{}\"]\n", indexer.base("indexer.listen"));
    let query = start("query", "[query]\nlisten = \"127.0.0.1:0\"\n".to_owned(), "query.listen").await;
    let agent = start(
        "agent",
        format!(
            "[agent]\nstatus_listen = \"127.0.0.1:0\"\ndata_dir = {:?}\n{indexers}\
             [agent.tenants]\nstrip_prefix = \"astro-\"\n\
             [[agent.inputs]]\nkind = \"containers\"\nroot = {:?}\n",
            path("agent"),
            path("logs/pods"),
        ),
        "agent.status_listen",
    )
    .await;

    let pod = place.logs().join("pods/astro-team-a_airflow-scheduler-0_1f0e/scheduler");
    std::fs::create_dir_all(&pod).unwrap();
    let lines = "2026-11-24T10:00:00.000000001Z stdout P one \n\
                 2026-11-24T10:00:00.000000002Z stdout F record\n\
                 2026-11-24T10:00:00.000000003Z stderr F another\n";
    std::fs::write(pod.join("0.log"), lines).unwrap();

    let config = path("query.toml");
    let token = loop {
        // The agent's first batch makes the tenant.
        let said =
            run(&["admin", "token", "create", "--tenant", "team-a", "--role", "viewer", "--config", &config])
                .await;
        if said.code == Some(0) {
            break said.out.trim().to_owned();
        }
        said.failed(1, &["there is no tenant"]);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    query.wait_for(&token, "", 2).await;
    let records = query.export(&token).await;
    assert_eq!(records.len(), 2, "{records:?}");
    assert_eq!(records[0]["message"], "one record");
    assert_eq!(records[0]["namespace"], "astro-team-a");
    assert_eq!(records[0]["pod"], "airflow-scheduler-0");
    assert_eq!(records[0]["container"], "scheduler");
    assert_eq!(records[1]["stream"], "stderr");
    for server in [agent, indexer, query] {
        server.stop().await;
    }
}
