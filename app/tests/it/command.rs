//! Runs the program once and looks at what it says and how it ends.

use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The program, without our environment's settings.
pub(crate) fn heliograph() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heliograph"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HELIOGRAPH_") {
            command.env_remove(name);
        }
    }
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

/// What a run said and how it ended.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    /// The output of a run that must have gone well.
    #[track_caller]
    pub(crate) fn fine(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out
    }

    /// Checks how a run failed, and that its error holds all of `parts`.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not in: {}", self.err);
        }
    }
}

/// Runs it with these arguments.
pub(crate) async fn run(arguments: &[&str]) -> Said {
    heliograph().args(arguments).output().await.unwrap().into()
}

/// Runs it with these arguments and this environment.
pub(crate) async fn run_with(arguments: &[&str], environment: &[(&str, &str)]) -> Said {
    heliograph().args(arguments).envs(environment.iter().copied()).output().await.unwrap().into()
}

/// Runs it with this on its standard input.
pub(crate) async fn run_with_input(arguments: &[&str], input: &str) -> Said {
    let mut child = heliograph()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    child.wait_with_output().await.unwrap().into()
}
