//! The parts of this process: started together, stopped one after the other from the head of the chain.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use heliograph_serve::{Port, Tls, TlsMetrics};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Listener, Mistakes};
use crate::exit::{Failure, Outcome};

/// How long stopping may take; less than the ten seconds promised, and than what Kubernetes waits.
const STOP_WITHIN: Duration = Duration::from_secs(9);

/// Opens a role's port, with TLS where that is configured; refuses plain text where others could read it.
pub(crate) async fn open(listener: &Listener, role: &'static str, metrics: &TlsMetrics) -> Outcome<Port> {
    listener.check().map_err(Mistakes::from)?;
    let tls = match listener.tls.clone() {
        Some(files) => Some(Tls::open(files, role, metrics).await.map_err(|e| misconfigured(listener, e))?),
        None => None,
    };
    let bound = bind(listener.address, &listener.setting, tls.is_some()).await?;
    Ok(match tls {
        Some(tls) => Port::encrypted(bound, tls),
        None => Port::plain(bound),
    })
}

fn misconfigured(listener: &Listener, error: heliograph_serve::Error) -> Failure {
    match error {
        heliograph_serve::Error::File { field, path, reason } => {
            let setting = format!("{}.{field}", listener.section);
            config::missing(&setting, &format!("{}: {reason}", path.display())).into()
        }
        other => anyhow::Error::new(other).into(),
    }
}

/// Binds a port; the error names address and setting.
async fn bind(address: SocketAddr, setting: &str, tls: bool) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.map_err(|e| match e.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow!("{address} is in use by another process: stop it, or set {setting}")
        }
        _ => anyhow::Error::new(e).context(format!("cannot listen on {address} ({setting})")),
    })?;
    // The port is the system's choice where 0 is configured.
    tracing::info!(setting, address = %listener.local_addr()?, tls, "listening");
    Ok(listener)
}

/// Takes as many file descriptors as the system allows: one is held per followed file and per connection.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => tracing::debug!(descriptors = limit.maximum, "descriptor limit raised"),
        Err(error) => tracing::warn!(%error, descriptors = limit.current, "descriptor limit stays as it is"),
    }
}

/// What runs; parts are added from the end of the chain to its head.
#[derive(Default)]
pub(crate) struct Process {
    parts: Vec<Part>,
    running: JoinSet<anyhow::Result<()>>,
}

struct Part {
    name: &'static str,
    task: Id,
    stop: CancellationToken,
    running: bool,
    /// Whether it may end by itself, and the process with it.
    may_end: bool,
}

impl Process {
    /// Starts a part, which runs until its token is cancelled.
    pub(crate) fn add<F>(&mut self, name: &'static str, part: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = self.running.spawn(part(stop.clone())).id();
        self.parts.push(Part { name, task, stop, running: true, may_end: false });
    }

    /// The part that was added last may end by itself: its work is done, and so is the process's.
    pub(crate) fn may_end(&mut self) {
        self.parts.iter_mut().next_back().into_iter().for_each(|part| part.may_end = true);
    }

    /// Runs until SIGTERM or SIGINT comes or a part ends by itself, then stops the rest. A second signal while
    /// stopping ends everything at once.
    pub(crate) async fn run_until_signal(mut self, once_ready: impl Future<Output = ()>) -> Outcome {
        let mut signals = Signals::new()?;
        let mut once_ready = std::pin::pin!(once_ready);
        let mut greeted = false;
        let ended = loop {
            tokio::select! {
                () = &mut once_ready, if !greeted => greeted = true,
                name = signals.next() => {
                    tracing::info!(signal = name, "stopping");
                    break Ok(());
                }
                ended = self.next_ended() => match ended {
                    Ok(part) if self.parts.iter().any(|p| p.name == part && p.may_end) => {
                        tracing::info!(part, "done");
                        break Ok(());
                    }
                    Ok(part) => break Err(anyhow!("{part} ended by itself")),
                    Err(e) => break Err(e),
                },
            }
        };
        if ended.is_err() {
            tracing::error!("a part failed: stopping the others");
        }
        let drained = tokio::select! {
            drained = self.drain() => drained,
            name = signals.next() => Err(anyhow!("a second {name} came before everything had stopped")),
        };
        ended.and(drained).map_err(Failure::from)
    }

    /// Stops the parts from the head on, each when the one before has let go of what it had.
    async fn drain(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + STOP_WITHIN;
        let mut failed = Ok(());
        for at in (0..self.parts.len()).rev() {
            // What is left is shared by all that still run, so that a slow head leaves the others their part.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left.div_f32(if at == 0 { 1.0 } else { 1.5 });
            let Some(part) = self.parts.get(at) else { continue };
            let (name, stop) = (part.name, part.stop.clone());
            stop.cancel();
            match tokio::time::timeout(share, self.end_of(at)).await {
                Ok(ended) => failed = failed.and(ended),
                Err(_) => {
                    tracing::warn!(part = name, "did not stop in time");
                    failed = failed.and(Err(anyhow!("{name} did not stop in time")));
                }
            }
        }
        failed
    }

    /// Waits until a part has ended.
    async fn end_of(&mut self, at: usize) -> anyhow::Result<()> {
        let mut failed = Ok(());
        while self.parts.get(at).is_some_and(|part| part.running) {
            if let Err(e) = self.next_ended().await {
                failed = failed.and(Err(e));
            }
        }
        failed
    }

    /// Waits for the next part that ends: its name, or its failure.
    async fn next_ended(&mut self) -> anyhow::Result<&'static str> {
        let (task, outcome) = match self.running.join_next_with_id().await {
            None => std::future::pending().await,
            Some(Ok((task, outcome))) => (task, outcome),
            Some(Err(e)) => (e.id(), Err(anyhow::Error::new(e))),
        };
        let Some(part) = self.parts.iter_mut().find(|part| part.task == task) else {
            return outcome.map(|()| "a part");
        };
        part.running = false;
        tracing::debug!(part = part.name, "ended");
        let name = part.name;
        outcome.context(name).map(|()| name)
    }
}

/// The signals that ask us to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
