//! An agent under measurement, and the sink that it ships to.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use heliograph_model::codec;
use parking_lot::Mutex;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::EXPANDED_BYTES_MAX;
use crate::process::{Process, free_address};

/// How long lines may take to arrive.
const PATIENCE: Duration = Duration::from_secs(600);
/// Before the moment at which a line was written, in nanoseconds since 1970, at its end.
pub(super) const SENT: &str = "sent=";

/// What arrived.
#[derive(Default)]
pub(super) struct Arrived {
    lines: AtomicU64,
    /// Of records that end with when they were written.
    pub(super) took: Mutex<Vec<Took>>,
}

/// How long a record took.
pub(super) struct Took {
    /// Whether it has several lines.
    pub(super) is_joined: bool,
    /// When its last line was written, as [`now`] says.
    pub(super) sent: u128,
    pub(super) took: Duration,
}

impl Arrived {
    /// Lines so far.
    pub(super) fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }
}

/// Nanoseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the real clock is what is measured by")]
pub(super) fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// The agent's process, and the tasks of the sink.
pub(super) struct Agent {
    pub(super) process: Process,
    pub(super) arrived: Arc<Arrived>,
    sink: String,
    serving: JoinSet<std::io::Result<()>>,
}

impl Agent {
    /// With a sink that answers.
    pub(super) async fn start(heliograph: &Path, root: &Path, data: &Path) -> anyhow::Result<Self> {
        let mut agent = Self::start_alone(heliograph, root, data).await?;
        agent.answer().await?;
        Ok(agent)
    }

    /// With a sink that is away.
    pub(super) async fn start_alone(heliograph: &Path, root: &Path, data: &Path) -> anyhow::Result<Self> {
        let sink = free_address()?;
        let status = free_address()?;
        let config = data.with_extension("toml");
        let text = format!(
            "[agent]\ndata_dir = {data:?}\nstatus_listen = {status:?}\nindexers = [\"http://{sink}\"]\n\
             [[agent.inputs]]\nkind = \"containers\"\nroot = {root:?}\n\
             [agent.tenants]\nsame_name = true\n[auth]\nagent_token = \"bench\"\n\
             [telemetry]\nlog_filter = \"warn\"\n",
        );
        fs::write(&config, text)?;
        let mut command = Command::new(heliograph);
        command.args(["agent", "--config"]).arg(&config);
        let health = format!("http://{status}/healthz");
        let process = Process::start(command, &data.with_extension("log"), &health).await?;
        Ok(Self { process, arrived: Arc::default(), sink, serving: JoinSet::new() })
    }

    /// The sink answers from now on.
    pub(super) async fn answer(&mut self) -> anyhow::Result<()> {
        let listener = tokio::net::TcpListener::bind(&self.sink).await?;
        let app = Router::new()
            .route("/v1/logs", post(receive))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&self.arrived));
        self.serving.spawn(async move { axum::serve(listener, app).await });
        Ok(())
    }

    pub(super) async fn wait_for(&self, lines: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.arrived.lines() {
                arrived if arrived == lines => return Ok(()),
                arrived if arrived > lines => bail!("WRONG: {arrived} lines arrived of {lines}"),
                arrived if Instant::now() > deadline => {
                    bail!("WRONG: {arrived} lines of {lines} arrived: {}", self.process.last_words())
                }
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }
}

/// Acknowledges a batch, and counts its lines: those that belong together arrive as one record.
async fn receive(State(arrived): State<Arc<Arrived>>, body: Bytes) -> StatusCode {
    let now = now();
    let Ok(plain) = codec::decompress(&body, EXPANDED_BYTES_MAX) else { return StatusCode::BAD_REQUEST };
    let Ok(rows) = codec::decode(&plain) else { return StatusCode::BAD_REQUEST };
    for record in rows.iter() {
        let lines = 1 + record.message.bytes().filter(|b| *b == b'\n').count() as u64;
        arrived.lines.fetch_add(lines, Ordering::Relaxed);
        let sent = record.message.rsplit_once(SENT).and_then(|(_, sent)| sent.parse::<u128>().ok());
        if let Some((sent, took)) = sent.and_then(|s| Some((s, u64::try_from(now.saturating_sub(s)).ok()?))) {
            let took = Duration::from_nanos(took);
            arrived.took.lock().push(Took { is_joined: lines > 1, sent, took });
        }
    }
    StatusCode::OK
}
