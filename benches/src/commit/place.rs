//! Where an indexer keeps what it is sent, and the indexer's own process there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use heliograph_store::objects;
use heliograph_testbed::s3;
use reqwest::Client;
use tokio::process::Command;

use crate::postgres::Postgres;
use crate::process::{Process, free_address};
use crate::system::metric;

/// What producers show.
pub(super) const AGENT_TOKEN: &str = "bench-agent-token";

/// Which pair of object store and catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A folder and an SQLite file.
    Disk,
    /// S3 and PostgreSQL, whose S3 answers each request so much later.
    S3(Duration),
}

impl Kind {
    /// For tables.
    pub(super) fn name(self) -> String {
        match self {
            Self::Disk => "disk".to_owned(),
            Self::S3(Duration::ZERO) => "S3".to_owned(),
            Self::S3(latency) => format!("S3 +{} ms", latency.as_millis()),
        }
    }
}

/// Servers of one kind; each measurement has a place of its own in them.
pub(super) struct Servers {
    kind: Kind,
    folder: PathBuf,
    distant: Option<(s3::Server, Postgres)>,
    places: u32,
}

/// An empty place for one indexer.
pub(super) struct Place {
    folder: PathBuf,
    catalog: String,
    /// Where the objects go.
    pub(super) storage: objects::Config,
}

impl Servers {
    /// Starts what the kind needs, with its data below `folder`.
    pub(super) async fn start(kind: Kind, folder: &Path, postgres: &Path) -> anyhow::Result<Self> {
        let folder = folder.join(kind.name().replace(' ', "-"));
        std::fs::create_dir_all(&folder)?;
        let distant = match kind {
            Kind::Disk => None,
            Kind::S3(latency) => {
                Some((s3::Server::start_slow(&folder.join("s3"), latency).await, Postgres::start(postgres)?))
            }
        };
        Ok(Self { kind, folder, distant, places: 0 })
    }

    /// The kind.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// A place that nobody has used.
    pub(super) async fn place(&mut self) -> anyhow::Result<Place> {
        self.places += 1;
        let folder = self.folder.join(self.places.to_string());
        std::fs::create_dir(&folder)?;
        let (catalog, storage) = match &mut self.distant {
            None => {
                let storage = objects::Config::at(format!("file:{}", folder.join("objects").display()));
                (format!("sqlite:{}", folder.join("catalog.sqlite").display()), storage)
            }
            Some((server, postgres)) => {
                let key = [("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY)];
                let storage = objects::Config {
                    endpoint: Some(format!("http://{}", server.address())),
                    environment: key.map(|(name, value)| (name.to_owned(), value.into())).into(),
                    ..objects::Config::at(format!("s3://{}/{}", s3::BUCKET, self.places))
                };
                (postgres.database(&format!("d{}", self.places)).await?, storage)
            }
        };
        Ok(Place { folder, catalog, storage })
    }
}

/// An indexer that seals nothing: what it is sent stays in write-ahead objects and in memory.
pub(super) struct Indexer {
    pub(super) process: Process,
    /// `http://…`
    pub(super) base: String,
    client: Client,
}

impl Indexer {
    /// Starts it in its place.
    pub(super) async fn start(heliograph: &Path, place: &Place) -> anyhow::Result<Self> {
        let listen = free_address()?;
        let endpoint = place.storage.endpoint.iter().map(|url| format!("endpoint = {url:?}\n"));
        let text = format!(
            "[catalog]\nurl = {:?}\n[storage]\nurl = {:?}\n{}[keys]\nmaster_key_file = {:?}\n\
             [auth]\nagent_token = {AGENT_TOKEN:?}\ncluster_token = \"bench\"\n\
             [indexer]\nlisten = {listen:?}\nhot_bytes_max = \"8 GiB\"\nseal_bytes = \"8 GiB\"\nseal_after = \"12h\"\n\
             [telemetry]\nlog_filter = \"warn\"\nmetrics_open = true\n",
            place.catalog,
            place.storage.url,
            endpoint.collect::<String>(),
            place.folder.join("master.key"),
        );
        let config = place.folder.join("indexer.toml");
        std::fs::write(&config, text)?;
        let mut command = Command::new(heliograph);
        command.args(["indexer", "--config"]).arg(&config);
        command.envs([("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY)]);
        let base = format!("http://{listen}");
        let process =
            Process::start(command, &place.folder.join("indexer.log"), &format!("{base}/readyz")).await?;
        Ok(Self { process, base, client: Client::builder().no_proxy().build()? })
    }

    /// One of its figures, so far.
    pub(super) async fn figure(&self, name: &str) -> anyhow::Result<f64> {
        let value = metric(&self.client, &format!("{}/metrics", self.base), name).await?;
        value.with_context(|| format!("there is no metric {name}"))
    }
}
