//! How the agent keeps and sends batches: what a full spool does, and what it proves itself with.

use std::path::PathBuf;

use heliograph_agent::config::SPOOL_PATIENCE;
use heliograph_agent::{Tls, WhenFull};

use super::Mistake;
use super::reader::Reader;
use super::values::{Setting, Shown, Span};
use super::written::Written;

/// `agent.spool_when_full`.
enum Policy {
    Wait,
    DropOldest,
}

/// `agent.spool_when_full` and `agent.spool_full_wait`.
pub(super) fn read_when_full(r: &mut Reader<'_>) -> WhenFull {
    let policy = r.setting("spool_when_full", Policy::DropOldest);
    let patience = r.setting("spool_full_wait", Span(SPOOL_PATIENCE)).0;
    match policy {
        Policy::Wait => WhenFull::Wait,
        Policy::DropOldest => WhenFull::DropOldest { patience },
    }
}

/// `[tls]`: PEM files for connections to indexers, of the agent and of the query role.
pub(super) fn read_tls(r: &mut Reader<'_>) -> Tls {
    let (chain, key): (Option<PathBuf>, Option<PathBuf>) = (r.optional("cert_file"), r.optional("key_file"));
    if chain.is_some() != key.is_some() {
        let (a, b) = (r.path_of("cert_file"), r.path_of("key_file"));
        r.mistake(Mistake::new(format!("{a} and {b} belong together: give both or none")));
    }
    Tls { ca_file: r.optional("ca_file"), identity: chain.zip(key) }
}

impl Setting for Policy {
    fn read(written: &Written) -> Result<Self, String> {
        const EXPECTED: &str = "expected \"wait\" or \"drop_oldest\"";
        match written {
            Written::Text(text) if text == "wait" => Ok(Self::Wait),
            Written::Text(text) if text == "drop_oldest" => Ok(Self::DropOldest),
            Written::Text(text) => Err(format!("{EXPECTED}, found {text:?}")),
            other => Err(format!("{EXPECTED}, found {}", other.kind())),
        }
    }
    fn show(&self) -> Shown {
        let name = match self {
            Self::Wait => "wait",
            Self::DropOldest => "drop_oldest",
        };
        Shown::Text(name.to_owned())
    }
}
