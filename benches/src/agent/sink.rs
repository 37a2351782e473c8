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
    /// Of records that end with when they were written: whether they have several lines, and how long they took.
    pub(super) took: Mutex<Vec<(bool, Duration)>>,
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
    _serving: JoinSet<std::io::Result<()>>,
}

impl Agent {
    pub(super) async fn start(heliograph: &Path, root: &Path, data: &Path) -> anyhow::Result<Self> {
        let arrived = Arc::new(Arrived::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let sink = listener.local_addr()?;
        let app = Router::new()
            .route("/v1/logs", post(receive))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&arrived));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await });

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
        Ok(Self { process, arrived, _serving: serving })
    }

    pub(super) async fn wait_for(&self, lines: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.arrived.lines.load(Ordering::Relaxed) {
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
        if let Some(took) = sent.and_then(|sent| u64::try_from(now.saturating_sub(sent)).ok()) {
            arrived.took.lock().push((lines > 1, Duration::from_nanos(took)));
        }
    }
    StatusCode::OK
}
