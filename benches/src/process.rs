//! A server under measurement: a child process, what the kernel says it has used, and its end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct Process {
    child: Child,
    pid: u32,
    said: PathBuf,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Used {
    /// User and system.
    pub(crate) cpu_seconds: f64,
    /// The most memory that it ever held.
    pub(crate) memory_bytes_max: u64,
    /// The memory that it holds now.
    pub(crate) memory_bytes: u64,
}

impl Process {
    /// Starts a command; what it says goes to `said`. Waits until `health` answers well.
    pub(crate) async fn start(command: Command, said: &Path, health: &str) -> anyhow::Result<Self> {
        Self::start_for(&reqwest::Client::builder().no_proxy().build()?, command, said, health).await
    }

    /// Likewise, with the client that `health` is asked by.
    pub(crate) async fn start_for(
        client: &reqwest::Client,
        mut command: Command,
        said: &Path,
        health: &str,
    ) -> anyhow::Result<Self> {
        let program = PathBuf::from(command.as_std().get_program());
        let file = std::fs::File::create(said).with_context(|| format!("cannot make {}", said.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        let pid = child.id().context("the server has ended")?;
        let mut process = Self { child, pid, said: said.to_owned() };
        process.wait_until_healthy(client, health).await?;
        Ok(process)
    }

    async fn wait_until_healthy(&mut self, client: &reqwest::Client, health: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if client.get(health).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}: {}", self.last_words());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the server was not ready within {} s: {}", PATIENCE.as_secs(), self.last_words())
    }

    /// The end of what it said.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.said).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(5)..).unwrap_or_default().join("\n")
    }

    /// From `/proc`: 100 ticks a second on Linux.
    pub(crate) fn used(&self) -> anyhow::Result<Used> {
        let of = |name: &str| {
            let path = format!("/proc/{}/{name}", self.pid);
            std::fs::read_to_string(path)
                .with_context(|| format!("the server is gone: {}", self.last_words()))
        };
        let (stat, status) = (of("stat")?, of("status")?);
        let after_name = stat.rsplit_once(") ").context("unexpected form of /proc/PID/stat")?.1;
        let ticks = after_name.split(' ').skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum::<f64>();
        let kib = |key: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(key))?;
            value.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        Ok(Used {
            cpu_seconds: ticks / 100.0,
            memory_bytes_max: kib("VmHWM:").context("no VmHWM")? << 10,
            memory_bytes: kib("VmRSS:").context("no VmRSS")? << 10,
        })
    }

    /// Asks it to stop and waits until it has.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("no such process")?;
        kill_process(pid, Signal::TERM)?;
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(_) => Ok(()),
            Err(_) => bail!("the server did not stop: {}", self.last_words()),
        }
    }
}

/// An address of this machine that nobody listens on.
pub(crate) fn free_address() -> anyhow::Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
