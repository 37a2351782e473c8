//! What is wrong with files of certificates and keys.

use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a port cannot be served, or a client cannot be made, with what it was given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of certificates or of a key is not what it should be; its content is not told.
    #[error("{field}: {}: {reason}", .path.display())]
    File {
        /// The setting that names the file, without its section.
        field: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The thread that reads files has gone: we end, or have a mistake.
    #[error("files cannot be read")]
    Reading(#[source] tokio::task::JoinError),
    /// Metrics are registered twice.
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
}

impl Error {
    /// Of the file of a setting.
    pub fn file(field: &'static str, path: &Path, reason: impl ToString) -> Self {
        Self::File { field, path: path.to_owned(), reason: reason.to_string() }
    }
}
