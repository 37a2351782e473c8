//! A PostgreSQL server of a benchmark's own, which ends with it: `benches/peers/postgres`.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::process::free_address;

/// A running server.
pub(crate) struct Postgres {
    address: String,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// Ends when nobody holds its input any more.
    _process: Child,
}

impl Postgres {
    /// Starts one by the script.
    pub(crate) fn start(script: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let (_, port) = address.rsplit_once(':').context("no port")?;
        let mut process = Command::new(script)
            .arg(port)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", script.display()))?;
        let commands = process.stdin.take().context("no input")?;
        let answers = BufReader::new(process.stdout.take().context("no output")?).lines();
        Ok(Self { address, commands, answers, _process: process })
    }

    /// The URL of a new database.
    pub(crate) async fn database(&mut self, name: &str) -> anyhow::Result<String> {
        match self.tell(&format!("make {name}")).await?.as_str() {
            "made" => Ok(format!("postgres://postgres@{}/{name}", self.address)),
            said => bail!("PostgreSQL did not make a database: {said:?}"),
        }
    }

    /// How large a database is; one without a row has some 7 MB.
    pub(crate) async fn bytes(&mut self, name: &str) -> anyhow::Result<u64> {
        Ok(self.tell(&format!("bytes {name}")).await?.parse()?)
    }

    async fn tell(&mut self, command: &str) -> anyhow::Result<String> {
        self.commands.write_all(format!("{command}\n").as_bytes()).await?;
        self.answers.next_line().await?.context("PostgreSQL has ended")
    }
}
