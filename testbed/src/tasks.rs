//! Tasks that end with their owner.

use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Tasks of a server or proxy, on the runtime in which it was made; ended when this is dropped.
#[derive(Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    runtime: Handle,
    _ends: DropGuard,
}

impl Tasks {
    /// On this runtime.
    pub(crate) fn new() -> Self {
        let stop = CancellationToken::new();
        let (tracker, runtime) = (TaskTracker::new(), Handle::current());
        Self { tracker, stop: stop.clone(), runtime, _ends: stop.drop_guard() }
    }

    /// Spawns tasks that end with these.
    pub(crate) fn spawner(&self) -> Spawner {
        Spawner { tracker: self.tracker.clone(), stop: self.stop.clone(), runtime: self.runtime.clone() }
    }

    /// Ends all and waits for that.
    pub async fn end(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Spawns tasks.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    tracker: TaskTracker,
    stop: CancellationToken,
    runtime: Handle,
}

impl Spawner {
    /// Runs a future until it ends, or its owner does.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn_on(
            async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = work => {}
                }
            },
            &self.runtime,
        );
    }
}
