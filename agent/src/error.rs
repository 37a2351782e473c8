//! What stops an agent. What only concerns one file or one batch is logged and counted where it happens.

use std::io;
use std::path::PathBuf;

/// The result of starting or running an agent.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an agent cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration must be mended.
    #[error("invalid {what} {value:?}: {reason}")]
    Config {
        /// Which setting.
        what: &'static str,
        /// The offending value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The data directory cannot be read or written.
    #[error("cannot use {path}", path = .path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another agent has the data directory.
    #[error("{path} is in use by another agent", path = .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file of the data directory with which nothing can be done without losing what others of it hold.
    #[error("{path} is corrupt: {reason}", path = .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A sidecar's container has finished, and not all of its lines were read, sent and acknowledged in time.
    #[error("not all lines were acknowledged within {within:?} of the end: is an indexer reachable?")]
    Unfinished {
        /// How long there was.
        within: std::time::Duration,
    },
    /// The machine refused what every process needs (a thread, random bytes, a cipher).
    #[error("cannot {what}: {reason}")]
    Unavailable {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        reason: String,
    },
}

impl Error {
    /// A failed operation on a path.
    pub(crate) fn disk(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk { path, source }
    }

    /// A cipher or random generator that refused.
    pub(crate) fn cipher(error: heliograph_model::Error) -> Self {
        Self::Unavailable { what: "seal", reason: error.to_string() }
    }
}
