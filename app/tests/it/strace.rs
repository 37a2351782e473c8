//! Faults by the kernel's own calls: a tracer that makes a call of a running process fail, or end it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::server::{PATIENCE, Server};

/// A tracer at work; the process goes on undisturbed when it is gone.
pub(crate) struct Tracer {
    child: Child,
    /// Closed, it would end the tracer at the next thing that it says.
    _said: Lines<BufReader<ChildStderr>>,
    log: tempfile::NamedTempFile,
}

impl Tracer {
    /// Does `fault` to `call`, as in `inject` of strace's manual: `fsync` with `error=EIO`; to that of one file only,
    /// if one is given.
    pub(crate) async fn attach(server: &Server, call: &str, fault: &str, file: Option<&Path>) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut child = Command::new("strace")
            .args(["-f", "-y", "-e", &format!("trace={call}"), "-e", &format!("inject={call}:{fault}"), "-o"])
            .arg(log.path())
            .args(["-p", &server.id().to_string()])
            .args(file.iter().flat_map(|file| [OsStr::new("-P"), file.as_os_str()]))
            .kill_on_drop(true)
            .stderr(Stdio::piped())
            .spawn()
            .expect("these tests need strace: apt-get install strace");
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let started = Instant::now();
        loop {
            let line = said.next_line().await.unwrap();
            let line = line.unwrap_or_else(|| panic!("strace cannot trace: it needs the right to ptrace"));
            if line.contains("attached") {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "{line}");
        }
        Self { child, _said: said, log }
    }

    /// What was done to which calls of a process that has ended.
    pub(crate) async fn ended(mut self) -> Vec<String> {
        self.child.wait().await.unwrap();
        self.lines()
    }

    /// Lets go; what was done to which calls, a line each, with the paths of files.
    pub(crate) async fn detach(mut self) -> Vec<String> {
        let id = rustix::process::Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        self.child.wait().await.unwrap();
        self.lines()
    }

    fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(self.log.path()).unwrap().lines().map(str::to_owned).collect()
    }
}
