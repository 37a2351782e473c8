//! What the agent logs.

use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::filter::LevelFilter;

/// The warnings and errors of this thread's tasks, while it is kept.
pub(crate) struct Log {
    written: Arc<Written>,
    _guard: DefaultGuard,
}

#[derive(Default)]
struct Written(Mutex<Vec<u8>>);

impl Write for &Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn start() -> Self {
        let written = Arc::new(Written::default());
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(LevelFilter::WARN);
        let subscriber = subscriber.with_writer(Arc::clone(&written)).finish();
        Self { written, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines with this text.
    pub(crate) fn lines(&self, with: &str) -> Vec<String> {
        let written = self.written.0.lock();
        let lines = String::from_utf8_lossy(&written);
        lines.lines().filter(|line| line.contains(with)).map(str::to_owned).collect()
    }
}
