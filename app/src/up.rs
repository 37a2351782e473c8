//! `heliograph up`: everything in one process, talking over the same HTTP as between machines.

mod data_dir;
mod inputs;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use heliograph_agent::Token;
use heliograph_model::cipher;
use heliograph_model::time::Clock;
use heliograph_query::Discovery;
use heliograph_serve::Port;
use heliograph_store::Store;
use prometheus::Registry;
use secrecy::SecretString;

use crate::clock::SystemClock;
use crate::config::{self, Config};
use crate::exit::{Failure, Outcome};
use crate::first_start::{self, SignIn};
use crate::process::{Process, open};
use crate::telemetry::{Readiness, Status};
use crate::{cli, console, demo, places, roles, started, telemetry};
use data_dir::DataDir;

/// The three ports, open.
struct Ports {
    query: Port,
    indexer: Port,
    agent: Port,
}

/// Runs until a signal comes or a part fails.
pub(crate) async fn run(options: cli::Up, mut config: Config) -> Outcome {
    if let Some(address) = options.listen {
        config.query.listener.address = address;
    }
    if config.agent.sidecar.is_some() {
        return Err(
            config::missing("agent.sidecar", "is for `heliograph agent`, as a process of its own").into()
        );
    }
    let folders = inputs::folders(&options);
    config.agent.inputs.extend(inputs::of_command_line(&options, &folders)?);
    if options.demo {
        inputs::collect_demo_tenants(&mut config.agent.tenants);
    }
    tracing::info!(settings = config.to_line(), "settings in effect");
    config.agent.inputs.iter().for_each(|input| tracing::info!(?input, "following"));
    let follows = !config.agent.inputs.is_empty();

    let data_dir = DataDir::open(folders.data)?;
    let registry = telemetry::registry()?;
    let tls = roles::tls_metrics(&registry)?;
    let ports = Ports {
        query: open(&config.query.listener, "query", &tls).await?,
        indexer: open(&config.indexer.listener, "indexer", &tls).await?,
        agent: open(&config.agent.listener, "agent", &tls).await?,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::open(&places::in_data_dir(&config, data_dir.path()), Arc::clone(&clock)).await?;
    let sign_in = first_start::prepare(&store, &config, &*clock).await?;
    started::record(&store, "up", &config, &*clock).await?;
    let tenants = inputs::tenants(&config.agent.inputs);
    first_start::make_tenants(&store, tenants, &config.indexer.agent_workspace, &*clock).await?;

    let page = url_of(&ports.query)?;
    let demo_logs = options.demo.then_some(folders.demo_logs);
    let (process, readiness) =
        start(config, data_dir.path().to_owned(), store, ports, registry, clock, demo_logs)?;
    process
        .run_until_signal(async {
            readiness.wait().await;
            if readiness.waiting_for().is_empty() {
                greet(&page, &sign_in, &data_dir, follows);
            }
        })
        .await
}

/// Starts every part, the head of the chain last, so that each finds the next.
fn start(
    config: Config,
    data_dir: PathBuf,
    store: Store,
    ports: Ports,
    registry: Registry,
    clock: Arc<dyn Clock>,
    demo_logs: Option<PathBuf>,
) -> Result<(Process, Readiness), Failure> {
    store.object_metrics.register(&registry).map_err(anyhow::Error::from)?;
    let mut readiness = Readiness::default();
    let ready = ["agent", "indexer", "query"].map(|part| readiness.add(part));
    let status = Status::new(registry.clone(), readiness.clone(), &config.telemetry);
    let [agent_ready, indexer_ready, query_ready] = ready;

    let indexer_url = url_of(&ports.indexer)?;
    let agent_token = config.auth.agent_token.clone().map_or_else(random_token, Ok)?;
    let cluster_token = config.auth.cluster_token.clone().map_or_else(random_token, Ok)?;

    let token = Token::Fixed(agent_token.clone());
    let agent = roles::agent_config(&config, data_dir.join("agent"), vec![indexer_url.clone()], token);
    let indexer = roles::indexer_config(&config, None, Some(agent_token), cluster_token.clone());
    let query = roles::query_config(&config, Discovery::Embedded(indexer_url), cluster_token);

    let mut process = Process::default();
    {
        let (store, clock, registry, status) =
            (store.clone(), Arc::clone(&clock), registry.clone(), status.router());
        process.add("query", |stop| async move {
            heliograph_query::run(query, ports.query, store, clock, &registry, status, query_ready, stop)
                .await
                .map_err(Into::into)
        });
    }
    {
        let (clock, registry, status) = (Arc::clone(&clock), registry.clone(), status.router());
        process.add("indexer", |stop| async move {
            heliograph_indexer::run(
                indexer,
                ports.indexer,
                store,
                clock,
                &registry,
                status,
                indexer_ready,
                stop,
            )
            .await
            .map_err(Into::into)
        });
    }
    let agent_clock = Arc::clone(&clock);
    process.add("agent status", |stop| async move {
        telemetry::serve(ports.agent, status.router(), stop).await;
        Ok(())
    });
    process.add("agent", |stop| async move {
        heliograph_agent::run(agent, agent_clock, &registry, agent_ready, stop).await.map_err(Into::into)
    });
    if let Some(dir) = demo_logs {
        process.add("demo", |stop| async move { demo::replay(&dir, clock, stop).await });
    }
    Ok((process, readiness))
}

/// 256 random bits as text: lives in this process only.
fn random_token() -> anyhow::Result<SecretString> {
    Ok(SecretString::from(data_encoding::HEXLOWER.encode(&cipher::random::<32>()?)))
}

/// How a part of this process reaches another that listens there.
fn url_of(port: &Port) -> anyhow::Result<String> {
    let mut address = port.local_addr()?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(format!("{}://{address}", roles::scheme(port.is_encrypted())))
}

fn greet(page: &str, sign_in: &SignIn, data_dir: &DataDir, follows: bool) {
    let dir = data_dir.path().display();
    let secret = match sign_in {
        SignIn::Generated(password) => {
            format!("admin / {password}   (made just now; it is not shown again)")
        }
        SignIn::Given => "admin, with the password of HELIOGRAPH_BOOTSTRAP__ADMIN_PASSWORD".to_owned(),
        SignIn::Known => {
            format!("admin   (a new password: heliograph admin user passwd admin --data-dir {dir})")
        }
    };
    let hint = if follows { "" } else { "    note      no files are followed: add --logs GLOB, or --demo\n" };
    console::say(&format!(
        "\n  Heliograph is running; Ctrl-C stops it.\n\n    page      {page}/\n    sign in   {secret}\n    data      {dir}\n{hint}"
    ));
}
