//! A running `heliograph up` on free ports, in a folder that vanishes with it.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The process, its address and a token of tenant `default` that may read.
pub(crate) struct Server {
    pub(crate) base: String,
    pub(crate) token: String,
    child: Child,
    _folder: TempDir,
}

impl Server {
    /// Starts it on the files of a glob and waits until it is ready.
    pub(crate) async fn start(heliograph: &Path, logs: &str) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("heliograph-bench-")?;
        let data = folder.path().join("data");
        let port = |name: &str| Ok::<_, anyhow::Error>((name.to_owned(), free_address()?));
        let query = port("HELIOGRAPH_QUERY__LISTEN")?;
        let base = format!("http://{}", query.1);
        let listeners =
            [query, port("HELIOGRAPH_INDEXER__LISTEN")?, port("HELIOGRAPH_AGENT__STATUS_LISTEN")?];
        let child = Command::new(heliograph)
            .args(["up", "--logs", logs, "--data-dir"])
            .arg(&data)
            .envs(listeners)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!("cannot run {}: build it with cargo build --release", heliograph.display())
            })?;
        wait_until_ready(&base).await?;
        let token = create_token(heliograph, &data).await?;
        Ok(Self { base, token, child, _folder: folder })
    }

    /// CPU seconds that the process has used so far, by `/proc` (user and system; 100 ticks a second on Linux).
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let pid = self.child.id().context("the server has ended")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after_name = stat.rsplit_once(") ").context("unexpected form of /proc/PID/stat")?.1;
        let ticks = after_name.split(' ').skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum::<f64>();
        Ok(ticks / 100.0)
    }
}

fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

async fn wait_until_ready(base: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if reqwest::get(format!("{base}/readyz")).await.is_ok_and(|r| r.status().is_success()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the server was not ready within 30 s")
}

async fn create_token(heliograph: &Path, data: &Path) -> anyhow::Result<String> {
    let output = Command::new(heliograph)
        .args(["admin", "token", "create", "--tenant", "default", "--role", "viewer", "--data-dir"])
        .arg(data)
        .output()
        .await?;
    if !output.status.success() {
        bail!("admin token create failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
