//! What one line says, before it is known who says it.

use heliograph_model::level::Level;
use heliograph_model::source::Stream;

/// A line as its writer means it.
#[derive(Debug)]
pub(crate) struct Said {
    /// `None` where such lines do not say (access logs).
    pub(crate) level: Option<Level>,
    pub(crate) stream: Stream,
    pub(crate) logger: Option<&'static str>,
    /// File and line of the program.
    pub(crate) place: Option<(&'static str, u32)>,
    pub(crate) message: String,
    pub(crate) trace_id: Option<String>,
}

impl Said {
    /// A line of an Airflow component: it names its logger and its place in the program.
    pub(crate) fn by(logger: &'static str, file: &'static str, line: u32, message: String) -> Self {
        Self { logger: Some(logger), place: Some((file, line)), ..Self::plain(Some(Level::Info), message) }
    }

    /// A line that says nothing beyond itself.
    pub(crate) fn plain(level: Option<Level>, message: String) -> Self {
        Self { level, stream: Stream::Stdout, logger: None, place: None, message, trace_id: None }
    }

    pub(crate) fn at(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    pub(crate) fn on_stderr(mut self) -> Self {
        self.stream = Stream::Stderr;
        self
    }
}
